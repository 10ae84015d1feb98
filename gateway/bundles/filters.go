package bundles

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/manifest"
	"github.com/gatewright/gatewright/store"
)

// Filters follow the bundle that is enforced, for everybody: they change in the same act as its engine. A bundle that is tried,
// in shadow or as a canary, has none of its own, so it must name those that are enforced; who wants to try a filter has it put
// in shadow in the bundle that is enforced.

// checkFilters refuses a bundle whose filters the tenant cannot have.
func (s *Service) checkFilters(ctx context.Context, tenant string, b *policies.Bundle) error {
	if s.deps.Filters == nil {
		return nil
	}
	if err := s.deps.Filters.Check(ctx, tenant, b); err != nil {
		return fmt.Errorf("%w: %w: %w", ErrRefused, ErrFilters, err)
	}
	return nil
}

// prepare makes a bundle's filters ready, unless they are in force already: then there is nothing to swap. book.change is held.
func (s *Service) prepare(ctx context.Context, b *book, bundle *policies.Bundle) (Ready, error) {
	if s.deps.Filters == nil || b.filtered == bundle {
		return nil, nil
	}
	ready, err := s.deps.Filters.Prepare(ctx, b.tenant, bundle)
	if err != nil {
		return nil, fmt.Errorf("%w: %w: %w", ErrRefused, ErrFilters, err)
	}
	return ready, nil
}

// swap puts engines in force, and with the enforced one its bundle's filters: who asks the engines with ChooseWith gets both of
// one bundle. ready is nil when they are in force already. Service.mu is held.
func (s *Service) swap(b *book, enforced, beside *policies.Engine, m policies.Mode, bundle *policies.Bundle, ready Ready) {
	if ready == nil {
		s.deps.Engines.Put(b.tenant, enforced, beside, m)
	} else {
		s.deps.Engines.PutWith(b.tenant, enforced, beside, m, ready)
		ready.Swap()
	}
	b.filtered = bundle
}

// drop gives up filters that do not come into force after all.
func (c *change) drop() { drop(c.ready) }

func drop(ready Ready) {
	if ready != nil {
		ready.Drop()
	}
}

// sameFilters refuses to try a bundle that has other filters than the one that is enforced.
func sameFilters(enforced, tried *policies.Bundle) error {
	if moves, reordered := manifest.Moves(entries(enforced), entries(tried)); moves == nil && !reordered {
		return nil
	}
	return fmt.Errorf("%w: a bundle that is tried must name the same filters in manifest.json as the one that is enforced (`gatewright filter list --manifest` prints that section, to be copied; `gatewright filter shadow` tries a filter)", ErrRefused)
}

// moved shows a revision with what it changes of the filters in force.
func (s *Service) moved(tenant string, number uint64, before, after *policies.Bundle) (Revision, error) {
	r, err := s.Revision(tenant, number)
	if err == nil {
		r.Moves, r.Reordered = manifest.Moves(entries(before), entries(after))
	}
	return r, err
}

// withdrawn names the filters that a bundle takes out of force.
func withdrawn(before, after *policies.Bundle) (names []string) {
	moves, _ := manifest.Moves(entries(before), entries(after))
	for _, m := range moves {
		if m.After == nil && m.Mode == manifest.Enforce {
			names = append(names, m.Name)
		}
	}
	return names
}

// pushed shows a revision with what it would change of the filters in force. One that says nothing of them changes nothing: it cannot
// be enforced while there are some.
func (s *Service) pushed(b *book, number uint64, bundle *policies.Bundle) (Revision, error) {
	if err := b.keepsFilters(bundle); err != nil {
		r, bad := s.Revision(b.tenant, number)
		r.Warning = "it cannot be enforced as things are: " + strings.TrimPrefix(err.Error(), ErrRefused.Error()+": ")
		return r, bad
	}
	return s.moved(b.tenant, number, b.enforced, bundle)
}

// entries are what a bundle says of filters; there may be no bundle.
func entries(b *policies.Bundle) []manifest.Filter {
	if b == nil {
		return nil
	}
	return b.Manifest().Filters
}

// keepsFilters refuses to enforce a bundle that says nothing of filters while some are enforced: it was most likely made from files
// that knew of none, and calls would go on unfiltered. Only Rollback and who writes an empty section mean it.
func (b *book) keepsFilters(next *policies.Bundle) error {
	names := b.row.Filters // also where what is enforced cannot be read
	if b.enforced != nil {
		names = enforcedFilters(b.enforced)
	}
	if len(names) == 0 || next.Manifest().Filters != nil {
		return nil
	}
	return fmt.Errorf("%w: its manifest.json says nothing of filters, and would take %s out of force (`gatewright filter list --manifest` prints the section to copy into it; an empty one, \"filters\": [], takes all out of force; `gatewright policy rollback` goes back to what was in force before, with its filters)", ErrRefused, strings.Join(names, ", "))
}

