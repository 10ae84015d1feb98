// Package tile keeps a transparency log in a folder as C2SP tlog-tiles: tiles of 256 hashes, bundles of 256 entries, and
// partial ones at the right edge, as any client of that format reads them.
//
// # What is durable, and when
//
// Append writes in commits. A commit crosses no boundary of a tile: it ends inside one bundle, or takes whole bundles of
// one tile above. So it changes full tiles and bundles, which are never written again with another content, and exactly
// one partial tile, of the lowest level whose right edge is not full. That one is written last, when all else is
// durable, and is the commit: a tree is as large as its partial tiles say, read from the top down, and what a crash left
// beside them is not part of it.
//
// Nothing read is believed that does not hash up to the right edge, which is kept in memory; and whether that edge is the
// right one, the caller sees by the root.
package tile

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/bits"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// Errors that callers branch on.
var (
	// ErrDamaged is a file that is missing, or that is not what the rest of the tree says it is.
	ErrDamaged = errors.New("tiles are damaged")
	// ErrSize asks for what is outside the tree.
	ErrSize = errors.New("outside the tree")
	// ErrPruned asks for what was given up on purpose.
	ErrPruned = errors.New("entries were pruned")
	// ErrFailed is a tree whose last Append failed: what is on the disk is known only after Open.
	ErrFailed = errors.New("an append failed: open the tree again")
)

// Tree is a log in a folder. It is safe for concurrent use by one writer and many readers. It holds no file open, and at
// most about 16 KiB of hashes and as much again for each of a few cached tiles.
type Tree struct {
	on  disk.FS
	dir string

	write   sync.Mutex // held by Append, Trim and Prune; guards what follows
	failed  error
	settled bool
	stale   []Name // partial files that a wider one replaced
	sum     uint32 // CRC-32C of the partial bundle

	edge  atomic.Pointer[edge]
	min   atomic.Uint64
	cache cache
}

// edge is a tree's right edge. It is never changed: a commit makes another one, which may share memory.
type edge struct {
	size uint64
	// levels[j] are the hashes of the partial tile of level j.
	levels [levels][]merkle.Hash
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Open reads a tree's size and right edge from its folder; a missing one is an empty tree. ErrDamaged says that they do
// not fit each other. It reads a few files, whatever the size.
func Open(on disk.FS, dir string) (*Tree, error) {
	t := &Tree{on: on, dir: dir}
	if err := t.open(); err != nil {
		return nil, fmt.Errorf("open tiles: %w", err)
	}
	return t, nil
}

func (t *Tree) open() error {
	least, err := readMinimum(t.on, t.dir)
	if err != nil {
		return err
	}
	t.min.Store(least)
	e, err := t.readEdge()
	if err != nil {
		return err
	}
	t.edge.Store(e)
	if err := t.checkEdge(e); err != nil {
		return err
	}
	return t.findStale(e.size)
}

// readEdge finds the size from the top level down, and reads the partial tiles.
func (t *Tree) readEdge() (*edge, error) {
	top, err := t.topLevel()
	if err != nil {
		return nil, err
	}
	e := &edge{}
	count := uint64(0) // of hashes at the level
	for j := top; j >= 0; j-- {
		if count > 1<<(64-height)-1 {
			return nil, fmt.Errorf("%w: %d tiles at level %d", ErrDamaged, count, j)
		}
		all, err := widths(t.on, t.dir, j, count)
		if err != nil {
			return nil, err
		}
		wide := 0
		if len(all) > 0 {
			wide = all[len(all)-1]
			if e.levels[j], err = t.readHashes(Name{j, count, wide}); err != nil {
				return nil, err
			}
		}
		count = count<<height + uint64(wide) //nolint:gosec // below 256
	}
	e.size = count
	return e, nil
}

// topLevel is the highest level that has a partial tile at its beginning; -1 in an empty tree.
func (t *Tree) topLevel() (int, error) {
	for j := levels - 1; j >= 0; j-- {
		all, err := widths(t.on, t.dir, j, 0)
		if err != nil {
			return 0, err
		}
		if len(all) > 0 {
			return j, nil
		}
	}
	return -1, nil
}

func (t *Tree) readHashes(n Name) ([]merkle.Hash, error) {
	b, err := t.read(n, Width*merkle.HashSize)
	if err != nil {
		return nil, err
	}
	hashes, err := parseHashes(b, n.Wide)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", n.Path(), err)
	}
	return hashes, nil
}

// read reads a file that must be there.
func (t *Tree) read(n Name, limit int64) ([]byte, error) { return t.readTo(nil, n, limit) }

