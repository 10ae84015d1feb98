package mcp

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/policies"
)

// A page of a list holds at most so many items, and ends before it has so many bytes: most clients ask for one page.
const (
	pageItems = 1000
	pageBytes = 4 << 20
)

// lists are MCP's lists: the policy action that a list is, the member that holds it, what using an item of it is to policy,
// and the members of a definition that are shown on; the rest of a definition is dropped.
var lists = map[string]struct {
	action, member, use string
	shown               map[string]bool
}{
	"tools/list":          {"list_tools", "tools", "call_tool", members("title", "description", "inputSchema", "outputSchema", "annotations", "icons")},
	catalogue.ListPrompts: {"list_prompts", "prompts", "get_prompt", members("title", "description", "arguments", "icons")},
	catalogue.ListResources: {"list_resources", "resources", "read_resource",
		members("name", "title", "description", "mimeType", "annotations", "size", "icons")},
	catalogue.ListTemplates: {"list_resource_templates", "resourceTemplates", "read_resource",
		members("name", "title", "description", "mimeType", "annotations", "icons")},
}

func members(names ...string) map[string]bool {
	m := map[string]bool{}
	for _, n := range names {
		m[n] = true
	}
	return m
}

// listed is one item of a list. Items are in the order of their servers, and of their names there.
type listed struct {
	server, name string
	key          string // the member that names it: name, uri or uriTemplate
	raw          []byte // its definition
}

// list answers a list: of the path's servers what policy could permit this caller, for some arguments, in a fixed order. It is
// private to the caller.
func (e *exchange) list(c *pipeline.Call) ([]byte, error) {
	kind := lists[c.Op]
	servers := e.d.Catalogue.Servers(c.Caller.Tenant())
	after, err := e.openCursor(c)
	if err != nil {
		return nil, err
	}
	shown := e.shownBy(c, kind.use)
	b := append([]byte(nil), `{"`+kind.member+`":[`...)
	n := 0
	var last *listed
	for _, s := range servers {
		if e.server != "" && s.Name != e.server || strings.Compare(s.Name, after.server) < 0 {
			continue
		}
		for _, item := range e.items(c, c.Op, s.Name) {
			if !after.before(&item) || !shown(item.server, item.name) {
				continue
			}
			if n == pageItems || len(b)+len(item.raw) > pageBytes && n > 0 {
				return e.page(b, c, last)
			}
			if n > 0 {
				b = append(b, ',')
			}
			if b, err = e.appendItem(b, &item, kind.shown, e.server == "" && len(servers) > 1); err != nil {
				return nil, err
			}
			last = &item
			n++
		}
	}
	return e.page(b, c, nil)
}

// items are what a server has for this list.
func (e *exchange) items(c *pipeline.Call, op, server string) (out []listed) {
	tenant := c.Caller.Tenant()
	var tools []*catalogue.Tool
	switch op {
	case catalogue.ListPrompts:
		tools, _ = e.d.Catalogue.Prompts(tenant, server)
	case catalogue.ListResources, catalogue.ListTemplates:
		key := "uri"
		if op == catalogue.ListTemplates {
			key = "uriTemplate"
		}
		resources, _ := e.d.Catalogue.Resources(tenant, server, op == catalogue.ListTemplates)
		for _, r := range resources {
			out = append(out, listed{server, r.URI, key, r.Raw})
		}
	default:
		tools = e.d.Catalogue.Tools(tenant, server)
	}
	for _, t := range tools {
		if t.Callable() { // policies may know a tool that waits for a person
			out = append(out, listed{server, t.Name, "name", t.Raw})
		}
	}
	return out
}

// shownBy says which items this caller is shown: those that it could use at all, as a step of some plan.
func (e *exchange) shownBy(c *pipeline.Call, use string) func(server, name string) bool {
	if use == "call_tool" {
		return e.usable(c).Has
	}
	return func(server, name string) bool { return e.permitted(c, use, server, name) }
}

func (e *exchange) appendItem(b []byte, item *listed, shown map[string]bool, prefix bool) ([]byte, error) {
	name := item.name
	if prefix && item.key == "name" {
		name = item.server + separator + name
	} else if prefix {
		name = mappedURI(item.server, name)
	}
	b = append(b, `{"`+item.key+`":`...)
	b = canon.AppendString(b, name)
	err := canon.Each(item.raw, func(key, value []byte) error {
		if shown[string(key)] {
			b = canon.AppendString(append(b, ','), string(key))
			b = append(append(b, ':'), value...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("show %s of %s: %w", item.name, item.server, err)
	}
	return append(e.execution(b, item), '}'), nil
}

// page ends a page. last is its last item when there are more.
func (e *exchange) page(b []byte, c *pipeline.Call, last *listed) ([]byte, error) {
	b = append(b, ']')
	if last != nil {
		cursor, err := e.d.Cursors.Seal(e.ctx, c.Caller.Tenant(), cursorSeal, boundTo(c), []byte(last.server+"\n"+last.name))
		if err != nil {
			return nil, fmt.Errorf("seal a cursor: %w", err)
		}
		b = append(b, `,"nextCursor":`...)
		b = canon.AppendString(b, cursor)
	}
	if e.modern {
		b = append(b, `,"ttlMs":0,"cacheScope":"private"`...)
	}
	return append(b, '}'), nil
}

// place is the last item of the page before; the zero place is before everything.
type place struct{ server, name string }

func (p place) before(item *listed) bool {
	return cmp.Or(strings.Compare(p.server, item.server), strings.Compare(p.name, item.name)) < 0
}

// cursorSeal is what cursors are sealed for: one is good for the caller, the list and the path that it was given for, while the key
// that it is sealed under lives, and tells nobody what it holds.
const cursorSeal = "cursor"

// boundTo is what a cursor is good for.
func boundTo(c *pipeline.Call) []byte {
	return []byte(strings.Join([]string{c.Caller.Tenant(), c.Caller.Session(), c.Op, c.Server}, "\n"))
}

// openCursor reads params.cursor.
func (e *exchange) openCursor(c *pipeline.Call) (p place, err error) {
	raw, _ := canon.Get(e.params, "cursor")
	if raw == nil || canon.KindOf(raw) == 'n' {
		return p, nil
	}
	text, err := stringOf(raw, `"params.cursor"`)
	if err != nil {
		return p, err
	}
	plain, ok := e.d.Cursors.Open(e.ctx, c.Caller.Tenant(), cursorSeal, boundTo(c), text)
	if !ok {
		return p, deny(pipeline.Malformed, "the cursor is not one of this list, or its time is over: list again without one").WithReason("cursor")
	}
	p.server, p.name, _ = strings.Cut(string(plain), "\n")
	return p, nil
}

// usable asks policy which tools the caller could use at all: with some arguments, as a step of some plan.
func (e *exchange) usable(c *pipeline.Call) *policies.ToolList {
	a, engine := e.someCall(c)
	a.Server = e.server
	return engine.ToolList(&a)
}

// permitted asks policy about one tool, prompt or resource.
func (e *exchange) permitted(c *pipeline.Call, use, server, name string) bool {
	a, engine := e.someCall(c)
	a.Action, a.Server, a.Tool = use, server, name
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