// enforcedFilters names the filters that calls have to pass by a bundle.
func enforcedFilters(b *policies.Bundle) (names []string) {
	for _, f := range b.Manifest().Filters {
		if !f.Shadowed() {
			names = append(names, f.Name)
		}
	}
	return names
}

// Naming lists the revisions of the history, oldest first, whose manifest names a filter by this digest: without the bytes none of them
// can be put in force. One that cannot be read is not among them.
func (s *Service) Naming(ctx context.Context, tenant, name, digest string) (revisions []uint64, err error) {
	err = s.deps.Store.View(ctx, tenant, func(tx store.Txn) error {
		known := map[string]bool{} // manifests, by digest: most revisions share theirs with another
		revs, err := scanRevisions(tx)
		revisions = nil
		for _, r := range revs {
			row, _, err := revisionTable.Get(tx, revisionKey(r.Number))
			if err != nil {
				continue
			}
			file := row.Files[policies.ManifestFile]
			names, seen := known[file]
			if !seen {
				names = namesFilter(tx, file, name, digest)
				known[file] = names
			}
			if names {
				revisions = append(revisions, r.Number)
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for revisions that name a filter: %w", err)
	}
	return revisions, nil
}

// namesFilter tells whether the manifest with a digest names a filter.
func namesFilter(tx store.Txn, file, name, digest string) bool {
	v, err := tx.Get(fileTable, file)
	if err != nil {
		return false
	}
	m, err := manifest.Parse(v.Data)
	return err == nil && slices.ContainsFunc(m.Filters, func(f manifest.Filter) bool { return f.Name == name && f.Digest == digest })
}

// Signed tells whether the tenant's bundles have to be signed.
func (s *Service) Signed(tenant string) bool { return len(s.deps.Keys(tenant)) > 0 }

// Amend enforces the enforced bundle with one file changed, as a revision of its own, on behalf of somebody. edit is shown the
// bundle and returns the file's name and its new bytes; its error ends the change. What is being tried has to be withdrawn or
// enforced before: it was compared with what would then not be enforced any more.
func (s *Service) Amend(ctx context.Context, tenant string, by Actor, edit func(*policies.Bundle) (file string, data []byte, err error)) (Revision, error) {
	b, err := s.lock(ctx, tenant)
	if err != nil {
		return Revision{}, err
	}
	defer b.change.Unlock()
	switch {
	case b.enforced == nil || b.waiting:
		return Revision{}, fmt.Errorf("%w: no revision is enforced that could be changed (activate one first)", ErrState)
	case b.row.Staged != 0:
		return Revision{}, fmt.Errorf("%w: revision %d is being tried beside what is enforced (enforce it, or withdraw it with `gatewright policy rollback`, first)", ErrState, b.row.Staged)
	}
	file, data, err := edit(b.enforced)
	if err != nil {
		return Revision{}, err
	}
	bundle, err := amended(b.enforced, file, data)
	if err != nil {
		return Revision{}, s.refuse(err)
	}
	if bundle.Digest() == b.enforced.Digest() {
		return s.Revision(tenant, b.row.Enforced)
	}
	return s.amend(ctx, b, by, bundle)
}

func (s *Service) amend(ctx context.Context, b *book, by Actor, bundle *policies.Bundle) (Revision, error) {
	rev, err := s.newRevision(b, bundle, by, Source{Kind: API})
	if err != nil {
		return Revision{}, s.refuse(err)
	}
	e, err := s.compile(b.tenant, bundle)
	if err != nil {
		return Revision{}, s.refuse(err)
	}
	c := &change{op: opAmend, by: by, bundle: bundle, number: rev.Number, rev: rev}
	if known := b.known(bundle.Digest()); known != nil && known.answers(rev) {
		if err := s.mend(ctx, b, known.Number, bundle); err != nil {
			return Revision{}, err
		}
		c.number, c.rev = known.Number, nil
	}
	b.enforce(c, e)
	c.row.Next, c.row.Version, c.row.Manual = max(b.row.Next, c.number+1), max(b.row.Version, rev.Version), true
	if err := s.apply(ctx, b, c); err != nil {
		if errors.Is(err, ErrRefused) {
			return Revision{}, s.refuse(err)
		}
		return Revision{}, err
	}
	s.settled(b)
	s.tidy(ctx, b)
	return s.Revision(b.tenant, c.number)
}

// amended is a bundle with one file changed, and without its signature, which was over another.
func amended(b *policies.Bundle, file string, data []byte) (*policies.Bundle, error) {
	files := map[string][]byte{}
	for _, name := range b.Files() {
		files[name], _ = b.File(name)
	}
	maps.Copy(files, map[string][]byte{file: data})
	next, err := policies.NewBundle(files)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return next, nil
}
