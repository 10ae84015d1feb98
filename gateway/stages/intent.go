package stages

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
)

// Tools finds what an operation of MCP is about: a tenant's tool, prompt or resource. What belongs to another tenant is not
// found.
type Tools interface {
	Find(tenant, op, server, name string) (*catalogue.Tool, bool)
	// Quarantined says whether a tool that is not found waits for a person's approval. Callers are not told.
	Quarantined(tenant, server, tool string) bool
}

// Plans gives the plan that a token's root names and its state, when this gateway holds it.
type Plans interface {
	Held(tenant string, root merkle.Hash) (h *intent.Held, state string, ok bool)
}

// Proofs verifies, for one request and once, that a caller holds the key with this thumbprint (RFC 9449, RFC 7638).
type Proofs interface {
	VerifyFor(who identity.Caller, thumbprint string, proof []byte, method, url string, token []byte, now time.Time) error
}

// Intent proves that the call is a step of a signed plan: token, expiry, revocation, plan state, and the Merkle proof
// of operation, server, tool and argument constraints. Arguments that break the tool's own schema are refused here too,
// before policy sees them.
type Intent struct {
	Verifier *intent.Verifier
	Plans    Plans
	Tools    Tools
	Anchors  func(tenant string, root merkle.Hash) []*intent.Delta // the signed chain from a plan to what it has grown into
	Proofs   Proofs                                                // nil: only a key registered for the calling agent bears a delegated token
	Used     func(plan merkle.Hash, step int32) uint32
}

// Name is "intent".
func (Intent) Name() string { return "intent" }

// Check fills c.Token, c.Tool and c.Grant. An operation that needs no plan still has its token judged when one is shown: a bad
// token is never ignored.
func (s Intent) Check(_ context.Context, c *pipeline.Call) error {
	err := s.check(c)
	if err != nil && c.Tool == nil && c.Name != "" && c.Caller.Valid() && s.Tools.Quarantined(c.Caller.Tenant(), c.Server, c.Name) {
		if d, ok := errors.AsType[*pipeline.Denial](err); ok {
			return d.WithReason(strings.TrimSuffix("tool_quarantined: "+d.Reason, ": "))
		}
	}
	return err
}

// CheckReply holds a tool's result to the tool's own output schema, as the caller would get it: after the filters. What asks
// for input is no result yet.
func (Intent) CheckReply(_ context.Context, c *pipeline.Call) error {
	if c.Tool == nil || c.Answer != nil || c.Reply.Result == nil || c.Reply.Bare() {
		return nil
	}
	if kind, ok := canon.Get(c.Reply.Result, "resultType"); ok && c.Can != nil && string(kind) == `"input_required"` {
		return nil
	}
	if err := c.Tool.CheckResult(c.Reply.Result); err != nil {
		d := pipeline.Deny(pipeline.ResultInvalid, "the call was made; its result breaks the tool's own output schema: "+err.Error())
		return d.WithReason(err.Error())
	}
	return nil
}

