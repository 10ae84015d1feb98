package stages

import (
	"context"
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/gateway/approvals"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/policies"
)

// Engines gives what a call is judged by; where it is pipeline.Revisions, with the filters that belong to the policies.
type Engines = pipeline.Engines

// Approvals knows which calls people have approved, and takes requests for those that policy holds.
type Approvals interface {
	ApprovedBy(tenant string, digest merkle.Hash, approvals int, approver string) (id string, ok bool)
	Given(tenant, id string) int
	Request(ctx context.Context, q approvals.Request) (approvals.View, error)
}

// Decide asks policy about exactly what would be forwarded. A call that policy holds passes when people have approved
// this very call; otherwise it is refused, and a request for their approval is made.
type Decide struct {
	Policies  Engines
	Done      func(plan merkle.Hash) int // steps of the plan that are done; nil counts none
	Approvals Approvals                  // nil: what is held is refused
	Flips     *Flips                     // where answers that would differ are counted; nil: no other engine is asked
}

// Name is "decide".
func (Decide) Name() string { return "decide" }

// Check fills c.Ask, c.Decision, c.Flips and, for a call that was held and approved, c.Approval.
func (s Decide) Check(ctx context.Context, c *pipeline.Call) error {
	done := 0
	if s.Done != nil && c.Token != nil && c.Planned().InPlan {
		done = s.Done(c.Token.PlanRoot())
	}
	force := c.Take(s.Policies)
	engine, shadow := force.Engine, force.Shadow
	if s.Approvals != nil && engine.ReadsApproval() && (c.Answer == nil || c.Trial) {
		if err := s.given(c); err != nil {
			return err
		}
	}
	c.Ask = c.BuildAsk(done)
	c.Decision = engine.Decide(&c.Ask)
	if ok, err := s.answersHolds(c); err != nil {
		return err
	} else if !ok {
		c.Approval, c.Approvals = "", 0
		c.Ask = c.BuildAsk(done)
		c.Decision = engine.Decide(&c.Ask)
	}
	if c.Decision.Held() && s.Approvals != nil && (c.Answer == nil || c.Trial) {
		if err := s.release(ctx, c, engine, done); err != nil {
			s.Flips.compare(c, shadow)
			return err
		}
	}
	s.Flips.compare(c, shadow)
	if c.Decision.Allowed() {
		return nil
	}
	d := pipeline.Deny(pipeline.PolicyDenied, "")
	if reasons := c.Decision.Annotations(); c.Grant.Valid() && len(reasons) > 0 {
		if reasons[0]["reason"] != "" {
			d.Message = "policy does not permit this call: " + reasons[0]["reason"]
		}
		d.Policy = reasons[0]["id"]
	}
	if errs := c.Decision.Errors(); len(errs) > 0 {
		if engine.ReadsSession() && !c.Session.Known && c.Again() {
			d.Message, d.Hint = "policies now read what nobody counted when this call was answered first", "make the call again under another Idempotency-Key"
		}
		return d.WithReason("policy_error: " + strings.Join(errs, "; "))
	}
	return d.WithReason("policy_denied")
}

// given finds what people have approved of a call before policy is asked, for policies that read it.
func (s Decide) given(c *pipeline.Call) error {
	if c.Approval, c.Approvals = c.Approved(); c.Approval != "" {
		return nil
	}
	call := toApprove(c)
	digest, err := call.Digest()
	if err != nil {
		return fmt.Errorf("digest of a call that may be approved: %w", err)
	}
	if id, ok := s.Approvals.ApprovedBy(call.Tenant, digest, 0, ""); ok {
		c.Approval, c.Approvals = id, s.Approvals.Given(call.Tenant, id)
	}
	return nil
}

