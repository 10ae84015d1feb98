package publish_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk/disktest"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
)

var errDisk = errors.New("disk says no")

// TestADiskErrorIsGoneWithTheNextTick: one operation fails, done or not, and the process lives on.
func TestADiskErrorIsGoneWithTheNextTick(t *testing.T) {
	for _, op := range []string{"open", "write", "sync", "rename", "syncdir"} {
		for _, persists := range []bool{false, true} {
			skip := 0
			for ; failedOnce(t, disktest.Fault{Op: op, Skip: skip, Persists: persists, Err: errDisk}); skip++ {
				if testing.Short() {
					skip += 3
				}
			}
			if skip < 8 {
				t.Errorf("%s: only %d steps", op, skip)
			}
		}
	}
}

func failedOnce(t *testing.T, fault disktest.Fault) bool {
	t.Helper()
	b, w := newBook(), newWitness(t, "w.example")
	on := disktest.New()
	on.FS = quick{}
	o := options(t.TempDir())
	o.FS, o.Cosign = on, w.cosign
	p := open(t, o, b)
	on.Arm(&fault)
	for _, n := range []int{3, 250, 10} {
		b.add("acme", n)
		b.add("rival", 1)
		if err := p.Publish(t.Context(), b.heads()); err != nil && !errors.Is(err, errDisk) {
			t.Fatalf("%+v: %v", fault, err)
		}
	}
	hit := on.Hits() > 0
	on.Arm(nil)
	b.add("acme", 1)
	tick(t, p, b)
	if s := p.Publishing(); s.Err != nil || s.Behind != 0 || s.Rebuilt != 0 || errors.Is(s.CosignErr, errFork) {
		t.Fatalf("%+v: %+v", fault, s)
	}
	text, err := p.Prove(t.Context(), "acme", 260)
	must(t, err)
	if _, err := proven(t, b, "acme", 260, text, w.policy(1)); err != nil {
		t.Fatalf("%+v: %v", fault, err)
	}
	shut(t, p)
	_, err = publish.Open(o)
	must(t, err)
	return hit
}

// TestTilesOfAnotherHistoryProveNothing: whole by themselves, and not those of the log, from which they are made again.
func TestTilesOfAnotherHistoryProveNothing(t *testing.T) {
	b, other := newBook(), newBook()
	o, oo := options(t.TempDir()), options(t.TempDir())
	for i, at := range []struct {
		o publish.Options
		b *book
	}{{o, b}, {oo, other}} {
		at.b.add("acme", 300)
		if i == 1 {
			at.b.data["acme"][7] = []byte("another record")
		}
		p := open(t, at.o, at.b)
		tick(t, p, at.b)
		shut(t, p)
	}
	folder := filepath.Join(o.Dir, "acme", "tile")
	must(t, os.RemoveAll(folder))
	must(t, os.CopyFS(folder, os.DirFS(filepath.Join(oo.Dir, "acme", "tile"))))
	p := open(t, o, b)
	if _, _, err := p.Subtrees("acme"); err != nil {
		t.Error("subtrees:", err)
	}
	for _, index := range []uint64{7, 299} {
		text, err := p.Prove(t.Context(), "acme", index)
		must(t, err)
		if _, err := proven(t, b, "acme", index, text, ledger.WitnessPolicy{}); err != nil {
			t.Errorf("record %d: %v", index, err)
		}
	}
	if s := p.Publishing(); s.Rebuilt != 1 {
		t.Errorf("%+v", s)
	}
}
