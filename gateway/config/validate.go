package config

import (
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Validate reports the first setting that is out of its range or does not fit the others, as a *Problem
// without a place.
func (c Config) Validate() error {
	if err := c.validateRanges(); err != nil {
		return err
	}
	checks := []func() error{c.validateData, c.validateProxy, c.validateControl, c.validateLedger, c.validateWitnesses, c.validateWitness, c.validateIntent, c.validateIssuers, c.validateServers, c.validateOAuth, c.validateOpenAPI, c.validateConnectors, c.validateFilters, c.validateLogins, c.validateAuthorizationServers, c.validateClientCertificates, c.validateApprovals, c.validatePolicies, c.validateSinks}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func problem(path, format string, args ...any) error {
	return &Problem{Path: path, Text: fmt.Errorf(format, args...).Error()}
}

// validateRanges holds every setting against its min, max and oneof tags.
func (c Config) validateRanges() error {
	root := reflect.ValueOf(c)
	s := newSchema()
	for _, set := range s.settings {
		if set.labelled {
			continue
		}
		if err := set.inRange(set.path(""), root.FieldByIndex(set.index)); err != nil {
			return err
		}
	}
	for _, b := range s.groups() {
		field := root.FieldByIndex(b.index)
		for _, label := range sortedLabels(field) {
			for _, key := range keys(b.settings) {
				set := b.settings[key]
				elem := field.MapIndex(reflect.ValueOf(label))
				if err := set.inRange(set.path(label), elem.FieldByIndex(set.index)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func sortedLabels(m reflect.Value) []string {
	var list []string
	for _, k := range m.MapKeys() {
		list = append(list, k.String())
	}
	slices.Sort(list)
	return list
}

func (s *setting) inRange(path string, v reflect.Value) error {
	switch s.kind {
	case kindText:
		if len(s.oneof) > 0 && !slices.Contains(s.oneof, v.String()) {
			text := fmt.Sprintf("%s: want one of %s, have %q", s.label(), strings.Join(s.oneof, ", "), v.String())
			if best := closest(v.String(), s.oneof); best != "" {
				text += fmt.Sprintf("; did you mean %q?", best)
			}
			return problem(path, "%s", text)
		}
	case kindInt, kindDuration, kindSize:
		return within(s, path, v.Int(), func(t string) int64 { return s.parseBound(t).Int() })
	case kindFloat:
		return within(s, path, v.Float(), func(t string) float64 { return s.parseBound(t).Float() })
	case kindBool, kindList:
	}
	return nil
}

// parseBound reads a min or max tag in the setting's own unit; tags are constants, met by every test.
func (s *setting) parseBound(text string) reflect.Value {
	v, err := s.convert(text)
	if err != nil {
		panic("config: bound of " + s.label() + ": " + err.Error())
	}
	return reflect.ValueOf(v)
}

func within[N cmp.Ordered](s *setting, path string, n N, bound func(string) N) error {
	if n < bound(s.min) || n > bound(s.max) {
		return problem(path, "%s: %s is out of range, allowed is %s to %s", s.label(), s.show(n), s.min, s.max)
	}
	return nil
}

func (s *setting) show(n any) string {
	v, isInt := n.(int64)
	switch {
	case isInt && s.kind == kindDuration:
		return time.Duration(v).String()
	case isInt && s.kind == kindSize:
		return Size(v).String()
	default:
		return fmt.Sprint(n)
	}
}

func (c Config) validateData() error {
	switch {
	case c.Data.Dir == "":
		return problem("data.dir", "dir in data: a data folder is needed")
	case c.Data.KeyFile != "" && c.Data.KeyEnv != "":
		return problem("data.key_env", "key_env in data: key_file is set too; the wrapping key comes from one of them")
	case strings.ContainsAny(c.Data.KeyEnv, "= "):
		return problem("data.key_env", "key_env in data: want the name of a variable, not its value")
	}
	return nil
}

func (c Config) validateProxy() error {
	p := c.Proxy
	if err := c.port("proxy", p.Listen, p.TLSCert, p.TLSKey); err != nil {
		return err
	}
	if p.MaxConnectionsPerIP > p.MaxConnections {
		return problem("proxy.max_connections_per_ip", "max_connections_per_ip in proxy: %d is more than max_connections, %d", p.MaxConnectionsPerIP, p.MaxConnections)
	}
	if p.RetryFor < c.Upstream.Timeout {
		return problem("proxy.retry_for", "retry_for in proxy: %s is shorter than timeout in upstream, %s; a call's answer is kept at least as long as the call may take", p.RetryFor, c.Upstream.Timeout)
	}
	return lists("proxy", p.TrustedProxies, p.Hosts, p.Origins)
}

func (c Config) validateControl() error {
	p := c.Control
	if err := c.port("control", p.Listen, p.TLSCert, p.TLSKey); err != nil {
		return err
	}
	if _, port, _ := net.SplitHostPort(p.Listen); port != "0" && p.Listen == c.Proxy.Listen {
		return problem("control.listen", "listen in control: %s is the data port's address too", p.Listen)
	}
	return lists("control", p.TrustedProxies, p.Hosts, p.Origins)
}

// port checks one listener: its address, its certificate, and that nothing leaves the machine in
// plaintext in production.
func (c Config) port(section, listen, cert, key string) error {
	host, port, err := net.SplitHostPort(listen)
	n, bad := strconv.Atoi(port)
	if err != nil || bad != nil || n < 0 || n > 65535 {
		return problem(section+".listen", "listen in %s: want HOST:PORT, have %q", section, listen)
	}
	if (cert == "") != (key == "") {
		missing := "tls_key"
		if cert == "" {
			missing = "tls_cert"
		}
		return problem(section+"."+missing, "%s in %s: certificate and key are set together", missing, section)
	}
	if c.Mode == "production" && cert == "" && !loopback(host) {
		return problem(section+".listen", "listen in %s: production mode serves %s only with TLS: set tls_cert and tls_key, or listen on loopback", section, listen)
	}
	return nil
}

// loopback judges the literal address only: any other name could resolve differently tomorrow.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

func lists(section string, proxies, hosts, origins []string) error {
	for _, s := range proxies {
		if !isPrefix(s) {
			return problem(section+".trusted_proxies", "trusted_proxies in %s: want an address or a CIDR range, have %q", section, s)
		}
	}
	for _, s := range hosts {
		if !isHost(s) {
			return problem(section+".hosts", "hosts in %s: want a host name or address without port, have %q", section, s)
		}
	}
	for _, s := range origins {
		u, err := url.Parse(s)
		if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.Scheme+"://"+u.Host != s {
			return problem(section+".origins", "origins in %s: want SCHEME://HOST[:PORT] and nothing after it, have %q", section, s)
		}
	}
	return nil
}

// isPrefix accepts an address, or a range whose host bits are zero. The range of everybody is a slip or
// worse: with it any caller names its own source.
func isPrefix(s string) bool {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked() == p && p.Bits() > 0
	}
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == ""
}

// isHost accepts a DNS name (RFC 1123) in lower case, or an IP address.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

func (c Config) validateLedger() error {
	if !isHost(c.Ledger.Origin) {
		return problem("ledger.origin", "origin in ledger: want a host name in lower case, have %q", c.Ledger.Origin)
	}
	if checkLabel("instance", c.Ledger.Instance) != nil {
		return problem("ledger.instance", "instance in ledger: want 1 to 63 of a-z, 0-9 and -, have %q", c.Ledger.Instance)
	}
	return nil
}

func (c Config) validateIntent() error {
	i := c.Intent
	switch {
	case i.Issuer == "":
		return problem("intent.issuer", "issuer in intent: a name is needed")
	case i.Audience == "":
		return problem("intent.audience", "audience in intent: a name is needed")
	case i.TokenTTL > i.MaxTokenTTL:
		return problem("intent.token_ttl", "token_ttl in intent: %s is longer than max_token_ttl, %s", i.TokenTTL, i.MaxTokenTTL)
	case int64(i.MaxPlan) > int64(c.Proxy.MaxBody):
		return problem("intent.max_plan", "max_plan in intent: %s is more than max_body in proxy, %s", i.MaxPlan, c.Proxy.MaxBody)
	}
	return nil
}

func (c Config) validateIssuers() error {
	seen := map[string]string{c.Intent.Issuer: "this gateway"}
	for _, name := range keys(c.Issuers) {
		is, at := c.Issuers[name], "issuer."+name
		if err := checkLabel("issuer", name); err != nil {
			return problem(at, "%w", err)
		}
		switch {
		case is.Issuer == "":
			return problem(at, "issuer %q: iss is required", name)
		case seen[is.Issuer] != "":
			return problem(at+".iss", "iss in issuer: %q is already %s", is.Issuer, seen[is.Issuer])
		case (is.JWKSFile == "") == (is.Key == ""):
			return problem(at, "issuer %q: set either jwks_file or key", name)
		case (is.Key == "") != (is.KeyID == ""):
			return problem(at, "issuer %q: key and kid are set together", name)
		}
		if raw, err := base64.RawURLEncoding.DecodeString(is.Key); is.Key != "" && (err != nil || len(raw) != ed25519.PublicKeySize) {
			return problem(at+".key", "key in issuer: want an Ed25519 public key, 32 bytes in base64url without padding")
		}
		seen[is.Issuer] = fmt.Sprintf("issuer %q", name)
	}
	return nil
}

func (c Config) validateLogins() error {
	seen := map[string]string{c.Intent.Issuer: "this gateway"}
	for _, name := range keys(c.Logins) {
		l, at := c.Logins[name], "login."+name
		if err := checkLabel("login", name); err != nil {
			return problem(at, "%w", err)
		}
		switch {
		case l.Tenant == "" || l.Issuer == "" || l.Audience == "":
			return problem(at, "login %q: tenant, iss and audience are required", name)
		case seen[l.Issuer] != "":
			return problem(at+".iss", "iss in login: %q is already %s", l.Issuer, seen[l.Issuer])
		case l.Algorithm == "HS256" && (l.SecretFile == "" || l.JWKSFile != ""):
			return problem(at, "login %q: HS256 takes secret_file and no jwks_file", name)
		case l.Algorithm != "HS256" && (l.JWKSFile == "" || l.SecretFile != ""):
			return problem(at, "login %q: %s takes jwks_file and no secret_file", name, l.Algorithm)
		case l.AgentClaim == "" && l.Agent == "":
			return problem(at, "login %q: set agent_claim or agent: a person acts through an agent here", name)
		case l.UserClaim == "":
			return problem(at+".user_claim", "user_claim in login: a claim is needed")
		}
		seen[l.Issuer] = fmt.Sprintf("login %q", name)
	}
	return nil
}

func (c Config) validateApprovals() error {
	a := c.Approvals
	for name, limit := range map[string]string{"admin_limit": a.AdminLimit, "manager_limit": a.ManagerLimit, "member_limit": a.MemberLimit} {
		if limit != "" && !decimalText.MatchString(limit) {
			return problem("approvals."+name, "%s in approvals: want a decimal number such as \"10000\", or \"\" for none, have %q", name, limit)
		}
	}
	if a.MaxOpen > a.MaxAll {
		return problem("approvals.max_open", "max_open in approvals: %d is more than max_all, %d", a.MaxOpen, a.MaxAll)
	}
	return nil
}

var decimalText = regexp.MustCompile(`^[0-9]{1,15}(\.[0-9]{1,4})?$`)

// reservedServers are words that stand for something else where a server's name may stand (/mcp/{server}).
var reservedServers = []string{"my-servers", "servers", "tools", "tool-metadata", "auto-register"}

func (c Config) validateServers() error {
	for _, name := range keys(c.Servers) {
		s, at := c.Servers[name], "server."+name
		if err := checkLabel("server", name); err != nil {
			return problem(at, "%w", err)
		}
		switch {
		case slices.Contains(reservedServers, name):
			return problem(at, "server %q: the name is reserved", name)
		case s.Tenant == "":
			return problem(at, "server %q: tenant is required", name)
		case checkLabel("tenant", s.Tenant) != nil:
			return problem(at+".tenant", "tenant in server: want 1 to 63 of a-z, 0-9 and -, have %q", s.Tenant)
		case len(s.Prefix) > 64:
			return problem(at+".prefix", "prefix in server: it is at most 64 characters")
		case !isHeader(s.Header):
			return problem(at+".header", "header in server: want a header name, have %q", s.Header)
		}
		if err := s.validateWay(name, at); err != nil {
			return err
		}
		if err := s.validateAuth(at); err != nil {
			return err
		}
	}
	return nil
}

// validateWay checks how the server is reached.
func (s Server) validateWay(name, at string) error {
	ways := 0
	for _, given := range []bool{s.URL != "", len(s.Command) > 0, s.Connector != ""} {
		if given {
			ways++
		}
	}
	u, err := url.Parse(s.URL)
	process := s.URL == ""
	switch {
	case ways != 1:
		return problem(at, "server %q: exactly one of url, command and connector is required", name)
	case !process && (err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User != nil || u.Fragment != ""):
		return problem(at+".url", "url in server: want http or https, a host, and no user info or fragment") // not quoted: it may hold a password
	case process && s.Via == "connector":
		return problem(at+".via", "via in server: it says how a url is reached; a command or connector runs in a process of its own anyway")
	case process && s.Credential != "":
		return problem(at+".credential", "credential in server: it is sent in a header, which a command or connector has none of; hand it the secret through pass_env")
	case process && s.CallerCredentials:
		return problem(at+".caller_credentials", "caller_credentials in server: they are sent in a header, which a command or connector has none of")
	case len(s.PublicKeys) > 0 && (process || u.Scheme != "https"):
		return problem(at+".public_keys", "public_keys in server: they are of TLS keys, for an https url")
	case !arePins(s.PublicKeys):
		return problem(at+".public_keys", "public_keys in server: want at most 8 of sha256/ and the base64 of 32 bytes")
	case process && s.AllowPrivate:
		return problem(at+".allow_private", "allow_private in server: a command or connector has no address to allow")
	case s.OpenAPI != "":
	case !process && (len(s.Env)+len(s.PassEnv) > 0 || s.Dir != "" || s.SHA256 != ""):
		return problem(at, "server %q: env, pass_env, dir and sha256 are for a command or connector", name)
	case s.Connector == "" && len(s.Args) > 0:
		return problem(at+".args", "args in server: they belong to connector; a command carries its own")
	case len(s.Command) > 0 && s.Command[0] == "":
		return problem(at+".command", "command in server: its first word is the program")
	}
	if err := s.validateDocument(u, at); err != nil {
		return err
	}
	if b, err := hex.DecodeString(s.SHA256); err != nil || len(b) != 0 && len(b) != sha256.Size {
		return problem(at+".sha256", "sha256 in server: want 64 hex digits, as sha256sum prints them")
	}
	return s.validateEnv(at)
}

func arePins(pins []string) bool {
	for _, pin := range pins {
		encoded, ok := strings.CutPrefix(pin, "sha256/")
		digest, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if !ok || err != nil || len(digest) != sha256.Size {
			return false
		}
	}
	return len(pins) <= 8
}

func (s Server) validateEnv(at string) error {
	for _, v := range s.Env {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" || strings.ContainsRune(v, 0) {
			return problem(at+".env", "env in server: want NAME=value")
		}
	}
	for _, v := range s.PassEnv {
		if v == "" || strings.ContainsAny(v, "=\x00") {
			return problem(at+".pass_env", "pass_env in server: want names of variables, without values")
		}
	}
	return nil
}

func (c Config) validateConnectors() error {
	if c.Connectors.BackoffMax < c.Connectors.BackoffMin {
		return problem("connectors.backoff_max", "backoff_max in connectors: it must not be below backoff_min")
	}
	return nil
}

func (c Config) validateFilters() error {
	for i, name := range c.Filters.Enabled {
		if slices.Index(c.Filters.Enabled, name) != i {
			return problem("filters.enabled", "enabled in filters: %q stands there twice", name)
		}
		if err := checkLabel("filter", name); err != nil {
			return problem("filters.enabled", "enabled in filters: %w", err)
		}
	}
	return nil
}

// isHeader accepts header names (RFC 9110 token) that may carry a credential; the ones that frame or
// route a request are not a place for a secret.
func isHeader(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	reserved := []string{"host", "content-length", "content-type", "transfer-encoding", "connection", "accept", "te", "upgrade", "trailer"}
	lower := strings.ToLower(s)
	return s != "" && len(s) <= 64 && !slices.Contains(reserved, lower) && !strings.HasPrefix(lower, "mcp-")
}
