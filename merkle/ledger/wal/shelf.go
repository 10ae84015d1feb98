package wal

import (
	"context"
	"fmt"
	"slices"
	"sort"

	"github.com/gatewright/gatewright/merkle/ledger/index"
)

// indexCache is how many bytes of indexes stay in memory when Options.IndexCache does not say: a million records.
const indexCache = 64 << 20

// indexing finds records: for the segment that is being written an index in memory, for each full one a file beside it, of
// which the latest used are in memory too.
type indexing struct {
	open  *index.Builder // of the segment that is being written, nil before its first record; Log.view guards it
	store *index.Store
	wake  chan struct{} // something is to be saved
	began bool          // the saving goroutine runs

	name   string // of the tenant that the last record was of
	recent *shelf // its shelf

	floors map[string]uint64 // of tenants: indexes before which nothing is shown; Log.view guards it
}

func newIndexing(o *Options, src index.Source) indexing {
	most := o.IndexCache
	if most == 0 {
		most = indexCache
	}
	name := func(segment uint64) string { return indexName(o.Dir, segment) }
	return indexing{store: index.NewStore(o.FS, index.NewKey(o.Signer.Seed()), most, src, name), wake: make(chan struct{}, 1)}
}

// shelf says in which segments a tenant's records lie: about 100 bytes for each full segment that has some.
//
// What was appended to full is never written again, so that a copy taken under Log.view is read without it.
type shelf struct {
	size uint64
	full []span
}

// span is a tenant's part of one segment.
type span struct {
	segment uint64
	index.Range
}

// shelve notes a durable record. Log.view is held, or nobody else has the log yet.
func (l *Log) shelve(r *index.Row, segment uint64) {
	x := &l.index
	if x.open == nil || x.open.Segment() != segment {
		l.turn(segment)
	}
	s := x.recent
	if s == nil || x.name != r.Tenant {
		s = l.shelfOf(r.Tenant)
		x.name, x.recent = r.Tenant, s
	}
	x.open.Add(r)
	s.size++
}

func (l *Log) shelfOf(tenant string) *shelf {
	s := l.tenants[tenant]
	if s == nil {
		s = &shelf{}
		l.tenants[tenant] = s
		l.names = append(l.names, tenant)
	}
	return s
}

// turn goes on to the index of another segment. The one before is full and is saved in the background; while the log is
// being opened it is saved here, so that the memory that takes does not grow with the log.
func (l *Log) turn(segment uint64) {
	x := &l.index
	if x.open != nil && x.open.Rows() > 0 {
		t := x.open.Table()
		for _, r := range t.Ranges() {
			s := l.tenants[r.Tenant]
			s.full = append(s.full, span{t.Segment(), r})
		}
		x.store.Put(t)
		if x.began {
			kick(x.wake)
		} else {
			l.stats.Index = x.store.Save()
		}
	}
	x.open = index.NewBuilder(segment)
}

// attach takes up what is known of a full segment, in the order of segments, in place of its records. Nobody else has
// the log yet.
func (l *Log) attach(segment uint64, ranges []index.Range) error {
	for _, r := range ranges {
		s := l.shelfOf(r.Tenant)
		if len(s.full) > 0 && r.First != s.size {
			return fmt.Errorf("%w: index of segment %d: tenant %s has %d records before it, not %d", ErrCorrupt, segment, r.Tenant, s.size, r.First)
		}
		s.full, s.size = append(s.full, span{segment, r}), r.End()
	}
	return nil
}

// attachFrom is attach with what the segment's index says, which is made when it is of no use.
func (l *Log) attachFrom(ctx context.Context, segment uint64) error {
	ranges, err := l.index.store.Ranges(ctx, segment)
	if err != nil {
		return err
	}
	return l.attach(segment, ranges)
}

