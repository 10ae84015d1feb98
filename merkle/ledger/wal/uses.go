package wal

import (
	"fmt"
	"math"
	"sync"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// Use is the right an admitted record spends: one use of one step of a plan. Uses are keyed by plan
// and never given back, whatever becomes of the call.
type Use struct {
	Plan    merkle.Hash
	Step    int32
	Max     uint32 // 0 = unlimited
	After   []int  // steps that must be done: settled with outcome ok
	Expires int64  // unix seconds when the plan ends; 0 = never
}

// StepState is what the ledger knows about a step.
type StepState struct {
	Used uint32
	Done bool
}

// Bounds of the table: about 200 MiB when all are reached, refused beyond.
const (
	maxPlans = 1 << 20
	maxOpen  = 1 << 20
	maxStep  = 1 << 16 // plans have at most 65,536 steps
	// sweepEvery is how many new plans are taken up between two sweeps of expired ones.
	sweepEvery = 1024
)

// uses counts what admitted records have spent. It is rebuilt from the log at start and always stands
// at what is written, so that a count can only be too high after a failed write, never too low.
type uses struct {
	mu    sync.RWMutex // guards all below
	plans map[merkle.Hash]*planUse
	open  map[[26]byte]openCall // admitted and not settled, by record id
	// swept is the latest expiry of a plan whose counts were dropped. Nothing that expired then is
	// admitted again, even if the clock goes back.
	swept int64
	fresh int      // plans since the last sweep
	round uint32   // copies begun, see copying
	copy  *copying // nil while no copy is made
}

type planUse struct {
	tenant  uint32
	round   uint32 // of the last copy that has it, or in which it was made
	expires int64
	steps   []StepState
}

type openCall struct {
	tenant uint32
	round  uint32 // as in planUse
	step   int32
	plan   *planUse // nil without a plan, or when its plan is gone
	of     merkle.Hash
}

func newUses() *uses {
	return &uses{plans: map[merkle.Hash]*planUse{}, open: map[[26]byte]openCall{}}
}

func idKey(id string) (k [26]byte) {
	copy(k[:], id[min(4, len(id)):])
	return k
}

// admit checks a use and counts it, as one act. A zero Plan spends nothing and only opens the call.
func (u *uses) admit(tenant uint32, id string, use *Use, now int64) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.open) >= maxOpen {
		return ErrBusy
	}
	if _, twice := u.open[idKey(id)]; twice {
		return fmt.Errorf("%w: id %s is open already", ledger.ErrRecord, id)
	}
	if use.Plan.IsZero() {
		u.open[idKey(id)] = openCall{tenant: tenant, step: -1, round: u.round}
		return nil
	}
	if err := u.check(tenant, use, now); err != nil {
		return err
	}
	u.count(tenant, id, use)
	return nil
}

func (u *uses) check(tenant uint32, use *Use, now int64) error {
	if use.Expires != 0 && (use.Expires <= now || use.Expires <= u.swept) {
		return ErrExpired
	}
	p := u.plans[use.Plan]
	if p == nil {
		if u.fresh >= sweepEvery || len(u.plans) >= maxPlans {
			u.sweep(now)
		}
		if len(u.plans) >= maxPlans {
			return ErrBusy
		}
		if len(use.After) > 0 {
			return ErrOrder
		}
		return nil
	}
	if p.tenant != tenant {
		return ErrForeign
	}
	for _, n := range use.After {
		if n < 0 || n >= len(p.steps) || !p.steps[n].Done {
			return ErrOrder
		}
	}
	if use.Max > 0 && int(use.Step) < len(p.steps) && p.steps[use.Step].Used >= use.Max {
		return ErrUsed
	}
	return nil
}

func (u *uses) count(tenant uint32, id string, use *Use) {
	p := u.plans[use.Plan]
	if p == nil {
		p = &planUse{tenant: tenant, round: u.round, expires: use.Expires}
		u.plans[use.Plan] = p
		u.fresh++
	}
	u.touch(p)
	p.claim(use.Expires)
	p.grow(use.Step)
	p.steps[use.Step].add()
	u.open[idKey(id)] = openCall{tenant: tenant, round: u.round, step: use.Step, plan: p, of: use.Plan}
}

// claim takes up when a plan ends. One without an end never leaves the table; otherwise the latest that anybody claimed
// counts.
func (p *planUse) claim(expires int64) {
	if expires == 0 || p.expires != 0 && expires > p.expires {
		p.expires = expires
	}
}

func (s *StepState) add() {
	if s.Used < math.MaxUint32 {
		s.Used++
	}
}

func (p *planUse) grow(step int32) {
	for len(p.steps) <= int(step) {
		p.steps = append(p.steps, StepState{})
	}
}

// settle closes an admitted call. What the call's step was stands in the admitted record alone.
func (u *uses) settle(tenant uint32, of, outcome string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	call, ok := u.open[idKey(of)]
	if !ok || call.tenant != tenant {
		return ErrNotOpen
	}
	u.closed(idKey(of), &call)
	delete(u.open, idKey(of))
	if call.plan != nil && outcome == ledger.OutcomeOK {
		u.touch(call.plan)
		call.plan.steps[call.step].Done = true
	}
	return nil
}

func (u *uses) isOpen(of string) bool {
	u.mu.RLock()
	defer u.mu.RUnlock()
	_, ok := u.open[idKey(of)]
	return ok
}

// replay takes up a record that already stands in the log: nothing is checked, all is counted.
func (u *uses) replay(tenant uint32, r *ledger.Record) {
	switch r.Kind {
	case ledger.Admitted:
		use := Use{Plan: r.Plan, Step: r.Step, After: r.After, Expires: r.PlanExpires}
		u.mu.Lock()
		defer u.mu.Unlock()
		if r.Plan.IsZero() || r.Step < 0 || r.Step >= maxStep {
			u.open[idKey(r.ID)] = openCall{tenant: tenant, step: -1, round: u.round}
			return
		}
		u.count(tenant, r.ID, &use)
	case ledger.Settled:
		_ = u.settle(tenant, r.Of, r.Outcome) // a settled record of nothing open changes nothing
	default:
	}
}

// sweep drops the counts of plans that ended before now. Calls of them that are still open keep theirs.
func (u *uses) sweep(now int64) {
	u.fresh = 0
	for h, p := range u.plans {
		if p.expires != 0 && p.expires < now {
			u.swept = max(u.swept, p.expires)
			u.dropped(h, p)
			delete(u.plans, h)
		}
	}
}

// Used returns how often a step was admitted. Counts of plans that ended may be gone.
func (l *Log) Used(plan merkle.Hash, step int32) uint32 {
	l.uses.mu.RLock()
	defer l.uses.mu.RUnlock()
	if p := l.uses.plans[plan]; p != nil && step >= 0 && int(step) < len(p.steps) {
		return p.steps[step].Used
	}
	return 0
}

// Steps returns the state of a plan's steps up to the last that was ever admitted.
func (l *Log) Steps(plan merkle.Hash) []StepState {
	l.uses.mu.RLock()
	defer l.uses.mu.RUnlock()
	if p := l.uses.plans[plan]; p != nil {
		return append([]StepState(nil), p.steps...)
	}
	return nil
}
