// Package bearer checks the access tokens of OAuth 2.1 authorization servers that an organisation trusts (RFC 6750, RFC
// 9068): the gateway is their resource server. It finds their keys over the network, and a token that it has verified says
// which of the organisation's agents it is for. Whether that agent may act is the directory's to say, at every call.
//
// What a token may be is configured; a token only has to agree. Nothing of it is believed, and nothing fetched for it, before it
// names a configured issuer.
package bearer

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/gateway/identity/jws"
)

// Server is an authorization server as an organisation trusts it.
type Server struct {
	Name   string // in records and key ids as "oauth:NAME"
	Tenant string // the organisation whose agents its tokens are for
	Issuer string // iss, exactly

	JWKS         string   // URL of its keys; "": its metadata say it (RFC 8414, or OpenID Connect discovery)
	AllowPrivate bool     // it may stand at a loopback or private address, and on loopback be plain HTTP
	Algorithms   []string // of EdDSA, ES256, RS256 and PS256, those taken
	Types        []string // values of the header's typ that are taken, as "at+jwt"
	Audiences    []string // values of aud that are taken besides the gateway's own addresses

	Claims     map[string]string // what a token must say besides, exactly
	AgentClaim string            // names the client: "client_id" also reads azp, and refuses a token where they differ
	Agents     map[string]string // which agent each client is; nil: the claim names the agent itself, by id or name
	Agent      string            // of tokens without the claim; "": they are refused
	UserClaim  string            // names the person by id or email; "": the agent's owner

	Scopes     []string // that every call needs
	Operations []Need   // and that some need besides
	Hidden     bool     // is not named to strangers

	MaxAge  time.Duration // a token is taken so long after iat at most
	Leeway  time.Duration // how far the issuer's clock may run ahead: nbf and iat. Expiry has none
	Refresh time.Duration // keys are fetched again after it
	Stale   time.Duration // and used so much longer where that fails
}

// Need are the scopes that an operation needs: of all servers, of one, or of one tool of it.
type Need struct {
	Op, Server, Name string // Server and Name may be ""
	Scopes           []string
}

// ErrInvalid refuses settings.
var ErrInvalid = errors.New("invalid")

// Options are what a Set needs beside its servers.
type Options struct {
	// Resource is the gateway's address as tokens name it (RFC 8707): scheme, host and port.
	Resource string
	// Transport is the way to an authorization server. It judges addresses after DNS and follows no redirect.
	Transport func(allowPrivate bool) (http.RoundTripper, error)
	Now       func() time.Time
	Log       *slog.Logger
}

// Set are all authorization servers of a gateway with what was verified of them. It is safe for concurrent use.
type Set struct {
	resource string
	servers  map[string][]*server // by issuer
	all      []*server
	seen     *jws.Memory[Token]
}

type server struct {
	Server
	keys *source
}

// Bounds of settings: an operator writes them, so that a slip of the pen costs no memory.
const (
	maxServers = 256
	maxList    = 256
	maxText    = 512
)

// New checks the settings. Nothing is fetched before the first token comes.
func New(o Options, list []Server) (*Set, error) {
	if len(list) > maxServers {
		return nil, fmt.Errorf("%d authorization servers, at most %d: %w", len(list), maxServers, ErrInvalid)
	}
	s := &Set{resource: strings.TrimSuffix(o.Resource, "/"), servers: map[string][]*server{}, seen: jws.NewMemory[Token]()}
	for i := range list {
		if err := list[i].check(); err != nil {
			return nil, fmt.Errorf("authorization server %q: %w", list[i].Name, err)
		}
		way, err := o.Transport(list[i].AllowPrivate)
		if err != nil {
			return nil, fmt.Errorf("authorization server %q: %w", list[i].Name, err)
		}
		made := &server{Server: list[i]}
		made.keys = newSource(&made.Server, way, o)
		s.servers[made.Issuer] = append(s.servers[made.Issuer], made)
		s.all = append(s.all, made)
	}
	return s, nil
}

func (s *Server) check() error {
	invalid := func(why string) error { return fmt.Errorf("%w: %s", ErrInvalid, why) }
	switch {
	case s.Name == "" || s.Tenant == "" || s.Issuer == "" || len(s.Issuer) > maxText:
		return invalid("name, tenant and iss are required")
	case s.checkURL(s.Issuer) != nil && s.JWKS == "":
		return invalid("iss must be an https URL where the keys' address is to be discovered from it; else set jwks_url")
	case s.JWKS != "" && s.checkURL(s.JWKS) != nil:
		return invalid("jwks_url must be https (http only on loopback with allow_private)")
	case len(s.Algorithms) == 0 || len(s.Types) == 0:
		return invalid("algorithms and types are required")
	case slices.ContainsFunc(s.Algorithms, func(a string) bool { return !jws.Algorithm(a).Public() }):
		return invalid("algorithms must be of EdDSA, ES256, RS256 and PS256: what is signed with a shared secret anybody who checks it can sign")
	case s.AgentClaim == "" && s.Agent == "":
		return invalid("agent_claim or agent: a token stands for an agent here")
	case len(s.Agents) > maxList || len(s.Operations) > maxList || len(s.Audiences) > maxList || len(s.Claims) > maxList:
		return invalid("too many entries")
	case s.MaxAge <= 0 || s.Leeway < 0 || s.Refresh <= 0 || s.Stale < 0:
		return invalid("max_age and refresh must be more than 0")
	}
	return nil
}

// checkURL lets https through, and http to this machine where the operator allowed it.
func (s *Server) checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || len(text) > maxURL || u.Host == "" || u.Opaque != "" || u.User != nil || u.Fragment != "" || strings.Contains(text, "#") {
		return fmt.Errorf("an address that cannot be used: %w", ErrInvalid)
	}
	if u.Scheme == "https" || u.Scheme == "http" && s.AllowPrivate && loopback(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("an address that is not https: %w", ErrInvalid)
}

// Issuers are the authorization servers that strangers are told of, each once, in the order of the settings.
func (s *Set) Issuers() (list []string) {
	for _, x := range s.all {
		if !x.Hidden && !slices.Contains(list, x.Issuer) {
			list = append(list, x.Issuer)
		}
	}
	return list
}

// Scopes are those that every call needs at one of the servers that strangers are told of.
func (s *Set) Scopes() (list []string) {
	for _, x := range s.all {
		for _, scope := range x.Scopes {
			if !x.Hidden && !slices.Contains(list, scope) {
				list = append(list, scope)
			}
		}
	}
	return list
}

// AllScopes are those and what operations need besides, for the metadata.
func (s *Set) AllScopes() []string {
	list := s.Scopes()
	for _, x := range s.all {
		for _, need := range x.Operations {
			for _, scope := range need.Scopes {
				if !x.Hidden && !slices.Contains(list, scope) {
					list = append(list, scope)
				}
			}
		}
	}
	return list
}

// Stats are what was fetched.
type Stats struct{ Fetches, Failures uint64 }

// Stats counts over all servers.
func (s *Set) Stats() (sum Stats) {
	for _, x := range s.all {
		sum.Fetches += x.keys.fetches.Load()
		sum.Failures += x.keys.failures.Load()
	}
	return sum
}
