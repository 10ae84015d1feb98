// Package disktest puts faults behind the ledger's file system, one at a time and at a chosen place.
package disktest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"unsafe"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// Fault is a failing operation: on files whose path ends so, from the n-th time on, once or always.
type Fault struct {
	Op       string // write, sync, open (that makes a file), rename, remove, syncdir
	Suffix   string // of the path; empty: any
	Skip     int    // operations that still succeed
	Persists bool   // the operation happens and then reports a failure
	Short    bool   // half of a write happens
	Err      error
	Always   bool
}

// FS is the real disk with at most one fault. It counts the operations a fault could have hit.
type FS struct {
	disk.FS
	mu    sync.Mutex // guards all below
	fault *Fault
	hits  int
	seen  map[string]int
	stall chan struct{} // when set, a sync waits for it

	// Reserves has files reserve their room as the real disk can; else it is written, one more way to fail.
	Reserves bool
}

// New returns the operating system's disk without a fault.
func New() *FS { return &FS{FS: disk.OS{}, seen: map[string]int{}} }

// Arm sets the fault, nil for none.
func (f *FS) Arm(x *Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault, f.hits = x, 0
}

// Stall lets every sync wait until the channel is closed, nil for not.
func (f *FS) Stall(until chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stall = until
}

// Hits tells how often the fault was met.
func (f *FS) Hits() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits
}

// Seen tells how many operations of a kind there were since New, failed or not.
func (f *FS) Seen(op string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[op]
}

func (f *FS) hit(op, name string) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen[op]++
	x := f.fault
	if x == nil || x.Op != op || !strings.HasSuffix(name, x.Suffix) {
		return nil
	}
	if x.Skip > 0 {
		x.Skip--
		return nil
	}
	if f.hits++; f.hits > 1 && !x.Always {
		return nil
	}
	return x
}

func (f *FS) do(op, name string, fn func() error) error {
	if x := f.hit(op, name); x != nil {
		if x.Persists {
			_ = fn() // and reports a failure all the same
		}
		return x.Err
	}
	return fn()
}

// Open implements disk.FS.
func (f *FS) Open(name string, flag int) (disk.File, error) {
	if flag&os.O_CREATE != 0 {
		if x := f.hit("open", name); x != nil {
			return nil, x.Err
		}
	}
	under, err := f.FS.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return &file{File: under, fs: f, name: name}, nil
}

// Rename implements disk.FS.
func (f *FS) Rename(from, to string) error {
	return f.do("rename", to, func() error { return f.FS.Rename(from, to) })
}

// Remove implements disk.FS.
func (f *FS) Remove(name string) error {
	return f.do("remove", name, func() error { return f.FS.Remove(name) })
}

// SyncDir implements disk.FS.
func (f *FS) SyncDir(dir string) error {
	return f.do("syncdir", dir, func() error { return f.FS.SyncDir(dir) })
}

type file struct {
	disk.File
	blocks
	fs   *FS
	name string
}

func (f *file) ReadAt(b []byte, off int64) (int, error) {
	if err := f.check(b, off); err != nil {
		return 0, err
	}
	return f.File.ReadAt(b, off)
}

// Allocate reserves room where the real disk can.
func (f *file) Allocate(size int64) error {
	if a, ok := f.File.(interface{ Allocate(size int64) error }); ok && f.fs.Reserves {
		return a.Allocate(size)
	}
	return errors.ErrUnsupported
}

func (f *file) WriteAt(b []byte, off int64) (int, error) {
	if err := f.check(b, off); err != nil {
		return 0, err
	}
	x := f.fs.hit("write", f.name)
	switch {
	case x == nil:
		return f.File.WriteAt(b, off)
	case x.Persists:
		_, _ = f.File.WriteAt(b, off)
	case x.Short:
		_, _ = f.File.WriteAt(b[:len(b)/2], off)
	}
	return 0, x.Err
}

// blocks is a file that wants whole blocks once it is written past the cache, small ones, so that a short test meets many.
type blocks struct{ direct bool }

const block = 512

// Alignment implements disk.Director.
func (*blocks) Alignment() int { return block }

// Direct implements disk.Director.
func (b *blocks) Direct(on bool) error {
	b.direct = on
	return nil
}

func (b *blocks) check(p []byte, off int64) error {
	if b.direct && (off%block != 0 || len(p)%block != 0 || uintptr(unsafe.Pointer(unsafe.SliceData(p)))%block != 0) {
		return fmt.Errorf("%d bytes at %d are not whole blocks, or not in aligned memory", len(p), off)
	}
	return nil
}

func (f *file) Sync() error {
	f.fs.mu.Lock()
	stall := f.fs.stall
	f.fs.mu.Unlock()
	if stall != nil {
		<-stall
	}
	return f.fs.do("sync", f.name, f.File.Sync)
}
