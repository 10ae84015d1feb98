package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/gatewright/gatewright/merkle/ledger"
)

// past reads events from the segments, one after another, and keeps the last one open.
type past struct {
	log    *Log
	w      window
	number uint64
}

func (p *past) close() {
	if p.w.f != nil {
		_ = p.w.f.Close() // only read
		p.w.f = nil
	}
}

// open makes the window show a segment up to the durable end of the log. A segment that is gone is a *GapError.
func (p *past) open(from, to place) error {
	if p.w.f == nil || p.number != from.segment {
		p.close()
		f, err := p.log.opt.FS.Open(segmentName(p.log.opt.Dir, from.segment), os.O_RDONLY)
		if errors.Is(err, fs.ErrNotExist) {
			return p.log.gap(from, err)
		}
		if err != nil {
			return err
		}
		p.w, p.number = window{f: f, buf: p.w.buf[:0]}, from.segment
	}
	if from.segment == to.segment {
		p.w.size = to.off
		return nil
	}
	size, err := p.w.f.Size()
	p.w.size = size
	return err
}

// gap is the error for a segment that is not there: pruned, or missing.
func (l *Log) gap(at place, cause error) error {
	first, err := l.firstSegment()
	if err != nil || at.segment >= first {
		return errors.Join(cause, err)
	}
	return &GapError{Asked: Cursor{at}, First: Cursor{place{segment: first}}}
}

// isBoundary tells whether a record ends, or the first one begins, at a place.
func (p *past) isBoundary(at, tip place) (bool, error) {
	if err := p.open(at, tip); err != nil {
		return false, err
	}
	off := int64(headerBytes)
	for off < at.off {
		if p.w.size-off < 4 {
			return false, nil
		}
		b, err := p.w.at(off, 4)
		if err != nil {
			return false, fmt.Errorf("read segment %d: %w", at.segment, err)
		}
		n, err := frameLen(b)
		if errors.Is(err, errEnd) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("%w: segment %d, offset %d: %w", ErrCorrupt, at.segment, off, err)
		}
		off += int64(n)
	}
	return off == at.off, nil
}

// read returns up to eventChunk events from a place on, and the place behind them. None and the same place is the end.
func (p *past) read(from, to place, into []Event) (events []Event, next place, err error) {
	events = into[:0]
	for len(events) == 0 && from.before(to) {
		if err := p.open(from, to); err != nil {
			return nil, from, err
		}
		if events, from, err = p.segment(from, to, events); err != nil {
			return nil, from, err
		}
	}
	return events, from, nil
}

// segment reads on in one segment, and returns the start of the next at its end.
func (p *past) segment(from, to place, events []Event) ([]Event, place, error) {
	seed := frameSeed(from.segment)
	off := max(from.off, headerBytes)
	for len(events) < eventChunk {
		f, size, err := frameAt(&p.w, off, seed)
		if errors.Is(err, errEnd) && from.segment < to.segment {
			return events, place{segment: from.segment + 1}, nil
		}
		if errors.Is(err, errEnd) && off >= to.off {
			return events, to, nil
		}
		var rec ledger.Record
		if err == nil {
			rec, err = ledger.ParseRecord(f.leaf)
		}
		if err != nil {
			return nil, from, fmt.Errorf("%w: segment %d, offset %d: %w", ErrCorrupt, from.segment, off, err)
		}
		e := eventOf(&rec)
		e.Index = f.seq
		events = append(events, e)
		off += int64(size)
	}
	return events, place{from.segment, off}, nil
}
