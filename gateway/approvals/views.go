package approvals

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/store"
)

// View is an approval as it stands.
type View struct {
	ID, Tenant       string
	Digest           merkle.Hash // of the call
	User, Agent, Key string      // who asked
	PlanID           string
	Op, Server, Tool string
	Local            bool
	Amount           string // see Amount; empty when there is none, or none that is a number

	Reason    string   // why the call was held
	Policies  []string // that held it
	Approvals int      // how many people must approve
	Given     int      // how many have, in a role that counts
	Approver  string   // the lowest role that may decide

	State     State
	Created   time.Time
	Expires   time.Time // of a pending or approved one
	Ended     *time.Time
	Decisions []Decision
	Record    string // of the call that used it

	ArgsSize int    // bytes of the canonical arguments
	Args     []byte // those, from Get alone; nil when they are too large to be kept
}

// Decision is one person's word, with the role they had.
type Decision struct {
	User, Key, Role string
	Approve         bool
	Reason          string
	At              time.Time
}

// Filter narrows a list. Zero fields narrow nothing.
type Filter struct {
	Agent string
	Plan  string
	State State
	After string // ids above this one, for the next page
	Limit int    // at most maxPage, which 0 means too
}

// maxPage bounds a list's answer.
const maxPage = 1000

func (f *Filter) passes(v *row, now int64) bool {
	return v.ID > f.After && (f.Agent == "" || v.Agent == f.Agent) && (f.Plan == "" || v.Plan == f.Plan) && (f.State == "" || v.state(now) == f.State)
}

// List returns the tenant's approvals, oldest first, without arguments.
func (r *Register) List(tenant string, f Filter) []View {
	now := r.deps.Now().Unix()
	if f.Limit <= 0 || f.Limit > maxPage {
		f.Limit = maxPage
	}
	var found []row
	r.mu.RLock()
	for k, e := range r.byID {
		if k.tenant == tenant && e.ready && f.passes(&e.row, now) {
			found = append(found, e.row)
		}
	}
	r.mu.RUnlock()
	slices.SortFunc(found, func(a, b row) int { return cmp.Compare(a.ID, b.ID) })
	out := []View{}
	for i := range found[:min(len(found), f.Limit)] {
		out = append(out, found[i].view(tenant, now))
	}
	return out
}

// Look returns one of the tenant's approvals without arguments, from memory.
func (r *Register) Look(tenant, id string) (View, error) {
	e := r.find(tenant, id)
	if e == nil {
		return View{}, fmt.Errorf("look at approval: %w", ErrNotFound)
	}
	return r.view(e), nil
}

// Get returns one of the tenant's approvals with its arguments, which are read from the store.
func (r *Register) Get(ctx context.Context, tenant, id string) (View, error) {
	v, err := r.Look(tenant, id)
	if err != nil || v.ArgsSize > maxArgs {
		return v, err
	}
	err = r.deps.Store.View(ctx, tenant, func(tx store.Txn) error {
		args, err := tx.Get(argsTable, id)
		v.Args = args.Data
		return err
	})
	if errors.Is(err, store.ErrNotFound) { // dropped meanwhile
		err = ErrNotFound
	}
	if err != nil {
		return View{}, fmt.Errorf("get approval: %w", err)
	}
	return v, nil
}

// Query describes calls of one agent for one user. Server, Tool, Amount and State may be empty; an amount of 0 is also
// that of a call without one.
type Query struct {
	Tenant, Agent, User string
	PlanID              string // of this plan; empty means outside any
	Server, Tool        string
	Amount              string // decimal, compared exactly
	State               State  // Pending or Approved
}

// Find returns the newest open approval that a query describes, without arguments. It looks at no more than the agent's
// open ones.
func (r *Register) Find(q Query) (View, bool) {
	now := r.deps.Now().Unix()
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, e := range slices.Backward(r.open[agentKey{q.Tenant, q.Agent}]) {
		if e.ready && q.describes(&e.row, now) {
			return e.row.view(q.Tenant, now), true
		}
	}
	return View{}, false
}

func (q *Query) describes(v *row, now int64) bool {
	s := v.state(now)
	switch {
	case !s.Open() || q.State != "" && s != q.State:
		return false
	case v.User != q.User || v.Plan != q.PlanID || q.Server != "" && v.Server != q.Server || q.Tool != "" && v.Tool != q.Tool:
		return false
	}
	return q.Amount == "" || !v.Vague && same(q.Amount, v.Amount)
}

func (r *Register) find(tenant, id string) *entry {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if e := r.byID[idKey{tenant, id}]; e != nil && e.ready {
		return e
	}
	return nil
}

func (r *Register) view(e *entry) View {
	now := r.deps.Now().Unix()
	r.mu.RLock()
	defer r.mu.RUnlock()
	return e.row.view(e.tenant, now)
}

func (r *row) view(tenant string, now int64) View {
	v := View{
		ID: r.ID, Tenant: tenant, Digest: r.Digest, User: r.User, Agent: r.Agent, Key: r.Key, PlanID: r.Plan,
		Op: r.Op, Server: r.Server, Tool: r.Tool, Local: r.Local, Amount: r.Amount,
		Reason: r.Reason, Policies: slices.Clone(r.Policies), Approvals: r.Approvals, Given: r.given(r.Approver), Approver: r.Approver,
		State: r.state(now), Created: unix(r.Created), Expires: unix(r.Expires), Ended: moment(r.Ended),
		Decisions: make([]Decision, len(r.Votes)), Record: r.Record, ArgsSize: r.ArgsSize,
	}
	for i, o := range r.Votes {
		v.Decisions[i] = Decision{o.User, o.Key, o.Role, o.Approve, o.Reason, unix(o.At)}
	}
	return v
}
