package tile

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/gatewright/gatewright/merkle"
)

// Checker holds a tree's files against the entries as they stand elsewhere, byte for byte. It is fed the entries in
// order and keeps a few hashes of them: one for each tree that is checked is not too many. It compares full files beside its
// caller, who must Close it in any case.
type Checker struct {
	t     *Tree
	e     *edge
	next  uint64
	sizes []uint64 // trees whose partial files must be there, besides the whole one
	row   *row     // of the bundle so far

	// What follows is the comparison's while one is under way.
	busy   chan error            // gets what it finds; nil when none is under way
	err    error                 // what the last one found
	levels [levels][]merkle.Hash // above the row
}

// row is what is kept of the entries of a bundle.
type row struct {
	leaves []merkle.Hash
	sums   []uint64 // of their bytes, under the seed
}

// workers bounds the comparisons under way, each of which has a file open, whatever the number of trees.
const workers = 8

// keptBuffer is the largest buffer that is kept, in bytes: room for a bundle of ordinary entries.
const keptBuffer = 1 << 20

var (
	working = make(chan struct{}, workers)
	rows    = sync.Pool{New: func() any { return new(row) }}
	buffers = sync.Pool{New: func() any { return new([]byte) }}
)

// seed is one that nobody can foresee: two entries have one sum by chance alone.
var seed = maphash.MakeSeed()

// Checker begins at an entry: 0, or the first of the tree's bundle that Begin names. Sizes are those of published
// checkpoints, whose partial files must be there too.
func (t *Tree) Checker(from uint64, sizes ...uint64) (*Checker, error) {
	c := &Checker{t: t, e: t.edge.Load(), next: from, sizes: sizes, row: &row{}}
	if from&(Width-1) != 0 || from > c.e.size {
		return nil, fmt.Errorf("check tiles from %d: %w", from, ErrSize)
	}
	for j := 1; j < levels; j++ {
		if err := c.above(j); err != nil {
			return nil, fmt.Errorf("check tiles: %w", err)
		}
	}
	return c, nil
}

// above reads what stands at a level before the first entry, and checks that it hashes up.
func (c *Checker) above(j int) error {
	n := c.next >> (height * j)
	for index := range n >> height {
		if _, err := c.t.tile(c.e, j, index); err != nil {
			return err
		}
	}
	for i := n &^ (Width - 1); i < n; i++ {
		h, err := c.t.node(c.e, height*j, i)
		if err != nil {
			return err
		}
		c.levels[j] = append(c.levels[j], h)
	}
	return nil
}

// Begin is the first entry that a Checker can begin with, when those before least are not there.
func (t *Tree) Begin(least uint64) uint64 {
	e := t.edge.Load()
	return min((max(least, t.kept()<<height)+Width-1)&^(Width-1), e.size&^(Width-1))
}

// Next is the index of the entry that is expected.
func (c *Checker) Next() uint64 { return c.next }

// Add takes the next entry and its leaf hash, and, from who has it, what the leaf hashes of the tile that it fills come to;
// nil has the checker compute that. Entries behind the end of the tree are passed over.
func (c *Checker) Add(entry []byte, leaf merkle.Hash, tile *merkle.Hash) error {
	if c.next >= c.e.size {
		return nil
	}
	c.row.leaves, c.row.sums = append(c.row.leaves, leaf), append(c.row.sums, maphash.Bytes(seed, entry))
	c.next++
	if len(c.row.leaves) == Width {
		if err := c.settle(); err != nil {
			return err
		}
		c.full(tile)
	}
	return c.partial()
}

// full begins to compare a bundle and the tiles that became full with it.
func (c *Checker) full(tile *merkle.Hash) {
	full, index, busy := c.row, c.next>>height-1, make(chan error, 1)
	c.row, c.busy = rows.Get().(*row), busy
	root, known := merkle.Hash{}, tile != nil
	if known {
		root = *tile
	}
	working <- struct{}{}
	go func() {
		if !known {
			root = fold(full.leaves)
		}
		busy <- c.compareFull(full, index, root)
		full.leaves, full.sums = full.leaves[:0], full.sums[:0]
		rows.Put(full)
		<-working
	}()
}

// settle waits for the comparison under way, and says what the last one found.
func (c *Checker) settle() error {
	if c.busy != nil {
		if err := <-c.busy; err != nil {
			c.err = fmt.Errorf("check tiles: %w", err)
		}
		c.busy = nil
	}
	return c.err
}

// compareFull compares a bundle and its tile, whose root is given, and the tiles above that became full with it.
func (c *Checker) compareFull(full *row, index uint64, root merkle.Hash) error {
	if err := c.compareBundle(Name{Entries, index, Width}, full.sums); err != nil {
		return err
	}
	if err := c.compare(Name{0, index, Width}, full.leaves); err != nil {
		return err
	}
	c.levels[1] = append(c.levels[1], root)
	for j := 1; len(c.levels[j]) == Width; j++ {
		index >>= height
		if err := c.compare(Name{j, index, Width}, c.levels[j]); err != nil {
			return err
		}
		c.levels[j+1] = append(c.levels[j+1], fold(c.levels[j]))
		c.levels[j] = c.levels[j][:0]
	}
	return nil
}

