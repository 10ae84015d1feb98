package armoriq

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/canon"
)

// seen is a server as the caller may see it: with the tools that policy could let it call. One without any is not shown.
type seen struct {
	name  string
	tools []*catalogue.Tool
}

func (s seen) brief() map[string]any {
	names := []string{}
	for _, t := range s.tools {
		names = append(names, t.Name)
	}
	return map[string]any{"mcpId": s.name, "name": s.name, "url": "/mcp/" + s.name, "tools": names}
}

func (r *request) servers() []seen {
	out := []seen{}
	for _, s := range r.Catalogue.Servers(r.c.Caller.Tenant()) {
		if v, ok := r.server(s.Name); ok {
			out = append(out, v)
		}
	}
	return out
}

func (r *request) server(name string) (seen, bool) {
	s, ok := r.Catalogue.Server(r.c.Caller.Tenant(), name)
	if !ok || !s.Enabled {
		return seen{}, false
	}
	v := seen{name: name}
	for _, t := range r.Catalogue.Tools(r.c.Caller.Tenant(), name) {
		if t.Callable() && r.could(name, t.Name) {
			v.tools = append(v.tools, t)
		}
	}
	return v, len(v.tools) > 0
}

// readServers reads GET /mcp/my-servers.
func readServers(r *request) error {
	r.own("catalogue/read", "list_tools", func(context.Context) (any, error) {
		data := []any{}
		for _, s := range r.servers() {
			data = append(data, s.brief())
		}
		return map[string]any{"success": true, "data": data, "servers": data}, nil
	})
	return nil
}

// readTools reads GET /mcp/tools/{name}: a server's tools, as MCP has them and as model providers take them.
func readTools(r *request) error {
	r.own("catalogue/read", "list_tools", func(context.Context) (any, error) {
		s, ok := r.server(r.id)
		if !ok {
			return nil, pipeline.Deny(pipeline.NotFound, "no such server for this caller")
		}
		tools := []any{}
		for _, t := range s.tools {
			tools = append(tools, map[string]any{
				"name": t.Name, "description": t.Description, "inputSchema": t.InputSchema, "type": "function",
				"function": map[string]any{"name": t.Name, "description": t.Description, "parameters": t.InputSchema},
			})
		}
		return map[string]any{"success": true, "data": map[string]any{"mcpId": s.name, "name": s.name, "tools": tools}}, nil
	})
	return nil
}

// amounts are the arguments that hold an amount of money, in the order in which they are looked for everywhere.
var amounts = []string{"amount", "value", "total", "price", "cost"}

// readToolMetadata reads GET /mcp/tool-metadata/{name}: which tools move an amount, by their own input schemas.
func readToolMetadata(r *request) error {
	r.own("catalogue/read", "list_tools", func(context.Context) (any, error) {
		s, ok := r.server(r.id)
		if !ok {
			return nil, pipeline.Deny(pipeline.NotFound, "no such server for this caller")
		}
		about := map[string]any{}
		for _, t := range s.tools {
			found := amountFields(t.InputSchema)
			m := map[string]any{"isFinancial": len(found) > 0}
			if len(found) > 0 {
				m["amountFields"], m["amountUnit"], m["transactionType"] = found, "units", t.Name
			}
			about[t.Name] = m
		}
		return map[string]any{"success": true, "data": map[string]any{
			"mcpId": s.name, "name": s.name, "toolMetadata": about, "roleMapping": map[string]string{},
		}}, nil
	})
	return nil
}

func amountFields(schema json.RawMessage) (found []string) {
	properties, ok := canon.Get(schema, "properties")
	if !ok || canon.KindOf(properties) != '{' {
		return nil
	}
	for _, name := range amounts {
		p, ok := canon.Get(properties, name)
		if !ok || canon.KindOf(p) != '{' {
			continue
		}
		kind, _ := canon.Get(p, "type")
		if slices.Contains([]string{`"number"`, `"integer"`}, string(kind)) {
			found = append(found, name)
		}
	}
	return found
}

// readProposeServer reads POST /mcp/auto-register and POST /iap/sdk/register: a server that the agent would like. An
// address never comes from an agent: an admin reads the proposal, and configures the server or does not.
func readProposeServer(r *request) error {
	form := "auto-register"
	if r.route.path == "/iap/sdk/register" {
		form = "register"
	}
	r.own("proposals/make", "propose", func(ctx context.Context) (any, error) {
		p, err := r.Proposals.ProposeServer(ctx, r.proposer(), form, r.body)
		if err != nil {
			return nil, refusedProposal(err)
		}
		return map[string]any{
			"success": true, "status": "proposed", "proposalId": p.ID, "proxy_endpoint": "",
			"message": "recorded for an admin (gatewright proposal show " + p.ID + "); the server is there once an admin has configured it",
		}, nil
	})
	return nil
}
