package wal

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// item is one call's record on its way through the log. The caller fills it, waits on done, and
// puts it back when it was served. A caller that gave up drops it: the log may still hold it.
type item struct {
	// state is the watch's generation at the start << 1 | 1 while the caller waits, 0 once somebody answered it.
	state atomic.Uint64
	done  chan struct{}
	err   error // set by whoever answers, before done
	fate  error // the writer's verdict

	event   Event
	use     Use
	buf     []byte // leaf, then side
	leafLen int
	leaf    merkle.Hash
	tenant  uint32 // its number, once the record is laid
	signed  bool   // wants a receipt
	own     bool   // the log's own: may use the reserve, nobody waits

	mark  Mark
	at    place
	batch *batch
	index int // in the batch

	raw   []byte // the receipt's binary form
	proof []merkle.Hash
}

// answer ends the caller's wait. It reports false when the watch already did.
func (it *item) answer(err error) bool {
	s := it.state.Load()
	if s&1 == 0 || !it.state.CompareAndSwap(s, 0) {
		return false
	}
	it.err = err
	it.done <- struct{}{}
	return true
}

// Append writes a record and returns when it is durable. Of the admitted kind it takes only those
// without a plan: a step is spent by Admit. ID and Time are filled in when they are zero, Instance
// and Boot always. The context is looked at once, at the start: a write cannot be taken back.
func (l *Log) Append(ctx context.Context, r *ledger.Record) (Mark, error) {
	if r.Kind == ledger.Admitted && !r.Plan.IsZero() {
		return Mark{}, fmt.Errorf("append: %w: a plan's step must be admitted with its use", ledger.ErrRecord)
	}
	it, err := l.call(ctx, r, nil, false)
	if err != nil {
		return Mark{}, fmt.Errorf("append: %w", err)
	}
	m := it.mark
	l.items.Put(it)
	return m, nil
}

// Admit checks a use and writes the admitted record as one act. It sets the record's plan members
// from the use. ErrUsed, ErrOrder, ErrExpired and ErrForeign refuse the use and write nothing.
func (l *Log) Admit(ctx context.Context, r *ledger.Record, u Use) (Mark, error) {
	switch {
	case r.Kind != ledger.Admitted || u.Plan.IsZero():
		return Mark{}, fmt.Errorf("admit: %w: want an admitted record with a plan", ledger.ErrRecord)
	case u.Step < 0 || u.Step >= maxStep || u.Expires < 0:
		return Mark{}, fmt.Errorf("admit: %w: step %d", ledger.ErrRecord, u.Step)
	}
	r.Plan, r.Step, r.Uses, r.After, r.PlanExpires = u.Plan, u.Step, u.Max, u.After, u.Expires
	it, err := l.call(ctx, r, &u, false)
	if err != nil {
		return Mark{}, fmt.Errorf("admit: %w", err)
	}
	m := it.mark
	l.items.Put(it)
	return m, nil
}

// Settle writes a record, mostly settled or refused, and appends its receipt's text to receipt once
// the record is durable and signed. A settled record must name an open admitted one of its tenant,
// else ErrNotOpen. On an error nothing is appended.
func (l *Log) Settle(ctx context.Context, r *ledger.Record, receipt []byte) (Mark, []byte, error) {
	if r.Kind == ledger.Admitted {
		return Mark{}, receipt, fmt.Errorf("settle: %w: admitted", ledger.ErrRecord)
	}
	it, err := l.call(ctx, r, nil, true)
	if err != nil {
		return Mark{}, receipt, fmt.Errorf("settle: %w", err)
	}
	receipt, err = l.appendReceipt(it, receipt)
	m := it.mark
	l.items.Put(it)
	return m, receipt, err
}

// call seals the record in the caller's goroutine, hands it over and waits.
func (l *Log) call(ctx context.Context, r *ledger.Record, u *Use, signed bool) (*item, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := l.poisoned(); err != nil {
		return nil, err
	}
	it := l.items.Get().(*item)
	err := l.seal(r, it)
	if err == nil {
		it.signed, it.own = signed, false
		it.use = Use{}
		if u != nil {
			it.use = *u
		}
		it.state.Store(l.generation.Load()<<1 | 1)
		err = l.enqueue(it)
	}
	if err != nil {
		l.items.Put(it)
		return nil, err
	}
	<-it.done
	if it.err != nil {
		return nil, l.refused(it)
	}
	return it, nil
}

// refused puts an item back unless the log may still hold it.
func (l *Log) refused(it *item) error {
	err := it.err
	if !errors.Is(err, ErrDeadline) {
		l.items.Put(it)
	}
	return err
}

// seal encodes and hashes a record.
func (l *Log) seal(r *ledger.Record, it *item) error {
	if err := l.encode(r, it); err != nil {
		return err
	}
	it.leaf = merkle.LeafHash(it.buf[:it.leafLen])
	it.event = eventOf(r)
	return nil
}

// encode fills in what is missing, and lays out the record's leaf and what stands beside it.
func (l *Log) encode(r *ledger.Record, it *item) error {
	r.Instance, r.Boot = l.opt.Instance, l.boot
	if r.Time == 0 {
		r.Time = l.opt.Now().UnixMicro()
	}
	if r.ID == "" {
		id, err := ledger.NewID(l.opt.Now(), l.opt.Rand)
		if err != nil {
			return err
		}
		r.ID = id
	}
	if err := r.Normalize(); err != nil {
		return err
	}
	it.buf = r.AppendJSON(it.buf[:0])
	it.leafLen = len(it.buf)
	if it.leafLen > ledger.MaxLeaf {
		return fmt.Errorf("%w: leaf of %d bytes, at most %d", ledger.ErrSize, it.leafLen, ledger.MaxLeaf)
	}
	if n := int64(headerBytes + frameSize(it.leafLen, len(r.Side))); n > l.opt.SegmentBytes {
		return fmt.Errorf("%w: a segment of %d bytes cannot hold it", ledger.ErrSize, l.opt.SegmentBytes)
	}
	it.buf = append(it.buf, r.Side...)
	return nil
}

func (l *Log) enqueue(it *item) error {
	l.mu.Lock()
	switch {
	case l.closing && !it.own:
		l.mu.Unlock()
		return ErrClosed
	case len(l.queue) >= l.opt.QueueRecords && !it.own:
		l.mu.Unlock()
		return ErrBusy
	}
	l.queue = append(l.queue, it)
	first := len(l.queue) == 1
	l.mu.Unlock()
	switch {
	case first && l.syncing.Load():
		kick(l.help)
	case first:
		kick(l.wake)
	}
	return nil
}

// kick wakes a goroutine that waits on c, or sees to it that its next wait ends at once.
func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
