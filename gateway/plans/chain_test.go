package plans_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/plans"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/storetest"
)

func TestNobodyElseReanchorsAPlan(t *testing.T) {
	w := newWorld(t, nil)
	p := w.captured("/a")
	for name, o := range map[string]plans.Owner{
		"another tenant": {Tenant: "umbrella", User: "usr_a", Agent: "agt_a", KeyID: "key_a"}, "another user": {Tenant: "acme", User: "usr_b", Agent: "agt_a", KeyID: "key_a"},
		"another agent": {Tenant: "acme", User: "usr_a", Agent: "agt_b", KeyID: "key_a"},
	} {
		_, delta, err := w.Reanchor(t.Context(), o, p.ID, w.draft("/b"), "")
		wants(t, err, plans.ErrNotFound)
		if _, _, ok := w.Head(o, p.ID); ok || delta != "" || w.Anchors(o.Tenant, p.Root) != nil {
			t.Fatal(name)
		}
	}
	_, _, err := w.Reanchor(t.Context(), plans.Owner{Tenant: "acme", Agent: "agt_a"}, p.ID, w.draft("/b"), "")
	wants(t, err, plans.ErrForbidden)
	_, _, err = w.Reanchor(t.Context(), alice, "pln_none", w.draft("/b"), "")
	wants(t, err, plans.ErrNotFound)
	for _, d := range []plans.Draft{{}, {Plan: w.plan(`{"steps":[{"server":"other","tool":"read"}]}`)}} {
		if _, _, err = w.Reanchor(t.Context(), alice, p.ID, d, ""); intent.ReasonOf(err) != intent.PlanInvalid {
			t.Fatal(err)
		}
	}
	if _, _, err = w.Reanchor(t.Context(), alice, p.ID, w.draft("/b"), strings.Repeat("x", 257)); intent.ReasonOf(err) != intent.PlanInvalid {
		t.Fatal(err)
	}
	if got := w.book.acts(); got != "plan captured" {
		t.Fatalf("recorded %s", got)
	}
}

func TestEndedPlansAreNotReanchored(t *testing.T) {
	for _, to := range []plans.State{plans.Completed, plans.Failed, plans.Revoked} {
		w := newWorld(t, nil)
		p := w.captured("/a")
		if err := w.SetState(t.Context(), mine(alice), p.ID, to, ""); err != nil {
			t.Fatal(err)
		}
		_, _, err := w.Reanchor(t.Context(), alice, p.ID, w.draft("/b"), "")
		wants(t, err, plans.ErrInactive)
	}
	w := newWorld(t, nil)
	p := w.captured("/a")
	w.clock.move(time.Hour)
	_, _, err := w.Reanchor(t.Context(), alice, p.ID, w.draft("/b"), "")
	wants(t, err, plans.ErrInactive)
}

