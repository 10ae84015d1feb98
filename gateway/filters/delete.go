package filters

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/gatewright/gatewright/store"
)

// Delete gives up a version that is not in force: its number is not given again. A revision of the bundle that names it
// cannot be put in force any more until the same bytes are uploaded.
func (s *Service) Delete(ctx context.Context, tenant string, by Actor, name string, version uint64) error {
	b, err := s.lock(ctx, tenant)
	if err != nil {
		return err
	}
	defer b.unlock()
	if version == 0 {
		return fmt.Errorf("%w: say which version (`gatewright filter list` shows them)", ErrInvalid)
	}
	row, err := b.find(name, version)
	if err != nil {
		return err
	}
	if err := s.mayGo(tenant, b, row); err != nil {
		return err
	}
	defer s.gone(b)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime)
	defer cancel()
	e := event{Op: opDelete, Name: name, Version: version, Digest: DigestText(row.Digest)}
	if err := s.record(ctx, tenant, by, e, "allow"); err != nil {
		return err
	}
	left := slices.DeleteFunc(slices.Clone(b.versions[name]), func(r versionRow) bool { return r.Number == version })
	err = s.keep(ctx, tenant, func(tx store.Txn) error {
		if len(left) == 0 {
			if err := b.forget(tx, name); err != nil {
				return err
			}
		}
		return versionTable.Delete(tx, versionKey(name, version), store.AnyVersion)
	}, func(tx store.Txn) bool {
		_, _, err := versionTable.Get(tx, versionKey(name, version))
		return errors.Is(err, store.ErrNotFound)
	})
	if err != nil {
		return s.failed(ctx, tenant, by, e, err)
	}
	s.mu.Lock()
	b.versions = maps.Clone(b.versions)
	if b.versions[name] = left; len(left) == 0 {
		b.names, b.floor = maps.Clone(b.names), b.above(name)
		delete(b.versions, name)
		delete(b.names, name)
		s.logs.Forget(tenant, name)
		s.uncount(tenant, name)
	}
	s.mu.Unlock()
	only := ""
	if b.torn {
		only = row.Digest.String()
	}
	if err := s.sweep(ctx, tenant, b.versions, only); err != nil {
		s.deps.Log.Warn("a module is still kept", "tenant", tenant, "filter", name, "error", err)
	}
	return nil
}

// forget gives up the row of a name without versions, or there would be one for each name that ever was. What keeps its numbers from
// being given again is the floor.
func (b *book) forget(tx store.Txn, name string) error {
	if err := nameTable.Delete(tx, name, store.AnyVersion); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	_, err := floorTable.Put(tx, floorKey, floorRow{b.above(name)}, store.AnyVersion)
	return err
}

// above is the floor when a name has gone.
func (b *book) above(name string) uint64 { return max(b.floor, b.names[name].Next) }

// uncount forgets what a name without versions did, once nothing of it is loaded. mu is held.
func (s *Service) uncount(tenant, name string) {
	if b := s.books[tenant]; b == nil || !b.open || len(b.versions[name]) > 0 {
		return
	}
	for u, of := range s.units {
		if of == tenant && u.key.name == name {
			return
		}
	}
	delete(s.totals, totalKey{tenant, name, false})
	delete(s.totals, totalKey{tenant, name, true})
}

// mayGo keeps bundles from naming a version from now on, unless one does: one that is enforced, also where it waits for its tools,
// or is on its way. gone must follow when there is no error.
func (s *Service) mayGo(tenant string, b *book, row versionRow) error {
	key := row.key()
	s.mu.Lock()
	pinned := b.pinned[key] > 0
	if !pinned {
		b.going = key
	}
	s.mu.Unlock()
	if pinned {
		return fmt.Errorf("%w: version %d of %s is being put in force (look again in a moment: `gatewright filter list %s`)", ErrState, row.Number, row.Name, row.Name)
	}
	// What came into force before it was going shows here, and afterwards nothing does that names it.
	bundle, _ := s.deps.Bundles.Standing(tenant)
	if state := stateIn(bundle, row); state != Idle {
		s.gone(b)
		return fmt.Errorf("%w: version %d of %s is %s (activate another, or remove it first)", ErrState, row.Number, row.Name, state)
	}
	return nil
}

func (s *Service) gone(b *book) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.going = ""
}

// pin keeps versions from being deleted until unpin. Service.mu is held.
func (b *book) pin(rows []versionRow) {
	if b.pinned == nil {
		b.pinned = map[string]int{}
	}
	for _, r := range rows {
		b.pinned[r.key()]++
	}
}

func (s *Service) unpin(b *book, rows []versionRow) {
	if len(rows) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range rows {
		if b.pinned[r.key()]--; b.pinned[r.key()] == 0 {
			delete(b.pinned, r.key())
		}
	}
}
