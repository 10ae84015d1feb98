package wal_test

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/disk/disktest"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// slowSyncFS is a disk whose syncs take long enough for the next batch to be laid meanwhile.
type slowSyncFS struct{ disk.FS }

type slowSyncFile struct{ disk.File }

func (f slowSyncFS) Open(name string, flag int) (disk.File, error) {
	file, err := f.FS.Open(name, flag)
	if err != nil || filepath.Ext(name) != ".segment" {
		return file, err
	}
	return slowSyncFile{file}, nil
}

func (f slowSyncFile) Sync() error {
	time.Sleep(300 * time.Microsecond)
	return f.File.Sync()
}

// busyLife is a life of a log with many callers at once, so that one batch is laid while another is written, over several
// rotations. It returns what was acknowledged.
func busyLife(ctx context.Context, o wal.Options) promised {
	p := promised{marks: map[string]wal.Mark{}, used: map[string]bool{}, done: map[string]bool{}, heads: map[string]ledger.Checkpoint{}}
	b, err := publish.OpenBook(ctx, o)
	if err != nil {
		return p
	}
	p.boot = b.Boot()
	var mu sync.Mutex
	var all sync.WaitGroup
	for w := range 6 {
		all.Go(func() {
			mine := promised{marks: map[string]wal.Mark{}, used: map[string]bool{}, done: map[string]bool{}}
			for i := range 4 {
				mine.call(ctx, b.Log, []string{"acme", "rival"}[w%2], fmt.Sprintf("boot %d, writer %d, plan %d", p.boot, w, i))
			}
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(p.marks, mine.marks)
			maps.Copy(p.used, mine.used)
			maps.Copy(p.done, mine.done)
		})
	}
	all.Go(func() { _ = b.PublishNow() }) // between two batches; an error is tried again at the end
	all.Wait()
	_ = b.Close(context.WithoutCancel(ctx)) // the log may be poisoned
	p.see(b.Checkpoint)
	return p
}

// call admits a call and settles it, and notes what was acknowledged of it.
func (p *promised) call(ctx context.Context, l *wal.Log, tenant, name string) {
	r := record(tenant, ledger.Admitted)
	m, err := l.Admit(ctx, r, use(name, 0, 1))
	if err != nil {
		return
	}
	p.marks[r.ID], p.used[name] = m, true
	s := record(tenant, ledger.Settled)
	s.Of, s.Outcome = r.ID, ledger.OutcomeOK
	if m, _, err := l.Settle(ctx, s, nil); err == nil {
		p.marks[s.ID], p.done[name] = m, true
	}
}

// faulted lives a busy life on a disk with one fault, and holds the log to its word on a whole one. It reports whether the
// fault was met.
func faulted(t *testing.T, x disktest.Fault) bool {
	t.Helper()
	o := stopOptions(memoryDir(t))
	o.SegmentBytes = 8 << 10
	fs := disktest.New()
	fs.Reserves = x.Skip%2 == 0 // segments are made in one of two ways
	o.FS = slowSyncFS{fs}
	fs.Arm(&x)
	p := busyLife(t.Context(), o)
	hit := fs.Hits() > 0
	fs.Arm(nil)
	l, err := openLog(t.Context(), o)
	if err != nil {
		t.Fatalf("%+v: it does not open again: %v", x, err)
	}
	p.hold(t, l)
	admit(t, l, "acme", use("afterwards", 0, 1))
	shut(t, l)
	if rep := mustVerify(t, o); t.Failed() || rep.Open > 1 { // the call that was just admitted
		t.Fatalf("%+v: %+v", x, rep)
	}
	return hit
}

// TestAFaultAtAnyOperationLosesNothingThatWasSaid sweeps one fault over every operation of a kind, until none is left.
func TestAFaultAtAnyOperationLosesNothingThatWasSaid(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 7
	}
	for _, err := range []error{syscall.EIO, syscall.ENOSPC} {
		for name, x := range map[string]disktest.Fault{
			"write":                  {Op: "write"},
			"write, persisted":       {Op: "write", Persists: true},
			"write, short":           {Op: "write", Short: true},
			"sync":                   {Op: "sync"},
			"sync, persisted":        {Op: "sync", Persists: true},
			"open":                   {Op: "open"},
			"rename":                 {Op: "rename"},
			"rename, persisted":      {Op: "rename", Persists: true},
			"remove":                 {Op: "remove"},
			"remove, persisted":      {Op: "remove", Persists: true},
			"folder sync":            {Op: "syncdir"},
			"folder sync, persisted": {Op: "syncdir", Persists: true},
		} {
			t.Run(fmt.Sprintf("%s/%v", name, err), func(t *testing.T) {
				t.Parallel()
				x.Err = err
				k := 0
				for ; ; k += step {
					x.Skip = k
					if !faulted(t, x) {
						break
					}
				}
				t.Log(k, "operations")
			})
		}
	}
}
