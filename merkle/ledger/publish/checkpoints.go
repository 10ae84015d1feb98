package publish

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/tile"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// checkpoints is the log of checkpoints. Its entries are a salt and the text of a tenant's checkpoint; they are served to
// nobody. Unlike tenants' tiles they stand nowhere else.
type checkpoints struct {
	mu   sync.RWMutex // guards what follows
	tree *tile.Tree
	// good is the part of the tree that is known to be the instance's own: all of it, but after an append that failed. Of
	// the ticks alone, as signed: the size below which the instance signed all, at the start.
	good   ledger.Checkpoint
	signed uint64
	// note is the latest that was signed and published, cosigned the latest that witnesses cosigned; nil: none.
	note, cosigned *note
	// said are the tenants' newest leaves, and covered those below the cosigned size, as far as they are known.
	said, covered map[string]placed
	looked        uint64 // leaves of the cosigned tree from here on were searched for covered
	complete      uint64 // and from here on for said
	asked         time.Time
	busy          bool // witnesses are being asked

	files sync.Mutex // held while a note is written
}

// placed is a checkpoint and its leaf's index.
type placed struct {
	ledger.Checkpoint
	index uint64
}

// openLog reads the log of checkpoints and holds it against its own checkpoint.
func (p *Publisher) openLog() (*checkpoints, error) {
	c := &checkpoints{said: map[string]placed{}, covered: map[string]placed{}}
	var err error
	if c.tree, err = tile.Open(p.opt.FS, p.logDir()); err != nil {
		return nil, fmt.Errorf("log of checkpoints: %w", err)
	}
	if c.note, err = p.readLogNote(c, checkpointName(p.opt.Dir, ledger.CheckpointsLog)); err != nil {
		return nil, err
	}
	if c.cosigned, err = p.readLogNote(c, cosignedName(p.opt.Dir)); err != nil {
		return nil, err
	}
	if c.cosigned != nil {
		c.looked = c.cosigned.Size
	}
	return c, nil
}

func (p *Publisher) logDir() string { return filepath.Join(p.opt.Dir, ledger.CheckpointsLog) }

// readLogNote reads a checkpoint of the log of checkpoints, nil when there is none of this generation. The tree must
// have reached it.
func (p *Publisher) readLogNote(c *checkpoints, name string) (*note, error) {
	n, err := readNote(p.opt.FS, name, p.own)
	if err != nil || n == nil {
		return nil, wrapLog(err)
	}
	_, _, of, ok := ledger.ParseOrigin(n.Origin)
	if ok && earlier(of, p.opt.Instance) {
		if reaches(c.tree, n.Checkpoint) == nil { // else it was given up when the ledger was restored
			c.signed = max(c.signed, n.Size)
		}
		return nil, nil //nolint:nilnil // none is no error
	}
	if n.Origin != p.origin(ledger.CheckpointsLog) {
		return nil, fmt.Errorf("%w: checkpoint of the log of checkpoints is of %q", wal.ErrCorrupt, n.Origin)
	}
	c.signed = max(c.signed, n.Size)
	return n, reaches(c.tree, n.Checkpoint)
}

func wrapLog(err error) error {
	if err != nil {
		return fmt.Errorf("log of checkpoints: %w", err)
	}
	return nil
}

// reaches checks that a tree has what was signed of it.
func reaches(tree *tile.Tree, cp ledger.Checkpoint) error {
	if tree.Size() < cp.Size {
		return fmt.Errorf("%w: the log of checkpoints has %d entries, and %d were signed", ErrRolledBack, tree.Size(), cp.Size)
	}
	root, err := tree.RootAt(cp.Size)
	if err != nil {
		return fmt.Errorf("log of checkpoints: %w", err)
	}
	if root != cp.Root {
		return fmt.Errorf("%w: the log of checkpoints is not the one that was signed at %d entries", ErrRolledBack, cp.Size)
	}
	return nil
}

// checkKept holds the log of checkpoints against the note in the second place.
func (p *Publisher) checkKept() error {
	if p.opt.Kept == nil {
		return nil
	}
	text, err := p.opt.Kept.Get(context.Background())
	if err != nil {
		return fmt.Errorf("read kept checkpoint: %w", err)
	}
	if text == nil {
		return nil
	}
	cp, err := ledger.OpenCheckpoint(text, p.own)
	if err != nil {
		return fmt.Errorf("%w: kept checkpoint: %w", wal.ErrCorrupt, err)
	}
	_, _, of, ok := ledger.ParseOrigin(cp.Origin)
	switch {
	case ok && earlier(of, p.opt.Instance):
		return nil
	case ok && earlier(p.opt.Instance, of):
		return fmt.Errorf("%w: it was restored before, and this is an earlier generation", ErrRolledBack)
	case cp.Origin != p.origin(ledger.CheckpointsLog):
		return fmt.Errorf("%w: kept checkpoint is of %q", wal.ErrCorrupt, cp.Origin)
	}
	p.log.signed = max(p.log.signed, cp.Size)
	return reaches(p.log.tree, cp)
}

