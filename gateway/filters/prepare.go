package filters

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/gatewright/gatewright/gateway/filters/place"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/manifest"
	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
)

// Check refuses a bundle that names a filter which this tenant did not upload, or which was rejected. Nothing is loaded.
func (s *Service) Check(ctx context.Context, tenant string, b *policies.Bundle) error {
	_, _, err := s.resolve(ctx, tenant, b, false)
	return err
}

// resolve finds what a bundle's entries mean, and may pin that: unpin must follow then.
func (s *Service) resolve(ctx context.Context, tenant string, bundle *policies.Bundle, pin bool) (*book, []versionRow, error) {
	entries := bundle.Manifest().Filters
	if len(entries) == 0 {
		return nil, nil, nil
	}
	b, err := s.opened(ctx, tenant)
	if err != nil {
		return nil, nil, err
	}
	signed := s.deps.Bundles.Signed(tenant)
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := make([]versionRow, len(entries))
	for i, e := range entries {
		if rows[i], err = b.named(e); err == nil && rows[i].key() == b.going {
			err = fmt.Errorf("%w: version %d of %s is being deleted (upload it again, or name another)", ErrState, rows[i].Number, e.Name)
		}
		if err == nil && signed && e.Config == nil && rows[i].Config != nil {
			err = unsaid(rows[i])
		}
		if err != nil {
			return nil, nil, fmt.Errorf("manifest.json: filters: %w", err)
		}
	}
	if pin {
		b.pin(rows)
	}
	return b, rows, nil
}

// unsaid refuses an entry whose config would come from the upload: who signs a bundle says all of what is in force.
func unsaid(r versionRow) error {
	write := "the object that the version was uploaded with"
	if len(r.Config) <= 256 {
		write = string(place.Compact(r.Config))
	}
	return fmt.Errorf("%w: filter %s: bundles are signed here, and the signature says nothing of the config that version %d was uploaded with (add to its entry \"config\": %s)", ErrInvalid, r.Name, r.Number, write)
}

// Prepared is a bundle's filters, loaded and not yet in force. Either Swap or Drop must follow, once.
type Prepared struct {
	service *Service
	live    *live
	set     *Set
	book    *book // nil when the bundle names no filters
	rows    []versionRow
}

// Prepare loads a bundle's filters, those that are not loaded yet. Preparing and swapping are for one at a time per tenant.
func (s *Service) Prepare(ctx context.Context, tenant string, bundle *policies.Bundle) (_ *Prepared, err error) {
	b, rows, err := s.resolve(ctx, tenant, bundle, true)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.unpin(b, rows)
		}
	}()
	l := s.live(tenant)
	l.load.Lock()
	defer l.load.Unlock()
	entries := place.Entries(bundle)
	placed, got := make([]Placed, 0, len(rows)), []*unit(nil)
	defer func() { // what goes into the set is held by that
		for _, u := range got {
			s.drop(tenant, u)
		}
	}()
	for i := range rows {
		u, err := s.unitFor(ctx, tenant, &entries[i], rows[i])
		if err != nil {
			return nil, fmt.Errorf("manifest.json: filters: %w", err)
		}
		got = append(got, u)
		if entries[i].Direction == manifest.Response && !u.HasResponse() {
			return nil, fmt.Errorf("manifest.json: filters: %q looks at answers alone by its direction, and its module has nothing that does (gw_on_response): it would never be asked (say request or both, or upload a version that has it)", entries[i].Name)
		}
		placed = append(placed, place.Trying(u, &entries[i], u.tries))
	}
	set, err := s.assemble(ctx, l, placed)
	if err != nil {
		return nil, err
	}
	return &Prepared{s, l, set, b, rows}, nil
}

// Swap puts the filters in force, all at once. Calls that run end with those they began with. It does not block. The bundle stands
// already, for whoever asks Standing when this has returned.
func (p *Prepared) Swap() {
	if old := p.live.set.Swap(p.set); old != nil {
		old.Release()
	}
	p.service.unpin(p.book, p.rows) // the caller has the bundle stand
}

// Hold gives the filters to a call that found them with the engine of their bundle, from before Swap on until they are over:
// when others came into force, or the service was closed. Release must follow.
func (p *Prepared) Hold() (*Set, bool) { return p.set, p.set.Hold() }

