package bundles

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/policies"
)

// Rollback undoes the last activation, at once: what is being tried is tried no more; or else the revision that was
// enforced before is enforced again. Its signature is judged by the keys of today: it may have been in force before one was asked for,
// or by a key that was stolen. One that cannot be put in force any more is never passed over: the error names it, and where
// RollbackTo can go.
func (s *Service) Rollback(ctx context.Context, tenant string, by Actor) (Revision, error) {
	return s.RollbackTo(ctx, tenant, by, 0)
}

// RollbackTo undoes activations up to a revision that was enforced before, which is enforced again; those between are on the way
// back no more, and what is being tried is tried no more. Revision 0 is what Rollback goes to.
func (s *Service) RollbackTo(ctx context.Context, tenant string, by Actor, number uint64) (Revision, error) {
	b, err := s.lock(ctx, tenant)
	if err != nil {
		return Revision{}, err
	}
	defer b.change.Unlock()
	c, before := &change{op: opRollback, by: by, engines: true}, b.enforced
	switch past := b.row.Past; {
	case number == 0 && b.row.Staged != 0 && b.enforced != nil && !b.waiting:
		c.op, c.number, c.bundle = opWithdraw, b.row.Enforced, b.enforced
		c.row, c.enforced, c.engine = b.row, b.enforced, s.deps.Engines.For(tenant)
		c.row.Staged, c.row.Shadow, c.row.Canary = 0, false, 0
	case len(past) == 0:
		return Revision{}, fmt.Errorf("%w: nothing is left to go back to (`gatewright policy history` lists them, `activate N` enforces one)", ErrState)
	default:
		at := len(past) - 1
		if number != 0 {
			if at = slices.Index(past, number); at < 0 {
				return Revision{}, fmt.Errorf("%w: revision %d was not enforced before the one that is; those that were: %s (`gatewright policy activate N` enforces any other)", ErrState, number, numbers(past))
			}
		}
		if err := s.goBack(ctx, b, c, at); err != nil {
			return Revision{}, s.stuck(ctx, b, at, err)
		}
	}
	c.row.Manual = true
	if err := s.apply(ctx, b, c); err != nil {
		if at := len(c.row.Past); c.op == opRollback && errors.Is(err, ErrFilters) {
			err = s.stuck(ctx, b, at, err)
		}
		return Revision{}, err
	}
	s.settled(b)
	return s.moved(tenant, c.number, before, c.bundle)
}

// goBack makes the change one that enforces what was enforced before. Past is then what was before that.
func (s *Service) goBack(ctx context.Context, b *book, c *change, at int) (err error) {
	past := b.row.Past
	c.number = past[at]
	if c.bundle, err = s.believed(ctx, b, c.number); err != nil {
		return err
	}
	e, err := s.compile(b.tenant, c.bundle)
	if err != nil {
		return err
	}
	b.enforce(c, e)
	c.row.Past = slices.Clone(past[:at])
	return nil
}

// believed is a revision whose signature holds by the keys of today.
func (s *Service) believed(ctx context.Context, b *book, number uint64) (*policies.Bundle, error) {
	r := b.find(number)
	if r == nil {
		return nil, fmt.Errorf("revision %d: %w", number, ErrNotFound)
	}
	return s.judged(ctx, b, r)
}

// stuck says of a revision on the way back that cannot be put in force why, and which is the newest before it that can.
func (s *Service) stuck(ctx context.Context, b *book, at int, why error) error {
	if !errors.Is(why, ErrRefused) && !errors.Is(why, ErrDamaged) && !errors.Is(why, ErrUnsigned) && !errors.Is(why, ErrNotFound) {
		return why
	}
	past, what := b.row.Past, ""
	if errors.Is(why, ErrFilters) {
		what = ": a filter version that it names was deleted since, or does not start"
	}
	for _, number := range slices.Backward(past[:at]) {
		bundle, err := s.believed(ctx, b, number)
		if err == nil {
			if _, err = s.compile(b.tenant, bundle); err == nil {
				err = s.checkFilters(ctx, b.tenant, bundle)
			}
		}
		if err == nil {
			return s.refuse(fmt.Errorf("revision %d cannot be put in force again%s: %w; `gatewright policy rollback %d` goes back to revision %d, the newest before it that can", past[at], what, why, number, number))
		}
	}
	return s.refuse(fmt.Errorf("revision %d cannot be put in force again%s: %w; none that was enforced before it can be either (`gatewright policy history` lists all, `gatewright policy activate N` enforces one)", past[at], what, why))
}

func numbers(list []uint64) string {
	var out []string
	for _, n := range list {
		out = append(out, fmt.Sprint(n))
	}
	return strings.Join(out, ", ")
}
