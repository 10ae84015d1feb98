package config

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
)

// Sink is a receiver of the ledger's events: sink "name" { ... }.
type Sink struct {
	// Type is "syslog", "otlp" or "webhook"; required.
	Type string `koanf:"type" oneof:"syslog,otlp,webhook"`
	// URL is where it is: udp://, tcp:// or tls://HOST:PORT for syslog, http:// or https:// for the others; required. Private
	// addresses are allowed, redirects are not followed.
	URL string `koanf:"url"`
	// Tenant is whose events it gets; "_all" for everybody's, the instance's own included. Required. Danger: a receiver of
	// "_all" learns of every organisation.
	Tenant string `koanf:"tenant"`
	// Kinds are the kinds of record it gets. Default none: all of them.
	Kinds []string `koanf:"kinds"`
	// From is where a new sink begins: at the "beginning" of the ledger, or at its "end" as it is then. Default beginning.
	From string `koanf:"from" oneof:"beginning,end"`
	// Batch is the most events sent at once. Default 256.
	Batch int `koanf:"batch" min:"1" max:"4096"`
	// Wait is how long an event may wait for others to be sent with. Default 1s.
	Wait time.Duration `koanf:"wait" min:"0s" max:"1m"`
	// Timeout bounds one attempt. Default 10s.
	Timeout time.Duration `koanf:"timeout" min:"10ms" max:"10m"`
	// RetryMin and RetryMax are the first and the longest pause after failures in a row. Default 500ms and 1m.
	RetryMin time.Duration `koanf:"retry_min" min:"1ms" max:"10m"`
	RetryMax time.Duration `koanf:"retry_max" min:"1ms" max:"1h"`
	// SecretFile and SecretEnv name a file, or a variable, with the secret: of a webhook the key of its signature, at least 16
	// bytes, required; of otlp the value of Header. One of them. Default none.
	SecretFile string `koanf:"secret_file"`
	SecretEnv  string `koanf:"secret_env"`
	// Header is the header that carries the secret to an otlp receiver. Default none.
	Header string `koanf:"header"`
	// CAFile is a PEM file of the authorities its certificate is verified against instead of the system's. Default none.
	CAFile string `koanf:"ca_file"`
	// Confirm counts a batch of syslog over tcp or tls as delivered only when the receiver, having read to its end, ends the
	// connection in turn: syslog has no other acknowledgement. Default true. Danger: without, what a receiver had not
	// read when it died is lost.
	Confirm bool `koanf:"confirm"`
	// Enterprise is the private enterprise number in syslog's structured data. Default 32473, which is for examples.
	Enterprise int `koanf:"enterprise" min:"1" max:"4294967295"`
	// Plaintext permits what is not encrypted beyond loopback in production mode. Default false. Danger: everybody on the
	// way reads and changes it.
	Plaintext bool `koanf:"plaintext"`
}

// DefaultSink is what a sink block leaves out.
func DefaultSink() Sink {
	return Sink{
		Type: "syslog", Kinds: []string{}, From: "beginning", Batch: 256, Wait: time.Second, Timeout: 10 * time.Second,
		RetryMin: 500 * time.Millisecond, RetryMax: time.Minute, Confirm: true, Enterprise: 32473,
	}
}

// sinkSchemes are the schemes of each type's url.
var sinkSchemes = map[string][]string{"syslog": {"udp", "tcp", "tls"}, "otlp": {"http", "https"}, "webhook": {"http", "https"}}

func (c Config) validateSinks() error {
	for _, name := range keys(c.Sinks) {
		s, at := c.Sinks[name], "sink."+name
		if err := checkLabel("sink", name); err != nil {
			return problem(at, "%w", err)
		}
		u, err := url.Parse(s.URL)
		switch {
		case s.Tenant == "":
			return problem(at, "sink %q: tenant is required", name)
		case s.Tenant != "_all" && checkLabel("tenant", s.Tenant) != nil:
			return problem(at+".tenant", "tenant in sink: want an organisation, or \"_all\", have %q", s.Tenant)
		case s.URL == "":
			return problem(at, "sink %q: url is required", name)
		case err != nil || !slices.Contains(sinkSchemes[s.Type], u.Scheme) || u.Hostname() == "" || u.User != nil || u.Fragment != "":
			// not quoted: it may hold a secret
			return problem(at+".url", "url in sink: %s wants %s, a host, and no user info or fragment", s.Type, strings.Join(sinkSchemes[s.Type], " or "))
		case s.Type == "syslog" && (u.Port() == "" || u.Path != "" || u.RawQuery != ""):
			return problem(at+".url", "url in sink: syslog wants SCHEME://HOST:PORT and nothing after it")
		case c.Mode == "production" && !s.Plaintext && u.Scheme != "https" && u.Scheme != "tls" && !loopback(u.Hostname()):
			return problem(at+".url", "url in sink: production mode sends in the clear to loopback only; set plaintext to do it all the same")
		case s.RetryMin > s.RetryMax:
			return problem(at+".retry_min", "retry_min in sink: %s is longer than retry_max, %s", s.RetryMin, s.RetryMax)
		}
		for _, k := range s.Kinds {
			if ledger.ParseKind(k) == ledger.Unknown {
				return problem(at+".kinds", "kinds in sink: there is no kind of record %q", k)
			}
		}
		if err := s.validateSecret(name, at); err != nil {
			return err
		}
	}
	return nil
}

func (s Sink) validateSecret(name, at string) error {
	has := s.SecretFile != "" || s.SecretEnv != ""
	switch {
	case s.SecretFile != "" && s.SecretEnv != "":
		return problem(at+".secret_env", "secret_env in sink: secret_file is set too; the secret comes from one of them")
	case strings.ContainsAny(s.SecretEnv, "= "):
		return problem(at+".secret_env", "secret_env in sink: want the name of a variable, not its value")
	case s.Type == "webhook" && !has:
		return problem(at, "sink %q: a webhook needs secret_file or secret_env, to sign with", name)
	case s.Type == "syslog" && has:
		return problem(at, "sink %q: syslog takes no secret", name)
	case s.Type == "otlp" && has != (s.Header != ""):
		return problem(at, "sink %q: header and the secret it carries are set together", name)
	case s.Type != "otlp" && s.Header != "":
		return problem(at+".header", "header in sink: it is for otlp")
	case s.Header != "" && !isHeader(s.Header):
		return problem(at+".header", "header in sink: want a header name, have %q", s.Header)
	}
	return nil
}
