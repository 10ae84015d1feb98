package control

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/gateway/approvals"
	"github.com/gatewright/gatewright/gateway/identity"
)

// Approvals is what this port needs of the register of held calls. What Decide returned without an error is durable and
// in force. It looks up by itself who may decide what.
type Approvals interface {
	List(tenant string, f approvals.Filter) []approvals.View
	Look(tenant, id string) (approvals.View, error)
	Get(ctx context.Context, tenant, id string) (approvals.View, error)
	Decide(ctx context.Context, by approvals.Approver, id string, approve bool, reason string) (approvals.View, error)
}

var _ Approvals = (*approvals.Register)(nil)

// noApprovals stands in for a gateway that holds no calls.
type noApprovals struct{}

func (noApprovals) List(string, approvals.Filter) []approvals.View { return nil }
func (noApprovals) Look(string, string) (approvals.View, error) {
	return approvals.View{}, approvals.ErrNotFound
}

func (noApprovals) Get(context.Context, string, string) (approvals.View, error) {
	return approvals.View{}, approvals.ErrNotFound
}

func (noApprovals) Decide(context.Context, approvals.Approver, string, bool, string) (approvals.View, error) {
	return approvals.View{}, approvals.ErrNotFound
}

// approval is a held call and what became of it.
type approval struct {
	ID        string     `json:"id"`
	State     string     `json:"state" enum:"pending,approved,rejected,expired,executed"`
	User      string     `json:"user" doc:"whom the agent acts for"`
	Agent     string     `json:"agent"`
	Key       string     `json:"key" doc:"the key that asked"`
	Plan      string     `json:"plan,omitempty"`
	Op        string     `json:"op"`
	Server    string     `json:"server"`
	Tool      string     `json:"tool"`
	Local     bool       `json:"local" doc:"the agent calls the server itself; the gateway only decides"`
	Amount    string     `json:"amount,omitempty" doc:"decimal; the first of the arguments amount, value, total, price and cost"`
	Digest    string     `json:"digest" doc:"SHA-256 of the call that is approved, hex"`
	Reason    string     `json:"reason,omitempty" doc:"why policy holds it"`
	Policies  []string   `json:"policies" nullable:"false" doc:"that hold it"`
	Approvals int        `json:"approvals" doc:"how many people must approve"`
	Given     int        `json:"given" doc:"how many have"`
	Approver  string     `json:"approver" doc:"the lowest role that may decide"`
	Decisions []decision `json:"decisions" nullable:"false" doc:"oldest first"`
	Created   time.Time  `json:"created"`
	Expires   time.Time  `json:"expires"`
	Ended     *time.Time `json:"ended,omitempty"`
	Record    string     `json:"record,omitempty" doc:"id of the ledger record of the call that used it"`
	ArgsSize  int        `json:"args_size" doc:"bytes of the canonical arguments"`
}

// decision is one person's word.
type decision struct {
	User    string    `json:"user"`
	Role    string    `json:"role" doc:"which they had then"`
	Approve bool      `json:"approve"`
	Reason  string    `json:"reason,omitempty"`
	Time    time.Time `json:"time"`
}

type approvalOut struct{ Body approval }

type shownApprovalOut struct {
	Body struct {
		approval
		Args json.RawMessage `json:"args,omitempty" doc:"what the call would do; absent when the arguments are too large to be kept, and for a Member who may not decide and is not the agent's owner"`
	}
}

type approvalPath struct {
	ID string `path:"id" pattern:"^apr_[0-9a-z]{1,32}$" maxLength:"36"`
}

type listApprovalsIn struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" doc:"how many rows at most; the server may answer fewer"`
	Cursor string `query:"cursor" maxLength:"512" doc:"the next of the page before"`
	Agent  string `query:"agent" pattern:"^agt_[0-9a-z]{1,32}$"`
	Plan   string `query:"plan" pattern:"^pln_[0-9a-z]{1,32}$"`
	State  string `query:"state" enum:"pending,approved,rejected,expired,executed"`
}

