package plans_test

import (
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/plans"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/store/storetest"
)

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
