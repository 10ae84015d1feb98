// Package oauth gets the gateway access tokens for the MCP servers behind it, as MCP's authorization asks for (OAuth 2.1, RFC 9728,
// RFC 8414, RFC 8707, RFC 9207): by client credentials, by a person's consent (authorization code with PKCE), or by exchange of
// a token of the gateway's own about the agent (RFC 8693).
//
// Neither a server nor its authorization server is trusted. Every address that they name is dialed under the same guard as a
// server's own, over https, without redirects, in bounded time and size; a server's metadata must be about that very server, and
// an authorization server's about that very issuer. A token is for one server and one subject, lies sealed in the vault, and is
// forgotten when what is configured of the server changes. What a caller showed the gateway goes nowhere.
package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/gatewright/gatewright/gateway/upstream"
)

// The ways to come to a token.
const (
	ClientCredentials = "client_credentials"
	AuthorizationCode = "authorization_code"
	TokenExchange     = "token_exchange"
)

// Settings are what is configured of one server. They can be compared.
type Settings struct {
	Tenant, Server, URL string
	AllowPrivate        bool   // loopback and private addresses, and on loopback http
	Kind                string // one of the ways
	// Issuer, if set, is the only authorization server whose tokens are asked for.
	Issuer string
	// ClientID is the gateway as it is registered there. ClientSecret and ClientKey name secrets of the tenant's vault: a
	// password, or a private key in PEM (RFC 7523).
	ClientID, ClientSecret, ClientKey string
	// Scopes, if any, are the most that is asked for, separated by spaces.
	Scopes string
	// Audience, if set, goes with a token exchange.
	Audience string
}

// digest tells settings apart: a token that was got under others is not used.
func (s Settings) digest() string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings and a bool
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// Keep holds what must outlive the process, sealed; the vault's grants are one. A name is server and key, of which a server's can
// be forgotten together.
type Keep interface {
	PutGrant(ctx context.Context, tenant, server, key string, secret []byte) error
	UseGrant(ctx context.Context, tenant, server, key string, fn func(secret []byte) error) error
	DropGrant(ctx context.Context, tenant, server, key string) error
	DropGrants(ctx context.Context, tenant, server string) error
}

// Secrets opens the operator's secrets.
type Secrets interface {
	Use(ctx context.Context, tenant, name string, fn func(secret []byte) error) error
}

// Options is what New needs; all but ClientDocument is required.
type Options struct {
	// Transport is the guarded way out. It follows no redirects and uses no proxy.
	Transport func(allowPrivate bool) (http.RoundTripper, error)
	Secrets   Secrets
	Keep      Keep
	// Absent is the error of Keep for what it does not hold.
	Absent error
	// Sign makes a JWT of claims with a private key in PEM, and Identity one that says who a subject of a tenant is, for the
	// audience alone.
	Sign     func(pem []byte, claims map[string]any) (string, error)
	Identity func(tenant string, s upstream.Subject, audience string) (string, error)
	// Callback is the address that people are sent back to after their consent.
	Callback string
	// ClientDocument is the https address of Document, by which authorization servers know the gateway; "" is none.
	ClientDocument string
	Now            func() time.Time
	Rand           io.Reader
	Log            *slog.Logger
}

// Bounds. A token endpoint answers within a second, with 2 KiB.
const (
	maxAnswer  = 256 << 10
	within     = 10 * time.Second // one request to an authorization server
	maxEntries = 10_000           // subjects whose tokens are in memory
	maxToken   = 16 << 10         // of one token: it has to fit a header
)

// ErrLogin is a consent that was not given, or cannot be taken.
var ErrLogin = errors.New("not logged in")

// ErrUnknown is a login, or a subject's grant, that is not there.
var ErrUnknown = errors.New("no such login")

// Broker holds all tokens. It is safe for concurrent use.
type Broker struct {
	o Options

	mu      sync.Mutex // guards what follows
	entries map[place]*entry
	heard   map[place]challenge // of each server: what it last asked for
	logins  map[string]*login   // by the digest of their state
}

// place is where a grant lies; key is empty for what is the server's.
type place struct{ tenant, server, key string }

// New returns a Broker.
func New(o Options) (*Broker, error) {
	if o.Transport == nil || o.Secrets == nil || o.Keep == nil || o.Absent == nil || o.Sign == nil || o.Identity == nil || o.Now == nil || o.Rand == nil || o.Log == nil {
		return nil, errors.New("oauth: a part is missing")
	}
	return &Broker{o: o, entries: map[place]*entry{}, heard: map[place]challenge{}, logins: map[string]*login{}}, nil
}

// key names the subject whose grant it is. The gateway itself reads the lists of servers.
func (s Settings) key(by upstream.Subject) string {
	switch {
	case s.Kind == ClientCredentials:
		return "gateway"
	case s.Kind == TokenExchange && by.Agent != "":
		return "agent/" + by.Agent
	case s.Kind == AuthorizationCode && by.User != "":
		return "user/" + by.User
	}
	return ""
}

