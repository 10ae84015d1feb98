package wal

import (
	"context"
	"fmt"
	"os"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// Bounds of one Scan: entries, and bytes after which no more are added.
const (
	maxScan      = 10_000
	maxScanBytes = 16 << 20
)

// Entry is one record as it stands in the log.
type Entry struct {
	Index uint64
	Leaf  merkle.Hash
	Data  []byte // the leaf's bytes
	Side  []byte // sealed bytes beside it
}

// Record parses the entry.
func (e *Entry) Record() (ledger.Record, error) {
	r, err := ledger.ParseRecord(e.Data)
	r.Side = e.Side
	return r, err
}

// Scan returns up to n records of one tenant in order, from an index on; none at its end. It may
// return fewer than n before the end, at least one. A tenant without records is ErrTenant.
func (l *Log) Scan(ctx context.Context, tenant string, from uint64, n int) ([]Entry, error) {
	spots, err := l.spots(tenant, from, n)
	if err != nil {
		return nil, err
	}
	rd := reader{log: l}
	defer rd.close()
	var out []Entry
	for bytes := 0; len(out) < len(spots) && bytes < maxScanBytes; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		e, err := rd.entry(spots[len(out)], from+uint64(len(out)))
		if err != nil {
			return nil, fmt.Errorf("scan: %w", err)
		}
		bytes += len(e.Data) + len(e.Side)
		out = append(out, e)
	}
	return out, nil
}

func (l *Log) spots(tenant string, from uint64, n int) ([]spot, error) {
	l.view.RLock()
	defer l.view.RUnlock()
	s := l.tenants[tenant]
	if s == nil {
		return nil, fmt.Errorf("scan: %w", ErrTenant)
	}
	var out []spot
	for i := from; i < s.size && len(out) < min(n, maxScan); i++ {
		out = append(out, s.at(i))
	}
	return out, nil
}

// reader reads records at known places and keeps the last segment open.
type reader struct {
	log  *Log
	w    window
	open uint32
}

func (r *reader) segment(number uint32) error {
	if r.w.f != nil && r.open == number {
		return nil
	}
	r.close()
	f, err := r.log.opt.FS.Open(segmentName(r.log.opt.Dir, uint64(number)), os.O_RDONLY)
	if err != nil {
		return err
	}
	size, err := f.Size()
	r.w, r.open = window{f: f, size: size, buf: r.w.buf[:0], few: r.w.few}, number
	return err
}

func (r *reader) entry(at spot, index uint64) (Entry, error) {
	if err := r.segment(at.segment); err != nil {
		return Entry{}, err
	}
	f, _, err := frameAt(&r.w, int64(at.off), frameSeed(uint64(at.segment)))
	if err == nil && f.seq != index {
		err = errFrame
	}
	if err != nil {
		return Entry{}, fmt.Errorf("%w: segment %d, offset %d: %w", ErrCorrupt, at.segment, at.off, err)
	}
	data := append([]byte(nil), f.leaf...)
	return Entry{Index: index, Leaf: merkle.LeafHash(data), Data: data, Side: append([]byte(nil), f.side...)}, nil
}

func (r *reader) close() {
	if r.w.f != nil {
		_ = r.w.f.Close() // only read
		r.w.f = nil
	}
}
