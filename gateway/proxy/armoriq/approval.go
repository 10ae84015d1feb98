package armoriq

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/gatewright/gatewright/gateway/approvals"
	"github.com/gatewright/gatewright/gateway/pipeline"
)

// Approvals is the register of calls that wait for people. Their clients call a request for an approval a delegation.
type Approvals interface {
	Request(ctx context.Context, q approvals.Request) (approvals.View, error)
	Find(q approvals.Query) (approvals.View, bool)
	Look(tenant, id string) (approvals.View, error)
	Spend(ctx context.Context, tenant, id, record string) error
}

// readApprovalRequest reads POST /delegation/request. What it asks for is one call with exactly these arguments, by this
// caller, under this plan; the requester's role, limit and email, and the amount, are looked up or read from the
// arguments. When policy held the same call before, that request is the answer.
func readApprovalRequest(r *request) error {
	var tool, action, domain, planID, reason string
	var arguments []byte
	err := readObject(r.body, "", fields{
		"tool": text(&tool, 1024), "action": text(&action, 1024), "domain": text(&domain, 128), "planId": text(&planID, 256),
		"reason": text(&reason, 4096), "arguments": object(&arguments),
	})
	if err != nil {
		return err
	}
	if tool == "" {
		tool = action
	}
	server, tool, err := r.toolOf("", domain, tool, "")
	if err != nil {
		return err
	}
	if arguments == nil {
		arguments = []byte("{}")
	}
	if arguments, err = r.strip(server, tool, arguments); err != nil {
		return err
	}
	if planID != "" {
		head, _, ok := r.Plans.Head(r.owner(), planID)
		if !ok {
			return pipeline.Deny(pipeline.NotFound, "no such plan for this caller, or it has ended").WithReason("plan_not_found")
		}
		planID = head
	}
	c := r.c.Caller
	_, held := r.Catalogue.Server(c.Tenant(), server)
	q := approvals.Request{
		Call: approvals.Call{Tenant: c.Tenant(), User: c.User(), Agent: c.Agent(), PlanID: planID, Op: "tools/call", Server: server, Tool: tool, Args: arguments},
		Key:  c.KeyID(), Reason: "the agent asks: " + cut(reason, 200), Local: !held,
	}
	r.own("approvals/request", "request_approval", func(ctx context.Context) (any, error) {
		v, err := r.Approvals.Request(ctx, q)
		if err != nil {
			return nil, refusedApproval(err)
		}
		return approvalAnswer(v), nil
	})
	return nil
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

func approvalAnswer(v approvals.View) map[string]any {
	return map[string]any{
		"success": true, "delegationId": v.ID, "status": string(v.State), "expiresAt": v.Expires.UTC().Format(time.RFC3339),
		"approvalsNeeded": v.Approvals, "approvalsGiven": v.Given, "approverRole": v.Approver, "digest": v.Digest.String(),
	}
}

// readCheckApproved reads GET /delegation/check-approved?tool=&amount=&planId=. It only tells: whether a call may pass is
// found by its own digest when it comes. Without a plan nothing matches.
func readCheckApproved(r *request) error {
	var in [4]string
	for i, name := range []string{"tool", "amount", "planId", "domain"} {
		var err error
		if in[i], err = r.query(name); err != nil {
			return err
		}
	}
	tool, amount, planID, server := in[0], in[1], in[2], in[3]
	if tool == "" {
		return malformed("", "the parameter tool is needed")
	}
	r.own("approvals/find", "request_approval", func(context.Context) (any, error) {
		none := map[string]any{"approved": false}
		head, _, ok := r.Plans.Head(r.owner(), planID)
		if !ok {
			return none, nil
		}
		c := r.c.Caller
		q := approvals.Query{Tenant: c.Tenant(), Agent: c.Agent(), User: c.User(), PlanID: head, Server: server, Tool: tool, Amount: amount, State: approvals.Approved}
		v, ok := r.Approvals.Find(q)
		if !ok && (amount == "0.01" || amount == "") { // what clients write for no amount
			q.Amount = "0"
			v, ok = r.Approvals.Find(q)
		}
		if !ok {
			return none, nil
		}
		answer := approvalAnswer(v)
		answer["approved"] = true
		for _, d := range v.Decisions {
			if d.Approve {
				answer["approverEmail"], answer["approverRole"] = d.User, d.Role
			}
		}
		return answer, nil
	})
	return nil
}

// readApprovalStatus reads GET /delegation/{id}/status.
func readApprovalStatus(r *request) error {
	r.own("approvals/read", "request_approval", func(context.Context) (any, error) {
		v, err := r.ownApproval(r.id)
		if err != nil {
			return nil, err
		}
		return approvalAnswer(v), nil
	})
	return nil
}

// ownApproval is a request of this very agent for this very user; all others are not found.
func (r *request) ownApproval(id string) (approvals.View, error) {
	c := r.c.Caller
	v, err := r.Approvals.Look(c.Tenant(), id)
	if err != nil || v.Agent != c.Agent() || v.User != c.User() {
		return v, pipeline.Deny(pipeline.NotFound, "no such delegation for this caller")
	}
	return v, nil
}

// readMarkExecuted reads POST /delegation/mark-executed. For a tool behind this gateway the forwarded call itself spends
// its approval, and the client's word changes nothing; for a local tool the client's word is what spends it.
func readMarkExecuted(r *request) error {
	var id string
	if err := readObject(r.body, "", fields{"delegationId": text(&id, 256)}); err != nil {
		return err
	}
	if id == "" {
		return malformed("/delegationId", "is needed")
	}
	r.own("approvals/execute", "request_approval", func(ctx context.Context) (any, error) {
		v, err := r.ownApproval(id)
		if err != nil {
			return nil, err
		}
		if v.Local && v.State == approvals.Approved {
			if err := r.Approvals.Spend(ctx, v.Tenant, id, "client"); err != nil && !errors.Is(err, approvals.ErrSpent) {
				return nil, refusedApproval(err)
			}
			v.State = approvals.Executed
		}
		if v.State == approvals.Pending || v.State == approvals.Rejected {
			return nil, malformed("/delegationId", "it is "+string(v.State)+": nothing to execute")
		}
		return approvalAnswer(v), nil
	})
	return nil
}

// readMyRole reads GET /delegation/my-role: what the person who answers for the caller may approve.
func readMyRole(r *request) error {
	r.own("approvals/role", "read_account", func(ctx context.Context) (any, error) {
		u, err := r.People.User(ctx, r.c.Caller.Tenant(), r.c.Caller.User())
		if err != nil {
			return nil, pipeline.Deny(pipeline.NotFound, "nobody answers for this caller any more").Because(err)
		}
		role := strings.ToLower(string(u.Role))
		limit := json.Number(r.Limits[role])
		if limit == "" {
			limit = "9007199254740991" // none; clients want a number
		}
		return map[string]any{"role": role, "limit": limit}, nil
	})
	return nil
}

// refusedApproval gives the register's refusals their codes.
func refusedApproval(err error) error {
	switch {
	case errors.Is(err, approvals.ErrNotFound):
		return pipeline.Deny(pipeline.NotFound, "no such delegation for this caller").Because(err)
	case errors.Is(err, approvals.ErrLimit):
		return pipeline.Deny(pipeline.RateLimited, "too many requests for approval are open: "+err.Error()).Because(err)
	case errors.Is(err, approvals.ErrInvalid), errors.Is(err, approvals.ErrPending), errors.Is(err, approvals.ErrRejected), errors.Is(err, approvals.ErrExpired):
		return malformed("", err.Error()).Because(err)
	}
	return err
}
