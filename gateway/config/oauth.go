package config

import (
	"net/url"
	"strings"
)

// OAuth is the gateway as a client of authorization servers, on behalf of the servers behind it.
type OAuth struct {
	// Address is where people's browsers reach the control port: the callback is ADDRESS/oauth/callback. Default "": the control
	// port's own address.
	Address string `koanf:"address"`
	// ClientDocument is the https address at which authorization servers find the gateway's client metadata, which is its client_id
	// there. The control port serves the document at /oauth/client.json; it may as well lie elsewhere. Default none: the gateway is
	// configured at a server, or registers itself.
	ClientDocument string `koanf:"client_document"`
}

func (c Config) validateOAuth() error {
	if a := c.OAuth.Address; a != "" {
		u, err := url.Parse(a)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(a, "/") {
			return problem("oauth.address", "address in oauth: want http or https and a host, without a slash at the end")
		}
	}
	if d := c.OAuth.ClientDocument; d != "" {
		u, err := url.Parse(d)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" || u.Path == "" || u.Path == "/" {
			return problem("oauth.client_document", "client_document in oauth: want an https URL with a path")
		}
	}
	return nil
}

// OAuthTokens says whether the gateway gets tokens for the server.
func (s Server) OAuthTokens() bool { return s.Auth != "static" }

// validateAuth checks how the gateway proves itself to the server.
func (s Server) validateAuth(at string) error {
	if !s.OAuthTokens() {
		if s.AuthIssuer+s.ClientID+s.ClientSecret+s.ClientKey+s.AuthAudience != "" || len(s.AuthScopes) > 0 {
			return problem(at, "auth_issuer, client_id, client_secret, client_key, auth_scopes and auth_audience in server: they are of tokens; say by auth how to get them")
		}
		return nil
	}
	switch {
	case s.Process():
		return problem(at+".auth", "auth in server: tokens are for a url that the gateway itself reaches")
	case s.Credential != "":
		return problem(at+".credential", "credential in server: it is sent as it is; auth gets tokens instead")
	case s.CallerCredentials:
		return problem(at+".caller_credentials", "caller_credentials in server: auth gets tokens instead")
	case s.ClientSecret != "" && s.ClientKey != "":
		return problem(at+".client_key", "client_key in server: there is a client_secret already; a client proves itself by one of them")
	case s.ClientID == "" && (s.Auth != "authorization_code" || s.ClientSecret != "" || s.ClientKey != ""):
		return problem(at, "client_id in server: it is required: the gateway as it is registered at the authorization server")
	case s.Auth == "client_credentials" && s.ClientSecret == "" && s.ClientKey == "":
		return problem(at, "client_secret in server: client_credentials need one, or a client_key")
	case s.AuthAudience != "" && s.Auth != "token_exchange":
		return problem(at+".auth_audience", "auth_audience in server: it goes with auth = \"token_exchange\"")
	}
	if s.AuthIssuer != "" {
		u, err := url.Parse(s.AuthIssuer)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return problem(at+".auth_issuer", "auth_issuer in server: want an https URL, as the authorization server calls itself")
		}
	}
	for _, scope := range s.AuthScopes {
		if scope == "" || strings.ContainsAny(scope, " \"\\") {
			return problem(at+".auth_scopes", "auth_scopes in server: want one scope each")
		}
	}
	return nil
}
