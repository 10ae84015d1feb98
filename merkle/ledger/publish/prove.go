package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/tile"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// Prove returns the C2SP tlog-proof of a tenant's record by its index: with the way on to the cosigned log of checkpoints
// when that covers it, else of the latest checkpoint. ErrNotYet: no checkpoint covers it; wal.ErrTenant: there is none.
func (p *Publisher) Prove(ctx context.Context, tenant string, index uint64) ([]byte, error) {
	text, err := p.prove(ctx, tenant, index)
	if err != nil {
		return nil, fmt.Errorf("prove record %d: %w", index, p.trees.damaged(tenant, err))
	}
	return text, nil
}

func (p *Publisher) prove(ctx context.Context, tenant string, index uint64) ([]byte, error) {
	n, err := p.note(tenant)
	if err != nil {
		return nil, err
	}
	if index >= n.Size {
		return nil, ErrNotYet
	}
	tree, err := p.tree(ctx, tenant)
	if err != nil {
		return nil, err
	}
	if at, log, ok := p.coveredBy(ctx, tenant, index); ok {
		return p.proveCosigned(tree, index, at, log)
	}
	proof, err := include(tree, index, n)
	if err != nil {
		return nil, err
	}
	return proof.Text(), nil
}

// include proves an entry under a checkpoint of its log, and looks whether it does.
func include(tree *tile.Tree, index uint64, n *note) (*ledger.Proof, error) {
	hashes, err := tree.Inclusion(index, n.Size)
	if err != nil {
		return nil, err
	}
	leaf, err := tree.Subtree(0, index)
	if err != nil {
		return nil, err
	}
	if err := merkle.VerifyInclusion(leaf, index, n.Size, hashes, n.Root); err != nil {
		return nil, fmt.Errorf("%w: %w", tile.ErrDamaged, err)
	}
	return &ledger.Proof{Index: index, Hashes: hashes, Checkpoint: n.text}, nil
}

// proveCosigned proves an entry under a checkpoint that witnesses saw by way of the log of checkpoints, and that is one of
// the log's tree: what says otherwise is not signed, whoever cosigned it.
func (p *Publisher) proveCosigned(tree *tile.Tree, index uint64, at placed, log *note) ([]byte, error) {
	root, err := tree.RootAt(at.Size)
	if err != nil && !errors.Is(err, tile.ErrSize) {
		return nil, err
	}
	if err != nil || root != at.Root {
		return nil, fmt.Errorf("%w: entry %d of the log of checkpoints has another tree of %d records than the log", wal.ErrCorrupt, at.index, at.Size)
	}
	n, err := p.sign(at.Checkpoint)
	if err != nil {
		return nil, err
	}
	outer, err := include(tree, index, n)
	if err != nil {
		return nil, err
	}
	all := p.log.current()
	inner, err := include(all, at.index, log)
	if err != nil {
		return nil, err
	}
	entry, err := all.Entries(at.index, 1)
	if err != nil {
		return nil, err
	}
	if len(entry) != 1 || len(entry[0]) < ledger.SaltSize || !bytes.Equal(entry[0][ledger.SaltSize:], at.Body()) {
		return nil, fmt.Errorf("%w: entry %d of the log of checkpoints", tile.ErrDamaged, at.index)
	}
	if err := outer.Cosign(entry[0][:ledger.SaltSize], inner); err != nil {
		return nil, err
	}
	return outer.Text(), nil
}

func (c *checkpoints) current() *tile.Tree {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.tree
}

// coveredBy finds a checkpoint that covers a record and that witnesses saw.
func (p *Publisher) coveredBy(ctx context.Context, tenant string, index uint64) (placed, *note, bool) {
	c := p.log
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cosigned == nil {
		return placed{}, nil, false
	}
	at, ok := c.covered[tenant]
	for !ok && c.looked > 0 && ctx.Err() == nil {
		if p.lookBack() != nil {
			break // it can still be proved without witnesses
		}
		at, ok = c.covered[tenant]
	}
	return at, c.cosigned, ok && index < at.Size
}

// lookBack reads one bundle more of the log of checkpoints, from the end. Its lock is held.
func (p *Publisher) lookBack() error {
	c := p.log
	from := (c.looked - 1) &^ (tile.Width - 1)
	entries, err := c.tree.Entries(from, int(c.looked-from)) //nolint:gosec // at most tile.Width
	if err != nil {
		return err
	}
	for i, entry := range slices.Backward(entries) {
		tenant, cp, ok := p.readEntry(entry)
		if _, later := c.covered[tenant]; ok && !later {
			c.covered[tenant] = placed{cp, from + uint64(i)} //nolint:gosec // an index
		}
	}
	c.looked = from
	return nil
}

