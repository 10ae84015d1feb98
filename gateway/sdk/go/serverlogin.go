package gatewright

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// ServerAuth is how the gateway comes to tokens for a server (OAuth 2.1). ClientSecret and ClientKey name secrets in the vault.
type ServerAuth struct {
	Kind         string   `json:"kind"` // client_credentials, authorization_code or token_exchange
	Issuer       string   `json:"issuer,omitempty"`
	ClientID     string   `json:"client_id,omitempty"`
	ClientSecret string   `json:"client_secret,omitempty"`
	ClientKey    string   `json:"client_key,omitempty"`
	Scopes       []string `json:"scopes,omitempty"` // the most that is asked for
	Audience     string   `json:"audience,omitempty"`
}

// ServerLogin is a consent that has begun: whoever opens URL and agrees lets the gateway use the server in the name of the user
// whose key began it.
type ServerLogin struct {
	URL     string    `json:"url"`
	Expires time.Time `json:"expires"`
}

// ServerGrant is what was granted.
type ServerGrant struct {
	Scopes  []string   `json:"scopes"`
	Expires *time.Time `json:"expires"` // nil: it is renewed, or was not said
}

// BeginServerLogin begins the consent of the key's own user. Open the address in that user's browser.
func (a *Admin) BeginServerLogin(ctx context.Context, server string) (*ServerLogin, error) {
	out := &ServerLogin{}
	return out, a.change(ctx, http.MethodPost, "/api/v1/servers/"+url.PathEscape(server)+"/login", nil, out)
}

// FinishServerLogin ends it with the word that the browser shows.
func (a *Admin) FinishServerLogin(ctx context.Context, server, word string) (*ServerGrant, error) {
	out := &ServerGrant{}
	in := map[string]string{"word": word}
	return out, a.change(ctx, http.MethodPost, "/api/v1/servers/"+url.PathEscape(server)+"/login/finish", in, out)
}

// EndServerLogin forgets the consent of the key's own user, and has it revoked.
func (a *Admin) EndServerLogin(ctx context.Context, server string) error {
	return a.change(ctx, http.MethodDelete, "/api/v1/servers/"+url.PathEscape(server)+"/login", nil, nil)
}
