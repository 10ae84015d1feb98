package retention_test

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/retention"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/disk/disktest"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/tile"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/store/storetest"
)

func TestWithoutAPolicyNothingIsPruned(t *testing.T) {
	w := newWorld(t)
	w.old()
	_, err := w.keeper(0).Prune(t.Context(), retention.Request{})
	want(t, err, retention.ErrPolicy)
	_, err = w.Prune(t.Context(), retention.Request{Before: w.now().Add(-keep + time.Second)})
	want(t, err, retention.ErrPolicy)
	if len(w.tiles.least) > 0 || w.book.First("acme") != 0 || len(w.records("acme", ledger.Prune)) > 0 {
		t.Fatal("something was pruned")
	}
}

func TestADryRunSaysWhatWouldGoAndChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.old()
	r, err := w.Prune(t.Context(), retention.Request{DryRun: true})
	w.must(err)
	if p := part(t, r, "acme"); p.From != 0 || p.To != 600 || p.Size != 1200 || p.Record != "" {
		t.Fatalf("%+v", p)
	}
	if len(w.tiles.least) > 0 || w.book.First("acme") != 0 || w.book.Size("acme") != 1200 {
		t.Fatal("something changed")
	}
}

func TestPruningRecordsFirstAndLeavesWhatVerifies(t *testing.T) {
	w := newWorld(t)
	w.old()
	r, err := w.Prune(t.Context(), retention.Request{})
	w.must(err)
	for _, tenant := range []string{"acme", "other"} {
		p := part(t, r, tenant)
		if p.From != 0 || p.To != 600 || p.Record == "" || p.Receipt == "" || w.tiles.least[tenant] != 512 || w.book.First(tenant) != 600 {
			t.Fatalf("%+v, tiles from %d, records from %d", p, w.tiles.least[tenant], w.book.First(tenant))
		}
		rec := w.records(tenant, ledger.Prune)
		var body struct {
			From, To, Size   uint64
			Root, Checkpoint string
		}
		w.must(json.Unmarshal(rec[0].Body, &body))
		cp, err := ledger.OpenCheckpoint([]byte(body.Checkpoint), ledger.VerifierKeys{w.book.VerifierKey()})
		if err != nil || len(rec) != 1 || body.To != 600 || body.Size != cp.Size || body.Root != cp.Root.String() || rec[0].ID != p.Record {
			t.Fatalf("%+v %v", body, err)
		}
		rc, err := ledger.ParseReceipt([]byte(p.Receipt))
		w.must(err)
		w.must(rc.Verify(ledger.VerifierKeys{w.book.VerifierKey()}))
		_, err = w.book.Scan(t.Context(), tenant, 599, 1)
		want(t, err, wal.ErrPruned)
		if _, err := w.book.Scan(t.Context(), tenant, 600, 1); err != nil {
			t.Fatal(err)
		}
	}
	n, err := w.Drop(t.Context())
	w.must(err)
	if n == 0 {
		t.Fatal("no segment was dropped")
	}
	w.mustVerify()
	_, err = w.book.Scan(t.Context(), "acme", 599, 1) // kept over a restart
	want(t, err, wal.ErrPruned)
	r, err = w.Prune(t.Context(), retention.Request{})
	w.must(err)
	if p := part(t, r, "acme"); p.From != 600 || p.To != 600 || p.Record != "" {
		t.Fatalf("again: %+v", p)
	}
}

func TestOneTenantsPruningLeavesTheOthersAlone(t *testing.T) {
	w := newWorld(t)
	w.old()
	_, err := w.Prune(t.Context(), retention.Request{Tenant: "acme", By: retention.Who{User: "usr_a", Key: "key_a"}})
	w.must(err)
	if w.book.First("acme") != 600 || w.book.First("other") != 0 || len(w.tiles.least) != 1 {
		t.Fatal("another tenant's records are gone")
	}
	if r := w.records("acme", ledger.Prune); r[0].User != "usr_a" || r[0].Key != "key_a" {
		t.Fatal("it does not say who")
	}
	n, err := w.Drop(t.Context())
	if err != nil || n != 0 {
		t.Fatal(n, "segments are gone that another tenant has records in", err)
	}
}