// ProveRecord is Prove for a record by its id. ErrNoRecord: the tenant has none of that id.
func (p *Publisher) ProveRecord(ctx context.Context, tenant, id string) ([]byte, error) {
	e, err := p.find(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	return p.Prove(ctx, tenant, e.Index)
}

// ProveLeaf is Prove for a record by its very bytes, as a receipt carries them: the upgrade of a receipt.
func (p *Publisher) ProveLeaf(ctx context.Context, tenant string, leaf []byte) ([]byte, error) {
	r, err := ledger.ParseRecord(leaf)
	if err != nil {
		return nil, fmt.Errorf("prove leaf: %w", err)
	}
	e, err := p.find(ctx, tenant, r.ID)
	if err == nil && !bytes.Equal(e.Data, leaf) {
		err = fmt.Errorf("prove %s: the ledger has another record under this id: %w", r.ID, ErrNoRecord)
	}
	if err != nil {
		return nil, err
	}
	return p.Prove(ctx, tenant, e.Index)
}

func (p *Publisher) find(ctx context.Context, tenant, id string) (wal.Entry, error) {
	source := p.source.Load()
	if source == nil {
		return wal.Entry{}, errDetached
	}
	e, ok, err := (*source).Find(ctx, tenant, id)
	if err == nil && !ok {
		err = ErrNoRecord
	}
	if err != nil {
		return wal.Entry{}, fmt.Errorf("prove %.64q: %w", id, err)
	}
	return e, nil
}

// Consistency is the proof that a tenant's tree of one size is the beginning of that of another.
type Consistency struct {
	From, To         uint64
	FromRoot, ToRoot merkle.Hash
	Hashes           []merkle.Hash
}

// Consistency proves that a tenant's first from records are the beginning of its first to records; to is 0 for the
// latest checkpoint's. ErrNotYet: a size is beyond that checkpoint; merkle.ErrSizes: they prove nothing.
func (p *Publisher) Consistency(ctx context.Context, tenant string, from, to uint64) (Consistency, error) {
	c, err := p.consistency(ctx, tenant, from, to)
	if err != nil {
		return Consistency{}, fmt.Errorf("prove consistency of %d with %d: %w", from, to, p.trees.damaged(tenant, err))
	}
	return c, nil
}

func (p *Publisher) consistency(ctx context.Context, tenant string, from, to uint64) (c Consistency, err error) {
	n, err := p.note(tenant)
	if err != nil {
		return c, err
	}
	if to == 0 {
		to = n.Size
	}
	switch {
	case max(from, to) > n.Size:
		return c, ErrNotYet
	case from == 0 || from > to:
		return c, merkle.ErrSizes
	}
	tree, err := p.tree(ctx, tenant)
	if err != nil {
		return c, err
	}
	c = Consistency{From: from, To: to}
	if c.FromRoot, err = tree.RootAt(from); err != nil {
		return c, err
	}
	if c.ToRoot, err = tree.RootAt(to); err != nil {
		return c, err
	}
	c.Hashes, err = tree.Consistency(from, to)
	return c, err
}

// File returns a file of a log as C2SP tlog-tiles has it, by its path under the log's prefix: checkpoint, or a tile. Of
// the log of checkpoints the entries are not to be had. What there is not is fs.ErrNotExist.
func (p *Publisher) File(tenant, path string) ([]byte, error) {
	if tenant == ledger.CheckpointsLog {
		return p.logFile(path)
	}
	n, err := p.note(tenant)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	if path == "checkpoint" {
		return append([]byte(nil), n.text...), nil
	}
	tree, err := p.tree(context.Background(), tenant)
	if err != nil {
		return nil, p.trees.damaged(tenant, err)
	}
	b, err := tree.File(path)
	return b, p.trees.damaged(tenant, err)
}

func (p *Publisher) logFile(path string) ([]byte, error) {
	c := p.log
	c.mu.RLock()
	n, tree := c.note, c.tree
	c.mu.RUnlock()
	switch {
	case n == nil || strings.HasPrefix(path, "tile/entries/"):
		return nil, fs.ErrNotExist
	case path == "checkpoint":
		return append([]byte(nil), n.text...), nil
	}
	return tree.File(path)
}

// Subtrees returns a tenant's tree as its latest checkpoint has it: the checkpoint, and the hashes of its complete
// subtrees, which hash up to it. It is good until the log is closed.
func (p *Publisher) Subtrees(tenant string) (ledger.Checkpoint, merkle.Subtree, error) {
	n, err := p.note(tenant)
	if err != nil {
		return ledger.Checkpoint{}, nil, err
	}
	tree, err := p.tree(context.Background(), tenant)
	if err != nil {
		return ledger.Checkpoint{}, nil, p.trees.damaged(tenant, err)
	}
	root, err := tree.RootAt(n.Size)
	if err == nil && root != n.Root {
		err = fmt.Errorf("%w: they are not those of the checkpoint", tile.ErrDamaged)
	}
	if err != nil {
		return ledger.Checkpoint{}, nil, p.trees.damaged(tenant, err)
	}
	return n.Checkpoint, func(level int, index uint64) (merkle.Hash, error) {
		h, err := tree.Subtree(level, index)
		return h, p.trees.damaged(tenant, err)
	}, nil
}

// Held is what the log of checkpoints holds, for whoever compares it with what witnesses saw: its origin and size, the
// roots of its beginnings, and the latest note, nil when there is none.
func (p *Publisher) Held() (origin string, size uint64, rootAt func(size uint64) (merkle.Hash, error), latest []byte) {
	c := p.log
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.note != nil {
		latest = append(latest, c.note.text...)
	}
	return p.origin(ledger.CheckpointsLog), c.tree.Size(), c.tree.RootAt, latest
}
