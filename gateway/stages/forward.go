package stages

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/merkle/canon"
)

// Upstreams carries a request to a server and brings its answer back.
type Upstreams interface {
	Call(ctx context.Context, t *upstream.Target, r *upstream.Request, reply *upstream.Reply) error
}

// Targets finds where a tenant's server is and how the gateway proves itself to it.
type Targets interface {
	Target(ctx context.Context, tenant, server string) (*upstream.Target, error)
}

// Forward takes an admitted call to its server. What goes out is built here anew: the name and the very argument bytes
// that were judged, a well-formed traceparent, and the gateway's own credential. Nothing of the client's header travels.
type Forward struct {
	Client  Upstreams
	Servers Targets
}

// Forward fills c.Reply.
func (s Forward) Forward(ctx context.Context, c *pipeline.Call) error {
	t, err := s.Servers.Target(ctx, c.Caller.Tenant(), c.Server)
	if err != nil {
		return pipeline.Deny(pipeline.UpstreamDown, "the server is not there any more, or its credential is not in the vault").Because(err)
	}
	if c.Sent == nil {
		c.Sent, c.Carried = new(upstream.Request), new(upstream.Reply)
	}
	principal := c.Caller.Session()
	if c.Lent.Value != "" {
		if !t.TakesCallers {
			return pipeline.Deny(pipeline.CredentialRefused, "")
		}
		own := *t
		own.Headers = func(add func(name, value string)) { add(c.Lent.Header, c.Lent.Value) }
		t = &own
		principal += "+" + lentPrint(c.Lent)
	}
	req, reply := c.Sent, c.Carried
	*req = upstream.Request{Method: c.Op, Name: c.Name, Arguments: c.Args, Meta: c.Meta, Principal: principal}
	switch c.Op {
	case catalogue.ReadResource:
		req.Arguments = nil
	case "completion/complete": // all that it says was judged as its arguments
		req.Name, req.Arguments, req.Params = "", nil, c.Args
	}
	if c.Tool != nil && c.Tool.Mirrors() {
		req.Mirror = func(add func(name, value string)) { c.Tool.Mirror(c.Args, add) }
	}
	if err := s.Client.Call(ctx, t, req, reply); err != nil {
		return upstreamDenial(err)
	}
	if err := wellShaped(reply); err != nil {
		return err
	}
	c.Reply = pipeline.Reply{Status: reply.Status, Result: reply.Result, Error: reply.Error}
	return nil
}

// lentPrint tells sessions with a server apart by the credential that the caller lent for them.
func lentPrint(c pipeline.Credential) string {
	sum := sha256.Sum256([]byte(c.Header + "\n" + c.Value))
	return hex.EncodeToString(sum[:16])
}

// wellShaped lets only one object pass, a result or an error: the dialects build on it.
func wellShaped(r *upstream.Reply) error {
	body := r.Result
	if r.Error != nil {
		body = r.Error
	}
	if n := len(body); (r.Result == nil) == (r.Error == nil) || n < 2 || body[0] != '{' || body[n-1] != '}' {
		d := pipeline.Deny(pipeline.UpstreamMalformed, "").WithReason("malformed: the answer is not one object")
		d.Uncertain = true
		return d
	}
	if kind, ok := canon.Get(r.Result, "resultType"); ok && string(kind) != `"complete"` {
		return pipeline.Deny(pipeline.UpstreamRefused, "the server asks for input that this gateway does not carry")
	}
	return nil
}

// upstreamCodes gives each kind of upstream failure the code that the caller is told.
var upstreamCodes = map[upstream.Kind]pipeline.Code{
	upstream.Unreachable: pipeline.UpstreamDown, upstream.Timeout: pipeline.UpstreamTimeout, upstream.TooLarge: pipeline.UpstreamTooLarge,
	upstream.Malformed: pipeline.UpstreamMalformed, upstream.Redirect: pipeline.UpstreamRefused, upstream.BlockedAddress: pipeline.UpstreamDown,
	upstream.Status: pipeline.UpstreamRefused, upstream.Canceled: pipeline.UpstreamTimeout, upstream.CircuitOpen: pipeline.UpstreamDown, upstream.Busy: pipeline.UpstreamBusy,
}

func upstreamDenial(err error) error {
	var e *upstream.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("call upstream: %w", err)
	}
	code, ok := upstreamCodes[e.Kind]
	if !ok {
		return fmt.Errorf("call upstream: %w", err)
	}
	d := pipeline.Deny(code, "").WithReason(string(e.Kind) + ": " + e.Detail).Because(err)
	d.Uncertain = e.Sent
	return d
}