func TestNothingIsPrunedUnderAHold(t *testing.T) {
	w := newWorld(t)
	w.old()
	_, err := w.Hold(t.Context(), "other", "", retention.Who{})
	want(t, err, retention.ErrInvalid)
	_, err = w.Hold(t.Context(), "other", "case 12", retention.Who{User: "usr_o"})
	w.must(err)
	r, err := w.Prune(t.Context(), retention.Request{})
	w.must(err)
	if p := part(t, r, "other"); !p.Held || p.From != p.To || w.book.First("other") != 0 || w.tiles.least["other"] != 0 {
		t.Fatalf("%+v", p)
	}
	if w.book.First("acme") != 600 {
		t.Fatal("the hold of one keeps another")
	}
	if n, err := w.Drop(t.Context()); err != nil || n != 0 {
		t.Fatal(n, "segments of a tenant under hold are gone", err)
	}
	w.mustVerify() // and over a restart
	h, held, err := w.Held(t.Context(), "other")
	if err != nil || !held || h.Reason != "case 12" || h.By != "usr_o" {
		t.Fatal(h, held, err)
	}
	_, err = w.Release(t.Context(), "acme", "over")
	want(t, err, retention.ErrNotHeld)
	_, err = w.Release(t.Context(), "other", "over")
	w.must(err)
	_, err = w.Prune(t.Context(), retention.Request{})
	w.must(err)
	if w.book.First("other") != 600 {
		t.Fatal("still held")
	}
}

// A hold that comes while a pruning is between its record and its deletion wins.
func TestAHoldEndsAPruningThatRuns(t *testing.T) {
	w := newWorld(t)
	w.old()
	held := make(chan error, 1)
	w.tiles.before = func(tenant string) {
		if tenant != "acme" { // the first of the two
			return
		}
		go func() {
			_, err := w.Hold(context.Background(), "other", "case 12", retention.Who{})
			held <- err
		}()
		for stands := false; !stands; {
			var err error
			_, stands, err = w.Held(context.Background(), "other")
			w.must(err)
		}
	}
	r, err := w.Prune(t.Context(), retention.Request{})
	w.must(<-held)
	if w.book.First("other") != 0 || w.tiles.least["other"] != 0 || err == nil && !part(t, r, "other").Held {
		t.Fatal("pruned under a hold", err, w.tiles.least)
	}
	w.tiles.before = nil
	_, err = w.Prune(t.Context(), retention.Request{})
	w.must(err)
	if w.book.First("other") != 0 || w.book.First("acme") != 600 {
		t.Fatal("pruned under a hold, or the other is not")
	}
}

func TestAnOpenCallKeepsItselfAndWhatIsYounger(t *testing.T) {
	w := newWorld(t)
	w.fill("acme", 304)
	w.later(time.Second)
	open := ledger.Record{Tenant: "other", Kind: ledger.Admitted, Step: -1}
	_, err := w.book.Append(t.Context(), &open)
	w.must(err)
	w.later(time.Second)
	w.fill("acme", 304)
	w.later(2 * keep)
	w.published()
	r, err := w.Prune(t.Context(), retention.Request{})
	w.must(err)
	if p := part(t, r, "acme"); p.To != 304 {
		t.Fatalf("%+v", p)
	}
}

func TestNothingGoesBeyondTheCheckpoint(t *testing.T) {
	w := newWorld(t)
	w.fill("acme", 400)
	w.published()
	w.fs.Arm(&disktest.Fault{Op: "rename", Suffix: "checkpoint", Always: true, Err: errBroken})
	w.fill("acme", 800)
	w.later(2 * keep)
	r, err := w.Prune(t.Context(), retention.Request{})
	w.must(err)
	if p := part(t, r, "acme"); p.To != 400 || p.Size != 400 {
		t.Fatalf("%+v", p)
	}
	w.fs.Arm(nil)
}

