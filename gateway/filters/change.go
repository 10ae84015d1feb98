package filters

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/gatewright/gatewright/gateway/filters/judge"
	"github.com/gatewright/gatewright/gateway/filters/place"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/manifest"
	"github.com/gatewright/gatewright/store"
)

// Activate enforces a version, the newest for 0, by a revision of the bundle. In what p does not say it looks where the version in
// force looks, or the one that is tried, or everywhere. What was tried of the same bytes is tried no more.
func (s *Service) Activate(ctx context.Context, tenant string, by Actor, name string, version uint64, p Placement) (Change, error) {
	return s.enforce(ctx, tenant, by, name, version, p, manifest.Enforce)
}

// Shadow tries a version beside what is in force, like Activate: it is asked about the same calls, and what it would do is
// counted.
func (s *Service) Shadow(ctx context.Context, tenant string, by Actor, name string, version uint64, p Placement) (Change, error) {
	return s.enforce(ctx, tenant, by, name, version, p, manifest.Shadow)
}

func (s *Service) enforce(ctx context.Context, tenant string, by Actor, name string, version uint64, p Placement, mode string) (Change, error) {
	b, now, err := s.begin(ctx, tenant)
	if err != nil {
		return Change{}, err
	}
	defer b.unlock()
	row, err := b.find(name, version)
	if err != nil {
		return Change{}, err
	}
	entry, err := p.over(now, row, mode)
	if err != nil {
		return Change{}, err
	}
	next := place.With(now, entry, p.Position)
	if reflect.DeepEqual(now, next) {
		return Change{}, fmt.Errorf("%w: version %d of %s is so already (`gatewright filter list` shows what is in force)", ErrState, row.Number, name)
	}
	op := opActivate
	if mode == manifest.Shadow {
		op = opShadow
	}
	m := &move{Service: s, tenant: tenant, by: by, book: b, op: op, name: name, number: row.Number, entry: entry, before: now, next: next}
	if old := place.Find(now, name, false); old != nil && mode == manifest.Enforce {
		if moved := p.Position > 0 && placeOf(next, entry) != placeOf(now, *old); moved || !reflect.DeepEqual(*old, entry) {
			if err := m.remember(ctx, *old, moved); err != nil {
				return Change{}, err
			}
		}
	}
	return m.make(ctx)
}

// Rollback undoes the last change of a filter: what is tried of it is tried no more; or else what was enforced before is
// enforced again, where it was.
func (s *Service) Rollback(ctx context.Context, tenant string, by Actor, name string) (Change, error) {
	b, now, err := s.begin(ctx, tenant)
	if err != nil {
		return Change{}, err
	}
	defer b.unlock()
	if tried := place.Find(now, name, true); tried != nil {
		return s.withdraw(ctx, tenant, by, b, now, *tried)
	}
	if _, err := b.find(name, 0); err != nil {
		return Change{}, err
	}
	if row, last, back, ok := b.wayBack(name, now, b.names[name].Past); ok {
		m := &move{
			Service: s, tenant: tenant, by: by, book: b, op: opRollback, name: name, number: row.Number, entry: last.Filter,
			before: now, next: place.With(now, last.Filter, 0),
		}
		if place.Find(now, name, false) == nil || last.Moved { // back to where it stood
			m.next = place.With(now, last.Filter, last.Position)
		}
		change, err := m.make(ctx)
		if err != nil {
			return Change{}, err
		}
		next, _, _, _ := b.wayBack(name, m.next, back)
		change.Back = next.Number
		if err := m.keepPast(ctx, back); err != nil { // the change stands; the next rollback passes over what is in force
			s.deps.Log.Warn("a filter's way back is not shortened", "tenant", tenant, "filter", name, "error", err)
		}
		return change, nil
	}
	return Change{}, fmt.Errorf("%w: nothing is left of %s to go back to (`gatewright filter activate %s N` enforces a version, `gatewright filter remove %s` takes it out of force)", ErrState, name, name, name)
}

// wayBack finds the newest of what was enforced before that can be again, and what was before that. It passes over what was deleted
// since, and an activation that did not come to pass: it stands there and in force.
func (b *book) wayBack(name string, now []manifest.Filter, all []past) (row versionRow, last past, before []past, ok bool) {
	enforced := place.Find(now, name, false)
	for i, last := range slices.Backward(all) {
		row, err := b.named(last.Filter)
		if err != nil || enforced != nil && reflect.DeepEqual(*enforced, last.Filter) && (!last.Moved || placeOf(now, *enforced) == last.Position) {
			continue // deleted since, or an activation that did not come to pass
		}
		return row, last, slices.Clone(all[:i]), true
	}
	return versionRow{}, past{}, nil, false
}

