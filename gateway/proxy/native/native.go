// Package native is Gatewright's own agent-facing dialect on the data port: plans and tokens for the agent that asks,
// and what a stranger needs to verify them. Management is on the control port.
//
//	POST /api/v1/plans              capture a plan              -> 201
//	GET  /api/v1/plans/{id}         one of the agent's own plans
//	POST /api/v1/plans/{id}/tokens  take a token for it         -> 201
//	GET  /api/v1/ledger/records/{id}/proof
//	GET  /ledger/{tenant}/{instance}/...
//	GET  /.well-known/gatewright    keys that sign receipts and checkpoints
//	GET  /.well-known/jwks.json     keys that sign intent tokens
//	GET  /.well-known/oauth-protected-resource[/mcp[/{server}]]
package native

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/plans"
	"github.com/gatewright/gatewright/gateway/proxy"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
)

// Register is what the dialect uses of the register of plans.
type Register interface {
	Capture(ctx context.Context, owner plans.Owner, draft []byte) (plans.Captured, error)
	Token(ctx context.Context, owner plans.Owner, planID string, o plans.TokenOptions) (plans.Issued, error)
	View(ctx context.Context, owner plans.Owner, planID string) (plans.Captured, error)
}

// Dialect serves the agent's own routes.
type Dialect struct {
	Line  *pipeline.Line
	Plans Register
	JSON  canon.Limits
	// Ledger proves agents their own records; nil: nothing is proved.
	Ledger *Ledger
}

// Serve answers one request under /api.
func (d *Dialect) Serve(x *proxy.Exchange) {
	if id, ok := proofOf(x.Path); ok && d.Ledger != nil {
		d.Ledger.serveProof(x, id)
		return
	}
	c := &pipeline.Call{
		Remote: x.Remote, TLS: x.IsTLS(), Credential: x.Head.Credential(), Certificate: x.Certificate(), Route: "unknown",
		Retry: string(x.Head.Retry),
	}
	r := route(x)
	if r.name != "" {
		c.Route = r.name
	}
	c.Read = func(_ context.Context, c *pipeline.Call) error { return d.read(x, c, r) }
	d.Line.Run(x.Context(), c)
	x.SetRecord(c)
	if c.Denial != nil {
		x.Refuse(c.Denial, c.Record)
		return
	}
	x.JSON(r.status, c.Reply.Result)
}

// maxRetry bounds an Idempotency-Key, in bytes: each is kept with its answer.
const maxRetry = 255

// address is where a request leads.
type address struct {
	name, id string
	method   string
	status   int
}

func route(x *proxy.Exchange) address {
	seg := strings.Split(strings.TrimPrefix(x.Path, "/"), "/")
	switch {
	case len(seg) == 3 && seg[1] == "v1" && seg[2] == "plans":
		return address{"/api/v1/plans", "", http.MethodPost, http.StatusCreated}
	case len(seg) == 4 && seg[1] == "v1" && seg[2] == "plans":
		return address{"/api/v1/plans/{id}", seg[3], http.MethodGet, http.StatusOK}
	case len(seg) == 5 && seg[1] == "v1" && seg[2] == "plans" && seg[4] == "tokens":
		return address{"/api/v1/plans/{id}/tokens", seg[3], http.MethodPost, http.StatusCreated}
	}
	return address{}
}

func (d *Dialect) read(x *proxy.Exchange, c *pipeline.Call, r address) error {
	if r.name == "" {
		return pipeline.Deny(pipeline.NotFound, "no such address")
	}
	if string(x.Method()) != r.method {
		x.Response.Header.Set("Allow", r.method)
		return pipeline.Deny(pipeline.MethodNotAllowed, "")
	}
	if o := x.Head.Organization; o != nil && string(o) != c.Caller.Tenant() {
		return pipeline.Deny(pipeline.NotFound, "X-Organization-Id is not an organisation of this credential").WithReason("other_tenant")
	}
	if len(x.Head.Retry) > maxRetry {
		return pipeline.Deny(pipeline.Malformed, fmt.Sprintf("Idempotency-Key is longer than %d bytes", maxRetry))
	}
	c.Name = r.id // tells requests about different plans apart, in the record and among retries
	if r.method == http.MethodGet {
		c.Op, c.Action, c.Answer = "plans/get", "read_plan", func(ctx context.Context, c *pipeline.Call) error { return d.view(ctx, c, r.id) }
		return nil
	}
	body := x.Request.Body()
	if t, _, _ := bytes.Cut(x.Head.ContentType, []byte(";")); !strings.EqualFold(string(bytes.TrimSpace(t)), "application/json") {
		d := pipeline.Deny(pipeline.Unsupported, "Content-Type must be application/json")
		d.Hint = "send the body as application/json"
		return d
	}
	if err := canon.Check(body, d.JSON); err != nil {
		return pipeline.Deny(pipeline.Malformed, err.Error()).WithReason("malformed_json")
	}
	if canon.KindOf(bytes.TrimSpace(body)) != '{' {
		return pipeline.Deny(pipeline.Malformed, "the body must be a JSON object")
	}
	c.Args = body
	if r.id == "" {
		c.Op, c.Action, c.Answer = "plans/capture", "capture_plan", d.capture
		return nil
	}
	c.Op, c.Action, c.Answer = "tokens/issue", "issue_token", func(ctx context.Context, c *pipeline.Call) error { return d.token(ctx, c, r.id) }
	return nil
}

