package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/gateway/upstream/oauth"
)

// UpstreamLogins are users' consents that the gateway uses servers behind it in their names.
type UpstreamLogins interface {
	// Begin answers the address that the user opens, and until when.
	Begin(ctx context.Context, tenant, server, user string) (url string, expires time.Time, err error)
	// Finish takes the word that the user's browser was shown, and answers what was granted.
	Finish(ctx context.Context, tenant, server, word string, by identity.Caller) (scopes []string, expires time.Time, err error)
	// End forgets the consent.
	End(ctx context.Context, tenant, server, user string) error
	// Return takes a browser that an authorization server sent back.
	Return(q map[string][]string) (word, server string, err error)
	// Document is the gateway's client metadata; nil when it has no address. Keys checks its tokens about agents.
	Document() map[string]any
	Keys() ([]byte, error)
}

// noUpstreamLogins stands in for a gateway whose servers take no tokens.
type noUpstreamLogins struct{}

func (noUpstreamLogins) Begin(context.Context, string, string, string) (string, time.Time, error) {
	return "", time.Time{}, catalogue.ErrUnknown
}

func (noUpstreamLogins) Finish(context.Context, string, string, string, identity.Caller) ([]string, time.Time, error) {
	return nil, time.Time{}, catalogue.ErrUnknown
}

func (noUpstreamLogins) End(context.Context, string, string, string) error {
	return catalogue.ErrUnknown
}

func (noUpstreamLogins) Return(map[string][]string) (string, string, error) {
	return "", "", oauth.ErrUnknown
}
func (noUpstreamLogins) Document() map[string]any { return nil }
func (noUpstreamLogins) Keys() ([]byte, error)    { return nil, oauth.ErrUnknown }

// Auth is how the gateway comes to tokens for a server. It is exported for the same reason as Settings.
type Auth struct {
	Kind         string   `json:"kind" enum:"client_credentials,authorization_code,token_exchange"`
	Issuer       string   `json:"issuer,omitempty" maxLength:"2048" doc:"the only authorization server that is asked; default: the one that the server names"`
	ClientID     string   `json:"client_id,omitempty" maxLength:"2048" doc:"the gateway as it is registered there"`
	ClientSecret string   `json:"client_secret,omitempty" maxLength:"63" doc:"name of the secret in the vault that proves it"`
	ClientKey    string   `json:"client_key,omitempty" maxLength:"63" doc:"name of the secret in the vault that holds its private key, in PEM"`
	Scopes       []string `json:"scopes,omitempty" maxItems:"64" nullable:"false" doc:"the most that is asked for"`
	Audience     string   `json:"audience,omitempty" maxLength:"2048" doc:"goes with a token_exchange"`
}

func (a *Auth) auth() catalogue.Auth {
	if a == nil {
		return catalogue.Auth{}
	}
	return catalogue.Auth{
		Kind: a.Kind, Issuer: a.Issuer, ClientID: a.ClientID, ClientSecret: a.ClientSecret, ClientKey: a.ClientKey,
		Scopes: strings.Join(a.Scopes, " "), Audience: a.Audience,
	}
}

func shapeAuth(a catalogue.Auth) *Auth {
	if a == (catalogue.Auth{}) {
		return nil
	}
	return &Auth{a.Kind, a.Issuer, a.ClientID, a.ClientSecret, a.ClientKey, strings.Fields(a.Scopes), a.Audience}
}

type beginLoginOut struct {
	Body struct {
		URL     string    `json:"url" doc:"open it in your own browser: whoever consents there lets the gateway act for you"`
		Expires time.Time `json:"expires"`
	}
}

type finishLoginIn struct {
	Name string `path:"name" pattern:"^[a-z0-9][a-z0-9-]{0,62}$" maxLength:"63"`
	Body struct {
		Word string `json:"word" minLength:"9" maxLength:"9" doc:"as the browser shows it"`
	}
}

type finishLoginOut struct {
	Body struct {
		Scopes  []string   `json:"scopes" nullable:"false" doc:"what was granted"`
		Expires *time.Time `json:"expires,omitempty" doc:"absent when it is renewed, or was not said"`
	}
}

