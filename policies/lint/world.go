package lint

import (
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/gatewright/gatewright/policies"
)

// verdict is what is known of a term without a request.
type verdict uint8

const (
	unknown verdict = iota
	always
	never
)

func verdictOf(b bool) verdict {
	if b {
		return always
	}
	return never
}

func (v verdict) not() verdict {
	switch v {
	case always:
		return never
	case never:
		return always
	}
	return unknown
}

// schema is what actions there are.
type schema struct {
	actions []policies.Action
	groups  map[string][]string
}

func newSchema(actions []policies.Action) *schema {
	s := &schema{actions, map[string][]string{}}
	for _, a := range actions {
		s.groups[a.Name] = a.Groups
	}
	return s
}

// world is every request that the scope of a policy lets through: which actions, and which types of principal and resource.
type world struct {
	schema     *schema
	tree       *ast.Policy
	actions    []policies.Action
	principals []string
	resources  []string
}

func (s *schema) world(p *ast.Policy) world {
	w := world{schema: s, tree: p}
	for _, a := range s.actions {
		if len(a.Resources) > 0 && s.inScope(p.Action, a.Name) {
			w.actions = append(w.actions, a)
			w.principals, w.resources = append(w.principals, a.Principals...), append(w.resources, a.Resources...)
		}
	}
	w.principals, w.resources = typesIn(p.Principal, w.principals), typesIn(p.Resource, w.resources)
	return w
}

// inScope tells whether an action is in the scope of actions.
func (s *schema) inScope(n ast.IsScopeNode, action string) bool {
	in := func(u types.EntityUID) bool {
		return string(u.ID) == action || slices.Contains(s.groups[action], string(u.ID))
	}
	switch v := n.(type) {
	case ast.ScopeTypeEq:
		return string(v.Entity.ID) == action
	case ast.ScopeTypeIn:
		return in(v.Entity)
	case ast.ScopeTypeInSet:
		return slices.ContainsFunc(v.Entities, in)
	}
	return true
}

// typesIn keeps the types that a scope lets through.
func typesIn(n ast.IsScopeNode, all []string) []string {
	only := ""
	switch v := n.(type) {
	case ast.ScopeTypeEq:
		only = string(v.Entity.Type)
	case ast.ScopeTypeIs:
		only = string(v.Type)
	case ast.ScopeTypeIsIn:
		only = string(v.Type)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(t string) bool { return only != "" && t != only })
}

// works tells whether the scope holds anything that may change the world.
func (w *world) works() bool {
	return slices.ContainsFunc(w.actions, func(a policies.Action) bool { return a.Name == "work" || slices.Contains(a.Groups, "work") })
}

// fold evaluates what does not depend on the request. Errors are no matter: a term that fails makes a policy apply as little
// as a false one.
func (w *world) fold(n ast.IsNode) verdict {
	switch v := n.(type) {
	case ast.NodeValue:
		if b, ok := v.Value.(types.Boolean); ok {
			return verdictOf(bool(b))
		}
	case ast.NodeTypeAnd:
		return both(w.fold(v.Left), w.fold(v.Right))
	case ast.NodeTypeOr:
		return both(w.fold(v.Left).not(), w.fold(v.Right).not()).not()
	case ast.NodeTypeNot:
		return w.fold(v.Arg).not()
	case ast.NodeTypeIfThenElse:
		return w.choose(v)
	case ast.NodeTypeIs:
		return w.is(v.Left, string(v.EntityType))
	case ast.NodeTypeIsIn:
		if w.is(v.Left, string(v.EntityType)) == never {
			return never
		}
	case ast.NodeTypeEquals:
		return w.equals(v)
	case ast.NodeTypeIn:
		return w.in(v)
	}
	return w.compare(n)
}

func both(a, b verdict) verdict {
	switch {
	case a == never || b == never:
		return never
	case a == always && b == always:
		return always
	}
	return unknown
}

func (w *world) choose(v ast.NodeTypeIfThenElse) verdict {
	switch w.fold(v.If) {
	case always:
		return w.fold(v.Then)
	case never:
		return w.fold(v.Else)
	}
	if a, b := w.fold(v.Then), w.fold(v.Else); a == b {
		return a
	}
	return unknown
}

