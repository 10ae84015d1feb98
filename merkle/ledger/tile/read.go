package tile

import (
	"fmt"
	"io/fs"
	"math/bits"

	"github.com/gatewright/gatewright/merkle"
)

// maxEntries bounds one call of Entries in bytes, after which no more bundles are added.
const maxEntries = 16 << 20

// Subtree returns the hash of the complete subtree over leaves [index<<level, (index+1)<<level): it is a merkle.Subtree.
// What is not whole inside the tree is ErrSize.
func (t *Tree) Subtree(level int, index uint64) (merkle.Hash, error) {
	return t.node(t.edge.Load(), level, index)
}

func (t *Tree) node(e *edge, level int, index uint64) (merkle.Hash, error) {
	if level < 0 || level > 63 || index >= e.size>>level {
		return merkle.Hash{}, fmt.Errorf("subtree %d of level %d: %w", index, level, ErrSize)
	}
	if row, ok := e.cut(level, index); ok {
		return fold(row), nil
	}
	j, r := level/height, level%height
	first := index << r
	full, err := t.tile(e, j, first>>height)
	if err != nil {
		return merkle.Hash{}, err
	}
	return full.Subtree(r, first&(Width-1)>>r)
}

// tile returns a full tile with its inner nodes. Its root is the one that the tile above has.
func (t *Tree) tile(e *edge, level int, index uint64) (*merkle.Tree, error) {
	p := place{level, index}
	if full := t.cache.get(p); full != nil {
		return full, nil
	}
	n := Name{level, index, Width}
	hashes, err := t.readHashes(n)
	if err != nil {
		return nil, err
	}
	want, err := t.node(e, height*(level+1), index)
	if err != nil {
		return nil, err
	}
	full := merkle.NewTree(hashes)
	if full.Root() != want {
		return nil, fmt.Errorf("%w: %s does not hash up", ErrDamaged, n.Path())
	}
	t.cache.put(p, full)
	return full, nil
}

// span hashes the leaves [from, to): a subtree that begins at from and that the right edge of a tree may cut short.
func (t *Tree) span(e *edge, from, to uint64) (h merkle.Hash, err error) {
	var parts [64]merkle.Hash
	n := 0
	for ; from < to; n++ {
		level := topBit(to - from)
		if parts[n], err = t.node(e, level, from>>level); err != nil {
			return h, err
		}
		from += 1 << level
	}
	h = parts[n-1]
	for i := n - 2; i >= 0; i-- {
		h = merkle.NodeHash(parts[i], h)
	}
	return h, nil
}

// FrontierAt returns the right edge of the tree of the first size entries.
func (t *Tree) FrontierAt(size uint64) (merkle.Frontier, error) {
	return t.frontier(t.edge.Load(), size)
}

func (t *Tree) frontier(e *edge, size uint64) (merkle.Frontier, error) {
	if size > e.size {
		return merkle.Frontier{}, fmt.Errorf("tree of %d entries: %w", size, ErrSize)
	}
	var nodes []merkle.Hash
	for from := uint64(0); from < size; {
		level := topBit(size - from)
		h, err := t.node(e, level, from>>level)
		if err != nil {
			return merkle.Frontier{}, err
		}
		nodes = append(nodes, h)
		from += 1 << level
	}
	return merkle.FrontierOf(size, nodes)
}

// RootAt returns the root of the tree of the first size entries.
func (t *Tree) RootAt(size uint64) (merkle.Hash, error) {
	f, err := t.FrontierAt(size)
	return f.Root(), err
}

// Inclusion proves the entry at index in the tree of size entries (RFC 9162, section 2.1.3.1).
func (t *Tree) Inclusion(index, size uint64) ([]merkle.Hash, error) {
	e := t.edge.Load()
	if index >= size || size > e.size {
		return nil, fmt.Errorf("inclusion of %d in %d: %w", index, size, ErrSize)
	}
	return t.siblings(e, nil, 0, index, size)
}

