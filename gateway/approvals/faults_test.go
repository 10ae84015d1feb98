package approvals_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/approvals"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/storetest"
)

// script takes one call through its whole life, telling how often it was let go on.
func (w *world) script() (uses int, id string) {
	ctx := w.t.Context()
	v, err := w.Request(ctx, pay())
	if err != nil {
		return 0, ""
	}
	_ = w.decide("usr_max", v.ID, true)
	if id, ok := w.Approved("acme", v.Digest); ok && w.Spend(ctx, "acme", id, "rec_1") == nil {
		uses++
	}
	return uses, v.ID
}

// TestNoFaultLetsACallGoOnThatWasNotApprovedOrTwice breaks each append and each commit in turn, restarts at once or not,
// and goes on.
func TestNoFaultLetsACallGoOnThatWasNotApprovedOrTwice(t *testing.T) {
	faults := map[string]func(w *world, n int){
		"append failed":              func(w *world, n int) { w.book.next(n, false) },
		"append failed but is there": func(w *world, n int) { w.book.next(n, true) },
		"commit failed":              func(w *world, n int) { w.store.Next(append(make([]storetest.Fault, n-1), storetest.Failed)...) },
		"commit failed but is there": func(w *world, n int) { w.store.Next(append(make([]storetest.Fault, n-1), storetest.Persisted)...) },
	}
	for name, breaks := range faults {
		for n := 1; n <= 6; n++ {
			for _, restart := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %d %v", name, n, restart), func(t *testing.T) {
					w := newWorld(t, nil)
					breaks(w, n)
					uses := map[string]int{}
					for range 3 {
						k, id := w.script()
						uses[id] += k
						if restart {
							w.reopen()
						}
					}
					w.Sweep(t.Context())
					total := 0
					for id, k := range uses {
						total += k
						acts := w.book.acts(id)
						if k > 1 || k == 1 && (!strings.Contains(acts, "approved") || !strings.Contains(acts, "executed")) {
							t.Errorf("%s was used %d times: %s", id, k, acts)
						}
					}
					if total < 2 {
						t.Errorf("%d uses: one fault stopped more than one call", total)
					}
					w.reopen()
					for _, v := range w.List("acme", approvals.Filter{}) {
						if acts := w.book.acts(v.ID); !strings.Contains(acts, "requested") || v.State == approvals.Executed && !strings.Contains(acts, "executed") {
							t.Errorf("%s is %s: %s", v.ID, v.State, acts)
						}
					}
				})
			}
		}
	}
}

func TestARejectionWorksAtOnceAndIsRecordedAfterTheRestart(t *testing.T) {
	for name, breaks := range map[string]func(*world){
		"ledger down":                func(w *world) { w.book.next(1, false) },
		"store failed":               func(w *world) { w.store.Next(storetest.Failed) },
		"store failed but persisted": func(w *world) { w.store.Next(storetest.Persisted) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			v := w.request(pay())
			if err := w.decide("usr_max", v.ID, true); err != nil {
				t.Fatal(err)
			}
			breaks(w)
			if w.decide("usr_mia", v.ID, false) == nil {
				t.Fatal("answered")
			}
			if w.approved(pay()) {
				t.Fatal("still approved")
			}
			wants(t, w.decide("usr_ada", v.ID, false), approvals.ErrRejected)
			if name == "ledger down" { // kept, so a start finds it
				w.reopen()
				w.Sweep(t.Context())
			} else if err := w.decide("usr_mia", v.ID, false); err != nil { // asking again finishes it
				t.Fatal(err)
			}
			w.reopen()
			w.Sweep(t.Context())
			last := w.book.last()
			if got := w.book.acts(v.ID); got != "requested approved rejected" || last.User != "usr_mia" || last.Key != "key_usr_mia" || last.Detail != "because" {
				t.Errorf("%s, %s", got, last.AppendJSON(nil))
			}
			if w.state(v.ID) != approvals.Rejected {
				t.Error(w.state(v.ID))
			}
		})
	}
}

