// Package armoriq is the dialect that ArmorIQ's published clients speak on the data port. It turns their requests into
// the same pipeline.Call that every dialect makes, and judges nothing itself: their plan is a plan of ours, their token
// carries a token of ours, their proof is the inclusion proof of ours, and each of their requests walks the line and
// leaves a record.
//
// What a client asserts about itself is read past: user_id, agent_id, user_email, X-User-Email, _iam_context, policy
// snapshots and roles say nothing here. Who calls is what the credential proves.
//
// Serve fills the first group of the Call's fields, and the route's read function the second, once the caller is known:
// own makes the call an operation of the gateway itself, call makes it one of a server's tool. The line runs it, and
// answer.go says what came of it.
//
//	routes.go     the table of routes: what this dialect answers; read it first
//	body.go       strict reading of their JSON
//	answer.go     answers and refusals in their words
//	invoke.go     a call of a tool, made or only judged
//	proof.go      paths, proofs and digests of the X-CSRG-* headers
//	issue.go      a token for a plan: plan.go makes the plan ours, token.go puts their object around our token
//	verify.go     whether a step is in a token's plan
//	trust.go      revoke, re-anchor, delegate
//	approval.go   held calls and what people decide about them
//	ask.go        what policy would say; judge.go answers who asks for that
//	the rest      one file a group of routes: account, audit, catalogue, device, profiles, usage
package armoriq

import (
	"context"
	"io"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/proxy"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
)

// Settings tune the dialect; gateway.hcl has their defaults and dangers.
type Settings struct {
	Arguments string        // "exact", "subset" or "open": how a call's arguments are held to its plan
	Uses      int           // of each step; 0 without limit
	Answers   string        // "auto", "json" or "sse"
	TokenTTL  time.Duration // of a token when none is asked for
}

// Dialect serves the routes of the table in routes.go.
type Dialect struct {
	Line     *pipeline.Line
	Signer   intent.Signer // signs the outer form of tokens too
	Verifier *intent.Verifier
	JSON     canon.Limits
	Settings Settings
	Version  string
	Now      func() time.Time
	Rand     io.Reader
	Parts

	outers outers
}

// Serves says whether a path is this dialect's, whatever the method.
func Serves(path string) bool { return served(path) }

// request is one exchange on its way through the dialect.
type request struct {
	*Dialect
	x     *proxy.Exchange
	c     *pipeline.Call
	route *route
	id    string // what stands for the template's variable
	body  []byte // the checked JSON object of a POST or PUT

	allow []string         // methods of an address that does not take the request's
	write func(r *request) // writes an answer that is not just c.Reply.Result; the call has passed
	judge bool             // a refusal is the answer: a decision was asked for, not an effect
}

// Serve answers one request.
func (d *Dialect) Serve(x *proxy.Exchange) {
	r := &request{Dialect: d, x: x, c: &pipeline.Call{
		Route: "unknown", Remote: x.Remote, TLS: x.IsTLS(), Credential: x.Head.Credential(), Certificate: x.Certificate(), Retry: string(x.Head.Retry),
	}}
	var problem error
	r.route, r.id, problem = match(string(x.Method()), x.Path)
	if r.route == nil {
		r.allow = methods(x.Path)
		r.refuseAll(problem)
		return
	}
	r.c.Route = r.route.path
	if r.route.method == get {
		r.c.Retry = "" // asking again has no effect
	}
	if r.route.open != nil {
		r.route.open(r)
		return
	}
	if r.c.Credential == nil && x.Head.Authorization == nil && x.Head.CSRG.Path != nil && r.route.method == post {
		r.c.Reveal = r.tokenAlone
	}
	r.c.Shown.Possession, r.c.Shown.Method, r.c.Shown.Target = x.Head.Possession, r.route.method, x.Target()
	r.c.Read = func(context.Context, *pipeline.Call) error { return r.read() }
	d.Line.Run(x.Context(), r.c)
	r.answer()
}

// refuseAll walks the line with a request that leads nowhere: without a valid credential the caller is told only that.
func (r *request) refuseAll(why error) {
	r.c.Read = func(context.Context, *pipeline.Call) error { return why }
	r.Line.Run(r.x.Context(), r.c)
	r.answer()
}

// maxRetry bounds an Idempotency-Key, in bytes: each is kept with its answer.
const maxRetry = 255

// read parses what every route has in common, then lets the route read the rest.
func (r *request) read() error {
	if o := r.x.Head.Organization; o != nil && string(o) != r.c.Caller.Tenant() {
		return pipeline.Deny(pipeline.NotFound, "X-Organization-Id is not an organisation of this credential").WithReason("other_tenant")
	}
	if len(r.x.Head.Retry) > maxRetry {
		return malformed("", "Idempotency-Key is longer than 255 bytes")
	}
	r.c.Name = r.id
	if r.route.method != get {
		if err := r.readBody(); err != nil {
			return err
		}
		r.c.Args = r.body
	}
	return r.route.read(r)
}
