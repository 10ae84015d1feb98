package tile

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

const (
	// maxCommit is how many entries one commit takes at most. It divides the span of a tile of level 1.
	maxCommit = 16 * Width
	// maxPending is how many bytes of files wait to be written, the last file not counted.
	maxPending = 4 << 20
	// maxWriters is how many files are written at a time.
	maxWriters = 16
)

// Append adds entries, each of at most MaxEntry bytes, and returns when they are durable. After an error the tree takes
// no more entries and reads as before; some of these may be durable all the same, as Open finds out.
func (t *Tree) Append(entries [][]byte) error {
	leaves := make([]merkle.Hash, len(entries))
	for i, e := range entries {
		leaves[i] = merkle.LeafHash(e)
	}
	return t.AppendLeaves(entries, leaves)
}

// AppendLeaves is Append for a caller that has the entries' leaf hashes already.
func (t *Tree) AppendLeaves(entries [][]byte, leaves []merkle.Hash) error {
	if len(entries) != len(leaves) {
		return fmt.Errorf("append tiles: %d entries, %d leaves", len(entries), len(leaves))
	}
	for _, e := range entries {
		if len(e) > MaxEntry {
			return fmt.Errorf("append tiles: %w: %d bytes", ErrEntry, len(e))
		}
	}
	t.write.Lock()
	defer t.write.Unlock()
	for len(entries) > 0 {
		if t.failed != nil {
			return fmt.Errorf("append tiles: %w: %w", ErrFailed, t.failed)
		}
		if err := t.settle(); err != nil {
			return err
		}
		n := commitSize(t.edge.Load().size, len(entries))
		if err := t.commit(entries[:n], leaves[:n]); err != nil {
			t.failed = err
			return fmt.Errorf("append tiles: %w", err)
		}
		entries, leaves = entries[n:], leaves[n:]
	}
	return nil
}

// commitSize is how many of n entries the next commit takes: inside one bundle, or whole bundles of one tile above.
func commitSize(size uint64, n int) int {
	if in := int(size & (Width - 1)); in != 0 || n < Width { //nolint:gosec // below 256
		return min(n, Width-in)
	}
	room := maxCommit - int(size&(maxCommit-1)) //nolint:gosec // below maxCommit
	return min(n&^(Width-1), room)
}

// commit adds entries that cross no boundary of a tile.
func (t *Tree) commit(entries [][]byte, leaves []merkle.Hash) error {
	old := t.edge.Load()
	c := change{t: t, edge: *old, dirs: map[string]bool{}}
	begun, err := t.partialBundle(old)
	if err != nil {
		return err
	}
	bundle := begun
	for len(entries) > 0 {
		n := min(Width-len(c.edge.levels[0]), len(entries))
		bundle = append(spare(len(bundle)+bundled(entries[:n])), bundle...) // what was read may be others' too
		for _, e := range entries[:n] {
			bundle = AppendEntry(bundle, e)
		}
		c.edge.levels[0] = append(c.edge.levels[0], leaves[:n]...)
		c.edge.size += uint64(n) //nolint:gosec // at most Width
		entries, leaves = entries[n:], leaves[n:]
		if len(c.edge.levels[0]) == Width {
			if err := c.full(bundle); err != nil {
				return err
			}
			bundle = nil
		}
	}
	t.sum = crc32.Checksum(bundle, castagnoli)
	if err := c.finish(bundle); err != nil {
		return err
	}
	for j := Entries; j < levels; j++ {
		if was := edgeOf(j, old.size); was.Wide > 0 && was != edgeOf(j, c.edge.size) {
			t.stale = append(t.stale, was)
		}
	}
	t.edge.Store(&c.edge)
	return nil
}

// partialBundle reads the bundle that the next entry joins.
func (t *Tree) partialBundle(e *edge) ([]byte, error) {
	n := edgeOf(Entries, e.size)
	if n.Wide == 0 {
		return nil, nil
	}
	b, err := t.read(n, maxBundle)
	if err == nil && crc32.Checksum(b, castagnoli) != t.sum {
		err = fmt.Errorf("%w: %s is not what was written", ErrDamaged, n.Path())
	}
	return b, err
}

// change is a commit on its way.
type change struct {
	t    *Tree
	edge edge
	dirs map[string]bool // got new names that are not durable yet

	files []pending
	bytes int // of files
}

// pending is a file to be written.
type pending struct {
	name string
	data []byte
	full bool // nobody reads it before the commit
	last bool // a bundle that is read no more unless somebody asks for it
}

