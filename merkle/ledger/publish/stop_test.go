package publish_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk/disktest"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
)

// shown is what the world saw before a stop.
type shown map[string]ledger.Checkpoint

func (s shown) see(t testing.TB, p *publish.Publisher) {
	t.Helper()
	for _, log := range []string{"acme", "rival", ledger.CheckpointsLog} {
		note, err := p.File(log, "checkpoint")
		if err != nil {
			continue
		}
		cp, err := ledger.OpenCheckpoint(note, pinned(t))
		must(t, err)
		if cp.Size < s[log].Size {
			t.Fatalf("checkpoint of %s went back from %d to %d", log, s[log].Size, cp.Size)
		}
		s[log] = cp
	}
}

// TestAStopAtAnyStepIsHarmless stops the publisher at each operation on the disk, in four ways, and starts it again on
// the same log: what was shown stands, the witness sees one history, and everything is published in the end.
func TestAStopAtAnyStepIsHarmless(t *testing.T) {
	for _, how := range []disktest.How{disktest.Before, disktest.Half, disktest.After, disktest.PowerCut} {
		k := 0
		for ; stoppedAt(t, k, how); k++ {
			if testing.Short() {
				k += 6
			}
		}
		if k < 50 {
			t.Errorf("only %d steps", k)
		}
	}
}

func stoppedAt(t *testing.T, k int, how disktest.How) bool {
	t.Helper()
	dir := t.TempDir()
	b, w, m := newBook(), newWitness(t, "w.example"), &memory{}
	on := disktest.StopAt(k, how)
	on.FS = quick{}
	o := options(dir)
	o.FS, o.Cosign, o.Kept = on, w.cosign, m
	seen := shown{}
	life(t, o, b, seen)
	must(t, on.Restart())
	what := fmt.Sprintf("stop at %d (%d) %s", k, how, on.Stopped())
	o.FS = quick{}
	p, err := publish.Open(o)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	p.Attach(b)
	defer shut(t, p)
	seen.see(t, p)
	b.add("acme", 2)
	if err := p.Publish(t.Context(), b.heads()); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	seen.see(t, p)
	for tenant, data := range b.data {
		for _, i := range []int{0, len(data) - 1} {
			text, err := p.Prove(t.Context(), tenant, uint64(i))
			if err == nil {
				_, err = proven(t, b, tenant, uint64(i), text, w.policy(1))
			}
			if err != nil {
				t.Fatalf("%s: %s %d: %v", what, tenant, i, err)
			}
		}
	}
	if s := p.Publishing(); s.CosignErr != nil {
		t.Fatalf("%s: the witness says %v", what, s.CosignErr)
	}
	return on.Stopped() != ""
}

// life publishes a few times, over the edge of a bundle.
func life(t *testing.T, o publish.Options, b *book, seen shown) {
	t.Helper()
	p, err := publish.Open(o)
	if err != nil {
		return
	}
	p.Attach(b)
	defer shut(t, p)
	for i, n := range []int{3, 250, 10} {
		b.add("acme", n)
		if i != 1 {
			b.add("rival", 1)
		}
		err := p.Publish(t.Context(), b.heads())
		if err != nil && !errors.Is(err, disktest.ErrStopped) {
			t.Fatal(err)
		}
		seen.see(t, p)
	}
}