type approveIn struct {
	ID   string `path:"id" pattern:"^apr_[0-9a-z]{1,32}$" maxLength:"36"`
	Body *struct {
		Reason string `json:"reason,omitempty" maxLength:"256" doc:"stands in the ledger for good: no personal data"`
	}
}

type rejectIn struct {
	ID   string `path:"id" pattern:"^apr_[0-9a-z]{1,32}$" maxLength:"36"`
	Body struct {
		Reason string `json:"reason,omitempty" maxLength:"256" doc:"stands in the ledger for good: no personal data"`
	}
}

func (m *mounting) approvals() {
	handle(m, "list-approvals", func(_ context.Context, c *call, in *listApprovalsIn) (*paged[approval], error) {
		fetch := func(after string, n int) []approvals.View {
			f := approvals.Filter{Agent: in.Agent, Plan: in.Plan, State: approvals.State(in.State), After: after, Limit: n}
			return m.api.deps.Approvals.List(c.caller.Tenant(), f)
		}
		return window(c, listing{in.Limit, in.Cursor}, fetch, func(v *approvals.View) string { return v.ID }, shapeApproval)
	})
	handle(m, "get-approval", m.api.getApproval)
	handle(m, "approve-call", func(ctx context.Context, c *call, in *approveIn) (*approvalOut, error) {
		if in.Body == nil {
			return m.api.decide(ctx, c, in.ID, true, "")
		}
		return m.api.decide(ctx, c, in.ID, true, in.Body.Reason)
	})
	handle(m, "reject-call", func(ctx context.Context, c *call, in *rejectIn) (*approvalOut, error) {
		return m.api.decide(ctx, c, in.ID, false, in.Body.Reason)
	})
}

// getApproval shows the arguments to those who are to decide about them, and to the agent's owner.
func (a *API) getApproval(ctx context.Context, c *call, in *approvalPath) (*shownApprovalOut, error) {
	tenant, out := c.caller.Tenant(), &shownApprovalOut{}
	v, err := a.deps.Approvals.Look(tenant, in.ID)
	if err != nil {
		return nil, err
	}
	shown := v.Approver == "member" || c.caller.Role() != identity.RoleMember
	if !shown {
		agent, err := a.deps.Directory.Agent(ctx, tenant, v.Agent)
		shown = err == nil && agent.Owner == c.caller.User()
	}
	if shown {
		if v, err = a.deps.Approvals.Get(ctx, tenant, in.ID); err != nil {
			return nil, err
		}
	}
	out.Body.approval, out.Body.Args = shapeApproval(&v), v.Args
	return out, nil
}

// decide passes on who decides, not what they may: the register looks that up.
func (a *API) decide(ctx context.Context, c *call, id string, approve bool, reason string) (*approvalOut, error) {
	by := approvals.Approver{Tenant: c.caller.Tenant(), User: c.caller.User(), Key: c.caller.KeyID()}
	v, err := a.deps.Approvals.Decide(ctx, by, id, approve, reason)
	if err != nil {
		return nil, err
	}
	c.note("state", string(v.State))
	c.note("given", fmt.Sprintf("%d of %d", v.Given, v.Approvals))
	return &approvalOut{Body: shapeApproval(&v)}, nil
}

func shapeApproval(v *approvals.View) approval {
	out := approval{
		ID: v.ID, State: string(v.State), User: v.User, Agent: v.Agent, Key: v.Key, Plan: v.PlanID, Op: v.Op, Server: v.Server, Tool: v.Tool,
		Local: v.Local, Amount: v.Amount, Digest: v.Digest.String(), Reason: v.Reason, Policies: strs(v.Policies),
		Approvals: v.Approvals, Given: v.Given, Approver: v.Approver, Decisions: []decision{},
		Created: v.Created, Expires: v.Expires, Ended: v.Ended, Record: v.Record, ArgsSize: v.ArgsSize,
	}
	for _, d := range v.Decisions {
		out.Decisions = append(out.Decisions, decision{d.User, d.Role, d.Approve, d.Reason, d.At})
	}
	return out
}
