package index

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// Source is the log as the store reads it: full segments, and what tells one's content from another's.
type Source interface {
	// Identify returns what a segment holds, given the offset of its last record: an error when no record starts there, or
	// when data follow it.
	Identify(segment uint64, last uint32) (Identity, error)
	// Walk calls fn for each record of a full segment, in order.
	Walk(ctx context.Context, segment uint64, fn func(*Row) error) error
}

// Store has the indexes of the full segments: on the disk, the latest used of them in memory. It is safe for concurrent use.
type Store struct {
	fs   disk.FS
	key  Key
	name func(segment uint64) string
	src  Source
	most int64

	mu      sync.Mutex // guards all below
	unsaved map[uint64]*Table
	cached  map[uint64]*list.Element // of *Table
	used    list.List                // the latest first
	bytes   int64

	load sync.Mutex // one index is read or made at a time: each takes megabytes
}

// NewStore keeps at most that many bytes of indexes in memory, and one more while it is searched. Files that were not made
// with the key are of no use. name gives the index of a segment its file.
func NewStore(on disk.FS, key Key, most int64, src Source, name func(segment uint64) string) *Store {
	return &Store{fs: on, key: key, name: name, src: src, most: most, unsaved: map[uint64]*Table{}, cached: map[uint64]*list.Element{}}
}

// Put takes the index of a segment that is full now. It stays in memory until Save was called.
func (s *Store) Put(t *Table) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsaved[t.segment] = t
}

// Save writes what was put and has no file that is right. An index that could not be written is made again when it is
// wanted; the error says why.
func (s *Store) Save() error {
	var errs []error
	for _, t := range s.waiting() {
		if err := s.save(t); err != nil {
			errs = append(errs, fmt.Errorf("save index of segment %d: %w", t.segment, err))
		}
		s.mu.Lock()
		delete(s.unsaved, t.segment)
		s.keep(t)
		s.mu.Unlock()
	}
	return errors.Join(errs...)
}

func (s *Store) waiting() []*Table {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*Table, 0, len(s.unsaved))
	for _, t := range s.unsaved {
		out = append(out, t)
	}
	return out
}

func (s *Store) save(t *Table) error {
	id, err := s.src.Identify(t.segment, t.last)
	if err != nil {
		return err
	}
	file := t.File(id, &s.key)
	if have, err := disk.ReadSmall(s.fs, s.name(t.segment), MaxFile); err == nil && bytes.Equal(have, file) {
		return nil
	}
	return disk.ReplaceFile(s.fs, s.name(t.segment), file)
}

// SaveAs writes the index of a segment with that content, which need not be full.
func (s *Store) SaveAs(t *Table, id Identity) error {
	return disk.ReplaceFile(s.fs, s.name(t.segment), t.File(id, &s.key))
}

// Head reads the head of a segment's index. Nothing is said about its body, nor whether it is of this segment's content.
func (s *Store) Head(segment uint64) (Head, error) {
	f, err := s.fs.Open(s.name(segment), os.O_RDONLY)
	if err != nil {
		return Head{}, fmt.Errorf("open index: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	size, err := f.Size()
	if err != nil {
		return Head{}, fmt.Errorf("open index: %w", err)
	}
	h, err := ReadHead(f, size, &s.key)
	if err == nil && h.Segment != segment {
		err = ErrForeign
	}
	return h, err
}

// Ranges returns who has what in a full segment, from the head of its index or, if that is of no use, from the segment.
func (s *Store) Ranges(ctx context.Context, segment uint64) ([]Range, error) {
	if h, err := s.Head(segment); err == nil {
		if id, err := s.src.Identify(segment, h.Last); err == nil && id == h.Identity {
			return h.Ranges, nil
		}
	}
	t, err := s.Table(ctx, segment)
	if err != nil {
		return nil, err
	}
	return t.Ranges(), nil
}

// Table returns the index of a full segment: from memory, from its file, or made from the segment.
func (s *Store) Table(ctx context.Context, segment uint64) (*Table, error) {
	if t := s.find(segment); t != nil {
		return t, nil
	}
	s.load.Lock()
	defer s.load.Unlock()
	if t := s.find(segment); t != nil {
		return t, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	t, err := s.read(segment)
	if err != nil {
		if t, err = s.make(ctx, segment); err != nil {
			return nil, fmt.Errorf("index segment %d: %w", segment, err)
		}
		_ = s.save(t) // it is made again when it is wanted
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep(t)
	return t, nil
}

// find looks into the memory.
func (s *Store) find(segment uint64) *Table {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.unsaved[segment]; t != nil {
		return t
	}
	e := s.cached[segment]
	if e == nil {
		return nil
	}
	s.used.MoveToFront(e)
	return e.Value.(*Table)
}

// keep puts a table into the memory and drops those that were not used for the longest time. mu is held.
func (s *Store) keep(t *Table) {
	s.drop(t.segment)
	s.cached[t.segment] = s.used.PushFront(t)
	for s.bytes += t.bytes; s.bytes > s.most && s.used.Len() > 0; {
		s.drop(s.used.Back().Value.(*Table).segment)
	}
}

func (s *Store) drop(segment uint64) {
	if e := s.cached[segment]; e != nil {
		s.bytes -= e.Value.(*Table).bytes
		s.used.Remove(e)
		delete(s.cached, segment)
	}
}

// Read reads a segment's index file, which must be of that content.
func (s *Store) Read(segment uint64, is func(Identity, uint32) bool) (*Table, error) {
	b, err := disk.ReadSmall(s.fs, s.name(segment), MaxFile)
	if err != nil {
		return nil, err
	}
	t, h, err := Decode(b, &s.key)
	if err != nil {
		return nil, err
	}
	if h.Segment != segment || !is(h.Identity, h.Last) {
		return nil, ErrForeign
	}
	return t, nil
}

func (s *Store) read(segment uint64) (*Table, error) {
	return s.Read(segment, func(have Identity, last uint32) bool {
		id, err := s.src.Identify(segment, last)
		return err == nil && id == have
	})
}

// make reads the segment.
func (s *Store) make(ctx context.Context, segment uint64) (*Table, error) {
	b := NewBuilder(segment)
	err := s.src.Walk(ctx, segment, func(r *Row) error {
		if !b.Add(r) {
			return fmt.Errorf("%w: record %d of %s at %d is out of order", ErrDamaged, r.Seq, r.Tenant, r.Off)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return b.Table(), nil
}

// Remake makes the index of a full segment, and its file, again, whatever is there.
func (s *Store) Remake(ctx context.Context, segment uint64) (*Table, error) {
	s.mu.Lock()
	s.drop(segment)
	delete(s.unsaved, segment)
	s.mu.Unlock()
	s.load.Lock()
	defer s.load.Unlock()
	if err := s.fs.Remove(s.name(segment)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("index segment %d: %w", segment, err)
	}
	t, err := s.make(ctx, segment)
	if err != nil {
		return nil, fmt.Errorf("index segment %d: %w", segment, err)
	}
	err = s.save(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep(t)
	return t, err
}

// Forget drops the index of a segment that is no more, and its file.
func (s *Store) Forget(segment uint64) error {
	s.mu.Lock()
	s.drop(segment)
	delete(s.unsaved, segment)
	s.mu.Unlock()
	return s.fs.Remove(s.name(segment))
}

// Bytes is about what the indexes in memory take.
func (s *Store) Bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.bytes
	for _, t := range s.unsaved {
		n += t.bytes
	}
	return n
}
