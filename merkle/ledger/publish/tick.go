package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// Publish brings tiles, checkpoints and the log of checkpoints up to trees of the log, all of them durable. What could not
// be published for one tenant does not keep it from the others, and is in the error; ErrBehind says that only time was
// missing. Trees that are published already are passed over.
func (p *Publisher) Publish(ctx context.Context, heads []wal.Head) error {
	p.tick.Lock()
	defer p.tick.Unlock()
	err := p.publish(ctx, heads)
	p.mu.Lock()
	p.stats.Err = err
	if err == nil {
		p.stats.Last = p.opt.Now()
	}
	p.mu.Unlock()
	return err
}

func (p *Publisher) publish(ctx context.Context, heads []wal.Head) error {
	if p.source.Load() == nil {
		return errDetached
	}
	heads, lost := p.withSuspects(ctx, heads)
	ready, late := p.tileAll(ctx, heads)
	late = errors.Join(lost, late)
	if len(ready) == 0 {
		return late
	}
	cps := make([]ledger.Checkpoint, len(ready))
	for i, h := range ready {
		cps[i] = ledger.Checkpoint{Origin: p.origin(h.Tenant), Size: h.Tree.Size(), Root: h.Tree.Root()}
	}
	all, err := p.record(cps)
	if err != nil {
		return errors.Join(late, fmt.Errorf("log of checkpoints: %w", err))
	}
	witnessed := p.ask(all)
	errs := p.each(ready, func(i int) error { return p.publishNote(ready[i].Tenant, cps[i]) })
	if err := errors.Join(late, errs); err != nil && errs != nil {
		return err
	}
	return errors.Join(late, p.publishLog(ctx, all, witnessed))
}

// withSuspects adds the trees in whose tiles damage was met: nobody else brings them while they do not grow.
func (p *Publisher) withSuspects(ctx context.Context, heads []wal.Head) ([]wal.Head, error) {
	var errs []error
	for _, tenant := range p.trees.suspects() {
		if slices.ContainsFunc(heads, func(h wal.Head) bool { return h.Tenant == tenant }) {
			continue
		}
		h, err := (*p.source.Load()).Head(ctx, tenant)
		if err != nil {
			errs = append(errs, fmt.Errorf("publish %s: %w", tenant, err))
			continue
		}
		heads = append(heads, h)
	}
	return heads, errors.Join(errs...)
}

// tileAll makes the tiles of trees that are not published yet, and returns those that have all, by name.
func (p *Publisher) tileAll(ctx context.Context, heads []wal.Head) (ready []*wal.Head, err error) {
	var todo []*wal.Head
	for i := range heads {
		h := &heads[i]
		n, _ := p.note(h.Tenant) // none: nil
		if n == nil || n.Size != h.Tree.Size() || !p.trees.isSound(h.Tenant) {
			todo = append(todo, h)
		}
	}
	slices.SortFunc(todo, func(a, b *wal.Head) int { return strings.Compare(a.Tenant, b.Tenant) })
	done := make([]bool, len(todo))
	err = p.each(todo, func(i int) error {
		err := p.advance(ctx, todo[i])
		done[i] = err == nil
		return err
	})
	behind := 0
	for i, h := range todo {
		n, _ := p.note(h.Tenant)
		switch {
		case !done[i]:
			behind++
		case n == nil || n.Size < h.Tree.Size():
			ready = append(ready, h)
		}
	}
	p.mu.Lock()
	p.stats.Behind = behind
	p.mu.Unlock()
	return ready, err
}

// each does something for every head, some at a time, and joins the errors with the tenants' names.
func (p *Publisher) each(heads []*wal.Head, do func(i int) error) error {
	errs := make([]error, len(heads))
	next := make(chan int, len(heads))
	for i := range heads {
		next <- i
	}
	close(next)
	var wg sync.WaitGroup
	for range min(workers, len(heads)) {
		wg.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					errs[i] = fmt.Errorf("publish %s: %w", heads[i].Tenant, err)
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// publishNote signs and writes a tenant's checkpoint. It never goes back.
func (p *Publisher) publishNote(tenant string, cp ledger.Checkpoint) error {
	n, err := p.sign(cp)
	if err != nil {
		return err
	}
	if err := disk.ReplaceFile(p.opt.FS, checkpointName(p.opt.Dir, tenant), n.text); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	p.mu.Lock()
	p.notes[tenant] = n
	p.mu.Unlock()
	tree, err := p.trees.get(tenant)
	if err != nil {
		return err
	}
	_ = tree.Trim(cp.Size) // what stays is removed next time
	return nil
}
