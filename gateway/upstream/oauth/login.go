package oauth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/gatewright/gatewright/gateway/upstream"
)

// login is a consent that was asked for. It is for the user who began it, at the issuer where it was begun, once.
type login struct {
	at       place
	s        Settings
	user     string
	state    string // the digest of what travels
	verifier string
	grant    *grant // with nothing granted yet
	scopes   []string
	says     bool // the issuer names itself in its answers
	began    time.Time
	code     string // what came back; "" while nothing did
	word     string // the word of the page: who reads it is who consented
	tries    int
}

// Bounds of logins.
const (
	loginTTL  = 10 * time.Minute // a person reads, signs in and consents
	maxLogins = 1000
	ofOneUser = 8
	maxTries  = 3
	maxCode   = 4 << 10
)

// Begun is a login that waits for a person.
type Begun struct {
	URL     string // where the person consents; for the user who began alone
	Expires time.Time
}

// Done is what was granted.
type Done struct {
	Scopes  []string
	Expires time.Time // zero: it was not said, or is renewed
}

// Login begins a consent of a user and returns the address to open. It is refused where the authorization server cannot bind the
// answer to the one who asked (PKCE with S256).
func (b *Broker) Login(ctx context.Context, s Settings, user string) (*Begun, error) {
	if s.Kind != AuthorizationCode || user == "" {
		return nil, fmt.Errorf("%w: the server takes no consent of users", ErrLogin)
	}
	by := upstream.Subject{User: user}
	at := place{s.Tenant, s.Server, s.key(by)}
	c, granted, issuer := b.before(ctx, s, at)
	f, err := b.discover(ctx, s, c)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(f.challenges, "S256") {
		return nil, fault("the authorization server of %s does not know PKCE with S256; the gateway does not log in without", s.Server)
	}
	if f.authorize == "" {
		return nil, fault("the authorization server of %s names no place where people consent; tell its operator", s.Server)
	}
	if issuer != f.id {
		granted = nil
	}
	scopes, err := s.wanted(f, c, granted)
	if err != nil {
		return nil, err
	}
	if slices.Contains(f.issuer.scopes, "offline_access") {
		scopes = cleanScopes(append(scopes, "offline_access"))
	}
	g, err := b.begin(ctx, s, f)
	if err != nil {
		return nil, err
	}
	l := &login{at: at, s: s, user: user, grant: g, scopes: scopes, says: f.namesItself, began: b.o.Now()}
	return b.open(l, f.authorize)
}

