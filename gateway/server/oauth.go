package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/identity/jws"
	"github.com/gatewright/gatewright/gateway/identity/vault"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/gateway/upstream/oauth"
	"github.com/gatewright/gatewright/store"
)

// openOAuth builds what gets tokens for the servers that want them.
func (g *Gateway) openOAuth(context.Context) error {
	seed, err := g.dir.Key("identity", 32)
	if err != nil {
		return err
	}
	if g.identityKey, err = jws.SeededKey(seed); err != nil {
		return fmt.Errorf("key identity: %w", err)
	}
	c := g.o.Config
	callback := c.OAuth.Address
	if callback == "" {
		callback = g.ControlURL()
	}
	ways := &ways{config: upstreamConfig(c.Upstream, c.Catalogue.MaxTools)}
	g.oauth, err = oauth.New(oauth.Options{
		Transport: ways.to, Secrets: g.vault, Keep: g.vault, Absent: vault.ErrNotFound, Sign: signAssertion, Identity: g.identityToken,
		Callback: callback + control.CallbackPath, ClientDocument: c.OAuth.ClientDocument, Now: g.o.Now, Rand: g.o.Rand, Log: g.o.Log,
	})
	return err
}

// ways are the guarded transports to authorization servers, one that may reach private addresses and one that may not.
type ways struct {
	config upstream.Config
	mu     sync.Mutex
	made   map[bool]http.RoundTripper
}

func (w *ways) to(allowPrivate bool) (http.RoundTripper, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if way := w.made[allowPrivate]; way != nil {
		return way, nil
	}
	way, err := upstream.Transport(w.config, nil, allowPrivate)
	if err != nil {
		return nil, err
	}
	if w.made == nil {
		w.made = map[bool]http.RoundTripper{}
	}
	w.made[allowPrivate] = way
	return way, nil
}

// signAssertion makes a client's assertion (RFC 7523) with the operator's key.
func signAssertion(pem []byte, claims map[string]any) (string, error) {
	key, err := jws.ReadPrivateKey(pem)
	if err != nil {
		return "", err
	}
	return jws.Sign(key, "JWT", claims)
}

// identityTTL is how long a token about an agent is good: it is exchanged at once.
const identityTTL = 2 * time.Minute

// identityType says what the token is, so that nobody takes it for one of another use.
const identityType = "gatewright-identity+jwt"

// identityToken says who an agent is and for whom it acts, to one authorization server. It opens nothing here: no port takes its
// type or its key.
func (g *Gateway) identityToken(tenant string, s upstream.Subject, audience string) (string, error) {
	if !g.serving.Load() {
		return "", errKeysNotServed
	}
	id, err := g.randomID()
	if err != nil {
		return "", err
	}
	now := g.o.Now()
	claims := map[string]any{
		"iss": g.o.Config.Intent.Issuer, "aud": audience, "sub": s.Agent, "tenant": tenant, "jti": id,
		"iat": now.Unix(), "exp": now.Add(identityTTL).Unix(),
	}
	if s.User != "" {
		claims["user"] = s.User
	}
	return jws.Sign(g.identityKey, identityType, claims)
}

// errKeysNotServed keeps an authorization server from looking for keys at a port that does not answer yet.
var errKeysNotServed = upstream.NoCredential("the gateway does not serve its keys yet; its tools are read when it does")

// listExchanged reads the tools that could not be read before the gateway served its keys.
func (g *Gateway) listExchanged(ctx context.Context) {
	orgs, err := g.people.Orgs(ctx, store.Instance)
	if err != nil {
		g.o.Log.Warn("which servers wait for the gateway's keys is not known; the next refresh reads them", "error", err)
	}
	for _, o := range orgs {
		for _, s := range g.tools.Servers(o.Tenant) {
			if h, _ := g.tools.Health(s.Tenant, s.Name); s.Auth.Kind == oauth.TokenExchange && s.Enabled && h.Err != "" {
				g.look(ctx, s.Tenant, s.Name)
			}
		}
	}
}

func (g *Gateway) randomID() (string, error) {
	var raw [16]byte
	if _, err := g.o.Rand.Read(raw[:]); err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	return fmt.Sprintf("%x", raw), nil
}

