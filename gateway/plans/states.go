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

// SetState ends a plan: completed, failed or revoked. An ended plan can still be revoked; everything
// else about it is ErrInactive. Putting a plan into the state it is in already is no change.
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
	if err := r.end(ctx, e, to, reason, by.KeyID); err != nil {
		return fmt.Errorf("end plan: %w", err)
	}
	return nil
}

// end takes a plan out of use: in memory at once, then on disk, then in the ledger. When a later part
// fails the plan stays ended, and asking again goes on where it stopped.
func (r *Register) end(ctx context.Context, e *entry, to State, reason, by string) error {
	e.change.Lock()
	defer e.change.Unlock()
	now := r.deps.Now().Unix()
	r.mu.Lock()
	row := e.row
	switch state := row.state(now); {
	case row.State == to && !row.Pending:
		r.mu.Unlock()
		return nil
	case row.State == to: // the record is still to be written
	case !state.Active() && to != Revoked && to != Expired:
		r.mu.Unlock()
		return fmt.Errorf("plan is %s: %w", state, ErrInactive)
	default:
		row.State, row.Reason, row.By, row.Ended, row.Pending = to, reason, by, now, true
		e.row, e.held = row, nil
	}
	r.mu.Unlock()
	if to == Revoked {
		r.deps.Verifier.RevokePlan(row.Root, unix(row.Expires))
	}
	if err := r.putPlan(ctx, e.tenant, row, nil); err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	return r.recordEnd(ctx, e, row)
}

// recordEnd writes the record a kept end still lacks. e.change is held.
func (r *Register) recordEnd(ctx context.Context, e *entry, row planRow) error {
	rec := e.record(&row, ledger.Plan, string(row.State))
	rec.User, rec.Agent, rec.Key, rec.Detail = row.User, row.Agent, row.By, row.Reason
	if _, err := r.deps.Ledger.Append(ctx, rec); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	row.Pending = false
	r.mu.Lock()
	e.row.Pending = false
	r.mu.Unlock()
	if err := r.putPlan(ctx, e.tenant, row, nil); err != nil {
		r.faults.Add(1) // at worst a start records it once more
	}
	return nil
}

// Sweep puts down what time has ended: plans past their end expire, with a record; unfinished records are
// tried again; expired tokens and plans that are past being listed are removed. It runs by itself once a minute.
func (r *Register) Sweep(ctx context.Context) {
	now := r.deps.Now().Unix()
	for _, e := range r.due(now) {
		r.finish(ctx, e, now)
	}
	for _, t := range r.unrecorded() {
		t.plan.change.Lock()
		err := r.recordToken(ctx, t, t.row)
		t.plan.change.Unlock()
		r.fault(err)
	}
	r.fault(r.removeTokens(ctx, now))
	for _, e := range r.stale(now - int64(r.cfg.Keep/time.Second)) {
		r.fault(r.drop(ctx, e))
	}
}

func (r *Register) fault(err error) {
	if err != nil {
		r.faults.Add(1)
	}
}

// due lists plans that are to expire, to complete, or to be recorded.
func (r *Register) due(now int64) []*entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*entry
	for _, e := range r.byRoot {
		if now >= e.row.Expires {
			r.uncount(e)
		}
		if e.row.Pending || e.row.State == Active && (now >= e.row.Expires || e.allDone()) {
			out = append(out, e)
		}
	}
	return out
}

func (r *Register) finish(ctx context.Context, e *entry, now int64) {
	r.mu.RLock()
	row := e.row
	r.mu.RUnlock()
	switch {
	case row.Pending:
		r.fault(r.end(ctx, e, row.State, row.Reason, row.By))
	case now >= row.Expires:
		r.fault(r.end(ctx, e, Expired, "", ""))
	case row.State == Active && e.allDone():
		r.fault(r.end(ctx, e, Completed, allDone, ""))
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

// removeTokens drops expired tokens, some per tenant and sweep: from the store first, so that a failure leaves
// them to the next sweep.
func (r *Register) removeTokens(ctx context.Context, now int64) error {
	gone := map[string][]*token{}
	r.mu.RLock()
	for k, t := range r.tokens {
		if now >= t.row.Expires && !t.row.Pending && len(gone[k.tenant]) < removeBatch {
			gone[k.tenant] = append(gone[k.tenant], t)
		}
	}
	r.mu.RUnlock()
	for tenant, list := range gone {
		err := r.deps.Store.Update(ctx, tenant, func(tx store.Txn) error {
			for _, t := range list {
				if err := remove(tx, tokenTable.Name, t.key); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("remove tokens: %w", err)
		}
		r.mu.Lock()
		for _, t := range list {
			delete(r.tokens, planKey{tenant, t.row.ID})
			t.plan.live--
		}
		r.mu.Unlock()
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

// stale lists plans that expired before then and have nothing left to be written.
func (r *Register) stale(then int64) []*entry {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out []*entry
	for _, e := range r.byRoot {
		if e.row.Expires <= then && e.row.State.ended() && !e.row.Pending && e.live == 0 {
			out = append(out, e)
		}
	}
	return out
}

// drop forgets an expired plan whose tokens are gone; the ledger keeps what happened under it.
func (r *Register) drop(ctx context.Context, e *entry) error {
	e.change.Lock()
	defer e.change.Unlock()
	err := r.deps.Store.Update(ctx, e.tenant, func(tx store.Txn) error {
		if err := remove(tx, planTable.Name, e.row.ID); err != nil {
			return err
		}
		return remove(tx, bodies, e.row.ID)
	})
	if err != nil {
		return fmt.Errorf("remove plan: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byID, planKey{e.tenant, e.row.ID})
	delete(r.byRoot, rootKey{e.tenant, e.row.Root})
	return nil
}
