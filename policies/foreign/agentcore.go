package foreign

import (
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// agentcore reads the words of Amazon Bedrock AgentCore: one action a tool of a target, claims as tags, one gateway.
type agentcore struct{}

func (w agentcore) scope(t *translator, p *ast.Policy) (s *scope, bad *trouble) {
	s = &scope{}
	if s.principal, bad = w.principal(t, p.Principal); bad != nil {
		return nil, bad
	}
	if bad := w.gateway(t, p.Resource); bad != nil {
		return nil, bad
	}
	return s, w.action(t, s, p.Action)
}

func (agentcore) principal(t *translator, n ast.IsPrincipalScopeNode) (ast.IsPrincipalScopeNode, *trouble) {
	switch v := n.(type) {
	case ast.ScopeTypeAll:
		return v, nil
	case ast.ScopeTypeIs:
		if v.Type == "AgentCore::OAuthUser" {
			t.note("principal is AgentCore::OAuthUser is left out: everybody whom this gateway asks policies about is authenticated, agents and users")
			return ast.ScopeTypeAll{}, nil
		}
	case ast.ScopeTypeEq:
		if v.Entity.Type == "AgentCore::OAuthUser" {
			uid, bad := t.client(string(v.Entity.ID))
			return ast.ScopeTypeEq{Entity: uid}, bad
		}
	}
	return nil, stop("principal", `principal, principal is AgentCore::OAuthUser, or principal == AgentCore::OAuthUser::"..."`, "whom this is about cannot be said here")
}

// gateway takes policies of one gateway: this one.
func (agentcore) gateway(t *translator, n ast.IsResourceScopeNode) *trouble {
	switch v := n.(type) {
	case ast.ScopeTypeAll:
		return nil
	case ast.ScopeTypeIs:
		if v.Type == "AgentCore::Gateway" {
			return nil
		}
	case ast.ScopeTypeEq:
		arn := string(v.Entity.ID)
		if v.Entity.Type != "AgentCore::Gateway" {
			break
		}
		if t.gateway != "" && t.gateway != arn {
			return stop(arn, "translate the policies of each gateway apart, for the servers that it stands before", "policies of two gateways")
		}
		t.gateway = arn
		t.note("resource == AgentCore::Gateway::%q is left out: the bundle is this gateway's", arn)
		return nil
	}
	return stop("resource", `resource, or resource == AgentCore::Gateway::"arn"`, "what this is about cannot be said here")
}

const agentcoreAction = "AgentCore::Action"

// action translates tools, targets and everything.
func (w agentcore) action(t *translator, s *scope, n ast.IsActionScopeNode) *trouble {
	switch v := n.(type) {
	case ast.ScopeTypeEq:
		return w.tools(t, s, []types.EntityUID{v.Entity})
	case ast.ScopeTypeInSet:
		return w.tools(t, s, v.Entities)
	case ast.ScopeTypeIn:
		if v.Entity.Type != agentcoreAction {
			return stop(string(v.Entity.ID), "AgentCore::Action::\"...\"", "action %s does not exist there", v.Entity)
		}
		if _, _, isTool := target(v.Entity.ID); isTool {
			return w.tools(t, s, []types.EntityUID{v.Entity})
		}
		s.action = ast.ScopeTypeIn{Entity: action("call_tool")}
		if v.Entity.ID != "CallTool" && v.Entity.ID != "Mcp" {
			s.resource = serverScope(t.server(string(v.Entity.ID)))
			return nil
		}
	}
	server, bad := t.ownServer("action")
	s.action, s.resource = ast.ScopeTypeIn{Entity: action("call_tool")}, serverScope(server)
	return bad
}

// target takes "Target___tool" apart. Older texts have two underscores.
func target(id types.String) (target, tool string, ok bool) {
	if target, tool, ok = strings.Cut(string(id), "___"); ok {
		return target, tool, target != "" && tool != ""
	}
	if strings.Count(string(id), "__") == 1 {
		target, tool, _ = strings.Cut(string(id), "__")
	}
	return target, tool, target != "" && tool != ""
}

// tools is the scope of tools that are named.
func (agentcore) tools(t *translator, s *scope, uids []types.EntityUID) *trouble {
	if len(uids) == 0 {
		return stop("action", "name a tool", "the policy is about no action")
	}
	var names []types.EntityUID
	for _, uid := range uids {
		at, name, ok := target(uid.ID)
		if !ok || uid.Type != agentcoreAction {
			return stop(string(uid.ID), `AgentCore::Action::"Target___tool"`, "action %s is no target's tool", uid)
		}
		names = append(names, action(t.server(at)+"___"+name))
		s.resource = ast.ScopeTypeEq{Entity: toolUID(t.server(at), name)}
	}
	s.input = true
	s.action = ast.ScopeTypeEq{Entity: names[0]}
	if len(names) > 1 {
		s.action, s.resource = ast.ScopeTypeInSet{Entities: names}, ast.ScopeTypeAll{}
	}
	return nil
}

func (agentcore) entity(t *translator, uid types.EntityUID) (types.EntityUID, *trouble) {
	if uid.Type == "AgentCore::OAuthUser" {
		return t.client(string(uid.ID))
	}
	return uid, stop(string(uid.ID), "write it in the scope", "%s cannot be named in a condition", uid)
}

// leaf translates the context, and refuses what else is read.
func (agentcore) leaf(t *translator, n ast.IsNode) (ast.IsNode, bool, *trouble) {
	if key, ok := tagOf(n); ok {
		return nil, false, stop(key, `of tags, whether one is a text: principal.getTag("role") == "admin"`, "tag %q cannot be read like this here", key)
	}
	arg, name, asks := attribute(n)
	switch {
	case arg == nil:
		return nil, false, nil
	case isVariable(arg, "context") && name == "input" && !asks:
		if !t.input {
			return nil, false, stop("input", `name the tool: action == AgentCore::Action::"Target___tool"`, "the input of no tool in particular has no type here")
		}
		return input(), true, nil
	case isVariable(arg, "context", "principal", "resource"):
		return nil, false, stop(string(name), readable, "%s is not known here", name)
	}
	above, system, _ := attribute(arg)
	if above != nil && isVariable(above, "context") && system == "system" {
		if name == "now" && !asks {
			return access(variable("context"), "now"), true, nil
		}
		return nil, false, stop(string(name), "context.system.now", "context.system.%s is not known here", name)
	}
	return nil, false, nil
}

// tagOf gives the key of principal.getTag and hasTag.
func tagOf(n ast.IsNode) (string, bool) {
	var b ast.BinaryNode
	switch v := n.(type) {
	case ast.NodeTypeGetTag:
		b = v.BinaryNode
	case ast.NodeTypeHasTag:
		b = v.BinaryNode
	default:
		return "", false
	}
	key, ok := text(b.Right)
	return key, ok && isVariable(b.Left, "principal")
}

// fact recognises principal.getTag("k") == "v", principal.hasTag("k"), and principal.id == "sub".
func (agentcore) fact(t *translator, n ast.IsNode) *fact {
	if _, asks := n.(ast.NodeTypeHasTag); asks {
		if key, ok := tagOf(n); ok {
			return &fact{key: "tag " + key, has: true, word: key}
		}
	}
	left, value, ok := sides(n)
	if !ok {
		return nil
	}
	if arg, name, asks := attribute(left); arg != nil && !asks && name == "id" && isVariable(arg, "principal") {
		uid, bad := t.client(value)
		return &fact{key: "id", word: value, out: principalIs(uid), bad: bad, always: true}
	}
	key, ok := tagOf(left)
	if _, asks := left.(ast.NodeTypeHasTag); asks || !ok {
		return nil
	}
	uid, bad := t.group(key, value)
	return &fact{key: "tag " + key, word: key, guard: `ask principal.hasTag("` + key + `") && before it`, out: principalIn(uid), bad: bad}
}
