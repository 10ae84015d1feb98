package plans

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/gatewright/gatewright/store"
)

// Bounds of the work done to make room.
const (
	maxTries  = 8    // chains tried for one that can be dropped
	maxRounds = 8    // chains dropped for one capture, while others take the places
	maxTrim   = 1024 // chains dropped by one sweep, after the bound was lowered
)

// grace is how long, in seconds, an ended plan is kept after its last token: a request is judged by the time it began.
const grace = 60

// errFull: the bound of all plans is reached.
var errFull = errors.New("no place")

// needed returns the unix second until which a plan has to be kept: while it may be worked on, while tokens could be
// shown that its end or its revocation refuses, and while a record about it is still to be written. Register.mu or the
// chain's change lock is held.
func (e *entry) needed() int64 {
	var shown int64
	if e.until != 0 {
		shown = e.until + grace
	}
	switch row := &e.row; {
	case row.Pending || e.owed > 0:
		return math.MaxInt64
	case row.State == Completed || row.State == Failed:
		return max(row.Ended, shown)
	default:
		return max(row.Expires, shown)
	}
}

// needed is as long as any of its plans is.
func (c *chain) needed() int64 {
	var end int64
	for _, e := range c.plans {
		end = max(end, e.needed())
	}
	return end
}

// order takes up a change of a chain, other than by time: when it may make room, and what its plans count as. Register.mu
// is held.
func (r *Register) order(c *chain) {
	if c.dropped {
		return
	}
	now := r.deps.Now().Unix()
	c.free = c.needed()
	for _, e := range c.plans {
		r.count(e, now)
	}
	switch {
	case c.claimed:
	case c.spot == 0:
		heap.Push(&r.queue, c)
	default:
		heap.Fix(&r.queue, c.spot-1)
	}
}

// settle gives a plan being captured its place. Where the gateway has none left, ended plans make room.
func (r *Register) settle(ctx context.Context, e *entry) error {
	for range maxRounds {
		if err := r.seat(e); !errors.Is(err, errFull) {
			return err
		}
		if !r.makeRoom(ctx) {
			break
		}
	}
	return r.full(agentKey{e.tenant, e.row.Agent})
}

func (r *Register) seat(e *entry) error {
	now := r.deps.Now().Unix()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.within(agentKey{e.tenant, e.row.Agent}, now); err != nil {
		return err
	}
	switch {
	case len(r.byID) >= r.cfg.Plans:
		return errFull
	case r.byRoot[rootKey{e.tenant, e.row.Root}] != nil:
		return errors.New("a plan with this root exists: randomness repeats itself")
	}
	r.byID[planKey{e.tenant, e.row.ID}] = e
	r.count(e, e.row.Created)
	return nil
}

// trim drops what may be dropped while there are more plans than the bound.
func (r *Register) trim(ctx context.Context) {
	for range maxTrim {
		r.mu.RLock()
		n := len(r.byID)
		r.mu.RUnlock()
		if n <= r.cfg.Plans || !r.makeRoom(ctx) {
			return
		}
	}
}

// makeRoom drops the chain that could have been dropped for the longest time. It tells whether it dropped one.
func (r *Register) makeRoom(ctx context.Context) bool {
	var tried []*chain
	defer func() { r.release(tried) }()
	for range maxTries {
		c := r.claim()
		if c == nil {
			return false
		}
		tried = append(tried, c)
		gone, err := r.clear(ctx, c)
		if gone || err != nil {
			r.fault(err)
			return gone
		}
	}
	return false
}

// claim takes the next chain that can be dropped out of the queue, so that nobody else tries it too; nil when there is none.
func (r *Register) claim() *chain {
	now := r.deps.Now().Unix()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 || r.queue[0].free > now {
		return nil
	}
	c := heap.Pop(&r.queue).(*chain) //nolint:forcetypeassert // a queue holds nothing else
	c.claimed = true
	return c
}

// release puts chains that were not dropped back.
func (r *Register) release(list []*chain) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range list {
		c.claimed = false
		r.order(c)
	}
}