func TestAnOldTokenServesTheGrownPlanAndNothingElse(t *testing.T) {
	w := newWorld(t, nil)
	p := w.captured("/a")
	tok := w.token(alice, p.ID)
	if err := w.call(alice, tok.Token, `{"path":"/b"}`); intent.ReasonOf(err) != intent.ArgsMismatch {
		t.Fatal(err)
	}
	second, delta := w.grow(p.ID, "/a", "/b")
	third, _ := w.grow(p.ID, "/b", "/c") // named by any of the chain, it grows at its end
	if d, err := w.verifier.Delta([]byte(delta)); err != nil || d.Claims().From.Root != p.Root || d.Claims().To.Root != second.Root || d.Claims().Reason != "plan grew" || d.Claims().Tenant != "acme" {
		t.Fatalf("%v", err)
	}
	other := w.captured("/other")
	for _, again := range []string{"at once", "after a restart"} {
		for path, want := range map[string]intent.Reason{"/b": "", "/c": "", "/a": intent.ArgsMismatch, "/other": intent.ArgsMismatch} {
			if err := w.call(alice, tok.Token, fmt.Sprintf(`{"path":%q}`, path)); intent.ReasonOf(err) != want || want == "" && err != nil {
				t.Fatalf("%s: %s: %v", again, path, err)
			}
		}
		for _, id := range []string{p.ID, second.ID, third.ID} {
			if got, h, ok := w.Head(alice, id); !ok || got != third.ID || h.Root() != third.Root {
				t.Fatalf("%s: head of %s is %s", again, id, got)
			}
		}
		if a, b, c := w.Anchors("acme", p.Root), w.Anchors("acme", second.Root), w.Anchors("acme", third.Root); len(a) != 2 || len(b) != 1 || a[1] != b[0] || c != nil {
			t.Fatalf("%s: %d, %d, %v", again, len(a), len(b), c)
		}
		if w.Anchors("umbrella", p.Root) != nil || w.Anchors("acme", other.Root) != nil {
			t.Fatalf("%s: anchors of another", again)
		}
		w.reopen()
	}
	list := w.List("acme", plans.Filter{})
	if list[0].Next != second.ID || list[0].Prev != "" || list[1].Prev != p.ID || list[1].Next != third.ID || list[2].Next != "" || list[3].Next != "" {
		t.Fatalf("%+v", list)
	}
	if got := w.book.acts(); got != "plan captured, token issued, plan captured, token reanchored, plan captured, token reanchored, plan captured" {
		t.Fatalf("recorded %s", got)
	}
	if r := w.book.records[3]; r.PlanID != p.ID || r.Plan != p.Root || r.Detail != "plan grew" || r.Agent != "agt_a" || !strings.Contains(string(r.Body), second.ID) {
		t.Fatalf("%+v", r)
	}
}

