package policies

import (
	"fmt"
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// compileBudget bounds what validating one bundle takes, in units of about 100 ns: cedar-go checks each condition once for
// each action, kind of caller and kind of resource that it can be asked about, and nothing interrupts it. It is some ten to
// thirty seconds, and thirty times what 10,000 policies over 1,000 tools take.
const compileBudget = 150_000_000

// effort counts what checking conditions takes, in units, for one kind of request.
type effort struct {
	units    int
	distinct int            // guards (has) that differ
	guards   map[string]int // by path
	whole    int            // how often the input is looked at as one value
	params   map[string]int // how often an argument is
}

func effortOf(p *ast.Policy) *effort {
	w := &effort{units: 1, guards: map[string]int{}, params: map[string]int{}}
	for _, c := range p.Conditions {
		w.survey(c.Body)
	}
	w.distinct += len(w.guards)
	for _, c := range p.Conditions {
		w.expr(c.Body, 0)
	}
	return w
}

// survey finds the guards, and where the input is looked at.
func (w *effort) survey(n ast.IsNode) {
	root, path := chain(n)
	switch n.(type) {
	case ast.NodeTypeHas:
		if root == "" {
			w.distinct++
		} else {
			w.guards[fmt.Sprint(root, path)]++
		}
	case ast.NodeTypeHasTag:
		w.distinct++
	}
	switch {
	case root == "context" && (len(path) == 0 || len(path) == 1 && path[0] == "input"):
		w.whole++
	case root == "context" && path[0] == "input":
		w.params[string(path[1])]++
	}
	if root != "" {
		return
	}
	kids, _ := children(n)
	for _, k := range kids {
		w.survey(k)
	}
}

// expr adds what an expression takes where some guards hold, and tells how many hold behind it. Each && compares the guards
// of both its sides with each other, again at every link of a chain.
func (w *effort) expr(n ast.IsNode, held int) int {
	w.units++
	switch v := n.(type) {
	case ast.NodeTypeAnd:
		left := w.expr(v.Left, held)
		right := w.expr(v.Right, left)
		w.units += (left*left + right*right) / 8
		return right
	case ast.NodeTypeOr:
		left, right := w.expr(v.Left, held), w.expr(v.Right, held)
		w.units += left * right / 8
		return min(left, right)
	case ast.NodeTypeIfThenElse:
		then := w.expr(v.Then, w.expr(v.If, held))
		otherwise := w.expr(v.Else, held)
		w.units += then * otherwise / 8
		return min(then, otherwise)
	case ast.NodeTypeHas:
		w.expr(v.Arg, held)
		return min(held+1, w.distinct)
	case ast.NodeTypeAccess:
		w.units += held
	}
	kids, _ := children(n)
	for _, k := range kids {
		w.expr(k, held)
	}
	if _, ok := n.(ast.NodeTypeHasTag); ok {
		return min(held+1, w.distinct)
	}
	return held
}

// over is what it takes for one kind of request about a tool.
func (w *effort) over(t *tool) int {
	n := w.units
	if t == nil {
		return n
	}
	if w.whole > 0 {
		n += w.whole * t.input.nodes()
	}
	for name, times := range w.params {
		if m := t.input.member([]byte(name)); m != nil {
			n += times * m.shape.nodes()
		}
	}
	return n
}

// nodes counts the types in a shape.
func (s *shape) nodes() int {
	n := 1
	if s.kind == kindSet {
		n += s.elem.nodes()
	}
	for _, m := range s.fields {
		n += m.shape.nodes()
	}
	return n
}

// afford refuses the policy whose validation would exceed what is left of the bundle's budget.
func (c *checker) afford(r *rule) *Problem {
	if r.full.reads.fields&readInput != 0 { // the tools are told apart first
		c.spent += len(c.tools) * (1 + len(r.full.reads.params)) / 4
	}
	if c.spent <= compileBudget {
		c.spent += c.effort(r)
	}
	if c.spent <= compileBudget {
		return nil
	}
	p := r.problem("", fmt.Sprintf("with this policy the bundle takes too long to check against %d tools", len(c.tools)),
		"name the tools or servers a long condition is about in the policy's scope, or split the condition; ask for has only once for each argument")
	return &p
}

// effort is what validating a rule takes: each action's context is prepared, and where the scope fits the conditions are
// checked.
func (c *checker) effort(r *rule) (units int) {
	work, scope := effortOf(r.ast()), scopeActions(r.ast())
	actions := c.actions[c.validator(r)]
	units = len(scope) * len(actions) / 4
	reached := 0
	for uid, a := range actions {
		if a.AppliesTo == nil {
			continue
		}
		t := c.tool(uid)
		units += contextUnits
		if t != nil {
			units += c.sizes[uid]
		}
		if !c.within(uid, scope) {
			continue
		}
		reached++
		units += work.over(t) * len(a.AppliesTo.Principals) * len(a.AppliesTo.Resources)
	}
	if len(scope) > 0 {
		units += reached * reached / 16 // each is looked for among them
	}
	return units
}

// contextUnits is what preparing the context of an action takes, besides its arguments.
const contextUnits = 32

func (c *checker) within(uid types.EntityUID, scope []types.EntityUID) bool {
	return len(scope) == 0 || slices.Contains(scope, uid) || slices.ContainsFunc(c.words.parents[uid], func(p types.EntityUID) bool { return slices.Contains(scope, p) })
}

// tool is the one whose own action this is, or nil.
func (c *checker) tool(uid types.EntityUID) *tool {
	if c.byAction == nil {
		c.byAction, c.sizes = make(map[types.EntityUID]*tool, len(c.tools)), make(map[types.EntityUID]int, len(c.tools))
		for _, t := range c.tools {
			c.byAction[t.action], c.sizes[t.action] = t, t.input.nodes()
		}
	}
	return c.byAction[uid]
}
