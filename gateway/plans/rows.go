package plans

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/store"
)

// State is where a plan stands in its life. It leaves active once; a revocation may still follow another end.
type State string

// The states.
const (
	Active    State = "active"
	Completed State = "completed"
	Failed    State = "failed"
	Expired   State = "expired"
	Revoked   State = "revoked"
)

// Active tells whether the plan's steps may be taken.
func (s State) Active() bool { return s == Active }

// ended tells whether s is a state a plan can be put into.
func (s State) ended() bool { return s == Completed || s == Failed || s == Expired || s == Revoked }

// planRow is a plan as kept; its content stands apart, because it never changes.
type planRow struct {
	ID      string      `json:"id"`
	User    string      `json:"user"`
	Agent   string      `json:"agent"`
	Key     string      `json:"key"` // that captured it
	Root    merkle.Hash `json:"root"`
	Hash    merkle.Hash `json:"hash"`
	Size    int         `json:"size"`
	State   State       `json:"state"`
	Reason  string      `json:"reason,omitempty"`
	Created int64       `json:"created"` // unix seconds, as all times here
	Expires int64       `json:"expires"`
	Ended   int64       `json:"ended,omitempty"`
	By      string      `json:"by,omitempty"`      // key that ended it; empty when the gateway did
	Pending bool        `json:"pending,omitempty"` // the record of State is still to be written

	// A chain link stands in both of its plans; where Prev's Next is another plan, this one was never answered.
	Prev  string `json:"prev,omitempty"`  // id of the plan that was re-anchored to this one
	Next  string `json:"next,omitempty"`  // id of the plan this one was re-anchored to
	Delta string `json:"delta,omitempty"` // the signed delta that leads from Prev to this plan
}

// state is the state at a moment: expiry needs nobody to write it down.
func (p *planRow) state(now int64) State {
	if p.State == Active && now >= p.Expires {
		return Expired
	}
	return p.State
}

// tokenRow is an issued token as kept: never the token itself.
type tokenRow struct {
	ID      string `json:"id"`
	Plan    string `json:"plan"`
	User    string `json:"user"`
	Agent   string `json:"agent"`
	Key     string `json:"key"`
	Issued  int64  `json:"issued"`
	Expires int64  `json:"expires"`
	Revoked int64  `json:"revoked,omitempty"`
	Reason  string `json:"reason,omitempty"`
	By      string `json:"by,omitempty"`
	Pending bool   `json:"pending,omitempty"`
	Alone   bool   `json:"alone,omitempty"`
	With    string `json:"with,omitempty"` // id of the token whose revocation took this one along

	// Of a delegated token, whose User and Agent are the plan's; Key is the credential of who delegated.
	Delegate   string   `json:"delegate,omitempty"` // thumbprint of the key it is bound to
	Parents    []string `json:"parents,omitempty"`  // ids of the tokens it was derived from, eldest first
	Steps      []uint32 `json:"steps,omitempty"`
	GiverUser  string   `json:"giver_user,omitempty"` // who delegated
	GiverAgent string   `json:"giver_agent,omitempty"`
}

// of tells whether the token is this agent's and user's to see and to take back: issued to them, or given by them.
func (t *tokenRow) of(o Owner) bool {
	return t.Agent == o.Agent && t.User == o.User || t.GiverAgent != "" && t.GiverAgent == o.Agent && t.GiverUser == o.User
}

// key puts a plan's tokens side by side.
func (t *tokenRow) key() string { return t.Plan + "/" + t.ID }

// tenantRow notes in the instance's own rows that a tenant has plans, so that a start finds them.
type tenantRow struct{}

// The tables. bodies holds each plan's canonical JSON as it is; it carries its own version.
var (
	planTable   = store.Table[planRow]{Name: "plans", Version: 2}
	tokenTable  = store.Table[tokenRow]{Name: "plan_tokens", Version: 2}
	tenantTable = store.Table[tenantRow]{Name: "plan_tenants", Version: 1}
)

const bodies = "plan_bodies"

// load fills the memory from the store. One row that cannot be read refuses the start: it could be a revocation.
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
		err := r.deps.Store.View(ctx, tenant, func(tx store.Txn) error { return r.loadTenant(tx, tenant) })
		if err != nil {
			return fmt.Errorf("load plans of %s: %w", tenant, err)
		}
	}
	return nil
}

