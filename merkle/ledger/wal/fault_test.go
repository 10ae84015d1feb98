package wal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/disk/disktest"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

var errDisk = errors.New("input/output error")

// A fault at a write point poisons the log. Nothing that was refused is relied on: after the restart it
// is either absent or an admitted record with an unknown outcome, and what was acknowledged stands.
func TestDiskErrorsPoisonTheLogAndLoseNothing(t *testing.T) {
	for _, op := range []string{"write", "sync"} {
		for _, flavor := range []string{"failed", "failed but persisted", "half"} {
			if op == "sync" && flavor == "half" {
				continue
			}
			for skip := range 3 {
				t.Run(fmt.Sprintf("%s/%s/after %d", op, flavor, skip), func(t *testing.T) {
					x := &disktest.Fault{Op: op, Suffix: "000.segment", Skip: skip, Err: errDisk, Persists: flavor == "failed but persisted", Short: flavor == "half"}
					poisonOnce(t, x)
				})
			}
		}
	}
}

func poisonOnce(t *testing.T, x *disktest.Fault) {
	dir, fs := t.TempDir(), disktest.New()
	o := options(dir)
	o.FS = fs
	l := open(t, o)
	admit(t, l, "acme", use("before", 0, 1))
	fs.Arm(x)
	good := map[string]bool{}
	var failed error
	for i := 0; failed == nil && i < 10; i++ {
		name := fmt.Sprint("p", i)
		if _, failed = l.Admit(t.Context(), record("acme", ledger.Admitted), use(name, 0, 1)); failed == nil {
			good[name] = true
		}
	}
	if !errors.Is(failed, wal.ErrPoisoned) || !errors.Is(failed, errDisk) {
		t.Fatal("not poisoned:", failed)
	}
	if _, err := l.Append(t.Context(), record("acme", ledger.Admin)); !errors.Is(err, wal.ErrPoisoned) {
		t.Fatal("a poisoned log wrote on:", err)
	}
	if s := l.Stats(); s.Ready || !errors.Is(s.Err, wal.ErrPoisoned) {
		t.Fatalf("%+v", s)
	}
	size := l.Size("acme")
	shut(t, l)
	fs.Arm(nil)
	l = open(t, o)
	if l.Size("acme") < size {
		t.Fatal("records are gone")
	}
	for name := range good {
		if l.Used(plan(name), 0) != 1 {
			t.Fatal(name, "was acknowledged and is lost")
		}
	}
	if l.Stats().Open != 0 {
		t.Fatal("calls are still open")
	}
	shut(t, l)
	mustVerify(t, o)
}

// settled waits until as many segments are made ahead as can be.
func awaitSpares(t testing.TB, l *wal.Log) {
	t.Helper()
	for range 2000 {
		if s := l.Stats(); s.Spare || s.Err != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("no segments are made")
}

// fillUp admits calls until one is refused. It returns the ids of those that went through, and whether the log was ready
// when the last of them did.
func fillUp(t *testing.T, l *wal.Log) (opened []string, ready bool, err error) {
	t.Helper()
	for i := 0; ; i++ {
		r := record("acme", ledger.Admitted)
		awaitSpares(t, l) // a log that is filled faster than segments are made is ready until one cannot be made
		ready = l.Stats().Ready
		if _, err = l.Admit(t.Context(), r, use(fmt.Sprint(l.Boot(), "p", i), 0, 1)); err != nil {
			return opened, ready, err
		}
		opened = append(opened, r.ID)
	}
}

func TestAFullDiskIsKnownBeforeARecordIsAtStake(t *testing.T) {
	fs := disktest.New()
	o := options(t.TempDir())
	o.FS, o.SegmentBytes = fs, 16<<10
	l := open(t, o)
	awaitSpares(t, l)
	fs.Arm(&disktest.Fault{Op: "open", Suffix: ".segment", Err: syscall.ENOSPC, Always: true})
	opened, ready, err := fillUp(t, l)
	if !errors.Is(err, wal.ErrFull) || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), o.Dir) {
		t.Fatal(err)
	}
	if s := l.Stats(); ready || s.Ready || !errors.Is(s.Err, wal.ErrFull) || s.Segment != 2 {
		t.Fatalf("%v, %+v", ready, s)
	}
	if n := l.Used(plan(fmt.Sprint(l.Boot(), "p", len(opened))), 0); n != 0 {
		t.Fatal("a refused use was counted")
	}
	for _, kind := range []ledger.Kind{ledger.Refused, ledger.Plan, ledger.Token, ledger.Approval, ledger.Key, ledger.Bundle, ledger.Filter} {
		if _, err := l.Append(t.Context(), record("acme", kind)); !errors.Is(err, wal.ErrFull) {
			t.Fatal(kind, err)
		}
	}
	// The reserve is for what was let through, and for making room.
	for _, kind := range []ledger.Kind{ledger.Admin, ledger.Prune, ledger.Erasure, ledger.Recovery, ledger.Heartbeat} {
		if _, err := l.Append(t.Context(), record("acme", kind)); err != nil {
			t.Fatal(kind, err)
		}
	}
	for _, id := range opened[:16] {
		settle(t, l, "acme", id, ledger.OutcomeOK)
	}
	fs.Arm(nil) // somebody made room
	for range 5000 {
		if _, err = l.Append(t.Context(), record("acme", ledger.Refused)); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err != nil {
		t.Fatal("it does not recover by itself:", err)
	}
	awaitSpares(t, l)
	if s := l.Stats(); !s.Ready || !s.Spare {
		t.Fatalf("%+v", s)
	}
	shut(t, l)
	mustVerify(t, o)
}