func TestNothingIsGrantedThatIsNotRecordedAndKept(t *testing.T) {
	for name, breaks := range map[string]func(*world){
		"ledger down":                func(w *world) { w.book.next(1, false) },
		"store failed":               func(w *world) { w.store.Next(storetest.Failed) },
		"store failed but persisted": func(w *world) { w.store.Next(storetest.Persisted) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			other := pay()
			other.PlanID = "pln_2"
			v := w.request(other) // notes the tenant
			breaks(w)
			if got, err := w.Request(t.Context(), pay()); err == nil || got.ID != "" || len(w.List("acme", approvals.Filter{})) != 1 {
				t.Fatalf("%+v, %v", got, err)
			}
			breaks(w)
			if w.decide("usr_max", v.ID, true) == nil || w.approved(other) || w.state(v.ID) != approvals.Pending {
				t.Fatal("approved")
			}
			if err := w.decide("usr_max", v.ID, true); err != nil {
				t.Fatal(err)
			}
			breaks(w)
			if w.Spend(t.Context(), "acme", v.ID, "rec_1") == nil {
				t.Fatal("spent")
			}
			wants(t, w.Spend(t.Context(), "acme", v.ID, "rec_1"), approvals.ErrSpent)
			if w.approved(other) {
				t.Fatal("still approved")
			}
		})
	}
}

func TestARequestThatWasKeptAlthoughItFailedMakesRoomForTheNext(t *testing.T) {
	w := newWorld(t, nil)
	other := pay()
	other.PlanID = "pln_2"
	w.request(other)
	w.store.Next(storetest.Persisted)
	if _, err := w.Request(t.Context(), pay()); err == nil {
		t.Fatal("answered")
	}
	w.clock.move(time.Second)
	v := w.request(pay())
	w.reopen()
	open := w.List("acme", approvals.Filter{State: approvals.Pending})
	old := w.List("acme", approvals.Filter{State: approvals.Expired})
	if len(open) != 2 || open[1].ID != v.ID || len(old) != 1 || old[0].Digest != v.Digest || w.request(pay()).ID != v.ID {
		t.Fatalf("open %+v, expired %+v", open, old)
	}
	wants(t, w.decide("usr_max", old[0].ID, true), approvals.ErrExpired)
	w.Sweep(t.Context())
	if err := w.decide("usr_max", v.ID, true); err != nil || !w.approved(pay()) {
		t.Fatal(err)
	}
	if got := w.book.acts(old[0].ID); got != "requested expired" {
		t.Error(got)
	}
}

func TestWhatIsNotRecordedYetMakesNoRoom(t *testing.T) {
	w := newWorld(t, func(c *approvals.Config) { c.MaxOpen, c.MaxAll = 1, 1 })
	v := w.request(pay())
	w.book.next(1, false)
	if w.decide("usr_max", v.ID, false) == nil {
		t.Fatal("answered")
	}
	_, err := w.Request(t.Context(), pay())
	wants(t, err, approvals.ErrLimit)
	w.Sweep(t.Context())
	w.request(pay())
	if got := w.book.acts(v.ID); got != "requested rejected" {
		t.Error(got)
	}
}

func TestARowThatCannotBeReadRefusesTheStart(t *testing.T) {
	w := newWorld(t, nil)
	v := w.request(pay())
	err := w.inner.Update(t.Context(), "acme", func(tx store.Txn) error {
		_, err := tx.Put("approvals", v.ID, []byte("\x00\x01{"), store.AnyVersion)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	deps := approvals.Deps{Store: w.inner, Ledger: w.book, Directory: w.people, Now: w.clock.now, Rand: w.noise}
	if r, err := approvals.Open(t.Context(), w.cfg, deps); err == nil {
		r.Close()
		t.Fatal("opened")
	}
}

func TestManyAtOnceMakeOneRequestAndOneUse(t *testing.T) {
	w := newWorld(t, nil)
	const n = 32
	var wg sync.WaitGroup
	ids, uses := make([]string, n), atomic.Int32{}
	w.book.next(1, false) // the first fails while the others wait for it, and one of them takes its place
	w.book.before = func() { time.Sleep(20 * time.Millisecond) }
	for i := range n {
		wg.Go(func() {
			if v, err := w.Request(t.Context(), pay()); err == nil {
				ids[i] = v.ID
			} else if !errors.Is(err, errLedger) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := map[string]int{}
	for _, id := range ids {
		seen[id]++
	}
	if len(seen) != 2 || seen[""] != 1 || w.book.acts("") != "requested" {
		t.Fatalf("%v, %s", seen, w.book.acts(""))
	}
	delete(seen, "")
	for id := range seen {
		for _, user := range []string{"usr_max", "usr_mia", "usr_ada"} {
			wg.Go(func() { _ = w.decide(user, id, true) })
		}
		wg.Wait()
		for range n {
			wg.Go(func() {
				if w.Spend(t.Context(), "acme", id, "rec_1") == nil {
					uses.Add(1)
				}
			})
		}
	}
	wg.Wait()
	if uses.Load() != 1 || w.book.acts("") != "requested approved executed" {
		t.Errorf("%d uses, %s", uses.Load(), w.book.acts(""))
	}
}