// settings are how tokens for a server are got.
func settings(s catalogue.Server) oauth.Settings {
	return oauth.Settings{
		Tenant: s.Tenant, Server: s.Name, URL: s.URL, AllowPrivate: s.AllowPrivate, Kind: s.Auth.Kind, Issuer: s.Auth.Issuer,
		ClientID: s.Auth.ClientID, ClientSecret: s.Auth.ClientSecret, ClientKey: s.Auth.ClientKey, Scopes: s.Auth.Scopes, Audience: s.Auth.Audience,
	}
}

// tokens lets a target show tokens. Those of users and agents go only with what is done for them.
func (g *Gateway) tokens(ctx context.Context, s catalogue.Server, t *upstream.Target) (*upstream.Target, error) {
	bind := func(ctx context.Context, by upstream.Subject) (*upstream.Target, error) {
		own := *t
		p := g.oauth.Bind(settings(s), by)
		p.Fit(&own)
		own.As = nil
		if err := p.Ready(ctx); err != nil {
			return nil, err
		}
		return &own, nil
	}
	if s.Auth.Kind == oauth.ClientCredentials {
		return bind(ctx, upstream.Subject{})
	}
	nobody, err := bind(ctx, upstream.Subject{})
	if err != nil {
		return nil, err
	}
	nobody.As = bind
	return nobody, nil
}

// Whose consent lists are read under: the gateway lists for everybody, and users' tokens are their own. An admin or manager who
// logs in lets the gateway list with it too.
const listerKey = "lister"

// asLister is the target as the gateway itself reads a server's lists.
func (g *Gateway) asLister(ctx context.Context, s catalogue.Server, t *upstream.Target) (*upstream.Target, error) {
	if t.As == nil {
		return t, nil
	}
	by := upstream.Subject{Agent: "gateway"}
	if s.Auth.Kind == oauth.AuthorizationCode {
		by = upstream.Subject{}
		err := g.vault.UseGrant(ctx, s.Tenant, s.Name, listerKey, func(user []byte) error {
			by.User = string(user)
			return nil
		})
		if err != nil && !errors.Is(err, vault.ErrNotFound) {
			return nil, fmt.Errorf("who lists server %s: %w", s.Name, err)
		}
	}
	if by.User == "" && by.Agent == "" {
		return t, nil
	}
	return t.As(ctx, by)
}

// logins is the broker as the control port uses it.
type logins struct{ g *Gateway }

func (l logins) server(tenant, name string) (catalogue.Server, error) {
	s, ok := l.g.tools.Server(tenant, name)
	if !ok || !s.Enabled {
		return s, catalogue.ErrUnknown
	}
	return s, nil
}

// Begin begins the consent of a user.
func (l logins) Begin(ctx context.Context, tenant, name, user string) (string, time.Time, error) {
	s, err := l.server(tenant, name)
	if err != nil {
		return "", time.Time{}, err
	}
	b, err := l.g.oauth.Login(ctx, settings(s), user)
	if err != nil {
		return "", time.Time{}, err
	}
	return b.URL, b.Expires, nil
}

// Finish ends it, and lets the gateway list the server's tools with it when the user manages servers.
func (l logins) Finish(ctx context.Context, tenant, name, word string, by identity.Caller) ([]string, time.Time, error) {
	s, err := l.server(tenant, name)
	if err != nil {
		return nil, time.Time{}, err
	}
	d, err := l.g.oauth.Finish(ctx, settings(s), by.User(), word)
	if err != nil {
		return nil, time.Time{}, err
	}
	if by.Role() == identity.RoleAdmin || by.Role() == identity.RoleManager {
		if err := l.g.vault.PutGrant(ctx, tenant, name, listerKey, []byte(by.User())); err != nil {
			return nil, time.Time{}, err
		}
		l.g.look(ctx, tenant, name)
	}
	return d.Scopes, d.Expires, nil
}

// End forgets what a user granted.
func (l logins) End(ctx context.Context, tenant, name, user string) error {
	s, err := l.server(tenant, name)
	if err != nil {
		return err
	}
	return l.g.oauth.Logout(ctx, settings(s), user)
}

// Return takes a person's browser that comes back.
func (l logins) Return(q map[string][]string) (word, server string, err error) {
	return l.g.oauth.Return(q)
}

// Document is the gateway's client metadata; nil when it has no address.
func (l logins) Document() map[string]any {
	if l.g.o.Config.OAuth.ClientDocument == "" {
		return nil
	}
	return l.g.oauth.Document()
}

// Keys is the JWK set that tokens about agents are checked with.
func (l logins) Keys() ([]byte, error) { return jws.PublicSet(l.g.identityKey) }

var _ control.UpstreamLogins = logins{}
