package armoriq

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/plans"
	"github.com/gatewright/gatewright/merkle/intent"
)

// own makes the call an operation of the gateway itself, which do answers with a value that is sent as JSON.
func (r *request) own(op, action string, do func(ctx context.Context) (any, error)) {
	r.c.Op, r.c.Action = op, action
	r.c.Answer = func(ctx context.Context, c *pipeline.Call) error {
		v, err := do(ctx)
		if err != nil {
			return denial(err)
		}
		b, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("encode the answer: %w", err)
		}
		c.Reply.Result = b
		return nil
	}
}

// answer writes what came of the call.
func (r *request) answer() {
	r.x.SetRecord(r.c)
	switch {
	case r.c.Denial != nil:
		r.refuse(r.c.Denial)
	case r.write != nil:
		r.write(r)
	default:
		r.x.JSON(http.StatusOK, r.c.Reply.Result)
	}
}

// refusal is what a client is told. enforcement stands in it only when policy decided: clients take its presence, in
// whatever answer, for a decision of policy.
type refusal struct {
	Success     bool         `json:"success"`
	Allowed     bool         `json:"allowed"`
	Action      string       `json:"action"`
	Enforcement string       `json:"enforcementAction,omitempty"`
	Details     *enforcement `json:"enforcement,omitempty"`
	Code        string       `json:"code"`
	Reason      string       `json:"reason"`
	Message     string       `json:"message"`
	Hint        string       `json:"hint,omitempty"`
	Policy      *policy      `json:"matchedPolicy,omitempty"`
	PolicyToo   *policy      `json:"matched_policy,omitempty"`
	Delegation  string       `json:"delegation_id,omitempty"`
	Context     any          `json:"delegation_context,omitempty"`
	ContextToo  any          `json:"delegationContext,omitempty"`
	Approval    bool         `json:"requiresApproval,omitempty"`
	Record      string       `json:"record,omitempty"`
}

type policy struct {
	Name string `json:"name"`
}

type enforcement struct {
	Action   string         `json:"action"`
	Approval bool           `json:"requiresApproval"`
	Metadata map[string]any `json:"metadata"`
}

// refuse writes a refusal. Where a decision was asked for, the decision is the answer, and its status 200.
func (r *request) refuse(d *pipeline.Denial) {
	if d.RetryAfter > 0 {
		r.x.Response.Header.Set("Retry-After", strconv.Itoa(int((d.RetryAfter.Seconds() + 0.999))))
	}
	if revoked(d) {
		r.x.Response.Header.Set("X-Armoriq-Revoked", "true")
	}
	if d.Code == pipeline.Unauthenticated { // in the same words at every address: a stranger learns of no dialect
		r.x.Refuse(d, "")
		return
	}
	if d.Code == pipeline.MethodNotAllowed {
		r.x.Response.Header.Set("Allow", strings.Join(r.allow, ", "))
	}
	f := refusal{Action: "block", Code: string(d.Code), Reason: d.Message, Message: d.Message, Hint: d.Hint, Record: r.c.Record}
	if byPolicy(d.Code) || r.judge && decided(d.Code) {
		f.Enforcement = "block"
	}
	if byPolicy(d.Code) {
		f.Details = &enforcement{Action: "block", Metadata: map[string]any{}}
	}
	if d.Policy != "" {
		f.Policy = &policy{d.Policy}
		f.PolicyToo = f.Policy
	}
	switch d.Code {
	case pipeline.ApprovalRequired:
		r.hold(&f, d)
	case pipeline.StepUsed:
		f.Hint = "take a token for a new plan, or have the operator raise armoriq.uses"
	case pipeline.StepLocal:
		f.Message = fmt.Sprintf("there is no server %q here: its steps are judged and never forwarded", r.c.Server)
		f.Reason = f.Message
	default:
	}
	b, err := json.Marshal(f)
	if err != nil {
		b = []byte(`{"success":false,"allowed":false,"action":"block","code":"internal"}`)
	}
	status := statusOf(d)
	if r.judge && decided(d.Code) {
		status = http.StatusOK
	}
	r.x.JSON(status, b)
	if status >= http.StatusBadRequest { // the oldest client shows its user the reason phrase and nothing else
		r.x.Response.Header.SetStatusMessage([]byte(d.Code))
	}
}

