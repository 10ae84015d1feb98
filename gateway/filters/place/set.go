package place

import "sync/atomic"

// Set is a tenant's filters at one time, in their order: those of the gateway's configuration first. Who got it from For
// holds it until Release; what it is made of is closed after the last one.
type Set struct {
	Units []Placed

	refs atomic.Int64 // one of who put it in force, and one of each call
	over func()       // may be nil
}

// NewSet makes a set of units, for those who have some of their own.
func NewSet(units ...Placed) *Set {
	s := &Set{Units: units}
	s.refs.Store(1)
	return s
}

// Over has f called when the last reference is gone. It must be said before anybody else has the set.
func (s *Set) Over(f func()) { s.over = f }

// Hold takes a reference, unless the set is over.
func (s *Set) Hold() bool {
	for {
		n := s.refs.Load()
		if n == 0 {
			return false
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release gives the set back. Nil has nothing to give.
func (s *Set) Release() {
	if s != nil && s.refs.Add(-1) == 0 && s.over != nil {
		s.over()
	}
}
