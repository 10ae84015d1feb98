package wal

import (
	"context"
	"fmt"
	"iter"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/index"
)

// Bounds of one look-up: records that it reads from the disk, of which one in four billion is read in vain, and segments
// whose index it looks into.
const (
	maxLookup   = 4096
	maxSegments = 1024
)

// Find returns the record with this id in a tenant's ledger, and false when no durable record has it; of an id that is
// there twice, the first. Ids sort by time and records are appended nearly in that order, so only the segments of the
// id's time come into question, but nothing rests on the clock: a record that is there is found after any step of it.
// ErrLookup is the answer when too many come into question; then nothing is said about the record.
func (l *Log) Find(ctx context.Context, tenant, id string) (Entry, bool, error) {
	if !ledger.ValidID(id) {
		return Entry{}, false, nil
	}
	return l.lookup(ctx, tenant, &wanted{
		in:    func(r *index.Range) bool { return r.HoldsID(id) },
		marks: func(p *index.Part) iter.Seq2[uint64, uint32] { return p.Named(id) },
		is:    func(r *ledger.Record) bool { return r.ID == id },
	})
}

// FindAfter returns the first record at or behind an index of a tenant's ledger that names this id as the one it is
// about (Record.Of), and false when none does: the settled record of an admitted one, the outcome of an admin's intent.
// Nothing is read for a call that is still open. ErrLookup is as in Find.
func (l *Log) FindAfter(ctx context.Context, tenant, of string, from uint64) (Entry, bool, error) {
	if !ledger.ValidID(of) || l.uses.isOpen(of) {
		return Entry{}, false, nil
	}
	return l.lookup(ctx, tenant, &wanted{
		in:    func(r *index.Range) bool { return r.End() > from && r.HoldsOf(of) },
		marks: func(p *index.Part) iter.Seq2[uint64, uint32] { return p.Naming(of, from) },
		is:    func(r *ledger.Record) bool { return r.Of == of },
	})
}

// wanted is a record that is looked for: in which parts it may be, which records of them come into question, and it.
type wanted struct {
	in    func(*index.Range) bool
	marks func(*index.Part) iter.Seq2[uint64, uint32]
	is    func(*ledger.Record) bool
}

// lookup reads one record after another until it is the one.
func (l *Log) lookup(ctx context.Context, tenant string, want *wanted) (Entry, bool, error) {
	if err := ctx.Err(); err != nil {
		return Entry{}, false, context.Cause(ctx)
	}
	h, _ := l.holdingsOf(tenant)
	rd := reader{log: l, w: window{few: true}}
	defer rd.close()
	segments, reads := maxSegments, maxLookup
	for _, s := range h.spans() {
		if !want.in(&s.Range) {
			continue
		}
		if segments--; segments < 0 {
			return Entry{}, false, fmt.Errorf("look up: %w", ErrLookup)
		}
		p, err := h.part(ctx, &s)
		if err != nil {
			return Entry{}, false, fmt.Errorf("look up: %w", err)
		}
		e, ok, err := rd.one(ctx, &p, s.segment, want, &reads)
		if ok && e.Index < h.first {
			return Entry{}, false, fmt.Errorf("look up: %w: record %d, the first is %d", ErrPruned, e.Index, h.first)
		}
		if ok || err != nil {
			return e, ok, err
		}
	}
	return Entry{}, false, nil
}

// one reads the records of a part that come into question.
func (r *reader) one(ctx context.Context, p *index.Part, segment uint64, want *wanted, reads *int) (Entry, bool, error) {
	for at, off := range want.marks(p) {
		if err := ctx.Err(); err != nil {
			return Entry{}, false, context.Cause(ctx)
		}
		if *reads--; *reads < 0 {
			return Entry{}, false, fmt.Errorf("look up: %w", ErrLookup)
		}
		e, err := r.entry(place{segment, int64(off)}, at)
		if err != nil {
			return Entry{}, false, fmt.Errorf("look up: %w", err)
		}
		rec, err := e.Record()
		if err != nil {
			return Entry{}, false, fmt.Errorf("look up: %w: %w", ErrCorrupt, err)
		}
		if want.is(&rec) {
			return e, true, nil
		}
	}
	return Entry{}, false, nil
}
