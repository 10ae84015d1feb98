package wal_test

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/disk/disktest"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// watched is the real disk; it counts what is written to one file, and can hold its writes up.
type watched struct {
	disk.OS
	name    string
	written atomic.Int64
	hold    chan struct{} // a write waits until it is closed; nil for not
}

type watchedFile struct {
	disk.File
	on   *watched
	path string
}

func (w *watched) Open(name string, flag int) (disk.File, error) {
	f, err := w.OS.Open(name, flag)
	if err != nil || filepath.Base(name) != w.name {
		return f, err
	}
	return watchedFile{f, w, name}, nil
}

func (f watchedFile) Allocate(size int64) error { return os.Truncate(f.path, size) }

func (f watchedFile) WriteAt(b []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(b, off)
	f.on.written.Add(int64(n))
	if f.on.hold != nil {
		<-f.on.hold
	}
	return n, err
}

// await polls until something holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 5000 {
		if holds() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal(what, "did not happen")
}

// appendUpTo appends until the log ends behind an offset of its first segment.
func appendUpTo(t *testing.T, l *wal.Log, off int64) {
	t.Helper()
	for wal.Tip(l) < off && l.Stats().Segment == 0 {
		if _, err := l.Append(t.Context(), record("acme", ledger.Admin)); err != nil {
			t.Fatal(err)
		}
	}
}

func watching(t *testing.T) (wal.Options, *watched) {
	o := options(t.TempDir())
	w := &watched{name: filepath.Base(segment(o, 1))}
	o.FS = w
	return o, w
}

// A gateway that is started, tried and stopped writes no zeros; one that is used has them before it needs them.
func TestTheNextSegmentIsFilledOnceThisOneIsInUse(t *testing.T) {
	o, w := watching(t)
	l := open(t, o)
	awaitSpares(t, l)
	appendUpTo(t, l, o.SegmentBytes/8)
	time.Sleep(50 * time.Millisecond)
	if n := w.written.Load(); n != 0 {
		t.Fatal(n, "bytes were written to a segment that may never be used")
	}
	appendUpTo(t, l, o.SegmentBytes/4)
	await(t, "the filling", func() bool { return w.written.Load() == o.SegmentBytes })
	appendUpTo(t, l, o.SegmentBytes*3/4)
	fillTo(t, l, 2)
	shut(t, l)
	mustVerify(t, o)
	l = open(t, o)
	fillTo(t, l, 3)
	shut(t, l)
	mustVerify(t, o)
}

// Records never go where zeros are still on their way to.
func TestASegmentThatIsBeingFilledIsNotTaken(t *testing.T) {
	o, w := watching(t)
	w.hold = make(chan struct{})
	l := open(t, o)
	awaitSpares(t, l)
	appendUpTo(t, l, o.SegmentBytes/4)
	await(t, "the filling", func() bool { return w.written.Load() > 0 })
	filled := make(chan struct{})
	go func() {
		defer close(filled)
		for l.Stats().Segment < 1 {
			if _, err := l.Append(t.Context(), record("acme", ledger.Admin)); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	select {
	case <-filled:
		t.Error("a segment was taken while zeros were written to it")
	case <-time.After(100 * time.Millisecond):
	}
	close(w.hold)
	<-filled
	fillTo(t, l, 2)
	shut(t, l)
	mustVerify(t, o)
}

// What goes wrong while zeros are written over a segment is no reason to refuse: it holds zeros before and after.
func TestAFaultWhileASegmentIsFilledLosesNothing(t *testing.T) {
	for _, op := range []string{"write", "sync"} {
		for skip := range 2 {
			for _, x := range []disktest.Fault{{}, {Persists: true}, {Short: true}} {
				fs := disktest.New()
				fs.Reserves = true
				o := options(t.TempDir())
				o.FS, o.SegmentBytes = fs, 16<<10
				l := open(t, o)
				awaitSpares(t, l)
				x.Op, x.Skip, x.Suffix, x.Err = op, skip, "001.segment", errDisk
				fs.Arm(&x)
				appendUpTo(t, l, o.SegmentBytes/4)
				if skip == 0 {
					await(t, "the fault", func() bool { return fs.Hits() > 0 })
				}
				fs.Arm(nil)
				fillTo(t, l, 2)
				shut(t, l)
				mustVerify(t, o)
			}
		}
	}
}
