package plans

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/store"
)

// Actor is who changes a plan or token: its own agent, or an admin of the organisation.
type Actor struct {
	Owner
	Admin bool
}

// maxReason bounds the words that go with a change into the ledger, where they stay for good.
const maxReason = 256

func checkReason(s string) error {
	if len(s) > maxReason || !utf8.ValidString(s) {
		return &intent.Error{Reason: intent.PlanInvalid, Pointer: "/reason", Msg: "must be valid UTF-8 of at most 256 bytes"}
	}
	return nil
}

// SetState ends a plan: completed, failed or revoked, and with it the whole chain it belongs to: the plans it was
// re-anchored from and to, as far as they are in force. An ended plan can still be revoked; everything else about it
// is ErrInactive, unless another plan of its chain is still to be ended. Putting a plan into the state it is in
// already is no change.
func (r *Register) SetState(ctx context.Context, by Actor, id string, to State, reason string) error {
	if to != Completed && to != Failed && to != Revoked {
		return fmt.Errorf("end plan: %w", &intent.Error{Reason: intent.PlanInvalid, Pointer: "/state", Msg: "must be completed, failed or revoked"})
	}
	if err := checkReason(reason); err != nil {
		return fmt.Errorf("end plan: %w", err)
	}
	r.mu.RLock()
	e := r.byID[planKey{by.Tenant, id}]
	visible := e != nil && e.ready && (by.Admin || e.row.Agent == by.Agent && e.row.User == by.User)
	r.mu.RUnlock()
	if !visible {
		return fmt.Errorf("end plan: %w", ErrNotFound)
	}
	e.chain.change.Lock()
	defer e.chain.change.Unlock()
	if !r.kept(e) {
		return fmt.Errorf("end plan: %w", ErrNotFound)
	}
	if err := r.end(ctx, e, e.chain.plans, ending{to, reason, by.KeyID}); err != nil {
		return fmt.Errorf("end plan: %w", err)
	}
	return nil
}

// ending is how a plan ends; by is empty when nobody but the gateway ends it.
type ending struct {
	to         State
	reason, by string
}

// end takes plans of one chain out of use: in memory at once, then on disk, then in the ledger. When a later part
// fails they stay ended, and asking again goes on where it stopped. e is the plan that was named; the chain's
// change lock is held.
func (r *Register) end(ctx context.Context, e *entry, list []*entry, how ending) error {
	list, err := r.putDown(e, list, how)
	if err != nil || len(list) == 0 {
		return err
	}
	if how.to == Revoked {
		for _, e := range list {
			r.deps.Verifier.RevokePlan(e.row.Root, unix(e.row.Expires))
		}
	}
	if err := r.putPlans(ctx, e.tenant, rows(list), nil); err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	return r.recordEnds(ctx, list)
}

// putDown changes the states in memory and returns the plans whose end is still to be kept or recorded.
func (r *Register) putDown(e *entry, list []*entry, how ending) ([]*entry, error) {
	now := r.deps.Now().Unix()
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*entry
	for _, p := range list {
		// Completed by the gateway alone is no word of anybody: one who ends the plan now ends it for good, and it does not
		// grow any more.
		alone := p.row.State == Completed && p.row.By == "" && how.by != "" && (how.to == Completed || how.to == Failed)
		switch row := &p.row; {
		case row.State == how.to && !row.Pending && !alone:
			continue
		case row.State == how.to && !alone: // the record is still to be written
		case !alone && !row.state(now).Active() && how.to != Revoked && how.to != Expired:
			continue
		default:
			row.State, row.Reason, row.By, row.Ended, row.Pending = how.to, how.reason, how.by, now, true
			p.held = nil
		}
		out = append(out, p)
	}
	r.order(e.chain)
	if len(out) == 0 && e.row.State != how.to {
		return nil, fmt.Errorf("plan is %s: %w", e.row.state(now), ErrInactive)
	}
	return out, nil
}

// rows copies the rows of plans. Their chain's change lock is held.
func rows(list []*entry) []planRow {
	out := make([]planRow, len(list))
	for i, e := range list {
		out[i] = e.row
	}
	return out
}

