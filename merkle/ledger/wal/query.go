package wal

import (
	"context"
	"fmt"
	"slices"

	"github.com/gatewright/gatewright/merkle/ledger/index"
)

// Bounds of one search, in records that come into question: a page that looked at that many ends, a count that would have
// to is refused. Looking at a million takes some milliseconds when their indexes are in memory.
const (
	maxLook  = 4 << 20
	maxCount = 64 << 20
	maxAsk   = 64 << 10 // records that a count reads from the disk
	// maxCounts is how many counts run at a time, for all tenants together: one may take tens of megabytes. The others wait.
	maxCounts = 2
)

// Query returns a page of a tenant's records that a query wants, exactly. A page holds up to 16 MiB; it may be empty and
// yet not the last, after many records that are not wanted. A tenant without records is ErrTenant, a query that cannot
// be asked index.ErrQuery, and a cursor to records that were pruned since ErrPruned.
func (l *Log) Query(ctx context.Context, tenant string, q index.Query) (index.Page, error) {
	s, err := l.search(tenant, &q)
	if err != nil {
		return index.Page{}, fmt.Errorf("query ledger: %w", err)
	}
	defer s.rd.close()
	for i := range s.spans {
		n := i
		if !q.Oldest {
			n = len(s.spans) - 1 - i
		}
		full, err := s.turn(ctx, &s.spans[n])
		if err != nil {
			return index.Page{}, fmt.Errorf("query ledger: %w", err)
		}
		if full {
			break
		}
	}
	return s.page, nil
}

// search is one query on its way through the segments.
type search struct {
	h      holdings
	q      *index.Query
	spans  []span // that come into question, in order
	lo, hi uint64 // indexes that do
	rd     reader
	page   index.Page
	bytes  int
	looked uint64
}

func (l *Log) search(tenant string, q *index.Query) (*search, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	h, ok := l.holdingsOf(tenant)
	if !ok {
		return nil, ErrTenant
	}
	s := &search{h: h, q: q, lo: h.first, hi: h.size, rd: reader{log: l, w: window{few: true}}}
	s.page.Size, s.page.First = h.size, h.first
	if q.Limit == 0 {
		q.Limit = index.MaxPage
	}
	if q.Bytes == 0 {
		q.Bytes = index.MaxPageBytes
	}
	switch c := q.Cursor; {
	case c == index.Cursor{}:
	case c.Oldest && c.Next < h.first, !c.Oldest && c.Next <= h.first && h.first > 0:
		return nil, fmt.Errorf("%w: the page begins at %d, the first record is %d", ErrPruned, c.Next, h.first)
	case c.Oldest:
		s.lo, s.hi = c.Next, min(c.End, h.size)
	default:
		s.hi = min(c.Next, h.size)
	}
	s.spans = slices.DeleteFunc(slices.Clone(h.spans()), func(p span) bool {
		return p.First >= s.hi || p.End() <= s.lo || !p.HoldsTime(q.From, q.To)
	})
	return s, nil
}

// turn searches one segment. It reports true when the page is full.
func (s *search) turn(ctx context.Context, in *span) (bool, error) {
	if s.looked > maxLook {
		s.stop(in.First, in.End()-1)
		return true, nil
	}
	s.looked += in.Count
	p, err := s.h.part(ctx, in)
	if err != nil {
		return false, err
	}
	for hit := range p.Scan(s.q, s.lo, s.hi) {
		if err := ctx.Err(); err != nil {
			return false, context.Cause(ctx)
		}
		if hit.Sure && s.full() {
			s.stop(hit.Index, hit.Index)
			return true, nil
		}
		e, ok, err := s.read(in.segment, hit)
		if err != nil {
			return false, err
		}
		if ok && s.full() {
			s.stop(hit.Index, hit.Index)
			return true, nil
		}
		if ok {
			s.page.Entries, s.bytes = append(s.page.Entries, e), s.bytes+len(e.Data)+len(e.Side)
		}
	}
	return false, ctx.Err()
}

func (s *search) full() bool { return len(s.page.Entries) >= s.q.Limit || s.bytes >= s.q.Bytes }

// stop says where the next page begins: with the first of some indexes, or newest first with the last of them.
func (s *search) stop(first, last uint64) {
	s.page.Next = index.Cursor{Next: last + 1}
	if s.q.Oldest {
		s.page.Next = index.Cursor{Oldest: true, Next: first, End: s.hi}
	}
}

// read reads a record, and asks it when the index is not sure.
func (s *search) read(segment uint64, hit index.Hit) (Entry, bool, error) {
	e, err := s.rd.entry(place{segment, int64(hit.Off)}, hit.Index)
	if err != nil || hit.Sure {
		return e, err == nil, err
	}
	r, err := rowOf(&e)
	return e, err == nil && s.q.Holds(&r), err
}

func rowOf(e *Entry) (index.Row, error) {
	r, err := e.Record()
	if err != nil {
		return index.Row{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return index.RowOf(&r, e.Index, 0), nil
}

// Count adds up a tenant's records that a query wants, exactly; its order, limit and cursor say nothing. A tenant without
// records is ErrTenant, a query that cannot be asked index.ErrQuery, and one with too much to add up index.ErrCount.
func (l *Log) Count(ctx context.Context, tenant string, q index.Query) (index.Counts, error) {
	q.Oldest, q.Limit, q.Cursor = true, 0, index.Cursor{}
	s, err := l.search(tenant, &q)
	if err != nil {
		return index.Counts{}, fmt.Errorf("count ledger: %w", err)
	}
	defer s.rd.close()
	select {
	case l.counts <- struct{}{}:
	case <-ctx.Done():
		return index.Counts{}, fmt.Errorf("count ledger: %w", context.Cause(ctx))
	}
	defer func() { <-l.counts }()
	t, asked := index.NewTally(), 0
	for i := range s.spans {
		if s.looked += s.spans[i].Count; s.looked > maxCount {
			return index.Counts{}, fmt.Errorf("count ledger: %w", index.ErrCount)
		}
		if err := s.count(ctx, t, &s.spans[i], &asked); err != nil {
			return index.Counts{}, fmt.Errorf("count ledger: %w", err)
		}
	}
	out := t.Counts()
	out.Size, out.Kept = s.h.size, s.h.first
	return out, nil
}

// count adds up one segment.
func (s *search) count(ctx context.Context, t *index.Tally, in *span, asked *int) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	p, err := s.h.part(ctx, in)
	if err != nil {
		return err
	}
	ask, err := t.Add(&p, s.q, s.lo)
	if err != nil {
		return err
	}
	if *asked += len(ask); *asked > maxAsk {
		return index.ErrCount
	}
	for _, hit := range ask {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		e, err := s.rd.entry(place{in.segment, int64(hit.Off)}, hit.Index)
		if err != nil {
			return err
		}
		r, err := rowOf(&e)
		if err != nil {
			return err
		}
		if !s.q.Holds(&r) {
			continue
		}
		if err := t.AddRow(&r); err != nil {
			return err
		}
	}
	return nil
}