// entry is one grant in memory. Who holds turn may change it.
type entry struct {
	turn   chan struct{}
	loaded bool
	grant  *grant // nil: there is none

	// What follows is guarded by Broker.mu.
	gone  bool // forgotten meanwhile: nothing is kept any more
	users int  // who holds the turn, or waits for it
}

// take finds the place of a grant and waits for its turn: of many calls that need a new token one gets it, for all. Beyond the
// bound what nobody uses is left to be read again.
func (b *Broker) take(ctx context.Context, at place) (*entry, error) {
	b.mu.Lock()
	e := b.entries[at]
	if e == nil {
		for other, have := range b.entries {
			if len(b.entries) < maxEntries {
				break
			}
			if have.users == 0 {
				delete(b.entries, other)
			}
		}
		e = &entry{turn: make(chan struct{}, 1)}
		b.entries[at] = e
	}
	e.users++
	b.mu.Unlock()
	select {
	case e.turn <- struct{}{}:
		return e, nil
	case <-ctx.Done():
		b.mu.Lock()
		e.users--
		b.mu.Unlock()
		return nil, ctx.Err()
	}
}

// give ends the turn.
func (b *Broker) give(e *entry) {
	<-e.turn
	b.mu.Lock()
	defer b.mu.Unlock()
	e.users--
}

// grant is what was granted to one subject at one server. Its names are a file format.
type grant struct {
	Settings      string   `json:"settings"` // the digest of what was configured
	Issuer        string   `json:"issuer"`
	TokenEndpoint string   `json:"token_endpoint"`
	Revocation    string   `json:"revocation,omitempty"`
	Resource      string   `json:"resource"`
	Client        client   `json:"client"`
	Access        string   `json:"access"`
	Refresh       string   `json:"refresh,omitempty"`
	Got           int64    `json:"got"`               // Unix seconds
	Expires       int64    `json:"expires,omitempty"` // Unix seconds; 0: it was not said
	Scopes        []string `json:"scopes,omitempty"`
}

// stale says whether the token should be renewed before it is shown: in the last tenth of its life, at most a minute.
func (g *grant) stale(now time.Time) bool {
	return g.Expires != 0 && now.Unix() >= g.renewAt()
}

// renewAt is when the token begins to be stale, in Unix seconds.
func (g *grant) renewAt() int64 { return g.Expires - min((g.Expires-g.Got)/10, 60) }

// over says whether the token is good no more.
func (g *grant) over(now time.Time) bool { return g.Expires != 0 && now.Unix() >= g.Expires }

// load reads the grant once. One of other settings is dropped. The turn is held.
func (b *Broker) load(ctx context.Context, s Settings, at place, e *entry) error {
	if !e.loaded {
		var g grant
		err := b.o.Keep.UseGrant(ctx, at.tenant, at.server, at.key, func(secret []byte) error { return json.Unmarshal(secret, &g) })
		switch {
		case errors.Is(err, b.o.Absent):
		case err != nil:
			return fmt.Errorf("read the grant of server %s: %w", at.server, err)
		default:
			e.grant = &g
		}
		e.loaded = true
	}
	if e.grant != nil && e.grant.Settings != s.digest() {
		return b.drop(ctx, at, e)
	}
	return nil
}

// save makes a grant durable and puts it in force. The turn is held.
func (b *Broker) save(ctx context.Context, at place, e *entry, g *grant) error {
	text, err := json.Marshal(g)
	if err != nil {
		return fmt.Errorf("write a grant: %w", err)
	}
	defer clear(text)
	if err := b.o.Keep.PutGrant(ctx, at.tenant, at.server, at.key, text); err != nil {
		return fmt.Errorf("keep the grant of server %s: %w", at.server, err)
	}
	b.mu.Lock()
	gone := e.gone
	b.mu.Unlock()
	if gone { // looked at last: Forget drops what it finds, and this might have come after
		return errors.Join(fault("%s was changed or removed meanwhile; try again", at.server), b.drop(ctx, at, e))
	}
	e.grant, e.loaded = g, true
	return nil
}

// drop forgets a grant. The turn is held.
func (b *Broker) drop(ctx context.Context, at place, e *entry) error {
	e.grant = nil
	if err := b.o.Keep.DropGrant(ctx, at.tenant, at.server, at.key); err != nil && !errors.Is(err, b.o.Absent) {
		e.loaded = false
		return fmt.Errorf("forget the grant of server %s: %w", at.server, err)
	}
	return nil
}

// Forget drops all that is known of a server: grants, registrations and logins that have begun.
func (b *Broker) Forget(ctx context.Context, tenant, server string) error {
	b.mu.Lock()
	for at, e := range b.entries {
		if at.tenant == tenant && at.server == server {
			e.gone = true
			delete(b.entries, at)
		}
	}
	delete(b.heard, place{tenant, server, ""})
	for state, l := range b.logins {
		if l.at.tenant == tenant && l.at.server == server {
			delete(b.logins, state)
		}
	}
	b.mu.Unlock()
	if err := b.o.Keep.DropGrants(ctx, tenant, server); err != nil {
		return fmt.Errorf("forget the grants of server %s: %w", server, err)
	}
	return nil
}
