package storetest

import (
	"testing"

	"github.com/gatewright/gatewright/store"
)

// RunReopen asks what outlives a restart. open opens the engine on dir; the suite closes it itself.
func RunReopen(t *testing.T, open func(t *testing.T, dir string) store.Store) {
	dir := t.TempDir()
	s := open(t, dir)
	kept := put(t, s, "a", "t", "kept", "row")
	big := string(make([]byte, store.MaxValue))
	put(t, s, "a", "t", "big", big)
	gone := put(t, s, "a", "t", "gone", "row")
	must(t, s.Update(t.Context(), "a", func(tx store.Txn) error { return tx.Delete("t", "gone", gone) }))
	_, err := s.Consume(t.Context(), "a", "k", 2)
	must(t, err)
	must(t, s.Close())

	for range 2 { // the second time nothing was written in between
		s = open(t, dir)
		v, ok := get(t, s, "a", "t", "kept")
		if !ok || string(v.Data) != "row" || v.Version != kept {
			t.Fatalf("row did not outlive the restart: %q at %d", v.Data, v.Version)
		}
		if v, ok := get(t, s, "a", "t", "big"); !ok || string(v.Data) != big {
			t.Fatal("big row did not outlive the restart")
		}
		if _, ok := get(t, s, "a", "t", "gone"); ok {
			t.Fatal("deleted row came back")
		}
		n, err := s.Consume(t.Context(), "a", "k", 1)
		want(t, err, store.ErrExhausted)
		equal(t, "count", n, 1)
		must(t, s.Close())
	}
	s = open(t, dir)
	if v := put(t, s, "a", "t", "gone", "row"); v <= gone {
		t.Fatalf("version %d was given before the restart", v)
	}
	must(t, s.Close())
}
