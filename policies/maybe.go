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
	p := bounded(r, readUnknown)
	if p == nil {
		return nil
	}
	v := newVariant(p)
	return &v
}

// bounded rewrites a rule so that it reads nothing of what is unknown; nil if it then never matches.
func bounded(r *rule, unknown field) *cedar.Policy {
	src := r.ast()
	out := *src
	out.Conditions = make([]ast.ConditionType, len(src.Conditions))
	for i, c := range src.Conditions {
		upper := !r.forbid
		if c.Condition == ast.ConditionUnless {
			upper = !upper
		}
		c.Body = bound(c.Body, unknown, upper)
		if isConst(c.Body, c.Condition != ast.ConditionWhen) {
			return nil // when false, or unless true
		}
		out.Conditions[i] = c
	}
	return cedar.NewPolicyFromAST((*publicast.Policy)(&out))
}

// bound replaces what depends on the unknown: the result is implied by n if upper, and implies n if not.
func bound(n ast.IsNode, unknown field, upper bool) ast.IsNode {
	if readsOfNode(n).fields&unknown == 0 {
		return n
	}
	switch v := n.(type) {
	case ast.NodeTypeAnd:
		return and(bound(v.Left, unknown, upper), bound(v.Right, unknown, upper))
	case ast.NodeTypeOr:
		return or(bound(v.Left, unknown, upper), bound(v.Right, unknown, upper))
	case ast.NodeTypeNot:
		arg := bound(v.Arg, unknown, !upper)
		if isConst(arg, true) || isConst(arg, false) {
			return constant(isConst(arg, false))
		}
		return ast.NodeTypeNot{UnaryNode: ast.UnaryNode{Arg: arg}}
	case ast.NodeTypeIfThenElse:
		then, otherwise := bound(v.Then, unknown, upper), bound(v.Else, unknown, upper)
		switch {
		case readsOfNode(v.If).fields&unknown == 0:
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