func TestThePlanTheHeadIsAlreadyIsNotCapturedAgain(t *testing.T) {
	w := newWorld(t, nil)
	p := w.captured("/a")
	same, first := w.grow(p.ID, "/a") // even so a chain begins: there is a delta to answer with
	if same.ID == p.ID || first == "" {
		t.Fatal("no link")
	}
	grown, delta := w.grow(p.ID, "/a", "/b")
	for _, again := range []string{"at once", "after a restart"} {
		twice, d := w.grow(p.ID, "/a", "/b")
		a, _ := json.Marshal(grown)
		if b, _ := json.Marshal(twice); string(a) != string(b) || d != delta {
			t.Fatalf("%s: %s\n%s", again, a, b)
		}
		w.reopen()
	}
	terms := w.draft("/a", "/b")
	terms.Plan.Metadata = json.RawMessage(`{"armoriq":{"policy":{"deny":["*"]}}}`)
	uses := w.draft("/a", "/b")
	uses.Plan.Steps[0].Uses = 1
	order := w.draft("/b", "/a")
	for name, d := range map[string]plans.Draft{"other terms": terms, "other uses": uses, "another order": order} {
		head, _ := w.grow(p.ID, "/a", "/b")
		got, _, err := w.Reanchor(t.Context(), alice, p.ID, d, "")
		if err != nil || got.ID == head.ID {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

func TestEndingAPlanEndsItsChainForwardAndBackward(t *testing.T) {
	for _, to := range []plans.State{plans.Completed, plans.Failed, plans.Revoked} {
		for named := range 3 {
			t.Run(fmt.Sprint(to, " ", named), func(t *testing.T) {
				w := newWorld(t, nil)
				p := w.captured("/a")
				old := w.token(alice, p.ID)
				second, _ := w.grow(p.ID, "/b")
				third, _ := w.grow(p.ID, "/c")
				young := w.token(alice, third.ID)
				apart := w.captured("/a")
				chain := []plans.Captured{p, second, third}
				if err := w.SetState(t.Context(), mine(alice), chain[named].ID, to, "over"); err != nil {
					t.Fatal(err)
				}
				for _, again := range []string{"at once", "after a restart"} {
					for i, c := range chain {
						if h, state, ok := w.Held("acme", c.Root); !ok || state != to || h != nil {
							t.Fatalf("%s: plan %d is %s", again, i, state)
						}
					}
					for _, tok := range []string{old.Token, young.Token} {
						if w.call(alice, tok, `{"path":"/c"}`) == nil {
							t.Fatalf("%s: granted", again)
						}
					}
					if _, _, ok := w.Head(alice, p.ID); ok {
						t.Fatalf("%s: there is a head", again)
					}
					if _, state, _ := w.Held("acme", apart.Root); !state.Active() {
						t.Fatalf("%s: a plan apart is %s", again, state)
					}
					w.reopen()
				}
				if got := w.book.acts(); strings.Count(got, "plan "+string(to)) != 3 {
					t.Fatalf("recorded %s", got)
				}
			})
		}
	}
}

func TestRevokingAPlanRefusesTokensLedOverIt(t *testing.T) {
	w := newWorld(t, nil)
	p := w.captured("/a")
	tok := w.token(alice, p.ID)
	w.grow(p.ID, "/b")
	led, err := w.stand("acme", tok.Token)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.SetState(t.Context(), admin("acme"), p.ID, plans.Revoked, ""); err != nil {
		t.Fatal(err)
	}
	who := intent.Bearer{Tenant: "acme", User: "usr_a", Agent: "agt_a", KeyID: "key_a"}
	if err := w.verifier.Bears(led, who, w.clock.now()); intent.ReasonOf(err) != intent.PlanRevoked {
		t.Fatal(err)
	}
}

func TestTimeEndsOnePlanAndNotItsChain(t *testing.T) {
	w := newWorld(t, nil)
	p := w.captured("/a")
	w.clock.move(30 * time.Minute)
	second, _ := w.grow(p.ID, "/b")
	w.clock.move(30 * time.Minute)
	w.Sweep(t.Context())
	for _, again := range []string{"at once", "after a restart"} {
		if _, state, _ := w.Held("acme", p.Root); state != plans.Expired {
			t.Fatalf("%s: %s", again, state)
		}
		if got, _, ok := w.Head(alice, p.ID); !ok || got != second.ID {
			t.Fatalf("%s: head %s", again, got)
		}
		w.reopen()
	}
	// The chain goes when all of it is past being listed, and nothing is left of it.
	w.clock.move(w.cfg.Keep)
	w.Sweep(t.Context())
	w.reopen()
	if s := w.Stats(); s.Plans != 2 {
		t.Fatalf("%+v", s)
	}
	w.clock.move(30 * time.Minute)
	w.Sweep(t.Context())
	w.reopen()
	if s := w.Stats(); s.Plans != 0 || s.Faults != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestAPlanWhoseStepsAreAllDoneCanGrow(t *testing.T) {
	w := newWorld(t, nil)
	p, err := w.Capture(t.Context(), alice, []byte(`{"steps":[{"server":"files","tool":"read"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	tok := w.token(alice, p.ID)
	w.take(p, 0, "ok")
	w.follow()
	w.Sweep(t.Context())
	if !w.UsedUp("acme", p.Root) {
		t.Fatal("not used up")
	}
	second, _ := w.grow(p.ID, "/b")
	for _, again := range []string{"at once", "after a restart"} {
		if err := w.call(alice, tok.Token, `{"path":"/b"}`); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		w.reopen()
	}
	// Ending the first by id reaches the one that is still active, and the first too: that the gateway completed it was
	// nobody's word.
	if err := w.SetState(t.Context(), mine(alice), p.ID, plans.Failed, ""); err != nil {
		t.Fatal(err)
	}
	if _, state, _ := w.Held("acme", second.Root); state != plans.Failed || w.UsedUp("acme", p.Root) {
		t.Fatal(state)
	}
	wants(t, w.SetState(t.Context(), mine(alice), p.ID, plans.Failed+"x", ""), &intent.Error{Reason: intent.PlanInvalid})
}

func TestAPlanThatSomebodyEndedIsNotRevived(t *testing.T) {
	for _, to := range []plans.State{plans.Completed, plans.Failed, plans.Revoked} {
		w := newWorld(t, nil)
		p, err := w.Capture(t.Context(), alice, []byte(`{"steps":[{"server":"files","tool":"read"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		w.take(p, 0, "ok")
		w.follow()
		w.Sweep(t.Context()) // completed by the gateway
		if err := w.SetState(t.Context(), mine(alice), p.ID, to, ""); err != nil {
			t.Fatal(err)
		}
		_, _, err = w.Reanchor(t.Context(), alice, p.ID, w.draft("/b"), "")
		wants(t, err, plans.ErrInactive)
	}
}

func TestAChainIsBoundedAndItsPlansCount(t *testing.T) {
	w := newWorld(t, func(c *plans.Config) { c.PlansPerAgent = 66 })
	p := w.captured("/0")
	for i := range 64 {
		w.grow(p.ID, fmt.Sprint("/", i+1))
	}
	_, _, err := w.Reanchor(t.Context(), alice, p.ID, w.draft("/x"), "")
	wants(t, err, plans.ErrLimit)
	tok := w.token(alice, p.ID)
	if err := w.call(alice, tok.Token, `{"path":"/64"}`); err != nil {
		t.Fatal(err)
	}
	w.reopen()
	if err := w.call(alice, tok.Token, `{"path":"/64"}`); err != nil {
		t.Fatal(err)
	}
	q := w.captured("/last")
	_, _, err = w.Reanchor(t.Context(), alice, q.ID, w.draft("/x"), "")
	wants(t, err, plans.ErrLimit) // of the agent's plans
	if err := w.SetState(t.Context(), mine(alice), p.ID, plans.Revoked, ""); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(w.book.acts(), "plan revoked"); got != 65 {
		t.Fatalf("%d plans revoked", got)
	}
}

// A re-anchoring that was not answered is in force neither at once nor after a restart, unless it was recorded and kept;
// and doing it again with another plan leaves one chain.
func TestAReanchoringThatFailedLeavesOneChain(t *testing.T) {
	for name, c := range map[string]struct {
		breaks func(*world)
		kept   bool
	}{
		"the capture's record":       {func(w *world) { w.book.fail = 1 }, false},
		"the link's record":          {func(w *world) { n := 0; w.book.onAppend = func() bool { n++; return n == 2 } }, false},
		"store failed":               {func(w *world) { w.store.Next(storetest.Failed) }, false},
		"store failed but persisted": {func(w *world) { w.store.Next(storetest.Persisted) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			p := w.captured("/a")
			tok := w.token(alice, p.ID)
			c.breaks(w)
			got, delta, err := w.Reanchor(t.Context(), alice, p.ID, w.draft("/b"), "")
			if err == nil || got.ID != "" || delta != "" {
				t.Fatal("answered")
			}
			w.book.onAppend = nil
			if w.Anchors("acme", p.Root) != nil || w.call(alice, tok.Token, `{"path":"/b"}`) == nil || w.Stats().Plans != 1 {
				t.Fatal("in force")
			}
			w.reopen()
			if err := w.call(alice, tok.Token, `{"path":"/b"}`); (err == nil) != c.kept {
				t.Fatalf("after a restart: %v", err)
			}
			if c.kept && strings.Count(w.book.acts(), "token reanchored") != 1 {
				t.Fatalf("kept without a record: %s", w.book.acts())
			}
		})
		t.Run(name+", done again", func(t *testing.T) {
			w := newWorld(t, nil)
			p := w.captured("/a")
			tok := w.token(alice, p.ID)
			c.breaks(w)
			if _, _, err := w.Reanchor(t.Context(), alice, p.ID, w.draft("/b"), ""); err == nil {
				t.Fatal("answered")
			}
			w.book.onAppend = nil
			second, _ := w.grow(p.ID, "/c")
			for _, again := range []string{"at once", "after a restart"} {
				if err := w.call(alice, tok.Token, `{"path":"/c"}`); err != nil {
					t.Fatalf("%s: %v", again, err)
				}
				if w.call(alice, tok.Token, `{"path":"/b"}`) == nil {
					t.Fatalf("%s: two heads", again)
				}
				if got, _, _ := w.Head(alice, p.ID); got != second.ID {
					t.Fatalf("%s: head %s", again, got)
				}
				w.reopen()
			}
			if err := w.SetState(t.Context(), mine(alice), p.ID, plans.Revoked, ""); err != nil {
				t.Fatal(err)
			}
			w.clock.move(2*time.Hour + w.cfg.Keep)
			for range 3 {
				w.Sweep(t.Context())
			}
			w.reopen()
			if s := w.Stats(); s.Plans != 0 || s.Faults != 0 {
				t.Fatalf("%+v", s)
			}
		})
	}
}

func TestAChainEndsWholeWhateverFails(t *testing.T) {
	for name, breaks := range map[string]func(*world){
		"ledger down":                func(w *world) { w.book.fail = 1 },
		"second record":              func(w *world) { n := 0; w.book.onAppend = func() bool { n++; return n == 2 } },
		"store failed":               func(w *world) { w.store.Next(storetest.Failed) },
		"store failed but persisted": func(w *world) { w.store.Next(storetest.Persisted) },
	} {
		for _, how := range []string{"asked again", "swept after a restart"} {
			t.Run(name+", "+how, func(t *testing.T) {
				w := newWorld(t, nil)
				p := w.captured("/a")
				second, _ := w.grow(p.ID, "/b")
				breaks(w)
				if err := w.SetState(t.Context(), admin("acme"), second.ID, plans.Revoked, "why"); err == nil {
					t.Fatal("answered")
				}
				w.book.onAppend = nil
				for _, c := range []plans.Captured{p, second} {
					if _, state, _ := w.Held("acme", c.Root); state != plans.Revoked {
						t.Fatal(state)
					}
				}
				if how == "asked again" || name == "store failed" { // what nothing kept is lost with the process, and was not answered
					if err := w.SetState(t.Context(), admin("acme"), p.ID, plans.Revoked, "again"); err != nil {
						t.Fatal(err)
					}
				}
				w.reopen()
				w.Sweep(t.Context())
				for _, c := range []plans.Captured{p, second} {
					if _, state, _ := w.Held("acme", c.Root); state != plans.Revoked {
						t.Fatal(state)
					}
				}
				if got := w.book.acts(); strings.Count(got, "plan revoked") != 2 {
					t.Fatalf("recorded %s", got)
				}
			})
		}
	}
}

func TestAChangedChainRefusesTheStart(t *testing.T) {
	for name, change := range map[string]func(id string, row map[string]any) bool{
		"no delta":      func(_ string, row map[string]any) bool { _, ok := row["delta"]; delete(row, "delta"); return ok },
		"another delta": func(_ string, row map[string]any) bool { return flip(row, "delta") },
		"another next": func(id string, row map[string]any) bool {
			_, ok := row["next"]
			row["next"] = id
			return ok
		},
		"no such plan": func(_ string, row map[string]any) bool {
			_, ok := row["next"]
			row["next"] = "pln_none"
			return ok
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			p := w.captured("/a")
			w.grow(p.ID, "/b")
			w.Close()
			if n := w.rewrite(change); n != 1 {
				t.Fatalf("%d rows changed", n)
			}
			if _, err := plans.Open(t.Context(), w.cfg, w.deps()); err == nil || !strings.Contains(err.Error(), "chain") {
				t.Fatalf("%v", err)
			}
		})
	}
}

func TestADeltaOfOtherPlansRefusesTheStart(t *testing.T) {
	w := newWorld(t, nil)
	p, q := w.captured("/a"), w.captured("/x")
	grown, _ := w.grow(p.ID, "/b")
	_, foreign := w.grow(q.ID, "/y")
	w.Close()
	n := w.rewrite(func(id string, row map[string]any) bool {
		row["delta"] = foreign
		return id == grown.ID
	})
	if _, err := plans.Open(t.Context(), w.cfg, w.deps()); n != 1 || err == nil || !strings.Contains(err.Error(), "other plans") {
		t.Fatalf("%d rows changed: %v", n, err)
	}
}

func TestAKeyThatIsPinnedNoMoreCutsTheChainAndLetsTheGatewayStart(t *testing.T) {
	w := newWorld(t, nil)
	p := w.captured("/a")
	second, _ := w.grow(p.ID, "/b")
	w.Close()
	w.issuer = "k2"
	w.open()
	if w.Anchors("acme", p.Root) != nil {
		t.Fatal("a delta of an unpinned key is followed")
	}
	third, _ := w.grow(p.ID, "/c")
	if w.Anchors("acme", p.Root) != nil || len(w.Anchors("acme", second.Root)) != 1 {
		t.Fatal("followed over the cut, or not after it")
	}
	tok := w.token(alice, second.ID)
	if err := w.call(alice, tok.Token, `{"path":"/c"}`); err != nil {
		t.Fatal(err)
	}
	if err := w.SetState(t.Context(), mine(alice), p.ID, plans.Revoked, ""); err != nil {
		t.Fatal(err)
	}
	if _, state, _ := w.Held("acme", third.Root); state != plans.Revoked {
		t.Fatal(state)
	}
}

func TestAskingForAnchorsAllocatesNothing(t *testing.T) {
	w := newWorld(t, nil)
	p, q := w.captured("/a"), w.captured("/x")
	w.grow(p.ID, "/b")
	if n := testing.AllocsPerRun(100, func() {
		if len(w.Anchors("acme", p.Root)) != 1 || w.Anchors("acme", q.Root) != nil {
			t.Fatal("anchors")
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// flip changes one character in the middle of a text member.
func flip(row map[string]any, key string) bool {
	s, ok := row[key].(string)
	if !ok {
		return false
	}
	b := []byte(s)
	b[len(b)/2] ^= 1
	row[key] = string(b)
	return true
}

// rewrite changes the stored rows of plans and says how many it changed.
func (w *world) rewrite(change func(id string, row map[string]any) bool) (changed int) {
	w.t.Helper()
	err := w.inner.Update(w.t.Context(), "acme", func(tx store.Txn) error {
		changed = 0
		return tx.Scan("plans", "", func(key string, v store.Value) error {
			var row map[string]any
			if err := json.Unmarshal(v.Data[2:], &row); err != nil {
				return err
			}
			if !change(key, row) {
				return nil
			}
			changed++
			body, err := json.Marshal(row)
			if err != nil {
				return err
			}
			_, err = tx.Put("plans", key, append(v.Data[:2:2], body...), v.Version)
			return err
		})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return changed
}

func TestManyWhoGrowUseAndEndAPlanAtOnceLeaveOneChain(t *testing.T) {
	w := newWorld(t, nil)
	p := w.captured("/a")
	tok := w.token(alice, p.ID)
	var wg sync.WaitGroup
	for i := range 8 {
		d := w.draft(fmt.Sprint("/", i))
		wg.Go(func() {
			if _, _, err := w.Reanchor(t.Context(), alice, p.ID, d, ""); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if _, err := w.stand("acme", tok.Token); err != nil {
				t.Error(err)
			}
			w.Head(alice, p.ID)
			w.Find(alice, "tools/call", "files", "read")
			w.Sweep(t.Context())
			w.List("acme", plans.Filter{})
		})
		wg.Go(func() {
			if _, _, err := w.delegate(alice, "", tok.Token, "bob"); err != nil && intent.ReasonOf(err) != intent.TokenRevoked {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(w.Anchors("acme", p.Root)); n != 8 {
		t.Fatalf("%d links", n)
	}
	wg.Go(func() { w.grow(p.ID, "/last") })
	wg.Go(func() {
		if _, err := w.RevokeTree(t.Context(), mine(alice), tok.ID, "", true); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
	if err := w.SetState(t.Context(), mine(alice), p.ID, plans.Revoked, ""); err != nil {
		t.Fatal(err)
	}
	w.reopen()
	if l := w.List("acme", plans.Filter{State: plans.Revoked}); len(l) != 10 {
		t.Fatalf("%d plans revoked", len(l))
	}
	for _, issued := range w.Tokens("acme", plans.Filter{}) {
		if issued.Revoked == nil {
			t.Fatalf("%+v", issued)
		}
	}
}
