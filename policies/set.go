package policies

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Set holds the engine in force for each tenant. The zero value is ready and refuses every tenant.
type Set struct {
	// mu serializes writers; readers only load the pointer, whose map is never changed in place.
	mu      sync.Mutex
	engines atomic.Pointer[map[string]*Engine]
}

// Swap puts an engine in force for a tenant and returns the one it replaces; nil removes the tenant.
func (s *Set) Swap(tenant string, e *Engine) *Engine {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := map[string]*Engine{}
	if old := s.engines.Load(); old != nil {
		maps.Copy(next, *old)
	}
	prev := next[tenant]
	if e == nil {
		delete(next, tenant)
	} else {
		next[tenant] = e
	}
	s.engines.Store(&next)
	return prev
}

// For returns the tenant's engine. For an unknown tenant it returns nil, on which Decide refuses.
func (s *Set) For(tenant string) *Engine {
	if m := s.engines.Load(); m != nil {
		return (*m)[tenant]
	}
	return nil
}
