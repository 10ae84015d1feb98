package stages

import (
	"context"
	"strings"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/policies"
)

// Engines gives the policy engine in force for a tenant; one that refuses everything when the tenant has none.
type Engines interface {
	For(tenant string) *policies.Engine
}

// Decide asks policy about exactly what would be forwarded.
type Decide struct {
	Policies Engines
	Done     func(plan merkle.Hash) int // steps of the plan that are done; nil counts none
}

// Name is "decide".
func (Decide) Name() string { return "decide" }

// Check fills c.Ask and c.Decision.
func (s Decide) Check(_ context.Context, c *pipeline.Call) error {
	done := 0
	if s.Done != nil && c.Token != nil && c.Planned().InPlan {
		done = s.Done(c.Token.PlanRoot())
	}
	c.Ask = c.BuildAsk(done)
	c.Decision = s.Policies.For(c.Caller.Tenant()).Decide(&c.Ask)
	if c.Decision.Allowed() {
		return nil
	}
	d := pipeline.Deny(pipeline.PolicyDenied, "")
	if reasons := c.Decision.Annotations(); c.Grant.Valid() && len(reasons) > 0 && reasons[0]["reason"] != "" {
		d.Message = "policy does not permit this call: " + reasons[0]["reason"]
	}
	if errs := c.Decision.Errors(); len(errs) > 0 {
		return d.WithReason("policy_error: " + strings.Join(errs, "; "))
	}
	return d.WithReason("policy_denied")
}
