package bundles

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/policies"
)

// Offer brings what a source has now. It is enforced when it is good and the source did not have it before: what a person
// put in force since, a rollback say, is not undone by looking at the same files again. Anew brings it in force all the
// same, as a person asked for. What is not taken raises the tenant's alarm, and the last good one stays in force.
func (s *Service) Offer(ctx context.Context, tenant string, by Actor, bundle *policies.Bundle, from Source, anew bool) error {
	b, err := s.lock(ctx, tenant)
	if err != nil {
		return err
	}
	defer b.change.Unlock()
	if err := s.offered(ctx, b, by, &offer{bundle, from}, anew); err != nil {
		if !anew || b.enforced == nil {
			s.Alarmed(tenant, err.Error())
		}
		return s.refuse(err)
	}
	return nil
}

// offered takes an offer, or says why not. book.change is held.
func (s *Service) offered(ctx context.Context, b *book, by Actor, o *offer, anew bool) error {
	digest := o.bundle.Digest()
	switch {
	case b.lost != "" && digest == b.meant(): // what was lost is here again
	case b.lost != "" && !anew:
		return fmt.Errorf("%w: %s", ErrState, b.lost)
	case anew:
	case digest == b.row.Offered && (b.enforced != nil || b.waiting):
		s.overlooked(b)
		return nil
	case o.source.Kind == BuiltIn && b.row.Manual:
		return nil
	}
	rev, err := s.newRevision(b, o.bundle, by, o.source)
	if err != nil {
		return err
	}
	e, err := s.compile(b.tenant, o.bundle)
	if err != nil {
		s.await(b, o, anew)
		return err
	}
	if b.enforced != nil && b.enforced.Digest() == digest && b.row.Staged == 0 {
		return s.noted(ctx, b, o, e, anew)
	}
	if err := b.keepsFilters(o.bundle); err != nil {
		return err
	}
	c := &change{op: opLoad, by: by, bundle: o.bundle, number: rev.Number, rev: rev}
	if known := b.known(digest); known != nil && known.answers(rev) {
		if err := s.mend(ctx, b, known.Number, o.bundle); err != nil {
			return err
		}
		c.number, c.rev = known.Number, nil
	}
	before := b.enforced
	b.enforce(c, e)
	c.row.Next, c.row.Version = max(b.row.Next, c.number+1), max(b.row.Version, rev.Version)
	c.row.Offered, c.row.Manual = digest, false
	if err := s.apply(ctx, b, c); err != nil {
		if errors.Is(err, ErrFilters) {
			s.await(b, o, anew)
		}
		return err
	}
	if gone := withdrawn(before, o.bundle); len(gone) > 0 { // nobody reads an answer of a folder's or a repository's
		s.deps.Log.Warn("a bundle took filters out of force", "tenant", b.tenant, "revision", c.number, "filters", strings.Join(gone, ", "))
	}
	s.settled(b)
	s.tidy(ctx, b)
	return nil
}

// await tries an offer again when tools or filters have come. Who asked for it now was told; only a source's own waits.
func (s *Service) await(b *book, o *offer, anew bool) {
	if anew && b.enforced != nil && b.pending != o {
		return
	}
	s.mu.Lock()
	b.pending = o
	s.mu.Unlock()
}

// overlooked ends an alarm that was about a source which now has what it had before.
func (s *Service) overlooked(b *book) {
	if b.pending != nil || s.Alarm(b.tenant) != "" && !b.waiting {
		s.settled(b)
	}
}

// noted keeps that the source has what is enforced already, with an engine for the tools of now. Nothing changes, and so
// there is no record.
func (s *Service) noted(ctx context.Context, b *book, o *offer, e *policies.Engine, anew bool) error {
	ready, err := s.prepare(ctx, b, b.enforced)
	if err != nil {
		return err
	}
	row := b.row
	row.Offered, row.Manual = o.bundle.Digest(), row.Manual && !anew
	if !same(row, b.row) {
		if err := s.keep(ctx, b.tenant, row, nil); err != nil {
			drop(ready)
			return err
		}
	}
	s.mu.Lock()
	b.row, b.waiting, b.untried = row, false, ""
	s.swap(b, e, nil, policies.Mode{}, b.enforced, ready)
	s.mu.Unlock()
	s.settled(b)
	return nil
}

// Retool compiles what is in force against the tenant's tools as they are now. What does not compile any more stays as it
// was compiled last; what had to wait for its tools comes into force.
func (s *Service) Retool(ctx context.Context, tenant string) {
	s.mu.RLock()
	b := s.books[tenant]
	s.mu.RUnlock()
	if b == nil {
		return
	}
	b.change.Lock()
	defer b.change.Unlock()
	if o := b.pending; o != nil {
		if err := s.offered(ctx, b, Actor{}, o, true); err == nil {
			s.deps.Log.Info("policies are in force now that the tools are known", "tenant", tenant)
			return
		} else if !errors.Is(err, ErrRefused) {
			s.Alarmed(tenant, err.Error())
		}
	}
	if b.enforced != nil {
		s.compileHeld(ctx, b)
	}
}

// compileHeld puts engines in force for the bundles that are held. book.change is held.
func (s *Service) compileHeld(ctx context.Context, b *book) {
	engine, err := s.compile(b.tenant, b.enforced)
	var ready Ready
	if err == nil {
		ready, err = s.prepare(ctx, b, b.enforced)
	}
	waited := b.waiting
	if err != nil {
		s.mu.Lock()
		b.waiting = s.deps.Engines.For(b.tenant) == nil
		s.mu.Unlock()
		s.Alarmed(b.tenant, wontCompile(b.waiting, err))
		return
	}
	var beside *policies.Engine
	if b.staged != nil {
		if beside, err = s.compile(b.tenant, b.staged); err != nil {
			beside, _ = s.deps.Engines.Staged(b.tenant)
		}
	}
	s.mu.Lock()
	was := b.untried
	if b.waiting, b.untried = false, ""; err != nil {
		b.untried = untried(b.row.Staged, beside == nil, err)
	}
	s.swap(b, engine, beside, b.row.mode(), b.enforced, ready)
	now := b.untried
	over := waited || was != "" && b.alarm == was
	s.mu.Unlock()
	switch {
	case now != "":
		s.Alarmed(b.tenant, now)
	case over:
		s.Alarmed(b.tenant, "")
	}
}

// untried says that a revision is staged and not tried, or not as it would be.
func untried(number uint64, nothing bool, err error) string {
	what := "it is tried as it was compiled last"
	if nothing {
		what = "it is not tried"
	}
	return fmt.Sprintf("revision %d, staged beside what is in force, does not compile against the tools as they are now; %s (activate another, or roll back): %v", number, what, err)
}

func wontCompile(nothing bool, err error) string {
	if errors.Is(err, ErrFilters) {
		if nothing {
			return "the filters of the bundle that was in force cannot be loaded; everything is refused until they can: " + err.Error()
		}
		return "the filters of the bundle in force cannot be loaded anew; those that are loaded stay: " + err.Error()
	}
	if nothing {
		return "the policies that were in force do not compile against the tools as they are now; everything is refused until they do: " + err.Error()
	}
	return "policies do not compile against the tools as they are now; the last good ones stay in force: " + err.Error()
}
