package oauth_test

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/gateway/upstream/oauth"
	"github.com/gatewright/gatewright/store"
)

func TestATokenIsGotOnceKeptAndSealed(t *testing.T) {
	p, w := newPlace(t), newWorld(t)
	s := p.settings(oauth.ClientCredentials)
	if shown, err := w.use(t.Context(), s, upstream.Subject{}); shown != "" || err != nil {
		t.Fatalf("before anything was asked: %q %v", shown, err)
	}
	shown, err := w.use(t.Context(), s, upstream.Subject{}, no)
	if err != nil || shown != "Authorization: Bearer sekret-access-1" {
		t.Fatalf("%q %v", shown, err)
	}
	f := p.lastForm()
	if f.Get("grant_type") != "client_credentials" || f.Get("resource") != s.URL || f.Get("scope") != "read" || p.auths[0] != "Basic Z3c6c2VrcmV0LXB3" {
		t.Errorf("%v %v", f, p.auths)
	}
	w.again(t)
	if shown, err := w.use(t.Context(), s, ada); err != nil || shown != "Authorization: Bearer sekret-access-1" || p.asked() != 1 {
		t.Errorf("after a start: %q %v, %d requests", shown, err, p.asked())
	}
	err = w.store.View(t.Context(), "acme", func(tx store.Txn) error {
		return tx.Scan("vault_grants", "", func(_ string, v store.Value) error {
			if bytes.Contains(v.Data, []byte("sekret")) {
				t.Errorf("in the store: %s", v.Data)
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestManyCallsShareOneNewToken(t *testing.T) {
	p, w := newPlace(t), newWorld(t)
	s := p.settings(oauth.ClientCredentials)
	if _, err := w.use(t.Context(), s, ada, no); err != nil {
		t.Fatal(err)
	}
	p.bend(func() { p.slow = 50 * time.Millisecond })
	for _, what := range []string{"stale", "refused"} {
		before := p.asked()
		if what == "stale" {
			w.clock.move(time.Hour - 30*time.Second)
		}
		var all sync.WaitGroup
		start := make(chan struct{})
		for range 20 {
			b := w.Bind(s, ada)
			var target upstream.Target
			b.Fit(&target)
			if what == "refused" {
				if err := b.Ready(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			all.Go(func() {
				<-start
				if what == "stale" {
					if err := b.Ready(t.Context()); err != nil {
						t.Error(err)
					}
				} else if again, err := target.Refused(t.Context(), no); !again || err != nil {
					t.Errorf("no other token: %v", err)
				}
			})
		}
		close(start)
		all.Wait()
		if n := p.asked() - before; n != 1 {
			t.Errorf("%s: %d requests for a token", what, n)
		}
	}
}

func TestATokenThatIsStillGoodIsShownWhileItsIssuerIsDown(t *testing.T) {
	p, w := newPlace(t), newWorld(t)
	s := p.settings(oauth.ClientCredentials)
	if _, err := w.use(t.Context(), s, ada, no); err != nil {
		t.Fatal(err)
	}
	p.bend(func() { p.fail = "temporarily_unavailable" })
	w.clock.move(time.Hour - 30*time.Second)
	if shown, err := w.use(t.Context(), s, ada); err != nil || shown == "" {
		t.Errorf("%q %v", shown, err)
	}
	w.clock.move(time.Minute)
	if shown, err := w.use(t.Context(), s, ada); shown != "" || !said(err, "temporarily_unavailable") {
		t.Errorf("%q %v", shown, err)
	}
}

func TestWhatWasGotUnderOtherSettingsIsForgotten(t *testing.T) {
	for what, change := range map[string]func(*oauth.Settings){
		"the address": func(s *oauth.Settings) { s.URL += "?v=2" }, "the client": func(s *oauth.Settings) { s.ClientID = "gw2" },
		"the scopes": func(s *oauth.Settings) { s.Scopes = "read" }, "private addresses": func(s *oauth.Settings) { s.AllowPrivate = false },
	} {
		p, w := newPlace(t), newWorld(t)
		s := p.settings(oauth.ClientCredentials)
		if _, err := w.use(t.Context(), s, ada, no); err != nil {
			t.Fatal(err)
		}
		other := s
		change(&other)
		if shown, err := w.use(t.Context(), other, ada); shown != "" || err != nil {
			t.Errorf("%s: %q %v", what, shown, err)
		}
		if shown, err := w.use(t.Context(), s, ada); shown != "" || err != nil {
			t.Errorf("%s: it came back: %q %v", what, shown, err)
		}
	}
	p, w := newPlace(t), newWorld(t)
	s := p.settings(oauth.ClientCredentials)
	if _, err := w.use(t.Context(), s, ada, no); err != nil {
		t.Fatal(err)
	}
	if err := w.Forget(t.Context(), "acme", "docs"); err != nil {
		t.Fatal(err)
	}
	if shown, err := w.use(t.Context(), s, ada); shown != "" || err != nil {
		t.Errorf("after Forget: %q %v", shown, err)
	}
}

// What is forgotten while its token is on the way does not come back with it.
func TestATokenThatComesTooLateIsNotKept(t *testing.T) {
	p, w := newPlace(t), newWorld(t)
	s := p.settings(oauth.ClientCredentials)
	p.bend(func() { p.slow = 200 * time.Millisecond })
	done := make(chan error, 1)
	go func() {
		_, err := w.use(t.Context(), s, ada, no)
		done <- err
	}()
	time.Sleep(100 * time.Millisecond)
	if err := w.Forget(t.Context(), "acme", "docs"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !said(err, "changed or removed") {
		t.Error(err)
	}
	w.again(t)
	if shown, err := w.use(t.Context(), s, ada); shown != "" || err != nil {
		t.Errorf("%q %v", shown, err)
	}
}

func TestAClientProvesItselfAsItIsConfigured(t *testing.T) {
	for what, c := range map[string]struct {
		set   func(*oauth.Settings)
		meta  []string
		basic bool
		form  map[string]string
	}{
		"basic": {basic: true},
		"post":  {meta: []string{"client_secret_post"}, form: map[string]string{"client_id": "gw", "client_secret": "sekret-pw"}},
		"key": {set: func(s *oauth.Settings) { s.ClientSecret, s.ClientKey = "", "key" }, form: map[string]string{
			"client_id": "gw", "client_secret": "", "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
		}},
	} {
		p, w := newPlace(t), newWorld(t)
		s := p.settings(oauth.ClientCredentials)
		if c.set != nil {
			c.set(&s)
		}
		if c.meta != nil {
			p.bend(func() { p.meta["token_endpoint_auth_methods_supported"] = c.meta })
		}
		if _, err := w.use(t.Context(), s, ada, no); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		f := p.lastForm()
		if got := p.auths[0] != ""; got != c.basic {
			t.Errorf("%s: Authorization %q", what, p.auths[0])
		}
		for name, want := range c.form {
			if f.Get(name) != want {
				t.Errorf("%s: %s is %q", what, name, f.Get(name))
			}
		}
		if want := "signed(sekret-key," + p.URL + ")"; what == "key" && f.Get("client_assertion") != want {
			t.Errorf("assertion %q", f.Get("client_assertion"))
		}
	}
}

// An exchange shows a token of the gateway's own about the agent; each agent has its own token, and nobody's is shown to others.
func TestAnExchangeIsForOneAgent(t *testing.T) {
	p, w := newPlace(t), newWorld(t)
	s := p.settings(oauth.TokenExchange)
	s.Audience = "crm"
	first, err := w.use(t.Context(), s, ada, no)
	if err != nil {
		t.Fatal(err)
	}
	f := p.lastForm()
	for name, want := range map[string]string{
		"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": "identity:acme:agt_1:" + p.URL,
		"subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
		"resource": s.URL, "audience": "crm", "scope": "read",
	} {
		if f.Get(name) != want {
			t.Errorf("%s is %q", name, f.Get(name))
		}
	}
	if shown, err := w.use(t.Context(), s, bob); shown != "" || err != nil {
		t.Errorf("bob's agent shows %q %v", shown, err)
	}
	second, err := w.use(t.Context(), s, bob, no)
	if err != nil || second == first || p.lastForm().Get("subject_token") != "identity:acme:agt_2:"+p.URL {
		t.Errorf("%q %q %v", first, second, err)
	}
	if shown, err := w.use(t.Context(), s, upstream.Subject{User: "usr_ada"}, no); shown != "" || !said(err, "docs") {
		t.Errorf("without an agent: %q %v", shown, err)
	}
}

// TestWhoListensIsToldWhenTheTokenIsAnother and when to ask again.
func TestWhoListensIsToldWhenTheTokenIsAnother(t *testing.T) {
	p, w := newPlace(t), newWorld(t)
	s := p.settings(oauth.ClientCredentials)
	if _, err := w.use(t.Context(), s, ada, no); err != nil {
		t.Fatal(err)
	}
	var target upstream.Target
	w.Bind(s, ada).Fit(&target)
	look := func(want bool, within time.Duration) {
		t.Helper()
		another, next, err := target.Renew(t.Context())
		if left := next.Sub(w.clock.Now()); another != want || err != nil || left > within || left < within-2*time.Second {
			t.Errorf("another %v, in %v, %v", another, left, err)
		}
	}
	look(true, 59*time.Minute) // it had none
	look(false, 59*time.Minute)
	w.clock.move(59*time.Minute + time.Second)
	look(true, 59*time.Minute)
	p.bend(func() { p.fail = "temporarily_unavailable" })
	w.clock.move(59*time.Minute + time.Second)
	look(false, 10*time.Second) // it is good still
	w.clock.move(time.Minute)
	if another, _, err := target.Renew(t.Context()); another || err == nil {
		t.Errorf("a token that is over: %v, %v", another, err)
	}
	p.bend(func() { p.fail = "" })
	look(true, 59*time.Minute)
	nobody := upstream.Target{}
	w.Bind(p.settings(oauth.AuthorizationCode), upstream.Subject{}).Fit(&nobody)
	if another, next, err := nobody.Renew(t.Context()); another || !next.IsZero() || err != nil {
		t.Errorf("nobody: %v, %v, %v", another, next, err)
	}
}
