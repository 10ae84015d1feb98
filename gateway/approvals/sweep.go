package approvals

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Sweep puts down what time has ended: open requests past their end expire, with a record; unfinished records are tried
// again; what is past being listed is removed. It runs by itself once a minute.
func (r *Register) Sweep(ctx context.Context) {
	now := r.deps.Now().Unix()
	for _, e := range r.due(now) {
		r.fault(r.finish(ctx, e, now))
	}
	gone := r.ended(now - int64(r.cfg.Keep/time.Second))
	for len(gone) > 0 {
		n := min(len(gone), dropBatch)
		r.fault(r.drop(ctx, gone[:n]))
		gone = gone[n:]
	}
}

func (r *Register) fault(err error) {
	if err != nil {
		r.faults.Add(1)
	}
}

// due lists what is to expire or to be recorded.
func (r *Register) due(now int64) (out []*entry) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, e := range r.byID {
		if e.ready && (e.row.Unrecorded || e.row.State.Open() && now >= e.row.Expires) {
			out = append(out, e)
		}
	}
	return out
}

func (r *Register) finish(ctx context.Context, e *entry, now int64) error {
	e.change.Lock()
	defer e.change.Unlock()
	next := e.row
	switch {
	case next.Unrecorded:
	case next.State.Open() && now >= next.Expires:
		next.State, next.Ended, next.Unrecorded = Expired, now, true
	default:
		return nil
	}
	return r.end(ctx, e, next)
}

// ended lists what ended by then and has nothing left to be written, oldest first.
func (r *Register) ended(then int64) (out []*entry) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, e := range r.byID {
		if e.ready && e.row.Ended != 0 && e.row.Ended <= then && !e.row.Unrecorded {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.row.Ended, b.row.Ended), cmp.Compare(a.row.ID, b.row.ID))
	})
	return out
}

// dropBatch bounds what one transaction removes, well below what a store allows, and what makes room at once, so that
// looking for the oldest happens seldom.
const dropBatch = 64

// makeRoom drops the oldest that have ended when no more can be kept.
func (r *Register) makeRoom(ctx context.Context) error {
	r.mu.RLock()
	full := len(r.byID) >= r.cfg.MaxAll
	r.mu.RUnlock()
	if !full {
		return nil
	}
	old := r.ended(r.deps.Now().Unix())
	return r.drop(ctx, old[:min(len(old), dropBatch)])
}

// drop forgets what has ended; the ledger keeps it.
func (r *Register) drop(ctx context.Context, list []*entry) error {
	ids := map[string][]string{}
	for _, e := range list {
		ids[e.tenant] = append(ids[e.tenant], e.row.ID)
	}
	for tenant, some := range ids {
		if err := r.remove(ctx, tenant, some); err != nil {
			return err
		}
		r.mu.Lock()
		for _, id := range some {
			delete(r.byID, idKey{tenant, id})
		}
		r.mu.Unlock()
	}
	return nil
}
