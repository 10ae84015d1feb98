package policies

import (
	"slices"

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

// withoutUnsure returns the form of the rule for foreseeing, or nil if it then never matches. It is made once, when first
// asked for: most bundles are never looked ahead of.
func (r *rule) withoutUnsure() *variant {
	r.sureOnce.Do(func() {
		if p := bounded(r, readUnsure); p != nil {
			r.sure = &variant{policy: p, cost: costOf((*ast.Policy)(p.AST()))}
		}
	})
	return r.sure
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
		c.Body, _ = bound(c.Body, unknown, upper)
		if isConst(c.Body, c.Condition != ast.ConditionWhen) {
			return nil // when false, or unless true
		}
		out.Conditions[i] = c
	}
	return cedar.NewPolicyFromAST((*publicast.Policy)(&out))
}

// bound replaces what depends on the unknown: the result is implied by n if upper, and implies n if not. Without any, n is
// as it was and touched is false. Each part is looked at once: conditions can be as deep as they are long.
func bound(n ast.IsNode, unknown field, upper bool) (out ast.IsNode, touched bool) {
	switch v := n.(type) {
	case ast.NodeTypeAnd:
		l, r, touched := boundBoth(v.BinaryNode, unknown, upper)
		if !touched {
			return n, false
		}
		return and(l, r), true
	case ast.NodeTypeOr:
		l, r, touched := boundBoth(v.BinaryNode, unknown, upper)
		if !touched {
			return n, false
		}
		return or(l, r), true
	case ast.NodeTypeNot:
		arg, touched := bound(v.Arg, unknown, !upper)
		switch {
		case !touched:
			return n, false
		case isConst(arg, true) || isConst(arg, false):
			return constant(isConst(arg, false)), true
		}
		return ast.NodeTypeNot{UnaryNode: ast.UnaryNode{Arg: arg}}, true
	case ast.NodeTypeIfThenElse:
		return boundIf(v, unknown, upper)
	}
	if readsOfNode(n).fields&unknown == 0 {
		return n, false
	}
	return constant(upper), true
}

func boundBoth(b ast.BinaryNode, unknown field, upper bool) (l, r ast.IsNode, touched bool) {
	l, left := bound(b.Left, unknown, upper)
	r, right := bound(b.Right, unknown, upper)
	return l, r, left || right
}

func boundIf(v ast.NodeTypeIfThenElse, unknown field, upper bool) (ast.IsNode, bool) {
	then, otherwise, touched := boundBoth(ast.BinaryNode{Left: v.Then, Right: v.Else}, unknown, upper)
	switch {
	case readsOfNode(v.If).fields&unknown == 0:
		if !touched {
			return v, false
		}
		return ast.NodeTypeIfThenElse{If: v.If, Then: then, Else: otherwise}, true
	case !sound(then) || !sound(otherwise):
		return constant(upper), true // the one that fails may be the one that is never reached
	case upper:
		return or(then, otherwise), true
	default:
		return and(then, otherwise), true
	}
}

// maxSound is how many parts of an expression are looked at to call it sound: a chain of ifs asks that of each of its ends.
const maxSound = 512

// sound tells that evaluating n cannot fail: it computes nothing and reads only what every call has. What is too large to
// tell is not.
func sound(n ast.IsNode) bool {
	left := maxSound
	return soundWithin(n, &left)
}

func soundWithin(n ast.IsNode, left *int) bool {
	if *left--; *left < 0 {
		return false
	}
	if root, path := chain(n); len(path) > 0 {
		return root == "principal" && len(path) == 1 && path[0] != "owner" || root == "context" && fieldsAt(path)&(readAll&^readUser) != 0
	}
	switch n.(type) {
	case ast.NodeTypeAdd, ast.NodeTypeSub, ast.NodeTypeMult, ast.NodeTypeNegate, ast.NodeTypeAccess, ast.NodeTypeGetTag, ast.NodeTypeExtensionCall:
		return false
	}
	kids, known := children(n)
	return known && !slices.ContainsFunc(kids, func(k ast.IsNode) bool { return !soundWithin(k, left) })
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
