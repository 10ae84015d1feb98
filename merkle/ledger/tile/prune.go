package tile

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// Prune gives up the entries below least, which must not be behind the end: the bundles and the tiles of leaf hashes
// that end at or below it are removed, the last one excepted. The tiles above stay, so the tree stays what it is, and
// everything about entries and sizes from least on can still be proved (C2SP tlog-tiles, pruning). The new minimum is
// durable before anything is removed, and it never goes back.
func (t *Tree) Prune(least uint64) error {
	t.write.Lock()
	defer t.write.Unlock()
	size := t.edge.Load().size
	if least > size {
		return fmt.Errorf("prune tiles below %d of %d: %w", least, size, ErrSize)
	}
	if least > t.min.Load() {
		if err := disk.ReplaceFile(t.on, minimumName(t.dir), minimumText(least)); err != nil {
			return fmt.Errorf("prune tiles: %w", err)
		}
		t.min.Store(least)
	}
	below := t.kept()
	for _, kind := range []string{"entries", "0"} {
		if _, err := t.pruneDir(filepath.Join(t.dir, "tile", kind), 0, below); err != nil {
			return fmt.Errorf("prune tiles: %w", err)
		}
	}
	return nil
}

// kept is the index of the first bundle that is not given up.
func (t *Tree) kept() uint64 {
	size := t.edge.Load().size
	return min(t.min.Load()>>height, (max(size, 1)-1)>>height)
}

// pruneDir removes what is below an index from a folder of a level, and tells whether it is empty now. It looks at what
// is there and so takes up where an interrupted one ended.
func (t *Tree) pruneDir(dir string, above, below uint64) (empty bool, err error) {
	names, err := t.on.List(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	left := len(names)
	slices.Sort(names)
	for _, name := range names {
		gone, err := t.pruneName(dir, name, above, below)
		if err != nil {
			return false, err
		}
		if gone {
			left--
		}
	}
	return left == 0, nil
}

func (t *Tree) pruneName(dir, name string, above, below uint64) (gone bool, err error) {
	path := filepath.Join(dir, name)
	digits, deeper := strings.CutPrefix(name, "x")
	digits = strings.TrimSuffix(digits, ".p")
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || len(digits) != 3 {
		return false, nil //nolint:nilerr // not ours
	}
	index := above*1000 + n
	switch {
	case deeper:
		if index*1000 >= below {
			return false, nil
		}
		empty, err := t.pruneDir(path, index, below)
		if err != nil || !empty {
			return false, err
		}
		return true, t.on.Remove(path)
	case index >= below:
		return false, nil
	}
	return true, clearDir(t.on, path)
}
