package wal

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/index"
)

const indexSuffix = ".index"

func indexName(dir string, segment uint64) string {
	return filepath.Join(dir, walDir, fmt.Sprintf("%012d%s", segment, indexSuffix))
}

// runIndex saves the indexes of segments that are full, and at the end that of the segment that is not.
func (l *Log) runIndex() {
	for {
		select {
		case <-l.index.wake:
			l.indexSaved(l.index.store.Save())
		case <-l.written:
			l.indexSaved(errors.Join(l.index.store.Save(), l.saveOpen()))
			return
		}
	}
}

func (l *Log) indexSaved(err error) {
	l.view.Lock()
	defer l.view.Unlock()
	l.stats.Index = err
}

// saveOpen saves the index of the segment that is being written, unless the segment was not checked to its end. Nothing is
// written to it any more.
func (l *Log) saveOpen() error {
	<-l.audited
	b := l.index.open
	if b == nil || b.Rows() == 0 || l.poisoned() != nil || l.audit != nil {
		return nil
	}
	t := b.Table()
	id, err := l.identify(t.Segment(), t.Last())
	if err != nil {
		return fmt.Errorf("save index of segment %d: %w", t.Segment(), err)
	}
	return l.index.store.SaveAs(t, id)
}

// source is the log as its indexes are made from it.
type source struct{ log *Log }

var _ index.Source = source{}

// Identify implements index.Source.
func (s source) Identify(segment uint64, last uint32) (index.Identity, error) {
	id, err := s.log.identify(segment, last)
	if err != nil {
		return id, err
	}
	return id, s.log.ends(segment, id.End)
}

// Walk implements index.Source.
func (s source) Walk(ctx context.Context, segment uint64, fn func(*index.Row) error) error {
	return s.log.walk(ctx, segment, math.MaxInt64, fn)
}

// identify tells what a segment holds up to the end of the frame at last. Its header's MAC is over the epoch's key, and
// the frame's over all that its tenant's chain holds before it.
func (l *Log) identify(segment uint64, last uint32) (index.Identity, error) {
	return identify(l.opt.FS, l.opt.Dir, segment, last)
}

func (w *window) identify(segment uint64, last uint32) (id index.Identity, err error) {
	head, err := w.at(0, headerBytes)
	if err != nil {
		return id, fmt.Errorf("identify segment: %w", err)
	}
	sum := sha256.New()
	sum.Write([]byte("gatewright/index"))
	sum.Write(head)
	f, size, err := frameAt(w, int64(last), frameSeed(segment))
	if err != nil {
		return id, fmt.Errorf("identify segment: %w", err)
	}
	id.End = int64(last) + int64(size)
	sum.Write(f.mac)
	sum.Write(binary.BigEndian.AppendUint64(nil, uint64(id.End)))
	sum.Sum(id.Stamp[:0])
	return id, nil
}

// ends refuses a segment that has more data behind an offset.
func (l *Log) ends(segment uint64, off int64) error {
	r := reader{log: l, w: window{few: true}}
	defer r.close()
	if err := r.segment(segment); err != nil {
		return fmt.Errorf("identify segment: %w", err)
	}
	if _, _, err := frameAt(&r.w, off, frameSeed(segment)); !errors.Is(err, errEnd) {
		return fmt.Errorf("%w: segment %d goes on at %d", index.ErrForeign, segment, off)
	}
	return nil
}

// walk calls fn for each record of a segment that starts before an offset.
func (l *Log) walk(ctx context.Context, segment uint64, end int64, fn func(*index.Row) error) error {
	f, err := l.opt.FS.Open(segmentName(l.opt.Dir, segment), os.O_RDONLY)
	if err != nil {
		return fmt.Errorf("open segment %d: %w", segment, err)
	}
	defer func() { _ = f.Close() }() // only read
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("open segment %d: %w", segment, err)
	}
	w, seed := &window{f: f, size: size}, frameSeed(segment)
	for off, n := int64(headerBytes), 0; off < end; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		fr, length, err := frameAt(w, off, seed)
		if errors.Is(err, errEnd) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: segment %d, offset %d: %w", ErrCorrupt, segment, off, err)
		}
		rec, err := ledger.ParseRecord(fr.leaf)
		if err != nil {
			return fmt.Errorf("%w: segment %d, offset %d: %w", ErrCorrupt, segment, off, err)
		}
		row := index.RowOf(&rec, fr.seq, uint32(off))
		if err := fn(&row); err != nil {
			return err
		}
		off += int64(length)
	}
	return nil
}

// row is what the index takes of an event's record.
func (e *Event) row(at place) index.Row {
	return index.Row{
		Tenant: e.Tenant, Seq: e.Index, Off: uint32(at.off), Time: e.Time, ID: e.ID, Of: e.Of, Agent: e.Agent, User: e.User,
		Server: e.Server, Tool: e.Tool, Op: e.Op, Code: e.Code, Outcome: e.Outcome, Verdict: e.Verdict, Kind: e.Kind.String(),
	}
}
