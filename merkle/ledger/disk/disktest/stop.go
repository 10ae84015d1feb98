package disktest

import (
	"errors"
	"os"
	"sync"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// ErrStopped is what every operation says after the stop.
var ErrStopped = errors.New("the process was killed")

// How says what becomes of the operation at which a Stopper stops.
type How int

// The ways to stop.
const (
	Before How = iota // it does not happen
	Half              // half of a write happens; anything else does not
	After             // it happens, and nobody learns of it
	// PowerCut is Before, and with it everything goes that was not synced: bytes since their file's last sync, names
	// since their folder's. It is the worst that a disk may do which keeps its word.
	PowerCut
)

// Stopper is the real disk up to its k-th operation that changes something. From then on nothing happens any more, as for
// a process that is killed there: what was written stays. Tests sweep over every k until a run is not stopped any more.
type Stopper struct {
	disk.FS
	how How

	mu   sync.Mutex // guards all below
	left int
	done bool
	at   string // the operation, for messages
	cut  powerCut
}

// StopAt returns a disk that stops at operation k, counted from 0.
func StopAt(k int, how How) *Stopper {
	return &Stopper{FS: disk.OS{}, how: how, left: k, cut: powerCut{nodes: map[string]*node{}}}
}

// Stopped tells at which operation the disk stopped, "" when it did not.
func (s *Stopper) Stopped() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

// Restart ends the life of the process that used the disk, stopped or not. After a power cut what was not synced is gone.
// It must be called before the files are looked at, and when nobody uses the disk any more.
func (s *Stopper) Restart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	stopped := s.done
	s.done = true
	if s.how != PowerCut || !stopped {
		return nil
	}
	return s.cut.undo()
}

// act is an operation: what it does, half of it, and what a power cut has to know of it before and after.
type act struct {
	what          string
	do, half      func() error
	before, after func() error
}

// change does an operation, or stops at it.
func (s *Stopper) change(a act) error {
	s.mu.Lock()
	defer s.mu.Unlock() // one after another: after the stop none may still be under way
	if s.done {
		return ErrStopped
	}
	if s.left--; s.left < 0 {
		s.done, s.at = true, a.what
		switch {
		case s.how == After:
			_ = a.do() // nobody learns of it
		case s.how == Half && a.half != nil:
			_ = a.half() // nobody learns of it
		}
		return ErrStopped
	}
	if s.how != PowerCut {
		return a.do()
	}
	if a.before != nil {
		if err := a.before(); err != nil {
			return err
		}
	}
	if err := a.do(); err != nil || a.after == nil {
		return err
	}
	return a.after()
}

func (s *Stopper) stopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done
}

// Open implements disk.FS. Making a file is an operation, opening one is not.
func (s *Stopper) Open(name string, flag int) (disk.File, error) {
	var under disk.File
	open := func() (err error) {
		under, err = s.FS.Open(name, flag)
		return err
	}
	if flag&os.O_CREATE == 0 {
		if s.stopped() {
			return nil, ErrStopped
		}
		if err := open(); err != nil {
			return nil, err
		}
		return &stopFile{File: under, s: s, name: name, node: s.node(name)}, nil
	}
	made := func() error { s.cut.made(name); return nil }
	if err := s.change(act{what: "create " + name, do: open, after: made}); err != nil {
		if under != nil {
			_ = under.Close() // nobody will
		}
		return nil, err
	}
	return &stopFile{File: under, s: s, name: name, node: s.node(name)}, nil
}

func (s *Stopper) node(name string) *node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut.node(name)
}

// Rename implements disk.FS.
func (s *Stopper) Rename(from, to string) error {
	return s.change(act{
		what: "rename " + to, do: func() error { return s.FS.Rename(from, to) },
		before: func() error { return s.cut.replaces(from, to) },
	})
}

// Remove implements disk.FS.
func (s *Stopper) Remove(name string) error {
	return s.change(act{
		what: "remove " + name, do: func() error { return s.FS.Remove(name) },
		before: func() error { return s.cut.removes(name) },
	})
}

// SyncDir implements disk.FS.
func (s *Stopper) SyncDir(dir string) error {
	return s.change(act{
		what: "sync of " + dir, do: func() error { return s.FS.SyncDir(dir) },
		after: func() error { s.cut.syncedNames(dir); return nil },
	})
}

type stopFile struct {
	disk.File
	blocks
	s    *Stopper
	name string
	node *node
}

func (f *stopFile) ReadAt(b []byte, off int64) (int, error) {
	if f.s.stopped() {
		return 0, ErrStopped
	}
	if err := f.check(b, off); err != nil {
		return 0, err
	}
	return f.File.ReadAt(b, off)
}

func (f *stopFile) WriteAt(b []byte, off int64) (n int, err error) {
	if err := f.check(b, off); err != nil {
		return 0, err
	}
	err = f.s.change(act{
		what: "write to " + f.name,
		do: func() (err error) {
			n, err = f.File.WriteAt(b, off)
			return err
		},
		half: func() error {
			_, err := f.File.WriteAt(b[:len(b)/2], off)
			return err
		},
		before: func() error { return f.s.cut.writes(f.File, f.node, off, len(b)) },
	})
	return n, err
}

func (f *stopFile) Sync() error {
	return f.s.change(act{
		what: "sync of " + f.name, do: f.File.Sync,
		after: func() error { f.s.cut.syncedBytes(f.node); return nil },
	})
}