// full writes a bundle that became full, its tile, and every tile above that became full with it.
func (c *change) full(bundle []byte) error {
	index := c.edge.size>>height - 1
	if err := c.put(Name{Entries, index, Width}, bundle); err != nil {
		return err
	}
	for j := 0; len(c.edge.levels[j]) == Width; j++ {
		if err := c.put(Name{j, index, Width}, appendHashes(nil, c.edge.levels[j])); err != nil {
			return err
		}
		if j == levels-1 {
			return ErrSize
		}
		c.edge.levels[j+1] = append(c.edge.levels[j+1], fold(c.edge.levels[j]))
		c.edge.levels[j] = nil
		index >>= height
	}
	return nil
}

// finish makes everything durable and then writes the one partial tile that makes the commit.
func (c *change) finish(bundle []byte) error {
	if len(bundle) > 0 || len(c.edge.levels[0]) > 0 {
		if err := c.put(edgeOf(Entries, c.edge.size), bundle); err != nil {
			return err
		}
	}
	if err := c.flush(); err != nil {
		return err
	}
	for dir := range c.dirs {
		if err := c.t.on.SyncDir(dir); err != nil {
			return err
		}
	}
	j := 0
	for len(c.edge.levels[j]) == 0 {
		j++
	}
	name := file(c.t.dir, edgeOf(j, c.edge.size))
	return disk.ReplaceFile(c.t.on, name, appendHashes(nil, c.edge.levels[j]))
}

// put has a file written; its name is durable when its folder is. Data is the change's from now on.
func (c *change) put(n Name, data []byte) error {
	name := file(c.t.dir, n)
	c.dirs[filepath.Dir(name)] = true
	full := n.Wide == Width
	c.files = append(c.files, pending{name, data, full, full && n.Level == Entries})
	c.bytes += len(data)
	if c.bytes < maxPending {
		return nil
	}
	return c.flush()
}

// flush writes what is pending, some files at a time: waiting for the disk together, they wait for one another's sync.
func (c *change) flush() error {
	files := make(chan pending, len(c.files))
	for _, p := range c.files {
		files <- p
	}
	close(files)
	errs := make([]error, min(len(c.files), maxWriters))
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for p := range files {
				errs[i] = errors.Join(errs[i], c.t.writeFile(p))
			}
		})
	}
	wg.Wait()
	for _, p := range c.files {
		keep(p.data)
	}
	c.files, c.bytes = c.files[:0], 0
	return errors.Join(errs...)
}

// Bounds of the buffers that are kept for the bundles of all trees: the same few, so that they stay warm.
const (
	maxSpares = maxWriters
	minSpare  = 32 << 10 // bytes of one
	maxSpare  = 512 << 10
)

var spares = make(chan []byte, maxSpares)

// spare gives an empty buffer with room for n bytes.
func spare(n int) []byte {
	if n < minSpare || n > maxSpare {
		return make([]byte, 0, n)
	}
	select {
	case b := <-spares:
		if cap(b) >= n {
			return b
		}
	default:
	}
	return make([]byte, 0, n+n/8) // the next may be a little larger
}

// keep takes a buffer back that nobody reads any more.
func keep(b []byte) {
	if n := cap(b); n < minSpare || n > maxSpare+maxSpare/8 {
		return
	}
	select {
	case spares <- b[:0]:
	default:
	}
}

// writeFile writes one file under its name. A partial one may be that of the edge as it is, and must not be seen half written; a
// full one is part of the tree with the commit, and what a crash leaves of it is written again.
func (t *Tree) writeFile(p pending) error {
	tmp := p.name
	if !p.full {
		tmp += ".tmp"
	}
	f, err := t.on.Open(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	if p.last {
		err = disk.WriteOnce(f, p.data)
	} else if _, err = f.WriteAt(p.data, 0); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil || p.full {
		return err
	}
	return t.on.Rename(tmp, p.name)
}

// Trim removes partial files that neither the whole tree nor that of keep entries needs, the latter being the one that
// the published checkpoint is of. It is not durable, and need not be: what stays is removed later.
func (t *Tree) Trim(keep uint64) error {
	t.write.Lock()
	defer t.write.Unlock()
	size := t.edge.Load().size
	for j := Entries; j < levels; j++ {
		if n := edgeOf(j, keep); n.Wide > 0 && n != edgeOf(j, size) && !slices.Contains(t.stale, n) {
			t.stale = append(t.stale, n) // to be removed once another is published
		}
	}
	var kept []Name
	var errs []error
	for _, n := range t.stale {
		if n == edgeOf(n.Level, keep) || n == edgeOf(n.Level, size) {
			kept = append(kept, n)
			continue
		}
		name := file(t.dir, n)
		if err := t.on.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs, kept = append(errs, err), append(kept, n)
			continue
		}
		if n.end() <= size {
			_ = t.on.Remove(filepath.Dir(name)) // fails while another is in it
		}
	}
	t.stale = kept
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("trim tiles: %w", err)
	}
	return nil
}
