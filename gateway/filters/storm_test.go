package filters_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/gatewright/gatewright/gateway/bundles"
	"github.com/gatewright/gatewright/gateway/filters"
	"github.com/gatewright/gatewright/policies"
)

// TestAStormOfChangesLeavesNothingInForceWithoutItsFilters: whatever comes at once, what stands names versions that are there, then
// and after a restart, and no call meets less than its revision names.
func TestAStormOfChangesLeavesNothingInForceWithoutItsFilters(t *testing.T) {
	w := newWorld(t, func(w *world) { w.cfg.Uploads = 10_000 })
	w.push(acme, "keep", denies("keep"))
	w.activate("keep", 1, filters.Placement{})
	modules := [][]byte{denies("one"), denies("two")}
	for _, m := range modules {
		w.push(acme, "guard", m)
	}
	ctx := t.Context()
	acts := []func(r *rand.Rand) error{
		func(r *rand.Rand) error { return second(w.Activate(ctx, acme, ada, "guard", 0, filters.Placement{})) },
		func(r *rand.Rand) error {
			return second(w.Shadow(ctx, acme, ada, "guard", 0, filters.Placement{Position: 1 + r.IntN(2)}))
		},
		func(r *rand.Rand) error { return second(w.Rollback(ctx, acme, ada, "guard")) },
		func(r *rand.Rand) error { return second(w.Remove(ctx, acme, ada, "guard")) },
		func(r *rand.Rand) error {
			f, err := w.Filter(ctx, acme, "guard")
			if err != nil {
				return err
			}
			return w.Delete(ctx, acme, ada, "guard", f.Versions[r.IntN(len(f.Versions))].Number)
		},
		func(r *rand.Rand) error {
			return second(w.Upload(ctx, acme, ada, filters.Upload{Name: "guard", Module: modules[r.IntN(2)]}, nil))
		},
		func(r *rand.Rand) error { // a revision from before, as long as it has the other filter
			all := w.bundles.History(acme)
			n := all[r.IntN(min(len(all), 8))].Number
			if b, err := w.bundles.Bundle(ctx, acme, n); err != nil || len(b.Manifest().Filters) == 0 {
				return err
			}
			return second(w.bundles.Activate(ctx, acme, bundles.Actor{}, n, policies.Mode{}))
		},
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 7)) //nolint:gosec // a test's
			for range 25 {
				err := acts[r.IntN(len(acts))](r)
				if err != nil && !errors.Is(err, filters.ErrState) && !errors.Is(err, filters.ErrNotFound) && !errors.Is(err, filters.ErrBundle) && !errors.Is(err, bundles.ErrRefused) && !errors.Is(err, bundles.ErrNotFound) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for range 2 {
		b, ok := w.bundles.Current(acme)
		if !ok {
			t.Fatalf("nothing is in force: %s", w.bundles.Alarm(acme))
		}
		set, err := w.For(ctx, acme)
		if err != nil {
			t.Fatal(err)
		}
		entries := b.Manifest().Filters
		if len(set.Units) != len(entries) {
			t.Errorf("%d filters, the bundle names %d", len(set.Units), len(entries))
		}
		for i := range min(len(entries), len(set.Units)) {
			if u := set.Units[i]; u.Name() != entries[i].Name || filters.DigestText(u.Digest()) != entries[i].Digest || u.Shadow() != entries[i].Shadowed() {
				t.Errorf("%d: %s stands where the bundle names %+v", i, u.Name(), entries[i])
			}
		}
		set.Release()
		w.restart()
	}
}