// trust makes a tree the log of checkpoints, of which the first entries are known to be the instance's own: of those behind
// them, what it wrote, up to the first that it did not.
func (p *Publisher) trust(tree *tile.Tree, known uint64) error {
	end, err := p.authentic(tree, known)
	if err != nil {
		return err
	}
	if cut := tree.Size() - end; cut > 0 {
		if err := tree.Cut(end); err != nil {
			return err
		}
		p.mu.Lock()
		p.stats.Cut += cut
		p.mu.Unlock()
	}
	c := p.log
	c.mu.Lock()
	c.tree, c.good = tree, ledger.Checkpoint{Size: tree.Size(), Root: tree.Root()}
	c.mu.Unlock()
	return nil
}

// authentic returns the index of the first entry from one on that the instance did not write.
func (p *Publisher) authentic(tree *tile.Tree, from uint64) (uint64, error) {
	for from < tree.Size() {
		entries, err := tree.Entries(from, tile.Width)
		if err != nil {
			return 0, err
		}
		for _, e := range entries {
			if !p.wrote(e) {
				return from, nil
			}
			from++
		}
	}
	return from, nil
}

// wrote reports whether the instance made an entry of the log of checkpoints: its salt is a MAC of the rest.
func (p *Publisher) wrote(entry []byte) bool {
	if len(entry) <= ledger.SaltSize {
		return false
	}
	for _, key := range p.saltKeys {
		if hmac.Equal(keyed(key, entry[ledger.SaltSize:]), entry[:ledger.SaltSize]) {
			return true
		}
	}
	return false
}

// recallEntries is how many entries are read at a start: of one tick, at least.
const recallEntries = 4 * tile.Width

// recall reads what was last said of the tenants, also by ticks that did not come to sign it: of these all, since the log
// must reach them, too.
func (p *Publisher) recall() error {
	c := p.log
	size := c.tree.Size()
	c.complete = min(size-min(size, recallEntries), c.signed)
	for from := c.complete; from < size; {
		entries, err := c.tree.Entries(from, recallEntries)
		if err != nil {
			return wrapLog(err)
		}
		for _, e := range entries {
			if tenant, cp, ok := p.readEntry(e); ok && cp.Size >= c.said[tenant].Size {
				c.said[tenant] = placed{cp, from}
			}
			from++
		}
	}
	return nil
}

// readEntry reads an entry of the log of checkpoints that is known to be the instance's own; false for one of an earlier
// generation.
func (p *Publisher) readEntry(entry []byte) (tenant string, cp ledger.Checkpoint, ok bool) {
	if len(entry) < ledger.SaltSize {
		return "", cp, false
	}
	cp, err := ledger.ParseCheckpointBody(entry[ledger.SaltSize:])
	if err != nil {
		return "", cp, false
	}
	_, tenant, _, ok = ledger.ParseOrigin(cp.Origin)
	return tenant, cp, ok && cp.Origin == p.origin(tenant)
}

// record adds checkpoints to the log of checkpoints, durably, and signs what it is then.
func (p *Publisher) record(cps []ledger.Checkpoint) (*note, error) {
	c := p.log
	if err := p.reopenLog(); err != nil {
		return nil, err
	}
	entries := make([][]byte, len(cps))
	for i := range cps {
		body := cps[i].Body()
		entries[i] = append(keyed(p.saltKeys[0], body), body...)
	}
	first := c.tree.Size()
	if err := c.tree.Append(entries); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.good = ledger.Checkpoint{Size: c.tree.Size(), Root: c.tree.Root()}
	for i, cp := range cps {
		_, tenant, _, _ := ledger.ParseOrigin(cp.Origin)
		c.said[tenant] = placed{cp, first + uint64(i)} //nolint:gosec // an index
	}
	c.mu.Unlock()
	return p.sign(ledger.Checkpoint{Origin: p.origin(ledger.CheckpointsLog), Size: c.good.Size, Root: c.good.Root})
}

// reopenLog reads the tree again after an append failed.
func (p *Publisher) reopenLog() error {
	c := p.log
	if !c.tree.Failed() {
		return nil
	}
	tree, err := tile.Open(p.opt.FS, p.logDir())
	if err != nil {
		return err
	}
	if err := reaches(tree, c.good); err != nil {
		return err
	}
	return p.trust(tree, c.good.Size)
}

