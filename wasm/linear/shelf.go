package linear

import "sync"

// Shelf keeps the memories of instances that are gone for those that come, as long as they are of one image: to map memory
// anew, and to fault in each page that is written, costs many times what putting pages back does, and who makes his
// instances fail would make everybody pay it. What lies there counts against its budget. The zero Shelf is ready.
type Shelf struct {
	mu     sync.Mutex // guards what follows
	free   []*Memory
	closed bool
}

// New is New, with a memory from the shelf if there is one. Such a memory shows what its last guest left until it adopts the
// image: no code of a guest may run before.
func (s *Shelf) New(b *Budget, first, most int) (*Memory, error) {
	s.mu.Lock()
	last := len(s.free) - 1
	if last >= 0 {
		m := s.free[last]
		s.free = s.free[:last]
		s.mu.Unlock()
		m.kept = false
		return m, nil
	}
	s.mu.Unlock()
	m, err := New(b, first, most)
	if err == nil {
		m.shelf = s
	}
	return m, err
}

// put takes a memory that adopted an image, and reports whether it did.
func (s *Shelf) put(m *Memory) bool {
	if m.image == nil || len(m.bytes) < m.image.size || !m.forget(m.image.size) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	m.budget.take(int64(m.image.size) - m.taken)
	m.taken, m.bytes, m.back, m.kept = int64(m.image.size), m.bytes[:0], -1, true
	s.free = append(s.free, m)
	return true
}

// Close gives back what lies there, and all that is freed from now on.
func (s *Shelf) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, m := range s.free {
		m.free()
	}
	s.free = nil
}
