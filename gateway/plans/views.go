package plans

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/store"
)

// Summary is a plan in a list.
type Summary struct {
	ID      string      `json:"id"`
	User    string      `json:"user"`
	Agent   string      `json:"agent"`
	Key     string      `json:"key"`
	Root    merkle.Hash `json:"root"`
	Hash    merkle.Hash `json:"hash"`
	Size    int         `json:"size"`
	State   State       `json:"state"`
	Reason  string      `json:"reason,omitempty"`
	Created time.Time   `json:"created"`
	Expires time.Time   `json:"expires"`
	Ended   *time.Time  `json:"ended,omitempty"`
	Prev    string      `json:"prev,omitempty"` // id of the plan it was re-anchored from
	Next    string      `json:"next,omitempty"` // id of the plan it was re-anchored to
}

// IssuedToken is a token in a list: everything but the token.
type IssuedToken struct {
	ID      string     `json:"id"`
	Plan    string     `json:"plan"`
	User    string     `json:"user"`
	Agent   string     `json:"agent"`
	Key     string     `json:"key"`
	Issued  time.Time  `json:"issued"`
	Expires time.Time  `json:"expires"`
	Revoked *time.Time `json:"revoked,omitempty"`
	Reason  string     `json:"reason,omitempty"`
	Alone   bool       `json:"alone,omitempty"` // may be shown as the only credential

	// Of a token that was derived from another. Its User and Agent are the plan's.
	Parents  []string `json:"parents,omitempty"`  // ids, eldest first
	Steps    []uint32 `json:"steps,omitempty"`    // the only ones it covers
	Delegate string   `json:"delegate,omitempty"` // thumbprint of the key whose holder bears it; Key asked for it
}

// Filter narrows a list. Zero fields narrow nothing.
type Filter struct {
	Agent string
	Plan  string // of tokens
	State State  // of plans
	After string // ids above this one, for the next page
	Limit int    // at most maxPage, which 0 means too
}

// maxPage bounds a list's answer.
const maxPage = 1000

func (f Filter) limit() int {
	if f.Limit <= 0 || f.Limit > maxPage {
		return maxPage
	}
	return f.Limit
}

// View returns one of the agent's own plans. Its content is read from the store.
func (r *Register) View(ctx context.Context, who Owner, id string) (Captured, error) {
	e := r.own(who, id)
	if e == nil {
		return Captured{}, fmt.Errorf("view plan: %w", ErrNotFound)
	}
	return r.read(ctx, e)
}

// Get returns one of the tenant's plans, whoever captured it: for management.
func (r *Register) Get(ctx context.Context, tenant, id string) (Summary, Captured, error) {
	e := r.find(tenant, id)
	if e == nil {
		return Summary{}, Captured{}, fmt.Errorf("get plan: %w", ErrNotFound)
	}
	c, err := r.read(ctx, e)
	return r.summary(e), c, err
}

func (r *Register) find(tenant, id string) *entry {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if e := r.byID[planKey{tenant, id}]; e != nil && e.ready {
		return e
	}
	return nil
}

func (r *Register) read(ctx context.Context, e *entry) (Captured, error) {
	r.mu.RLock()
	row := e.row
	r.mu.RUnlock()
	var p *intent.Plan
	err := r.deps.Store.View(ctx, e.tenant, func(tx store.Txn) (err error) {
		p, err = r.readBody(tx, &row)
		return err
	})
	if err != nil {
		return Captured{}, fmt.Errorf("read plan: %w", err)
	}
	return r.view(row, p, p.AppendJSON(nil)), nil
}

func (r *Register) view(row planRow, p *intent.Plan, body []byte) Captured {
	c := Captured{
		ID: row.ID, Root: row.Root, Hash: row.Hash, Size: row.Size, State: row.state(r.deps.Now().Unix()),
		Expires: unix(row.Expires), Plan: body, Steps: make([]Step, len(p.Steps)),
	}
	used := r.deps.Ledger.Steps(row.Root)
	for i := range p.Steps {
		s := &p.Steps[i]
		c.Steps[i] = Step{Index: i, Op: s.Op, Server: s.Server, Tool: s.Tool, Args: s.Args, Uses: s.Uses, After: append([]int{}, s.After...)}
		if i < len(used) {
			c.Steps[i].Used, c.Steps[i].Done = used[i].Used, used[i].Done
		}
	}
	return c
}

func (r *Register) summary(e *entry) Summary {
	now := r.deps.Now().Unix()
	r.mu.RLock()
	defer r.mu.RUnlock()
	return e.row.summary(now)
}

func (p *planRow) summary(now int64) Summary {
	return Summary{
		ID: p.ID, User: p.User, Agent: p.Agent, Key: p.Key, Root: p.Root, Hash: p.Hash, Size: p.Size, State: p.state(now), Reason: p.Reason,
		Created: unix(p.Created), Expires: unix(p.Expires), Ended: moment(p.Ended),
		Prev: p.Prev, Next: p.Next,
	}
}

func moment(s int64) *time.Time {
	if s == 0 {
		return nil
	}
	t := unix(s)
	return &t
}

// List returns the tenant's plans, oldest first.
func (r *Register) List(tenant string, f Filter) []Summary {
	now := r.deps.Now().Unix()
	out := []Summary{}
	r.mu.RLock()
	for k, e := range r.byID {
		if k.tenant != tenant || !e.ready || k.id <= f.After || f.Agent != "" && e.row.Agent != f.Agent || f.State != "" && e.row.state(now) != f.State {
			continue
		}
		out = append(out, e.row.summary(now))
	}
	r.mu.RUnlock()
	slices.SortFunc(out, func(a, b Summary) int { return cmp.Compare(a.ID, b.ID) })
	return out[:min(len(out), f.limit())]
}

// History returns what happened under one of the tenant's plans, as far as it is remembered.
func (r *Register) History(tenant, id string) (History, error) {
	e := r.find(tenant, id)
	if e == nil {
		return History{}, fmt.Errorf("plan history: %w", ErrNotFound)
	}
	return e.history(r.cfg.History), nil
}

// Tokens returns the tenant's tokens that are not long expired, oldest first.
func (r *Register) Tokens(tenant string, f Filter) []IssuedToken {
	out := []IssuedToken{}
	r.mu.RLock()
	for k, t := range r.tokens {
		if k.tenant != tenant || k.id <= f.After || f.Agent != "" && t.row.Agent != f.Agent || f.Plan != "" && t.row.Plan != f.Plan {
			continue
		}
		out = append(out, t.row.view())
	}
	r.mu.RUnlock()
	slices.SortFunc(out, func(a, b IssuedToken) int { return cmp.Compare(a.ID, b.ID) })
	return out[:min(len(out), f.limit())]
}

func (t *tokenRow) view() IssuedToken {
	return IssuedToken{
		ID: t.ID, Plan: t.Plan, User: t.User, Agent: t.Agent, Key: t.Key,
		Issued: unix(t.Issued), Expires: unix(t.Expires), Revoked: moment(t.Revoked), Reason: t.Reason, Alone: t.Alone,
		Parents: slices.Clone(t.Parents), Steps: slices.Clone(t.Steps), Delegate: t.Delegate,
	}
}
