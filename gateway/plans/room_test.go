package plans_test

import (
	"context"
	"errors"
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

// shown asks the way the line does when a client shows its step with the proof: the plan need not be held.
func (w *world) shown(o plans.Owner, p plans.Captured, token string) error {
	w.t.Helper()
	now := w.clock.now()
	t, err := w.verifier.Token([]byte(token), now)
	if err != nil {
		return err
	}
	if _, state, ok := w.Held(o.Tenant, t.PlanRoot()); ok && !state.Active() {
		return fmt.Errorf("%s: %w", state, plans.ErrInactive)
	}
	doc, err := intent.ParsePlan(p.Plan)
	if err != nil {
		w.t.Fatal(err)
	}
	who := intent.Bearer{Tenant: o.Tenant, User: o.User, Agent: o.Agent, KeyID: o.KeyID}
	req := intent.Request{Op: "tools/call", Server: "files", Tool: "read", Schema: readSchema, Args: []byte(`{"path":"/a"}`)}
	_, err = w.verifier.Grant(t, who, req, &doc.Steps[0], 0, doc.Tree().AppendInclusion(nil, 0), now)
	return err
}

func (w *world) try(o plans.Owner) error {
	w.clock.move(time.Millisecond)
	_, err := w.Capture(w.t.Context(), o, []byte(draft))
	return err
}

func (w *world) end(o plans.Owner, p plans.Captured, to plans.State) {
	w.t.Helper()
	if err := w.SetState(w.t.Context(), mine(o), p.ID, to, ""); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) listed(id string) bool {
	_, _, err := w.Get(w.t.Context(), "acme", id)
	return err == nil
}

// rowsIn counts what the store holds of a table.
func (w *world) rowsIn(table string) (n int) {
	w.t.Helper()
	err := w.inner.View(w.t.Context(), "acme", func(tx store.Txn) error {
		n = 0
		return tx.Scan(table, "", func(string, store.Value) error { n++; return nil })
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func TestAnEndedPlanGivesItsPlaceBackAtOnce(t *testing.T) {
	for name, end := range map[string]func(*world, plans.Captured){
		"completed": func(w *world, p plans.Captured) { w.end(alice, p, plans.Completed) },
		"failed":    func(w *world, p plans.Captured) { w.end(alice, p, plans.Failed) },
		"revoked":   func(w *world, p plans.Captured) { w.end(alice, p, plans.Revoked) },
		"revoked, but not recorded": func(w *world, p plans.Captured) {
			w.book.fail = 1
			if w.SetState(w.t.Context(), mine(alice), p.ID, plans.Revoked, "") == nil {
				w.t.Fatal("answered")
			}
		},
		"expired, and not swept": func(w *world, _ plans.Captured) { w.clock.move(31 * time.Minute) },
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", restart ", restart), func(t *testing.T) {
				w := newWorld(t, func(c *plans.Config) { c.PlansPerAgent = 2 })
				d := w.draft("/a")
				d.TTL = 30 * time.Minute
				p, err := w.CapturePlan(t.Context(), alice, d)
				if err != nil {
					t.Fatal(err)
				}
				w.capture(alice)
				wants(t, w.try(alice), plans.ErrLimit)
				if err := w.try(bob); err != nil {
					t.Fatalf("another agent: %v", err)
				}
				end(w, p)
				if restart {
					w.reopen()
				}
				if err := w.try(alice); err != nil {
					t.Fatal(err)
				}
				wants(t, w.try(alice), plans.ErrLimit)
			})
		}
	}
}

func TestAFullGatewayNeedsNoSweepToLetExpiredPlansMakeRoom(t *testing.T) {
	w := newWorld(t, func(c *plans.Config) { c.Plans, c.PlansPerAgent = 3, 3 })
	first := w.capture(alice)
	w.clock.move(time.Second)
	w.capture(alice)
	w.capture(alice)
	wants(t, w.try(bob), plans.ErrLimit)
	w.clock.move(time.Hour - time.Second)
	if err := w.try(bob); err != nil {
		t.Fatal(err)
	}
	wants(t, w.try(bob), plans.ErrLimit)
	if got := w.book.acts(); strings.Count(got, "plan expired") != 1 || w.listed(first.ID) {
		t.Fatalf("dropped without a record: %s", got)
	}
}

func TestALimitSaysWhichAndHowItIsLeft(t *testing.T) {
	w := newWorld(t, func(c *plans.Config) { c.PlansPerAgent, c.Plans = 2, 3 })
	says := func(err error, parts ...string) {
		t.Helper()
		wants(t, err, plans.ErrLimit)
		for _, part := range parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q lacks %q", err, part)
			}
		}
	}
	end := w.capture(alice).Expires.Format(time.RFC3339)
	w.clock.move(time.Minute)
	w.capture(alice)
	says(w.try(alice), "2 active plans", "intent.max_plans is 2", end, "ending a plan", "frees its place", "may raise intent.max_plans")
	later := w.capture(bob).Expires.Format(time.RFC3339)
	err := w.try(bob)
	says(err, "3 plans of all", "intent.max_all_plans", later, "ending a plan", "may raise intent.max_all_plans")
	if strings.Contains(err.Error(), end) {
		t.Errorf("%q tells when another's plan ends", err)
	}
	carol := bob
	carol.Agent = "agt_c"
	says(w.try(carol), "3 plans of all", "the agent has no active plan", "may raise intent.max_all_plans")
}

