package plans_test

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/plans"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/store"
)

func TestDraftsTheTenantsToolsDoNotFitAreRefusedAndLeaveNothing(t *testing.T) {
	w := newWorld(t, func(c *plans.Config) { c.Steps, c.DraftBytes = 4, 4096 })
	step := func(s string) string { return `{"steps":[{"server":"files","tool":"read"},` + s + `]}` }
	for _, c := range []struct{ draft, at string }{
		{``, ""}, {`[]`, ""}, {`{"steps":[]}`, "/steps"}, {`{"steps":[{"server":"files","tool":"read","tool":"write"}]}`, ""},
		{step(`{"server":"files","tool":"delete"}`), "/steps/1/tool"}, {step(`{"server":"other","tool":"read"}`), "/steps/1/tool"}, {step(`{"server":"files","tool":"Read"}`), "/steps/1/tool"},
		{step(`{"op":"resource/read","server":"files","tool":"read"}`), "/steps/1/op"}, {step(`{"op":"tools/list","server":"files","tool":"read"}`), "/steps/1/op"},
		{step(`{"server":"files","tool":"write"}`), "/steps/1/args"}, {step(`{"server":"files","tool":"write","args":{"text":1}}`), "/steps/1/args"},
		{step(`{"server":"files","tool":"write","where":{"text":{"const":1}}}`), "/steps/1/args"}, {step(`{"server":"files","tool":"read","after":[1]}`), "/steps/1/after/0"},
		{`{"steps":[` + strings.Repeat(`{"server":"files","tool":"read"},`, 4) + `{"server":"files","tool":"read"}]}`, "/steps"},
		{step(`{"server":"files","tool":"read","args":{"a":"` + strings.Repeat("x", 4096) + `"}}`), ""},
	} {
		_, err := w.Capture(t.Context(), alice, []byte(c.draft))
		var e *intent.Error
		if !errors.As(err, &e) || e.Reason != intent.PlanInvalid || c.at != "" && e.Pointer != c.at {
			t.Errorf("%.60s: %v, want plan_invalid at %s", c.draft, err, c.at)
		}
	}
	// A constraint that leaves required arguments open cannot be judged before the call.
	if _, err := w.Capture(t.Context(), alice, []byte(step(`{"server":"files","tool":"write","where":{"text":{"prefix":"x"}}}`))); err != nil {
		t.Fatal(err)
	}
	if got := w.book.acts(); got != "plan captured" {
		t.Fatalf("recorded %q", got)
	}
	if s := w.Stats(); s.Plans != 1 {
		t.Fatalf("%+v", s)
	}
}

func TestOnlyAgentsOfOrganisationsCapturePlans(t *testing.T) {
	w := newWorld(t, nil)
	for _, o := range []plans.Owner{
		{}, {Tenant: "_instance", User: "u", Agent: "a", KeyID: "k"}, {Tenant: "../acme", User: "u", Agent: "a", KeyID: "k"}, {Tenant: "acme", User: "u", KeyID: "k"},
		{Tenant: "acme", Agent: "a", KeyID: "k"}, {Tenant: "acme", User: "u", Agent: "a"},
	} {
		_, err := w.Capture(t.Context(), o, []byte(draft))
		wants(t, err, plans.ErrForbidden)
		_, err = w.Token(t.Context(), o, "pln_x", plans.TokenOptions{})
		wants(t, err, plans.ErrForbidden)
	}
	if got := w.book.acts(); got != "" {
		t.Fatalf("recorded %q", got)
	}
}

func TestNobodyElseSeesUsesOrEndsAPlan(t *testing.T) {
	w := newWorld(t, nil)
	p := w.capture(alice)
	tok := w.token(alice, p.ID)
	ctx := t.Context()
	for name, o := range map[string]plans.Owner{
		"another tenant": {Tenant: "umbrella", User: "usr_a", Agent: "agt_a", KeyID: "key_a"}, "another user": {Tenant: "acme", User: "usr_b", Agent: "agt_a", KeyID: "key_a"},
		"another agent": {Tenant: "acme", User: "usr_a", Agent: "agt_b", KeyID: "key_a"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.Token(ctx, o, p.ID, plans.TokenOptions{})
			wants(t, err, plans.ErrNotFound)
			_, err = w.View(ctx, o, p.ID)
			wants(t, err, plans.ErrNotFound)
			wants(t, w.SetState(ctx, mine(o), p.ID, plans.Revoked, ""), plans.ErrNotFound)
			wants(t, w.RevokeToken(ctx, mine(o), tok.ID, ""), plans.ErrNotFound)
			if w.call(o, tok.Token, `{"path":"/a"}`) == nil {
				t.Fatal("used the token")
			}
		})
	}
	wants(t, w.SetState(ctx, admin("umbrella"), p.ID, plans.Revoked, ""), plans.ErrNotFound)
	wants(t, w.RevokeToken(ctx, admin("umbrella"), tok.ID, ""), plans.ErrNotFound)
	if _, _, err := w.Get(ctx, "umbrella", p.ID); !errors.Is(err, plans.ErrNotFound) {
		t.Fatal(err)
	}
	if _, err := w.History("umbrella", p.ID); !errors.Is(err, plans.ErrNotFound) {
		t.Fatal(err)
	}
	if _, _, ok := w.Held("umbrella", p.Root); ok {
		t.Fatal("held for another tenant")
	}
	if len(w.List("umbrella", plans.Filter{})) != 0 || len(w.Tokens("umbrella", plans.Filter{})) != 0 {
		t.Fatal("listed for another tenant")
	}
	if err := w.call(alice, tok.Token, `{"path":"/a"}`); err != nil {
		t.Fatalf("all that must not have harmed the owner: %v", err)
	}
}

