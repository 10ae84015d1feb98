package plans

import (
	"slices"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// Event is one thing that happened under a plan, with its place in the tenant's ledger.
type Event struct {
	Index   uint64    `json:"index"`
	Record  string    `json:"record"`
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"`          // plan, token, admitted, settled, refused
	Step    int       `json:"step"`          // -1 = none
	Act     string    `json:"act,omitempty"` // captured, issued, revoked, completed, ...; of a refusal its code
	Token   string    `json:"token,omitempty"`
	Outcome string    `json:"outcome,omitempty"` // of a settled step
}

// History is what happened under a plan, oldest first. Lost counts events between the first and the
// second that are no longer remembered; the ledger has them.
type History struct {
	Events []Event `json:"events"`
	Lost   int     `json:"lost"`
	// Partial says that the beginning is only in the ledger: the register was started after it, and by then the plan had
	// ended.
	Partial bool `json:"partial,omitempty"`
}

// allDone is the reason that goes with an automatic completion.
const allDone = "all steps done"

// maxOpen bounds the steps taken whose outcome is awaited. Beyond it a settled record that does not name its plan
// is not followed, which only keeps that plan from completing by itself.
const maxOpen = 1 << 16

// Begins is when the oldest plan that may still be worked on was captured, false when there is none: what happened before
// need not be followed. Plans that have ended keep of their history what was followed.
func (r *Register) Begins() (time.Time, bool) {
	now, first := r.deps.Now().Unix(), int64(0)
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, e := range r.byID {
		if e.row.state(now) == Active && (first == 0 || e.row.Created < first) {
			first = e.row.Created
		}
	}
	return time.Unix(first, 0), first != 0
}

// Follow takes up ledger events, in order; those it has seen are passed over. A plan whose steps are all
// limited and all settled ok as often as they may be taken is completed soon after, by another goroutine:
// Follow writes nothing and waits for nothing but memory, so it may run inside the ledger's own delivery.
func (r *Register) Follow(events []wal.Event) {
	for i := range events {
		ev := &events[i]
		if e, step := r.place(ev); e != nil {
			e.follow(ev, step, r.cfg.History)
			if ev.Kind == ledger.Settled && e.allDone() {
				select {
				case r.finished <- e:
				default:
				}
			}
		}
	}
}

// place finds the plan and step an event is about, nil when it is about none that is kept.
func (r *Register) place(ev *wal.Event) (*entry, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ev.Index < r.next[ev.Tenant] {
		return nil, 0
	}
	r.next[ev.Tenant] = ev.Index + 1
	e, step := r.byID[planKey{ev.Tenant, ev.PlanID}], int(ev.Step)
	if e == nil && !ev.Plan.IsZero() {
		e = r.byRoot[rootKey{ev.Tenant, ev.Plan}]
	}
	switch ev.Kind {
	case ledger.Admitted:
		if e != nil && len(r.open) < maxOpen {
			r.open[ev.ID] = admitted{planKey{ev.Tenant, e.row.ID}, step}
		}
	case ledger.Settled:
		if a, ok := r.open[ev.Of]; ok && a.plan.tenant == ev.Tenant {
			e, step = r.byID[a.plan], a.step
		}
		delete(r.open, ev.Of)
	default:
	}
	return e, step
}

func (e *entry) follow(ev *wal.Event, step, limit int) {
	e.events.Lock()
	defer e.events.Unlock()
	if ev.Kind == ledger.Settled && ev.Outcome == "ok" && step >= 0 && step < len(e.ok) {
		e.ok[step]++
	}
	e.past = append(e.past, Event{
		Index: ev.Index, Record: ev.ID, Time: time.UnixMicro(ev.Time).UTC(), Kind: ev.Kind.String(), Step: step,
		Act: ev.Code, Token: ev.Token, Outcome: ev.Outcome,
	})
	if len(e.past) > limit+limit/4 { // many at a time: what stays is moved
		e.past, e.lost = kept(e.past, limit), e.lost+len(e.past)-limit
	}
}

// kept leaves so many events: the capture stays, the oldest after it go.
func kept(past []Event, limit int) []Event {
	if len(past) <= limit {
		return past
	}
	return slices.Delete(past, 1, 1+len(past)-limit)
}

// allDone tells whether nothing is left to do: no step is without limit, and each was settled ok as often as
// it may be taken.
func (e *entry) allDone() bool {
	e.events.Lock()
	defer e.events.Unlock()
	for i, n := range e.uses {
		if n == 0 || e.ok[i] < n {
			return false
		}
	}
	return len(e.uses) > 0
}

func (e *entry) history(limit int) History {
	e.events.Lock()
	defer e.events.Unlock()
	partial := len(e.past) == 0 || e.past[0].Kind != ledger.Plan.String()
	lost := e.lost + max(0, len(e.past)-limit)
	return History{Events: kept(append([]Event{}, e.past...), limit), Lost: lost, Partial: partial}
}
