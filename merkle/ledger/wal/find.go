package wal

import (
	"context"
	"fmt"
	"iter"

	"github.com/gatewright/gatewright/merkle/ledger"
)

// maxLookup bounds the records that one look-up reads from the disk. One record in 255 is read of those that come into
// question, so a look-up sees about a million records of the id's time.
const maxLookup = 4096

// Find returns the record with this id in a tenant's ledger, and false when no durable record has it; of an id that is
// there twice, the first. Ids sort by time and records are appended nearly in that order, so only the records of the
// id's time come into question, but nothing rests on the clock: a record that is there is found after any step of it.
// ErrLookup is the answer when too many come into question; then nothing is said about the record.
func (l *Log) Find(ctx context.Context, tenant, id string) (Entry, bool, error) {
	if !ledger.ValidID(id) {
		return Entry{}, false, nil
	}
	s := l.shelfOf(tenant)
	return l.lookup(ctx, s.named(id), func(r *ledger.Record) bool { return r.ID == id })
}

// FindAfter returns the first record at or behind an index of a tenant's ledger that names this id as the one it is
// about (Record.Of), and false when none does: the settled record of an admitted one, the outcome of an admin's intent.
// Nothing is read for a call that is still open. ErrLookup is as in Find.
func (l *Log) FindAfter(ctx context.Context, tenant, of string, from uint64) (Entry, bool, error) {
	if !ledger.ValidID(of) || l.uses.isOpen(of) {
		return Entry{}, false, nil
	}
	s := l.shelfOf(tenant)
	return l.lookup(ctx, s.naming(of, from), func(r *ledger.Record) bool { return r.Of == of })
}

// lookup reads one place after another until a record is the one.
func (l *Log) lookup(ctx context.Context, places iter.Seq2[uint64, spot], is func(*ledger.Record) bool) (Entry, bool, error) {
	rd := reader{log: l, w: window{few: true}}
	defer rd.close()
	n := 0
	for index, at := range places {
		if err := ctx.Err(); err != nil {
			return Entry{}, false, context.Cause(ctx)
		}
		if n++; n > maxLookup {
			return Entry{}, false, fmt.Errorf("look up: %w", ErrLookup)
		}
		e, err := rd.entry(at, index)
		if err != nil {
			return Entry{}, false, fmt.Errorf("look up: %w", err)
		}
		r, err := e.Record()
		if err != nil {
			return Entry{}, false, fmt.Errorf("look up: %w: %w", ErrCorrupt, err)
		}
		if is(&r) {
			return e, true, nil
		}
	}
	return Entry{}, false, nil
}