// release asks policy about a held call again, as one that people have approved. Policies may hold it only then: the
// approval must be enough for those as well, or the call stays held.
func (s Decide) release(ctx context.Context, c *pipeline.Call, engine *policies.Engine, done int) error {
	var also []policies.Hold
	for range 2 {
		if err := s.approved(ctx, c, also); err != nil {
			return err
		}
		c.Ask = c.BuildAsk(done)
		c.Decision = engine.Decide(&c.Ask)
		if ok, err := s.answersHolds(c); ok || err != nil {
			return err
		}
		also = append(also, c.Decision.Holds()...)
		c.Approval, c.Approvals = "", 0
		c.Ask = c.BuildAsk(done)
		c.Decision = engine.Decide(&c.Ask)
	}
	return nil
}

// answersHolds reports whether an approval that was found before policy was asked is enough for the policies that hold the
// call: they may ask for more people, or for others, than those did that it was once given for.
func (s Decide) answersHolds(c *pipeline.Call) (bool, error) {
	holds := c.Decision.Holds()
	if c.Approval == "" || !c.Decision.Allowed() || len(holds) == 0 {
		return true, nil
	}
	if before, _ := c.Approved(); before != "" {
		return true, nil // it let the call pass that this one repeats
	}
	call := toApprove(c)
	digest, err := call.Digest()
	if err != nil {
		return false, fmt.Errorf("digest of an approved call: %w", err)
	}
	approvals, approver := needed(holds)
	_, ok := s.Approvals.ApprovedBy(call.Tenant, digest, approvals, approver)
	return ok, nil
}

// needed is how many people must approve a call that policies hold, and the lowest role in which they may.
func needed(holds []policies.Hold) (approvals int, approver string) {
	for _, h := range holds {
		approvals = max(approvals, h.Approvals)
		if h.Approver == "admin" || approver == "" {
			approver = h.Approver
		}
	}
	return approvals, approver
}

// toApprove is the call as people approve it.
func toApprove(c *pipeline.Call) approvals.Call {
	call := approvals.Call{
		Tenant: c.Caller.Tenant(), User: c.Caller.User(), Agent: c.Caller.Agent(), PlanID: c.Planned().ID,
		Op: "tools/call", Server: c.Server, Tool: c.Name, Args: c.Args,
	}
	if !c.Trial {
		call.Op = c.Op
	}
	return call
}

// approved finds the approval of a held call, enough for what holds it and what also would, or asks for one and refuses.
func (s Decide) approved(ctx context.Context, c *pipeline.Call, also []policies.Hold) error {
	if c.Approval, c.Approvals = c.Approved(); c.Approval != "" {
		return nil
	}
	call := toApprove(c)
	digest, err := call.Digest()
	if err != nil {
		return fmt.Errorf("digest of a held call: %w", err)
	}
	q := approvals.Request{Call: call, Key: c.Caller.KeyID(), Policies: c.Decision.Policies(), Local: c.Grant.Local()}
	policy := ""
	holds := c.Decision.Holds()
	if len(holds) > 0 {
		_, policy, _ = strings.Cut(holds[0].Policy, " ") // its id; file and line are the operator's
		q.Reason = holds[0].Why
	}
	q.Approvals, q.Approver = needed(append(holds, also...))
	if id, ok := s.Approvals.ApprovedBy(call.Tenant, digest, q.Approvals, q.Approver); ok {
		c.Approval, c.Approvals = id, s.Approvals.Given(call.Tenant, id)
		return nil
	}
	v, err := s.Approvals.Request(ctx, q)
	if err != nil {
		return pipeline.Deny(pipeline.ApprovalRequired, "policy holds this call for approval, and the request for it could not be made: "+err.Error()).Because(err)
	}
	d := pipeline.Deny(pipeline.ApprovalRequired, "policy holds this call for approval: "+q.Reason)
	d.Hint = "have it approved (gatewright approval approve " + v.ID + "), then make the very same call again"
	d.Approval, d.Policy = v.ID, policy
	return d.WithReason("held " + v.ID)
}
