package config

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// AuthorizationServer is an OAuth 2.1 authorization server whose access tokens an organisation trusts: authorization_server
// "name" { ... }. The gateway is its resource server, and serves the metadata that clients find it by (RFC 9728).
type AuthorizationServer struct {
	// Tenant is the organisation whose agents its tokens are for; required.
	Tenant string `koanf:"tenant"`
	// Issuer is the iss claim of its tokens, exactly; required.
	Issuer string `koanf:"iss"`
	// JWKSURL is where its keys are. Default "": what its metadata say (RFC 8414, or OpenID Connect discovery).
	JWKSURL string `koanf:"jwks_url"`
	// AllowPrivate permits it a loopback or private address, and plain HTTP on loopback. Default false.
	AllowPrivate bool `koanf:"allow_private"`
	// Algorithms are the signature algorithms taken, of EdDSA, ES256, RS256 and PS256. Default all four.
	Algorithms []string `koanf:"algorithms"`
	// Types are the values of a token's typ that are taken. Default at+jwt and JWT. Danger: with JWT, tokens of the same issuer
	// that were made for something else are held off by their audience alone.
	Types []string `koanf:"types"`
	// Audiences are values of aud that are taken besides public_url in proxy and the addresses under it. Default none. Danger:
	// whoever else takes one of them can use the tokens it is shown here.
	Audiences []string `koanf:"audiences"`
	// Claims are what a token must say besides, as "org_id=acme". They tell organisations apart that share an issuer.
	Claims []string `koanf:"claims"`
	// AgentClaim is the claim that names the client. Default "client_id", which reads azp too.
	AgentClaim string `koanf:"agent_claim"`
	// Agents says which agent each client is, as "client=agent", by id or name; others are refused. Default none: the claim
	// names the agent itself. Danger: whoever registers clients there then chooses among all agents of the organisation.
	Agents []string `koanf:"agents"`
	// Agent is the agent of tokens without the claim. Default "": they are refused.
	Agent string `koanf:"agent"`
	// UserClaim is the claim that names the person, by id or email. Default "": it is the agent's owner who acts.
	UserClaim string `koanf:"user_claim"`
	// Scopes are what every call needs.
	Scopes []string `koanf:"scopes"`
	// Operations are what some calls need besides, as "tools/call=mcp:call" or "tools/call bank/transfer=bank:pay bank:read".
	Operations []string `koanf:"operations"`
	// Advertise names it to strangers in the port's metadata, so that clients find it. Default true.
	Advertise bool `koanf:"advertise"`
	// MaxAge is the longest life of a token taken. Default 1h. Danger: what the issuer revokes works until the token ends.
	MaxAge time.Duration `koanf:"max_age" min:"1s" max:"24h"`
	// Refresh is how often its keys are fetched again. Default 15m.
	Refresh time.Duration `koanf:"refresh" min:"10s" max:"24h"`
	// Stale is how much longer they are used while that fails; then its tokens are refused. Default 1h. Danger: a key that it
	// withdrew in that time still opens.
	Stale time.Duration `koanf:"stale" min:"0s" max:"168h"`
}

// DefaultAuthorizationServer is what a block leaves out.
func DefaultAuthorizationServer() AuthorizationServer {
	return AuthorizationServer{
		Algorithms: []string{"EdDSA", "ES256", "RS256", "PS256"}, Types: []string{"at+jwt", "JWT"}, Audiences: []string{}, Claims: []string{},
		AgentClaim: "client_id", Agents: []string{}, Scopes: []string{}, Operations: []string{}, Advertise: true,
		MaxAge: time.Hour, Refresh: 15 * time.Minute, Stale: time.Hour,
	}
}

func (c Config) validateAuthorizationServers() error {
	if u := c.Proxy.PublicURL; u != "" && !isOrigin(u) {
		return problem("proxy.public_url", "public_url in proxy: want http or https and a host in lower case, and no path, have %q", u)
	}
	taken := map[string]string{c.Intent.Issuer: "this gateway"}
	for name, l := range c.Logins {
		taken[l.Issuer] = "login \"" + name + "\""
	}
	for _, name := range keys(c.AuthorizationServers) {
		s, at := c.AuthorizationServers[name], "authorization_server."+name
		if err := checkLabel("authorization_server", name); err != nil {
			return problem(at, "%w", err)
		}
		switch {
		case s.Tenant == "" || s.Issuer == "":
			return problem(at, "authorization_server %q: tenant and iss are required", name)
		case taken[s.Issuer] != "":
			return problem(at+".iss", "iss in authorization_server: %q is already %s", s.Issuer, taken[s.Issuer])
		}
		if err := s.validate(at); err != nil {
			return err
		}
		for _, other := range keys(c.AuthorizationServers) {
			if o := c.AuthorizationServers[other]; other < name && o.Issuer == s.Issuer && !apart(o.Claims, s.Claims) {
				return problem(at+".iss", "iss in authorization_server: %q is authorization_server %q too: give each a value of one claim in claims, so that every token is for one of them", s.Issuer, other)
			}
		}
	}
	return nil
}

// apart tells whether no token can have both lists of claims: they want another value of one claim.
func apart(a, b []string) bool {
	for _, x := range a {
		name, value, _ := strings.Cut(x, "=")
		for _, y := range b {
			if n, v, _ := strings.Cut(y, "="); n == name && v != value {
				return true
			}
		}
	}
	return false
}

func (s AuthorizationServer) validate(at string) error {
	for _, alg := range s.Algorithms {
		if !slices.Contains(DefaultAuthorizationServer().Algorithms, alg) {
			return problem(at+".algorithms", "algorithms in authorization_server: want EdDSA, ES256, RS256 or PS256, have %q", alg)
		}
	}
	for setting, list := range map[string][]string{"claims": s.Claims, "agents": s.Agents, "operations": s.Operations} {
		for _, text := range list {
			if key, value, ok := strings.Cut(text, "="); !ok || strings.TrimSpace(key) == "" || strings.TrimSpace(value) == "" {
				return problem(at+"."+setting, "%s in authorization_server: want NAME=VALUE, have %q", setting, text)
			}
		}
	}
	scopes := slices.Clone(s.Scopes)
	for _, n := range s.Operations {
		_, value, _ := strings.Cut(n, "=")
		scopes = append(scopes, strings.Fields(value)...)
	}
	for _, scope := range scopes {
		if !isScope(scope) {
			return problem(at+".scopes", "scopes in authorization_server: %q is no scope (RFC 6749, 3.3)", scope)
		}
	}
	switch {
	case len(s.Algorithms) == 0 || len(s.Types) == 0:
		return problem(at, "authorization_server: algorithms and types must not be empty")
	case s.AgentClaim == "" && s.Agent == "":
		return problem(at, "authorization_server: set agent_claim or agent: a token stands for an agent here")
	}
	return nil
}

// isScope takes what RFC 6749, 3.3 calls a scope-token: it is written into a header between quotes.
func isScope(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c == '"' || c == '\\' || c > '~' {
			return false
		}
	}
	return s != ""
}

func isOrigin(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && text == u.Scheme+"://"+strings.ToLower(u.Host) && u.User == nil
}
