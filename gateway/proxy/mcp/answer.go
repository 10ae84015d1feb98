package mcp

import (
	"context"
	"fmt"
	"slices"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/policies"
)

const (
	instructions = "Every tool call goes through Gatewright: it must be a step of a signed plan, shown as an intent token in the " +
		"Gatewright-Intent header. Answers carry a receipt in _meta under gatewright/receipt."
	capabilities = `{"tools":{"listChanged":false}}`
)

// answerHere answers the operations that are the gateway's own.
func (e *exchange) answerHere(_ context.Context, c *pipeline.Call) error {
	var b []byte
	switch e.method {
	case "initialize":
		b = e.initialize()
	case "server/discover":
		b = append(b, `{"supportedVersions":["`+modernVersion+`"`...)
		for _, v := range legacyVersions {
			b = append(b, `,"`+v+`"`...)
		}
		b = append(b, `],"capabilities":`+capabilities+`,"ttlMs":0,"cacheScope":"private","instructions":`...)
		b = append(canon.AppendString(b, instructions), '}')
	case "tools/list":
		var err error
		if b, err = e.list(c); err != nil {
			return err
		}
	default:
		b = append(b, `{}`...)
	}
	c.Reply.Result = b
	return nil
}

// initialize answers the handshake of the older protocols. There is no session: nothing is kept between requests.
func (e *exchange) initialize() []byte {
	version := latestLegacy
	if raw, ok := canon.Get(e.params, "protocolVersion"); e.params != nil && ok && canon.KindOf(raw) == '"' {
		if v, err := canon.Unquote(raw); err == nil && slices.Contains(legacyVersions, v) {
			version = v
		}
	}
	b := append([]byte(nil), `{"protocolVersion":"`+version+`","capabilities":`+capabilities+`,"serverInfo":`...)
	b = e.d.appendServerInfo(b)
	b = append(b, `,"instructions":`...)
	b = canon.AppendString(b, instructions)
	return append(b, '}')
}

func (d *Dialect) appendServerInfo(b []byte) []byte {
	b = append(b, `{"name":"gatewright","title":"Gatewright","version":`...)
	return append(canon.AppendString(b, d.Version), '}')
}

// list is tools/list: the tools of the path's servers that policy could permit this caller for some arguments, in one
// page and a fixed order. It is private to the caller.
func (e *exchange) list(c *pipeline.Call) ([]byte, error) {
	tenant := c.Caller.Tenant()
	servers := e.d.Catalogue.Servers(tenant)
	prefix := e.server == "" && len(servers) > 1
	usable := e.usable(c)
	b := append([]byte(nil), `{"tools":[`...)
	n := 0
	for _, s := range servers {
		if e.server != "" && s.Name != e.server {
			continue
		}
		for _, t := range e.d.Catalogue.Tools(tenant, s.Name) {
			if !t.Callable() || !usable.Has(t.Server, t.Name) { // policies may know a tool that waits for a person
				continue
			}
			if n > 0 {
				b = append(b, ',')
			}
			n++
			var err error
			if b, err = appendTool(b, t, prefix); err != nil {
				return nil, err
			}
			if len(b) > maxList {
				return nil, deny(pipeline.UpstreamTooLarge, "the tools of these servers do not fit into one list: list them at /mcp/SERVER, or ask for smaller definitions")
			}
		}
	}
	if e.modern {
		return append(b, `],"ttlMs":0,"cacheScope":"private"}`...), nil
	}
	return append(b, `]}`...), nil
}

// maxList bounds a list, in bytes: it is built in memory for every caller who asks.
const maxList = 8 << 20

// usable asks policy which tools the caller could use at all: with some arguments, as a step of some plan.
func (e *exchange) usable(c *pipeline.Call) *policies.ToolList {
	a, engine := e.someCall(c)
	a.Server = e.server
	return engine.ToolList(&a)
}

// visible asks policy about one tool.
func (e *exchange) visible(c *pipeline.Call, t *catalogue.Tool) bool {
	a, engine := e.someCall(c)
	a.Server, a.Tool = t.Server, t.Name
	d := engine.Decide(&a)
	return d.Allowed() || d.Held()
}

// someCall is a call of a tool by this caller, with unknown arguments, and the engine that decides about it: the one that the
// call itself is decided by.
func (e *exchange) someCall(c *pipeline.Call) (a policies.Ask, engine *policies.Engine) {
	a = policies.Ask{
		Principal: c.Caller.Principal(), User: c.Caller.User(), Action: "call_tool",
		Plan: policies.PlanFacts{InPlan: true}, IP: c.Remote, TLS: c.TLS, Now: c.Started,
	}
	if e.d.Overlays != nil {
		a.Overlays = e.d.Overlays(c.Caller.Tenant())
	}
	return a, c.Take(e.d.Policies).Engine
}

// toolMembers are the members of a tool definition that are shown on; the rest is dropped.
var toolMembers = map[string]bool{
	"title": true, "description": true, "inputSchema": true, "outputSchema": true, "annotations": true, "icons": true,
}

func appendTool(b []byte, t *catalogue.Tool, prefix bool) ([]byte, error) {
	name := t.Name
	if prefix {
		name = t.Server + "__" + t.Name
	}
	b = append(b, `{"name":`...)
	b = canon.AppendString(b, name)
	err := canon.Each(t.Raw, func(key, value []byte) error {
		if toolMembers[string(key)] {
			b = append(b, ',')
			b = canon.AppendString(b, string(key))
			b = append(append(b, ':'), value...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("show tool %s: %w", t.Name, err)
	}
	return append(b, '}'), nil
}
