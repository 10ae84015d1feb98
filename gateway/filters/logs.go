package filters

import (
	"context"
	"maps"
)

// Logs returns the newest lines of one filter, oldest first, at most n of them. Lines are in memory alone: a restart forgets
// them. The filter's name must be one of the tenant's.
func (s *Service) Logs(ctx context.Context, tenant, name string, n int) ([]Line, error) {
	b, err := s.opened(ctx, tenant)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	_, err = b.find(name, 0)
	if err != nil {
		for _, r := range b.rejected { // what it wrote while it was judged
			if r.Name == name {
				err = nil
			}
		}
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return s.logs.Last(tenant, name, n), nil
}

// Each tells what every filter of every tenant did since the start. Built-in ones are among them.
func (s *Service) Each(tell func(tenant, name string, shadow bool, st Stats)) {
	s.mu.Lock()
	all := make(map[totalKey]Stats, len(s.totals)+len(s.units))
	maps.Copy(all, s.totals)
	units := make(map[*unit]string, len(s.units))
	maps.Copy(units, s.units)
	s.mu.Unlock()
	for u, tenant := range units {
		key := totalKey{tenant, u.key.name, u.key.shadow}
		all[key] = u.stats().Plus(all[key])
	}
	for key, st := range all {
		tell(key.tenant, key.name, key.shadow, st)
	}
}