func TestTheReserveIsTheLastThatIsWritten(t *testing.T) {
	fs := disktest.New()
	o := options(t.TempDir())
	o.FS, o.SegmentBytes = fs, 8<<10
	l := open(t, o)
	awaitSpares(t, l)
	fs.Arm(&disktest.Fault{Op: "open", Suffix: ".segment", Err: syscall.ENOSPC, Always: true})
	var err error
	n := uint64(0)
	for ; err == nil; n++ {
		_, err = l.Append(t.Context(), record("acme", ledger.Admin))
	}
	if s := l.Stats(); !errors.Is(err, wal.ErrFull) || s.Segment != 3 {
		t.Fatalf("%v: %+v", err, s)
	}
	shut(t, l)
	l = open(t, o) // also with a full disk
	if l.Size("acme") != n-1 {
		t.Fatalf("%d records, %d acknowledged", l.Size("acme"), n-1)
	}
	shut(t, l)
	mustVerify(t, o)
}

func TestFaultsWhileASegmentIsPreparedAreRefusalsOnly(t *testing.T) {
	for _, x := range []disktest.Fault{
		{Op: "open", Suffix: "001.segment", Err: errDisk},
		{Op: "write", Suffix: "001.segment", Err: errDisk},
		{Op: "write", Suffix: "001.segment", Err: errDisk, Persists: true},
		{Op: "write", Suffix: "001.segment", Err: errDisk, Short: true},
		{Op: "sync", Suffix: "001.segment", Err: errDisk},
		{Op: "sync", Suffix: "001.segment", Err: errDisk, Persists: true},
	} {
		x.Always = true
		fs := disktest.New()
		o := options(t.TempDir())
		o.FS, o.SegmentBytes = fs, 8<<10
		fs.Arm(&x)
		l := open(t, o)
		var err error
		n := uint64(0)
		for ; err == nil; n++ {
			_, err = l.Append(t.Context(), record("acme", ledger.Admin))
		}
		if !errors.Is(err, wal.ErrFull) || !errors.Is(err, errDisk) {
			t.Fatalf("%+v: %v", x, err)
		}
		shut(t, l)
		fs.Arm(nil)
		l = open(t, o)
		if l.Size("acme") != n-1 {
			t.Fatalf("%+v: %d records, %d acknowledged", x, l.Size("acme"), n-1)
		}
		shut(t, l)
		mustVerify(t, o)
	}
}

func TestFaultsAtTheFirstStartLeaveALogThatOpensLater(t *testing.T) {
	for _, op := range []string{"open", "write", "sync", "rename", "syncdir"} {
		for _, suffix := range []string{"root", "root.tmp", "chain", "chain.tmp", "000.segment", "boot", "boot.tmp", "_wal", "keys"} {
			for _, persists := range []bool{false, true} {
				fs := disktest.New()
				o := options(t.TempDir())
				o.FS = fs
				fs.Arm(&disktest.Fault{Op: op, Suffix: suffix, Err: errDisk, Persists: persists})
				if l, err := openLog(t.Context(), o); err == nil {
					if fs.Hits() > 0 {
						t.Fatal(op, suffix, "was passed over")
					}
					shut(t, l)
					continue
				} else if !errors.Is(err, errDisk) {
					t.Fatal(op, suffix, err)
				}
				fs.Arm(nil)
				l := open(t, o)
				admit(t, l, "acme", use("p", 0, 1))
				shut(t, l)
				mustVerify(t, o)
			}
		}
	}
}

func TestACheckpointThatCannotBeWrittenIsReportedAndTriedAgain(t *testing.T) {
	for _, op := range []string{"open", "write", "sync", "rename"} {
		for _, persists := range []bool{false, true} {
			fs := disktest.New()
			o := options(t.TempDir())
			o.FS = fs
			l := open(t, o)
			admit(t, l, "acme", use("p", 0, 1))
			suffix := "checkpoint.tmp"
			if op == "rename" {
				suffix = "checkpoint"
			}
			fs.Arm(&disktest.Fault{Op: op, Suffix: suffix, Err: errDisk, Persists: persists})
			if err := l.PublishNow(); !errors.Is(err, errDisk) {
				t.Fatal(op, err)
			}
			if err := l.PublishNow(); err != nil {
				t.Fatal(op, err)
			}
			text, err := os.ReadFile(filepath.Join(o.Dir, "acme", "checkpoint"))
			if err != nil {
				t.Fatal(err)
			}
			if cp, err := ledger.OpenCheckpoint(text, pinned(t)); err != nil || cp.Size != 1 || cp.Origin != "gate.example/ledger/acme/gw-1" {
				t.Fatal(cp, err)
			}
			shut(t, l)
			mustVerify(t, o)
		}
	}
}

