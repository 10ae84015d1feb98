package filters

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/gateway/filters/place"
)

// live is what one tenant has in force.
type live struct {
	tenant string
	set    atomic.Pointer[Set]

	load    sync.Mutex // serializes loading, over compilations
	builtin []*unit    // guarded by load; those of the configuration, for this tenant alone
	failed  error      // guarded by load
	until   time.Time  // guarded by load
}

// For returns a tenant's filters. It takes no lock and does not allocate once the tenant's are loaded. An error refuses the
// call. Release must follow.
func (s *Service) For(ctx context.Context, tenant string) (*Set, error) {
	if l := (*s.known.Load())[tenant]; l != nil {
		for set := l.set.Load(); set != nil; set = l.set.Load() {
			if set.Hold() {
				return set, nil
			}
		}
	}
	return s.first(context.WithoutCancel(ctx), tenant)
}

// live finds what a tenant has, or makes room for it.
func (s *Service) live(tenant string) *live {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *s.known.Load()
	if l := old[tenant]; l != nil {
		return l
	}
	next := make(map[string]*live, len(old)+1)
	maps.Copy(next, old)
	l := &live{tenant: tenant}
	next[tenant] = l
	s.known.Store(&next)
	return l
}

// first gives a tenant whose bundle says nothing of filters those of the configuration.
func (s *Service) first(ctx context.Context, tenant string) (*Set, error) {
	l := s.live(tenant)
	l.load.Lock()
	defer l.load.Unlock()
	for set := l.set.Load(); set != nil; set = l.set.Load() {
		if set.Hold() {
			return set, nil
		}
	}
	set, err := s.assemble(ctx, l, nil)
	if err != nil {
		return nil, err
	}
	set.Hold()
	l.set.Store(set)
	return set, nil
}

// assemble makes a set of the built-in filters and some more. What cannot be loaded is not tried again for a while. l.load
// is held.
func (s *Service) assemble(ctx context.Context, l *live, more []Placed) (*Set, error) {
	if err := s.builtins(ctx, l); err != nil {
		return nil, err
	}
	set := NewSet()
	for _, u := range l.builtin {
		set.Units = append(set.Units, place.At(u, nil))
	}
	set.Units = append(set.Units, more...)
	s.mu.Lock()
	for _, p := range set.Units {
		p.Unit.(*unit).users++
	}
	s.mu.Unlock()
	set.Over(func() { s.closing.Go(func() { s.letGo(l.tenant, set) }) })
	return set, nil
}

// builtins loads the filters of the configuration, all or none. l.load is held.
func (s *Service) builtins(ctx context.Context, l *live) error {
	if l.builtin != nil || len(s.deps.BuiltIn) == 0 {
		return nil
	}
	now := s.deps.Now()
	if l.failed != nil && now.Before(l.until) {
		return l.failed
	}
	var all []*unit
	for _, b := range s.deps.BuiltIn {
		u, err := s.loadUnit(ctx, l.tenant, unitKey{name: b.Name}, 0, b.Module, nil)
		if err != nil {
			for _, u := range all {
				s.drop(l.tenant, u)
			}
			l.failed, l.until = err, now.Add(s.cfg.Retry)
			return err
		}
		all = append(all, u)
	}
	l.builtin, l.failed = all, nil
	return nil
}

// letGo gives back what a set was made of, and closes what nobody has any more.
func (s *Service) letGo(tenant string, set *Set) {
	for _, p := range set.Units {
		s.drop(tenant, p.Unit.(*unit))
	}
}

// closeUnit frees a filter that no call uses, and keeps its counts.
func (s *Service) closeUnit(tenant string, u *unit) {
	if u.tries != nil {
		u.tries.Close()
	}
	last := u.stats().Over()
	s.mu.Lock()
	key := totalKey{tenant, u.key.name, u.key.shadow}
	s.totals[key] = s.totals[key].Plus(last)
	delete(s.units, u)
	if u.version > 0 { // the gateway's own have none, and are not the tenant's
		s.uncount(tenant, u.key.name)
	}
	s.mu.Unlock()
	if err := u.Close(context.Background()); err != nil {
		s.deps.Log.Warn("filter not closed", "tenant", tenant, "filter", u.key.name, "error", err)
	}
}