// standing is which versions of a name entries mean.
func (b *book) standing(name string, entries []manifest.Filter) (s Standing) {
	if e := place.Find(entries, name, false); e != nil {
		row, _ := b.named(*e) // 0 of what cannot be told
		s.Enforced = row.Number
	}
	if e := place.Find(entries, name, true); e != nil {
		row, _ := b.named(*e)
		s.Tried = row.Number
	}
	return s
}

// withdraw ends the trial of what is in shadow.
func (s *Service) withdraw(ctx context.Context, tenant string, by Actor, b *book, now []manifest.Filter, tried manifest.Filter) (Change, error) {
	next := slices.DeleteFunc(slices.Clone(now), func(f manifest.Filter) bool { return f.Name == tried.Name && f.Shadowed() })
	m := &move{Service: s, tenant: tenant, by: by, book: b, op: opWithdraw, name: tried.Name, entry: tried, before: now, next: next}
	if row, err := b.named(tried); err == nil {
		m.number = row.Number
	}
	change, err := m.make(ctx)
	if err != nil {
		return Change{}, err
	}
	change.Version, change.Mode = 0, ""
	if e := place.Find(next, tried.Name, false); e != nil {
		change.Mode = manifest.Enforce
		if row, err := b.named(*e); err == nil {
			change.Version = row.Number
		}
	}
	return change, nil
}

// Remove takes a filter out of force, and out of shadow. Its versions stay.
func (s *Service) Remove(ctx context.Context, tenant string, by Actor, name string) (Change, error) {
	b, now, err := s.begin(ctx, tenant)
	if err != nil {
		return Change{}, err
	}
	defer b.unlock()
	next := slices.DeleteFunc(slices.Clone(now), func(f manifest.Filter) bool { return f.Name == name })
	if len(next) == len(now) {
		return Change{}, fmt.Errorf("%w: %.80q is not in force (`gatewright filter list` shows what is)", ErrState, name)
	}
	m := &move{Service: s, tenant: tenant, by: by, book: b, op: opRemove, name: name, entry: manifest.Filter{Name: name}, before: now, next: next}
	if old := place.Find(now, name, false); old != nil {
		m.entry = *old
		if err := m.remember(ctx, *old, false); err != nil {
			return Change{}, err
		}
	}
	change, err := m.make(ctx)
	change.Version, change.Mode = 0, ""
	return change, err
}

// begin takes a tenant's book for a change of what is in force, and says what is. unlock must follow when there is no error.
func (s *Service) begin(ctx context.Context, tenant string) (*book, []manifest.Filter, error) {
	b, err := s.lock(ctx, tenant)
	if err != nil {
		return nil, nil, err
	}
	now, err := s.entries(tenant)
	if err != nil {
		b.unlock()
		return nil, nil, err
	}
	return b, now, nil
}

// entries are what the bundle in force says, if the gateway may change it.
func (s *Service) entries(tenant string) ([]manifest.Filter, error) {
	if s.deps.Bundles.Signed(tenant) {
		return nil, fmt.Errorf("%w: the gateway cannot change one (name the filter's digest in the section filters of manifest.json, sign the bundle with `gatewright policy sign`, and push it; `gatewright filter list` shows digests)", ErrSigned)
	}
	bundle, ok := s.deps.Bundles.Current(tenant)
	if !ok {
		return nil, fmt.Errorf("%w: no bundle is in force that could say so (`gatewright policy history` tells why)", ErrState)
	}
	return place.Entries(bundle), nil
}

