package foreign

import (
	"maps"
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// fact is something known of the caller or the tool: a claim, a hint. There it may be absent, and reading it is then an
// error, which skips the policy; here it is always known, and false or a default.
type fact struct {
	key   string // names it, as "claim roles"
	has   bool   // only asks whether it is there
	guard string // for messages: what can be done
	word  string // in the source
	out   ast.IsNode
	bad   *trouble
	// spreads says that what is absent there is true here.
	spreads bool
	always  bool // it is never absent
}

// place is where an expression stands in its condition.
type place struct {
	positive bool // the policy applies no less when it becomes true
	ends     [2]bool
	alike    string // a fact whose absence makes the rest of an || false, too
}

// ends says of each value, false and true, whether with it the policy certainly does not apply.
var (
	inWhen   = place{positive: true, ends: [2]bool{true, false}}
	inUnless = place{ends: [2]bool{false, true}}
)

// logic translates a condition, or a part of one joined by and, or, not.
func (t *translator) logic(n ast.IsNode, at place) (ast.IsNode, *trouble) {
	switch v := n.(type) {
	case ast.NodeTypeAnd:
		return t.conjunction(v, at)
	case ast.NodeTypeOr:
		return t.disjunction(v, at)
	case ast.NodeTypeNot:
		arg, bad := t.logic(v.Arg, place{positive: !at.positive, ends: [2]bool{at.ends[1], at.ends[0]}})
		return ast.NodeTypeNot{UnaryNode: ast.UnaryNode{Arg: arg}}, bad
	}
	if f := t.fact(t, n); f != nil {
		return t.known(f, at)
	}
	return t.plain(n)
}

// disjunction: what is absent on its left ends the original there, and the translation goes on to its right, unless that is
// false for the same reason.
func (t *translator) disjunction(v ast.NodeTypeOr, at place) (out ast.IsNode, bad *trouble) {
	left := at
	left.ends[0], left.alike = false, ""
	if f := t.firstFact(v.Left); f != nil && at.ends[0] && t.needs(v, f.key, at.positive) {
		left.alike = f.key
	}
	b := ast.BinaryNode{}
	if b.Left, bad = t.logic(v.Left, left); bad == nil {
		b.Right, bad = t.logic(v.Right, at)
	}
	return ast.NodeTypeOr{BinaryNode: b}, bad
}

func (t *translator) firstFact(n ast.IsNode) *fact {
	if v, ok := n.(ast.NodeTypeOr); ok {
		return t.firstFact(v.Left)
	}
	return t.fact(t, n)
}

// known translates a fact. Where it is absent, the original is skipped, and what stands here is false, or anything if it
// spreads; a permit must then not apply either.
func (t *translator) known(f *fact, at place) (ast.IsNode, *trouble) {
	safe := t.forbid || f.always || t.guarded[f.key] || !f.spreads && (at.ends[0] || at.alike == f.key)
	switch {
	case f.bad != nil:
		return nil, f.bad
	case f.has:
		return nil, stop(f.word, "join it by && to what it makes safe to read", "whether there is %s cannot be asked here", f.key)
	case !safe:
		return nil, stop(f.word, f.guard, "without %s the original permits nothing, and the translation would", f.key)
	}
	return f.out, nil
}

// conjunction leaves out questions whether a fact is there, where another part of the conjunction is false without it: here
// that part is false as well, and the whole is the same.
func (t *translator) conjunction(n ast.NodeTypeAnd, at place) (ast.IsNode, *trouble) {
	before := t.guarded
	t.guarded = maps.Clone(before)
	defer func() { t.guarded = before }()
	parts := conjuncts(n)
	var out ast.IsNode
	for i, p := range parts {
		if f := t.fact(t, p); f != nil && f.has && f.bad == nil && t.strict(parts[i+1:], f.key, at.positive) {
			t.guarded[f.key] = true
			continue
		}
		inner := at
		if i < len(parts)-1 {
			inner.ends[1] = false // the next part decides
		}
		next, bad := t.logic(p, inner)
		if bad != nil {
			return nil, bad
		}
		if out == nil {
			out = next
		} else {
			out = ast.NodeTypeAnd{BinaryNode: ast.BinaryNode{Left: out, Right: next}}
		}
	}
	return out, nil
}

func conjuncts(n ast.IsNode) []ast.IsNode {
	v, ok := n.(ast.NodeTypeAnd)
	if !ok {
		return []ast.IsNode{n}
	}
	return append(conjuncts(v.Left), conjuncts(v.Right)...)
}

// strict reports whether one of the parts is false wherever the fact is absent, there and here.
func (t *translator) strict(parts []ast.IsNode, key string, positive bool) bool {
	return slices.ContainsFunc(parts, func(p ast.IsNode) bool { return t.needs(p, key, positive) })
}

// needs is strict for one part. A forbid may become true more often.
func (t *translator) needs(n ast.IsNode, key string, positive bool) bool {
	if v, ok := n.(ast.NodeTypeOr); ok {
		return t.needs(v.Left, key, positive) && t.needs(v.Right, key, positive)
	}
	f := t.fact(t, n)
	return f != nil && !f.has && f.bad == nil && f.key == key && (!f.spreads || t.forbid && positive)
}

// plain translates an expression below the logic. A fact in it is refused: whether it is absent could decide either way.
func (t *translator) plain(n ast.IsNode) (ast.IsNode, *trouble) {
	if f := t.fact(t, n); f != nil {
		if f.bad != nil {
			return nil, f.bad
		}
		return nil, stop(f.word, "write it as a condition of its own, joined by && and ||", "%s stands where its absence cannot be told", f.key)
	}
	if out, done, bad := t.leaf(t, n); done || bad != nil {
		return out, bad
	}
	r := rewriter{t: t}
	out := r.node(n)
	return out, r.bad
}

// rewriter rebuilds an expression around translated parts, and keeps the first trouble.
type rewriter struct {
	t   *translator
	bad *trouble
}

func (r *rewriter) do(n ast.IsNode) ast.IsNode {
	if r.bad != nil {
		return n
	}
	out, bad := r.t.plain(n)
	r.bad = bad
	return out
}

func (r *rewriter) bin(b ast.BinaryNode) ast.BinaryNode {
	return ast.BinaryNode{Left: r.do(b.Left), Right: r.do(b.Right)}
}

func (r *rewriter) un(u ast.UnaryNode) ast.UnaryNode { return ast.UnaryNode{Arg: r.do(u.Arg)} }

func (r *rewriter) all(list []ast.IsNode) []ast.IsNode {
	out := make([]ast.IsNode, len(list))
	for i, n := range list {
		out[i] = r.do(n)
	}
	return out
}

// node knows every expression of Cedar that may stand in a condition; others are refused.
func (r *rewriter) node(n ast.IsNode) ast.IsNode {
	switch v := n.(type) {
	case ast.NodeTypeAnd:
		return ast.NodeTypeAnd{BinaryNode: r.bin(v.BinaryNode)}
	case ast.NodeTypeOr:
		return ast.NodeTypeOr{BinaryNode: r.bin(v.BinaryNode)}
	case ast.NodeTypeNot:
		return ast.NodeTypeNot{UnaryNode: r.un(v.UnaryNode)}
	case ast.NodeTypeNegate:
		return ast.NodeTypeNegate{UnaryNode: r.un(v.UnaryNode)}
	case ast.NodeTypeIfThenElse:
		return ast.NodeTypeIfThenElse{If: r.do(v.If), Then: r.do(v.Then), Else: r.do(v.Else)}
	case ast.NodeTypeEquals:
		return ast.NodeTypeEquals{BinaryNode: r.bin(v.BinaryNode)}
	case ast.NodeTypeNotEquals:
		return ast.NodeTypeNotEquals{BinaryNode: r.bin(v.BinaryNode)}
	case ast.NodeTypeLike:
		return ast.NodeTypeLike{Arg: r.do(v.Arg), Value: v.Value}
	case ast.NodeTypeAccess:
		return ast.NodeTypeAccess{StrOpNode: ast.StrOpNode{Arg: r.do(v.Arg), Value: v.Value}}
	case ast.NodeTypeHas:
		return ast.NodeTypeHas{StrOpNode: ast.StrOpNode{Arg: r.do(v.Arg), Value: v.Value}}
	case ast.NodeTypeExtensionCall:
		return ast.NodeTypeExtensionCall{Name: v.Name, Args: r.all(v.Args)}
	case ast.NodeTypeSet:
		return ast.NodeTypeSet{Elements: r.all(v.Elements)}
	case ast.NodeTypeRecord:
		out := ast.NodeTypeRecord{Elements: make([]ast.RecordElementNode, len(v.Elements))}
		for i, e := range v.Elements {
			out.Elements[i] = ast.RecordElementNode{Key: e.Key, Value: r.do(e.Value)}
		}
		return out
	case ast.NodeValue:
		return r.value(v)
	}
	return r.sum(n)
}

// sum goes on with sets and numbers.
func (r *rewriter) sum(n ast.IsNode) ast.IsNode {
	switch v := n.(type) {
	case ast.NodeTypeContains:
		return ast.NodeTypeContains{BinaryNode: r.bin(v.BinaryNode)}
	case ast.NodeTypeContainsAll:
		return ast.NodeTypeContainsAll{BinaryNode: r.bin(v.BinaryNode)}
	case ast.NodeTypeContainsAny:
		return ast.NodeTypeContainsAny{BinaryNode: r.bin(v.BinaryNode)}
	case ast.NodeTypeIsEmpty:
		return ast.NodeTypeIsEmpty{UnaryNode: r.un(v.UnaryNode)}
	case ast.NodeTypeLessThan:
		return ast.NodeTypeLessThan{BinaryNode: r.bin(v.BinaryNode)}
	case ast.NodeTypeLessThanOrEqual:
		return ast.NodeTypeLessThanOrEqual{BinaryNode: r.bin(v.BinaryNode)}
	case ast.NodeTypeGreaterThan:
		return ast.NodeTypeGreaterThan{BinaryNode: r.bin(v.BinaryNode)}
	case ast.NodeTypeGreaterThanOrEqual:
		return ast.NodeTypeGreaterThanOrEqual{BinaryNode: r.bin(v.BinaryNode)}
	case ast.NodeTypeAdd:
		return ast.NodeTypeAdd{BinaryNode: r.bin(v.BinaryNode)}
	case ast.NodeTypeSub:
		return ast.NodeTypeSub{BinaryNode: r.bin(v.BinaryNode)}
	case ast.NodeTypeMult:
		return ast.NodeTypeMult{BinaryNode: r.bin(v.BinaryNode)}
	case ast.NodeTypeIn:
		return ast.NodeTypeIn{BinaryNode: r.bin(v.BinaryNode)}
	case ast.NodeTypeVariable:
		if v.Name == "principal" || v.Name == "resource" {
			return v
		}
		r.bad = stop(string(v.Name), "write what it is about in the scope", "%s as a whole is another thing here", v.Name)
		return n
	}
	r.bad = stop("", "write it in other words", "an expression (%T) that has no like here", n)
	return n
}

// value translates the names in a literal.
func (r *rewriter) value(v ast.NodeValue) ast.IsNode {
	uid, ok := v.Value.(types.EntityUID)
	if !ok {
		return v
	}
	out, bad := r.t.entity(r.t, uid)
	r.bad = bad
	return ast.NodeValue{Value: out}
}

// The rest helps to recognise expressions.

func isVariable(n ast.IsNode, names ...string) bool {
	v, ok := n.(ast.NodeTypeVariable)
	if !ok {
		return false
	}
	return slices.Contains(names, string(v.Name))
}

func variable(name string) ast.IsNode { return ast.NodeTypeVariable{Name: types.String(name)} }

func access(n ast.IsNode, name types.String) ast.IsNode {
	return ast.NodeTypeAccess{StrOpNode: ast.StrOpNode{Arg: n, Value: name}}
}

func has(n ast.IsNode, name types.String) ast.IsNode {
	return ast.NodeTypeHas{StrOpNode: ast.StrOpNode{Arg: n, Value: name}}
}

func input() ast.IsNode { return access(variable("context"), "input") }

func principalIn(uid types.EntityUID) ast.IsNode {
	return ast.NodeTypeIn{BinaryNode: ast.BinaryNode{Left: variable("principal"), Right: ast.NodeValue{Value: uid}}}
}

func principalIs(uid types.EntityUID) ast.IsNode {
	return ast.NodeTypeEquals{BinaryNode: ast.BinaryNode{Left: variable("principal"), Right: ast.NodeValue{Value: uid}}}
}

// text gives a string literal.
func text(n ast.IsNode) (string, bool) {
	v, ok := n.(ast.NodeValue)
	if !ok {
		return "", false
	}
	s, ok := v.Value.(types.String)
	return string(s), ok
}

// sides gives the two sides of an ==, a literal string on the right.
func sides(n ast.IsNode) (left ast.IsNode, right string, ok bool) {
	v, ok := n.(ast.NodeTypeEquals)
	if !ok {
		return nil, "", false
	}
	if s, ok := text(v.Right); ok {
		return v.Left, s, true
	}
	s, ok := text(v.Left)
	return v.Right, s, ok
}
