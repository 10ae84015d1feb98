package catalogue

import (
	"errors"
	"slices"
	"strings"
)

// Auth is how the gateway comes to access tokens for a server (OAuth 2.1). The zero Auth is none. Its names are a file format.
type Auth struct {
	// Kind is client_credentials, authorization_code or token_exchange.
	Kind string `json:"kind"`
	// Issuer, if set, is the only authorization server that is asked.
	Issuer string `json:"issuer,omitempty"`
	// ClientID is the gateway as it is registered there; ClientSecret and ClientKey name secrets in the tenant's vault.
	ClientID     string `json:"client_id,omitempty"`
	ClientSecret string `json:"client_secret,omitempty"`
	ClientKey    string `json:"client_key,omitempty"`
	// Scopes, if any, are the most that is asked for, separated by spaces.
	Scopes string `json:"scopes,omitempty"`
	// Audience, if set, goes with a token_exchange.
	Audience string `json:"audience,omitempty"`
}

// AuthKinds are the ways there are.
var AuthKinds = []string{"client_credentials", "authorization_code", "token_exchange"}

// maxScopes bounds Scopes in bytes.
const maxScopes = 1024

func (a Auth) validate(s Server) error {
	if a == (Auth{}) {
		return nil
	}
	short := []string{a.ClientID, a.ClientSecret, a.ClientKey, a.Audience}
	switch {
	case !slices.Contains(AuthKinds, a.Kind):
		return errors.New("auth must be client_credentials, authorization_code or token_exchange")
	case s.Credential != "" || s.TakesCallers:
		return errors.New("a server has either a credential of its own or tokens, not both")
	case s.Process:
		return errors.New("tokens are for a server that the gateway itself reaches")
	case a.ClientSecret != "" && a.ClientKey != "":
		return errors.New("a client proves itself by a secret or by a key, not by both")
	case a.ClientID == "" && (a.Kind != "authorization_code" || a.ClientSecret != "" || a.ClientKey != ""):
		return errors.New("a client_id is missing: the gateway as it is registered at the authorization server")
	case a.Kind == "client_credentials" && a.ClientSecret == "" && a.ClientKey == "":
		return errors.New("client_credentials need a client_secret or a client_key")
	case a.Audience != "" && a.Kind != "token_exchange":
		return errors.New("an audience goes with a token_exchange only")
	case len(a.Scopes) > maxScopes || !printable(a.Scopes) || slices.ContainsFunc(short, func(t string) bool { return len(t) > maxURL || !printable(t) }):
		return errors.New("what is said of auth must be short printable text")
	case a.Issuer != "" && (checkURL(a.Issuer) != nil || strings.ContainsAny(a.Issuer, "?")):
		return errors.New("the issuer must be an http or https URL without a query")
	}
	return nil
}