// One agent that captures and ends plans for ever takes nobody's active plan, nobody's token, and no revocation with it.
func TestALoopOfOneAgentPushesOutNothingInForce(t *testing.T) {
	w := newWorld(t, func(c *plans.Config) { c.Plans, c.PlansPerAgent = 12, 3 })
	theirs := w.capture(bob)
	bobs := w.token(bob, theirs.ID)
	kept := w.capture(alice)
	keptToken, gone := w.token(alice, kept.ID), w.token(alice, kept.ID)
	revoked, done := w.capture(alice), w.capture(alice)
	refused, finished, taken := w.token(alice, revoked.ID), w.token(alice, done.ID), w.token(alice, done.ID)
	w.end(alice, revoked, plans.Revoked)
	w.end(alice, done, plans.Completed)
	for _, id := range []string{gone.ID, taken.ID} {
		if err := w.RevokeToken(t.Context(), mine(alice), id, ""); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string) {
		t.Helper()
		for what, c := range map[string]struct {
			o     plans.Owner
			p     plans.Captured
			token plans.Issued
			want  intent.Reason // "" = passes
			state error
		}{
			"another's token":                  {bob, theirs, bobs, "", nil},
			"its own token":                    {alice, kept, keptToken, "", nil},
			"its own revoked token":            {alice, kept, gone, intent.TokenRevoked, nil},
			"a token of its revoked plan":      {alice, revoked, refused, intent.PlanRevoked, nil},
			"a token of its done plan":         {alice, done, finished, "", plans.ErrInactive},
			"a revoked token of its done plan": {alice, done, taken, intent.TokenRevoked, nil},
		} {
			for how, err := range map[string]error{"held": w.call(c.o, c.token.Token, `{"path":"/a"}`), "shown": w.shown(c.o, c.p, c.token.Token)} {
				if intent.ReasonOf(err) != c.want || c.state != nil && !errors.Is(err, c.state) || c.want == "" && c.state == nil && err != nil {
					t.Fatalf("%s: %s, %s: %v", when, what, how, err)
				}
			}
		}
	}
	check("before")
	for i := range 60 {
		w.clock.move(10 * time.Second) // ten minutes in all
		p := w.capture(alice)
		w.end(alice, p, plans.Completed)
		if i%20 == 19 {
			check(fmt.Sprint("after ", i))
			w.reopen()
			check(fmt.Sprint("after ", i, " and a restart"))
		}
	}
	if s := w.Stats(); s.Plans != 12 || s.Faults != 0 || w.rowsIn("plans") != 12 || w.rowsIn("plan_bodies") != 12 {
		t.Fatalf("%+v, %d rows", s, w.rowsIn("plans"))
	}
	// The loop goes on beyond the tokens' ends: the done plan goes, the revoked one stays until it expires.
	w.clock.move(w.cfg.TokenTTL)
	for range 15 {
		w.end(alice, w.capture(alice), plans.Completed)
	}
	if w.listed(done.ID) || !w.listed(revoked.ID) {
		t.Fatalf("done %v, revoked %v", w.listed(done.ID), w.listed(revoked.ID))
	}
	w.reopen()
	w.clock.move(time.Hour)
	for range 15 {
		w.end(alice, w.capture(alice), plans.Completed)
	}
	if w.listed(revoked.ID) {
		t.Fatal("a revoked plan stays for ever")
	}
	w.reopen() // refused if a token were left without its plan
}

