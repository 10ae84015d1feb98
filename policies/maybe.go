package policies

import (
	cedar "github.com/cedar-policy/cedar-go"
	publicast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// A list is filtered by asking of each tool: could a call be allowed, for some arguments? Evaluating every policy
// partially for every tool would cost more than the call itself, so each policy is rewritten once, when the bundle is
// compiled. In a permit, a condition that reads an unknown becomes as true as it can be; in a forbid, as false as it can
// be. A tool shown may still be refused when it is called; a tool hidden could never have been called.

// maybeVariant returns the form of the rule for unknown arguments, or nil if it then never matches.
func maybeVariant(r *rule) *variant {
	if r.full.reads.fields&readUnknown == 0 {
		return &r.full
	}
	src := r.ast()
	out := *src
	out.Conditions = make([]ast.ConditionType, len(src.Conditions))
	for i, c := range src.Conditions {
		upper := !r.forbid
		if c.Condition == ast.ConditionUnless {
			upper = !upper
		}
		c.Body = bound(c.Body, upper)
		if isConst(c.Body, c.Condition != ast.ConditionWhen) {
			return nil // when false, or unless true
		}
		out.Conditions[i] = c
	}
	v := newVariant(cedar.NewPolicyFromAST((*publicast.Policy)(&out)))
	return &v
}

// bound replaces what depends on unknowns: the result is implied by n if upper, and implies n if not.
func bound(n ast.IsNode, upper bool) ast.IsNode {
	if readsOfNode(n).fields&readUnknown == 0 {
		return n
	}
	switch v := n.(type) {
	case ast.NodeTypeAnd:
		return and(bound(v.Left, upper), bound(v.Right, upper))
	case ast.NodeTypeOr:
		return or(bound(v.Left, upper), bound(v.Right, upper))
	case ast.NodeTypeNot:
		arg := bound(v.Arg, !upper)
		if isConst(arg, true) || isConst(arg, false) {
			return constant(isConst(arg, false))
		}
		return ast.NodeTypeNot{UnaryNode: ast.UnaryNode{Arg: arg}}
	case ast.NodeTypeIfThenElse:
		then, otherwise := bound(v.Then, upper), bound(v.Else, upper)
		switch {
		case readsOfNode(v.If).fields&readUnknown == 0:
			return ast.NodeTypeIfThenElse{If: v.If, Then: then, Else: otherwise}
		case upper:
			return or(then, otherwise)
		default:
			return and(then, otherwise)
		}
	}
	return constant(upper)
}

func and(l, r ast.IsNode) ast.IsNode {
	switch {
	case isConst(l, false) || isConst(r, false):
		return constant(false)
	case isConst(l, true):
		return r
	case isConst(r, true):
		return l
	}
	return ast.NodeTypeAnd{BinaryNode: ast.BinaryNode{Left: l, Right: r}}
}

func or(l, r ast.IsNode) ast.IsNode {
	switch {
	case isConst(l, true) || isConst(r, true):
		return constant(true)
	case isConst(l, false):
		return r
	case isConst(r, false):
		return l
	}
	return ast.NodeTypeOr{BinaryNode: ast.BinaryNode{Left: l, Right: r}}
}

func constant(b bool) ast.IsNode { return ast.NodeValue{Value: types.Boolean(b)} }

func isConst(n ast.IsNode, b bool) bool {
	v, ok := n.(ast.NodeValue)
	return ok && v.Value == types.Boolean(b)
}
