package wal_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk/disktest"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// promised is what a killed log had said.
type promised struct {
	marks map[string]wal.Mark // by record id
	used  map[string]bool     // plans with one use
	done  map[string]bool
	boot  uint64
	heads map[string]ledger.Checkpoint // the highest checkpoint that was shown
}

// shortLife is a whole life of a log in segments of 4 KiB: records of two tenants over several rotations, checkpoints in
// between, and an end. It returns what was acknowledged when the disk stops.
func shortLife(ctx context.Context, o wal.Options) promised {
	p := promised{marks: map[string]wal.Mark{}, used: map[string]bool{}, done: map[string]bool{}, heads: map[string]ledger.Checkpoint{}}
	b, err := publish.OpenBook(ctx, o)
	if err != nil {
		return p
	}
	p.boot = b.Boot()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		_ = b.Close(ctx) // the disk may be gone
		p.see(b.Checkpoint)
	}()
	for i := range 8 {
		r := record([]string{"acme", "rival"}[i%2], ledger.Admitted)
		name := fmt.Sprintf("boot %d, plan %d", p.boot, i)
		if m, err := b.Admit(ctx, r, use(name, 0, 1)); err == nil {
			p.marks[r.ID], p.used[name] = m, true
			s := record(r.Tenant, ledger.Settled)
			s.Of, s.Outcome = r.ID, ledger.OutcomeOK
			if m, _, err := b.Settle(ctx, s, nil); err == nil {
				p.marks[s.ID], p.done[name] = m, true
			}
		}
		if i%3 == 2 {
			_ = b.PublishNow() // an error is tried again by the next
			p.see(b.Checkpoint)
		}
	}
	return p
}

// see keeps the checkpoints that anybody could have seen.
func (p *promised) see(checkpoint func(tenant string) ([]byte, error)) {
	for _, tenant := range []string{"acme", "rival"} {
		note, err := checkpoint(tenant)
		if err != nil {
			continue
		}
		if cp, err := ledger.ReadCheckpoint(note); err == nil && cp.Size >= p.heads[tenant].Size {
			p.heads[tenant] = cp
		}
	}
}

// hold demands of a log that was opened again what the one before had said.
func (p *promised) hold(t *testing.T, l *wal.Log) {
	t.Helper()
	if n := l.Stats().Open; n != 0 {
		t.Errorf("%d calls are still open", n)
	}
	if l.Boot() <= p.boot {
		t.Errorf("boot %d follows %d", l.Boot(), p.boot)
	}
	kept := map[string]wal.Entry{}
	leaves := map[string][]merkle.Hash{}
	for _, tenant := range l.Tenants() {
		all, err := l.Scan(t.Context(), tenant, 0, 10_000)
		if err != nil || uint64(len(all)) != l.Size(tenant) {
			t.Fatal(tenant, len(all), l.Size(tenant), err)
		}
		for i := range all {
			r, err := all[i].Record()
			if err != nil {
				t.Fatal(err)
			}
			kept[r.ID] = all[i]
			leaves[tenant] = append(leaves[tenant], all[i].Leaf)
		}
	}
	for id, m := range p.marks {
		if e, ok := kept[id]; !ok || e.Leaf != m.Leaf || e.Index != m.Index {
			t.Errorf("record %s was acknowledged at %d of %s and is lost", id, m.Index, m.Tenant)
		}
		if e, ok, err := l.Find(t.Context(), m.Tenant, id); err != nil || !ok || e.Leaf != m.Leaf {
			t.Errorf("record %s is not found by its id: %v", id, err)
		}
	}
	for name := range p.used {
		if n := l.Used(plan(name), 0); n != 1 {
			t.Errorf("%s was spent and counts %d uses", name, n)
		}
	}
	for name := range p.done {
		if s := l.Steps(plan(name)); len(s) != 1 || !s[0].Done {
			t.Errorf("%s was settled and is not done", name)
		}
	}
	p.unsaid(t, leaves)
}

// unsaid demands that every checkpoint that was shown is of the records that are there.
func (p *promised) unsaid(t *testing.T, leaves map[string][]merkle.Hash) {
	t.Helper()
	for tenant, cp := range p.heads {
		if cp.Size > uint64(len(leaves[tenant])) {
			t.Errorf("%s: %d records were signed and %d are there", tenant, cp.Size, len(leaves[tenant]))
			continue
		}
		var f merkle.Frontier
		for _, h := range leaves[tenant][:cp.Size] {
			f.Append(h)
		}
		if f.Root() != cp.Root {
			t.Errorf("%s: the checkpoint of %d records is of others", tenant, cp.Size)
		}
	}
}

// stopped lives a life on a disk that stops at operation k, and then opens the log on a whole disk again. It tells whether
// the disk stopped, and where.
func stopped(t *testing.T, k int, how disktest.How, lives int) string {
	t.Helper()
	dir := memoryDir(t)
	o := stopOptions(dir)
	for range lives { // the life that is stopped begins on what these left
		shortLife(t.Context(), o)
	}
	fs := disktest.StopAt(k, how)
	o.FS = fs
	p := shortLife(t.Context(), o)
	if err := fs.Restart(); err != nil {
		t.Fatal(err)
	}
	o.FS = nil
	l, err := openLog(t.Context(), o)
	if err != nil {
		t.Fatalf("stopped at operation %d (%s): it does not open again: %v", k, fs.Stopped(), err)
	}
	p.hold(t, l)
	admit(t, l, "acme", use("afterwards", 0, 1))
	shut(t, l)
	mustVerify(t, o)
	if t.Failed() {
		t.Fatalf("stopped at operation %d: %s", k, fs.Stopped())
	}
	return fs.Stopped()
}

// memoryDir is a folder of the test's own on a disk in memory, where there is one: what a disk forgets is up to the
// Stopper alone, and syncs cost nothing.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "gatewright-stop") //nolint:usetesting // another disk than TempDir's
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func stopOptions(dir string) wal.Options {
	o := options(dir)
	o.SegmentBytes = 4 << 10
	return o
}

// TestALogThatIsKilledAtAnyOperationKeepsWhatItSaid sweeps over every operation on the disk that changes something, from
// the first start on and from a later one: making keys and segments, commits, rotations, checkpoints, and the end.
func TestALogThatIsKilledAtAnyOperationKeepsWhatItSaid(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 7
	}
	for _, lives := range []int{0, 1} {
		for name, how := range map[string]disktest.How{"before": disktest.Before, "half": disktest.Half, "after": disktest.After, "power cut": disktest.PowerCut} {
			t.Run(fmt.Sprintf("%s, after %d lives", name, lives), func(t *testing.T) {
				t.Parallel()
				k := 0
				for ; stopped(t, k, how, lives) != ""; k += step {
				}
				if k < 50 {
					t.Errorf("only %d operations", k)
				}
				t.Log(k, "operations")
			})
		}
	}
}