func (t *Tree) readTo(buf []byte, n Name, limit int64) ([]byte, error) {
	b, err := disk.ReadSmallTo(buf, t.on, file(t.dir, n), limit)
	if errors.Is(err, fs.ErrNotExist) {
		if n.Level <= 0 && n.end() <= t.min.Load() {
			return nil, fmt.Errorf("%s: %w", n.Path(), ErrPruned)
		}
		return nil, fmt.Errorf("%w: %s is missing", ErrDamaged, n.Path())
	}
	if errors.Is(err, disk.ErrLarge) {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return b, err
}

// checkEdge checks that the partial tiles fit what they stand on: the last tile below each, and the last bundle.
func (t *Tree) checkEdge(e *edge) error {
	for j := 1; j < levels; j++ {
		if len(e.levels[j]) == 0 {
			continue
		}
		last := e.size>>(height*j) - 1
		if _, err := t.tile(e, j-1, last); err != nil && !errors.Is(err, ErrPruned) {
			return err
		}
	}
	if e.size == 0 {
		return nil
	}
	raw, _, err := t.bundle(e, (e.size-1)>>height)
	if errors.Is(err, ErrPruned) {
		return nil
	}
	t.sum = crc32.Checksum(raw, castagnoli)
	return err
}

// Settle makes the names of the edge's files durable, once after Open: an append that failed before may have left them
// open. Append does it too. It is to be called before what the tree has is relied on, as by signing its root.
func (t *Tree) Settle() error {
	t.write.Lock()
	defer t.write.Unlock()
	return t.settle()
}

func (t *Tree) settle() error {
	if t.settled {
		return nil
	}
	size := t.edge.Load().size
	done := map[string]bool{}
	for j := Entries; j < levels; j++ {
		n := edgeOf(j, size)
		if n.Wide == 0 {
			continue
		}
		for d := filepath.Dir(file(t.dir, n)); len(d) >= len(t.dir) && !done[d]; d = filepath.Dir(d) {
			done[d] = true
			if err := t.on.SyncDir(d); err != nil {
				return fmt.Errorf("settle tiles: %w", err)
			}
		}
	}
	t.settled = true
	return nil
}

// findStale notes partial files that lie beside the right edge or just before it.
func (t *Tree) findStale(size uint64) error {
	for j := Entries; j < levels; j++ {
		at := edgeOf(j, size)
		for index := at.Index - min(at.Index, 1); index <= at.Index; index++ {
			all, err := widths(t.on, t.dir, j, index)
			if err != nil {
				return err
			}
			for _, w := range all {
				if n := (Name{j, index, w}); n != at {
					t.stale = append(t.stale, n)
				}
			}
		}
	}
	return nil
}

// Size returns the number of entries that are durable.
func (t *Tree) Size() uint64 { return t.edge.Load().size }

// Failed reports whether an append failed, so that the tree takes no more entries and must be opened again.
func (t *Tree) Failed() bool {
	t.write.Lock()
	defer t.write.Unlock()
	return t.failed != nil
}

// Minimum returns the index below which entries may be gone.
func (t *Tree) Minimum() uint64 { return t.min.Load() }

// Root returns the root of the whole tree.
func (t *Tree) Root() merkle.Hash {
	f, err := t.frontier(t.edge.Load(), t.Size())
	if err != nil {
		return merkle.Hash{} // not reached: the right edge is in memory
	}
	return f.Root()
}

// cut returns the first hashes of a subtree's row that lie at the right edge.
func (e *edge) cut(level int, index uint64) ([]merkle.Hash, bool) {
	j, r := level/height, level%height
	first := index << r
	if n := e.size >> (height * j) >> height; first>>height < n {
		return nil, false
	}
	i := first & (Width - 1)
	return e.levels[j][i : i+1<<r], true
}

// fold hashes a row of 2^k nodes to the one above them all.
func fold(row []merkle.Hash) merkle.Hash {
	if len(row) == 1 {
		return row[0]
	}
	half := len(row) / 2
	return merkle.NodeHash(fold(row[:half]), fold(row[half:]))
}

// Clear removes all tiles and bundles of a folder, and its minimum: they are to be made again. Danger: of a log whose
// entries stand nowhere else, it removes the entries.
func Clear(on disk.FS, dir string) error {
	err := clearDir(on, filepath.Join(dir, "tile"))
	if err == nil {
		err = removeFile(on, minimumName(dir))
	}
	if err != nil {
		return fmt.Errorf("clear tiles: %w", err)
	}
	return nil
}

// clearDir removes a folder and all in it, or a file. An empty folder may stay.
func clearDir(on disk.FS, dir string) error {
	names, err := on.List(dir)
	if err != nil && len(names) == 0 { // a file, or one that cannot be read either
		return removeFile(on, dir)
	}
	for _, name := range names {
		if err := clearDir(on, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	_ = on.Remove(dir) // says nothing to a folder's readers
	return nil
}

func removeFile(on disk.FS, name string) error {
	if err := on.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// cache keeps some full tiles with all their inner nodes.
type cache struct {
	mu    sync.Mutex // guards tiles
	tiles map[place]*merkle.Tree
}

type place struct {
	level int
	index uint64
}

func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tiles = nil
}

// maxCached bounds the cached tiles of a tree, of 16 KiB each: the path of a proof in a tree of any size, twice.
const maxCached = 2 * levels

func (c *cache) get(p place) *merkle.Tree {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tiles[p]
}

func (c *cache) put(p place, t *merkle.Tree) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tiles == nil {
		c.tiles = map[place]*merkle.Tree{}
	}
	for old := range c.tiles {
		if len(c.tiles) < maxCached {
			break
		}
		delete(c.tiles, old)
	}
	c.tiles[p] = t
}

// topBit is the level of the largest complete subtree of n leaves.
func topBit(n uint64) int { return bits.Len64(n) - 1 }

// minimumName is where a tree's minimum index lies, as decimal digits and a line end.
func minimumName(dir string) string { return filepath.Join(dir, "minimum") }

func readMinimum(on disk.FS, dir string) (uint64, error) {
	b, err := disk.ReadSmall(on, minimumName(dir), 32)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if errors.Is(err, disk.ErrLarge) {
		return 0, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(string(b[:max(len(b), 1)-1]), 10, 63)
	if err != nil || !slices.Equal(b, minimumText(n)) {
		return 0, fmt.Errorf("%w: minimum index %.32q", ErrDamaged, b)
	}
	return n, nil
}

func minimumText(n uint64) []byte { return append(strconv.AppendUint(nil, n, 10), '\n') }
