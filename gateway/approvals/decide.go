package approvals

import (
	"context"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/gatewright/gatewright/merkle/ledger"
)

// Approver is a person who decides, as their management key proved it. What they may do is looked up.
type Approver struct {
	Tenant, User, Key string
}

// maxWhy bounds the words that go with a decision into the ledger, where they stay for good.
const maxWhy = 256

// Decide is one person's word. As many different people as it takes must approve; one rejection ends it, also when it
// was approved and not used yet. A person decides once, but who approved may still reject: that is their last word.
func (r *Register) Decide(ctx context.Context, by Approver, id string, approve bool, reason string) (View, error) {
	if len(reason) > maxWhy || !utf8.ValidString(reason) {
		err := fmt.Errorf("the reason must be UTF-8 of at most %d bytes: %w", maxWhy, ErrInvalid)
		return View{}, fmt.Errorf("decide approval: %w", err)
	}
	e := r.find(by.Tenant, id)
	if e == nil {
		return View{}, fmt.Errorf("decide approval: %w", ErrNotFound)
	}
	e.change.Lock()
	defer e.change.Unlock()
	role, err := r.entitled(ctx, by, e)
	if err != nil {
		return View{}, fmt.Errorf("decide approval: %w", err)
	}
	v := vote{User: by.User, Key: by.Key, Role: role, Approve: approve, Reason: reason, At: r.deps.Now().Unix()}
	if approve {
		err = r.approve(ctx, e, v)
	} else {
		err = r.reject(ctx, e, v)
	}
	if err != nil {
		return View{}, fmt.Errorf("decide approval: %w", err)
	}
	return r.view(e), nil
}

// entitled looks up the role of who decides, and refuses whom the request is not for.
func (r *Register) entitled(ctx context.Context, by Approver, e *entry) (string, error) {
	if by.User == "" || by.Key == "" {
		return "", fmt.Errorf("only a person can decide: %w", ErrForbidden)
	}
	role, err := r.deps.Directory.Role(ctx, by.Tenant, by.User)
	if err != nil {
		return "", fmt.Errorf("look up the role: %w", err)
	}
	role = lower(role)
	if rank(role) == 0 || rank(role) < rank(e.row.Approver) {
		return "", fmt.Errorf("this takes the role %s: %w", e.row.Approver, ErrForbidden)
	}
	if !r.cfg.Separate {
		return role, nil
	}
	owner, err := r.deps.Directory.Owner(ctx, by.Tenant, e.row.Agent)
	switch {
	case err != nil:
		return "", fmt.Errorf("look up the agent's owner: %w", err)
	case owner == "" || owner == by.User || e.row.User == by.User:
		return "", ErrOwn
	}
	return role, nil
}

// undecided refuses a vote on what has ended.
func (v *row) undecided(now int64) error {
	switch v.state(now) {
	case Rejected:
		return ErrRejected
	case Expired:
		return ErrExpired
	case Executed:
		return ErrSpent
	default:
		return nil
	}
}

// approve adds an approval. e.change is held.
func (r *Register) approve(ctx context.Context, e *entry, v vote) error {
	next := e.row
	if err := next.undecided(v.At); err != nil {
		return err
	}
	if slices.ContainsFunc(next.Votes, func(o vote) bool { return o.User == v.User }) {
		return ErrDecided
	}
	if next.State == Approved {
		return ErrEnough
	}
	if err := r.within(v.Role, &next); err != nil {
		return err
	}
	next.Votes = append(slices.Clip(next.Votes), v)
	if next.given(next.Approver) >= next.Approvals {
		next.State = Approved
	}
	return r.grant(ctx, e, next, e.decided(&next, "approved"), nil)
}

// within holds the amount against the role's limit. An amount that cannot be compared is above any.
func (r *Register) within(role string, v *row) error {
	limit := r.limits[role]
	if limit == nil || v.Amount == "" && !v.Vague {
		return nil
	}
	n, ok := number(v.Amount)
	if !ok || v.Vague {
		return fmt.Errorf("the amount is no number, and the role %s approves at most %s: %w", role, plain(limit), ErrForbidden)
	}
	if n.Abs(n).Cmp(limit) > 0 {
		return fmt.Errorf("the amount is %s, and the role %s approves at most %s: %w", v.Amount, role, plain(limit), ErrForbidden)
	}
	return nil
}

// reject ends an approval. Asked again by the same person it finishes what was cut off. e.change is held.
func (r *Register) reject(ctx context.Context, e *entry, v vote) error {
	next := e.row
	if last := len(next.Votes) - 1; next.State == Rejected && next.Unrecorded && next.Votes[last].User == v.User {
		return r.end(ctx, e, next)
	}
	if err := next.undecided(v.At); err != nil {
		return err
	}
	next.Votes = append(slices.Clip(next.Votes), v)
	next.State, next.Ended, next.Unrecorded = Rejected, v.At, true
	return r.end(ctx, e, next)
}

// decided is the record of the last decision: by that person, about the agent's call.
func (e *entry) decided(v *row, act string) *ledger.Record {
	rec, last := e.record(v, act), v.Votes[len(v.Votes)-1]
	rec.User, rec.Key, rec.Detail = last.User, last.Key, last.Reason
	return rec
}

// Spend uses an approval for the call whose record is named: once and for good. When it returns nil, that is kept and
// recorded. After any other error than those of this package it may have been used, and stays so.
func (r *Register) Spend(ctx context.Context, tenant, id, record string) error {
	if record == "" || len(record) > maxWord {
		return fmt.Errorf("spend approval: no record of a call: %w", ErrInvalid)
	}
	e := r.find(tenant, id)
	if e == nil {
		return fmt.Errorf("spend approval: %w", ErrNotFound)
	}
	e.change.Lock()
	defer e.change.Unlock()
	next, now := e.row, r.deps.Now().Unix()
	if err := next.spendable(now); err != nil {
		return fmt.Errorf("spend approval: %w", err)
	}
	next.State, next.Ended, next.Record, next.Unrecorded = Executed, now, record, true
	if err := r.end(ctx, e, next); err != nil {
		return fmt.Errorf("spend approval: %w", err)
	}
	return nil
}

func (v *row) spendable(now int64) error {
	switch v.state(now) {
	case Approved:
		return nil
	case Pending:
		return ErrPending
	case Rejected:
		return ErrRejected
	case Expired:
		return ErrExpired
	default:
		return ErrSpent
	}
}

// end takes an approval out of use: in memory at once, then on disk, then in the ledger. e.change is held.
func (r *Register) end(ctx context.Context, e *entry, next row) error {
	r.mu.Lock()
	e.row = next
	r.unlist(e)
	r.mu.Unlock()
	if err := r.put(ctx, e.tenant, next, nil); err != nil {
		return err
	}
	rec := e.record(&next, string(next.State))
	switch next.State {
	case Rejected:
		rec = e.decided(&next, string(next.State))
	case Expired:
		rec.Key, rec.Detail = "", "" // nobody did it
	default:
		rec.Detail = ""
	}
	if _, err := r.deps.Ledger.Append(ctx, rec); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	next.Unrecorded = false
	r.fault(r.put(ctx, e.tenant, next, nil)) // at worst a start records it once more
	r.mu.Lock()
	e.row = next // not before: what is recorded may be dropped, and must not be kept again after that
	r.mu.Unlock()
	return nil
}
