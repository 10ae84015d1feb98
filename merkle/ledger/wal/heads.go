package wal

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/gatewright/gatewright/merkle"
)

// Head is a tenant's tree as it stands durably. The slice that carries it is the receiver's own.
type Head struct {
	Tenant string
	Tree   merkle.Frontier
}

// Heads returns every tenant's tree, in order of their first records.
func (l *Log) Heads(ctx context.Context) ([]Head, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return l.heads(func(string, uint64) bool { return true })
}

// Head returns a tenant's tree; ErrTenant when it has no record.
func (l *Log) Head(ctx context.Context, tenant string) (Head, error) {
	if ctx.Err() != nil {
		return Head{}, context.Cause(ctx)
	}
	h := Head{Tenant: tenant}
	err := l.quiet(func() {
		if c := l.w.chains[tenant]; c != nil {
			h.Tree = c.front.Clone()
		}
	})
	if err == nil && h.Tree.Size() == 0 {
		err = ErrTenant
	}
	return h, err
}

// heads returns the trees that are wanted, between two commits and durable: a tree whose leaves could still be lost is
// never shown, not even in write mode.
func (l *Log) heads(want func(tenant string, size uint64) bool) ([]Head, error) {
	var out []Head
	l.syncAhead()
	err := l.quiet(func() {
		for _, tenant := range l.Tenants() {
			if c := l.w.chains[tenant]; c != nil && c.front.Size() > 0 && want(tenant, c.front.Size()) {
				out = append(out, Head{Tenant: tenant, Tree: c.front.Clone()})
			}
		}
	})
	return out, err
}

// syncAhead makes what is written so far durable beside the commits, so that the next sync that they wait for is a short
// one: in write mode nothing was synced for as long as the last checkpoint is old.
func (l *Log) syncAhead() {
	l.disk.Lock()
	f, pending := l.out.file, l.out.pending
	l.disk.Unlock()
	if !pending {
		return
	}
	if err := f.Sync(); err != nil && !errors.Is(err, os.ErrClosed) { // closed: it was synced before
		l.disk.Lock()
		defer l.disk.Unlock()
		_ = l.fail(err) // told once: a sync after it would say nothing
	}
}

// quiet calls fn between two commits, when all that the writer and the table of uses hold is durable: nothing is put, and
// nothing is written that is not synced. Commits wait for fn.
func (l *Log) quiet(fn func()) error {
	l.state.Lock()
	defer l.state.Unlock()
	l.disk.Lock() // nothing is laid that is not written
	defer l.disk.Unlock()
	if err := l.write(true); err != nil {
		return err
	}
	fn()
	return nil
}

// runPublish hands on what changed, and once more when the last record is written; then it closes the segment.
func (l *Log) runPublish() {
	t := time.NewTicker(l.opt.Checkpoint)
	defer t.Stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		select {
		case <-t.C:
			l.notePublished(l.publishHeads(ctx))
		case <-l.signed:
			err := l.publishHeads(ctx)
			l.notePublished(err)
			if l.poisoned() == nil {
				saved := l.saveState()
				l.noteSaved(saved)
				err = errors.Join(err, saved)
			}
			l.state.Lock()
			l.closeErr = errors.Join(err, l.w.file.Close())
			l.state.Unlock()
			return
		}
	}
}

func (l *Log) notePublished(err error) {
	l.view.Lock()
	l.stats.Publish = err
	l.view.Unlock()
}

// publishHeads hands on the trees that grew since they were published.
func (l *Log) publishHeads(ctx context.Context) error {
	if l.opt.Publish == nil {
		return nil
	}
	heads, err := l.heads(func(tenant string, size uint64) bool { return l.published[tenant] != size })
	if err != nil || len(heads) == 0 {
		return err
	}
	if err := l.opt.Publish(ctx, heads); err != nil {
		return err
	}
	for i := range heads {
		l.published[heads[i].Tenant] = heads[i].Tree.Size()
	}
	return nil
}