func owner(c *pipeline.Call) plans.Owner {
	return plans.Owner{Tenant: c.Caller.Tenant(), User: c.Caller.User(), Agent: c.Caller.Agent(), KeyID: c.Caller.KeyID()}
}

func (d *Dialect) capture(ctx context.Context, c *pipeline.Call) error {
	p, err := d.Plans.Capture(ctx, owner(c), c.Args)
	return reply(c, p, err)
}

func (d *Dialect) view(ctx context.Context, c *pipeline.Call, id string) error {
	p, err := d.Plans.View(ctx, owner(c), id)
	return reply(c, p, err)
}

func (d *Dialect) token(ctx context.Context, c *pipeline.Call, id string) error {
	var ttl time.Duration
	err := canon.Each(c.Args, func(key, value []byte) error {
		if string(key) != "ttl_seconds" {
			return pipeline.Deny(pipeline.Malformed, fmt.Sprintf("unknown member %q; the only one is \"ttl_seconds\"", key))
		}
		var n int64
		if json.Unmarshal(value, &n) != nil || n <= 0 || n > int64((10*365*24*time.Hour)/time.Second) {
			return pipeline.Deny(pipeline.Malformed, `"ttl_seconds" must be a positive whole number of seconds`)
		}
		ttl = time.Duration(n) * time.Second
		return nil
	})
	if err != nil {
		return err
	}
	t, err := d.Plans.Token(ctx, owner(c), id, plans.TokenOptions{TTL: ttl})
	return reply(c, t, err)
}

func reply(c *pipeline.Call, v any, err error) error {
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

// denial gives the register's refusals their codes. What is not one of them is a fault.
func denial(err error) error {
	var e *intent.Error
	switch {
	case errors.Is(err, plans.ErrNotFound):
		return pipeline.Deny(pipeline.NotFound, "no such plan for this caller").Because(err)
	case errors.Is(err, plans.ErrInactive):
		return pipeline.Deny(pipeline.PlanInactive, "").Because(err)
	case errors.As(err, &e):
		text := e.Msg
		if e.Pointer != "" {
			text = "at " + e.Pointer + ": " + e.Msg
		}
		d := pipeline.Deny(pipeline.InvalidPlan, text).WithReason(string(e.Reason))
		if e.Hint != "" {
			d.Hint = e.Hint
		}
		return d.Because(err)
	}
	return err
}

// Keys serves /.well-known/*, to anybody.
type Keys struct {
	Version    string
	LedgerKeys []string      // verifier keys in the C2SP signed-note form
	JWKS       func() []byte // of the keys that sign intent tokens
	Protected  *proxy.Protected
}

// Serve answers one request under /.well-known.
func (k *Keys) Serve(x *proxy.Exchange) {
	if !x.IsGet() && !x.IsHead() {
		x.Response.Header.Set("Allow", "GET, HEAD")
		x.Refuse(pipeline.Deny(pipeline.MethodNotAllowed, ""), "")
		return
	}
	switch x.Path {
	case "/.well-known/jwks.json":
		x.JSON(http.StatusOK, k.JWKS())
	case "/.well-known/gatewright":
		b, err := json.Marshal(map[string]any{"version": k.Version, "ledger_keys": k.LedgerKeys, "jwks_uri": "/.well-known/jwks.json"})
		if err != nil {
			x.Refuse(pipeline.Deny(pipeline.Internal, ""), "")
			return
		}
		x.JSON(http.StatusOK, b)
	default:
		if b := k.Protected.Document(x.Path); b != nil {
			x.JSON(http.StatusOK, b)
			return
		}
		x.Refuse(pipeline.Deny(pipeline.NotFound, "no such address"), "")
	}
}
