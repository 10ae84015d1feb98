package plans_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/plans"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/store/badger"
	"github.com/gatewright/gatewright/store/storetest"
)

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

func TestAPlanIsNotDroppedBeforeItsTokens(t *testing.T) {
	w := newWorld(t, nil)
	p := w.capture(alice)
	w.token(alice, p.ID)
	w.clock.move(time.Hour + w.cfg.Keep)
	// The plan's end takes two commits; the third, which removes the token, fails.
	w.store.Next(storetest.None, storetest.None, storetest.Failed)
	w.Sweep(t.Context())
	w.reopen() // refused if a token were left without its plan
	if s := w.Stats(); s.Tokens != 1 || s.Plans != 1 {
		t.Fatalf("%+v", s)
	}
	w.Sweep(t.Context())
	w.reopen()
	if s := w.Stats(); s.Tokens != 0 || s.Plans != 0 {
		t.Fatalf("%+v", s)
	}
}
