package gatewright

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

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
