package policies

import (
	"iter"

	cedar "github.com/cedar-policy/cedar-go"
	publicast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// A guard is the part of a policy, from its start, that reads nothing of the context: its scopes and the conjuncts before
// the first that does. For one caller and one target its value never changes, so it is asked once. Cedar evaluates from
// left to right and stops at the first false, hence a policy whose guard is false is false, without an error, whatever
// the context holds; it need not stand among the candidates.

// guardOf compiles the guard of a policy.
func guardOf(p *ast.Policy) *cedar.Policy {
	g := *p
	g.Conditions = nil
	for _, c := range p.Conditions {
		body, whole := prefix(c)
		if body != nil {
			g.Conditions = append(g.Conditions, ast.ConditionType{Condition: c.Condition, Body: body})
		}
		if !whole {
			break
		}
	}
	return cedar.NewPolicyFromAST((*publicast.Policy)(&g))
}

// prefix cuts a condition before the first conjunct that reads the context. An unless cannot be cut: not (a && b) is not
// decided by a alone.
func prefix(c ast.ConditionType) (body ast.IsNode, whole bool) {
	body, whole = leading(c.Body)
	if whole || c.Condition == ast.ConditionWhen {
		return body, whole
	}
	return nil, false
}

// leading gives the conjuncts of n before the first that reads the context, or nil, and whether they are all of n. Each part
// is looked at once: a chain of conjuncts is as deep as it is long.
func leading(n ast.IsNode) (body ast.IsNode, whole bool) {
	v, ok := n.(ast.NodeTypeAnd)
	if !ok {
		if readsOfNode(n).fields == 0 {
			return n, true
		}
		return nil, false
	}
	left, whole := leading(v.Left)
	if !whole {
		return left, false
	}
	right, whole := leading(v.Right)
	switch {
	case whole:
		return n, true
	case right == nil:
		return left, false
	}
	return ast.NodeTypeAnd{BinaryNode: ast.BinaryNode{Left: left, Right: right}}, false
}

// one is a policy set of one.
type one struct{ policy *cedar.Policy }

func (o one) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) { yield("", o.policy) }
}

// passes reports whether a policy can still match, or fail, given who asks and for what.
func (v *view) passes(guard *cedar.Policy) (holds, fails bool) {
	_, diag := cedar.Authorize(one{guard}, v, v.request(types.Record{}))
	return len(diag.Reasons) > 0, len(diag.Errors) > 0
}

// request is the question as Cedar takes it.
func (v *view) request(ctx types.Record) cedar.Request {
	return cedar.Request{
		Principal: v.caller.entity.UID, Action: v.target.action.UID, Resource: v.target.resource.UID, Context: ctx,
	}
}
