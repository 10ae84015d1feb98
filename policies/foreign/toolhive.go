package foreign

import (
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// toolhive reads the words of ToolHive's cedarv1 authorizer: one fixed action an operation, arguments and claims as
// attributes of no type.
type toolhive struct{}

// operation is what one of its actions is here.
type operation struct{ action, theirs, ours string }

var operations = map[types.String]operation{
	"call_tool":     {"call_tool", "Tool", "Tool"},
	"get_prompt":    {"get_prompt", "Prompt", "Prompt"},
	"read_resource": {"read_resource", "Resource", "McpResource"},
}

func (w toolhive) scope(t *translator, p *ast.Policy) (s *scope, bad *trouble) {
	s = &scope{}
	if s.principal, bad = w.principal(t, p.Principal); bad != nil {
		return nil, bad
	}
	ops, bad := w.operations(t, p.Action)
	if bad != nil {
		return nil, bad
	}
	if ops == nil {
		if p.Effect == ast.EffectForbid {
			return nil, stop("list_", "forbid the tools, prompts or resources themselves: lists follow", "lists cannot be forbidden here apart from what is on them")
		}
		s.drop = true
		return s, nil
	}
	return s, w.resource(t, s, ops, p.Resource)
}

func (w toolhive) principal(t *translator, n ast.IsPrincipalScopeNode) (ast.IsPrincipalScopeNode, *trouble) {
	switch v := n.(type) {
	case ast.ScopeTypeAll:
		return v, nil
	case ast.ScopeTypeIs:
		if v.Type == "Client" {
			return ast.ScopeTypeAll{}, nil
		}
	case ast.ScopeTypeEq:
		uid, bad := w.entity(t, v.Entity)
		return ast.ScopeTypeEq{Entity: uid}, bad
	case ast.ScopeTypeIn:
		uid, bad := w.entity(t, v.Entity)
		return ast.ScopeTypeIn{Entity: uid}, bad
	}
	return nil, stop("principal", `principal, principal == Client::"...", or principal in THVGroup::"..."`, "whom this is about cannot be said here")
}

// operations gives what a policy is about: nil for lists alone.
func (toolhive) operations(t *translator, n ast.IsActionScopeNode) ([]operation, *trouble) {
	var uids []types.EntityUID
	switch v := n.(type) {
	case ast.ScopeTypeAll:
		return []operation{{action: "work"}}, nil
	case ast.ScopeTypeEq:
		uids = []types.EntityUID{v.Entity}
	case ast.ScopeTypeIn:
		uids = []types.EntityUID{v.Entity}
	case ast.ScopeTypeInSet:
		uids = v.Entities
	}
	var ops []operation
	for _, uid := range uids {
		op, ok := operations[uid.ID]
		switch {
		case uid.Type == "Action" && ok:
			ops = append(ops, op)
		case uid.Type == "Action" && strings.HasPrefix(string(uid.ID), "list_"):
			t.note("%s is left out: a list shows what may be called", uid)
		default:
			return nil, stop(string(uid.ID), "call_tool, get_prompt or read_resource", "action %s does not exist there", uid)
		}
	}
	return ops, nil
}

func (w toolhive) resource(t *translator, s *scope, ops []operation, n ast.IsResourceScopeNode) *trouble {
	s.action = groups(ops)
	switch v := n.(type) {
	case ast.ScopeTypeEq:
		return w.one(t, s, ops, v.Entity)
	case ast.ScopeTypeIn:
		if v.Entity.Type != "MCP" {
			return stop(string(v.Entity.Type), `resource in MCP::"server"`, "resources in %s do not exist here", v.Entity)
		}
		s.resource = serverScope(t.server(string(v.Entity.ID)))
		return nil
	case ast.ScopeTypeAll:
		server, bad := t.ownServer("resource")
		s.resource = serverScope(server)
		return bad
	}
	return stop("resource", `resource, resource == Tool::"...", or resource in MCP::"..."`, "what this is about cannot be said here")
}

// groups gives the scope of all actions of operations.
func groups(ops []operation) ast.IsActionScopeNode {
	if len(ops) == 1 {
		return ast.ScopeTypeIn{Entity: action(ops[0].action)}
	}
	var s ast.ScopeTypeInSet
	for _, op := range ops {
		s.Entities = append(s.Entities, action(op.action))
	}
	return s
}

// one is the scope of one tool, prompt or resource. A tool's own action gives its arguments their types.
func (w toolhive) one(t *translator, s *scope, ops []operation, uid types.EntityUID) *trouble {
	server, bad := t.ownServer(string(uid.ID))
	if bad != nil || server == "*" {
		return stop(string(uid.ID), "--server NAME says whose it is", "of which server here %s is, is not said", uid)
	}
	for _, op := range operations {
		if types.EntityType(op.theirs) != uid.Type {
			continue
		}
		if ops[0].action == "work" || len(ops) == 1 && ops[0].action == op.action {
			s.action = ast.ScopeTypeIn{Entity: action(op.action)}
		} else {
			return stop(string(uid.Type), "split the policy", "the action and the resource do not go together")
		}
		s.resource = ast.ScopeTypeEq{Entity: types.NewEntityUID(types.EntityType(op.ours), types.String(server)+"/"+uid.ID)}
		if op.action == "call_tool" {
			s.action, s.input = ast.ScopeTypeEq{Entity: action(server + "___" + string(uid.ID))}, true
		}
		return nil
	}
	return stop(string(uid.Type), "Tool, Prompt or Resource", "resource %s does not exist here", uid)
}

func (toolhive) entity(t *translator, uid types.EntityUID) (types.EntityUID, *trouble) {
	switch uid.Type {
	case "Client":
		return t.client(string(uid.ID))
	case "THVGroup":
		return t.group("THVGroup", string(uid.ID))
	case "MCP":
		return types.NewEntityUID("Server", types.String(t.server(string(uid.ID)))), nil
	}
	return uid, stop(string(uid.ID), "write it in the scope", "%s cannot be named in a condition", uid)
}

// leaf translates arguments, and refuses what else is read of the context and the resource.
func (toolhive) leaf(t *translator, n ast.IsNode) (ast.IsNode, bool, *trouble) {
	arg, name, asks := attribute(n)
	if arg == nil || !isVariable(arg, "resource", "context", "principal") {
		return nil, false, nil
	}
	theirs, isArg := strings.CutPrefix(string(name), "arg_")
	switch {
	case isArg && !isVariable(arg, "principal"):
		if !t.input {
			return nil, false, stop(string(name), `name the tool: action == Action::"call_tool", resource == Tool::"..."`, "an argument of no tool in particular has no type here")
		}
		if asks {
			return has(input(), types.String(theirs)), true, nil
		}
		t.note("arguments have the types of the tool's schema here, integers among them, where ToolHive makes every number a decimal: look at comparisons")
		return access(input(), types.String(theirs)), true, nil
	case name == "name" && !asks && isVariable(arg, "resource") && t.input:
		return access(arg, name), true, nil
	}
	return nil, false, stop(string(name), readable+`; of claims, whether one is or contains a text`, "%s is not known here", name)
}

// readable is a hint.
const readable = "policies/default/schema.cedarschema says what a policy can read here"

// attribute takes x.name and x has name apart.
func attribute(n ast.IsNode) (arg ast.IsNode, name types.String, asks bool) {
	switch v := n.(type) {
	case ast.NodeTypeAccess:
		return v.Arg, v.Value, false
	case ast.NodeTypeHas:
		return v.Arg, v.Value, true
	}
	return nil, "", false
}

// hint is what a tool says of itself: its name here, and what it is here when the tool does not say.
type hint struct {
	ours   types.String
	absent []bool
}

var hints = map[types.String]hint{
	"readOnlyHint":    {"readOnly", []bool{false}},
	"destructiveHint": {"destructive", []bool{true, false}}, // false for a tool that says it only reads
	"idempotentHint":  {"idempotent", []bool{false}},
	"openWorldHint":   {"openWorld", []bool{true}},
}

func (w toolhive) fact(t *translator, n ast.IsNode) *fact {
	if f := claimFact(t, n); f != nil {
		return f
	}
	return hintFact(t, n)
}

// claimFact recognises claims: principal.claim_k == "v", principal.claim_k.contains("v"), and whether there is one. The
// context has the same.
func claimFact(t *translator, n ast.IsNode) *fact {
	if arg, name, asks := attribute(n); asks {
		if key, ok := claimOf(arg, name); ok {
			return &fact{key: "claim " + key, has: true, word: string(name)}
		}
		return nil
	}
	left, value, ok := sides(n)
	if v, isSet := n.(ast.NodeTypeContains); isSet {
		left = v.Left
		value, ok = text(v.Right)
	}
	if !ok {
		return nil
	}
	arg, name, asks := attribute(left)
	key, isClaim := claimOf(arg, name)
	if asks || !isClaim {
		return nil
	}
	f := &fact{key: "claim " + key, word: string(name), guard: "ask `principal has " + string(name) + " &&` before it"}
	if key == "sub" {
		uid, bad := t.client(value)
		f.out, f.bad, f.always = principalIs(uid), bad, true
		return f
	}
	uid, bad := t.group(key, value)
	f.out, f.bad = principalIn(uid), bad
	return f
}

func claimOf(arg ast.IsNode, name types.String) (string, bool) {
	if arg == nil || !isVariable(arg, "principal", "context") {
		return "", false
	}
	return strings.CutPrefix(string(name), "claim_")
}

// hintFact recognises resource.readOnlyHint == true and its like, and whether the tool says so.
func hintFact(t *translator, n ast.IsNode) *fact {
	want := true
	at := n
	if v, ok := n.(ast.NodeTypeEquals); ok {
		value, isValue := v.Right.(ast.NodeValue)
		b, isBool := value.Value.(types.Boolean)
		if !isValue || !isBool {
			return nil
		}
		at, want = v.Left, bool(b)
	}
	arg, name, asks := attribute(at)
	h, ok := hints[name]
	if !ok || !isVariable(arg, "resource") {
		return nil
	}
	f := &fact{key: string(name), has: asks, word: string(name), guard: "name the tools that are meant: this gateway takes what a tool does not say for the worse"}
	f.out = ast.NodeTypeEquals{BinaryNode: ast.BinaryNode{Left: access(arg, h.ours), Right: ast.NodeValue{Value: types.Boolean(want)}}}
	for _, b := range h.absent {
		f.spreads = f.spreads || b == want
	}
	if name == "destructiveHint" && !asks {
		t.note("a tool that calls itself both read-only and destructive counts as read-only here")
	}
	return f
}
