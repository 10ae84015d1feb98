package wal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/disk/disktest"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// freed lists the segments that pruning gave up and that wait.
func freed(t testing.TB, o wal.Options) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(o.Dir, "_wal", "*.free"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// fillTo appends until a segment is written.
func fillTo(t testing.TB, l *wal.Log, segment uint64) {
	t.Helper()
	for l.Stats().Segment < segment {
		if _, err := l.Append(t.Context(), record("acme", ledger.Admin)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPrunedSegmentsAreUsedAgainWithNothingLeftInThem(t *testing.T) {
	o := pruneOptions(t)
	l := long(t, o)
	awaitSpares(t, l)
	old, err := os.Stat(segment(o, 0))
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.Prune(t.Context(), func(string) uint64 { return 30 })
	if err != nil || p.Segments < 4 {
		t.Fatal(p, err)
	}
	if n := len(freed(t, o)); n != 3 {
		t.Fatal(n, "segments wait to be used again; more would hold room that pruning is to give back")
	}
	fillTo(t, l, l.Stats().Segment+2)
	awaitSpares(t, l)
	again := 0
	for n := int(l.Stats().Segment) + 1; ; n++ {
		st, err := os.Stat(segment(o, n))
		if errors.Is(err, os.ErrNotExist) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(segment(o, n))
		if err != nil || len(bytes.Trim(b, "\x00")) > 0 {
			t.Fatal("segment", n, "is not zero:", err)
		}
		if os.SameFile(st, old) {
			again++
		}
	}
	if again != 1 || len(freed(t, o)) != 1 {
		t.Fatal(again, freed(t, o))
	}
	shut(t, l)
	l = open(t, o) // what waited is taken over
	fillTo(t, l, l.Stats().Segment+2)
	awaitSpares(t, l)
	if len(freed(t, o)) != 0 {
		t.Fatal(freed(t, o))
	}
	shut(t, l)
	mustVerify(t, o)
}

func TestSparesOfAnEarlierStartAreTakenOver(t *testing.T) {
	o := options(t.TempDir())
	o.SegmentBytes = 8 << 10
	l := open(t, o)
	awaitSpares(t, l)
	var before [4]os.FileInfo
	for n := range before {
		st, err := os.Stat(segment(o, n))
		if err != nil {
			t.Fatal(n, err)
		}
		before[n] = st
	}
	shut(t, l)
	l = open(t, o)
	if s := l.Stats(); !s.Spare || !s.Ready {
		t.Fatalf("%+v", s)
	}
	for n := range before {
		if st, err := os.Stat(segment(o, n)); err != nil || !os.SameFile(st, before[n]) {
			t.Fatal(n, "was made again:", err)
		}
	}
	fillTo(t, l, 6)
	shut(t, l)
	mustVerify(t, o)
}

// Spares of another size are made anew. Whatever ends that, none is missing between others.
func TestSparesOfAnotherSizeLeaveNoGap(t *testing.T) {
	for _, suffix := range []string{"001.segment", "002.segment", "003.segment"} {
		for _, op := range []string{"open", "remove"} {
			o := options(t.TempDir())
			l := open(t, o)
			awaitSpares(t, l)
			admit(t, l, "acme", use("x", 0, 1))
			shut(t, l)
			fs := disktest.New()
			o.FS, o.SegmentBytes = fs, 128<<10
			fs.Arm(&disktest.Fault{Op: op, Suffix: suffix, Err: errDisk, Always: true})
			if l, err := openLog(t.Context(), o); err == nil {
				await(t, "the fault", func() bool { return fs.Hits() > 0 })
				shut(t, l)
			}
			fs.Arm(nil)
			l = open(t, o)
			fillTo(t, l, 2)
			shut(t, l)
			mustVerify(t, o)
		}
	}
}

// heldFS holds up the making of one file.
type heldFS struct {
	disk.OS
	name    string
	at, end chan struct{}
}

func (h *heldFS) Open(name string, flag int) (disk.File, error) {
	if flag&os.O_CREATE != 0 && filepath.Base(name) == h.name {
		close(h.at)
		<-h.end
	}
	return h.OS.Open(name, flag)
}

// The check in the background lists the folder while spares are made anew, which are none of its business.
func TestTheCheckInTheBackgroundLooksAtNoSpares(t *testing.T) {
	o := options(t.TempDir())
	l := open(t, o)
	awaitSpares(t, l)
	for range 20 {
		admit(t, l, "acme", use("x", 0, 100))
	}
	if err := l.SaveState(); err != nil {
		t.Fatal(err)
	}
	shut(t, l)
	h := &heldFS{name: filepath.Base(segment(o, 1)), at: make(chan struct{}), end: make(chan struct{})}
	o.FS, o.SegmentBytes, o.CheckFirst = h, 128<<10, -1
	l = open(t, o)
	<-h.at
	l.WaitAudit()
	close(h.end)
	if err := l.Stats().Err; err != nil {
		t.Error(err)
	}
	shut(t, l)
	mustVerify(t, o)
}

// The first write to a segment is torn and its first sector is what is missing: the frame behind is of the same write.
func TestATornHeaderIsATornWrite(t *testing.T) {
	o := options(t.TempDir())
	o.SegmentBytes = 8 << 10
	l, err := wal.Open(t.Context(), o) // nobody signs what is cut below
	if err != nil {
		t.Fatal(err)
	}
	fillTo(t, l, 1)
	shut(t, l)
	b, err := os.ReadFile(segment(o, 1))
	if err != nil {
		t.Fatal(err)
	}
	const header = 512
	clear(b[header+8+int(binary.BigEndian.Uint32(b[header:])):]) // one record, and nothing else was written
	clear(b[:header])
	if err := os.WriteFile(segment(o, 1), b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(o.Dir, "_wal", "snapshot")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var bad *wal.CorruptError
	if _, err := wal.Open(t.Context(), o); !errors.As(err, &bad) || !bad.Cut {
		t.Fatal("it is not for the operator to say whether to cut:", err)
	}
	o.CutLastBatch = true
	if l, err = wal.Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	shut(t, l)
}

// A real disk, of 1 MiB, where this process may make one.
func TestAFullDiskRefusesAndRecoversByItself(t *testing.T) {
	dir := t.TempDir()
	if err := mountSmall(dir, 1<<20); err != nil {
		t.Skip("no small disk can be made here:", err)
	}
	t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			t.Error(err)
		}
	})
	o := options(dir)
	o.SegmentBytes = 128 << 10
	l := open(t, o)
	t.Cleanup(func() { shut(t, l) }) // before the disk goes
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 300<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	opened, ready, err := fillUp(t, l)
	if !errors.Is(err, wal.ErrFull) || !errors.Is(err, syscall.ENOSPC) || ready {
		t.Fatal(ready, err)
	}
	if s := l.Stats(); s.Ready || !strings.Contains(s.Err.Error(), o.Dir) || !strings.Contains(s.Err.Error(), "are free") {
		t.Fatalf("%+v", s)
	}
	settle(t, l, "acme", opened[0], ledger.OutcomeOK)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for range 5000 {
		if _, err = l.Append(t.Context(), record("acme", ledger.Refused)); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err != nil {
		t.Fatal("it does not recover by itself:", err)
	}
	shut(t, l)
	mustVerify(t, o)
}