func TestPlansThatStillMatterAreNotDropped(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*world, plans.Captured)
		free time.Duration // after which it can be dropped
	}{
		"active": {func(*world, plans.Captured) {}, time.Hour},
		"completed, with a token": {func(w *world, p plans.Captured) {
			w.token(alice, p.ID)
			w.end(alice, p, plans.Completed)
		}, 16 * time.Minute},
		"completed, with a longer token": {func(w *world, p plans.Captured) {
			if _, err := w.Token(w.t.Context(), alice, p.ID, plans.TokenOptions{TTL: 40 * time.Minute}); err != nil {
				w.t.Fatal(err)
			}
			w.end(alice, p, plans.Completed)
		}, 41 * time.Minute},
		"revoked": {func(w *world, p plans.Captured) { w.end(alice, p, plans.Revoked) }, time.Hour},
		"completed, then revoked": {func(w *world, p plans.Captured) {
			w.end(alice, p, plans.Completed)
			w.end(alice, p, plans.Revoked)
		}, time.Hour},
		"with a token whose issue failed but was kept": {func(w *world, p plans.Captured) {
			w.store.Next(storetest.Persisted)
			if _, err := w.Token(w.t.Context(), alice, p.ID, plans.TokenOptions{}); err == nil {
				w.t.Fatal("issued")
			}
			w.end(alice, p, plans.Completed)
		}, 16 * time.Minute},
		"of a chain that goes on": {func(w *world, p plans.Captured) {
			w.take(p, 0, "ok")
			w.take(p, 1, "ok")
			w.follow()
			w.Sweep(w.t.Context())
			if _, _, err := w.Reanchor(w.t.Context(), alice, p.ID, w.draft("/b"), ""); err != nil {
				w.t.Fatal(err)
			}
		}, time.Hour},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", restart ", restart), func(t *testing.T) {
				w := newWorld(t, func(c *plans.Config) { c.Plans, c.PlansPerAgent, c.Keep = 2, 2, 24*time.Hour })
				p := w.capture(alice)
				c.end(w, p)
				for w.try(bob) == nil { // what cannot make room for an hour
				}
				if restart {
					w.reopen()
				}
				w.clock.move(c.free - 2*time.Second)
				wants(t, w.try(bob), plans.ErrLimit)
				if !w.listed(p.ID) {
					t.Fatal("dropped")
				}
				w.clock.move(2 * time.Second)
				if err := w.try(bob); err != nil {
					t.Fatalf("%v after it is no longer needed", err)
				}
				if w.listed(p.ID) {
					t.Fatal("it is not the oldest that was dropped")
				}
				w.reopen()
			})
		}
	}
}

func TestAPlanWhoseRecordIsPendingIsNotDropped(t *testing.T) {
	for name, pend := range map[string]func(*world, plans.Captured, plans.Issued) error{
		"its end": func(w *world, p plans.Captured, _ plans.Issued) error {
			w.book.fail = 1
			return w.SetState(w.t.Context(), mine(alice), p.ID, plans.Failed, "")
		},
		"a token's revocation": func(w *world, p plans.Captured, tok plans.Issued) error {
			w.end(alice, p, plans.Failed)
			w.book.fail = 1
			return w.RevokeToken(w.t.Context(), mine(alice), tok.ID, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *plans.Config) { c.Plans = 1 })
			p := w.capture(alice)
			tok, err := w.Token(t.Context(), alice, p.ID, plans.TokenOptions{TTL: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			if pend(w, p, tok) == nil {
				t.Fatal("answered without a record")
			}
			w.clock.move(2 * time.Minute)
			for range 2 {
				wants(t, w.try(bob), plans.ErrLimit)
				if !w.listed(p.ID) {
					t.Fatal("dropped")
				}
				w.reopen()
			}
			w.Sweep(t.Context())
			if err := w.try(bob); err != nil {
				t.Fatal(err)
			}
			if got := w.book.acts(); strings.Count(got, "plan failed") != 1 || strings.Contains(name, "token") && strings.Count(got, "token revoked") != 1 {
				t.Fatalf("recorded %s", got)
			}
		})
	}
}

