package policies

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
)

// The operations that reach a server.
const (
	opCall   = "call_tool"
	opRead   = "read_resource"
	opPrompt = "get_prompt"
)

// tool is one ToolDef, ready to be asked about.
type tool struct {
	key    targetKey
	op     string
	action types.EntityUID
	entity types.Entity
	input  *shape
}

// newTool prepares a definition. Its errors concern this tool alone: it is left out, and calls of it are refused.
func newTool(d ToolDef) (*tool, error) {
	op, prefix, typ := d.Op, "", types.EntityType("Tool")
	switch d.Op {
	case "", opCall:
		op = opCall
	case opRead:
		prefix, typ = "resource:", "McpResource"
	case opPrompt:
		prefix, typ = "prompt:", "Prompt"
	default:
		return nil, fmt.Errorf("operation %q is not one a tool can have", d.Op)
	}
	if d.Server == "" || d.Name == "" {
		return nil, errors.New("the server or the name is empty")
	}
	input, err := inputShape(d.InputSchema)
	if err != nil {
		return nil, err
	}
	t := &tool{op: op, input: input, key: targetKey{action: op, server: d.Server, name: d.Name}}
	t.action = actionUID(prefix + d.Server + "___" + d.Name)
	t.entity = resourceEntity(typ, d.Server, d.Name)
	if op == opCall {
		t.entity.Attributes = toolAttributes(&d)
	}
	return t, nil
}

func toolAttributes(d *ToolDef) types.Record {
	return types.NewRecord(types.RecordMap{
		"name":        types.String(d.Name),
		"sensitivity": types.Long(d.Sensitivity),
		"readOnly":    types.Boolean(d.ReadOnly),
		"destructive": types.Boolean(d.Destructive),
		"idempotent":  types.Boolean(d.Idempotent),
		"openWorld":   types.Boolean(d.OpenWorld),
		"labels":      stringSet(d.Labels),
	})
}

// resourceEntity makes a tool, prompt, resource or model from its names alone.
func resourceEntity(typ types.EntityType, server, name string) types.Entity {
	attrs := types.RecordMap{"name": types.String(name)}
	if typ == "McpResource" {
		scheme, _, _ := strings.Cut(name, ":")
		attrs = types.RecordMap{"uri": types.String(name), "scheme": types.String(scheme)}
	}
	return types.Entity{
		UID:        types.NewEntityUID(typ, types.String(server+"/"+name)),
		Parents:    types.NewEntityUIDSet(types.NewEntityUID("Server", types.String(server))),
		Attributes: types.NewRecord(attrs),
	}
}

func stringSet(list []string) types.Set {
	values := make([]types.Value, len(list))
	for i, s := range list {
		values[i] = types.String(s)
	}
	return types.NewSet(values...)
}

// targetKey names what is asked for. Organization is set only where the resource is the caller's organization itself.
type targetKey struct{ action, server, name, organization string }

// target is an action on a resource, with the policies that may speak about it.
type target struct {
	key      targetKey // of a tool that the catalogue knows
	action   types.Entity
	resource types.Entity
	size     int    // bytes of the resource
	input    *shape // nil if the action has no arguments
	buckets  []bucket
}

// view is what evaluation may see: the caller, the action, the resource, and nothing of anybody else.
type view struct {
	caller *caller
	target *target
	others types.EntityGetter // of a world that knows more than one call; nil in the gateway
}

// Get implements cedar-go's entity look-up.
func (v *view) Get(u types.EntityUID) (types.Entity, bool) {
	switch u {
	case v.caller.entity.UID:
		return v.caller.entity, true
	case v.target.resource.UID:
		return v.target.resource, true
	case v.target.action.UID:
		return v.target.action, true
	}
	if v.others != nil {
		return v.others.Get(u)
	}
	return types.Entity{}, false
}

var _ types.EntityGetter = (*view)(nil)

// caller is a Principal as Cedar sees it.
type caller struct {
	print  uint64 // of the Principal's contents when this was made
	entity types.Entity
	size   int // bytes of the entity
	keys   []scopeKey
	trust  int64
	err    error
}

// newCaller builds the entity of a principal. A principal of an unknown kind or status can do nothing.
func newCaller(p *Principal, print uint64) *caller {
	c := &caller{print: print, trust: p.Trust}
	switch {
	case p.Kind != "Agent" && p.Kind != "User":
		c.err = fmt.Errorf("principal of unknown kind %q", p.Kind)
	case p.ID == "" || p.Tenant == "":
		c.err = errors.New("principal without id or tenant")
	case !slices.Contains([]string{"active", "pending", "suspended", "revoked"}, p.Status):
		c.err = fmt.Errorf("principal of unknown status %q", p.Status)
	}
	if c.err != nil {
		return c
	}
	parents := []types.EntityUID{types.NewEntityUID("Organization", types.String(p.Tenant))}
	for _, t := range p.Teams {
		parents = append(parents, types.NewEntityUID("Team", types.String(t)))
	}
	for _, r := range p.Roles {
		parents = append(parents, types.NewEntityUID("Role", types.String(r)))
	}
	servers := make([]types.Value, len(p.TalksTo))
	for i, s := range p.TalksTo {
		servers[i] = types.NewEntityUID("Server", types.String(s))
	}
	attrs := types.RecordMap{
		"status":  types.NewEntityUID("Status", types.String(p.Status)),
		"trust":   types.Long(p.Trust),
		"labels":  stringSet(p.Labels),
		"talksTo": types.NewSet(servers...),
	}
	if p.Kind == "Agent" && p.Owner != "" {
		attrs["owner"] = types.NewEntityUID("User", types.String(p.Owner))
	}
	c.entity = types.Entity{
		UID:        types.NewEntityUID(types.EntityType(p.Kind), types.String(p.ID)),
		Parents:    types.NewEntityUIDSet(parents...),
		Attributes: types.NewRecord(attrs),
	}
	c.size = entitySize(&c.entity)
	c.keys = keysOf(c.entity.UID, parents)
	return c
}

// entitySize bounds the bytes of an entity, its groups included.
func entitySize(e *types.Entity) int {
	n := sizeOf(e.UID) + sizeOf(e.Attributes)
	for p := range e.Parents.All() {
		n += sizeOf(p)
	}
	return n
}
