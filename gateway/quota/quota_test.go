package quota_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/quota"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/badger"
)

var start = time.Unix(1_900_000_000, 0)

// sick is a store whose writes can fail.
type sick struct {
	store.Store
	broken atomic.Bool
	writes atomic.Int64
}

var errDisk = errors.New("disk")

func (s *sick) Update(ctx context.Context, tenant string, fn func(store.Txn) error) error {
	s.writes.Add(1)
	if s.broken.Load() {
		return errDisk
	}
	return s.Store.Update(ctx, tenant, fn)
}

func open(t *testing.T) *sick {
	t.Helper()
	s, err := badger.Open(badger.Options{Dir: t.TempDir(), Key: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &sick{Store: s}
}

func keeper(t *testing.T, s store.Store) *quota.Keeper {
	t.Helper()
	c := quota.DefaultConfig()
	k, err := quota.New(c, s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAConfigurationWithoutBoundsIsRefused(t *testing.T) {
	for _, c := range []quota.Config{{}, {Window: time.Hour}, {Window: -1, Counters: 1}, {Window: 32 * 24 * time.Hour, Counters: 1}, {Window: time.Hour, Counters: 1 << 30}} {
		if _, err := quota.New(c, open(t)); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
	if _, err := quota.New(quota.DefaultConfig(), nil); err == nil {
		t.Error("no store is taken")
	}
}

func TestTwoHundredAtOnceAndExactlyTenPass(t *testing.T) {
	s := open(t)
	k := keeper(t, s)
	ten := []quota.Rate{{Key: "p", Max: 10, Per: time.Hour}}
	for what, through := range map[string]func() (*quota.Place, bool){
		"rate": func() (*quota.Place, bool) {
			p, wait, err := k.Take(t.Context(), "acme", ten, nil, start)
			return p, err == nil && wait == 0
		},
		"session": func() (*quota.Place, bool) {
			p, seen, err := k.Enter(t.Context(), quota.Session{Tenant: "acme", Agent: "agt_1"}, "db/query", start)
			return p, err == nil && seen.Tool < 10
		},
	} {
		var passed atomic.Int64
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				p, ok := through()
				if ok {
					ok = p.Keep(t.Context(), nil) == nil
				}
				if ok {
					passed.Add(1)
				}
				p.End(ok)
			})
		}
		wg.Wait()
		if n := passed.Load(); n != 10 {
			t.Errorf("%s: %d calls passed", what, n)
		}
	}
	if n := s.writes.Load(); n > 25 {
		t.Errorf("%d writes for 20 calls", n)
	}
}

func TestNothingIsForgottenByARestart(t *testing.T) {
	s := open(t)
	rate, plan := []quota.Rate{{Key: "p", Max: 3, Per: time.Hour}}, quota.Session{Tenant: "acme", Plan: "pln_1", Agent: "agt_1", Ends: start.Add(time.Hour)}
	for i := range 3 {
		k := keeper(t, s) // as after a killed process: nothing is closed
		p, wait, err := k.Take(t.Context(), "acme", rate, nil, start.Add(time.Duration(i)*time.Minute))
		if err != nil || wait != 0 {
			t.Fatalf("call %d: wait %v, %v", i, wait, err)
		}
		at, seen, err := k.Enter(t.Context(), plan, "db/query", start)
		if err != nil || seen.Calls != int64(i) || seen.Tool != int64(i) || len(seen.Labels) != min(i, 1) {
			t.Fatalf("call %d: %+v, %v", i, seen, err)
		}
		if err := errors.Join(p.Keep(t.Context(), nil), at.Keep(t.Context(), []string{"pii"})); err != nil {
			t.Fatal(err)
		}
	}
	k := keeper(t, s)
	p, wait, err := k.Take(t.Context(), "acme", rate, nil, start.Add(3*time.Minute))
	if p != nil || err != nil || wait < 56*time.Minute || wait > 59*time.Minute {
		t.Errorf("the fourth call: %v, %v", wait, err)
	}
	if p, _, _ := k.Take(t.Context(), "acme", rate, nil, start.Add(59*time.Minute)); p != nil {
		t.Error("room came back before the span was over")
	}
	if p, wait, err := k.Take(t.Context(), "acme", rate, nil, start.Add(62*time.Minute)); p == nil {
		t.Errorf("room did not come back: %v, %v", wait, err)
	}
	for _, other := range []quota.Session{{Tenant: "other", Plan: "pln_1"}, {Tenant: "acme", Plan: "pln_2"}, {Tenant: "acme", Agent: "agt_1"}, {Tenant: "acme", Agent: "pln_1"}} {
		if seen, err := k.Look(t.Context(), other, "db/query", start); err != nil || seen.Calls != 0 || seen.Labels != nil {
			t.Errorf("%+v sees %+v, %v", other, seen, err)
		}
	}
	if p, wait, err := k.Take(t.Context(), "other", rate, nil, start); p == nil {
		t.Errorf("another tenant waits %v, %v", wait, err)
	}
}

func TestWhoIsRefusedCountsNothing(t *testing.T) {
	s := open(t)
	k := keeper(t, s)
	of := quota.Session{Tenant: "acme", Agent: "a"}
	for range 3 {
		p, seen, err := k.Enter(t.Context(), of, "x/y", start)
		if err != nil || seen.Calls != 0 {
			t.Fatalf("%+v %v", seen, err)
		}
		p.End(false)
	}
	p, _, err := k.Enter(t.Context(), of, "x/y", start)
	if err != nil {
		t.Fatal(err)
	}
	inFlight, seen, err := k.Enter(t.Context(), of, "x/z", start)
	if err != nil || seen.Calls != 1 || seen.Tool != 0 {
		t.Fatalf("beside one in flight: %+v %v", seen, err)
	}
	if err := p.Keep(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if seen, _ := keeper(t, s).Look(t.Context(), of, "x/z", start); seen.Calls != 1 {
		t.Errorf("after a restart %+v: a call that was still being judged is kept", seen)
	}
	inFlight.End(false)
	p.End(false) // kept, and then it did not go out
	if seen, _ := k.Look(t.Context(), of, "x/y", start); seen.Calls != 0 || seen.Tool != 0 {
		t.Errorf("%+v", seen)
	}
	if s.writes.Load() > 2 {
		t.Errorf("%d writes", s.writes.Load())
	}
}

func TestOneOfSomeAndEachOfAllHasToHaveRoom(t *testing.T) {
	k := keeper(t, open(t))
	one, two := quota.Rate{Key: "one", Max: 1, Per: time.Minute}, quota.Rate{Key: "two", Max: 2, Per: time.Hour}
	take := func(all, some []quota.Rate) (bool, time.Duration) {
		p, wait, err := k.Take(t.Context(), "acme", all, some, start)
		if err != nil {
			t.Fatal(err)
		}
		if p != nil {
			if err := p.Keep(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
		p.End(true)
		return p != nil, wait
	}
	for i, want := range []bool{true, true, true, false} {
		if got, wait := take(nil, []quota.Rate{one, two}); got != want || got == (wait > 0) || wait > 2*time.Minute {
			t.Errorf("call %d under two permits: %v, wait %v", i, got, wait)
		}
	}
	a, b := quota.Rate{Key: "a", Max: 2, Per: time.Minute}, quota.Rate{Key: "b", Max: 1, Per: time.Minute}
	for i, want := range []bool{true, false, false} {
		if got, _ := take([]quota.Rate{a, b}, nil); got != want {
			t.Errorf("call %d under two caps: %v", i, got)
		}
	}
	if got, _ := take([]quota.Rate{a}, nil); !got {
		t.Error("a call that one cap refused was counted by the other")
	}
	if got, wait := take([]quota.Rate{{Key: "none", Max: 0, Per: time.Minute}}, nil); got || wait <= 0 {
		t.Errorf("a rate of nothing: %v, wait %v", got, wait)
	}
}

func TestACounterThatCannotBeKeptRefuses(t *testing.T) {
	s := open(t)
	k := keeper(t, s)
	of := quota.Session{Tenant: "acme", Agent: "a"}
	p, _, err := k.Enter(t.Context(), of, "x/y", start)
	if err != nil {
		t.Fatal(err)
	}
	beside, _, _ := k.Enter(t.Context(), of, "x/y", start)
	s.broken.Store(true)
	if err := p.Keep(t.Context(), nil); !errors.Is(err, quota.ErrLost) || !errors.Is(err, errDisk) {
		t.Errorf("%v", err)
	}
	s.broken.Store(false)
	if err := beside.Keep(t.Context(), nil); !errors.Is(err, quota.ErrLost) {
		t.Errorf("beside it: %v", err)
	}
	p.End(false)
	beside.End(false)
	// Another process writes the same counter.
	mine, _, err := k.Enter(t.Context(), of, "x/y", start)
	if err != nil {
		t.Fatal(err)
	}
	other, _, _ := keeper(t, s).Enter(t.Context(), of, "x/y", start)
	if err := other.Keep(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := mine.Keep(t.Context(), nil); !errors.Is(err, quota.ErrLost) {
		t.Errorf("against another process: %v", err)
	}
	mine.End(false)
	if seen, err := k.Look(t.Context(), of, "x/y", start); err != nil || seen.Calls != 1 {
		t.Errorf("read anew: %+v %v", seen, err)
	}
}

func TestASessionIsBoundedAndRolls(t *testing.T) {
	k := keeper(t, open(t))
	of := quota.Session{Tenant: "acme", Agent: "a"}
	var labels []string
	for i := range 256 {
		labels = append(labels, fmt.Sprint("l", i))
	}
	p, _, err := k.Enter(t.Context(), of, "x/y", start)
	if err != nil || p.Keep(t.Context(), labels) != nil {
		t.Fatal(err)
	}
	if err := p.Keep(t.Context(), []string{"one more"}); !errors.Is(err, quota.ErrFull) {
		t.Errorf("a label too many: %v", err)
	}
	for i := range 1023 {
		p, _, err := k.Enter(t.Context(), of, fmt.Sprint("t", i), start)
		if err != nil {
			t.Fatal(i, err)
		}
		p.End(true)
	}
	if _, _, err := k.Enter(t.Context(), of, "one more", start); !errors.Is(err, quota.ErrFull) {
		t.Errorf("a tool too many: %v", err)
	}
	if seen, _ := k.Look(t.Context(), of, "x/y", start.Add(59*time.Minute)); seen.Tool != 1 || !slices.Contains(seen.Labels, "l7") {
		t.Errorf("inside the window: %+v", seen)
	}
	if seen, _ := k.Look(t.Context(), of, "x/y", start.Add(65*time.Minute)); seen.Calls != 0 || seen.Labels != nil {
		t.Errorf("behind the window: %+v", seen)
	}
	if seen, _ := k.Look(t.Context(), of, "x/y", start); seen.Calls != 0 {
		t.Errorf("the clock was set back: %+v", seen)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	s := open(t)
	k, err := quota.New(quota.Config{Window: time.Hour, Counters: 4}, s)
	if err != nil {
		t.Fatal(err)
	}
	var held []*quota.Place
	for i := range 4 {
		p, _, err := k.Enter(t.Context(), quota.Session{Tenant: "acme", Agent: fmt.Sprint(i)}, "x/y", start)
		if err != nil || p.Keep(t.Context(), nil) != nil {
			t.Fatal(err)
		}
		held = append(held, p)
	}
	if _, _, err := k.Enter(t.Context(), quota.Session{Tenant: "acme", Agent: "more"}, "x/y", start); !errors.Is(err, quota.ErrFull) {
		t.Errorf("a counter too many: %v", err)
	}
	held[2].End(true)
	if _, err := k.Look(t.Context(), quota.Session{Tenant: "acme", Agent: "more"}, "x/y", start); err != nil {
		t.Errorf("with room: %v", err)
	}
	if seen, err := k.Look(t.Context(), quota.Session{Tenant: "acme", Agent: "2"}, "x/y", start); err != nil || seen.Calls != 1 {
		t.Errorf("what had to go is forgotten: %+v %v", seen, err)
	}
}

func TestRowsThatCountNothingGo(t *testing.T) {
	s := open(t)
	k := keeper(t, s)
	count := func() (n int) {
		err := s.View(t.Context(), "acme", func(tx store.Txn) error {
			n = 0
			return tx.Scan("quota", "", func(string, store.Value) error { n++; return nil })
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i := range 5 {
		p, _, _ := k.Enter(t.Context(), quota.Session{Tenant: "acme", Agent: fmt.Sprint(i)}, "x/y", start)
		if err := p.Keep(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		p.End(true)
	}
	if n := count(); n != 5 {
		t.Fatalf("%d rows", n)
	}
	k = keeper(t, s)
	p, _, _ := k.Enter(t.Context(), quota.Session{Tenant: "acme", Agent: "later"}, "x/y", start.Add(7*time.Hour))
	if err := p.Keep(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 1 {
		t.Errorf("%d rows are left", n)
	}
}

// Whoever is refused chooses the names of what he asked for, and others may share the session.
func TestRefusedCallsDoNotFillASession(t *testing.T) {
	k := keeper(t, open(t))
	of := quota.Session{Tenant: "acme", Plan: "pln_1", Ends: start.Add(time.Hour)}
	for i := range 3000 {
		p, _, err := k.Enter(t.Context(), of, fmt.Sprint("made-up/", i), start)
		if err != nil {
			t.Fatalf("after %d refused calls: %v", i, err)
		}
		p.End(false)
	}
	if _, seen, err := k.Enter(t.Context(), of, "x/y", start); err != nil || seen.Calls != 0 {
		t.Errorf("%+v %v", seen, err)
	}
}

// A clock that was wrong for a moment opens nothing, and shuts nothing longer than a span.
func TestAClockThatWasWrongAndIsSetRight(t *testing.T) {
	s := open(t)
	k := keeper(t, s)
	rate := []quota.Rate{{Key: "r", Max: 2, Per: time.Hour}}
	take := func(now time.Time) bool {
		p, wait, err := k.Take(t.Context(), "acme", rate, nil, now)
		if err != nil {
			t.Fatal(err)
		}
		if wait == 0 && p.Keep(t.Context(), nil) != nil {
			t.Fatal("not kept")
		}
		p.End(true)
		return wait == 0
	}
	wrong := start.Add(365 * 24 * time.Hour)
	if !take(start) || !take(wrong) || !take(wrong) || take(wrong) {
		t.Fatal("two an hour")
	}
	if take(start.Add(time.Minute)) {
		t.Error("the clock was set right, and that made room")
	}
	k = keeper(t, s)
	if take(start.Add(2 * time.Minute)) {
		t.Error("a restart made room")
	}
	if !take(start.Add(65 * time.Minute)) {
		t.Error("an hour later there is no room")
	}
}