// Consistency proves that the first m entries are the beginning of the tree of n entries (RFC 9162, section 2.1.4.1).
// Between equal sizes, and from the empty tree, the proof is empty.
func (t *Tree) Consistency(m, n uint64) ([]merkle.Hash, error) {
	e := t.edge.Load()
	if m > n || n > e.size {
		return nil, fmt.Errorf("consistency of %d with %d: %w", m, n, ErrSize)
	}
	if m == 0 || m == n {
		return nil, nil
	}
	level := bits.TrailingZeros64(m)
	index := (m - 1) >> level
	var out []merkle.Hash
	if index != 0 {
		h, err := t.node(e, level, index)
		if err != nil {
			return nil, err
		}
		out = append(out, h)
	}
	return t.siblings(e, out, level, index, n)
}

// siblings appends what stands beside the way from a node up to the root of the tree of size entries.
func (t *Tree) siblings(e *edge, dst []merkle.Hash, level int, index, size uint64) ([]merkle.Hash, error) {
	for ; index != 0 || size > 1<<level; level, index = level+1, index>>1 {
		from := (index ^ 1) << level
		if from >= size {
			continue
		}
		h, err := t.span(e, from, min(from+1<<level, size))
		if err != nil {
			return nil, err
		}
		dst = append(dst, h)
	}
	return dst, nil
}

// bundle reads a bundle and checks its entries against their tile.
func (t *Tree) bundle(e *edge, index uint64) (raw []byte, entries [][]byte, err error) {
	n := Name{Entries, index, Width}
	if at := edgeOf(Entries, e.size); at.Index == index {
		n.Wide = at.Wide
	}
	if raw, err = t.read(n, maxBundle); err != nil {
		if t.moved(e, err) {
			return t.bundle(t.edge.Load(), index)
		}
		return nil, nil, err
	}
	if entries, err = ParseBundle(raw, n.Wide); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", n.Path(), err)
	}
	for i, entry := range entries {
		want, err := t.node(e, 0, index<<height+uint64(i)) //nolint:gosec // an index
		if err != nil {
			return nil, nil, err
		}
		if merkle.LeafHash(entry) != want {
			return nil, nil, fmt.Errorf("%w: entry %d of %s is not the one in its tile", ErrDamaged, i, n.Path())
		}
	}
	return raw, entries, nil
}

// Entries returns up to n entries from an index on, none at the end. It may return fewer before the end, at least one.
func (t *Tree) Entries(from uint64, n int) ([][]byte, error) {
	e := t.edge.Load()
	if from > e.size {
		return nil, fmt.Errorf("entries from %d: %w", from, ErrSize)
	}
	var out [][]byte
	for read := 0; from < e.size && len(out) < n && read < maxEntries; {
		raw, entries, err := t.bundle(e, from>>height)
		if err != nil {
			return nil, fmt.Errorf("entries from %d: %w", from, err)
		}
		entries = entries[from&(Width-1):]
		entries = entries[:min(len(entries), n-len(out))]
		out, from, read = append(out, entries...), from+uint64(len(entries)), read+len(raw)
	}
	return out, nil
}

// File returns the bytes of a tile or bundle by its path, as a server of tlog-tiles answers: also a partial one that a
// wider one has replaced. What the tree does not have is fs.ErrNotExist, and ErrPruned besides when it was given up. What
// does not hash up to the right edge is ErrDamaged.
func (t *Tree) File(path string) ([]byte, error) {
	n, err := ParseName(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	e := t.edge.Load()
	have := edgeOf(n.Level, e.size)
	switch {
	case n.Level >= levels || n.Index > have.Index || n.Index == have.Index && n.Wide > have.Wide:
		return nil, fmt.Errorf("%w: %s", fs.ErrNotExist, path)
	case n.Level <= 0 && n.end() <= t.min.Load():
		return nil, fmt.Errorf("%w: %s: %w", fs.ErrNotExist, path, ErrPruned)
	case n.Level == Entries:
		raw, _, err := t.bundle(e, n.Index)
		if err != nil {
			return nil, err
		}
		return cutBundle(raw, n.Wide)
	}
	row, err := t.row(e, n)
	if err != nil {
		return nil, err
	}
	return appendHashes(nil, row), nil
}
