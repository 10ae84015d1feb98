package tile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"

	"github.com/gatewright/gatewright/merkle"
)

// Checker holds a tree's files against the entries as they stand elsewhere, byte for byte. It is fed the entries in
// order and keeps a few hashes of them: one for each tree that is checked is not too many.
type Checker struct {
	t      *Tree
	e      *edge
	next   uint64
	sizes  []uint64 // trees whose partial files must be there, besides the whole one
	levels [levels][]merkle.Hash
	bundle maphash.Hash // over the bundle so far
}

// Checker begins at an entry: 0, or the first of the tree's bundle that Begin names. Sizes are those of published
// checkpoints, whose partial files must be there too.
func (t *Tree) Checker(from uint64, sizes ...uint64) (*Checker, error) {
	c := &Checker{t: t, e: t.edge.Load(), next: from, sizes: sizes}
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
	length := [2]byte{byte(len(entry) >> 8), byte(len(entry))}
	_, _ = c.bundle.Write(length[:])
	_, _ = c.bundle.Write(entry)
	c.levels[0] = append(c.levels[0], leaf)
	c.next++
	if len(c.levels[0]) == Width {
		if err := c.full(tile); err != nil {
			return fmt.Errorf("check tiles: %w", err)
		}
	}
	return c.partial()
}

// full compares a bundle and the tiles that became full with it.
func (c *Checker) full(tile *merkle.Hash) error {
	index := c.next>>height - 1
	if err := c.compareBundle(Name{Entries, index, Width}); err != nil {
		return err
	}
	c.bundle.Reset()
	for j := 0; len(c.levels[j]) == Width; j++ {
		if err := c.compare(Name{j, index, Width}, c.levels[j]); err != nil {
			return err
		}
		if tile == nil {
			h := fold(c.levels[j])
			tile = &h
		}
		c.levels[j+1] = append(c.levels[j+1], *tile)
		tile = nil
		c.levels[j] = c.levels[j][:0]
		index >>= height
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
	if n := edgeOf(Entries, c.next); n.Wide > 0 {
		if err := c.compareBundle(n); err != nil {
			return fmt.Errorf("check tiles: %w", err)
		}
	}
	for j := range levels {
		if n := edgeOf(j, c.next); n.Wide > 0 {
			if err := c.compare(n, c.levels[j]); err != nil {
				return fmt.Errorf("check tiles: %w", err)
			}
		}
	}
	return nil
}

// read reads a file. A partial one may have been replaced by a wider one, also since the checker began: then it is in that.
func (c *Checker) read(n Name, limit int64, cut func(b []byte) ([]byte, error)) ([]byte, error) {
	b, err := c.t.read(n, limit)
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

func (c *Checker) compareBundle(n Name) error {
	b, err := c.read(n, maxBundle, func(b []byte) ([]byte, error) { return cutBundle(b, n.Wide) })
	if err != nil {
		return err
	}
	if maphash.Bytes(c.bundle.Seed(), b) != c.bundle.Sum64() {
		return fmt.Errorf("%w: %s does not hold the entries", ErrDamaged, n.Path())
	}
	return nil
}

func (c *Checker) compare(n Name, hashes []merkle.Hash) error {
	b, err := c.read(n, Width*merkle.HashSize, func(b []byte) ([]byte, error) { return b[:min(len(b), n.Wide*merkle.HashSize)], nil })
	if err != nil {
		return err
	}
	if !bytes.Equal(b, appendHashes(nil, hashes)) {
		return fmt.Errorf("%w: %s does not hold the hashes", ErrDamaged, n.Path())
	}
	return nil
}

// Close says whether all entries of the tree were compared.
func (c *Checker) Close() error {
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
