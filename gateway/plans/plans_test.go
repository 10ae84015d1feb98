package plans_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/plans"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/badger"
	"github.com/gatewright/gatewright/store/storetest"
)

func TestDraftsTheTenantsToolsDoNotFitAreRefusedAndLeaveNothing(t *testing.T) {
	w := newWorld(t, func(c *plans.Config) { c.Steps, c.DraftBytes = 4, 4096 })
	step := func(s string) string { return `{"steps":[{"server":"files","tool":"read"},` + s + `]}` }
	for _, c := range []struct{ draft, at string }{
		{``, ""}, {`[]`, ""}, {`{"steps":[]}`, "/steps"}, {`{"steps":[{"server":"files","tool":"read","tool":"write"}]}`, ""},
		{step(`{"server":"files","tool":"delete"}`), "/steps/1/tool"}, {step(`{"server":"other","tool":"read"}`), "/steps/1/tool"}, {step(`{"server":"files","tool":"Read"}`), "/steps/1/tool"},
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
	// Ending a plan gives no place back before it expires: its root must stay known that long.
	if err := w.SetState(t.Context(), mine(alice), p.ID, plans.Failed, ""); err != nil {
		t.Fatal(err)
	}
	wants(t, capture(alice)(), plans.ErrLimit)
	w.clock.move(time.Hour)
	w.Sweep(t.Context())
	wants(t, capture(alice)(), plans.ErrLimit) // all are still listed
	w.clock.move(w.cfg.Keep)
	w.Sweep(t.Context())
	w.Sweep(t.Context())
	if n := count(10, capture(alice)); n != 3 {
		t.Fatalf("%d plans after the old ones were dropped, want 3: %+v", n, w.Stats())
	}
}

func TestEndedPlansAllowNothingAndSayWhy(t *testing.T) {
	for _, to := range []plans.State{plans.Completed, plans.Failed, plans.Revoked} {
		t.Run(string(to), func(t *testing.T) {
			w := newWorld(t, nil)
			p := w.capture(alice)
			tok := w.token(alice, p.ID)
			if err := w.SetState(t.Context(), mine(alice), p.ID, to, "because"); err != nil {
				t.Fatal(err)
			}
			for _, again := range []string{"at once", "after a restart"} {
				h, state, ok := w.Held("acme", p.Root)
				if !ok || state != to || h != nil {
					t.Fatalf("%s: %v %q %v", again, h, state, ok)
				}
				_, err := w.Token(t.Context(), alice, p.ID, plans.TokenOptions{})
				wants(t, err, plans.ErrInactive)
				if err := w.call(alice, tok.Token, `{"path":"/a"}`); to == plans.Revoked && intent.ReasonOf(err) != intent.PlanRevoked || to != plans.Revoked && !errors.Is(err, plans.ErrInactive) {
					t.Fatalf("%s: %v", again, err)
				}
				if err := w.SetState(t.Context(), mine(alice), p.ID, to, "again"); err != nil {
					t.Fatalf("the same state again is no change: %v", err)
				}
				s, _, err := w.Get(t.Context(), "acme", p.ID)
				if err != nil || s.State != to || s.Reason != "because" || s.Ended == nil {
					t.Fatalf("%+v, %v", s, err)
				}
				w.reopen()
			}
			if to != plans.Revoked {
				wants(t, w.SetState(t.Context(), mine(alice), p.ID, plans.Completed+plans.Failed, ""), &intent.Error{Reason: intent.PlanInvalid})
				other := plans.Failed
				if to == plans.Failed {
					other = plans.Completed
				}
				wants(t, w.SetState(t.Context(), mine(alice), p.ID, other, ""), plans.ErrInactive)
				if err := w.SetState(t.Context(), admin("acme"), p.ID, plans.Revoked, ""); err != nil {
					t.Fatalf("an ended plan can still be revoked: %v", err)
				}
			} else {
				wants(t, w.SetState(t.Context(), mine(alice), p.ID, plans.Completed, ""), plans.ErrInactive)
			}
			if got := w.book.acts(); strings.Count(got, "plan "+string(to)) != 1 {
				t.Fatalf("recorded %s", got)
			}
		})
	}
}

func TestStatesOutsideTheListAndReasonsOutOfBoundsAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	p := w.capture(alice)
	for _, s := range []plans.State{"", "active", "expired", "Revoked", "paused"} {
		if err := w.SetState(t.Context(), admin("acme"), p.ID, s, ""); intent.ReasonOf(err) != intent.PlanInvalid {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, reason := range []string{strings.Repeat("x", 257), "\xff"} {
		if err := w.SetState(t.Context(), admin("acme"), p.ID, plans.Revoked, reason); intent.ReasonOf(err) != intent.PlanInvalid {
			t.Errorf("%.20q: %v", reason, err)
		}
		if err := w.RevokeToken(t.Context(), admin("acme"), "tok_x", reason); intent.ReasonOf(err) != intent.PlanInvalid {
			t.Errorf("%.20q: %v", reason, err)
		}
	}
}

func TestARevokedTokenStaysRevokedAfterARestart(t *testing.T) {
	w := newWorld(t, nil)
	p := w.capture(alice)
	tok, other := w.token(alice, p.ID), w.token(alice, p.ID)
	if err := w.RevokeToken(t.Context(), admin("acme"), tok.ID, "lost laptop"); err != nil {
		t.Fatal(err)
	}
	for _, again := range []string{"at once", "after a restart"} {
		if err := w.call(alice, tok.Token, `{"path":"/a"}`); intent.ReasonOf(err) != intent.TokenRevoked {
			t.Fatalf("%s: %v", again, err)
		}
		if err := w.call(alice, other.Token, `{"path":"/a"}`); err != nil {
			t.Fatalf("%s: the plan's other token: %v", again, err)
		}
		if err := w.RevokeToken(t.Context(), mine(alice), tok.ID, ""); err != nil {
			t.Fatal(err)
		}
		w.reopen()
	}
	wants(t, w.RevokeToken(t.Context(), mine(alice), "tok_none", ""), plans.ErrNotFound)
	if got := w.book.acts(); got != "plan captured, token issued, token issued, token revoked" {
		t.Fatalf("recorded %s", got)
	}
	list := w.Tokens("acme", plans.Filter{Plan: p.ID})
	if len(list) != 2 || list[0].Revoked == nil || list[0].Reason != "lost laptop" || list[1].Revoked != nil {
		t.Fatalf("%+v", list)
	}
	if b, _ := json.Marshal(list); strings.Contains(string(b), "eyJ") {
		t.Fatal("a list shows the token itself")
	}
}

func TestPlansAndTokensOutliveARestart(t *testing.T) {
	w := newWorld(t, nil)
	p := w.capture(alice)
	tok := w.token(alice, p.ID)
	before, _ := json.Marshal(p)
	w.reopen()
	if err := w.call(alice, tok.Token, `{"path":"/a"}`); err != nil {
		t.Fatal(err)
	}
	again, err := w.View(t.Context(), alice, p.ID)
	after, _ := json.Marshal(again)
	if err != nil || string(before) != string(after) {
		t.Fatalf("%v\n%s\n%s", err, before, after)
	}
	// What a client gets as JSON proves itself.
	var shown struct{ Plan json.RawMessage }
	if err := json.Unmarshal(after, &shown); err != nil {
		t.Fatal(err)
	}
	doc, err := intent.ParsePlan(shown.Plan)
	if err != nil || doc.Hash() != p.Hash || doc.Tree().Root() != p.Root || doc.Agent != "agt_a" || doc.Steps[0].Schema != readSchema {
		t.Fatalf("%+v, %v", doc, err)
	}
}

func TestNothingIsAnsweredThatIsNotRecordedAndKept(t *testing.T) {
	for name, breaks := range map[string]func(*world){
		"ledger down":                func(w *world) { w.book.fail = 1 },
		"store failed":               func(w *world) { w.store.Next(storetest.Failed) },
		"store failed but persisted": func(w *world) { w.store.Next(storetest.Persisted) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			p := w.capture(alice)
			tok := w.token(alice, p.ID)
			ctx := t.Context()

			breaks(w)
			if _, err := w.Capture(ctx, alice, []byte(draft)); err == nil {
				t.Fatal("captured")
			}
			if n := len(w.List("acme", plans.Filter{})); n != 1 {
				t.Fatalf("%d plans listed", n)
			}
			breaks(w)
			if got, err := w.Token(ctx, alice, p.ID, plans.TokenOptions{}); err == nil || got.Token != "" {
				t.Fatal("issued")
			}
			// Taking away works at once even when it cannot be written, and asking again finishes it.
			breaks(w)
			if err := w.RevokeToken(ctx, mine(alice), tok.ID, ""); err == nil {
				t.Fatal("answered")
			}
			if err := w.call(alice, tok.Token, `{"path":"/a"}`); intent.ReasonOf(err) != intent.TokenRevoked {
				t.Fatal(err)
			}
			if err := w.RevokeToken(ctx, mine(alice), tok.ID, ""); err != nil {
				t.Fatal(err)
			}
			breaks(w)
			if err := w.SetState(ctx, mine(alice), p.ID, plans.Revoked, ""); err == nil {
				t.Fatal("answered")
			}
			if _, state, _ := w.Held("acme", p.Root); state != plans.Revoked {
				t.Fatal(state)
			}
			if err := w.SetState(ctx, mine(alice), p.ID, plans.Revoked, ""); err != nil {
				t.Fatal(err)
			}
			w.reopen()
			if _, state, _ := w.Held("acme", p.Root); state != plans.Revoked {
				t.Fatal(state)
			}
			got := w.book.acts()
			if strings.Count(got, "token revoked") != 1 || strings.Count(got, "plan revoked") != 1 {
				t.Fatalf("recorded %s", got)
			}
		})
	}
}

func TestAnEndWhoseRecordWasCutOffIsRecordedAfterTheRestart(t *testing.T) {
	w := newWorld(t, nil)
	p, q := w.capture(alice), w.capture(alice)
	tok := w.token(alice, q.ID)
	w.book.fail = 2
	if w.SetState(t.Context(), admin("acme"), p.ID, plans.Failed, "why") == nil || w.RevokeToken(t.Context(), admin("acme"), tok.ID, "lost") == nil {
		t.Fatal("answered without a record")
	}
	w.reopen()
	w.Sweep(t.Context())
	w.Sweep(t.Context())
	if got := w.book.acts(); got != "plan captured, plan captured, token issued, plan failed, token revoked" {
		t.Fatalf("recorded %s", got)
	}
	last := w.book.records[3]
	if last.Key != "key_admin" || last.Detail != "why" || last.PlanID != p.ID || last.Plan != p.Root {
		t.Fatalf("%+v", last)
	}
}

func TestExpiryEndsAPlanAtOnceAndIsRecordedOnce(t *testing.T) {
	w := newWorld(t, nil)
	p := w.capture(alice)
	w.clock.move(time.Hour - time.Second)
	if _, state, _ := w.Held("acme", p.Root); state != plans.Active {
		t.Fatal(state)
	}
	w.clock.move(time.Second)
	if h, state, ok := w.Held("acme", p.Root); !ok || state != plans.Expired || h != nil {
		t.Fatal(state)
	}
	w.Sweep(t.Context())
	w.Sweep(t.Context())
	w.reopen()
	w.Sweep(t.Context())
	if got := w.book.acts(); got != "plan captured, plan expired" {
		t.Fatalf("recorded %s", got)
	}
	if l := w.List("acme", plans.Filter{State: plans.Expired}); len(l) != 1 {
		t.Fatalf("%+v", l)
	}
	w.clock.move(w.cfg.Keep)
	w.Sweep(t.Context())
	if _, _, ok := w.Held("acme", p.Root); ok || len(w.List("acme", plans.Filter{})) != 0 {
		t.Fatal("kept for ever")
	}
	w.reopen()
	if s := w.Stats(); s.Plans != 0 || s.Faults != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestAPlanCompletesWhenEveryUseOfEveryStepSettledOk(t *testing.T) {
	w := newWorld(t, nil)
	p := w.capture(alice)
	w.take(p, 0, "ok")
	w.take(p, 1, "tool_error")
	w.follow()
	w.follow() // told twice, counted once
	w.Sweep(t.Context())
	if _, state, _ := w.Held("acme", p.Root); state != plans.Active {
		t.Fatal(state)
	}
	w.take(p, 1, "ok")
	w.follow()
	w.Sweep(t.Context())
	if _, state, _ := w.Held("acme", p.Root); state != plans.Completed {
		t.Fatal(state)
	}
	if got := w.book.acts(); strings.Count(got, "plan completed") != 1 {
		t.Fatalf("recorded %s", got)
	}

	twice, err := w.Capture(t.Context(), alice, []byte(`{"steps":[{"server":"files","tool":"read","uses":2}]}`))
	if err != nil {
		t.Fatal(err)
	}
	free, err := w.Capture(t.Context(), alice, []byte(`{"steps":[{"server":"files","tool":"read"},{"server":"files","tool":"read","uses":0}]}`))
	if err != nil {
		t.Fatal(err)
	}
	w.take(twice, 0, "ok")
	w.take(free, 0, "ok")
	w.take(free, 1, "ok")
	w.reopen() // the counts come back from the ledger
	w.Sweep(t.Context())
	if _, state, _ := w.Held("acme", twice.Root); state != plans.Active {
		t.Fatal("completed with a use left")
	}
	w.take(twice, 0, "ok")
	w.follow()
	w.Sweep(t.Context())
	if _, state, _ := w.Held("acme", twice.Root); state != plans.Completed {
		t.Fatal(state)
	}
	if _, state, _ := w.Held("acme", free.Root); state != plans.Active {
		t.Fatal("a plan with a step without limit ended by itself")
	}
}

func TestHistoryNamesEveryRecordWithItsIndexAndIsBounded(t *testing.T) {
	w := newWorld(t, func(c *plans.Config) { c.History = 8 })
	p := w.capture(alice)
	other := w.capture(alice)
	tok := w.token(alice, p.ID)
	w.take(p, 0, "ok")
	refusal := &ledger.Record{Kind: ledger.Refused, Tenant: "acme", Plan: p.Root, PlanID: p.ID, Step: -1, Code: "args_mismatch"}
	stranger := &ledger.Record{Kind: ledger.Refused, Tenant: "umbrella", Plan: p.Root, PlanID: p.ID, Step: -1, Code: "args_mismatch"}
	for _, r := range []*ledger.Record{refusal, stranger} {
		if _, err := w.book.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	w.follow()
	h, err := w.History("acme", p.ID)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range h.Events {
		got = append(got, fmt.Sprint(e.Index, " ", e.Kind, " ", e.Act, e.Outcome, " ", e.Step))
	}
	want := "0 plan captured -1, 2 token issued -1, 3 admitted  0, 4 settled ok 0, 5 refused args_mismatch -1"
	if s := strings.Join(got, ", "); s != want || h.Events[1].Token != tok.ID {
		t.Fatalf("%s\nwant %s", s, want)
	}
	if h, _ := w.History("acme", other.ID); len(h.Events) != 1 {
		t.Fatalf("%+v", h)
	}
	for range 20 {
		w.take(p, 0, "ok")
	}
	w.follow()
	if h, _ := w.History("acme", p.ID); len(h.Events) != 8 || h.Lost != 37 || h.Events[0].Act != "captured" || h.Events[7].Kind != "settled" {
		t.Fatalf("%d events, %d lost", len(h.Events), h.Lost)
	}
	w.reopen()
	if h, _ := w.History("acme", p.ID); len(h.Events) != 8 || h.Events[0].Act != "captured" {
		t.Fatalf("after a restart: %+v", h)
	}
}

func TestAnEventThatOvertakesTheAnswerIsNotLost(t *testing.T) {
	w := newWorld(t, nil)
	var id string
	w.book.onWrite = func(r *ledger.Record) { id = r.PlanID }
	p := w.capture(alice)
	if id != p.ID {
		t.Fatal(id)
	}
	// During the append the plan is known to the follower and to nobody else.
	w.book.onWrite = func(r *ledger.Record) {
		if _, _, ok := w.Held("acme", r.Plan); ok {
			t.Error("held before it was recorded")
		}
		if _, err := w.View(context.Background(), alice, r.PlanID); !errors.Is(err, plans.ErrNotFound) {
			t.Errorf("seen before it was recorded: %v", err)
		}
	}
	w.capture(alice)
	w.book.onWrite = nil
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

func TestTheRegisterWorksOverTheRealStore(t *testing.T) {
	w := newWorld(t, nil)
	w.Close()
	dir, key := t.TempDir(), make([]byte, 32)
	openStore := func() {
		s, err := badger.Open(badger.Options{Dir: dir, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		w.inner = s
		w.open()
	}
	openStore()
	p := w.capture(alice)
	tok, gone := w.token(alice, p.ID), w.token(alice, p.ID)
	if err := w.RevokeToken(t.Context(), mine(alice), gone.ID, ""); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := w.inner.Close(); err != nil {
		t.Fatal(err)
	}
	openStore()
	defer func() { _ = w.inner.Close() }()
	if err := w.call(alice, tok.Token, `{"path":"/a"}`); err != nil {
		t.Fatal(err)
	}
	if err := w.call(alice, gone.Token, `{"path":"/a"}`); intent.ReasonOf(err) != intent.TokenRevoked {
		t.Fatal(err)
	}
	w.clock.move(time.Hour + w.cfg.Keep)
	for range 3 {
		w.Sweep(t.Context())
	}
	if s := w.Stats(); s.Plans != 0 || s.Tokens != 0 || s.Faults != 0 {
		t.Fatalf("%+v", s)
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
