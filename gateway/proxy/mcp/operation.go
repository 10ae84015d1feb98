package mcp

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/canon"
)

// operation names what the message asks for in the line's terms.
func (e *exchange) operation(c *pipeline.Call) error {
	c.Op = e.method
	switch e.method {
	case catalogue.CallTool:
		e.heard()
		return e.callTool(c)
	case catalogue.GetPrompt:
		e.heard()
		return e.getPrompt(c)
	case catalogue.ReadResource:
		e.heard()
		return e.readResource(c)
	case "logging/setLevel":
		if !e.modern && e.server != "" {
			return e.setLevel()
		}
	case "tasks/get", "tasks/result", "tasks/list", "tasks/cancel", "tasks/update":
		return e.task(c)
	case "completion/complete":
		return e.complete(c)
	case "subscriptions/listen":
		if e.modern {
			return e.readListen(c)
		}
	case "resources/subscribe", "resources/unsubscribe":
		if !e.modern {
			return e.readSubscribe(c)
		}
	case "tools/list", catalogue.ListPrompts, catalogue.ListResources, catalogue.ListTemplates:
		c.Action, c.Server, c.Answer = lists[e.method].action, e.server, e.answer
		return e.knownServer(c)
	case "server/discover":
		if e.modern {
			c.Action, c.Server, c.Answer = "discover", e.server, e.answer
			return e.knownServer(c)
		}
	case "initialize", "ping":
		if !e.modern {
			c.Action, c.Server, c.Answer = "discover", e.server, e.answer
			return e.knownServer(c)
		}
	case "notifications/initialized", "notifications/cancelled", "notifications/roots/list_changed", "notifications/progress":
		c.Action, c.Server, c.Answer = "discover", e.server, e.answer
		return e.knownServer(c)
	}
	return deny(pipeline.MethodNotFound, "no such method in this protocol version").WithReason("method_not_found")
}

// knownServer refuses a path that names a server the tenant does not have.
func (e *exchange) knownServer(c *pipeline.Call) error {
	if e.server == "" {
		return nil
	}
	for _, s := range e.d.Catalogue.Servers(c.Caller.Tenant()) {
		if s.Name == e.server {
			return nil
		}
	}
	return deny(pipeline.NotFound, "no such server for this caller").WithReason("unknown_server")
}

// callTool reads params.name and params.arguments of tools/call.
func (e *exchange) callTool(c *pipeline.Call) error {
	c.Action, c.Plan = "call_tool", true
	name, err := e.textMember(e.name, "name")
	if err != nil {
		return err
	}
	if c.Args, err = e.arguments(); err != nil {
		return err
	}
	c.Server, c.Name = e.resolveName(c.Caller.Tenant(), catalogue.CallTool, name)
	if err := e.carry(c, true); err != nil {
		return err
	}
	if err := e.mirrored(name); err != nil {
		return err
	}
	if err := e.mirroredParams(c); err != nil {
		return err
	}
	return e.mayBeTask(c)
}

// arguments are params.arguments, an object; {} when the client sends none.
func (e *exchange) arguments() ([]byte, error) {
	switch {
	case e.args == nil:
		return []byte("{}"), nil
	case canon.KindOf(e.args) != '{':
		return nil, deny(pipeline.Malformed, `"params.arguments" must be an object`)
	}
	return e.args, nil
}

// separator stands between a server's name and that of its tool or prompt, on /mcp with several servers.
const separator = "__"

// resolveName finds the server that the name of a tool or a prompt on this path means. On /mcp with one server a name is
// that server's. With several, a name carries its server before "__", as lists show it; a bare name still means the one of
// that name when no other server has one, so that clients survive a second server. What cannot be resolved keeps its name
// and is unknown to the stages. Whatever a name resolves to, the plan's step names the server itself.
func (e *exchange) resolveName(tenant, op, name string) (server, own string) {
	if e.server != "" {
		return e.server, name
	}
	servers := e.d.Catalogue.Servers(tenant)
	known := func(server, own string) bool {
		if op == catalogue.CallTool {
			return e.d.Catalogue.Owns(tenant, server, own)
		}
		_, ok := e.d.Catalogue.Find(tenant, op, server, own)
		return ok
	}
	if len(servers) == 1 && known(servers[0].Name, name) {
		return servers[0].Name, name
	}
	before, after, prefixed := strings.Cut(name, separator)
	if prefixed && slices.ContainsFunc(servers, func(s catalogue.Server) bool { return s.Name == before }) {
		return before, after
	}
	owner, owners := "", 0
	for _, s := range servers {
		if known(s.Name, name) {
			owner = s.Name
			owners++
		}
	}
	switch {
	case owners == 1:
		return owner, name
	case prefixed:
		return before, after
	case len(servers) == 1:
		return servers[0].Name, name
	}
	return "", name
}

// mirrored holds Mcp-Name against the body. Modern clients must send it; a value that is not plain ASCII comes in
// base64 (MCP 2026-07-28, transports).
func (e *exchange) mirrored(name string) error {
	h := e.x.Head.Name
	if h == nil {
		if e.modern {
			return mismatch("Mcp-Name is missing")
		}
		return nil
	}
	if string(h) == name && !bytes.HasPrefix(h, []byte("=?base64?")) {
		return nil
	}
	v, ok := headerValue(h)
	if !ok || v != name {
		return mismatch("Mcp-Name does not say what the body's params say")
	}
	return nil
}

// headerValue undoes the base64 form "=?base64?...?=" of a header value.
func headerValue(b []byte) (string, bool) {
	if in, ok := bytes.CutPrefix(b, []byte("=?base64?")); ok {
		if in, ok = bytes.CutSuffix(in, []byte("?=")); ok {
			out, err := base64.StdEncoding.Strict().DecodeString(string(in))
			return string(out), err == nil
		}
	}
	return string(b), true
}
