package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/gateway/upstream"
)

// Bound is one server as one subject reaches it, for the time of a call.
type Bound struct {
	b    *Broker
	s    Settings
	by   upstream.Subject
	at   place
	shot atomic.Pointer[string] // the token that was shown last
}

// Bind joins a server and a subject. A subject without what the server's tokens are for shows none.
func (b *Broker) Bind(s Settings, by upstream.Subject) *Bound {
	return &Bound{b: b, s: s, by: by, at: place{s.Tenant, s.Server, s.key(by)}}
}

// nobody says whether there is nobody whose token could be shown.
func (p *Bound) nobody() bool { return p.at.key == "" }

// Fit puts the binding into a target: its tokens go with each request, and refusals come here.
func (p *Bound) Fit(t *upstream.Target) {
	t.Headers, t.Refused, t.Renew = p.headers, p.refused, p.fresh
}

// headers adds the token there is. It waits for nobody: what is stale was renewed by Ready.
func (p *Bound) headers(add func(name, value string)) {
	if token := p.shot.Load(); token != nil && *token != "" {
		add("Authorization", "Bearer "+*token)
	}
}

// Ready sees to it that the token that will be shown is fresh, if there is any. That there is none is no error: the server has to
// say what it wants first.
func (p *Bound) Ready(ctx context.Context) error {
	_, err := p.ready(ctx)
	return err
}

// ready is Ready, and says when the token is to be renewed; zero when nobody knows.
func (p *Bound) ready(ctx context.Context) (next time.Time, err error) {
	if p.nobody() {
		return next, nil
	}
	e, err := p.b.take(ctx, p.at)
	if err != nil {
		return next, err
	}
	defer p.b.give(e)
	if err := p.b.load(ctx, p.s, p.at, e); err != nil {
		return next, err
	}
	if e.grant != nil && e.grant.stale(p.b.o.Now()) {
		if err := p.renew(ctx, e, e.grant.Scopes); err != nil && e.grant.over(p.b.o.Now()) {
			return next, err // while it is good, an authorization server that is down stops no call
		}
	}
	p.show(e)
	if e.grant != nil && e.grant.Expires != 0 {
		next = time.Unix(e.grant.renewAt(), 0)
	}
	return next, nil
}

// renewEvery bounds how often the token of one who listens is renewed, whatever its issuer says of its life.
const renewEvery = 10 * time.Second

// fresh is Ready for who listens for long: another says that the token is not the one of before, and next when to ask again.
func (p *Bound) fresh(ctx context.Context) (another bool, next time.Time, err error) {
	was := p.shown()
	if next, err = p.ready(ctx); err != nil {
		return false, next, err
	}
	if soonest := p.b.o.Now().Add(renewEvery); !next.IsZero() && next.Before(soonest) {
		next = soonest
	}
	return p.shown() != was, next, nil
}

func (p *Bound) show(e *entry) {
	token := ""
	if e.grant != nil {
		token = e.grant.Access
	}
	p.shot.Store(&token)
}

func (p *Bound) shown() string {
	if token := p.shot.Load(); token != nil {
		return *token
	}
	return ""
}

// renew replaces the token of the entry's grant, asking where it was got. A grant that is good no more is dropped. The turn is held.
func (p *Bound) renew(ctx context.Context, e *entry, scopes []string) error {
	g := e.grant
	var next *grant
	var err error
	if p.s.Kind == AuthorizationCode {
		if g.Refresh == "" {
			return p.b.drop(ctx, p.at, e) // the server refuses what comes without, and the user is asked
		}
		next, err = p.b.ask(ctx, p.s, g, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {g.Refresh}}, scopes)
	} else {
		next, err = p.obtain(ctx, g, scopes)
	}
	if errors.Is(err, errInvalidGrant) {
		return p.b.drop(ctx, p.at, e)
	}
	if err != nil {
		return err
	}
	return p.b.save(ctx, p.at, e, next)
}