func TestNothingIsSignedThatIsNotDurable(t *testing.T) {
	t.Run("every sync fails", func(t *testing.T) { notSigned(t, true) })
	t.Run("one sync fails", func(t *testing.T) { notSigned(t, false) }) // systems tell an error once
}

func notSigned(t *testing.T, always bool) {
	fs := disktest.New()
	o := options(t.TempDir())
	o.FS, o.Sync = fs, wal.SyncWrite
	l := open(t, o)
	admit(t, l, "acme", use("p", 0, 1)) // in the system's memory only
	fs.Arm(&disktest.Fault{Op: "sync", Suffix: ".segment", Err: errDisk, Always: always})
	if err := l.PublishNow(); !errors.Is(err, wal.ErrPoisoned) {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(o.Dir, "acme", "checkpoint")); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("a tree was signed that the disk may lose:", err)
	}
}

func TestACommitPastItsDeadlineIsARefusalAndItsOutcomeUnknown(t *testing.T) {
	fs := disktest.New()
	o := options(t.TempDir())
	o.FS, o.Deadline = fs, 20*time.Millisecond
	l := open(t, o)
	stall := make(chan struct{})
	fs.Stall(stall)
	late := map[string]bool{}
	for _, name := range []string{"written", "laid behind it", "waiting"} {
		r := record("acme", ledger.Admitted)
		if _, err := l.Admit(t.Context(), r, use(name, 0, 1)); !errors.Is(err, wal.ErrDeadline) {
			t.Fatal(name, err)
		}
		late[r.ID] = true
	}
	fs.Stall(nil)
	close(stall)
	shut(t, l)
	o.Deadline = 10 * time.Second
	l = open(t, o)
	all, err := l.Scan(t.Context(), "acme", 0, 10)
	if err != nil || len(all) != 4 {
		t.Fatal(len(all), err)
	}
	for i := range all {
		r, err := all[i].Record()
		if err != nil || r.Kind == ledger.Settled && (!late[r.Of] || r.Outcome != ledger.OutcomeUnknown || r.Code != "deadline") {
			t.Fatalf("%+v %v", r, err)
		}
		delete(late, r.Of)
	}
	if len(late) != 1 || l.Stats().Open != 0 {
		t.Fatal(len(late), "calls that were refused too late are not settled")
	}
	if l.Used(plan("written"), 0) != 1 || l.Used(plan("laid behind it"), 0) != 1 || l.Used(plan("waiting"), 0) != 0 {
		t.Fatal("a use written is spent, one that only waited is not")
	}
}

func TestAFullQueueRefuses(t *testing.T) {
	fs := disktest.New()
	o := options(t.TempDir())
	o.FS, o.QueueRecords = fs, 2
	l := open(t, o)
	stall := make(chan struct{})
	fs.Stall(stall)
	var wg sync.WaitGroup
	errs := make(chan error, 16)
	for range 16 {
		wg.Go(func() {
			_, err := l.Append(t.Context(), record("acme", ledger.Admin))
			errs <- err
		})
	}
	if err := <-errs; !errors.Is(err, wal.ErrBusy) {
		t.Error(err)
	}
	close(stall)
	wg.Wait()
}

// slowCloseFS takes its time to close a segment, longer than the maker of spare segments waits between two looks.
type slowCloseFS struct {
	disk.FS
	slow atomic.Bool
}

type slowFile struct {
	disk.File
	fs *slowCloseFS
}

func (f *slowCloseFS) Open(name string, flag int) (disk.File, error) {
	file, err := f.FS.Open(name, flag)
	if err != nil || flag&os.O_RDWR == 0 || filepath.Ext(name) != ".segment" {
		return file, err
	}
	return slowFile{file, f}, nil
}

func (f slowFile) Close() error {
	if f.fs.slow.CompareAndSwap(true, false) {
		time.Sleep(1500 * time.Millisecond)
	}
	return f.File.Close()
}

func TestASegmentInUseIsNeverMadeAgain(t *testing.T) {
	o := options(t.TempDir())
	o.SegmentBytes = 4 << 10
	slow := &slowCloseFS{FS: disk.OS{}}
	o.FS = slow
	l := open(t, o)
	slow.slow.Store(true) // the first rotation leaves the maker time to look
	for range 12 {
		if _, err := l.Append(t.Context(), record("acme", ledger.Admin)); err != nil {
			t.Fatal(err)
		}
	}
	if slow.slow.Load() {
		t.Fatal("no segment was closed; the test shows nothing")
	}
	shut(t, l)
	if rep := mustVerify(t, o); rep.Records != 12 {
		t.Fatalf("%d acknowledged records of 12 are there", rep.Records)
	}
}
