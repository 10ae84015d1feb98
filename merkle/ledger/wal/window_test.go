package wal_test

import (
	"bytes"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/index"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// readsFS counts reads.
type readsFS struct {
	disk.FS
	n *atomic.Int64
}

type readsFile struct {
	disk.File
	n *atomic.Int64
}

func (r readsFS) Open(name string, flag int) (disk.File, error) {
	f, err := r.FS.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return readsFile{f, r.n}, nil
}

func (f readsFile) ReadAt(p []byte, off int64) (int, error) {
	f.n.Add(1)
	return f.File.ReadAt(p, off)
}

// everything is what a query wants, page by page.
func everything(t *testing.T, l *wal.Log, q index.Query) (out []wal.Entry) {
	t.Helper()
	for {
		p, err := l.Query(t.Context(), "acme", q)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p.Entries...)
		if q.Cursor = p.Next; q.Cursor == (index.Cursor{}) {
			return out
		}
	}
}

// What is listed newest first is read in large pieces, whose bounds no record minds, be it as large as several of them.
func TestRecordsAreReadBackToFrontInLargePieces(t *testing.T) {
	o := options(t.TempDir())
	var reads atomic.Int64
	o.Sync, o.SegmentBytes, o.FS = wal.SyncWrite, 4<<20, readsFS{disk.OS{}, &reads}
	l := open(t, o)
	const n = 3000
	for i := range n {
		r := record("acme", ledger.Refused)
		switch {
		case i%500 == 250:
			r.Side = bytes.Repeat([]byte{byte(i)}, i*300)
		case i%3 == 0:
			r.Side = bytes.Repeat([]byte{byte(i)}, 1+i%3000)
		}
		if _, err := l.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	var want []wal.Entry
	for len(want) < n {
		some, err := l.Scan(t.Context(), "acme", uint64(len(want)), n)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, some...)
	}
	slices.Reverse(want)
	before := reads.Load()
	got := everything(t, l, index.Query{Limit: 1000})
	if !slices.EqualFunc(got, want, func(a, b wal.Entry) bool {
		return a.Index == b.Index && a.Leaf == b.Leaf && bytes.Equal(a.Data, b.Data) && bytes.Equal(a.Side, b.Side)
	}) {
		t.Fatalf("%d records, want %d, or others", len(got), len(want))
	}
	if asked := reads.Load() - before; asked > n/10 {
		t.Errorf("%d reads for %d records", asked, n)
	}
}