// obtain asks for a token where no person is needed.
func (p *Bound) obtain(ctx context.Context, g *grant, scopes []string) (*grant, error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	if p.s.Kind == TokenExchange {
		token, err := p.b.o.Identity(p.s.Tenant, p.by, g.Issuer)
		if err != nil {
			return nil, fmt.Errorf("make a token about the agent: %w", err)
		}
		form = url.Values{
			"grant_type":    {"urn:ietf:params:oauth:grant-type:token-exchange"},
			"subject_token": {token}, "subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
			"requested_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		}
		if p.s.Audience != "" {
			form.Set("audience", p.s.Audience)
		}
	}
	if len(scopes) > 0 {
		form.Set("scope", strings.Join(scopes, " "))
	}
	return p.b.ask(ctx, p.s, g, form, scopes)
}

// refused looks for another credential after a refusal. Calls that come together share the one that is found.
func (p *Bound) refused(ctx context.Context, r upstream.Refusal) (again bool, err error) {
	c := hear(r.Challenges)
	if r.Status == 401 {
		p.b.note(place{p.s.Tenant, p.s.Server, ""}, c)
	}
	if p.nobody() {
		return false, fault("nobody has let the gateway use %s; an admin runs: gatewright connector login %s", p.s.Server, p.s.Server)
	}
	if r.Status == 403 && !c.lacking {
		return false, nil
	}
	e, err := p.b.take(ctx, p.at)
	if err != nil {
		return false, err
	}
	defer p.b.give(e)
	if err := p.b.load(ctx, p.s, p.at, e); err != nil {
		return false, err
	}
	if e.grant != nil && e.grant.Access != p.shown() {
		p.show(e)
		return true, nil // another call was faster
	}
	if err := p.another(ctx, e, c); err != nil {
		return false, err
	}
	p.show(e)
	return true, nil
}

// another gets a token in the place of one that is refused. The turn is held.
func (p *Bound) another(ctx context.Context, e *entry, c challenge) error {
	have := e.grant
	if c.lacking && have != nil && len(c.scopes) > 0 && len(intersect(c.scopes, have.Scopes)) == len(c.scopes) {
		return fault("%s refuses for want of scopes that are granted: %s; tell its operator", p.s.Server, strings.Join(c.scopes, " "))
	}
	if p.s.Kind == AuthorizationCode {
		return p.askPerson(ctx, e, c)
	}
	f, err := p.b.discover(ctx, p.s, c)
	if err != nil {
		return err
	}
	var granted []string
	if have != nil && have.Issuer == f.id {
		granted = have.Scopes
	}
	scopes, err := p.s.wanted(f, c, granted)
	if err != nil {
		return err
	}
	g, err := p.b.begin(ctx, p.s, f)
	if err != nil {
		return err
	}
	next, err := p.obtain(ctx, g, scopes)
	if errors.Is(err, errInvalidGrant) {
		return fault("the authorization server of %s refuses a token: invalid_grant; look at how the gateway is registered there", p.s.Server)
	}
	if err != nil {
		return err
	}
	return p.b.save(ctx, p.at, e, next)
}

// begin is a grant with nothing granted yet.
func (b *Broker) begin(ctx context.Context, s Settings, f *found) (*grant, error) {
	c, err := b.client(ctx, s, f)
	if err != nil {
		return nil, err
	}
	return &grant{Settings: s.digest(), Issuer: f.id, TokenEndpoint: f.token, Revocation: f.revoke, Resource: f.resource, Client: c}, nil
}

// askPerson renews what a person consented to, or says that a person is needed. A token is renewed where it was got and only while
// the server still sends there. The turn is held.
func (p *Bound) askPerson(ctx context.Context, e *entry, c challenge) error {
	have := e.grant
	switch {
	case have == nil:
		return fault("nobody has let the gateway use %s for %s; run: gatewright connector login %s", p.s.Server, p.by.User, p.s.Server)
	case c.lacking:
		p.b.note(p.at, c)
		return fault("%s wants more than %s has let the gateway do (%s); run: gatewright connector login %s", p.s.Server, p.by.User, strings.Join(c.scopes, " "), p.s.Server)
	}
	if have.Refresh != "" {
		f, err := p.b.discover(ctx, p.s, c)
		if err != nil {
			return err
		}
		if f.id == have.Issuer {
			if err := p.renew(ctx, e, have.Scopes); err != nil || e.grant != nil {
				return err
			}
		}
	}
	if err := p.b.drop(ctx, p.at, e); err != nil {
		return err
	}
	return fault("%s takes the consent of %s no more; run: gatewright connector login %s", p.s.Server, p.by.User, p.s.Server)
}

// note remembers what a server asked for, for the next login.
func (b *Broker) note(at place, c challenge) {
	if c.metadata == "" && len(c.scopes) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.heard) < maxEntries {
		b.heard[at] = c
	}
}
