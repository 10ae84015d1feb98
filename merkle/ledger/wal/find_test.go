package wal_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// countingFS counts the reads of segments.
type countingFS struct {
	disk.FS
	reads atomic.Int64
}

type countingFile struct {
	disk.File
	fs *countingFS
}

func (c *countingFS) Open(name string, flag int) (disk.File, error) {
	f, err := c.FS.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return &countingFile{f, c}, nil
}

func (f *countingFile) ReadAt(b []byte, off int64) (int, error) {
	f.fs.reads.Add(1)
	return f.File.ReadAt(b, off)
}

// idAt is an id of that time, given its random end.
func idAt(t testing.TB, at time.Time, seed uint64) string {
	t.Helper()
	id, err := ledger.NewID(at, rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), 7}))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func mustFind(t testing.TB, l *wal.Log, tenant, id string, index uint64) {
	t.Helper()
	e, ok, err := l.Find(t.Context(), tenant, id)
	if err != nil || !ok || e.Index != index {
		t.Fatalf("%s at %d: found %v at %d, %v", id, index, ok, e.Index, err)
	}
	if r, err := e.Record(); err != nil || r.ID != id || r.Tenant != tenant {
		t.Fatal(r.ID, r.Tenant, err)
	}
}

func mustMiss(t testing.TB, l *wal.Log, tenant, id string) {
	t.Helper()
	if e, ok, err := l.Find(t.Context(), tenant, id); ok || err != nil || e.Data != nil {
		t.Errorf("%q of %q: %v %v %s", id, tenant, ok, err, e.Data)
	}
}

