package wal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/index"
)

// matching holds index files against the records that a walk reads: what a file says must be what they give. A segment
// without a file is passed over; so are records behind the last one that a file speaks of.
type matching struct {
	fs   disk.FS
	dir  string
	bad  []uint64 // segments whose file is of no use
	why  []string
	part uint64 // segment that the walk reads a part of: a file that speaks of more is passed over

	at   uint64
	used bool // at is set
	b    *index.Builder
	last uint32
	file []byte
}

// noPart is for a walk that reads every segment to its end.
const noPart = ^uint64(0)

func (m *matching) add(row *index.Row, segment uint64) {
	if !m.used || m.at != segment {
		m.finish()
		m.begin(segment)
	}
	if m.b == nil {
		return
	}
	if row.Off > m.last {
		m.finish()
		return
	}
	m.b.Add(row)
}

func (m *matching) begin(segment uint64) {
	m.at, m.used = segment, true
	file, err := disk.ReadSmall(m.fs, indexName(m.dir, segment), index.MaxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var head index.Head
	if err == nil {
		head, err = index.Claims(file)
	}
	if err != nil {
		m.differs(err.Error())
		return
	}
	m.b, m.last, m.file = index.NewBuilder(segment), head.Last, file
}

// finish compares the file of the segment that was begun.
func (m *matching) finish() {
	b := m.b
	if b == nil {
		return
	}
	m.b = nil
	t := b.Table()
	if t.Last() < m.last && m.at == m.part {
		return
	}
	id, err := identify(m.fs, m.dir, m.at, t.Last())
	switch {
	case err != nil:
		m.differs(err.Error())
	case !t.Same(m.file, id):
		m.differs("it is not what the records give")
	}
	m.file = nil
}

func (m *matching) differs(why string) {
	m.bad, m.why = append(m.bad, m.at), append(m.why, why)
}

// notes says what was found.
func (m *matching) notes() (out []string) {
	for i, n := range m.bad {
		out = append(out, fmt.Sprintf("the index of segment %d is of no use, the gateway makes it again from the segment: %s", n, m.why[i]))
	}
	return out
}

// remake makes the index of a segment again, and takes up what it says.
func (l *Log) remake(ctx context.Context, segment uint64) error {
	if open, err := l.remakeOpen(ctx, segment); open || err != nil {
		return err
	}
	t, err := l.index.store.Remake(ctx, segment)
	if err != nil {
		return err
	}
	l.view.Lock()
	defer l.view.Unlock()
	l.stats.Remade++
	for _, s := range l.tenants {
		s.full = slices.DeleteFunc(slices.Clone(s.full), func(x span) bool { return x.segment == segment })
	}
	for _, r := range t.Ranges() {
		s := l.shelfOf(r.Tenant)
		n, _ := slices.BinarySearchFunc(s.full, segment, func(x span, n uint64) int { return cmp.Compare(x.segment, n) })
		s.full = slices.Insert(s.full, n, span{segment, r})
	}
	return nil
}

// errEnough ends a walk that has read what it wants.
var errEnough = errors.New("enough")

// remakeOpen is remake for the segment that is being written; it reports false for any other. Commits are shown to nobody
// meanwhile.
func (l *Log) remakeOpen(ctx context.Context, segment uint64) (bool, error) {
	l.view.Lock()
	defer l.view.Unlock()
	x := &l.index
	if x.open == nil || x.open.Segment() != segment {
		return false, nil
	}
	if err := l.opt.FS.Remove(indexName(l.opt.Dir, segment)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return true, fmt.Errorf("remove index of segment %d: %w", segment, err)
	}
	b := index.NewBuilder(segment)
	err := l.walk(ctx, segment, maxSegment, func(r *index.Row) error {
		if b.Rows() == x.open.Rows() {
			return errEnough
		}
		b.Add(r)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return true, err
	}
	x.open = b
	l.stats.Remade++
	return true, nil
}

// identify tells what a segment holds up to the end of the frame at last, see Log.identify.
func identify(on disk.FS, dir string, segment uint64, last uint32) (index.Identity, error) {
	f, err := on.Open(segmentName(dir, segment), os.O_RDONLY)
	if err != nil {
		return index.Identity{}, fmt.Errorf("identify segment: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	size, err := f.Size()
	if err != nil {
		return index.Identity{}, fmt.Errorf("identify segment: %w", err)
	}
	return (&window{f: f, size: size, few: true}).identify(segment, last)
}
