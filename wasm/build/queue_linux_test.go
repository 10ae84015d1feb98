package build_test

import (
	"context"
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
		if want := []string{"a0", "a1", "b0", "a2", "a3"}; !slices.Equal(order, want) {
			t.Errorf("got %q, want %q", order, want)
		}
		if !q.Empty() {
			t.Error("somebody is remembered")
		}
	})
}