// hold says that the call waits for people, in each of the places where a client looks for it.
func (r *request) hold(f *refusal, d *pipeline.Denial) {
	f.Action, f.Enforcement, f.Approval, f.Delegation = "hold", "hold", true, d.Approval
	f.Details = &enforcement{Action: "hold", Approval: true, Metadata: map[string]any{"requiresApproval": true}}
	about := map[string]any{"delegationId": d.Approval, "domain": r.c.Server, "tool": r.c.Name, "requesterEmail": r.c.Caller.User()}
	if t := r.c.Token; t != nil {
		c := t.Claims()
		about["planId"], about["intentReference"], about["merkleRoot"] = c.PlanID, c.ID, c.PlanRoot.String()
	}
	f.Context, f.ContextToo = about, about
}

// byPolicy says whether policy, the tenant's or the token's, refused.
func byPolicy(c pipeline.Code) bool {
	switch c {
	case pipeline.PolicyDenied, pipeline.FilterDenied, pipeline.ApprovalRequired, pipeline.NotAvailable:
		return true
	default:
		return false
	}
}

// decided says whether the refusal is the answer to the question whether a call may be made; the rest says that the
// question could not be put.
func decided(c pipeline.Code) bool {
	if byPolicy(c) || conflict(c) {
		return true
	}
	switch c {
	case pipeline.InvalidArguments, pipeline.PlanInactive, pipeline.IntentInvalid, pipeline.IntentRequired, pipeline.NotFound, "token_expired", "token_revoked", "plan_expired", "plan_revoked", "bearer_mismatch":
		return true
	default:
		return false
	}
}

// conflict says whether the call is not what its plan says, which clients know as 409.
func conflict(c pipeline.Code) bool {
	switch c {
	case "tool_mismatch", "args_mismatch", "step_unknown", "proof_length", "proof_mismatch", "leaf_malformed", "plan_mismatch", "schema_changed",
		pipeline.StepUsed, pipeline.StepOrder, pipeline.StepLocal:
		return true
	default:
		return false
	}
}

// statusOf is the status under which clients understand a refusal: 401 and 403 for the token, 409 for the plan.
func statusOf(d *pipeline.Denial) int {
	switch c := d.Code; {
	case strings.HasPrefix(string(c), "token_"), c == "plan_revoked", c == "plan_expired":
		return http.StatusUnauthorized
	case conflict(c):
		return http.StatusConflict
	}
	return d.Status()
}

func revoked(d *pipeline.Denial) bool {
	if d.Code == "token_revoked" || d.Code == "plan_revoked" {
		return true
	}
	var e *intent.Error
	return d.Code == pipeline.Unauthenticated && errors.As(d.Cause, &e) && (e.Reason == intent.TokenRevoked || e.Reason == intent.PlanRevoked)
}

// denial gives the refusals of the parts behind this dialect their codes. What is none of them is a fault.
func denial(err error) error {
	var known *pipeline.Denial
	var e *intent.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, plans.ErrNotFound):
		return pipeline.Deny(pipeline.NotFound, "no such plan or token for this caller").Because(err)
	case errors.Is(err, plans.ErrInactive):
		return pipeline.Deny(pipeline.PlanInactive, "").Because(err)
	case errors.As(err, &e):
		return refusedPlan(e).Because(err)
	}
	return err
}

func refusedPlan(e *intent.Error) *pipeline.Denial {
	text := e.Msg
	if e.Pointer != "" {
		text = "at " + e.Pointer + ": " + e.Msg
	}
	d := pipeline.Deny(pipeline.InvalidPlan, text).WithReason(string(e.Reason))
	if code := pipeline.Code(e.Reason); code.Known() {
		d = pipeline.Deny(code, text).WithReason(string(e.Reason))
	}
	if e.Hint != "" {
		d.Hint = e.Hint
	}
	return d
}

// wantsEvents says whether the answer of a call is sent as server-sent events.
func (r *request) wantsEvents() bool {
	switch r.Settings.Answers {
	case "sse":
		return true
	case "json":
		return false
	}
	accept := r.x.Head.Accept
	return bytes.Contains(accept, []byte("text/event-stream")) && !bytes.Contains(accept, []byte("json")) && !bytes.Contains(accept, []byte("*/*"))
}

// send writes a JSON answer, as one event where the client or the setting wants that.
func (r *request) send(status int, body []byte) {
	if !r.wantsEvents() {
		r.x.JSON(status, body)
		return
	}
	r.x.JSON(status, fmt.Appendf(nil, "event: message\ndata: %s\n\n", body))
	r.x.Response.Header.SetContentType("text/event-stream")
}
