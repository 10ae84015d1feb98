package control

import (
	"context"
	"encoding/json"
	"time"

	"github.com/gatewright/gatewright/gateway/plans"
)

// Plans is what this port needs of the register of plans.
type Plans interface {
	PlanViews
	PlanChanges
}

var _ Plans = (*plans.Register)(nil)

// PlanViews read the tenant's plans and tokens, whichever agent's they are.
type PlanViews interface {
	List(tenant string, f plans.Filter) []plans.Summary
	Get(ctx context.Context, tenant, id string) (plans.Summary, plans.Captured, error)
	History(tenant, id string) (plans.History, error)
	Tokens(tenant string, f plans.Filter) []plans.IssuedToken
}

// PlanChanges take away; they are in force, durable and recorded when they return nil.
type PlanChanges interface {
	SetState(ctx context.Context, by plans.Actor, id string, to plans.State, reason string) error
	RevokeToken(ctx context.Context, by plans.Actor, id, reason string) error
}

// plan is a captured plan in a list: whose it is and how it stands, not what it says.
type plan struct {
	ID      string     `json:"id"`
	User    string     `json:"user"`
	Agent   string     `json:"agent"`
	Key     string     `json:"key" doc:"the key that captured it"`
	Root    string     `json:"root" doc:"root of the steps' Merkle tree, hex"`
	Hash    string     `json:"hash" doc:"SHA-256 of the whole canonical plan, hex"`
	Size    int        `json:"size" doc:"number of steps"`
	State   string     `json:"state" enum:"active,completed,failed,expired,revoked"`
	Reason  string     `json:"reason,omitempty"`
	Created time.Time  `json:"created"`
	Expires time.Time  `json:"expires"`
	Ended   *time.Time `json:"ended,omitempty"`
	Prev    string     `json:"prev,omitempty" doc:"the plan that grew into this one"`
	Next    string     `json:"next,omitempty" doc:"the plan that this one has grown into"`
}

// step is a step without its arguments: those are in the plan's content.
type step struct {
	Index  int    `json:"index"`
	Op     string `json:"op"`
	Server string `json:"server"`
	Tool   string `json:"tool"`
	Uses   uint32 `json:"uses" doc:"how often it may be taken; 0 is without limit"`
	Used   uint32 `json:"used"`
	Done   bool   `json:"done"`
	After  []int  `json:"after" nullable:"false" doc:"steps that must be done before"`
}

// event is one thing that happened under a plan, with the place where the ledger proves it.
type event struct {
	Index   uint64    `json:"index" doc:"place in the organisation's ledger"`
	Record  string    `json:"record" doc:"id of the ledger record"`
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind" doc:"plan, token, approval, admitted, settled or refused"`
	Step    int       `json:"step" doc:"-1 when it is about no step"`
	Act     string    `json:"act,omitempty" doc:"captured, issued, revoked, ...; the code of a refusal"`
	Token   string    `json:"token,omitempty"`
	Outcome string    `json:"outcome,omitempty" doc:"of a settled step"`
}

type planOut struct {
	Body struct {
		Plan    plan    `json:"plan"`
		Steps   []step  `json:"steps" nullable:"false"`
		History []event `json:"history" nullable:"false" doc:"oldest first"`
		Lost    int     `json:"lost" doc:"events after the first that are only in the ledger"`
		Partial bool    `json:"partial,omitempty" doc:"the first events are only in the ledger: the plan had ended when the gateway was started"`
	}
}

type planContentOut struct {
	Body struct {
		Content json.RawMessage `json:"content" doc:"the sealed plan with goal, metadata and arguments"`
	}
}

type planPath struct {
	ID string `path:"id" pattern:"^pln_[0-9a-z]{1,32}$" maxLength:"36"`
}

type listPlansIn struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" doc:"how many rows at most; the server may answer fewer"`
	Cursor string `query:"cursor" maxLength:"512" doc:"the next of the page before"`
	Agent  string `query:"agent" pattern:"^agt_[0-9a-z]{1,32}$"`
	State  string `query:"state" enum:"active,completed,failed,expired,revoked"`
}

type setPlanStateIn struct {
	ID   string `path:"id" pattern:"^pln_[0-9a-z]{1,32}$" maxLength:"36"`
	Body struct {
		State  string `json:"state" enum:"completed,failed,revoked"`
		Reason string `json:"reason,omitempty" maxLength:"256" doc:"stands in the ledger for good"`
	}
}

func (m *mounting) plans() {
	register := m.api.deps.Plans
	handle(m, "list-plans", func(_ context.Context, c *call, in *listPlansIn) (*paged[plan], error) {
		fetch := func(after string, n int) []plans.Summary {
			return register.List(c.caller.Tenant(), plans.Filter{Agent: in.Agent, State: plans.State(in.State), After: after, Limit: n})
		}
		return window(c, listing{in.Limit, in.Cursor}, fetch, func(p *plans.Summary) string { return p.ID }, shapePlan)
	})
	handle(m, "get-plan", m.api.getPlan)
	handle(m, "get-plan-content", func(ctx context.Context, c *call, in *planPath) (*planContentOut, error) {
		_, captured, err := register.Get(ctx, c.caller.Tenant(), in.ID)
		if err != nil {
			return nil, err
		}
		out := &planContentOut{}
		out.Body.Content = captured.Plan
		return out, nil
	})
	handle(m, "set-plan-state", func(ctx context.Context, c *call, in *setPlanStateIn) (*planOut, error) {
		c.note("state", in.Body.State)
		if err := register.SetState(ctx, c.actor(), in.ID, plans.State(in.Body.State), in.Body.Reason); err != nil {
			return nil, err
		}
		return m.api.getPlan(ctx, c, &planPath{ID: in.ID})
	})
}

// getPlan shows steps without arguments, which may be as confidential as what they are about; see get-plan-content.
func (a *API) getPlan(ctx context.Context, c *call, in *planPath) (*planOut, error) {
	summary, captured, err := a.deps.Plans.Get(ctx, c.caller.Tenant(), in.ID)
	if err != nil {
		return nil, err
	}
	history, err := a.deps.Plans.History(c.caller.Tenant(), in.ID)
	if err != nil {
		return nil, err
	}
	out := &planOut{}
	b := &out.Body
	b.Plan, b.Lost, b.Partial, b.Steps, b.History = shapePlan(&summary), history.Lost, history.Partial, []step{}, []event{}
	for _, s := range captured.Steps {
		after := s.After
		if after == nil {
			after = []int{}
		}
		b.Steps = append(b.Steps, step{s.Index, s.Op, s.Server, s.Tool, s.Uses, s.Used, s.Done, after})
	}
	for _, e := range history.Events {
		b.History = append(b.History, event{e.Index, e.Record, e.Time, e.Kind, e.Step, e.Act, e.Token, e.Outcome})
	}
	return out, nil
}

// actor is the caller as the register of plans knows those who manage.
func (c *call) actor() plans.Actor {
	return plans.Actor{Owner: plans.Owner{Tenant: c.caller.Tenant(), User: c.caller.User(), KeyID: c.caller.KeyID()}, Admin: true}
}

func shapePlan(p *plans.Summary) plan {
	return plan{
		ID: p.ID, User: p.User, Agent: p.Agent, Key: p.Key, Root: p.Root.String(), Hash: p.Hash.String(), Size: p.Size,
		State: string(p.State), Reason: p.Reason, Created: p.Created, Expires: p.Expires, Ended: p.Ended, Prev: p.Prev, Next: p.Next,
	}
}