// partial compares the partial files of the trees that end here.
func (c *Checker) partial() error {
	ends := c.next == c.e.size
	for _, size := range c.sizes {
		ends = ends || size == c.next
	}
	if !ends {
		return nil
	}
	if err := c.settle(); err != nil {
		return err
	}
	if err := c.comparePartial(); err != nil {
		return fmt.Errorf("check tiles: %w", err)
	}
	return nil
}

func (c *Checker) comparePartial() error {
	if n := edgeOf(Entries, c.next); n.Wide > 0 {
		if err := c.compareBundle(n, c.row.sums); err != nil {
			return err
		}
	}
	for j := range levels {
		hashes := c.levels[j]
		if j == 0 {
			hashes = c.row.leaves
		}
		if n := edgeOf(j, c.next); n.Wide > 0 {
			if err := c.compare(n, hashes); err != nil {
				return err
			}
		}
	}
	return nil
}

// read reads a file into a buffer. A partial one may have been replaced by a wider one, also since the checker began: then
// it is in that.
func (c *Checker) read(buf *[]byte, n Name, limit int64, cut func(b []byte) ([]byte, error)) ([]byte, error) {
	b, err := c.t.readTo(*buf, n, limit)
	if err == nil && len(b) <= keptBuffer {
		*buf = b
	}
	if n.Wide == Width || !errors.Is(err, ErrDamaged) {
		return b, err
	}
	all, listed := widths(c.t.on, c.t.dir, n.Level, n.Index)
	if listed != nil {
		return nil, listed
	}
	wide := Width
	if len(all) > 0 && all[len(all)-1] > n.Wide {
		wide = all[len(all)-1]
	}
	wider, missing := c.t.read(Name{n.Level, n.Index, wide}, limit)
	if missing != nil {
		return nil, err
	}
	return cut(wider)
}

// compareBundle compares the entries of a bundle by their sums: their lengths, which stand before them, are then the same.
func (c *Checker) compareBundle(n Name, sums []uint64) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	b, err := c.read(buf, n, maxBundle, func(b []byte) ([]byte, error) { return cutBundle(b, n.Wide) })
	if err != nil {
		return err
	}
	entries, err := ParseBundle(b, n.Wide)
	if err != nil {
		return fmt.Errorf("%s: %w", n.Path(), err)
	}
	for i, entry := range entries {
		if maphash.Bytes(seed, entry) != sums[i] {
			return fmt.Errorf("%w: %s does not hold the entries", ErrDamaged, n.Path())
		}
	}
	return nil
}

func (c *Checker) compare(n Name, hashes []merkle.Hash) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	b, err := c.read(buf, n, Width*merkle.HashSize, func(b []byte) ([]byte, error) { return b[:min(len(b), n.Wide*merkle.HashSize)], nil })
	if err != nil {
		return err
	}
	same := len(b) == len(hashes)*merkle.HashSize
	for i := 0; same && i < len(hashes); i++ {
		same = hashes[i] == merkle.Hash(b[i*merkle.HashSize:])
	}
	if !same {
		return fmt.Errorf("%w: %s does not hold the hashes", ErrDamaged, n.Path())
	}
	return nil
}

// Close ends the comparison, and says whether all entries of the tree were compared.
func (c *Checker) Close() error {
	if err := c.settle(); err != nil {
		return err
	}
	if c.next < c.e.size {
		return fmt.Errorf("check tiles: %w: the tree has %d entries, and %d were there to compare", ErrDamaged, c.e.size, c.next)
	}
	return nil
}

// Verify computes every tile again from the tree's own entries and compares every byte. Sizes are as in Checker. Progress,
// when set, is told how many entries were read.
func (t *Tree) Verify(ctx context.Context, progress func(entries uint64), sizes ...uint64) error {
	c, err := t.Checker(t.Begin(0), sizes...)
	if err != nil {
		return err
	}
	defer func() { _ = c.settle() }() // else it goes on after an error
	for c.next < c.e.size {
		if ctx.Err() != nil {
			return fmt.Errorf("check tiles: %w", context.Cause(ctx))
		}
		if err := t.verifyBundle(c); err != nil {
			return err
		}
		if progress != nil {
			progress(c.next)
		}
	}
	return c.Close()
}

func (t *Tree) verifyBundle(c *Checker) error {
	n := Name{Entries, c.next >> height, Width}
	if at := edgeOf(Entries, c.e.size); at.Index == n.Index {
		n.Wide = at.Wide
	}
	b, err := t.read(n, maxBundle)
	if err != nil {
		return fmt.Errorf("check tiles: %w", err)
	}
	entries, err := ParseBundle(b, n.Wide)
	if err != nil {
		return fmt.Errorf("check tiles: %s: %w", n.Path(), err)
	}
	for _, entry := range entries {
		if err := c.Add(entry, merkle.LeafHash(entry), nil); err != nil {
			return err
		}
	}
	return nil
}
