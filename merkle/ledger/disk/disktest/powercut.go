package disktest

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// powerCut remembers how to take back what was not synced. Stopper.mu guards it.
type powerCut struct {
	nodes map[string]*node // by path
	log   []unsynced       // in the order of the operations
}

// node is a file, whatever its name is just now.
type node struct{ path string }

// unsynced is one operation that a power cut takes back.
type unsynced struct {
	bytes *node  // whose sync makes it durable, nil for a name
	dir   string // whose sync makes the name durable
	undo  func() error
}

func (c *powerCut) node(path string) *node {
	n := c.nodes[path]
	if n == nil {
		n = &node{path}
		c.nodes[path] = n
	}
	return n
}

// undo takes everything back, the last first.
func (c *powerCut) undo() error {
	var errs []error
	for _, u := range slices.Backward(c.log) {
		errs = append(errs, u.undo())
	}
	c.log = nil
	return errors.Join(errs...)
}

// made notes a new name. A file that was there before stays.
func (c *powerCut) made(path string) {
	n := c.node(path)
	c.log = append(c.log, unsynced{dir: filepath.Dir(path), undo: func() error { return os.Remove(n.path) }})
}

// writes notes the bytes that a write will replace.
func (c *powerCut) writes(f disk.File, n *node, off int64, length int) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	old := make([]byte, max(0, min(int64(length), size-off)))
	if _, err := f.ReadAt(old, off); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	c.log = append(c.log, unsynced{bytes: n, undo: func() error { return putBack(n.path, old, off, size) }})
	return nil
}

func putBack(path string, old []byte, off, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // its removal is durable
	}
	if err != nil {
		return err
	}
	_, err = f.WriteAt(old, off)
	return errors.Join(err, f.Truncate(size), f.Close())
}

// replaces notes a rename, and the file that it replaces.
func (c *powerCut) replaces(from, to string) error {
	old, err := os.ReadFile(to)
	there := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	n := c.node(from)
	delete(c.nodes, from)
	n.path, c.nodes[to] = to, n
	c.log = append(c.log, unsynced{dir: filepath.Dir(to), undo: func() error {
		err := os.Rename(to, from)
		n.path = from
		if there {
			err = errors.Join(err, os.WriteFile(to, old, 0o600))
		}
		return err
	}})
	return nil
}

// removes notes a file that goes.
func (c *powerCut) removes(path string) error {
	old, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the operation says so itself
	}
	if err != nil {
		return err
	}
	delete(c.nodes, path)
	c.log = append(c.log, unsynced{dir: filepath.Dir(path), undo: func() error { return os.WriteFile(path, old, 0o600) }})
	return nil
}

func (c *powerCut) syncedBytes(n *node) {
	c.log = slices.DeleteFunc(c.log, func(u unsynced) bool { return u.bytes == n })
}

func (c *powerCut) syncedNames(dir string) {
	c.log = slices.DeleteFunc(c.log, func(u unsynced) bool { return u.bytes == nil && u.dir == dir })
}
