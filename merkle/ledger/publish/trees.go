package publish

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/tile"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

const (
	// maxTrees bounds the open trees, of some 16 KiB each.
	maxTrees = 1024
	// maxBatch is how many records are read from the log at a time: a whole commit of the tree.
	maxBatch = 4096
	// maxCatchUp is how long one tick makes tiles of one tenant: what is left is made by the next, so that a tenant far
	// behind does not hold the others up.
	maxCatchUp = 500 * time.Millisecond
)

// trees keeps the tenants' trees that are in use.
type trees struct {
	on  disk.FS
	dir string

	mu      sync.Mutex // guards what follows
	open    map[string]*opened
	suspect map[string]bool // damage was met: the next tick looks at every tile
}

// opened is a tree in use. What is read of it hashes up to its right edge, so comparing its root compares it all.
type opened struct {
	tree  *tile.Tree
	sound bool // was compared with the log since it was opened
}

func (t *trees) folder(tenant string) string { return filepath.Join(t.dir, tenant) }

// get returns a tenant's tree, which may be any: it is for who compares it.
func (t *trees) get(tenant string) (*tile.Tree, error) {
	t.mu.Lock()
	o := t.open[tenant]
	t.mu.Unlock()
	if o != nil {
		return o.tree, nil
	}
	tree, err := tile.Open(t.on, t.folder(tenant))
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if first := t.open[tenant]; first != nil { // somebody else was faster
		return first.tree, nil
	}
	if t.open == nil {
		t.open = map[string]*opened{}
	}
	for old := range t.open {
		if len(t.open) < maxTrees {
			break
		}
		delete(t.open, old)
	}
	t.open[tenant] = &opened{tree: tree}
	return tree, nil
}

// drop forgets a tree, so that it is read from the disk again.
func (t *trees) drop(tenant string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, tenant)
}

// damaged notes it when an error is damage that a reader met, and returns the error.
func (t *trees) damaged(tenant string, why error) error {
	if !errors.Is(why, tile.ErrDamaged) {
		return why
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.suspect == nil {
		t.suspect = map[string]bool{}
	}
	t.suspect[tenant] = true
	return why
}

// compared notes that a tenant's tree is that of the log.
func (t *trees) compared(tenant string, tree *tile.Tree) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o := t.open[tenant]; o != nil && o.tree == tree {
		o.sound = true
	}
}

// sound returns a tenant's tree if it was compared with the log, nil otherwise.
func (t *trees) sound(tenant string) *tile.Tree {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o := t.open[tenant]; o != nil && o.sound {
		return o.tree
	}
	return nil
}

// isSound reports whether a tenant's tree was compared with the log, and nobody met damage since.
func (t *trees) isSound(tenant string) bool { return t.sound(tenant) != nil && !t.isSuspect(tenant) }

// suspects are the tenants in whose tiles damage was met.
func (t *trees) suspects() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.suspect))
}

func (t *trees) isSuspect(tenant string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.suspect[tenant]
}

func (t *trees) cleared(tenant string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.suspect, tenant)
}

// tree returns a tenant's tree to prove and serve from: one that is the log's. The first who asks since the tree was opened
// has it compared, and made again when it is another.
func (p *Publisher) tree(ctx context.Context, tenant string) (*tile.Tree, error) {
	if tree := p.trees.sound(tenant); tree != nil {
		return tree, nil
	}
	p.tick.Lock()
	defer p.tick.Unlock()
	return p.comparedTree(ctx, tenant)
}

// comparedTree is tree inside a tick.
func (p *Publisher) comparedTree(ctx context.Context, tenant string) (*tile.Tree, error) {
	if tree := p.trees.sound(tenant); tree != nil {
		return tree, nil
	}
	source := p.source.Load()
	if source == nil {
		return nil, errDetached
	}
	head, err := (*source).Head(ctx, tenant)
	if err != nil {
		return nil, fmt.Errorf("compare tiles with the log: %w", err)
	}
	if err := p.advance(ctx, &head); err != nil {
		return nil, err
	}
	if tree := p.trees.sound(tenant); tree != nil {
		return tree, nil
	}
	return nil, ErrBehind // others took its place already
}

