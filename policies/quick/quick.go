// Package quick evaluates the common part of Cedar without building a context: conditions over scalars, texts, sets and
// entities, read from where they stand. It never errs: what it does not know, and whatever would be an evaluation error,
// it leaves to cedar-go by saying that it cannot tell, and the caller asks cedar-go about all of it again. What it does
// tell is what cedar-go says.
package quick

import (
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Slot names one fact of a call that is read from Env.Slots.
type Slot uint8

// Slots is how many there can be.
const Slots = 16

// Env is what one evaluation sees. It must not change during it.
type Env struct {
	Principal, Action, Resource types.EntityUID
	Entities                    types.EntityGetter

	Slots [Slots]Value    // of absent facts: the zero Value
	IP    types.IPAddr    // of the Value that Address makes
	Input types.RecordMap // context.input

	// Context is the whole context, of programs that were compiled without places.
	Context types.Value
}

// Places tells which slot a path below context stands in.
type Places map[string]Slot

// Program is a policy's conditions. It is immutable.
type Program struct {
	conditions []node
}

// Compile makes the program of a policy's conditions, without its scopes; nil when some part of them is not known here.
// Without places, context is Env.Context; with them, context.input is Env.Input and all else stands in slots.
func Compile(conditions []ast.ConditionType, places Places) *Program {
	p := &Program{}
	c := compiler{places}
	for _, condition := range conditions {
		n := c.node(condition.Body)
		if n == nil {
			return nil
		}
		if condition.Condition == ast.ConditionUnless {
			n = not{n}
		}
		p.conditions = append(p.conditions, n)
	}
	return p
}

// Run tells whether all conditions hold. When known is false it cannot tell.
func (p *Program) Run(e *Env) (holds, known bool) {
	for _, c := range p.conditions {
		v := c.eval(e)
		if v.kind != boolean {
			return false, false
		}
		if v.n == 0 {
			return false, true
		}
	}
	return true, true
}

// node is one expression.
type node interface{ eval(e *Env) Value }

type compiler struct{ places Places }

// node compiles an expression; nil when it is not known here.
func (c *compiler) node(n ast.IsNode) node {
	switch v := n.(type) {
	case ast.NodeValue:
		return constant{Of(v.Value)}
	case ast.NodeTypeVariable:
		return c.variable(v.Name)
	case ast.NodeTypeAccess:
		return c.access(v)
	case ast.NodeTypeHas:
		return c.has(v)
	case ast.NodeTypeLike:
		return c.unary(v.Arg, func(arg node) node { return like{arg, v.Value} })
	case ast.NodeTypeNot:
		return c.unary(v.Arg, func(arg node) node { return not{arg} })
	case ast.NodeTypeIs:
		return c.unary(v.Left, func(arg node) node { return is{arg, v.EntityType} })
	case ast.NodeTypeIsEmpty:
		return c.unary(v.Arg, func(arg node) node { return isEmpty{arg} })
	case ast.NodeTypeIfThenElse:
		when, then, otherwise := c.node(v.If), c.node(v.Then), c.node(v.Else)
		if when == nil || then == nil || otherwise == nil {
			return nil
		}
		return choice{when, then, otherwise}
	case ast.NodeTypeExtensionCall:
		return c.call(v)
	case ast.NodeTypeSet:
		return c.set(v)
	}
	return c.operator(n)
}

func (c *compiler) unary(arg ast.IsNode, wrap func(node) node) node {
	n := c.node(arg)
	if n == nil {
		return nil
	}
	return wrap(n)
}

func (c *compiler) operator(n ast.IsNode) node {
	switch v := n.(type) {
	case ast.NodeTypeAnd:
		return c.binary(v.BinaryNode, func(l, r node) node { return and{l, r} })
	case ast.NodeTypeOr:
		return c.binary(v.BinaryNode, func(l, r node) node { return or{l, r} })
	case ast.NodeTypeEquals:
		return c.binary(v.BinaryNode, func(l, r node) node { return equals{l, r} })
	case ast.NodeTypeNotEquals:
		return c.binary(v.BinaryNode, func(l, r node) node { return not{equals{l, r}} })
	case ast.NodeTypeLessThan:
		return c.binary(v.BinaryNode, func(l, r node) node { return less{l, r} })
	case ast.NodeTypeGreaterThanOrEqual:
		return c.binary(v.BinaryNode, func(l, r node) node { return not{less{l, r}} })
	case ast.NodeTypeGreaterThan:
		return c.binary(v.BinaryNode, func(l, r node) node { return greater{l, r} })
	case ast.NodeTypeLessThanOrEqual:
		return c.binary(v.BinaryNode, func(l, r node) node { return not{greater{l, r}} })
	case ast.NodeTypeContains:
		return c.binary(v.BinaryNode, func(l, r node) node { return contains{l, r} })
	case ast.NodeTypeContainsAny:
		return c.binary(v.BinaryNode, func(l, r node) node { return containsAny{l, r} })
	case ast.NodeTypeContainsAll:
		return c.binary(v.BinaryNode, func(l, r node) node { return containsAll{l, r} })
	case ast.NodeTypeIn:
		return c.binary(v.BinaryNode, func(l, r node) node { return in{l, r} })
	}
	return nil
}

func (c *compiler) binary(b ast.BinaryNode, wrap func(l, r node) node) node {
	l, r := c.node(b.Left), c.node(b.Right)
	if l == nil || r == nil {
		return nil
	}
	return wrap(l, r)
}

func (c *compiler) variable(name types.String) node {
	switch name {
	case "principal":
		return variable(func(e *Env) *types.EntityUID { return &e.Principal })
	case "action":
		return variable(func(e *Env) *types.EntityUID { return &e.Action })
	case "resource":
		return variable(func(e *Env) *types.EntityUID { return &e.Resource })
	}
	if c.places == nil {
		return context{}
	}
	return nil
}

// access finds context.a and context.a.b in their slots, context.input.a in the input, and an attribute of anything else.
func (c *compiler) access(v ast.NodeTypeAccess) node {
	if c.places != nil {
		if slot, ok := c.slot(v.Arg, v.Value); ok {
			return slot
		}
		if isInput(v.Arg) {
			return input(v.Value)
		}
	}
	return c.unary(v.Arg, func(arg node) node { return attribute{arg, v.Value} })
}

func (c *compiler) has(v ast.NodeTypeHas) node {
	if c.places != nil {
		if slot, ok := c.slot(v.Arg, v.Value); ok {
			return present{slot}
		}
		if isInput(v.Arg) {
			return present{input(v.Value)}
		}
	}
	return c.unary(v.Arg, func(arg node) node { return has{arg, v.Value} })
}

// slot finds the place of arg.name.
func (c *compiler) slot(arg ast.IsNode, name types.String) (fact, bool) {
	path := string(name)
	if a, ok := arg.(ast.NodeTypeAccess); ok {
		path, arg = string(a.Value)+"."+path, a.Arg
	}
	if !isContext(arg) {
		return 0, false
	}
	slot, ok := c.places[path]
	return fact(slot), ok && slot < Slots
}

func isContext(n ast.IsNode) bool {
	v, ok := n.(ast.NodeTypeVariable)
	return ok && v.Name == "context"
}

func isInput(n ast.IsNode) bool {
	v, ok := n.(ast.NodeTypeAccess)
	return ok && v.Value == "input" && isContext(v.Arg)
}

// set takes sets of literals.
func (c *compiler) set(v ast.NodeTypeSet) node {
	elements := make([]types.Value, len(v.Elements))
	for i, e := range v.Elements {
		literal, ok := c.node(e).(constant)
		if !ok {
			return nil
		}
		elements[i] = literal.box(nil)
	}
	return constant{Of(types.NewSet(elements...))}
}
