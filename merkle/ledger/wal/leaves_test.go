package wal_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// Leaves that are read again and again into the same memory are those that Scan returns, each time.
func TestReadLeavesReadsWhatScanDoes(t *testing.T) {
	l := open(t, options(t.TempDir()))
	for i := range 700 { // over several segments
		r := record([]string{"acme", "rival"}[i%2], ledger.Admin)
		r.Side = []byte("beside")
		if i%100 == 0 {
			r.Detail = strings.Repeat("x", 20_000+i)
		}
		if _, err := l.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	all, err := l.Scan(t.Context(), "acme", 0, 1000)
	if err != nil || len(all) != 350 {
		t.Fatal(len(all), err)
	}
	var into wal.Leaves
	for _, from := range []uint64{0, 349, 7, 0, 350, 100} {
		if err := l.ReadLeaves(t.Context(), &into, "acme", from, 1000); err != nil {
			t.Fatal(err)
		}
		if len(into.Data) != len(all[from:]) || len(into.Hashes) != len(into.Data) {
			t.Fatalf("from %d: %d leaves, %d hashes", from, len(into.Data), len(into.Hashes))
		}
		for i, e := range all[from:] {
			if !bytes.Equal(into.Data[i], e.Data) || into.Hashes[i] != e.Leaf || e.Leaf != merkle.LeafHash(into.Data[i]) {
				t.Fatalf("from %d: leaf %d is not what Scan returned", from, i)
			}
		}
	}
	if err := l.ReadLeaves(t.Context(), &into, "acme", 3, 2); err != nil || len(into.Data) != 2 {
		t.Errorf("two: %d, %v", len(into.Data), err)
	}
	if err := l.ReadLeaves(t.Context(), &into, "nobody", 0, 1); !errors.Is(err, wal.ErrTenant) || len(into.Data) != 0 {
		t.Errorf("nobody: %d leaves, %v", len(into.Data), err)
	}
}