// attachOpen takes up the records of the segment that is written next, up to a place in it; those behind it are shelved
// one by one. Nobody else has the log yet.
func (l *Log) attachOpen(ctx context.Context, at place) error {
	if at.off <= headerBytes {
		return nil
	}
	t, err := l.index.store.Read(at.segment, func(have index.Identity, last uint32) bool {
		id, err := l.identify(at.segment, last)
		return err == nil && id == have && id.End == at.off
	})
	if err != nil {
		if t, err = l.walked(ctx, at); err != nil {
			return err
		}
	}
	for _, r := range t.Ranges() {
		s := l.shelfOf(r.Tenant)
		if len(s.full) > 0 && r.First != s.size {
			return fmt.Errorf("%w: index of segment %d: tenant %s has %d records before it, not %d", ErrCorrupt, at.segment, r.Tenant, s.size, r.First)
		}
		s.size = r.End()
	}
	l.index.open = index.Resume(t)
	return nil
}

func (l *Log) walked(ctx context.Context, to place) (*index.Table, error) {
	b := index.NewBuilder(to.segment)
	err := l.walk(ctx, to.segment, to.off, func(r *index.Row) error {
		if !b.Add(r) {
			return fmt.Errorf("%w: segment %d, offset %d: out of order", ErrCorrupt, to.segment, r.Off)
		}
		return nil
	})
	return b.Table(), err
}

// holdings are a tenant's records as they stood at one moment.
type holdings struct {
	log     *Log
	tenant  string
	size    uint64
	first   uint64 // index of the first that is kept
	full    []span
	open    index.Part // of the segment that is being written, empty when it has none
	segment uint64
}

// holdingsOf reports false for a tenant without records.
func (l *Log) holdingsOf(tenant string) (holdings, bool) {
	l.view.RLock()
	defer l.view.RUnlock()
	s := l.tenants[tenant]
	if s == nil {
		return holdings{}, false
	}
	h := holdings{log: l, tenant: tenant, size: s.size, first: s.size, full: s.full}
	if l.index.open != nil {
		h.open, _ = l.index.open.Part(tenant)
		h.segment = l.index.open.Segment()
	}
	switch {
	case len(h.full) > 0:
		h.first = h.full[0].First
	case h.open.Count > 0:
		h.first = h.open.First
	}
	h.first = max(h.first, l.index.floors[tenant])
	return h, true
}

// spans lists where the records lie, in their order.
func (h *holdings) spans() []span {
	if h.open.Count == 0 {
		return h.full
	}
	return append(slices.Clip(h.full), span{h.segment, h.open.Range})
}

// part returns the index of one span.
func (h *holdings) part(ctx context.Context, s *span) (index.Part, error) {
	if h.open.Count > 0 && s.segment == h.segment {
		return h.open, nil
	}
	t, err := h.log.index.store.Table(ctx, s.segment)
	if err != nil {
		if h.log.gone(h.tenant, s.segment) {
			err = fmt.Errorf("%w: %w", ErrPruned, err)
		}
		return index.Part{}, err
	}
	p, ok := t.Part(h.tenant)
	if !ok || p.First != s.First || p.Count != s.Count {
		return index.Part{}, fmt.Errorf("%w: the index of segment %d is not of its records", ErrCorrupt, s.segment)
	}
	return p, nil
}

// gone reports whether a segment was forgotten meanwhile.
func (l *Log) gone(tenant string, segment uint64) bool {
	l.view.RLock()
	defer l.view.RUnlock()
	s := l.tenants[tenant]
	return s == nil || len(s.full) == 0 || segment < s.full[0].segment
}

// from returns the number of the first span that ends after an index.
func from(spans []span, index uint64) int {
	return sort.Search(len(spans), func(i int) bool { return spans[i].End() > index })
}

// forget takes the segments before one out of what readers see, and drops their indexes. A tenant all of whose records
// were in them stays, with its size.
func (l *Log) forget(before uint64) {
	l.view.Lock()
	gone := map[uint64]bool{}
	for _, s := range l.tenants {
		n := 0
		for n < len(s.full) && s.full[n].segment < before {
			gone[s.full[n].segment] = true
			n++
		}
		s.full = s.full[n:]
	}
	l.view.Unlock()
	for segment := range gone {
		_ = l.index.store.Forget(segment) // without its segment it is never read
	}
}
