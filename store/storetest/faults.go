package storetest

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/gatewright/gatewright/store"
)

// faults asks what a broken commit leaves behind: all of it or nothing, according to the flavour, and never a use more
// than allowed.
func faults(t *testing.T, open Open) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, *Faulty)
	}{
		{"a failed commit leaves nothing", failedLeavesNothing},
		{"a persisted commit leaves everything", persistedLeavesAll},
		{"an error of the function takes no fault", functionErrorTakesNoFault},
		{"a view fails on demand", viewFails},
		{"no use is spent twice whatever fails", usesUnderFaults},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, NewFaulty(open(t))) })
	}
}

func three(tx store.Txn) error {
	for i := range 3 {
		if _, err := tx.Put("t", fmt.Sprint(i), nil, 0); err != nil {
			return err
		}
	}
	return nil
}

func failedLeavesNothing(t *testing.T, f *Faulty) {
	f.Next(Failed)
	want(t, f.Update(t.Context(), "a", three), ErrInjected)
	equal(t, "rows", len(keys(t, f, "a", "t", "")), 0)
	must(t, f.Update(t.Context(), "a", three))
	equal(t, "rows", len(keys(t, f, "a", "t", "")), 3)
	f.Next(Failed)
	_, err := f.Consume(t.Context(), "a", "k", 1)
	want(t, err, ErrInjected)
	_, err = f.Consume(t.Context(), "a", "k", 1)
	must(t, err)
}

func persistedLeavesAll(t *testing.T, f *Faulty) {
	f.Next(Persisted)
	want(t, f.Update(t.Context(), "a", three), ErrInjected)
	equal(t, "rows", len(keys(t, f, "a", "t", "")), 3)
	want(t, f.Update(t.Context(), "a", three), store.ErrConflict)
	f.Next(Persisted)
	_, err := f.Consume(t.Context(), "a", "k", 1)
	want(t, err, ErrInjected)
	_, err = f.Consume(t.Context(), "a", "k", 1)
	want(t, err, store.ErrExhausted)
}

func functionErrorTakesNoFault(t *testing.T, f *Faulty) {
	f.Next(Failed)
	mine := errors.New("mine")
	want(t, f.Update(t.Context(), "a", func(store.Txn) error { return mine }), mine)
	equal(t, "commits", f.Commits(), 0)
	want(t, f.Update(t.Context(), "a", three), ErrInjected)
	equal(t, "commits", f.Commits(), 1)
}

func viewFails(t *testing.T, f *Faulty) {
	f.FailViews(1)
	nothing := func(store.Txn) error { return nil }
	want(t, f.View(t.Context(), "a", nothing), ErrInjected)
	must(t, f.View(t.Context(), "a", nothing))
}

func usesUnderFaults(t *testing.T, f *Faulty) {
	const consumers, uses = 64, 12
	f.Choose(func(commit int) Fault { return Fault(commit % 3) }) // None, Failed, Persisted in turn
	var won, doubtful atomic.Int64
	together(consumers, func(int) {
		_, err := f.Consume(t.Context(), "a", "k", uses)
		if err == nil {
			won.Add(1)
		} else if errors.Is(err, ErrInjected) {
			doubtful.Add(1)
		}
	})
	f.Choose(nil)
	n, err := f.Consume(t.Context(), "a", "k", uses)
	want(t, err, store.ErrExhausted)
	equal(t, "count", n, uses)
	if won.Load() > uses || won.Load()+doubtful.Load() < uses {
		t.Fatalf("%d won and %d in doubt of %d", won.Load(), doubtful.Load(), uses)
	}
}
