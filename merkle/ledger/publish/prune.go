package publish

import (
	"context"
	"fmt"

	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// PruneTiles gives up the tiles and entry bundles of a tenant below an index, which must not be beyond its checkpoint; see
// tile.Tree.Prune. It can be repeated. What was given up cannot be made again once the log has let go of it too, nor can
// what is damaged above it.
func (p *Publisher) PruneTiles(ctx context.Context, tenant string, least uint64) error {
	p.tick.Lock()
	defer p.tick.Unlock()
	n, err := p.note(tenant)
	if err != nil {
		return err
	}
	if least > n.Size {
		return fmt.Errorf("prune tiles of %s below %d: its checkpoint is of %d: %w", tenant, least, n.Size, wal.ErrTenant)
	}
	tree, err := p.comparedTree(ctx, tenant)
	if err != nil {
		return err
	}
	if err := tree.Prune(least); err != nil {
		p.trees.drop(tenant) // what is on the disk is known when it is opened again
		return err
	}
	return nil
}
