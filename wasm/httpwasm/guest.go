package httpwasm

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/tetratelabs/wazero/api"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/wasm/abi"
)

// guest is one instance of a module.
type guest struct {
	limits            abi.Limits
	starts            []api.Function
	request, response api.Function
	setup             setup
	stack             [2]uint64
}

// setup is what an instance knows from Init.
type setup struct {
	config   []byte
	features uint32
}

// Legacy gives the configuration and the features that the guest's start enabled.
func (g *guest) Legacy() (any, abi.Phases) {
	return g.setup, abi.Phases(0).Set(abi.Request).Set(abi.Response)
}

// Inherit takes what another instance's Legacy gave.
func (g *guest) Inherit(legacy any) { g.setup, _ = legacy.(setup) }

// Init runs the guest's start functions, which may read the configuration and enable features.
func (g *guest) Init(ctx context.Context, config []byte) error {
	g.setup.config = bytes.Clone(config)
	x := &Exchange{Config: g.setup.config, starting: true}
	g.attach(ctx, x)
	for _, f := range g.starts {
		if err := f.CallWithStack(ctx, g.stack[:]); err != nil {
			return err
		}
	}
	g.setup.features = x.features
	return nil
}

// attach makes x what the guest's calls of its host are about.
func (g *guest) attach(ctx context.Context, x *Exchange) {
	host := abi.HostOf(ctx)
	x.Log = host.Log
	*host.Local(abi.SetDialect) = x
}

// handleRequest returns whether the next handler is to go on, and what handle_response is to be given.
func (g *guest) handleRequest(ctx context.Context, x *Exchange) (next bool, state uint32, err error) {
	g.attach(ctx, x)
	x.Config, x.features = g.setup.config, g.setup.features
	if err := g.request.CallWithStack(ctx, g.stack[:1]); err != nil {
		return false, 0, err
	}
	switch uint32(g.stack[0]) {
	case 0:
		return false, 0, nil
	case 1:
		return true, uint32(g.stack[0] >> 32), nil
	}
	return false, 0, &abi.BadVerdict{Cause: errors.New("next is neither 0 nor 1")}
}

func (g *guest) handleResponse(ctx context.Context, state uint32, failed bool) error {
	g.stack[0], g.stack[1] = uint64(state), 0
	if failed {
		g.stack[1] = 1
	}
	return g.response.CallWithStack(ctx, g.stack[:])
}

// Shown is real HTTP in place of a call, for tools that have it: Context.Raw. Next is called where the guest lets the request
// pass, has to fill the exchange's response, and may fail, which the guest is told.
type Shown struct {
	Exchange *Exchange
	Next     func() error
}

// serve shows real HTTP. The verdict says whether the guest let the request pass; what came of it stands in the exchange.
func (g *guest) serve(ctx context.Context, s *Shown, v *abi.Verdict) error {
	next, state, err := g.handleRequest(ctx, s.Exchange)
	if err != nil {
		return err
	}
	if v.Kind = abi.Deny; !next {
		return nil
	}
	v.Kind = abi.Pass
	failed := s.Next() != nil
	s.Exchange.After()
	return g.handleResponse(ctx, state, failed)
}

// Judge shows a call as a request. A result is shown as its response, in an instance that has seen the request: what the guest
// remembers of it, it remembers as if nothing had been between.
func (g *guest) Judge(ctx context.Context, c *abi.Context, v *abi.Verdict) error {
	if s, ok := c.Raw.(*Shown); ok {
		return g.serve(ctx, s, v)
	}
	x := g.exchange(c)
	next, state, err := g.handleRequest(ctx, x)
	if err != nil {
		return err
	}
	if c.Phase == abi.Request {
		if !next {
			return refused(v, x)
		}
		return g.changed(v, &x.Request)
	}
	if !next {
		return &abi.BadVerdict{Cause: errors.New("it answered a request that it had let pass")}
	}
	x.Response, x.Status = Message{Header: Header{{"content-type", "application/json"}}, Body: c.Body}, 0
	x.After()
	if err := g.handleResponse(ctx, state, false); err != nil {
		return err
	}
	if x.Code() != 200 {
		return refused(v, x)
	}
	return g.changed(v, &x.Response)
}

// exchange shows a call as a request.
func (g *guest) exchange(c *abi.Context) *Exchange {
	x := &Exchange{
		Method: "POST", URI: path(c.Server, c.Op, c.Tool), Protocol: "HTTP/1.1", MaxBody: g.limits.Body,
		Fixed: true,
	}
	x.Request = Message{Header: headers(c), Body: c.Body}
	if c.Phase != abi.Request {
		x.Request.Body = c.Arguments
	}
	if x.Request.Body == nil {
		x.Request.Body = []byte("{}")
	}
	return x
}

// path is /<server>/<op>/<tool>. Only the operation, whose names are the protocol's, keeps its slash.
func path(server, op, tool string) string {
	return "/" + segment(server) + "/" + op + "/" + segment(tool)
}

// segment escapes what would not be one segment of a path.
func segment(s string) string {
	if s == "." || s == ".." {
		return strings.Repeat("%2E", len(s))
	}
	return url.PathEscape(s)
}

// headers tell who calls what. Values are percent-encoded, so that none holds a control character, a comma or a space.
func headers(c *abi.Context) Header {
	labels := make([]string, len(c.Labels))
	for i, l := range c.Labels {
		labels[i] = url.PathEscape(l)
	}
	h := Header{
		{"content-type", "application/json"},
		{"host", "gatewright"},
		{"x-gatewright-tenant", url.PathEscape(c.Tenant)},
		{"x-gatewright-agent", url.PathEscape(c.Agent)},
		{"x-gatewright-user", url.PathEscape(c.User)},
		{"x-gatewright-op", c.Op},
		{"x-gatewright-server", url.PathEscape(c.Server)},
		{"x-gatewright-tool", url.PathEscape(c.Tool)},
		{"x-gatewright-now", strconv.FormatInt(c.Now, 10)},
		{"x-gatewright-labels", strings.Join(labels, ",")},
	}
	if c.Plan.In {
		h = append(h, Field{"x-gatewright-plan", url.PathEscape(c.Plan.ID)}, Field{"x-gatewright-step", strconv.Itoa(c.Plan.Step)})
	}
	return h
}

// refused makes a denial of a response that the guest wrote: its status is the reason, its body the message.
func refused(v *abi.Verdict, x *Exchange) error {
	v.Kind, v.Reason = abi.Deny, "http_"+strconv.FormatUint(uint64(x.Code()), 10)
	if x.Response.Changed {
		v.Message = abi.CleanMessage(string(x.Response.New))
	}
	return nil
}

// changed makes a rewrite of a body that the guest wrote, unless it wrote the same one.
func (g *guest) changed(v *abi.Verdict, m *Message) error {
	v.Kind = abi.Pass
	if !m.Changed || bytes.Equal(m.New, m.Body) {
		return nil
	}
	limits := canon.DefaultLimits()
	limits.Bytes = g.limits.Body
	if err := canon.Check(m.New, limits); err != nil || canon.KindOf(m.New) != '{' {
		return &abi.BadVerdict{Cause: errors.New("the body it wrote is no JSON object that the gateway would take")}
	}
	v.Kind, v.Body = abi.Rewrite, append(v.Body, m.New...)
	return nil
}