// Whatever fails, nothing is given up that no record names, and the next pruning finishes.
func TestAPruningThatFailsAnywhereIsFinishedByTheNext(t *testing.T) {
	for _, fault := range []string{"store 0", "store 1", "tiles", "log"} {
		t.Run(fault, func(t *testing.T) {
			w := newWorld(t)
			w.old()
			first := w.store.Commits()
			switch fault {
			case "store 0", "store 1":
				at := first + int(fault[6]-'0')
				w.store.Choose(func(commit int) storetest.Fault {
					if commit == at {
						return storetest.Failed
					}
					return storetest.None
				})
			case "tiles":
				w.tiles.err = errBroken
			case "log":
				w.fs.Arm(&disktest.Fault{Op: "sync", Suffix: ".segment", Always: true, Err: errBroken})
				w.o.Sync = wal.SyncDisk
				w.close()
				w.fs.Arm(nil)
				w.open()
				w.fs.Arm(&disktest.Fault{Op: "write", Suffix: ".segment", Always: true, Err: errBroken})
			}
			if _, err := w.Prune(t.Context(), retention.Request{}); err == nil {
				t.Fatal("the fault was not met")
			}
			for tenant, least := range w.tiles.least {
				if least > 0 && len(w.records(tenant, ledger.Prune)) == 0 {
					t.Fatal("deleted without a record")
				}
			}
			w.store.Choose(nil)
			w.fs.Arm(nil)
			w.tiles.err = nil
			if fault == "log" {
				if w.book.First("acme") != 0 || len(w.tiles.least) > 0 {
					t.Fatal("given up without a record")
				}
				w.close()
				w.open()
				w.published()
			}
			_, err := w.Prune(t.Context(), retention.Request{})
			w.must(err)
			for _, tenant := range []string{"acme", "other"} {
				if w.tiles.least[tenant] != 512 || w.book.First(tenant) != 600 || len(w.records(tenant, ledger.Prune)) == 0 {
					t.Fatal(tenant, w.tiles.least, w.book.First(tenant))
				}
			}
			_, err = w.Drop(t.Context())
			w.must(err)
			w.mustVerify()
		})
	}
}

// The disk fails at every step of removing segments: the next try, or start, finishes.
func TestSegmentsGoHoweverOftenTheDiskFails(t *testing.T) {
	for _, op := range []string{"open", "write", "sync", "rename", "remove", "syncdir"} {
		for skip := range 3 {
			w := newWorld(t)
			w.old()
			_, err := w.Prune(t.Context(), retention.Request{})
			w.must(err)
			w.published()
			w.fs.Arm(&disktest.Fault{Op: op, Skip: skip, Err: errBroken})
			_, _ = w.Drop(t.Context())
			w.fs.Arm(nil)
			w.close()
			w.open()
			if _, err := w.Drop(t.Context()); err != nil {
				t.Fatal(op, skip, err)
			}
			if w.book.First("acme") != 600 {
				t.Fatal(op, skip)
			}
			w.mustVerify()
			w.close()
		}
	}
}

// What was given up before a hold and lies in the log's files still is kept by it, whole files of it.
func TestAHoldKeepsSegmentFilesWhole(t *testing.T) {
	w := newWorld(t)
	w.old()
	_, err := w.Prune(t.Context(), retention.Request{})
	w.must(err)
	_, err = w.Hold(t.Context(), "other", "case 12", retention.Who{})
	w.must(err)
	if n, err := w.Drop(t.Context()); err != nil || n != 0 {
		t.Fatal(n, "segments are gone", err)
	}
	_, err = w.Release(t.Context(), "other", "over")
	w.must(err)
	if n, err := w.Drop(t.Context()); err != nil || n == 0 {
		t.Fatal(n, err)
	}
}

