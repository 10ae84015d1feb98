package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/gatewright/gatewright/store"
)

// Open makes an empty engine for one test and closes it with t.Cleanup.
type Open func(t *testing.T) store.Store

// Run is the contract. It runs over the engine, over the engine with every third commit failing once, and then asks what
// each flavour of fault leaves behind.
func Run(t *testing.T, open Open) {
	t.Run("contract", func(t *testing.T) { contract(t, open) })
	t.Run("contract under failing commits", func(t *testing.T) {
		contract(t, func(t *testing.T) store.Store {
			f := NewFaulty(open(t))
			f.Choose(func(commit int) Fault {
				if commit%3 == 0 {
					return Failed
				}
				return None
			})
			return stubborn{f}
		})
	})
	t.Run("faults", func(t *testing.T) { faults(t, open) })
}

func contract(t *testing.T, open Open) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, store.Store)
	}{
		{"tenants are apart", tenantsAreApart},
		{"names cannot cross the fence", namesCannotCross},
		{"invalid names are refused", invalidNames},
		{"oversized rows are refused", oversizedRows},
		{"a transaction has bounds", transactionBounds},
		{"a transaction of the largest allowed size commits", largestTransaction},
		{"wrong versions conflict", wrongVersions},
		{"versions are never given twice", versionsGrow},
		{"a view cannot write", viewCannotWrite},
		{"an error leaves nothing", errorLeavesNothing},
		{"a panic leaves nothing", panicLeavesNothing},
		{"a cancelled context does nothing", cancelledContext},
		{"a closed store refuses", closedStore},
		{"a transaction sees its own writes", ownWrites},
		{"a view is one snapshot", viewIsSnapshot},
		{"scans are ordered and bounded", scanOrder},
		{"scans end when told", scanEnds},
		{"scans allow work inside", scanWork},
		{"long scans visit each row once", longScan},
		{"big values come back", bigValues},
		{"data is copied", dataIsCopied},
		{"racing increments all count", racingIncrements},
		{"a scan sees phantoms", scanSeesPhantoms},
		{"counters stop at the maximum", countersStop},
		{"counters are apart", countersApart},
		{"racing consumers spend each use once", racingConsumers},
		{"typed rows refuse what they do not know", typedRows},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// stubborn repeats a commit that failed by injection: for the Failed flavour that must be as good as no fault.
type stubborn struct{ store.Store }

func (s stubborn) Update(ctx context.Context, tenant string, fn func(store.Txn) error) error {
	err := s.Store.Update(ctx, tenant, fn)
	for errors.Is(err, ErrInjected) {
		err = s.Store.Update(ctx, tenant, fn)
	}
	return err
}

func (s stubborn) Consume(ctx context.Context, tenant, key string, limit uint64) (uint64, error) {
	n, err := s.Store.Consume(ctx, tenant, key, limit)
	for errors.Is(err, ErrInjected) {
		n, err = s.Store.Consume(ctx, tenant, key, limit)
	}
	return n, err
}

// put writes one row outside of what a case is about.
func put(t *testing.T, s store.Store, tenant, table, key, data string) uint64 {
	t.Helper()
	var version uint64
	must(t, s.Update(t.Context(), tenant, func(tx store.Txn) (err error) {
		version, err = tx.Put(table, key, []byte(data), store.AnyVersion)
		return err
	}))
	return version
}

// get reads one row; ok is false when it is not found.
func get(t *testing.T, s store.Store, tenant, table, key string) (v store.Value, ok bool) {
	t.Helper()
	err := s.View(t.Context(), tenant, func(tx store.Txn) (err error) {
		v, err = tx.Get(table, key)
		return err
	})
	if err != nil {
		want(t, err, store.ErrNotFound)
	}
	return v, err == nil
}

// keys lists a table.
func keys(t *testing.T, s store.Store, tenant, table, prefix string) []string {
	t.Helper()
	var got []string
	must(t, s.View(t.Context(), tenant, func(tx store.Txn) error {
		got = nil
		return tx.Scan(table, prefix, func(key string, _ store.Value) error {
			got = append(got, key)
			return nil
		})
	}))
	return got
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got error %v, want %v", err, target)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, short(got), short(want))
	}
}

func short(v any) string {
	s := fmt.Sprint(v)
	return s[:min(len(s), 200)]
}