// compare evaluates < and <= of two numbers.
func (w *world) compare(n ast.IsNode) verdict {
	n = upward(n, true)
	switch v := n.(type) {
	case ast.NodeTypeLessThan:
		a, oka := number(v.Left)
		if b, ok := number(v.Right); ok && oka {
			return verdictOf(a < b)
		}
	case ast.NodeTypeLessThanOrEqual:
		a, oka := number(v.Left)
		if b, ok := number(v.Right); ok && oka {
			return verdictOf(a <= b)
		}
	}
	return unknown
}

// typesOf lists the types that a variable can have; none for what is no variable.
func (w *world) typesOf(n ast.IsNode) []string {
	switch variable(n) {
	case "principal":
		return w.principals
	case "resource":
		return w.resources
	}
	return nil
}

func variable(n ast.IsNode) string {
	if v, ok := n.(ast.NodeTypeVariable); ok {
		return string(v.Name)
	}
	return ""
}

func (w *world) is(n ast.IsNode, typ string) verdict {
	all := w.typesOf(n)
	switch {
	case len(all) == 0:
		return unknown
	case !slices.Contains(all, typ):
		return never
	case len(all) == 1:
		return always
	}
	return unknown
}

func literal(n ast.IsNode) (types.EntityUID, bool) {
	if v, ok := n.(ast.NodeValue); ok {
		u, ok := v.Value.(types.EntityUID)
		return u, ok
	}
	return types.EntityUID{}, false
}

func (w *world) equals(v ast.NodeTypeEquals) verdict {
	a, oka := v.Left.(ast.NodeValue)
	b, okb := v.Right.(ast.NodeValue)
	if oka && okb {
		return verdictOf(a.Value.Equal(b.Value))
	}
	left, right := v.Left, v.Right
	if oka {
		left, right = right, left
	}
	u, ok := literal(right)
	name := variable(left)
	if !ok || name == "" {
		return unknown
	}
	if name == "action" {
		return w.acts(func(a policies.Action) bool { return a.Name == string(u.ID) })
	}
	if eq, ok := w.scopeOf(name).(ast.ScopeTypeEq); ok {
		return verdictOf(eq.Entity == u)
	}
	if w.is(left, string(u.Type)) == never || !within(w.scopeOf(name), u) {
		return never
	}
	return unknown
}

// in evaluates whether a variable is in a group.
func (w *world) in(v ast.NodeTypeIn) verdict {
	u, ok := literal(v.Right)
	name := variable(v.Left)
	if !ok || name == "" {
		return unknown
	}
	if name == "action" {
		return w.acts(func(a policies.Action) bool { return a.Name == string(u.ID) || slices.Contains(a.Groups, string(u.ID)) })
	}
	switch s := w.scopeOf(name).(type) {
	case ast.ScopeTypeEq:
		if s.Entity == u || belongs(s.Entity, u) {
			return always
		}
		if !within(ast.ScopeTypeIn{Entity: u}, s.Entity) {
			return never
		}
	case ast.ScopeTypeIn:
		if s.Entity == u {
			return always
		}
	case ast.ScopeTypeIsIn:
		if s.Entity == u {
			return always
		}
	}
	return unknown
}

// acts asks all actions of the scope.
func (w *world) acts(is func(policies.Action) bool) verdict {
	met := 0
	for _, a := range w.actions {
		if is(a) {
			met++
		}
	}
	switch {
	case met == 0:
		return never
	case met == len(w.actions):
		return always
	}
	return unknown
}

func (w *world) scopeOf(name string) ast.IsScopeNode {
	if name == "principal" {
		return w.tree.Principal
	}
	return w.tree.Resource
}

// servered tells whether things of a type belong to a server and bear its name.
func servered(typ string) bool {
	return typ == "Tool" || typ == "Prompt" || typ == "McpResource" || typ == "Model"
}

// belongs tells whether an entity is of a server by its name; a server's name has no slash.
func belongs(u, server types.EntityUID) bool {
	return server.Type == "Server" && servered(string(u.Type)) && strings.HasPrefix(string(u.ID), string(server.ID)+"/")
}

// within tells whether a scope can hold an entity.
func within(n ast.IsScopeNode, u types.EntityUID) bool {
	server := types.EntityUID{}
	switch v := n.(type) {
	case ast.ScopeTypeIn:
		server = v.Entity
	case ast.ScopeTypeIsIn:
		server = v.Entity
	}
	return server.Type != "Server" || !servered(string(u.Type)) || strings.HasPrefix(string(u.ID), string(server.ID)+"/")
}
