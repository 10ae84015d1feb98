package wal

import "iter"

// shelf knows where a tenant's records lie, in 10 bytes of memory for each, and which of them may have an id. It is made
// from the log by the walk that opens it and by each commit, and is never stored: there is nothing it could disagree with.
//
// What stands below size is never written again, so that a copy taken under Log.view is read without it.
type shelf struct {
	size   uint64
	chunks []*chunk
	spans  []span // of the full chunks
	open   span   // of the last one
}

const shelfChunk = 256

type chunk struct {
	at  [shelfChunk]spot
	ids [shelfChunk]byte // mark of the record's id
	ofs [shelfChunk]byte // mark of the id it names in "of", 0 when it names none
}

// spot is a place in 8 bytes: segments are at most 1 GiB.
type spot struct{ segment, off uint32 }

// span holds the earliest and the latest time of a chunk's ids, as they are spelled. Whatever the clock did, a record
// lies in a chunk whose span has its time.
type span struct{ from, to moment }

// moment is the start of an id: its 48 bits of milliseconds and two random ones. Its order is the order of time.
type moment [10]byte

func momentOf(id string) (m moment) {
	copy(m[:], id[len("rec_"):])
	return m
}

func (s *span) holds(m moment) bool {
	return string(s.from[:]) <= string(m[:]) && string(m[:]) <= string(s.to[:])
}

func (s *span) widen(m moment) {
	if s.from == (moment{}) || string(m[:]) < string(s.from[:]) {
		s.from = m
	}
	if string(m[:]) > string(s.to[:]) {
		s.to = m
	}
}

// markOf folds the random end of an id into 1 to 255: one record in 255 shares it.
func markOf(id string) byte {
	n := uint32(0)
	for i := max(0, len(id)-8); i < len(id); i++ {
		n = n*31 + uint32(id[i])
	}
	return byte(n%255) + 1
}

func (s *shelf) add(id, of string, at place) {
	i := s.size % shelfChunk
	if i == 0 {
		s.chunks = append(s.chunks, new(chunk))
	}
	c := s.chunks[len(s.chunks)-1]
	c.at[i], c.ids[i] = spot{uint32(at.segment), uint32(at.off)}, markOf(id)
	if of != "" {
		c.ofs[i] = markOf(of)
	}
	s.open.widen(momentOf(id))
	if i == shelfChunk-1 {
		s.spans, s.open = append(s.spans, s.open), span{}
	}
	s.size++
}

func (s *shelf) at(i uint64) spot { return s.chunks[i/shelfChunk].at[i%shelfChunk] }

// named yields the places of the records that may have this id: all that do, and of the others in the chunks of its
// time one in 255.
func (s *shelf) named(id string) iter.Seq2[uint64, spot] {
	when, mark := momentOf(id), markOf(id)
	return func(yield func(uint64, spot) bool) {
		for n, c := range s.chunks {
			if n < len(s.spans) && !s.spans[n].holds(when) {
				continue
			}
			if !c.each(uint64(n), s.size, &c.ids, mark, yield) {
				return
			}
		}
	}
}

// naming yields the places, from an index on, of the records that may name this id in "of".
func (s *shelf) naming(id string, from uint64) iter.Seq2[uint64, spot] {
	mark := markOf(id)
	return func(yield func(uint64, spot) bool) {
		later := func(i uint64, at spot) bool { return i < from || yield(i, at) }
		for n := from / shelfChunk; n < uint64(len(s.chunks)); n++ {
			if c := s.chunks[n]; !c.each(n, s.size, &c.ofs, mark, later) {
				return
			}
		}
	}
}

// each yields what has the mark in chunk number n of a shelf of that size. It reports false when it was told to stop.
func (c *chunk) each(n, size uint64, marks *[shelfChunk]byte, mark byte, yield func(uint64, spot) bool) bool {
	first := n * shelfChunk
	for i := range min(shelfChunk, size-first) {
		if marks[i] == mark && !yield(first+i, c.at[i]) {
			return false
		}
	}
	return true
}

// shelve notes where a durable record lies. Log.view is held, or nobody else has the log yet.
func (l *Log) shelve(tenant, id, of string, at place) {
	s := l.tenants[tenant]
	if s == nil {
		s = &shelf{}
		l.tenants[tenant] = s
		l.names = append(l.names, tenant)
	}
	s.add(id, of, at)
}

// shelfOf returns a tenant's shelf as it stands now.
func (l *Log) shelfOf(tenant string) shelf {
	l.view.RLock()
	defer l.view.RUnlock()
	if s := l.tenants[tenant]; s != nil {
		return *s
	}
	return shelf{}
}
