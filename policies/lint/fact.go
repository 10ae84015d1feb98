package lint

import (
	"math"
	"strings"

	cedar "github.com/cedar-policy/cedar-go"
	publicast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/gatewright/gatewright/policies"
)

// fact is a term that must be true, or false, for a policy to apply.
type fact struct {
	node ast.IsNode
	want bool
	text string // of the term, in one form whatever its source looked like
	at   policies.Condition
}

// String is the fact as Cedar text.
func (f fact) String() string {
	if f.want {
		return f.text
	}
	return "!(" + f.text + ")"
}

// plain is the fact as a scope has it.
func (f fact) plain() string { return strings.TrimSuffix(strings.TrimPrefix(f.text, "("), ")") }

// term is a condition of a policy with its tree.
type term struct {
	policies.Condition
	node ast.IsNode
}

// termsOf reads the texts of conditions; one that cannot be read is left out.
func termsOf(conditions []policies.Condition) (out []term) {
	for _, c := range conditions {
		var p cedar.Policy
		if err := p.UnmarshalCedar([]byte("permit (principal, action, resource) when {" + c.Text + "\n};")); err != nil {
			continue
		}
		if found := (*ast.Policy)(p.AST()).Conditions; len(found) == 1 {
			out = append(out, term{c, found[0].Body})
		}
	}
	return out
}

// factsOf takes conditions apart into facts.
func (w *world) factsOf(terms []term) (out []fact) {
	for _, t := range terms {
		for _, f := range flatten(t.node, !t.Unless) {
			if w.fold(f.node) == verdictOf(f.want) {
				continue // always so
			}
			f.at, f.text = t.Condition, textOf(f.node)
			out = append(out, f)
		}
	}
	return out
}

// textOf gives a term in the one form that cedar-go prints.
func textOf(n ast.IsNode) string {
	p := ast.Permit().When(ast.NewNode(n))
	text := string(cedar.NewPolicyFromAST((*publicast.Policy)(p)).MarshalCedar())
	_, text, _ = strings.Cut(text, "when {")
	return strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "};"))
}

// flatten takes apart what must all be so. A comparison that must be false becomes the opposite one that must be true.
func flatten(n ast.IsNode, want bool) []fact {
	switch v := n.(type) {
	case ast.NodeTypeAnd:
		if want {
			return append(flatten(v.Left, true), flatten(v.Right, true)...)
		}
	case ast.NodeTypeOr:
		if !want {
			return append(flatten(v.Left, false), flatten(v.Right, false)...)
		}
	case ast.NodeTypeNot:
		return flatten(v.Arg, !want)
	case ast.NodeTypeNotEquals:
		return []fact{{node: ast.NodeTypeEquals(v), want: !want}}
	case ast.NodeTypeLessThan, ast.NodeTypeLessThanOrEqual, ast.NodeTypeGreaterThan, ast.NodeTypeGreaterThanOrEqual:
		return []fact{{node: upward(v, want), want: true}}
	}
	return []fact{{node: n, want: want}}
}

// upward writes a comparison with < or <=.
func upward(n ast.IsNode, want bool) ast.IsNode {
	less := func(a, b ast.IsNode) ast.IsNode {
		return ast.NodeTypeLessThan{BinaryNode: ast.BinaryNode{Left: a, Right: b}}
	}
	atMost := func(a, b ast.IsNode) ast.IsNode {
		return ast.NodeTypeLessThanOrEqual{BinaryNode: ast.BinaryNode{Left: a, Right: b}}
	}
	switch v := n.(type) {
	case ast.NodeTypeLessThan:
		if !want {
			return atMost(v.Right, v.Left)
		}
	case ast.NodeTypeLessThanOrEqual:
		if !want {
			return less(v.Right, v.Left)
		}
	case ast.NodeTypeGreaterThan:
		if want {
			return less(v.Right, v.Left)
		}
		return atMost(v.Left, v.Right)
	case ast.NodeTypeGreaterThanOrEqual:
		if want {
			return atMost(v.Right, v.Left)
		}
		return less(v.Left, v.Right)
	}
	return n
}

// contradiction finds two facts that exclude each other.
func contradiction(facts []fact) (a, b fact, ok bool) {
	seen := map[string]fact{}
	equal := map[string]fact{}
	ranges := map[string]*limits{}
	for _, f := range facts {
		if other, met := seen[f.text]; met && other.want != f.want {
			return other, f, true
		}
		seen[f.text] = f
		if what, value := comparedTo(f); value != nil {
			if other, met := equal[what]; met && !valueOf(other).Equal(value) {
				return other, f, true
			}
			equal[what] = f
		}
		if other, met := narrow(ranges, f); met {
			return other, f, true
		}
	}
	return fact{}, fact{}, false
}

// comparedTo takes apart a fact that something equals a literal.
func comparedTo(f fact) (string, types.Value) {
	eq, ok := f.node.(ast.NodeTypeEquals)
	if !ok || !f.want {
		return "", nil
	}
	if v, ok := eq.Right.(ast.NodeValue); ok {
		return textOf(eq.Left), v.Value
	}
	if v, ok := eq.Left.(ast.NodeValue); ok {
		return textOf(eq.Right), v.Value
	}
	return "", nil
}

func valueOf(f fact) types.Value {
	_, v := comparedTo(f)
	return v
}

// limits are the numbers that something may be, and which facts say so.
type limits struct {
	low, high         int64
	lowFact, highFact fact
}

// narrow takes up a fact about a number, and gives an earlier one that it excludes.
func narrow(ranges map[string]*limits, f fact) (fact, bool) {
	what, low, high := bounds(f)
	if what == "" {
		return fact{}, false
	}
	l := ranges[what]
	if l == nil {
		l = &limits{math.MinInt64, math.MaxInt64, f, f}
		ranges[what] = l
	}
	if low > l.low {
		l.low, l.lowFact = low, f
	}
	if high < l.high {
		l.high, l.highFact = high, f
	}
	if l.low <= l.high {
		return fact{}, false
	}
	if l.lowFact.text == f.text {
		return l.highFact, true
	}
	return l.lowFact, true
}

// bounds gives the numbers that a fact leaves something.
func bounds(f fact) (what string, low, high int64) {
	low, high = math.MinInt64, math.MaxInt64
	if what, v := comparedTo(f); v != nil {
		if n, ok := v.(types.Long); ok {
			return what, int64(n), int64(n)
		}
		return "", low, high
	}
	var pair ast.BinaryNode
	strict := int64(0)
	switch v := f.node.(type) {
	case ast.NodeTypeLessThan:
		pair, strict = v.BinaryNode, 1
	case ast.NodeTypeLessThanOrEqual:
		pair = v.BinaryNode
	default:
		return "", low, high
	}
	if n, ok := number(pair.Right); ok && n > math.MinInt64 {
		return textOf(pair.Left), low, n - strict
	}
	if n, ok := number(pair.Left); ok && n < math.MaxInt64 {
		return textOf(pair.Right), n + strict, high
	}
	return "", low, high
}

func number(n ast.IsNode) (int64, bool) {
	if v, ok := n.(ast.NodeValue); ok {
		l, ok := v.Value.(types.Long)
		return int64(l), ok
	}
	return 0, false
}
