// Package pipeline is the line a call walks: the Call itself, the Stages that may refuse it, and the Line that runs
// them in order, writes the records, lets the call out, and answers.
//
// A stage may refuse and none can allow alone. Any error, panic, timeout, unknown state or missing record is a
// refusal; that rule is written once, in Line.Run, and nowhere else.
//
//	dialect -> Call -> stage, stage, ... -> admit (durable record) -> forward -> settle (durable record) -> reply
package pipeline

import (
	"context"
	"crypto/x509"
	"net/netip"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies"
)

// Call is one request on its way through the line. Each field is written by one party only: the dialect fills the
// first group, each stage its own field, the Line the last group. Args, Extra and Reply are the exception: filters may rewrite
// them, before the call is decided and after the reply has come.
type Call struct {
	// Written by the dialect.

	Route       string                             // route template, as "/mcp/{server}"
	Path        string                             // as sent; what a token for one address is held against
	Remote      netip.Addr                         // the client's address, after trusted_proxies
	TLS         bool                               // whether the client's connection was encrypted
	Credential  []byte                             // API key or JWT as shown; never logged, never forwarded
	Reveal      func() []byte                      // finds a credential that is not in the header, once the source has been counted; nil when there is none
	Certificate *x509.Certificate                  // of the client, its chain verified; nil when it showed none
	Read        func(context.Context, *Call) error // parses the body once the caller is known; fills the next group
	Retry       string                             // Idempotency-Key, empty when none

	// Written by Read, which belongs to the dialect too.

	Op     string                             // protocol operation, as "tools/call"
	Action string                             // the policy action it stands for, as "call_tool"
	Server string                             // upstream name within the tenant, empty for operations on the gateway itself
	Name   string                             // tool, prompt or resource
	Args   []byte                             // checked JSON object; nil when the operation takes none; filters may rewrite it
	Meta   []byte                             // of _meta what goes upstream and nobody need judge: at most a W3C traceparent, a progress token and a level of logging, as an object; nil when there is none
	Extra  []byte                             // the other members of _meta that go upstream, a checked JSON object; nil when there is none; filters may rewrite it
	Peer   upstream.Peer                      // hears what the server says before its answer; nil: nobody does
	Can    []byte                             // what the client can be asked in an input_required result, as an object of capabilities; nil: nothing
	Input  []byte                             // its answers to what it was asked, a checked JSON object; nil when it was not
	Round  *Round                             // the call goes on where an earlier round of it was asked for input; nil: it is a new one
	Task   *Task                              // the call may become a task, or is about one; nil: neither
	Shown  Shown                              // the plan as the client shows it
	Plan   bool                               // the operation needs a Grant
	Trial  bool                               // judged as a call of the tool, and answered by Answer: nothing is forwarded; what it takes, Takes says
	Answer func(context.Context, *Call) error // the gateway's own answer; nil sends the call upstream
	Keep   time.Duration                      // how long the answer may be given again; 0 leaves it to the setting. Answer may write it
	Lent   Credential                         // the caller's own credential for the server, sent where the server's settings allow it

	// Written by the stages, each its own.

	Caller    identity.Caller
	Alone     bool // the credential is an intent token: it opens calls of its own plan and nothing else
	Tool      *catalogue.Tool
	Token     *intent.Token // verified; the record of a refusal names it and its plan
	Held      *intent.Held  // the plan of Grant, when this gateway holds it
	Grant     intent.Grant
	Overlays  []*policies.Overlay   // what narrows the bundle for this tenant and plan
	Labels    []string              // put on by filters, sorted; a slice that is here is never changed in place
	Scores    []policies.Score      // given by filters on the request, sorted by name, each name once
	Force     Force                 // the revision it is judged by, from the first stage on that asks for it; see Take
	Session   policies.SessionFacts // what was counted of the call's session; unknown where nobody reads it
	Came      []byte                // the arguments as they came, where filters rewrote them
	Filtered  string                // which filters rewrote what, for the record's detail; "" when none did
	Ask       policies.Ask
	Decision  policies.Decision
	Approval  string    // id of the approval that lets a held call pass; spent when the call goes out
	Approvals int       // how many people gave it
	Counted   []Counted // the call's places in counters
	Flips     []Flip    // what policies in shadow would have answered instead of Decision; none when they agree

	// Written by the forwarder, which keeps its buffers here from call to call.

	Sent    *upstream.Request
	Carried *upstream.Reply

	// Written by the Line.

	Started time.Time
	Reply   Reply
	Record  string   // id of the record that the caller is told
	Receipt []byte   // receipt text, empty when receipts are off
	Salt    [16]byte // opens the request and reply digests of this call's records to the caller
	Denial  *Denial  // nil when the reply stands
	Kept    bool     // the reply is the kept answer of an earlier call with the same Idempotency-Key

	first     string // id of the admitted record
	said      string // what the client answered to the server's questions, for the record
	questions int
	next      *Round   // what its caller is to come back for; nil when nothing was asked
	took      bool     // Round is this call's
	admitted  bool     // the call went out, or may have
	claimed   *Answers // set by Claim: where the answer is to be kept
	entry     *answer  // set by Claim: the place for it, this call's own until it ends
	again     *answer  // set by Claim: what the same request was answered before
	outcome   string   // of the settled record, once that is on record
	code      string   // of the settled record
	stages    []ledger.StageTime
	rec       ledger.Record
	addr      string
	ask       []byte // the whole Ask as JSON
	bound     []byte // associated data of the seal
	seal      []byte // plaintext and then sealed bytes of the record's side
}

