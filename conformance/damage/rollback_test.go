package damage_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// kept are the checkpoints of a ledger as somebody keeps them elsewhere.
func kept(t testing.TB, m *memory) map[string]ledger.Checkpoint {
	t.Helper()
	p, err := publish.Open(publish.Options{FS: m, Dir: folder, Instance: "gw-1", Origin: "gate.example", Signer: signer()})
	if err != nil {
		t.Fatal(err)
	}
	return p.Signed()
}

// TestAFolderThatWasPutBackIsRefusedByWhoKnowsBetter: a copy of the whole folder is good in itself. Only a checkpoint that
// was kept elsewhere shows that it is old.
func TestAFolderThatWasPutBackIsRefusedByWhoKnowsBetter(t *testing.T) {
	m := small(t, 6)
	copied := m.clone()
	live(t, options(m), 8, 4)
	later := kept(t, m)
	if err := verify(t, copied); err != nil {
		t.Fatal("the copy is good in itself:", err)
	}
	o := options(copied.clone())
	o.Signed = later
	if b, err := wal.Open(t.Context(), o); !errors.Is(err, wal.ErrTruncated) {
		closeLog(b)
		t.Errorf("it opens, although later checkpoints are known: %v", err)
	}
	if _, err := wal.Verify(t.Context(), folder, wal.VerifyOptions{Signed: later, K0: k0(t, copied), FS: copied, Keys: pinned(t, "gw-1")}); !errors.Is(err, wal.ErrTruncated) {
		t.Errorf("it verifies, although later checkpoints are known: %v", err)
	}
}

// TestAFolderThatGoesOnFromACopyForks: a copy that goes on by itself, as after a restore or as a clone that runs beside the
// first, signs other records at the same places. Whoever has a checkpoint of one refuses the other.
func TestAFolderThatGoesOnFromACopyForks(t *testing.T) {
	m := small(t, 6)
	clone := m.clone()
	live(t, options(m), 8, 4)
	live(t, options(clone), 8, 6) // more than the other, so that no length gives it away
	later := kept(t, m)
	o := options(clone)
	o.Signed = later
	b, err := wal.Open(t.Context(), o)
	if !errors.Is(err, wal.ErrCorrupt) {
		closeLog(b)
		t.Errorf("a fork opens: %v", err)
	}
	for tenant, cp := range kept(t, clone) {
		if later[tenant].Size == cp.Size && later[tenant].Root == cp.Root {
			t.Errorf("%s: both signed the same: the test shows nothing", tenant)
		}
	}
}

// TestAnOldBootFileIsRefused: the count of starts fences a folder whose parts are of different times.
func TestAnOldBootFileIsRefused(t *testing.T) {
	m := small(t, 4)
	old := m.clone()
	live(t, options(m), 8, 8) // over a rotation, whose header tells the boot
	*m.files[folder+"/_wal/boot"] = *old.files[folder+"/_wal/boot"]
	if b, err := wal.Open(t.Context(), options(m)); err == nil {
		closeLog(b)
		t.Error("it opens")
	}
	if verify(t, m) == nil {
		t.Error("it verifies")
	}
}

// TestAClockThatGoesBackChangesNothingThatWasSaid: records stay in their order and ids apart, and a step that was spent is
// not spent again because its plan seems to live once more.
func TestAClockThatGoesBackChangesNothingThatWasSaid(t *testing.T) {
	for _, lives := range []int{1, 2} { // the clock goes back while the log is open, or between two starts
		t.Run(fmt.Sprint(lives, " lives"), func(t *testing.T) {
			m := &memory{files: map[string]*[]byte{}}
			o := options(m)
			var clock atomic.Int64
			clock.Store(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).UnixNano())
			o.Now = func() time.Time { return time.Unix(0, clock.Load()) }
			b := open(t, o)
			once := wal.Use{Plan: plan(1), Max: 1, Expires: o.Now().Add(time.Minute).Unix()}
			admit := func(u wal.Use) error {
				_, err := b.Admit(t.Context(), &ledger.Record{Tenant: "acme", Kind: ledger.Admitted}, u)
				return err
			}
			if err := admit(once); err != nil {
				t.Fatal(err)
			}
			clock.Add(int64(2 * time.Minute))
			if err := admit(once); !errors.Is(err, wal.ErrExpired) {
				t.Errorf("after its end: %v", err)
			}
			for n := range 1200 { // new plans: with so many, those that ended are forgotten
				if err := admit(wal.Use{Plan: plan(100 + n), Max: 1, Expires: o.Now().Add(time.Hour).Unix()}); err != nil {
					t.Fatal(err)
				}
			}
			clock.Add(-int64(time.Hour))
			if lives == 2 {
				shut(t, b)
				b = open(t, o)
			}
			if err := admit(once); !errors.Is(err, wal.ErrExpired) && !errors.Is(err, wal.ErrUsed) {
				t.Errorf("a spent step of a plan that ended, when the clock went back: %v", err)
			}
			if err := admit(wal.Use{Plan: plan(2), Max: 1, Expires: o.Now().Add(30 * time.Minute).Unix()}); !errors.Is(err, wal.ErrExpired) && err != nil {
				t.Error(err)
			}
			inOrder(t, b)
			shut(t, b)
			if err := verify(t, m); err != nil {
				t.Error(err)
			}
		})
	}
}

// inOrder demands that indexes have no gap and ids no double.
func inOrder(t *testing.T, b publish.Book) {
	t.Helper()
	all, err := b.Scan(t.Context(), "acme", 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for i := range all {
		r, err := all[i].Record()
		if err != nil || all[i].Index != uint64(i) || ids[r.ID] {
			t.Fatalf("record %d: index %d, id %s: %v", i, all[i].Index, r.ID, err)
		}
		ids[r.ID] = true
		if e, ok, err := b.Find(t.Context(), "acme", r.ID); err != nil || !ok || e.Index != all[i].Index {
			t.Fatalf("record %d is not found by its id %s: %v %v", i, r.ID, ok, err)
		}
	}
}

func closeLog(l *wal.Log) {
	if l != nil {
		_ = l.Close(context.Background()) // it should not have opened
	}
}
