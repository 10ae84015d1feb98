package policies

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"sync"
	"sync/atomic"
)

// Mode says how a staged engine is tried beside the one in force. The zero value does not try it at all.
type Mode struct {
	// Shadow asks the staged engine beside the enforced one, about everybody's calls. It never determines an answer.
	Shadow bool
	// Canary is the percentage of principals, 1 to 99, for whom the staged engine is enforced and the old one stands in
	// its shadow. It is looked at when Shadow is false; outside of its range nobody is chosen.
	Canary int
}

// Set holds the engine in force for each tenant, and one that is staged beside it. The zero value is ready and refuses
// every tenant. It is safe for concurrent use.
type Set struct {
	// Changed is called when something of a tenant was changed, and must not block or come back to the Set. It is set before
	// the Set is used; nil: nobody is told.
	Changed func(tenant string)

	// mu serializes writers; readers only load the pointer, whose map is never changed in place.
	mu      sync.Mutex
	engines atomic.Pointer[map[string]standing]
}

// standing is what a tenant has. A staged engine outlives a change of the enforced one, as when its tools change.
type standing struct {
	enforced, staged *Engine
	mode             Mode
	with             any // what the enforced engine's bundle was made ready with, beside the engine
}

// Swap puts an engine in force for a tenant and returns the one it replaces; nil leaves the tenant none, and then it is
// refused everything, staged or not.
func (s *Set) Swap(tenant string, e *Engine) *Engine {
	return s.change(tenant, func(t *standing) { t.enforced = e }).enforced
}

// Stage tries next beside the tenant's engine in force, instead of what was staged before; nil ends it.
func (s *Set) Stage(tenant string, next *Engine, m Mode) {
	if next == nil {
		m = Mode{}
	}
	s.change(tenant, func(t *standing) { t.staged, t.mode = next, m })
}

// Put is Swap and Stage in one act: nobody sees the one without the other. It returns the engine that was in force.
func (s *Set) Put(tenant string, enforced, staged *Engine, m Mode) *Engine {
	if staged == nil {
		m = Mode{}
	}
	return s.change(tenant, func(t *standing) { *t = standing{enforced, staged, m, t.with} }).enforced
}

// PutWith is Put for a bundle that brings something of its own along, as filters: whoever asks ChooseWith gets the engine and
// that of one bundle. Put, Swap and Stage leave it.
func (s *Set) PutWith(tenant string, enforced, staged *Engine, m Mode, with any) *Engine {
	if staged == nil {
		m = Mode{}
	}
	return s.change(tenant, func(t *standing) { *t = standing{enforced, staged, m, with} }).enforced
}

// change edits what a tenant has and returns what it had.
func (s *Set) change(tenant string, edit func(*standing)) (before standing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := map[string]standing{}
	if old := s.engines.Load(); old != nil {
		maps.Copy(next, *old)
	}
	before = next[tenant]
	after := before
	if edit(&after); after.enforced == nil && after.staged == nil {
		delete(next, tenant)
	} else {
		next[tenant] = after
	}
	s.engines.Store(&next)
	if s.Changed != nil {
		s.Changed(tenant)
	}
	return before
}

func (s *Set) of(tenant string) standing {
	if m := s.engines.Load(); m != nil {
		return (*m)[tenant]
	}
	return standing{}
}

// For returns the tenant's engine in force, whatever is staged. For an unknown tenant it returns nil, on which Decide
// refuses. Who decides for a principal asks Choose.
func (s *Set) For(tenant string) *Engine { return s.of(tenant).enforced }

// Staged returns what Stage left: the engine that is tried, and how; nil when there is none.
func (s *Set) Staged(tenant string) (*Engine, Mode) {
	t := s.of(tenant)
	return t.staged, t.mode
}

// Choose returns the engine whose answer counts for a principal and, when another is tried beside it, that one. Without an
// engine in force both are nil, on which Decide refuses: staging alone opens nothing. The same principal gets the same
// answer until something is swapped or staged.
func (s *Set) Choose(tenant string, p *Principal) (enforced, shadow *Engine) {
	return s.of(tenant).choose(tenant, p)
}

// ChooseWith is Choose, with what PutWith brought along with the enforced engine's bundle; nil when nothing did.
func (s *Set) ChooseWith(tenant string, p *Principal) (enforced, shadow *Engine, with any) {
	t := s.of(tenant)
	enforced, shadow = t.choose(tenant, p)
	return enforced, shadow, t.with
}

func (t standing) choose(tenant string, p *Principal) (enforced, shadow *Engine) {
	switch {
	case t.enforced == nil:
		return nil, nil
	case t.staged == nil || p == nil:
		return t.enforced, nil
	case t.mode.Shadow:
		return t.enforced, t.staged
	case t.mode.Canary < 1 || t.mode.Canary > 99:
		return t.enforced, nil
	case share(tenant, p.ID, t.staged) < t.mode.Canary:
		return t.staged, t.enforced
	}
	return t.enforced, t.staged
}

// share gives a principal its place among a hundred: SHA-256 over tenant, id and the staged bundle's digest, each with its
// length, modulo 100. Nobody can choose an id for a bundle that is not written yet, and each bundle draws anew.
func share(tenant, id string, staged *Engine) int {
	b := make([]byte, 0, 256)
	for _, s := range []string{tenant, id} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = append(b, staged.digest[:]...)
	sum := sha256.Sum256(b)
	return int(binary.BigEndian.Uint64(sum[:]) % 100) //nolint:gosec // below 100
}
