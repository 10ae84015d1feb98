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

// State is where an approval stands in its life.
type State string

// The states. The last three are ends.
const (
	Pending  State = "pending"
	Approved State = "approved"
	Rejected State = "rejected"
	Expired  State = "expired"
	Executed State = "executed" // used by the call it was given for
)

// Open tells whether there is still something to decide or to use.
func (s State) Open() bool { return s == Pending || s == Approved }

// row is an approval as kept. Its arguments stand apart, because they are not held in memory.
type row struct {
	ID       string      `json:"id"`
	Digest   merkle.Hash `json:"digest"`
	User     string      `json:"user"`
	Agent    string      `json:"agent"`
	Key      string      `json:"key"` // that asked
	Plan     string      `json:"plan,omitempty"`
	Op       string      `json:"op"`
	Server   string      `json:"server"`
	Tool     string      `json:"tool"`
	Local    bool        `json:"local,omitempty"`
	ArgsSize int         `json:"args_size"` // bytes of the canonical arguments, kept or not
	Amount   string      `json:"amount,omitempty"`
	Vague    bool        `json:"vague,omitempty"` // there is an amount, but not a number

	Reason    string   `json:"reason,omitempty"`
	Policies  []string `json:"policies,omitempty"`
	Approvals int      `json:"approvals"` // how many are needed
	Approver  string   `json:"approver"`  // lowest role

	State      State  `json:"state"`
	Created    int64  `json:"created"` // unix seconds, as all times here
	Expires    int64  `json:"expires"`
	Ended      int64  `json:"ended,omitempty"`
	Votes      []vote `json:"votes,omitempty"`      // oldest first; never changed in place
	Record     string `json:"record,omitempty"`     // of the call that used it
	Unrecorded bool   `json:"unrecorded,omitempty"` // the record of State is still to be written
}

// vote is one person's decision, with the role they had then.
type vote struct {
	User    string `json:"user"`
	Key     string `json:"key"`
	Role    string `json:"role"`
	Approve bool   `json:"approve"`
	Reason  string `json:"reason,omitempty"`
	At      int64  `json:"at"`
}

// state is the state at a moment: expiry needs nobody to write it down.
func (r *row) state(now int64) State {
	if r.State.Open() && now >= r.Expires {
		return Expired
	}
	return r.State
}

// given counts the approvals of people whose role was at least that, and who have not rejected since.
func (r *row) given(role string) (n int) {
	for i, v := range r.Votes {
		if v.Approve && rank(v.Role) >= rank(role) && !slices.ContainsFunc(r.Votes[i+1:], func(o vote) bool { return o.User == v.User }) {
			n++
		}
	}
	return n
}

// tenantRow notes in the instance's own rows that a tenant has approvals, so that a start finds them.
type tenantRow struct{}

// The tables. argsTable holds canonical arguments as they are.
var (
	rowTable    = store.Table[row]{Name: "approvals", Version: 1}
	tenantTable = store.Table[tenantRow]{Name: "approval_tenants", Version: 1}
)

const argsTable = "approval_args"

// load fills the memory from the store. One row that cannot be read refuses the start: it could be a rejection.
func (r *Register) load(ctx context.Context) error {
	err := r.deps.Store.View(ctx, store.Instance, func(tx store.Txn) error {
		return tenantTable.Scan(tx, "", func(tenant string, _ tenantRow, _ uint64) error {
			r.tenants[tenant] = true
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("list tenants: %w", err)
	}
	for tenant := range r.tenants {
		var all []*entry
		err := r.deps.Store.View(ctx, tenant, func(tx store.Txn) error {
			all = nil
			return rowTable.Scan(tx, "", func(_ string, v row, _ uint64) error {
				all = append(all, &entry{tenant: tenant, row: v, ready: true})
				return nil
			})
		})
		if err != nil {
			return fmt.Errorf("load approvals of %s: %w", tenant, err)
		}
		r.adopt(all)
	}
	return nil
}

// adopt takes a tenant's entries up, oldest first. A request whose keeping failed may have been kept all the same, and
// made again: then the newest is the open one, and the others expire.
func (r *Register) adopt(all []*entry) {
	now := r.deps.Now().Unix()
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Compare(a.row.ID, b.row.ID) })
	for _, e := range all {
		r.byID[idKey{e.tenant, e.row.ID}] = e
		if !e.row.state(now).Open() {
			continue
		}
		if old := r.byDigest[e.digestKey()]; old != nil {
			r.unlist(old)
			old.row.Expires = now
		}
		r.list(e)
	}
}

func (e *entry) digestKey() digestKey { return digestKey{e.tenant, e.row.Digest} }

func (e *entry) agentKey() agentKey { return agentKey{e.tenant, e.row.Agent} }

// list makes an entry the open one of its call. Register.mu is held, or nobody else has the register yet.
func (r *Register) list(e *entry) {
	r.byDigest[e.digestKey()] = e
	r.open[e.agentKey()] = append(r.open[e.agentKey()], e)
}

// unlist takes an entry out of the open ones. Register.mu is held, or nobody else has the register yet.
func (r *Register) unlist(e *entry) {
	if r.byDigest[e.digestKey()] == e {
		delete(r.byDigest, e.digestKey())
	}
	mine := slices.DeleteFunc(r.open[e.agentKey()], func(o *entry) bool { return o == e })
	if len(mine) == 0 {
		delete(r.open, e.agentKey())
		return
	}
	r.open[e.agentKey()] = mine
}

// note keeps the tenant among those a start loads, before its first approval is kept.
func (r *Register) note(ctx context.Context, tenant string) error {
	r.mu.RLock()
	known := r.tenants[tenant]
	r.mu.RUnlock()
	if known {
		return nil
	}
	err := r.deps.Store.Update(ctx, store.Instance, func(tx store.Txn) error {
		_, err := tenantTable.Put(tx, tenant, tenantRow{}, store.AnyVersion)
		return err
	})
	if err != nil {
		return fmt.Errorf("note tenant: %w", err)
	}
	r.mu.Lock()
	r.tenants[tenant] = true
	r.mu.Unlock()
	return nil
}

// put keeps a row; args are kept with it the first time, nil else.
func (r *Register) put(ctx context.Context, tenant string, v row, args []byte) error {
	err := r.deps.Store.Update(ctx, tenant, func(tx store.Txn) error {
		if args != nil {
			if _, err := tx.Put(argsTable, v.ID, args, 0); err != nil {
				return err
			}
		}
		_, err := rowTable.Put(tx, v.ID, v, store.AnyVersion)
		return err
	})
	if err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	return nil
}

// remove deletes rows that may be gone already: the last attempt may have been kept although it failed.
func (r *Register) remove(ctx context.Context, tenant string, ids []string) error {
	err := r.deps.Store.Update(ctx, tenant, func(tx store.Txn) error {
		for _, id := range ids {
			for _, table := range []string{rowTable.Name, argsTable} {
				if err := tx.Delete(table, id, store.AnyVersion); err != nil && !errors.Is(err, store.ErrNotFound) {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove approvals: %w", err)
	}
	return nil
}

func unix(s int64) time.Time { return time.Unix(s, 0).UTC() }