// recordEnds writes the records that kept ends still lack. The chain's change lock is held.
func (r *Register) recordEnds(ctx context.Context, list []*entry) error {
	done := 0
	var err error
	for _, e := range list {
		rec := e.record(&e.row, ledger.Plan, string(e.row.State))
		rec.User, rec.Agent, rec.Key, rec.Detail = e.row.User, e.row.Agent, e.row.By, e.row.Reason
		if _, err = r.deps.Ledger.Append(ctx, rec); err != nil {
			err = fmt.Errorf("record: %w", err)
			break
		}
		done++
	}
	if done == 0 {
		return err
	}
	list = list[:done]
	r.mu.Lock()
	for _, e := range list {
		e.row.Pending = false
	}
	r.order(list[0].chain)
	r.mu.Unlock()
	r.fault(r.putPlans(ctx, list[0].tenant, rows(list), nil)) // at worst a start records it once more
	return err
}

// Sweep puts down what time has ended: plans past their end expire, with a record; unfinished records are
// tried again; expired tokens and plans that are past being listed are removed, and ended plans beyond the bound of all. It
// runs by itself once a minute.
func (r *Register) Sweep(ctx context.Context) {
	now := r.deps.Now().Unix()
	for _, e := range r.due(now) {
		r.finish(ctx, e, now)
	}
	for _, t := range r.unrecorded() {
		t.plan.chain.change.Lock()
		r.fault(r.revoke(ctx, []*token{t}, taking{}))
		t.plan.chain.change.Unlock()
	}
	r.fault(r.removeTokens(ctx, now))
	for _, c := range r.stale(now - int64(r.cfg.Keep/time.Second)) {
		r.fault(r.drop(ctx, c))
	}
	r.trim(ctx)
}

func (r *Register) fault(err error) {
	if err != nil {
		r.faults.Add(1)
	}
}

// due lists plans that are to expire, to complete, or to be recorded.
func (r *Register) due(now int64) []*entry {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out []*entry
	for _, e := range r.byRoot {
		if e.row.Pending || e.row.State == Active && (now >= e.row.Expires || e.allDone()) {
			out = append(out, e)
		}
	}
	return out
}

// finish ends one plan, and not its chain, when its time or its steps are over, and records an end that is kept.
func (r *Register) finish(ctx context.Context, e *entry, now int64) {
	e.chain.change.Lock()
	defer e.chain.change.Unlock()
	if r.kept(e) {
		r.pass(ctx, e, now)
	}
}

// pass is finish for one who has the chain.
func (r *Register) pass(ctx context.Context, e *entry, now int64) {
	only := []*entry{e}
	switch row := &e.row; {
	case row.Pending:
		r.fault(r.end(ctx, e, only, ending{row.State, row.Reason, row.By}))
	case row.State == Active && now >= row.Expires:
		r.fault(r.end(ctx, e, only, ending{to: Expired}))
	case row.State == Active && e.allDone():
		r.fault(r.end(ctx, e, only, ending{to: Completed, reason: allDone}))
	}
}

func (r *Register) unrecorded() []*token {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out []*token
	for _, t := range r.tokens {
		if t.row.Pending {
			out = append(out, t)
		}
	}
	return out
}

// removeBatch bounds the rows one transaction removes, well below what a store allows.
const removeBatch = 256

// removeTokens drops expired tokens, some per tenant and sweep.
func (r *Register) removeTokens(ctx context.Context, now int64) error {
	gone := map[string][]tokenRow{}
	r.mu.RLock()
	for k, t := range r.tokens {
		if now >= t.row.Expires && !t.row.Pending && len(gone[k.tenant]) < removeBatch {
			gone[k.tenant] = append(gone[k.tenant], t.row)
		}
	}
	r.mu.RUnlock()
	for tenant, list := range gone {
		if err := r.removeRows(ctx, tenant, list); err != nil {
			return err
		}
	}
	return nil
}

// removeRows removes a tenant's expired tokens, at most removeBatch: from the store first, so that a failure leaves them
// to the next sweep. One that was revoked meanwhile stays until that is recorded.
func (r *Register) removeRows(ctx context.Context, tenant string, list []tokenRow) error {
	err := r.deps.Store.Update(ctx, tenant, func(tx store.Txn) error {
		for i := range list {
			if err := remove(tx, tokenTable.Name, list[i].key()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove tokens: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range list {
		k := planKey{tenant, list[i].ID}
		if t := r.tokens[k]; t != nil && !t.row.Pending {
			delete(r.tokens, k)
			t.plan.live--
		}
	}
	return nil
}

// remove deletes a row that may be gone already: the last attempt may have been kept although it failed.
func remove(tx store.Txn, table, key string) error {
	if err := tx.Delete(table, key, store.AnyVersion); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil
}