// advance brings a tenant's tiles to a head of the log: ErrBehind when there was no time for all. Tiles that are damaged,
// or of another history, are made again.
func (p *Publisher) advance(ctx context.Context, h *wal.Head) error {
	err := p.grow(ctx, h)
	if !errors.Is(err, tile.ErrDamaged) {
		if err != nil && !errors.Is(err, ErrBehind) {
			p.trees.drop(h.Tenant) // what is on the disk is known when it is opened again
		}
		return err
	}
	if err := p.rebuild(ctx, h.Tenant, err); err != nil {
		return err
	}
	return p.grow(ctx, h)
}

func (p *Publisher) grow(ctx context.Context, h *wal.Head) error {
	tree, err := p.trees.get(h.Tenant)
	if err != nil {
		return err
	}
	if tree.Size() > h.Tree.Size() { // a reader had it compared after the head was taken
		now, err := (*p.source.Load()).Head(ctx, h.Tenant)
		if err != nil {
			return err
		}
		h = &now
	}
	if p.trees.isSuspect(h.Tenant) {
		if err := tree.Verify(ctx, nil); err != nil {
			return err
		}
		p.trees.cleared(h.Tenant)
	}
	until := time.Now().Add(maxCatchUp) // not the options' clock, which may stand still
	for tree.Size() < h.Tree.Size() {
		if time.Now().After(until) {
			return ErrBehind
		}
		if err := p.feed(ctx, tree, h); err != nil {
			return err
		}
	}
	if err := tree.Settle(); err != nil {
		return err
	}
	if root, err := tree.RootAt(h.Tree.Size()); err != nil {
		return err
	} else if root != h.Tree.Root() || tree.Size() > h.Tree.Size() {
		return fmt.Errorf("%w: the tree of %d entries is not that of the log", tile.ErrDamaged, tree.Size())
	}
	p.trees.compared(h.Tenant, tree)
	return nil
}

// feed appends the next records of the log.
func (p *Publisher) feed(ctx context.Context, tree *tile.Tree, h *wal.Head) error {
	size := tree.Size()
	into := p.room()
	defer p.giveBack(into)
	n := min(h.Tree.Size()-size, maxBatch-size%maxBatch)                    // up to where one commit of tiles ends, and the next begins
	err := (*p.source.Load()).ReadLeaves(ctx, into, h.Tenant, size, int(n)) //nolint:gosec // at most maxBatch
	if err != nil {
		return err
	}
	if len(into.Data) == 0 {
		return fmt.Errorf("tiles of %s: the log ends at %d, its tree has %d leaves", h.Tenant, size, h.Tree.Size())
	}
	return tree.AppendLeaves(into.Data, into.Hashes)
}

// room gives memory for records that are read: what was used last, where there is some.
func (p *Publisher) room() *wal.Leaves {
	select {
	case l := <-p.leaves:
		return l
	default:
		return new(wal.Leaves)
	}
}

func (p *Publisher) giveBack(l *wal.Leaves) {
	select {
	case p.leaves <- l:
	default: // enough is kept
	}
}

// rebuild clears a tenant's tiles, when the log has all that they are made from.
func (p *Publisher) rebuild(ctx context.Context, tenant string, why error) error {
	if err := (*p.source.Load()).ReadLeaves(ctx, new(wal.Leaves), tenant, 0, 1); err != nil {
		return fmt.Errorf("tiles cannot be made again: %w; %w", err, why)
	}
	p.trees.drop(tenant)
	if err := tile.Clear(p.opt.FS, p.trees.folder(tenant)); err != nil {
		return fmt.Errorf("%w; %w", err, why)
	}
	p.trees.cleared(tenant)
	p.mu.Lock()
	p.stats.Rebuilt++
	p.mu.Unlock()
	return nil
}