func TestWhatIsNotATenantsRecordIsNotFound(t *testing.T) {
	l := open(t, options(t.TempDir()))
	ours, theirs := record("acme", ledger.Admin), record("rival", ledger.Admin)
	theirs.Of = "rec_00000000000000000000000000"
	for _, r := range []*ledger.Record{ours, theirs} {
		if _, err := l.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	mustFind(t, l, "acme", ours.ID, 0)
	for _, id := range []string{
		theirs.ID, idAt(t, time.Now(), 1), ours.ID[:29], ours.ID + "0", ours.ID[:29] + "u", strings.ToUpper(ours.ID), strings.TrimPrefix(ours.ID, "rec_"),
		"", "rec_", "0", "rec_00000000000000000000000000", "rec_zzzzzzzzzzzzzzzzzzzzzzzzzz", "rec_\x00",
	} {
		mustMiss(t, l, "acme", id)
	}
	for _, tenant := range []string{"nobody", "", "../acme", "ACME", "_instance", "rival"} {
		mustMiss(t, l, tenant, ours.ID)
	}
	for _, c := range [][2]string{{"acme", theirs.Of}, {"rival", ours.ID}, {"nobody", theirs.Of}, {"rival", ""}, {"rival", "rec_"}} {
		if _, ok, err := l.FindAfter(t.Context(), c[0], c[1], 0); ok || err != nil {
			t.Error(c, ok, err)
		}
	}
	if _, ok, err := l.FindAfter(t.Context(), "rival", theirs.Of, 1); ok || err != nil {
		t.Error("found before the index it was to be searched from", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := l.Find(ctx, "acme", ours.ID); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestALookUpThatWouldReadTooMuchSaysSo(t *testing.T) {
	o := options(t.TempDir())
	o.Sync, o.SegmentBytes = wal.SyncWrite, 4<<20
	l := open(t, o)
	now := time.Now()
	const many = 5000
	end := "00000000"
	id := func(n int) string {
		head := idAt(t, now, 1)[:14]
		return head + strings.ReplaceAll(fmt.Sprintf("%08o", n), "8", "9") + end
	}
	var wg sync.WaitGroup
	for part := range 10 {
		wg.Go(func() {
			for n := part; n < many; n += 10 {
				r := ledger.Record{ID: id(n), Tenant: "acme", Kind: ledger.Admin, Step: -1, Of: id(many)}
				if _, err := l.Append(t.Context(), &r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if _, ok, err := l.Find(t.Context(), "acme", id(many)); !errors.Is(err, wal.ErrLookup) || ok {
		t.Error("the bound is not told from a miss:", ok, err)
	}
	first, err := l.Scan(t.Context(), "acme", 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	r, err := first[0].Record()
	if err != nil {
		t.Fatal(err)
	}
	mustFind(t, l, "acme", r.ID, 0) // what is met within the bound is found
}

// written is where each id lies.
type written map[string]uint64

func TestEveryRecordIsFoundWhateverTheClockDid(t *testing.T) {
	dice := rand.New(rand.NewPCG(3, 4))
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clocks := map[string]func(i int) time.Time{
		"steady":            func(i int) time.Time { return noon.Add(time.Duration(i) * time.Millisecond) },
		"stands":            func(int) time.Time { return noon },
		"runs backwards":    func(i int) time.Time { return noon.Add(-time.Duration(i) * time.Hour) },
		"steps back":        func(i int) time.Time { return noon.Add(time.Duration(i%700) * time.Second) },
		"one from 1970":     func(i int) time.Time { return noon.Add(time.Duration(min(i, i*(i%300))) * time.Second) },
		"anything":          func(int) time.Time { return time.UnixMilli(dice.Int64N(1 << 47)) },
		"the last there is": func(int) time.Time { return time.UnixMilli(1<<48 - 1) },
	}
	for name, clock := range clocks {
		t.Run(name, func(t *testing.T) {
			o := options(t.TempDir())
			fs := &countingFS{FS: disk.OS{}}
			o.Sync, o.FS = wal.SyncWrite, fs
			l := open(t, o)
			at, ids := written{}, []string{}
			const n = 1100
			for i := range n {
				r := &ledger.Record{ID: idAt(t, clock(i), uint64(i)), Tenant: "acme", Kind: ledger.Admin, Step: -1}
				if i >= 300 {
					r.Of = ids[i-300]
				}
				if i%3 == 0 { // another tenant's between them, with an id that is not ours
					if _, err := l.Append(t.Context(), &ledger.Record{ID: idAt(t, clock(i), uint64(n+i)), Tenant: "rival", Kind: ledger.Admin, Step: -1}); err != nil {
						t.Fatal(err)
					}
				}
				m, err := l.Append(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				at[r.ID], ids = m.Index, append(ids, r.ID)
			}
			check := func() {
				before := fs.reads.Load()
				for i, id := range ids {
					mustFind(t, l, "acme", id, at[id])
					e, ok, err := l.FindAfter(t.Context(), "acme", id, at[id])
					if err != nil || ok != (i+300 < n) || ok && e.Index != at[ids[i+300]] {
						t.Fatal("what names", id, "is", ok, e.Index, err)
					}
				}
				if each := (fs.reads.Load() - before) / n; each > 16 {
					t.Errorf("%d reads for two look-ups among %d records", each, n)
				}
				for i := range 50 {
					mustMiss(t, l, "acme", idAt(t, clock(i*3), uint64(n+i*3)))
				}
			}
			check()
			shut(t, l)
			l = open(t, o)
			check()
		})
	}
}

func TestAnAdmittedCallAndWhatCameOfItLeadToEachOther(t *testing.T) {
	o := options(t.TempDir())
	l := open(t, o)
	id := admit(t, l, "acme", use("p", 0, 1))
	left := admit(t, l, "acme", use("p", 1, 1))
	mustFind(t, l, "acme", id, 0)
	if _, ok, err := l.FindAfter(t.Context(), "acme", id, 0); ok || err != nil {
		t.Fatal("it is open", err)
	}
	settle(t, l, "acme", id, ledger.OutcomeOK)
	settled, ok, err := l.FindAfter(t.Context(), "acme", id, 0)
	if err != nil || !ok || settled.Index != 2 {
		t.Fatal(ok, settled.Index, err)
	}
	shut(t, l)
	l = open(t, o)
	if e, ok, err := l.FindAfter(t.Context(), "acme", left, 1); err != nil || !ok || e.Index != 3 {
		t.Fatal("the restart settled it:", ok, e.Index, err)
	}
	if e, ok, err := l.FindAfter(t.Context(), "acme", id, 0); err != nil || !ok || e.Index != 2 || e.Leaf != settled.Leaf {
		t.Fatal(ok, e.Index, err)
	}
}

func TestLookingUpWhileRecordsAreWritten(t *testing.T) {
	o := options(t.TempDir())
	o.Sync = wal.SyncWrite
	l := open(t, o)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			last := ""
			for i := range 300 {
				r := &ledger.Record{Tenant: "acme", Kind: ledger.Admin, Step: -1, Of: last}
				m, err := l.Append(t.Context(), r)
				if err != nil {
					t.Error(err)
					return
				}
				if e, ok, err := l.Find(t.Context(), "acme", r.ID); err != nil || !ok || e.Index != m.Index {
					t.Error("what was just answered is not found:", i, ok, err)
				}
				if e, ok, err := l.FindAfter(t.Context(), "acme", last, 0); last != "" && (err != nil || !ok || e.Index != m.Index) {
					t.Error(i, ok, err)
				}
				last = r.ID
			}
		})
	}
	wg.Wait()
}