// What ends, but has to be kept, is bounded for each agent: others find room.
func TestOneAgentCannotFillTheGatewayWithEndedPlansThatAreKept(t *testing.T) {
	for name, end := range map[string]func(*world, plans.Captured){
		"revoked": func(w *world, p plans.Captured) { w.end(alice, p, plans.Revoked) },
		"completed, with long tokens": func(w *world, p plans.Captured) {
			if _, err := w.Token(w.t.Context(), alice, p.ID, plans.TokenOptions{TTL: time.Hour}); err != nil {
				w.t.Fatal(err)
			}
			w.end(alice, p, plans.Completed)
		},
		"before others of their chain": func(w *world, p plans.Captured) {
			w.take(p, 0, "ok")
			w.take(p, 1, "ok")
			w.follow()
			w.Sweep(w.t.Context())
			if _, _, err := w.Reanchor(w.t.Context(), alice, p.ID, w.draft("/b"), ""); err != nil && !errors.Is(err, plans.ErrLimit) {
				w.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *plans.Config) { c.Plans, c.PlansPerAgent = 40, 5 })
			var err error
			for range 60 {
				w.clock.move(time.Millisecond)
				var p plans.Captured
				if p, err = w.Capture(t.Context(), alice, []byte(draft)); err != nil {
					break
				}
				end(w, p)
			}
			wants(t, err, plans.ErrLimit)
			if n := len(w.List("acme", plans.Filter{Agent: "agt_a"})); n > 15 {
				t.Fatalf("%d plans of one agent", n)
			}
			for range 2 {
				wants(t, w.try(alice), plans.ErrLimit)
				if err := w.try(bob); err != nil {
					t.Fatal(err)
				}
				w.reopen()
			}
			w.clock.move(time.Hour + time.Minute)
			if err := w.try(alice); err != nil {
				t.Fatalf("after their end: %v", err)
			}
		})
	}
}

func TestTheOldestEndedPlansGoFirstAndNoMoreThanNeeded(t *testing.T) {
	w := newWorld(t, func(c *plans.Config) { c.Plans = 4 })
	var all []plans.Captured
	for range 4 {
		w.clock.move(time.Second)
		all = append(all, w.capture(alice))
	}
	for _, i := range []int{2, 0, 1} {
		w.clock.move(time.Second)
		w.end(alice, all[i], plans.Completed)
	}
	for _, i := range []int{2, 0, 1} {
		if err := w.try(bob); err != nil {
			t.Fatal(err)
		}
		if _, _, ok := w.Held("acme", all[i].Root); ok || w.listed(all[i].ID) || w.Stats().Plans != 4 || w.rowsIn("plans") != 4 || w.rowsIn("plan_bodies") != 4 {
			t.Fatalf("not %d: %+v", i, w.Stats())
		}
	}
	wants(t, w.try(bob), plans.ErrLimit)
	if !w.listed(all[3].ID) {
		t.Fatal("an active plan was dropped")
	}
}