// before is what is known when a login begins: what the server asked for last, and what the user granted already.
func (b *Broker) before(ctx context.Context, s Settings, at place) (c challenge, granted []string, issuer string) {
	if e, err := b.take(ctx, at); err == nil {
		if b.load(ctx, s, at, e) == nil && e.grant != nil {
			granted, issuer = e.grant.Scopes, e.grant.Issuer
		}
		b.give(e)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	c = b.heard[place{s.Tenant, s.Server, ""}]
	if more, ok := b.heard[at]; ok {
		c.scopes = cleanScopes(append(slices.Clone(more.scopes), c.scopes...))
		c.metadata = cmp.Or(more.metadata, c.metadata)
	}
	return c, granted, issuer
}

// open writes the address and remembers the login under the digest of its state.
func (b *Broker) open(l *login, authorize string) (*Begun, error) {
	state, err := b.random()
	if err != nil {
		return nil, err
	}
	if l.verifier, err = b.random(); err != nil {
		return nil, err
	}
	u, err := url.Parse(authorize)
	if err != nil {
		return nil, fault("the authorization server of %s names no place where people consent; tell its operator", l.s.Server)
	}
	q := u.Query()
	for name, value := range map[string]string{
		"response_type": "code", "client_id": l.grant.Client.ID, "redirect_uri": b.o.Callback, "state": state, "resource": l.grant.Resource,
		"code_challenge": oauth2.S256ChallengeFromVerifier(l.verifier), "code_challenge_method": "S256",
	} {
		q.Set(name, value)
	}
	if len(l.scopes) > 0 {
		q.Set("scope", strings.Join(l.scopes, " "))
	}
	u.RawQuery = q.Encode()
	l.state = short(state)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tidy(l.at.tenant, l.user)
	if len(b.logins) >= maxLogins {
		return nil, fmt.Errorf("%w: too many logins wait for their users; try again in %s", ErrLogin, loginTTL)
	}
	b.logins[l.state] = l
	return &Begun{u.String(), l.began.Add(loginTTL)}, nil
}

// tidy makes room: what is over goes, and the oldest of a user who has too many. b.mu is held.
func (b *Broker) tidy(tenant, user string) {
	now := b.o.Now()
	var own []*login
	for state, l := range b.logins {
		switch {
		case now.Sub(l.began) > loginTTL:
			delete(b.logins, state)
		case l.at.tenant == tenant && l.user == user:
			own = append(own, l)
		}
	}
	if len(own) >= ofOneUser {
		oldest := slices.MinFunc(own, func(a, b *login) int { return a.began.Compare(b.began) })
		delete(b.logins, oldest.state)
	}
}

// Return takes what an authorization server sent a person back with, and returns the word that finishes the login. Nothing is
// asked for yet: whoever was made to open a foreign address is not who began the login, and does not know where to say the word.
func (b *Broker) Return(q url.Values) (word, server string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.logins[short(q.Get("state"))]
	if q.Get("state") == "" || l == nil || l.code != "" || b.o.Now().Sub(l.began) > loginTTL {
		return "", "", fmt.Errorf("%w: this login is not known, used or too old; begin again: gatewright connector login SERVER", ErrLogin)
	}
	refuse := func(why string) (string, string, error) {
		delete(b.logins, l.state)
		return "", "", fmt.Errorf("%w: %s; begin again: gatewright connector login %s", ErrLogin, why, l.s.Server)
	}
	iss, named := q.Get("iss"), q.Has("iss")
	switch {
	case l.says && !named, named && iss != l.grant.Issuer: // RFC 9207, 2.4; compared as it stands
		return refuse("the answer is not of the authorization server that was asked")
	case q.Has("error"):
		return refuse("the consent was not given")
	case q.Get("code") == "" || len(q.Get("code")) > maxCode:
		return refuse("the answer holds no code")
	}
	if l.word, err = b.word(); err != nil {
		return "", "", err
	}
	l.code = q.Get("code")
	return l.word, l.s.Server, nil
}

// word is eight letters, easy to read out: 34 bits, of which maxTries guesses are taken.
func (b *Broker) word() (string, error) {
	const letters = "BCDFGHJKLMNPQRSTVWXZ"
	out := make([]byte, 0, 9)
	var one [1]byte
	for len(out) < 9 {
		if len(out) == 4 {
			out = append(out, '-')
		}
		if _, err := b.o.Rand.Read(one[:]); err != nil {
			return "", err
		}
		if int(one[0]) < 240 { // 12 times the letters: each is as likely
			out = append(out, letters[int(one[0])%len(letters)])
		}
	}
	return string(out), nil
}

// Finish ends the login of a user at a server with the word of the page, and gets the token.
func (b *Broker) Finish(ctx context.Context, s Settings, user, word string) (*Done, error) {
	l, err := b.close(s, user, word)
	if err != nil {
		return nil, err
	}
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {l.code}, "redirect_uri": {b.o.Callback}, "code_verifier": {l.verifier},
	}
	g, err := b.ask(ctx, s, l.grant, form, l.scopes)
	if errors.Is(err, errInvalidGrant) {
		return nil, fmt.Errorf("%w: the authorization server takes the code no more; begin again: gatewright connector login %s", ErrLogin, s.Server)
	}
	if err != nil {
		return nil, err
	}
	e, err := b.take(ctx, l.at)
	if err != nil {
		return nil, err
	}
	defer b.give(e)
	if err := b.save(ctx, l.at, e, g); err != nil {
		return nil, err
	}
	b.mu.Lock()
	delete(b.heard, l.at)
	b.mu.Unlock()
	d := &Done{Scopes: g.Scopes}
	if g.Refresh == "" && g.Expires != 0 {
		d.Expires = time.Unix(g.Expires, 0).UTC()
	}
	return d, nil
}

// close finds the login that a word is of, once. A wrong word counts against all of the user's that came back.
func (b *Broker) close(s Settings, user, word string) (*login, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	want := sha256.Sum256([]byte(strings.ToUpper(word)))
	var right *login
	for state, l := range b.logins {
		if l.at.tenant != s.Tenant || l.at.server != s.Server || l.user != user || l.code == "" || b.o.Now().Sub(l.began) > loginTTL {
			continue
		}
		have := sha256.Sum256([]byte(l.word))
		if subtle.ConstantTimeCompare(want[:], have[:]) == 1 && l.s == s {
			right = l
			delete(b.logins, state)
			continue
		}
		if l.tries++; l.tries >= maxTries {
			delete(b.logins, state)
		}
	}
	if right == nil {
		return nil, fmt.Errorf("%w: no login of yours at this server has come back with that word; begin again: gatewright connector login %s", ErrLogin, s.Server)
	}
	return right, nil
}

// Logout forgets what a user granted, and tells the authorization server (RFC 7009).
func (b *Broker) Logout(ctx context.Context, s Settings, user string) error {
	by := upstream.Subject{User: user}
	at := place{s.Tenant, s.Server, s.key(by)}
	e, err := b.take(ctx, at)
	if err != nil {
		return err
	}
	defer b.give(e)
	if err := b.load(ctx, s, at, e); err != nil {
		return err
	}
	if e.grant == nil {
		return ErrUnknown
	}
	g := e.grant
	if err := b.drop(ctx, at, e); err != nil {
		return err
	}
	b.revoke(ctx, s, g)
	return nil
}
