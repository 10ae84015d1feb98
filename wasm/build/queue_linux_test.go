package build_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/gatewright/gatewright/wasm/build"
)

// TestTheQueueIsBounded overall and for each tenant, and full means an error at once.
func TestTheQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := build.NewQueue(1, 2, 2)
		ctx, cancel := context.WithCancel(t.Context())
		leave, err := q.Enter(ctx, "a")
		if err != nil {
			t.Fatal(err)
		}
		results := make(chan error)
		for _, tenant := range []string{"a", "b"} {
			go func() {
				_, err := q.Enter(ctx, tenant)
				results <- err
			}()
			synctest.Wait()
			if _, err := q.Enter(ctx, "a"); err == nil {
				t.Error("a tenant found a third place")
			}
		}
		if _, err := q.Enter(ctx, "c"); err == nil {
			t.Error("there was a place in a full queue")
		}
		cancel()
		for range 2 {
			if err := <-results; err == nil {
				t.Error("waited no longer, and found a place")
			}
		}
		leave()
		if !q.Empty() {
			t.Error("somebody is remembered")
		}
	})
}

// TestWhoHasLeastIsNext: a tenant with many modules does not hold up one with a single one.
func TestWhoHasLeastIsNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := build.NewQueue(2, 100, 100)
		var order []string
		leaves := make(chan func(), 100)
		enter := func(tenant string, i int) {
			leave, err := q.Enter(t.Context(), tenant)
			if err != nil {
				t.Error(err)
				return
			}
			order = append(order, fmt.Sprint(tenant, i))
			leaves <- leave
		}
		for i := range 4 {
			go enter("a", i)
			synctest.Wait()
		}
		go enter("b", 0)
		synctest.Wait()
		for range 5 {
			(<-leaves)()
			synctest.Wait()
		}
		if want := []string{"a0", "b0", "a1", "a2", "a3"}; !slices.Equal(order, want) {
			t.Errorf("got %q, want %q", order, want)
		}
		if !q.Empty() {
			t.Error("somebody is remembered")
		}
	})
}

// crowd has tickets of tenants in a queue.
type crowd struct {
	t      *testing.T
	q      *build.Queue
	order  []string
	refuse []string
	leave  chan func()
}

// enter stands one in the queue, and returns once it waits, was given a place or was refused.
func (c *crowd) enter(tenant string) {
	go func() {
		leave, err := c.q.Enter(c.t.Context(), tenant)
		e, ok := errors.AsType[*build.Error](err)
		switch {
		case ok && e.Bound == build.Busy && e.Hint != "":
			c.refuse = append(c.refuse, tenant)
		case err != nil:
			c.t.Error(err)
		default:
			c.order = append(c.order, tenant)
			c.leave <- leave
		}
	}()
	synctest.Wait()
}

// finish has all that run or wait leave, one by one.
func (c *crowd) finish() {
	for len(c.leave) > 0 {
		(<-c.leave)()
		synctest.Wait()
	}
	if !c.q.Empty() {
		c.t.Error("somebody is remembered")
	}
}

// TestManyOfFewTenantsGiveWayToOneOfAnother: the last of those that wait with most, until all wait with as many.
func TestManyOfFewTenantsGiveWayToOneOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{t: t, q: build.NewQueue(1, 6, 4), leave: make(chan func(), 100)}
		for _, tenant := range []string{"a", "a", "a", "a", "b", "b", "b"} { // one runs, six wait
			c.enter(tenant)
		}
		for range 2 {
			c.enter("a") // has its four
		}
		c.refuse = nil
		for i, tenant := range []string{"c", "d", "e", "f", "g"} {
			c.enter(tenant)
			if want := []string{"a", "b", "a", "b", "g"}[:i+1]; !slices.Equal(c.refuse, want) {
				t.Fatalf("after %s: refused %q, want %q", tenant, c.refuse, want)
			}
		}
		c.enter("c") // nobody waits with more
		if want := []string{"a", "b", "a", "b", "g", "c"}; !slices.Equal(c.refuse, want) {
			t.Errorf("refused %q, want %q", c.refuse, want)
		}
		c.finish()
		if want := []string{"a", "a", "b", "c", "d", "e", "f"}; !slices.Equal(c.order, want) {
			t.Errorf("order %q, want %q", c.order, want)
		}
	})
}

// TestPlacesGoRoundByTenant: nobody who comes again at once is served twice before somebody who waits.
func TestPlacesGoRoundByTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{t: t, q: build.NewQueue(1, 100, 100), leave: make(chan func(), 100)}
		for _, tenant := range []string{"x", "a", "a", "a", "b", "b", "c"} {
			c.enter(tenant)
		}
		for _, again := range []string{"x", "", "", "", "c", "x"} {
			(<-c.leave)()
			synctest.Wait()
			if again != "" {
				c.enter(again)
			}
		}
		c.finish()
		if want := []string{"x", "a", "b", "c", "a", "x", "b", "a", "c", "x"}; !slices.Equal(c.order, want) {
			t.Errorf("order %q, want %q", c.order, want)
		}
	})
}

// TestNobodyRunsAllPlaces: one is left for another tenant, even while nobody else is there.
func TestNobodyRunsAllPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{t: t, q: build.NewQueue(3, 1, 100), leave: make(chan func(), 100)}
		for range 4 {
			c.enter("a")
		}
		c.enter("b") // without waiting, though one of a's does
		if want := []string{"a", "a", "b"}; !slices.Equal(c.order, want) || !slices.Equal(c.refuse, []string{"a"}) {
			t.Errorf("%q run and %q are refused, want %q and one a", c.order, c.refuse, want)
		}
		c.finish()
	})
}

// TestWhoGaveWayHoldsNothing: not even who stopped waiting at that moment, whichever of the two it sees first.
func TestWhoGaveWayHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{t: t, q: build.NewQueue(1, 2, 4), leave: make(chan func(), 100)}
		c.enter("a")
		c.enter("a")
		late, over := canceled(t), make(chan error)
		for range 64 {
			gone, cancel := context.WithCancel(t.Context())
			go func() {
				_, err := c.q.Enter(gone, "a")
				over <- err
			}()
			synctest.Wait()
			cancel()
			if _, err := c.q.Enter(late, "b"); err == nil { // the newest of a's gives way if it is still there, and b leaves too
				t.Error("waited no longer, and found a place")
			}
			if err := <-over; err == nil {
				t.Error("gave way, and found a place")
			}
		}
		c.enter("b")
		c.finish()
		if want := []string{"a", "a", "b"}; len(c.refuse) > 0 || !slices.Equal(c.order, want) {
			t.Errorf("order %q without %q, want %q", c.order, c.refuse, want)
		}
	})
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