// over makes the entry of a version: where it is said to look, and in all that is not said where the name looked before. It holds the
// config that the version is shown, so that neither a rollback nor a revision means another one when the same bytes are uploaded
// anew.
func (p Placement) over(now []manifest.Filter, row versionRow, mode string) (manifest.Filter, error) {
	digest := DigestText(row.Digest)
	old, tried := place.Find(now, row.Name, false), place.Find(now, row.Name, true)
	if old == nil {
		old = tried
	}
	if old != nil {
		p = p.after(old, digest)
	}
	if p.Config == nil && tried != nil && tried.Digest == digest && old.Digest != digest {
		p.Config = tried.Config // what was tried is what comes into force
	}
	e := p.entry(row.version(Idle), mode)
	e.Servers, e.Tools = unlessAll(e.Servers), unlessAll(e.Tools)
	if e.Config == nil {
		e.Config = row.Config
	}
	if err := judge.CheckConfig(e.Config); err != nil {
		return e, err
	}
	e.Config = place.Compact(e.Config)
	if err := e.Check(); err != nil {
		return e, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if p.Position < 0 || p.Position > manifest.MaxFilters {
		return e, fmt.Errorf("%w: position %d: want 1 to %d (or none: where it stands, or the end)", ErrInvalid, p.Position, manifest.MaxFilters)
	}
	return e, nil
}

// after fills in what is not said from an entry of the name: who changes the config of a filter does not mean it to look at every
// server from now on. The config stays where the bytes do: another version may take another.
func (p Placement) after(old *manifest.Filter, digest string) Placement {
	if p.Servers == nil {
		p.Servers = old.Servers
	}
	if p.Tools == nil {
		p.Tools = old.Tools
	}
	if p.Direction == "" {
		p.Direction = old.Direction
	}
	if p.Config == nil && old.Digest == digest {
		p.Config = old.Config
	}
	return p
}

// unlessAll is a list of names as a manifest has it: none where "*" is among them.
func unlessAll(names []string) []string {
	if slices.Contains(names, "*") {
		return nil
	}
	return names
}

// placeOf is the position of an entry among others, from 1.
func placeOf(all []manifest.Filter, e manifest.Filter) int {
	return 1 + slices.IndexFunc(all, func(f manifest.Filter) bool { return reflect.DeepEqual(f, e) })
}

// move is a change of what is in force, on its way.
type move struct {
	*Service
	tenant       string
	by           Actor
	book         *book
	op, name     string
	number       uint64
	entry        manifest.Filter
	before, next []manifest.Filter
}

// remember puts what was in force on the way back. It is kept before the change: if that does not come to pass, what is in
// force stands there too, and Rollback passes it over.
func (m *move) remember(ctx context.Context, old manifest.Filter, moved bool) error {
	all := append(slices.Clone(m.book.names[m.name].Past), past{old, placeOf(m.before, old), moved})
	return m.keepPast(ctx, all[max(0, len(all)-maxPast):])
}

func (m *move) keepPast(ctx context.Context, all []past) error {
	row := m.book.names[m.name]
	row.Past = all
	err := m.keep(ctx, m.tenant, func(tx store.Txn) error {
		_, err := nameTable.Put(tx, m.name, row, store.AnyVersion)
		return err
	}, func(tx store.Txn) bool {
		got, _, err := nameTable.Get(tx, m.name)
		return err == nil && reflect.DeepEqual(got.Past, all)
	})
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.book.names = maps.Clone(m.book.names)
	m.book.names[m.name] = row
	m.mu.Unlock()
	return nil
}

// make puts the change on record and has the bundle say it.
func (m *move) make(ctx context.Context) (Change, error) {
	if len(m.next) > manifest.MaxFilters {
		return Change{}, fmt.Errorf("%w: %d filters in a bundle, at most %d (remove one first)", ErrQuota, len(m.next), manifest.MaxFilters)
	}
	e := event{
		Op: m.op, Name: m.name, Version: m.number, Digest: m.entry.Digest, Mode: m.entry.Mode, Servers: m.entry.Servers, Tools: m.entry.Tools,
		Direction: m.entry.Direction,
	}
	if err := m.record(ctx, m.tenant, m.by, e, "allow"); err != nil {
		return Change{}, err
	}
	revision, err := m.deps.Bundles.Amend(ctx, m.tenant, m.by, func(b *policies.Bundle) (string, []byte, error) {
		if !reflect.DeepEqual(place.Entries(b), m.before) {
			return "", nil, fmt.Errorf("%w: another bundle was put in force meanwhile (look at it, and say it again)", ErrState)
		}
		data, err := place.Rewrite(b, m.next)
		return policies.ManifestFile, data, err
	})
	if err != nil {
		if !errors.Is(err, ErrState) {
			err = fmt.Errorf("%w, and what was in force stays: %w", ErrBundle, err)
		}
		return Change{}, m.failed(ctx, m.tenant, m.by, e, err)
	}
	mode := m.entry.Mode
	if mode == "" {
		mode = manifest.Enforce
	}
	back, _, _, _ := m.book.wayBack(m.name, m.next, m.book.names[m.name].Past)
	return Change{
		Name: m.name, Version: m.number, Mode: mode, Revision: revision,
		Was: m.book.standing(m.name, m.before), Now: m.book.standing(m.name, m.next), Back: back.Number,
	}, nil
}