// ask has witnesses asked about a checkpoint, in the background. What it returns is closed when they answered; nil when
// they are not asked.
func (p *Publisher) ask(n *note) <-chan struct{} {
	c := p.log
	c.mu.Lock()
	defer c.mu.Unlock()
	now := p.opt.Now()
	if p.opt.Cosign == nil || c.busy || p.ctx.Err() != nil ||
		!c.asked.IsZero() && now.Sub(c.asked) < p.opt.CosignEvery && !now.Before(c.asked) {
		return nil
	}
	c.busy, c.asked = true, now
	tree, said := c.tree, maps.Clone(c.said)
	done := make(chan struct{})
	p.asking.Go(func() {
		defer close(done)
		err := p.cosign(n, tree, said)
		c.mu.Lock()
		c.busy = false
		c.mu.Unlock()
		p.mu.Lock()
		p.stats.CosignErr = err
		p.mu.Unlock()
	})
	return done
}

// cosign asks, and keeps what came.
func (p *Publisher) cosign(n *note, tree *tile.Tree, said map[string]placed) error {
	deadline := p.opt.CosignDeadline
	if deadline == 0 {
		deadline = defaultDeadline
	}
	ctx, cancel := context.WithTimeout(p.ctx, deadline)
	defer cancel()
	lines, err := p.opt.Cosign(ctx, n.text, n.Size, func(old uint64) ([]merkle.Hash, error) { return tree.Consistency(old, n.Size) })
	if len(lines) == 0 {
		return err
	}
	sigs, bad := ledger.ReadSignatures(lines)
	text := append(append([]byte(nil), n.text...), lines...)
	if bad == nil {
		_, bad = ledger.OpenCheckpoint(text, p.own)
	}
	if bad != nil {
		return errors.Join(err, bad)
	}
	p.mu.Lock()
	p.stats.Cosignatures += uint64(len(sigs))
	p.mu.Unlock()
	return errors.Join(err, p.keepCosigned(&note{n.Checkpoint, text}, said))
}

// keepCosigned writes a cosigned checkpoint, and publishes it when no later one is.
func (p *Publisher) keepCosigned(n *note, said map[string]placed) error {
	c := p.log
	c.files.Lock()
	defer c.files.Unlock()
	if err := disk.ReplaceFile(p.opt.FS, cosignedName(p.opt.Dir), n.text); err != nil {
		return err
	}
	c.mu.Lock()
	if c.cosigned != nil && c.looked <= c.complete {
		maps.Copy(said, missing(c.covered, said))
	} else {
		c.looked = c.complete
	}
	c.cosigned, c.covered = n, said
	latest := c.note != nil && c.note.Size == n.Size
	c.mu.Unlock()
	if !latest {
		return nil
	}
	return p.writeLogNote(n)
}

// missing returns what is in old and not in now: an older leaf is still covered.
func missing(old, now map[string]placed) map[string]placed {
	out := map[string]placed{}
	for tenant, at := range old {
		if _, ok := now[tenant]; !ok {
			out[tenant] = at
		}
	}
	return out
}

// publishLog publishes the checkpoint of the log of checkpoints: with cosignatures when they come soon.
func (p *Publisher) publishLog(ctx context.Context, n *note, witnessed <-chan struct{}) error {
	if witnessed != nil {
		patience := time.NewTimer(cosignPatience)
		defer patience.Stop()
		select {
		case <-witnessed:
		case <-patience.C:
		case <-ctx.Done():
		}
	}
	c := p.log
	c.files.Lock()
	defer c.files.Unlock()
	c.mu.RLock()
	if c.cosigned != nil && c.cosigned.Size == n.Size {
		n = c.cosigned
	}
	c.mu.RUnlock()
	if err := p.writeLogNote(n); err != nil {
		return err
	}
	_ = c.tree.Trim(n.Size) // what stays is removed next time
	return nil
}

// writeLogNote writes the checkpoint of the log of checkpoints, and then keeps it in the second place.
func (p *Publisher) writeLogNote(n *note) error {
	c := p.log
	if err := disk.ReplaceFile(p.opt.FS, checkpointName(p.opt.Dir, ledger.CheckpointsLog), n.text); err != nil {
		return fmt.Errorf("write checkpoint of checkpoints: %w", err)
	}
	c.mu.Lock()
	c.note = n
	c.mu.Unlock()
	if p.opt.Kept == nil {
		return nil
	}
	if err := p.opt.Kept.Put(context.WithoutCancel(p.ctx), n.text); err != nil {
		return fmt.Errorf("keep checkpoint: %w", err)
	}
	return nil
}

// published returns the sizes of the latest checkpoint and of the latest that is cosigned.
func (c *checkpoints) published() (size, cosigned uint64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.note != nil {
		size = c.note.Size
	}
	if c.cosigned != nil {
		cosigned = c.cosigned.Size
	}
	return size, cosigned
}