func (m *mounting) upstreamLogins() {
	all := m.api.deps.Logins
	handle(m, "begin-server-login", func(ctx context.Context, c *call, in *serverPath) (*beginLoginOut, error) {
		address, expires, err := all.Begin(ctx, c.caller.Tenant(), in.Name, c.caller.User())
		if err != nil {
			return nil, loginProblem(err)
		}
		out := &beginLoginOut{}
		out.Body.URL, out.Body.Expires = address, expires.UTC()
		return out, nil
	})
	handle(m, "finish-server-login", func(ctx context.Context, c *call, in *finishLoginIn) (*finishLoginOut, error) {
		scopes, expires, err := all.Finish(ctx, c.caller.Tenant(), in.Name, in.Body.Word, c.caller)
		if err != nil {
			return nil, loginProblem(err)
		}
		out := &finishLoginOut{}
		out.Body.Scopes, out.Body.Expires = strs(scopes), moment(expires)
		return out, nil
	})
	handle(m, "end-server-login", func(ctx context.Context, c *call, in *serverPath) (*none, error) {
		if err := all.End(ctx, c.caller.Tenant(), in.Name, c.caller.User()); err != nil {
			return nil, loginProblem(err)
		}
		return nil, nil
	})
}

// loginProblem tells the user why there is no login. The texts of package oauth hold nothing that a server sent unchecked.
func loginProblem(err error) error {
	e, refused := errors.AsType[*upstream.Error](err)
	switch {
	case errors.Is(err, catalogue.ErrUnknown), errors.Is(err, oauth.ErrUnknown):
		return notFound()
	case errors.Is(err, oauth.ErrLogin):
		return refuse(http.StatusConflict, "login_refused", clip(err.Error(), clipText), "begin again and finish it yourself, where the server takes logins of users (auth = \"authorization_code\")")
	case refused:
		return refuse(http.StatusBadGateway, "upstream_failed", clip(e.Detail, clipText), "mend it at the server, or in what is configured of it")
	}
	return err
}

// Where the rest of the world meets the gateway as a client: without a key, and only these.
const (
	oauthPrefix = "/oauth/"
	// CallbackPath is where people's browsers come back to.
	CallbackPath = oauthPrefix + "callback"
	documentPath = oauthPrefix + "client.json"
	keysPath     = oauthPrefix + "jwks.json"
)

// maxReturn bounds the query that an authorization server sends back, in bytes.
const maxReturn = 8 << 10

// serveOAuth answers what needs no key. A browser comes to the callback from another site, by design, and brings nothing that
// counts but a state that was drawn at random.
func (a *API) serveOAuth(w http.ResponseWriter, r *http.Request) {
	if !a.guard.hostAllowed(r.Host) {
		refuse(http.StatusMisdirectedRequest, "host_refused", "the Host header names no host this port answers to", "add the name to control.hosts").write(w)
		return
	}
	if r.Method != http.MethodGet || len(r.URL.RawQuery) > maxReturn {
		notFound().write(w)
		return
	}
	switch r.URL.Path {
	case CallbackPath:
		a.serveCallback(w, r)
	case documentPath:
		document := a.deps.Logins.Document()
		if document == nil {
			notFound().write(w)
			return
		}
		b, err := json.Marshal(document)
		a.serveJSON(w, b, err)
	case keysPath:
		b, err := a.deps.Logins.Keys()
		a.serveJSON(w, b, err)
	default:
		notFound().write(w)
	}
}

func (a *API) serveJSON(w http.ResponseWriter, b []byte, err error) {
	if err != nil {
		a.log.Error("a document for authorization servers", "error", err)
		notFound().write(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(b)
}

// serveCallback shows the word that finishes a login, as plain text: nothing that came with the request is in it.
func (a *API) serveCallback(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	q, err := url.ParseQuery(r.URL.RawQuery)
	for _, values := range q {
		if len(values) > 1 { // which of two counts is a matter of taste
			err = oauth.ErrUnknown
		}
	}
	var word, server string
	if err == nil {
		word, server, err = a.deps.Logins.Return(q)
	}
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte("There is no login. " + loginText(err) + "\n"))
		return
	}
	_, _ = w.Write([]byte("Almost done: the gateway may use the server " + server + " for you once you finish where you began.\n\n" +
		"Type this word there:\n\n    " + word + "\n\nIf you did not begin this yourself, close the page and tell nobody the word.\n"))
}

func loginText(err error) string {
	if errors.Is(err, oauth.ErrLogin) {
		return clip(err.Error(), clipText)
	}
	return "What came back cannot be read; begin again: gatewright connector login SERVER"
}