// Drop gives up what was prepared.
func (p *Prepared) Drop() {
	p.set.Release()
	p.service.unpin(p.book, p.rows)
}

// unitFor finds the unit that an entry asks for among those that are loaded, also where calls of an earlier set alone have it, or
// loads it. drop must follow. The tenant's load lock is held.
func (s *Service) unitFor(ctx context.Context, tenant string, e *manifest.Filter, r versionRow) (*unit, error) {
	config := e.Config
	if config == nil {
		config = r.Config
	}
	sum := sha256.Sum256(config)
	key := unitKey{e.Name, e.Digest, hex.EncodeToString(sum[:]), e.Shadowed()}
	if u := s.loaded(tenant, key); u != nil {
		return u, nil
	}
	module, err := s.module(ctx, tenant, r)
	if err != nil {
		return nil, err
	}
	return s.loadUnit(ctx, tenant, key, r.Number, module, config)
}

// loaded takes a reference to a tenant's unit, unless there is none or it is being closed.
func (s *Service) loaded(tenant string, key unitKey) *unit {
	s.mu.Lock()
	defer s.mu.Unlock()
	for u, of := range s.units {
		if of == tenant && u.key == key && u.users > 0 {
			u.users++
			return u
		}
	}
	return nil
}

// loadUnit makes a filter ready for a tenant's calls. drop must follow.
func (s *Service) loadUnit(ctx context.Context, tenant string, key unitKey, version uint64, module, config []byte) (*unit, error) {
	said := func(level int, text string) { s.logs.Add(tenant, key.name, version, level, text, s.deps.Now()) }
	load := s.deps.Judge.Own().Load // the gateway's own filters are not the tenant's to starve
	if version > 0 {
		load = s.quota(tenant, key.shadow).Load
	}
	f, err := load(ctx, key.name, module, config, wasm.WithLog(said))
	if err != nil {
		return nil, fmt.Errorf("%w (another config, or an earlier version, may do)", err)
	}
	u := &unit{Filter: f, key: key, version: version, users: 1, broke: func(u *unit, st wasm.FilterStats) { s.alarm(tenant, u, st) }}
	if key.shadow {
		u.tries = place.NewTries(u, func(v *abi.Verdict, err error) { s.tried(tenant, u, v, err) })
	}
	s.mu.Lock()
	s.units[u] = tenant
	s.mu.Unlock()
	return u, nil
}

// quota is what a tenant's filters share. Those in shadow have one of their own, so that trying one takes nothing from those
// that are enforced. No tenant's name has a blank in it.
func (s *Service) quota(tenant string, shadow bool) *wasm.Tenant {
	if shadow {
		tenant += " shadow"
	}
	return s.deps.Judge.Runtime().Tenant(tenant, s.cfg.Quota)
}

// tried notes what a filter in shadow would have done, if it is anything.
func (s *Service) tried(tenant string, u *unit, v *abi.Verdict, err error) {
	text := ""
	switch {
	case err != nil:
		text = "shadow: " + err.Error()
	case v.Kind == abi.Deny:
		text = fmt.Sprintf("shadow: would deny: %s", v.Reason)
	case v.Kind == abi.Rewrite:
		text = "shadow: would rewrite"
	case len(v.Labels) > 0 || len(v.Scores) > 0:
		text = fmt.Sprintf("shadow: would label %q", v.Labels)
	default:
		return
	}
	s.logs.Add(tenant, u.key.name, u.version, 1, text, s.deps.Now())
}

// alarm says that a filter trapped so often that its calls are refused now.
func (s *Service) alarm(tenant string, u *unit, st wasm.FilterStats) {
	mode := manifest.Enforce
	if u.key.shadow {
		mode = manifest.Shadow
	}
	s.logs.Add(tenant, u.key.name, u.version, 3, "broken: it trapped too often, and is not asked for a while; last: "+st.LastTrap, s.deps.Now())
	s.deps.Log.Error("a filter trapped too often and is not asked for a while; its calls are refused", "tenant", tenant, "filter", u.key.name, "version", u.version, "mode", mode, "last", st.LastTrap)
	e := event{Op: opAlarm, Name: u.key.name, Version: u.version, Digest: DigestText(u.Digest()), Mode: mode, Reason: clip(st.LastTrap)}
	s.closing.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), changeTime)
		defer cancel()
		if err := s.record(ctx, tenant, Actor{}, e, "deny"); err != nil {
			s.deps.Log.Error("a filter's alarm is not on record", "tenant", tenant, "filter", e.Name, "error", err)
		}
	})
}

