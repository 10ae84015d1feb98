package stages

import (
	"context"
	"errors"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
)

// Tools finds a tool of a tenant. What belongs to another tenant is not found.
type Tools interface {
	Lookup(tenant, server, tool string) (*catalogue.Tool, bool)
}

// Plans gives the plan that a token's root names and its state, when this gateway holds it.
type Plans interface {
	Held(tenant string, root merkle.Hash) (h *intent.Held, state string, ok bool)
}

// Intent proves that the call is a step of a signed plan: token, expiry, revocation, plan state, and the Merkle proof
// of operation, server, tool and argument constraints. Arguments that break the tool's own schema are refused here too,
// before policy sees them.
type Intent struct {
	Verifier *intent.Verifier
	Plans    Plans
	Tools    Tools
	Used     func(plan merkle.Hash, step int32) uint32
}

// Name is "intent".
func (Intent) Name() string { return "intent" }

// Check fills c.Token, c.Tool and c.Grant. An operation that needs no plan still has its token judged when one is shown: a bad
// token is never ignored.
func (s Intent) Check(_ context.Context, c *pipeline.Call) error {
	if len(c.Shown.Token) == 0 && c.Plan {
		return pipeline.Deny(pipeline.IntentRequired, "")
	}
	var tok *intent.Token
	if len(c.Shown.Token) > 0 {
		var err error
		if tok, err = s.Verifier.Token(c.Shown.Token, c.Started); err != nil {
			return refused(err)
		}
		c.Token = tok
	}
	if c.Answer != nil {
		return nil
	}
	tool, ok := s.Tools.Lookup(c.Caller.Tenant(), c.Server, c.Name)
	if ok {
		c.Tool = tool
	}
	if tok != nil && c.Plan {
		if err := s.grant(c, tok); err != nil {
			return err
		}
	}
	if !ok {
		return pipeline.Deny(pipeline.NotFound, "").WithReason("unknown_tool")
	}
	if err := tool.CheckArgs(c.Args); err != nil {
		return pipeline.Deny(pipeline.InvalidArguments, "the arguments break the tool's schema: "+err.Error())
	}
	return nil
}

func (s Intent) grant(c *pipeline.Call, tok *intent.Token) error {
	who := intent.Bearer{Tenant: c.Caller.Tenant(), User: c.Caller.User(), Agent: c.Caller.Agent(), KeyID: c.Caller.KeyID()}
	req := intent.Request{Op: c.Op, Server: c.Server, Tool: c.Name, Args: c.Args}
	if c.Tool != nil {
		req.Schema = c.Tool.SchemaHash
	}
	held, state, ok := s.Plans.Held(c.Caller.Tenant(), tok.PlanRoot())
	if ok && state != "active" {
		if t := tok.Claims(); who != (intent.Bearer{Tenant: t.Tenant, User: t.Subject, Agent: t.Agent, KeyID: t.KeyID}) {
			return pipeline.Deny("bearer_mismatch", "") // how a plan ended is nobody else's to know
		}
		if state != UsedUp || !c.Again() {
			return inactive(state)
		}
	}
	var err error
	switch {
	case c.Shown.Step != nil:
		c.Grant, err = s.leaf(tok, who, req, c)
	case ok && state == UsedUp: // maybe by the very call that this one repeats
		return repeated(c, req.Schema)
	case ok && c.Again(): // its step, also when no use of it is left
		c.Grant, err = s.Verifier.GrantStep(tok, who, req, held, c.Planned().Step, c.Started)
	case ok:
		used := func(i int) uint32 { return s.Used(tok.PlanRoot(), int32(i)) }
		c.Grant, err = s.Verifier.GrantHeld(tok, who, req, held, used, c.Started)
	default:
		return pipeline.Deny(pipeline.IntentInvalid, "this gateway does not hold the token's plan: send the step and its proof").WithReason("plan_not_held")
	}
	if err != nil {
		return refused(err)
	}
	return nil
}

// repeated lets a call pass that repeats an answered step of a plan which is not held any more. Token, request and
// caller are those of then, or the call would not be a repeat; the tool may be another by now.
func repeated(c *pipeline.Call, schema merkle.Hash) error {
	if !c.Repeats(schema) {
		return pipeline.Deny("schema_changed", "")
	}
	return nil
}

// UsedUp is the state of a plan that ended because every step was done as often as it may be.
const UsedUp = "used up"

// inactive says why a plan is over.
func inactive(state string) error {
	switch state {
	case UsedUp:
		return pipeline.Deny(pipeline.StepUsed, "the plan is completed: each of its steps has been done")
	case "expired":
		return pipeline.Deny("plan_expired", "")
	case "revoked":
		return pipeline.Deny("plan_revoked", "")
	}
	return pipeline.Deny(pipeline.PlanInactive, "the plan is "+state)
}

// leaf grants a step that the client shows itself, with its proof. When the gateway holds the plan too, its state was
// judged before.
func (s Intent) leaf(tok *intent.Token, who intent.Bearer, req intent.Request, c *pipeline.Call) (intent.Grant, error) {
	l, err := s.Verifier.Leaf(c.Shown.Step)
	if err != nil {
		return intent.Grant{}, err
	}
	return s.Verifier.GrantLeaf(tok, who, req, l, c.Shown.Proof, c.Started)
}

// refused tells the reason of an intent error under its own code where that is one a caller may be told.
func refused(err error) error {
	var e *intent.Error
	if !errors.As(err, &e) {
		return err
	}
	d := pipeline.Deny(pipeline.IntentInvalid, e.Msg).WithReason(string(e.Reason))
	if code := pipeline.Code(e.Reason); code.Known() {
		d = pipeline.Deny(code, e.Msg).WithReason(string(e.Reason))
	}
	if e.Hint != "" {
		d.Hint = e.Hint
	}
	return d.Because(err)
}
