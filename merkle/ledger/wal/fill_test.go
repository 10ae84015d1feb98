package wal_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
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

// heldUpFS is the real disk; what is synced to one file takes its time, and segments may find no room.
type heldUpFS struct {
	disk.OS
	name string
	slow func()
	full atomic.Bool
}

type heldUpFile struct {
	disk.File
	slow func()
}

func (s *heldUpFS) Open(name string, flag int) (disk.File, error) {
	if s.full.Load() && flag&os.O_CREATE != 0 && filepath.Ext(name) == ".segment" {
		return nil, syscall.ENOSPC
	}
	f, err := s.OS.Open(name, flag)
	if err != nil || filepath.Base(name) != s.name {
		return f, err
	}
	return heldUpFile{f, s.slow}, nil
}

func (f heldUpFile) Allocate(size int64) error {
	return f.File.(interface{ Allocate(int64) error }).Allocate(size)
}

func (f heldUpFile) Sync() error {
	f.slow()
	return f.File.Sync()
}

// While the disk stands still a filling stands still; once it goes on nobody waits as long again for the pause behind.
func TestNobodyWaitsForThePauseOfAFilling(t *testing.T) {
	for _, end := range []string{"rotate", "close"} {
		t.Run(end, func(t *testing.T) {
			o := options(t.TempDir())
			o.SegmentBytes = 2 << 20
			release, stalled := make(chan struct{}), make(chan struct{}, 1)
			var armed atomic.Bool
			o.FS = &heldUpFS{name: filepath.Base(segment(o, 1)), slow: func() {
				if armed.CompareAndSwap(true, false) {
					stalled <- struct{}{}
					<-release
				}
			}}
			l := open(t, o)
			awaitSpares(t, l)
			armed.Store(true)
			appendLarge(t, l, func() bool { return len(stalled) == 0 })
			const stall = 3 * time.Second
			time.Sleep(stall)
			close(release)
			began := time.Now()
			if end == "rotate" {
				appendLarge(t, l, func() bool { return l.Stats().Segment == 0 })
			}
			shut(t, l)
			if took := time.Since(began); took > stall*9/10 {
				t.Error("it took", took, "when the disk went on")
			}
		})
	}
}

// appendLarge appends records of 60 KiB as long as something holds.
func appendLarge(t *testing.T, l *wal.Log, more func() bool) {
	t.Helper()
	for side := make([]byte, 60<<10); more(); {
		r := record("acme", ledger.Admin)
		r.Side = side
		if _, err := l.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

// A disk that is full is looked at again and again, and what is left of it is not filled meanwhile.
func TestNothingIsFilledWhileASegmentIsMissing(t *testing.T) {
	o := options(t.TempDir())
	o.SegmentBytes = 1 << 20
	var syncs atomic.Int32
	on := &heldUpFS{name: filepath.Base(segment(o, 3)), slow: func() { syncs.Add(1) }}
	o.FS = on
	l := open(t, o)
	awaitSpares(t, l)
	before := syncs.Load()
	on.full.Store(true)
	var err error
	for side := make([]byte, 60<<10); err == nil; {
		r := record("acme", ledger.Refused)
		r.Side = side
		_, err = l.Append(t.Context(), r)
	}
	if !errors.Is(err, wal.ErrFull) || syncs.Load() != before {
		t.Fatal(err, syncs.Load()-before, "syncs of the last segment")
	}
	on.full.Store(false)
	await(t, "room", func() bool {
		_, err := l.Append(t.Context(), record("acme", ledger.Refused))
		return err == nil
	})
	shut(t, l)
	mustVerify(t, o)
}
