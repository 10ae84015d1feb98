package mcp

import (
	"strconv"
	"strings"
	"sync"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/canon"
)

// binding ties a property of a tool's input schema to the Mcp-Param-* header that mirrors it (x-mcp-header).
type binding struct {
	path   []string
	header string // lower case, without the prefix
}

// bindings keeps what was read of each tool definition. A catalogue holds boundedly many; entries of definitions that
// are gone are dropped when there are more than maxBindings.
type bindings struct {
	mu     sync.RWMutex
	byTool map[*catalogue.Tool][]binding
}

const (
	maxBindings     = 16384
	maxBindingDepth = 8
)

func (b *bindings) of(t *catalogue.Tool) []binding {
	b.mu.RLock()
	found, ok := b.byTool[t]
	b.mu.RUnlock()
	if ok {
		return found
	}
	found = readBindings(t.InputSchema, nil, nil)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byTool == nil || len(b.byTool) >= maxBindings {
		b.byTool = map[*catalogue.Tool][]binding{}
	}
	b.byTool[t] = found
	return found
}

func readBindings(schema []byte, path []string, out []binding) []binding {
	props, ok := canon.Get(schema, "properties")
	if !ok || canon.KindOf(props) != '{' || len(path) >= maxBindingDepth {
		return out
	}
	_ = canon.Each(props, func(key, value []byte) error {
		if canon.KindOf(value) != '{' {
			return nil
		}
		p := append(append([]string(nil), path...), string(key))
		if h, ok := canon.Get(value, "x-mcp-header"); ok && canon.KindOf(h) == '"' {
			if name, err := canon.Unquote(h); err == nil && name != "" {
				out = append(out, binding{p, strings.ToLower(name)})
			}
		}
		out = readBindings(value, p, out)
		return nil
	})
	return out
}

// mirroredParams holds each Mcp-Param-* header against the argument it mirrors. A modern client must send those that
// the schema asks for; from any client, one that contradicts the body is refused.
func (e *exchange) mirroredParams(c *pipeline.Call) error {
	t, ok := e.d.Catalogue.Lookup(c.Caller.Tenant(), c.Server, c.Name)
	if !ok {
		return nil
	}
	for _, b := range e.d.bindings.of(t) {
		header := e.param(b.header)
		arg, given := argument(c.Args, b.path)
		switch {
		case !given && header != nil:
			return mismatch("Mcp-Param-" + b.header + " mirrors an argument that the body does not have")
		case given && header == nil && e.modern:
			return mismatch("Mcp-Param-" + b.header + " is missing")
		case given && header != nil && !sameValue(header, arg):
			return mismatch("Mcp-Param-" + b.header + " does not say what the body says")
		}
	}
	return nil
}

func (e *exchange) param(name string) []byte {
	for _, p := range e.x.Head.Params {
		if strings.EqualFold(string(p.Name), name) {
			return p.Value
		}
	}
	return nil
}

// argument finds the value at a path of property names; null counts as absent.
func argument(args []byte, path []string) ([]byte, bool) {
	for _, p := range path {
		if canon.KindOf(args) != '{' {
			return nil, false
		}
		v, ok := canon.Get(args, p)
		if !ok || canon.KindOf(v) == 'n' {
			return nil, false
		}
		args = v
	}
	return args, true
}

func sameValue(header, arg []byte) bool {
	h, ok := headerValue(header)
	if !ok {
		return false
	}
	switch canon.KindOf(arg) {
	case '"':
		s, err := canon.Unquote(arg)
		return err == nil && s == h
	case 't', 'f':
		return h == string(arg)
	case '0':
		a, errA := strconv.ParseFloat(string(arg), 64)
		b, errB := strconv.ParseFloat(h, 64)
		return errA == nil && errB == nil && a == b && a == float64(int64(a))
	}
	return false
}