// Counted is a place that a call took in a counter before it was judged. Keep makes it durable, before the call goes out,
// with labels that are seen by then. The Line ends each place once: that of a call that did not go out is free again.
type Counted interface {
	Keep(ctx context.Context, labels []string) error
	End(out bool)
}

// Shown is the plan as the client shows it: a token, and optionally an explicit step with its inclusion proof.
type Shown struct {
	Token []byte
	Step  []byte        // base64url of the leaf's JSON, nil when the gateway is to look the step up
	Proof []merkle.Hash // inclusion proof of the leaf

	Possession []byte                     // DPoP proof (RFC 9449) of the key a delegated token is bound to
	Target     string                     // URL it must be for: scheme, host and path
	Method     string                     // and HTTP method
	Prove      func(h *intent.Held) error // what else the client shows of the token's own plan, judged before a step is granted
	At         int                        // the one step that the call confines itself to, counted from 1; 0 is any
}

// Credential is one header for a server. It is never logged and never recorded.
type Credential struct{ Header, Value string }

// Reply is what came back: exactly one of Result and Error is set.
type Reply struct {
	Status int        // the upstream's HTTP status, 0 when the gateway answered itself
	Result []byte     // raw JSON
	Error  []byte     // raw JSON of a JSON-RPC error object
	Task   *TaskReply // the call is a task, or about one; nil: neither
}

// Flip is an answer that would have been another under policies that are tried and not enforced.
type Flip struct {
	By       string      // "engine": a whole bundle that is staged; "policy": policies with @mode("shadow")
	From, To string      // "allow", "deny" or "hold"
	Bundle   merkle.Hash // of the policies that would have answered To
	Policies []string    // that would have determined it, as Decision.Policies names them
	Errors   []string    // why they could not be evaluated
}

// A Stage looks at a call and lets it pass (nil) or refuses it (an error). A refusal made with Deny reaches the caller
// under its code; any other error is a fault and reaches the caller only as "internal". A stage writes only its own
// field of the Call and keeps no reference to it after Check returns.
type Stage interface {
	Name() string
	Check(ctx context.Context, c *Call) error
}

// A Replier also looks at the reply on its way back. Repliers run in reverse order of the row; a refusal withholds the
// reply, and the record says so.
type Replier interface {
	CheckReply(ctx context.Context, c *Call) error
}

// Reset makes the call ready for reuse, keeping its buffers.
func (c *Call) Reset() {
	counted := c.Counted[:0]
	stages, ask, bound, seal, receipt := c.stages[:0], c.ask[:0], c.bound[:0], c.seal[:0], c.Receipt[:0]
	policies, after := c.rec.Policies[:0], c.rec.After[:0]
	if c.Sent != nil {
		*c.Sent = upstream.Request{}
	}
	*c = Call{Carried: c.Carried, Sent: c.Sent, Counted: counted, stages: stages, ask: ask, bound: bound, seal: seal, Receipt: receipt}
	c.rec.Policies, c.rec.After = policies, after
}

// BuildAsk states the question that policy answers, from what the gateway would do now. The Line builds it a second
// time just before it lets the call out and compares, so that nothing can change after it was judged.
func (c *Call) BuildAsk(done int) policies.Ask {
	a := policies.Ask{
		Principal: c.Caller.Principal(), User: c.Caller.User(), Action: c.Action, Server: c.Server, Tool: c.Name,
		Args: c.Args, ArgsKnown: true, IP: c.Remote, TLS: c.TLS, Now: c.Started, Labels: c.Labels,
		Scores: c.Scores, Session: c.Session,
		Local: c.Grant.Local(), Approved: c.Approval != "", Approvals: c.Approvals, Overlays: c.Overlays,
	}
	if a.Plan = c.Planned(); a.Plan.InPlan {
		a.Plan.Done = done
	}
	return a
}

// Planned says which step of which plan the call is, without how far the plan is; zero when it is none. A call that
// repeats an answered one is the step that was granted then, also when the plan has been used up since.
func (c *Call) Planned() policies.PlanFacts {
	switch {
	case c.Grant.Valid():
		return policies.PlanFacts{
			InPlan: true, ID: c.Grant.PlanID(), Step: c.Grant.Step(), Steps: c.Grant.PlanSize(),
			Expires: time.Unix(c.Grant.Expires(), 0), BundleAtIssue: c.Grant.IssuedUnder(),
		}
	case c.again != nil:
		return c.again.plan
	}
	return policies.PlanFacts{}
}

// Takes says whether the call, when it passes, takes what it was granted: a use of its step, its approval, its place in a
// rate. A trial takes nothing, but for a local tool, where the permission given here is all that there is.
func (c *Call) Takes() bool { return !c.Trial || c.Grant.Local() }

// StageTimes returns how long each stage took, in the row's order.
func (c *Call) StageTimes() []ledger.StageTime { return c.stages }
