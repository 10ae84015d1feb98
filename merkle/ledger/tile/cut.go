package tile

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// Cut gives up the entries from size on, so that the tree is what it was when it had as many; more than it has is ErrSize.
// It is durable on return, and can be done again when it was interrupted: then the tree has still some of the entries,
// from the first on. After an error the tree is to be opened again. Danger: entries that stand nowhere else are gone.
func (t *Tree) Cut(size uint64) error {
	t.write.Lock()
	defer t.write.Unlock()
	if err := t.cut(size); err != nil {
		t.failed = err
		return fmt.Errorf("cut tiles to %d: %w", size, err)
	}
	return nil
}

// cut makes the right edge of the shorter tree, where nobody reads it while the longer one stands, and then takes that
// one's edge away from below: each step leaves a tree that ends at a full tile.
func (t *Tree) cut(size uint64) error {
	e := t.edge.Load()
	if size > e.size {
		return ErrSize
	}
	if size == e.size {
		return nil
	}
	for j := levels - 1; j >= Entries; j-- {
		if err := t.makeEdge(e, edgeOf(j, size), edgeOf(j, e.size)); err != nil {
			return err
		}
	}
	for j := range levels {
		if err := t.removeEdge(edgeOf(j, e.size), edgeOf(j, size)); err != nil {
			return err
		}
		if j > 0 {
			continue
		}
		if err := t.removeEdge(edgeOf(Entries, e.size), edgeOf(Entries, size)); err != nil {
			return err
		}
	}
	t.stale, t.settled = nil, false
	t.cache.clear()
	return t.open()
}

// makeEdge writes a partial file of the shorter tree. What else lies beside it would be taken for it.
func (t *Tree) makeEdge(e *edge, n, was Name) error {
	if n.Index != was.Index {
		if err := t.removeEdge(n, n); err != nil {
			return err
		}
	}
	if n.Wide == 0 || n == was {
		return nil
	}
	var data []byte
	if n.Level == Entries {
		raw, _, err := t.bundle(e, n.Index)
		if err != nil {
			return err
		}
		if data, err = cutBundle(raw, n.Wide); err != nil {
			return err
		}
	} else {
		row, err := t.row(e, n)
		if err != nil {
			return err
		}
		data = appendHashes(nil, row)
	}
	return disk.ReplaceFile(t.on, file(t.dir, n), data)
}

// removeEdge removes the partial files beside a place, narrow ones first: the widest is the one that counts. That of the
// shorter tree stays.
func (t *Tree) removeEdge(was, keep Name) error {
	all, err := widths(t.on, t.dir, was.Level, was.Index)
	if err != nil {
		return err
	}
	gone := false
	for _, wide := range all {
		if n := (Name{was.Level, was.Index, wide}); n != keep {
			gone = true
			if err := removeFile(t.on, file(t.dir, n)); err != nil {
				return err
			}
		}
	}
	if !gone {
		return nil
	}
	return t.on.SyncDir(filepath.Dir(file(t.dir, Name{was.Level, was.Index, 1})))
}

// row returns the hashes of a tile that is inside the tree, checked.
func (t *Tree) row(e *edge, n Name) ([]merkle.Hash, error) {
	row := make([]merkle.Hash, n.Wide)
	for i := range row {
		var err error
		if row[i], err = t.node(e, height*n.Level, n.Index<<height+uint64(i)); err != nil { //nolint:gosec // an index
			return nil, err
		}
	}
	return row, nil
}

// moved reports whether a file is missing only because the tree grew over it since e was its edge.
func (t *Tree) moved(e *edge, err error) bool {
	return errors.Is(err, ErrDamaged) && t.edge.Load() != e
}