// state is where a version stands, as the bundle in force has it.
func (s *Service) state(tenant string, r versionRow) State {
	bundle, _ := s.deps.Bundles.Current(tenant)
	return stateIn(bundle, r)
}

// stateIn is where a version stands by a bundle, which may be nil.
func stateIn(bundle *policies.Bundle, r versionRow) State {
	state := Idle
	if bundle == nil {
		return state
	}
	for _, e := range bundle.Manifest().Filters {
		switch {
		case e.Name != r.Name || e.Digest != DigestText(r.Digest):
		case !e.Shadowed():
			return Active
		default:
			state = Shadow
		}
	}
	return state
}

func (s *Service) shown(tenant string, r versionRow) Version {
	if r.Number == 0 {
		return Version{}
	}
	return r.version(s.state(tenant, r))
}

// List shows a tenant's filters, by name.
func (s *Service) List(ctx context.Context, tenant string) ([]Filter, error) {
	b, err := s.opened(ctx, tenant)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	versions, rows := b.versions, b.names
	s.mu.Unlock()
	var out []Filter
	for _, name := range sorted(versions) {
		out = append(out, s.filter(tenant, name, versions[name], rows[name]))
	}
	return out, nil
}

// Filter shows one.
func (s *Service) Filter(ctx context.Context, tenant, name string) (Filter, error) {
	b, err := s.opened(ctx, tenant)
	if err != nil {
		return Filter{}, err
	}
	s.mu.Lock()
	_, err = b.find(name, 0)
	list, row := b.versions[name], b.names[name]
	s.mu.Unlock()
	if err != nil {
		return Filter{}, err
	}
	return s.filter(tenant, name, list, row), nil
}

func (s *Service) filter(tenant, name string, list []versionRow, row nameRow) Filter {
	out := Filter{Name: name}
	numbers := map[string]uint64{}
	for _, r := range slices.Backward(list) {
		out.Versions = append(out.Versions, s.shown(tenant, r))
		numbers[DigestText(r.Digest)] = r.Number
	}
	for _, p := range row.Past {
		if n := numbers[p.Digest]; n != 0 {
			out.Past = append(out.Past, n)
		}
	}
	bundle, ok := s.deps.Bundles.Current(tenant)
	if !ok {
		return out
	}
	for i, e := range bundle.Manifest().Filters {
		if e.Name != name {
			continue
		}
		entry := &Entry{Filter: e, Position: i + 1, Version: numbers[e.Digest], Stats: s.statsOf(tenant, e)}
		if e.Shadowed() {
			out.Tried = entry
		} else {
			out.Enforced = entry
		}
	}
	return out
}

// statsOf is what the unit behind an entry has done since it was loaded.
func (s *Service) statsOf(tenant string, e manifest.Filter) Stats {
	s.mu.Lock()
	var found *unit
	for u, of := range s.units {
		if of == tenant && u.key.name == e.Name && u.key.digest == e.Digest && u.key.shadow == e.Shadowed() {
			found = u
		}
	}
	s.mu.Unlock()
	if found == nil {
		return Stats{}
	}
	return found.stats()
}

// Rejections lists modules that did not pass, newest first; the oldest are forgotten.
func (s *Service) Rejections(ctx context.Context, tenant string) ([]Version, error) {
	b, err := s.opened(ctx, tenant)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Version
	for _, r := range b.rejected {
		out = append(out, Version{
			Name: r.Name, State: Rejected, Digest: r.Digest, Size: r.Size, By: Actor{r.User, r.Key}, Time: time.Unix(r.Time, 0).UTC(), Rejection: &r.Rejection,
		})
	}
	slices.SortFunc(out, func(x, y Version) int {
		if c := y.Time.Compare(x.Time); c != 0 {
			return c
		}
		return compareHash(x.Digest, y.Digest)
	})
	return out, nil
}

func compareHash(a, b merkle.Hash) int { return slices.Compare(a[:], b[:]) }

// Module returns a version's bytes as they were handed in; version 0 is the newest.
func (s *Service) Module(ctx context.Context, tenant, name string, version uint64) ([]byte, error) {
	b, err := s.opened(ctx, tenant)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	row, err := b.find(name, version)
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return s.module(ctx, tenant, row)
}