func TestATokenIsBoundToTheKeyThatAsked(t *testing.T) {
	w := newWorld(t, nil)
	p := w.capture(alice)
	second := alice
	second.KeyID = "key_b"
	tok := w.token(second, p.ID)
	if err := w.call(second, tok.Token, `{"path":"/a"}`); err != nil {
		t.Fatal(err)
	}
	if err := w.call(alice, tok.Token, `{"path":"/a"}`); intent.ReasonOf(err) != intent.BearerMismatch {
		t.Fatalf("%v, want bearer_mismatch", err)
	}
}

func TestTokensNeverOutliveTheirPlanOrTheConfiguredMaximum(t *testing.T) {
	w := newWorld(t, func(c *plans.Config) { c.TokenTTL, c.MaxTokenTTL = 5*time.Minute, 10*time.Minute })
	p := w.capture(alice)
	at := w.clock.now()
	for ttl, want := range map[time.Duration]time.Duration{0: 5 * time.Minute, time.Minute: time.Minute, time.Hour: 10 * time.Minute, 100 * 365 * 24 * time.Hour: 10 * time.Minute} {
		tok, err := w.Token(t.Context(), alice, p.ID, plans.TokenOptions{TTL: ttl})
		if err != nil || tok.Expires != at.Add(want).UTC() {
			t.Fatalf("%v: %v, %v", ttl, tok.Expires, err)
		}
	}
	for _, ttl := range []time.Duration{-1, -time.Hour, time.Millisecond} {
		if _, err := w.Token(t.Context(), alice, p.ID, plans.TokenOptions{TTL: ttl}); intent.ReasonOf(err) != intent.TokenLifetime {
			t.Fatalf("%v: %v", ttl, err)
		}
	}
	w.clock.move(59 * time.Minute)
	tok := w.token(alice, p.ID)
	if tok.Expires != p.Expires {
		t.Fatalf("token to %v, plan to %v", tok.Expires, p.Expires)
	}
	w.clock.move(time.Minute)
	_, err := w.Token(t.Context(), alice, p.ID, plans.TokenOptions{})
	wants(t, err, plans.ErrInactive)
	if err := w.call(alice, tok.Token, `{"path":"/a"}`); intent.ReasonOf(err) != intent.TokenExpired {
		t.Fatal(err)
	}
}

func TestLimitsHoldAlsoWhenManyAskAtOnce(t *testing.T) {
	w := newWorld(t, func(c *plans.Config) { c.PlansPerAgent, c.Plans, c.TokensPerPlan = 3, 5, 2 })
	count := func(n int, fn func() error) (good int) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		for range n {
			wg.Go(func() {
				err := fn()
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					good++
				} else if !errors.Is(err, plans.ErrLimit) || intent.ReasonOf(err) == "" {
					t.Errorf("%v, want a limit that says which", err)
				}
			})
		}
		wg.Wait()
		return good
	}
	capture := func(o plans.Owner) func() error {
		return func() error { _, err := w.Capture(t.Context(), o, []byte(draft)); return err }
	}
	bob := alice
	bob.Agent = "agt_b"
	if n := count(10, capture(alice)); n != 3 {
		t.Fatalf("%d plans of one agent, want 3", n)
	}
	if n := count(10, capture(bob)); n != 2 {
		t.Fatalf("%d more plans, want 2", n)
	}
	p := w.List("acme", plans.Filter{Agent: "agt_a"})[0]
	if n := count(10, func() error { _, err := w.Token(t.Context(), alice, p.ID, plans.TokenOptions{}); return err }); n != 2 {
		t.Fatalf("%d tokens, want 2", n)
	}
	// Each plan that ends makes room for one, as soon as no token for it can be shown; none that is active does.
	if err := w.SetState(t.Context(), mine(alice), p.ID, plans.Failed, ""); err != nil {
		t.Fatal(err)
	}
	wants(t, capture(alice)(), plans.ErrLimit)
	w.clock.move(w.cfg.TokenTTL + time.Minute)
	if n := count(10, capture(alice)); n != 1 {
		t.Fatalf("%d plans after one ended, want 1", n)
	}
	w.clock.move(time.Hour)
	if n := count(10, capture(alice)); n != 3 {
		t.Fatalf("%d plans after all expired, want 3: %+v", n, w.Stats())
	}
}