// clear drops a claimed chain, if that can be done at once: whoever re-anchors a plan has its chain and asks for room,
// so waiting here could be for ever.
func (r *Register) clear(ctx context.Context, c *chain) (gone bool, err error) {
	if !c.change.TryLock() {
		return false, nil
	}
	defer c.change.Unlock()
	now := r.deps.Now().Unix()
	for _, e := range c.plans {
		r.pass(ctx, e, now)
	}
	if c.needed() > now {
		return false, nil
	}
	err = r.discard(ctx, c, now)
	return err == nil && c.dropped, err
}

// drop is discard for one who does not have the chain.
func (r *Register) drop(ctx context.Context, c *chain) error {
	c.change.Lock()
	defer c.change.Unlock()
	return r.discard(ctx, c, r.deps.Now().Unix())
}

// discard forgets ended plans, a chain at once; the ledger keeps what happened under them. From the attempt on nobody finds
// them, since the rows may be gone whatever the store says: a change would bring back half of them. It leaves a chain that
// has a token in the store which has not expired, and one with too many that have, of which it removes some. The chain's
// change lock is held.
func (r *Register) discard(ctx context.Context, c *chain, now int64) error {
	if c.dropped {
		return nil
	}
	list, err := r.keptTokens(ctx, c, now)
	if err != nil {
		return fmt.Errorf("remove plan: %w", err)
	}
	if c.needed() > now {
		return nil
	}
	tenant := c.plans[0].tenant
	if len(list) > removeBatch {
		return r.removeRows(ctx, tenant, list[:removeBatch])
	}
	r.hide(c)
	err = r.deps.Store.Update(ctx, tenant, func(tx store.Txn) error {
		for i := range list {
			if err := remove(tx, tokenTable.Name, list[i].key()); err != nil {
				return err
			}
		}
		for _, e := range c.plans {
			if err := errors.Join(remove(tx, planTable.Name, e.row.ID), remove(tx, bodies, e.row.ID)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove plan: %w", err)
	}
	r.gone(c, list)
	return nil
}

// keptTokens reads a chain's tokens as they are kept, at most one more than removeBatch: also those whose issue failed, which
// nobody has, and which without their plan would refuse the next start. One that has not expired prolongs its plan's stay.
func (r *Register) keptTokens(ctx context.Context, c *chain, now int64) ([]tokenRow, error) {
	var out []tokenRow
	var lasting *entry
	var until int64
	err := r.deps.Store.View(ctx, c.plans[0].tenant, func(tx store.Txn) error {
		out, lasting = nil, nil
		for _, e := range c.plans {
			err := tokenTable.Scan(tx, e.row.ID+"/", func(_ string, row tokenRow, _ uint64) error {
				if row.Expires > now {
					lasting, until = e, row.Expires
				}
				if out = append(out, row); len(out) > removeBatch || lasting != nil {
					return store.ErrDone
				}
				return nil
			})
			if err != nil || len(out) > removeBatch || lasting != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || lasting == nil {
		return out, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	lasting.until = max(lasting.until, until)
	r.order(c)
	return nil, nil
}

// hide lets nobody find a chain's plans any more; their roots stay known as ended.
func (r *Register) hide(c *chain) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range c.plans {
		e.ready = false
	}
}

// gone takes a dropped chain out of the memory.
func (r *Register) gone(c *chain, list []tokenRow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.dropped = true
	if c.spot != 0 {
		heap.Remove(&r.queue, c.spot-1)
	}
	for i := range list {
		delete(r.tokens, planKey{c.plans[0].tenant, list[i].ID})
	}
	for _, e := range c.plans {
		r.unlist(e)
	}
}

// kept tells whether a plan that was found is still there. It is asked again once its chain's change lock is held.
func (r *Register) kept(e *entry) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return e.ready
}

// queue is a heap of all chains, the one that may be dropped first on top.
type queue []*chain

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].free, q[j].free), cmp.Compare(q[i].plans[0].row.ID, q[j].plans[0].row.ID)) < 0
}

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].spot, q[j].spot = i+1, j+1
}

// Push is for package heap.
func (q *queue) Push(x any) {
	c := x.(*chain) //nolint:forcetypeassert // only order pushes
	*q = append(*q, c)
	c.spot = len(*q)
}

// Pop is for package heap.
func (q *queue) Pop() any {
	n := len(*q) - 1
	c := (*q)[n]
	(*q)[n], *q = nil, (*q)[:n]
	c.spot = 0
	return c
}