// A tenant that says little, and the instance, keep nobody's records: what is old goes, to the record.
func TestAQuietTenantKeepsNoSegment(t *testing.T) {
	w := newWorld(t)
	w.fill("quiet", 8)
	w.fill(ledger.InstanceTenant, 8)
	w.fill("acme", 1200)
	w.later(2 * keep)
	w.fill("acme", 8)
	w.published()
	r, err := w.Prune(t.Context(), retention.Request{})
	w.must(err)
	for tenant, want := range map[string]uint64{"quiet": 8, "acme": 1200, ledger.InstanceTenant: part(t, r, ledger.InstanceTenant).Size} {
		if p := part(t, r, tenant); p.To != want || want < 8 || w.book.First(tenant) != want || w.tiles.least[tenant] != want/256*256 {
			t.Errorf("%+v, %d wanted; records from %d, tiles from %d", p, want, w.book.First(tenant), w.tiles.least[tenant])
		}
	}
	if n, err := w.Drop(t.Context()); err != nil || n < 3 {
		t.Fatal(n, "segments went:", err)
	}
	w.mustVerify()
	for _, tenant := range []string{"quiet", ledger.InstanceTenant} {
		if len(w.records(tenant, ledger.Prune)) != 1 {
			t.Error("the record of it is not there:", tenant)
		}
	}
}

// Records of a time when the clock was wrong keep what came before them.
func TestAClockThatWasSetBackLetsNothingYoungGo(t *testing.T) {
	w := newWorld(t)
	w.fill("acme", 104)
	w.later(2 * keep)
	w.fill("acme", 512)
	w.later(-10 * 365 * keep)
	w.fill("acme", 1024)
	w.later(10 * 365 * keep)
	w.fill("acme", 8)
	w.published()
	r, err := w.Prune(t.Context(), retention.Request{})
	w.must(err)
	if p := part(t, r, "acme"); p.To != 104 || w.book.First("acme") != 104 {
		t.Fatalf("%+v", p)
	}
}

// A hold that comes before what was recorded was given up shows all that it holds, over a restart too.
func TestAHoldHidesNothingThatIsThere(t *testing.T) {
	w := newWorld(t)
	w.fill("aaa", 600)
	w.fill("acme", 600)
	w.later(2 * keep)
	w.fill("aaa", 8)
	w.fill("acme", 8)
	w.published()
	w.tiles.err = errBroken // the disk refuses, in the tenant before
	if _, err := w.Prune(t.Context(), retention.Request{}); err == nil {
		t.Fatal("the fault was not met")
	}
	w.tiles.err = nil
	_, err := w.Hold(t.Context(), "acme", "case 12", retention.Who{})
	w.must(err)
	for range 2 {
		if first := w.book.First("acme"); first != 0 {
			t.Fatal("held, and the first that is shown is", first)
		}
		if _, err := w.book.Scan(t.Context(), "acme", 0, 1); err != nil {
			t.Fatal(err)
		}
		w.close()
		w.open()
	}
	_, err = w.Release(t.Context(), "acme", "over")
	w.must(err)
	_, err = w.Prune(t.Context(), retention.Request{})
	w.must(err)
	if first := w.book.First("acme"); first != 600 {
		t.Fatal("released, and the first that is shown is", first)
	}
	_, err = w.Hold(t.Context(), "acme", "case 13", retention.Who{})
	w.must(err)
	w.close()
	w.open()
	if first := w.book.First("acme"); first != 600 {
		t.Fatal("given up before the hold, and shown from", first)
	}
}

// Tiles of records that the log let go of are held against the roots that it still has.
func TestTilesOfWhatTheLogLetGoAreVerifiedByTheRoot(t *testing.T) {
	w := newWorld(t)
	w.fill("quiet", 8)
	w.fill("acme", 1200)
	w.later(2 * keep)
	w.published()
	_, err := w.Prune(t.Context(), retention.Request{})
	w.must(err)
	w.fill("quiet", 8)
	w.published()
	if n, err := w.Drop(t.Context()); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	w.mustVerify()
	w.close()
	dir := filepath.Join(w.o.Dir, "quiet")
	tree, err := tile.Open(disk.OS{}, dir)
	w.must(err)
	entries, err := tree.Entries(0, 100)
	w.must(err)
	w.must(tile.Clear(disk.OS{}, dir))
	entries[0] = bytes.Replace(entries[0], []byte("fill"), []byte("kill"), 1)
	tree, err = tile.Open(disk.OS{}, dir)
	w.must(err)
	w.must(tree.Append(entries))
	_, err = publish.Verify(t.Context(), w.o.Dir, publish.VerifyOptions{Keys: ledger.VerifierKeys{w.book.VerifierKey()}})
	want(t, err, wal.ErrCorrupt)
}
