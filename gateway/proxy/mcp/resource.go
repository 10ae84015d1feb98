package mcp

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/canon"
)

// On /mcp with several servers a resource's URI carries its server in the scheme, "gatewright+SERVER:URI" (RFC 3986 3.1 and
// 3.3: an opaque path, which clients leave as it is). Plans, policies, filters and records know the server's own URI.
const schemePrefix = "gatewright+"

func mappedURI(server, uri string) string { return schemePrefix + server + ":" + uri }

// readResource reads params.uri of resources/read.
func (e *exchange) readResource(c *pipeline.Call) error {
	c.Action, c.Plan, c.Args = "read_resource", true, []byte("{}")
	raw, _ := canon.Get(e.params, "uri")
	uri, err := e.textMember(raw, "uri")
	if err != nil {
		return err
	}
	c.Server, c.Name = e.resolveURI(c.Caller.Tenant(), uri)
	if err := e.carry(c, true); err != nil {
		return err
	}
	return e.mirrored(uri)
}

// textMember reads a short text of params.
func (e *exchange) textMember(raw []byte, name string) (string, error) {
	if raw == nil {
		return "", deny(pipeline.Malformed, `"params.`+name+`" is missing`)
	}
	if canon.KindOf(raw) != '"' {
		return "", deny(pipeline.Malformed, `"params.`+name+`" must be a string`)
	}
	text, err := canon.Unquote(raw)
	if err != nil {
		return "", fmt.Errorf("read params.%s: %w", name, err)
	}
	if text == "" || len(text) > maxName {
		return text, deny(pipeline.Malformed, `"params.`+name+`" must have 1 to 1,024 bytes`)
	}
	return text, nil
}

// resolveURI finds the server that a URI on this path means, and the URI as that server knows it. On /mcp a URI without a
// server's name still means the one server that has resources, or the one that lists it.
func (e *exchange) resolveURI(tenant, uri string) (server, own string) {
	if e.server != "" {
		return e.server, uri
	}
	if rest, ok := strings.CutPrefix(uri, schemePrefix); ok {
		if server, own, ok = strings.Cut(rest, ":"); ok {
			return server, own
		}
	}
	having, owner, owners := 0, "", 0
	for _, s := range e.d.Catalogue.Servers(tenant) {
		list, has := e.d.Catalogue.Resources(tenant, s.Name, false)
		if !has {
			continue
		}
		if having++; having == 1 {
			server = s.Name
		}
		for _, r := range list {
			if r.URI == uri {
				owner = s.Name
				owners++
			}
		}
	}
	switch {
	case owners == 1:
		return owner, uri
	case having == 1:
		return server, uri
	}
	return "", uri
}

// getPrompt reads params.name and params.arguments of prompts/get.
func (e *exchange) getPrompt(c *pipeline.Call) error {
	c.Action, c.Plan = "get_prompt", true
	name, err := e.textMember(e.name, "name")
	if err != nil {
		return err
	}
	if c.Args, err = e.arguments(); err != nil {
		return err
	}
	c.Server, c.Name = e.resolveName(c.Caller.Tenant(), catalogue.GetPrompt, name)
	if err := e.carry(c, true); err != nil {
		return err
	}
	return e.mirrored(name)
}

// complete reads completion/complete, which helps with the arguments of a prompt or a template that the caller may use. What
// goes on is its params with the name as the server knows it; nothing else a client adds does.
func (e *exchange) complete(c *pipeline.Call) error {
	c.Action = "complete"
	ref, _ := canon.Get(e.params, "ref")
	kind, _ := canon.Get(ref, "type")
	op, action, member := catalogue.GetPrompt, "get_prompt", "name"
	if string(kind) == `"ref/resource"` {
		op, action, member = catalogue.ReadResource, "read_resource", "uri"
	} else if string(kind) != `"ref/prompt"` {
		return deny(pipeline.Malformed, `"params.ref.type" must be "ref/prompt" or "ref/resource"`)
	}
	raw, _ := canon.Get(ref, member)
	name, err := e.textMember(raw, "ref."+member)
	if err != nil {
		return err
	}
	tenant := c.Caller.Tenant()
	if op == catalogue.GetPrompt {
		c.Server, c.Name = e.resolveName(tenant, op, name)
	} else {
		c.Server, c.Name = e.resolveURI(tenant, name)
	}
	if _, ok := e.d.Catalogue.Find(tenant, op, c.Server, c.Name); !ok || !e.permitted(c, action, c.Server, c.Name) {
		return deny(pipeline.NotFound, "no such prompt or resource template for this caller").WithReason("unknown_reference")
	}
	b := append([]byte(`{"ref":{"type":`), kind...)
	b = canon.AppendString(append(b, `,"`+member+`":`...), c.Name)
	b = append(b, '}')
	for _, m := range [...]string{"argument", "context"} {
		if v, ok := canon.Get(e.params, m); ok {
			b = append(append(b, `,"`+m+`":`...), v...)
		}
	}
	c.Args = append(b, '}')
	return e.carry(c, true)
}

// dressed is a result as a client of /mcp reads it: where several servers stand behind that address, the URIs of the
// resources in it carry their server. The record's digest is of the result as the server gave it.
func (e *exchange) dressed(result []byte) []byte { return e.dress(e.call.Op, result) }

// dress is dressed for the result of an operation.
func (e *exchange) dress(op string, result []byte) []byte {
	c := &e.call
	if c.Answer != nil || e.server != "" || !bytes.Contains(result, []byte(`"uri"`)) || len(e.d.Catalogue.Servers(c.Caller.Tenant())) < 2 {
		return result
	}
	switch op {
	case catalogue.ReadResource:
		return e.each(result, "contents", e.mapURI)
	case catalogue.CallTool:
		return e.each(result, "content", e.mapContent)
	case catalogue.GetPrompt:
		return e.each(result, "messages", func(message []byte) []byte { return replace(message, "content", e.mapContent) })
	}
	return result
}

// mapContent maps a content block: a link to a resource, or one that is embedded.
func (e *exchange) mapContent(block []byte) []byte {
	switch kind, _ := canon.Get(block, "type"); string(kind) {
	case `"resource_link"`:
		return e.mapURI(block)
	case `"resource"`:
		return replace(block, "resource", e.mapURI)
	}
	return block
}

func (e *exchange) mapURI(object []byte) []byte {
	return replace(object, "uri", func(raw []byte) []byte {
		uri, err := canon.Unquote(raw)
		if canon.KindOf(raw) != '"' || err != nil {
			return raw
		}
		return canon.AppendString(nil, mappedURI(e.call.Server, uri))
	})
}

// each rewrites the elements of an object's array member.
func (e *exchange) each(object []byte, member string, f func(element []byte) []byte) []byte {
	return replace(object, member, func(array []byte) []byte {
		if canon.KindOf(array) != '[' {
			return array
		}
		b := []byte{'['}
		_ = canon.EachElement(array, func(i int, value []byte) error { // checked JSON: cannot fail
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, f(value)...)
			return nil
		})
		return append(b, ']')
	})
}

// replace rewrites one member of a checked object; what is no object, or does not have it, stays as it is.
func replace(object []byte, member string, f func(value []byte) []byte) []byte {
	if canon.KindOf(object) != '{' {
		return object
	}
	b := []byte{'{'}
	_ = canon.Each(object, func(key, value []byte) error { // checked JSON: cannot fail
		b = canon.AppendString(comma(b, 1), string(key))
		if b = append(b, ':'); string(key) == member {
			value = f(value)
		}
		b = append(b, value...)
		return nil
	})
	return append(b, '}')
}