// Whatever becomes of the commit that drops a plan: the plan comes back whole after a restart, or not at all, and nothing
// done meanwhile leaves half of it.
func TestAPlanIsDroppedWholeWhateverFails(t *testing.T) {
	for _, fault := range []storetest.Fault{storetest.Failed, storetest.Persisted} {
		t.Run(fmt.Sprint(fault), func(t *testing.T) {
			w := newWorld(t, func(c *plans.Config) { c.Plans = 2 })
			active := w.capture(alice)
			p, err := w.Capture(t.Context(), alice, []byte(draft))
			if err != nil {
				t.Fatal(err)
			}
			tok, err := w.Token(t.Context(), alice, p.ID, plans.TokenOptions{TTL: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			w.take(p, 0, "ok")
			w.take(p, 1, "ok")
			w.follow()
			w.Sweep(t.Context()) // completed, so that it could be re-anchored
			w.clock.move(2 * time.Minute)
			w.store.Next(fault)
			wants(t, w.try(bob), plans.ErrLimit)

			wants(t, w.SetState(t.Context(), mine(alice), p.ID, plans.Revoked, ""), plans.ErrNotFound)
			_, _, err = w.Reanchor(t.Context(), alice, p.ID, w.draft("/b"), "")
			wants(t, err, plans.ErrNotFound)
			wants(t, w.RevokeToken(t.Context(), mine(alice), tok.ID, ""), plans.ErrNotFound)
			if _, state, ok := w.Held("acme", p.Root); !ok || state != plans.Completed {
				t.Fatal("an ended plan is not known as ended while it may be kept")
			}

			w.reopen()
			if w.listed(p.ID) != (fault == storetest.Failed) || !w.listed(active.ID) {
				t.Fatal("half a plan")
			}
			if err := w.try(bob); err != nil {
				t.Fatal(err)
			}
			w.reopen()
			if n := w.rowsIn("plans"); n != 2 || w.rowsIn("plan_bodies") != 2 || w.rowsIn("plan_tokens") != 0 {
				t.Fatalf("%d plans, %d contents, %d tokens", n, w.rowsIn("plan_bodies"), w.rowsIn("plan_tokens"))
			}
		})
		t.Run(fmt.Sprint(fault, ", tried again"), func(t *testing.T) {
			w := newWorld(t, func(c *plans.Config) { c.Plans = 2 })
			w.capture(alice)
			p := w.capture(alice)
			w.end(alice, p, plans.Completed)
			w.store.Next(fault)
			wants(t, w.try(bob), plans.ErrLimit)
			if err := w.try(bob); err != nil || w.rowsIn("plans") != 2 || w.Stats().Faults != 1 {
				t.Fatalf("%v, %+v", err, w.Stats())
			}
			w.reopen()
		})
	}
}

func TestALowerBoundIsReachedByDroppingEndedPlansOnly(t *testing.T) {
	w := newWorld(t, nil)
	active := []plans.Captured{w.capture(alice), w.capture(alice)}
	for range 40 {
		w.end(bob, w.capture(bob), plans.Completed)
	}
	w.cfg.Plans = 3
	w.reopen()
	if n := w.Stats().Plans; n != 42 {
		t.Fatalf("%d plans: a start drops none", n)
	}
	w.Sweep(t.Context())
	if s := w.Stats(); s.Plans != 3 || s.Active != 2 || w.rowsIn("plans") != 3 {
		t.Fatalf("%+v", s)
	}
	w.cfg.Plans = 1
	w.reopen()
	w.Sweep(t.Context())
	for _, p := range active {
		if _, state, _ := w.Held("acme", p.Root); state != plans.Active {
			t.Fatal(state)
		}
	}
	wants(t, w.try(bob), plans.ErrLimit)
}

func TestAChainMakesRoomAsOne(t *testing.T) {
	w := newWorld(t, func(c *plans.Config) { c.Plans = 4 })
	p := w.captured("/a")
	w.grow(p.ID, "/b")
	head, _ := w.grow(p.ID, "/c")
	w.capture(bob)
	wants(t, w.try(bob), plans.ErrLimit)
	w.end(alice, head, plans.Completed)
	for i := range 3 {
		if err := w.try(bob); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		if n := w.rowsIn("plans"); n != 2+i {
			t.Fatalf("%d rows", n)
		}
	}
	wants(t, w.try(bob), plans.ErrLimit)
	w.reopen()
	if s := w.Stats(); s.Plans != 4 || s.Active != 4 {
		t.Fatalf("%+v", s)
	}
}

func TestManyWhoCaptureGrowAndEndInAFullGatewayStayWithinItsBound(t *testing.T) {
	w := newWorld(t, func(c *plans.Config) { c.Plans, c.PlansPerAgent = 24, 4 })
	still := w.capture(bob)
	var wg sync.WaitGroup
	for i := range 6 {
		who := alice
		who.Agent = fmt.Sprint("agt_", i)
		wg.Go(func() {
			for n := range 30 {
				p, err := w.Capture(t.Context(), who, []byte(draft))
				if err != nil {
					t.Errorf("an agent with at most two plans in force: %v", err)
					return
				}
				if n%3 == 0 {
					if _, _, err := w.Reanchor(t.Context(), who, p.ID, w.draft(fmt.Sprint("/", n)), ""); err != nil {
						t.Error(err)
					}
				}
				if err := w.SetState(t.Context(), mine(who), p.ID, plans.Completed, ""); err != nil {
					t.Error(err)
				}
				w.clock.move(time.Millisecond)
				if n%10 == 9 {
					w.Sweep(t.Context())
				}
			}
		})
	}
	wg.Wait()
	if s := w.Stats(); s.Plans > 24 || s.Active != 1 || s.Faults != 0 || w.rowsIn("plans") != s.Plans || w.rowsIn("plan_bodies") != s.Plans {
		t.Fatalf("%+v, %d rows", s, w.rowsIn("plans"))
	}
	w.reopen()
	if _, state, _ := w.Held("acme", still.Root); state != plans.Active {
		t.Fatal(state)
	}
}

func TestAPlanBeingReanchoredDoesNotMakeRoomForWhatItGrowsInto(t *testing.T) {
	w := newWorld(t, func(c *plans.Config) { c.Plans = 2 })
	other := w.capture(bob)
	p := w.capture(alice)
	w.take(p, 0, "ok")
	w.take(p, 1, "ok")
	w.follow()
	w.Sweep(t.Context())
	_, _, err := w.Reanchor(t.Context(), alice, p.ID, w.draft("/b"), "")
	wants(t, err, plans.ErrLimit)
	if !w.listed(p.ID) {
		t.Fatal("dropped")
	}
	w.end(bob, other, plans.Failed)
	w.grow(p.ID, "/b")
	if w.listed(other.ID) || w.Stats().Plans != 2 {
		t.Fatalf("%+v", w.Stats())
	}
}

// watched calls its function before a look into the store.
type watched struct {
	store.Store
	look func()
}

func (s *watched) View(ctx context.Context, tenant string, fn func(store.Txn) error) error {
	if s.look != nil {
		s.look()
	}
	return s.Store.View(ctx, tenant, fn)
}

// A plan that was found, and then dropped before it could be changed, is not brought back by half.
func TestAChangeThatComesTooLateFindsNoPlan(t *testing.T) {
	for name, late := range map[string]func(*world, plans.Captured, plans.Issued) error{
		"revoking": func(w *world, p plans.Captured, _ plans.Issued) error {
			return w.SetState(w.t.Context(), mine(alice), p.ID, plans.Revoked, "")
		},
		"re-anchoring": func(w *world, p plans.Captured, _ plans.Issued) error {
			_, _, err := w.Reanchor(w.t.Context(), alice, p.ID, w.draft("/b"), "")
			return err
		},
		"revoking its token": func(w *world, _ plans.Captured, tok plans.Issued) error {
			return w.RevokeToken(w.t.Context(), mine(alice), tok.ID, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *plans.Config) { c.Plans = 1 })
			w.Close()
			over := &watched{Store: w.inner}
			deps := w.deps()
			deps.Store = over
			r, err := plans.Open(t.Context(), w.cfg, deps)
			if err != nil {
				t.Fatal(err)
			}
			w.Register = r
			p := w.capture(alice)
			tok := w.token(alice, p.ID)
			w.take(p, 0, "ok")
			w.take(p, 1, "ok")
			w.follow()
			w.Sweep(t.Context())
			w.clock.move(20 * time.Minute)
			answer := make(chan error, 1)
			over.look = func() { // the drop has begun, and has the plan's lock
				over.look = nil
				go func() { answer <- late(w, p, tok) }()
				time.Sleep(30 * time.Millisecond)
			}
			if err := w.try(bob); err != nil {
				t.Fatal(err)
			}
			wants(t, <-answer, plans.ErrNotFound)
			w.reopen()
			if n := w.rowsIn("plans"); n != 1 || w.rowsIn("plan_bodies") != 1 || w.rowsIn("plan_tokens") != 0 {
				t.Fatalf("%d plans, %d tokens", n, w.rowsIn("plan_tokens"))
			}
		})
	}
}