func (s Intent) check(c *pipeline.Call) error {
	if len(c.Shown.Token) == 0 && c.Plan {
		return pipeline.Deny(pipeline.IntentRequired, "")
	}
	if c.Alone && (!bytes.Equal(c.Shown.Token, c.Credential) || !c.Plan && c.Action != "check_policy") {
		d := pipeline.Deny(pipeline.WrongKeyKind, "a token shown alone opens calls of its own plan and nothing else")
		d.Hint = "use an API key or a JWT of a configured login"
		return d
	}
	var tok *intent.Token
	if len(c.Shown.Token) > 0 {
		var err error
		if tok, err = s.Verifier.Token(c.Shown.Token, c.Started); err != nil {
			return refused(err)
		}
		c.Token = tok
	}
	if c.Answer != nil && !c.Trial {
		return nil
	}
	tool, ok := s.Tools.Find(c.Caller.Tenant(), target(c), c.Server, c.Name)
	if ok {
		c.Tool = tool
	}
	if err := s.revoked(c); err != nil {
		return err
	}
	if tok != nil && c.Plan {
		err := s.grant(c, tok)
		if d, is := errors.AsType[*pipeline.Denial](err); is && !ok && d.Code == "schema_changed" { // there is no schema at all
			return pipeline.Deny(pipeline.NotFound, "").WithReason("unknown_tool").Because(err)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case c.Grant.Local() && c.Trial:
		return nil
	case c.Grant.Local():
		return pipeline.Deny(pipeline.StepLocal, "")
	case !ok:
		return pipeline.Deny(pipeline.NotFound, "").WithReason("unknown_tool")
	}
	if ofTask(c) {
		return nil // its arguments were judged when it was begun
	}
	if err := tool.CheckArgs(c.Args); err != nil {
		return pipeline.Deny(pipeline.InvalidArguments, "the arguments break the tool's schema: "+err.Error())
	}
	return nil
}

// target is the operation that the call is, or on trial stands for.
func target(c *pipeline.Call) string {
	if c.Trial || ofTask(c) {
		return catalogue.CallTool
	}
	return c.Op
}

func (s Intent) grant(c *pipeline.Call, tok *intent.Token) error {
	who, err := s.bearer(c, tok)
	if err != nil {
		return err
	}
	if err := s.prove(c, tok); err != nil {
		return err
	}
	if tok, err = s.anchored(c, tok); err != nil {
		return refused(err)
	}
	req := intent.Request{Op: target(c), Server: c.Server, Tool: c.Name, Args: c.Args}
	if c.Tool != nil {
		req.Schema = c.Tool.SchemaHash
	}
	held, state, ok := s.Plans.Held(c.Caller.Tenant(), tok.PlanRoot())
	if ok && state != "active" {
		if s.Verifier.Bears(tok, who, c.Started) != nil {
			return pipeline.Deny("bearer_mismatch", "") // how a plan ended is nobody else's to know
		}
		if state != UsedUp || !c.Again() && c.Round == nil {
			return inactive(state)
		}
	}
	c.Held = held
	if c.Round != nil {
		if c.Grant, ok = c.Round.Grant(tok.PlanRoot()); !ok {
			return pipeline.Deny(pipeline.IntentInvalid, "the plan is not the one that the call began under: make the call again without its requestState")
		}
		return s.kept(c, tok)
	}
	switch {
	case c.Shown.Step != nil:
		c.Grant, err = s.leaf(tok, who, req, c)
	case ok && state == UsedUp: // maybe by the very call that this one repeats
		return repeated(c, req.Schema)
	case ok && c.Again(): // its step, also when no use of it is left
		c.Grant, err = s.Verifier.GrantStep(tok, who, req, held, c.Planned().Step, c.Started)
	case ok && c.Shown.At > 0:
		c.Grant, err = s.Verifier.GrantStep(tok, who, req, held, c.Shown.At-1, c.Started)
	case ok:
		used := func(i int) uint32 { return s.Used(tok.PlanRoot(), int32(i)) }
		c.Grant, err = s.Verifier.GrantHeld(tok, who, req, held, used, c.Started)
	default:
		return pipeline.Deny(pipeline.IntentInvalid, "this gateway does not hold the token's plan: send the step and its proof").WithReason("plan_not_held")
	}
	if err != nil {
		return unplanned(c, refused(err))
	}
	return s.kept(c, tok)
}

// unplanned says of what no step does in which words it was asked for: most often a name without its server, or another operation.
func unplanned(c *pipeline.Call, err error) error {
	d, is := errors.AsType[*pipeline.Denial](err)
	if !is || d.Code != "tool_mismatch" {
		return err
	}
	switch target(c) {
	case catalogue.ReadResource:
		d.Message = "no step of the plan reads this resource"
	case catalogue.GetPrompt:
		d.Message = "no step of the plan gets this prompt"
	}
	if c.Server == "" {
		d.Hint = "name its server too: where several stand behind an address, a tool or prompt is SERVER__NAME and a resource gatewright+SERVER:URI, as lists show them"
	}
	return d
}

// kept refuses a step that a delegated token covers and that its giver has not any more, because the plan has grown
// without it.
func (s Intent) kept(c *pipeline.Call, tok *intent.Token) error {
	if s.Anchors == nil || c.Held == nil || !derived(tok) {
		return nil
	}
	chain := s.Anchors(c.Caller.Tenant(), tok.PlanRoot())
	if chain == nil {
		return nil
	}
	head, state, ok := s.Plans.Held(c.Caller.Tenant(), chain[len(chain)-1].Claims().To.Root)
	if !ok || head == nil {
		return inactive(state)
	}
	mine := &c.Held.Plan().Steps[c.Grant.Step()]
	for i := range head.Plan().Steps {
		if mine.Same(&head.Plan().Steps[i]) {
			return nil
		}
	}
	return pipeline.Deny("plan_mismatch", "the plan has changed since, and this step is not in it any more")
}

// bearer is who shows the token: the caller, and for a token that is bound to a key whoever proves to hold that key, by
// its being registered for the calling agent or by a signature made for this very request.
func (s Intent) bearer(c *pipeline.Call, tok *intent.Token) (intent.Bearer, error) {
	who := intent.Bearer{Tenant: c.Caller.Tenant(), User: c.Caller.User(), Agent: c.Caller.Agent(), KeyID: c.Caller.KeyID()}
	want := tok.Thumbprint()
	if want == "" {
		return who, nil
	}
	who.Thumbprint = c.Caller.Thumbprint()
	if who.Thumbprint == want || len(c.Shown.Possession) == 0 || s.Proofs == nil {
		return who, nil
	}
	if err := s.Proofs.VerifyFor(c.Caller, want, c.Shown.Possession, c.Shown.Method, c.Shown.Target, c.Shown.Token, c.Started); err != nil {
		if errors.Is(err, identity.ErrProofFull) {
			return who, limited("caller's proofs", time.Second)
		}
		return who, pipeline.Deny("bearer_mismatch", "the proof of possession does not verify: "+err.Error()).Because(err)
	}
	who.Thumbprint = want
	return who, nil
}

// derived says whether the token was made from another: what was delegated is the plan as it was then.
func derived(tok *intent.Token) bool {
	c := tok.Claims()
	return c.Steps != nil || c.Parents != nil
}

// anchored is the token as it stands for the plan that its own has grown into. A delegated one stays with that plan.
func (s Intent) anchored(c *pipeline.Call, tok *intent.Token) (*intent.Token, error) {
	if s.Anchors == nil {
		return tok, nil
	}
	chain := s.Anchors(c.Caller.Tenant(), tok.PlanRoot())
	if chain == nil || derived(tok) {
		return tok, nil
	}
	grown, err := s.Verifier.Reanchor(tok, chain)
	if err != nil {
		return nil, err
	}
	c.Token = grown
	return grown, nil
}

// prove judges what the client shows of the token's own plan, before that plan is followed to what it has grown into. An
// ended plan is refused for that.
func (s Intent) prove(c *pipeline.Call, tok *intent.Token) error {
	if c.Shown.Prove == nil {
		return nil
	}
	held, state, ok := s.Plans.Held(c.Caller.Tenant(), tok.PlanRoot())
	switch {
	case ok && state != "active":
		return nil
	case !ok || held == nil:
		return pipeline.Deny(pipeline.IntentInvalid, "this gateway does not hold the token's plan").WithReason("plan_not_held")
	}
	if err := c.Shown.Prove(held); err != nil {
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