func (r *Register) loadTenant(tx store.Txn, tenant string) error {
	now := r.deps.Now().Unix()
	var list []*entry
	err := planTable.Scan(tx, "", func(id string, row planRow, _ uint64) error {
		p, err := r.readBody(tx, &row)
		if err != nil {
			return fmt.Errorf("plan %s: %w", id, err)
		}
		e := &entry{tenant: tenant, nonce: p.Nonce, row: row}
		if err := e.hold(p, now); err != nil {
			return fmt.Errorf("plan %s: %w", id, err)
		}
		r.insert(e)
		list = append(list, e)
		if row.State == Revoked {
			r.deps.Verifier.RevokePlan(row.Root, unix(row.Expires))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := r.chains(list); err != nil {
		return err
	}
	err = tokenTable.Scan(tx, "", func(_ string, row tokenRow, _ uint64) error {
		e := r.byID[planKey{tenant, row.Plan}]
		if e == nil {
			return fmt.Errorf("token %s is of a plan that is not kept", row.ID)
		}
		r.tokens[planKey{tenant, row.ID}] = &token{row: row, plan: e, key: row.key()}
		e.live++
		e.until = max(e.until, row.Expires)
		if row.Pending {
			e.owed++
		}
		if row.Revoked != 0 {
			r.deps.Verifier.Revoke(row.ID, unix(row.Expires))
		}
		return nil
	})
	for _, e := range list {
		if e.place == 0 {
			r.order(e.chain)
		}
	}
	return err
}

// readBody reads a plan's content and holds it against the hash its captured record has.
func (r *Register) readBody(tx store.Txn, row *planRow) (*intent.Plan, error) {
	v, err := tx.Get(bodies, row.ID)
	if err != nil {
		return nil, fmt.Errorf("read content: %w", err)
	}
	p, err := intent.ParsePlan(v.Data)
	if err != nil {
		return nil, fmt.Errorf("read content: %w", err)
	}
	if p.Hash() != row.Hash || len(p.Steps) != row.Size {
		return nil, errors.New("content does not have the recorded hash")
	}
	return p, nil
}

// hold compiles an active plan; an ended one needs no compiling.
func (e *entry) hold(p *intent.Plan, now int64) error {
	if !e.row.state(now).Active() {
		return nil
	}
	h, err := intent.NewHeld(p)
	if err != nil {
		return err
	}
	if h.Root() != e.row.Root {
		return errors.New("content does not have the recorded root")
	}
	e.held = h
	e.count(h)
	return nil
}

// count makes room for following the steps.
func (e *entry) count(h *intent.Held) {
	e.uses, e.ok = make([]uint32, h.Size()), make([]uint32, h.Size())
	for i := range e.uses {
		e.uses[i] = h.Uses(i)
	}
}

// insert makes a ready entry findable; its chain is still to be ordered. Register.mu is held, or nobody else has the register yet.
func (r *Register) insert(e *entry) {
	e.ready = true
	mine := Owner{Tenant: e.tenant, User: e.row.User, Agent: e.row.Agent}
	r.owned[mine] = append(r.owned[mine], e)
	r.byID[planKey{e.tenant, e.row.ID}] = e
	r.byRoot[rootKey{e.tenant, e.row.Root}] = e
}

// note keeps the tenant among those a start loads, before its first plan is kept.
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

// putPlans keeps rows of one chain, and the content of the last of them when it is new.
func (r *Register) putPlans(ctx context.Context, tenant string, rows []planRow, body []byte) error {
	return r.deps.Store.Update(ctx, tenant, func(tx store.Txn) error {
		if body != nil {
			if _, err := tx.Put(bodies, rows[len(rows)-1].ID, body, 0); err != nil {
				return err
			}
		}
		for i := range rows {
			if _, err := planTable.Put(tx, rows[i].ID, rows[i], store.AnyVersion); err != nil {
				return err
			}
		}
		return nil
	})
}

// putTokens keeps rows, at most removeBatch in one transaction.
func (r *Register) putTokens(ctx context.Context, tenant string, rows []tokenRow) error {
	for part := range slices.Chunk(rows, removeBatch) {
		err := r.deps.Store.Update(ctx, tenant, func(tx store.Txn) error {
			for i := range part {
				if _, err := tokenTable.Put(tx, part[i].key(), part[i], store.AnyVersion); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
