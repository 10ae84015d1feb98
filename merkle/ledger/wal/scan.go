package wal

import (
	"context"
	"fmt"
	"os"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger/index"
)

// Bounds of one Scan: entries, and bytes after which no more are added.
const (
	maxScan      = 10_000
	maxScanBytes = 16 << 20
)

// Entry is one record as it stands in the log.
type Entry = index.Entry

// Scan returns up to n records of one tenant in order, from an index on; none at its end. It may return fewer than n
// before the end, at least one. A tenant without records is ErrTenant, an index before the first that is kept ErrPruned.
func (l *Log) Scan(ctx context.Context, tenant string, from uint64, n int) ([]Entry, error) {
	places, err := l.places(ctx, tenant, from, min(n, maxScan))
	if err != nil {
		return nil, fmt.Errorf("scan: %w", err)
	}
	rd := reader{log: l, left: len(places)}
	defer rd.close()
	out := make([]Entry, 0, len(places))
	for bytes := 0; len(out) < len(places) && bytes < maxScanBytes; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		e, err := rd.entry(places[len(out)], from+uint64(len(out)))
		if err != nil {
			return nil, fmt.Errorf("scan: %w", err)
		}
		bytes += len(e.Data) + len(e.Side)
		out = append(out, e)
	}
	return out, nil
}

// places says where up to n records lie, in as few segments as they are in.
func (l *Log) places(ctx context.Context, tenant string, first uint64, n int) ([]place, error) {
	h, ok := l.holdingsOf(tenant)
	if !ok {
		return nil, ErrTenant
	}
	if first < h.first {
		return nil, fmt.Errorf("%w: record %d, the first is %d", ErrPruned, first, h.first)
	}
	var out []place
	spans := h.spans()
	for i := from(spans, first); i < len(spans) && len(out) < n; i++ {
		p, err := h.part(ctx, &spans[i])
		if err != nil {
			return nil, err
		}
		for at := first + uint64(len(out)); at < p.End() && len(out) < n; at++ {
			out = append(out, place{spans[i].segment, int64(p.Off(at))})
		}
	}
	return out, nil
}

// reader reads records at known places and keeps the last segment open.
type reader struct {
	log  *Log
	w    window
	open uint64
	seed uint32 // of its frames

	left  int    // records that are still to be read, as far as is known
	block []byte // where the next of them go: one allocation for many
}

// maxBlock bounds a block, in bytes: a record that is kept keeps its block.
const maxBlock = 128 << 10

// room gives room for n bytes.
func (r *reader) room(n int) []byte {
	if cap(r.block)-len(r.block) < n {
		r.block = make([]byte, 0, max(n, min(n*r.left, maxBlock)))
	}
	r.left--
	at := len(r.block)
	r.block = r.block[:at+n]
	return r.block[at : at : at+n]
}

func (r *reader) segment(number uint64) error {
	if r.w.f != nil && r.open == number {
		return nil
	}
	r.close()
	f, err := r.log.opt.FS.Open(segmentName(r.log.opt.Dir, number), os.O_RDONLY)
	if err != nil {
		return err
	}
	size, err := f.Size()
	r.w, r.open, r.seed = window{f: f, size: size, buf: r.w.buf[:0], few: r.w.few}, number, frameSeed(number)
	return err
}

// frame reads the record at a place; what it returns points into the window.
func (r *reader) frame(at place, index uint64) (frame, error) {
	if err := r.segment(at.segment); err != nil {
		return frame{}, err
	}
	f, _, err := frameAt(&r.w, at.off, r.seed)
	if err == nil && f.seq != index {
		err = errFrame
	}
	if err != nil {
		kind := ErrCorrupt
		if r.log.dropped(at.segment) {
			kind = ErrPruned // and its file is something else by now
		}
		return frame{}, fmt.Errorf("%w: segment %d, offset %d: %w", kind, at.segment, at.off, err)
	}
	return f, nil
}

func (r *reader) entry(at place, index uint64) (Entry, error) {
	f, err := r.frame(at, index)
	if err != nil {
		return Entry{}, err
	}
	n := len(f.leaf)
	b := append(append(r.room(n+len(f.side)), f.leaf...), f.side...)
	e := Entry{Index: index, Leaf: merkle.LeafHash(f.leaf), Data: b[:n:n]}
	if len(f.side) > 0 {
		e.Side = b[n:]
	}
	return e, nil
}

func (r *reader) close() {
	if r.w.f != nil {
		_ = r.w.f.Close() // only read
		r.w.f = nil
	}
}