func TestACaptureThatFailedCountsAgainstNoLimit(t *testing.T) {
	w := newWorld(t, func(c *plans.Config) { c.PlansPerAgent, c.Plans = 1, 1 })
	for range 3 {
		w.book.fail = 1
		if _, err := w.Capture(t.Context(), alice, []byte(draft)); !errors.Is(err, errLedger) {
			t.Fatal(err)
		}
	}
	w.capture(alice)
}

func TestAChangedStoredPlanRefusesTheStart(t *testing.T) {
	w := newWorld(t, nil)
	p := w.capture(alice)
	w.Close()
	err := w.inner.Update(t.Context(), "acme", func(tx store.Txn) error {
		v, err := tx.Get("plan_bodies", p.ID)
		if err != nil {
			return err
		}
		_, err = tx.Put("plan_bodies", p.ID, []byte(strings.Replace(string(v.Data), `"uses":1`, `"uses":0`, 1)), v.Version)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plans.Open(t.Context(), w.cfg, w.deps()); err == nil || !strings.Contains(err.Error(), "hash") {
		t.Fatalf("%v", err)
	}
}

func TestStepsShowTheLedgersUses(t *testing.T) {
	w := newWorld(t, nil)
	p := w.capture(alice)
	w.book.steps[p.Root] = []wal.StepState{{Used: 1, Done: true}}
	v, err := w.View(t.Context(), alice, p.ID)
	if err != nil || v.Steps[0].Used != 1 || !v.Steps[0].Done || v.Steps[1].Used != 0 {
		t.Fatalf("%+v, %v", v.Steps, err)
	}
	b, _ := json.Marshal(v.Steps[1])
	if string(b) != `{"index":1,"op":"tools/call","server":"files","tool":"write","args":{"additional":false,"params":{"text":{"const":"x"}},"redactable":[]},"uses":1,"after":[0],"used":0,"done":false}` {
		t.Fatalf("%s", b)
	}
}

func TestListsComeInPages(t *testing.T) {
	w := newWorld(t, nil)
	for range 5 {
		w.capture(alice)
	}
	var got []string
	for f := (plans.Filter{Limit: 2}); ; {
		page := w.List("acme", f)
		if len(page) == 0 {
			break
		}
		for _, s := range page {
			got = append(got, s.ID)
			f.After = s.ID
		}
	}
	if len(got) != 5 || len(w.List("acme", plans.Filter{Agent: "agt_b"})) != 0 || len(w.List("acme", plans.Filter{State: plans.Failed})) != 0 {
		t.Fatal(got)
	}
}

func TestTokensCarryThePolicyInForce(t *testing.T) {
	w := newWorld(t, nil)
	p := w.capture(alice)
	tok, err := w.verifier.Token([]byte(w.token(alice, p.ID).Token), w.clock.now())
	if err != nil || tok.Claims().PolicyDigest != (merkle.Hash{9}) || tok.Claims().KeyID != "key_a" {
		t.Fatalf("%v", err)
	}
}

func TestConfigurationsWithoutBoundsAreRefused(t *testing.T) {
	if err := plans.DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*plans.Config){
		"no audience": func(c *plans.Config) { c.Audience = "" }, "no steps": func(c *plans.Config) { c.Steps = 0 }, "too many steps": func(c *plans.Config) { c.Steps = 65_537 },
		"huge drafts": func(c *plans.Config) { c.DraftBytes = 1 << 30 }, "no plans": func(c *plans.Config) { c.Plans = 0 }, "no history": func(c *plans.Config) { c.History = 0 },
		"token above maximum": func(c *plans.Config) { c.TokenTTL = c.MaxTokenTTL + 1 }, "no lifetime": func(c *plans.Config) { c.PlanTTL = 0 }, "endless": func(c *plans.Config) { c.PlanTTL = 1 << 62 },
		"no tokens": func(c *plans.Config) { c.TokensPerPlan = 0 }, "negative keep": func(c *plans.Config) { c.Keep = -1 },
	} {
		c := plans.DefaultConfig()
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := plans.Open(t.Context(), c, plans.Deps{}); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	if _, err := plans.Open(t.Context(), plans.DefaultConfig(), plans.Deps{}); err == nil {
		t.Error("opened without anything to work with")
	}
}

func BenchmarkHeld(b *testing.B) {
	w := newWorld(b, nil)
	p := w.capture(alice)
	b.ReportAllocs()
	for b.Loop() {
		if _, state, ok := w.Held("acme", p.Root); !ok || !state.Active() {
			b.Fatal(state)
		}
	}
}
