package policies

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
)

// Value is what a condition came to.
type Value uint8

// The values of a condition.
const (
	Unknown Value = iota // it means nothing where it was not reached, as behind a has that failed
	Holds
	Fails
	Broken // it could not be evaluated
)

var valueNames = [...]string{Unknown: "unknown", Holds: "holds", Fails: "fails", Broken: "error"}

// String gives the words that people read.
func (v Value) String() string { return valueNames[v] }

// Judged is a condition with its value. An unless holds when what it says is false.
type Judged struct {
	Condition
	Value   Value
	Reached bool   // Cedar stops at the first that does not hold; those behind it count for nothing
	Error   string // of a Broken one
}

// Reason is what became of one policy whose scope fits the call.
type Reason struct {
	Policy      string // as Decision.Policies names it
	ID, File    string
	Line        int
	Forbid      bool
	Hold        bool // a forbid that waits for an approval
	Shadow      bool // it has @mode("shadow"): it decides nothing
	Approved    bool // a Hold that applies, and that the approval has answered
	Annotations map[string]string
	Conditions  []Judged
	Value       Value // Holds: the policy applies
	order       int
}

// Explanation says how a decision came about.
type Explanation struct {
	Decision Decision
	// Reasons are all policies whose scopes fit, in the order of the bundle: those that apply, and those that do not, each
	// condition with its value. Policies of overlays are not among them.
	Reasons []Reason
	// Nearest are the permits that missed by the fewest conditions, when nothing permitted; at most three.
	Nearest []string
}

// nearest bounds Explanation.Nearest.
const nearest = 3

// Explain decides as Decide does, and says of each policy that could have mattered what its conditions came to. It takes
// some ten times as long, and is for people who ask. Only a call whose arguments are known can be explained.
func (e *Engine) Explain(a *Ask) (x Explanation, err error) {
	if e == nil || a == nil || a.Principal == nil {
		return Explanation{}, errors.New("explain: no engine or no principal")
	}
	if !a.ArgsKnown {
		return Explanation{}, errors.New("explain: the arguments must be known")
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("explain: policy engine fault: %v", r)
		}
	}()
	x.Decision = e.Decide(a)
	who := e.caller(a.Principal, printPrincipal(e.seed, a.Principal))
	if who.err != nil {
		return x, nil // the decision says why
	}
	t, err := e.target(a)
	if err != nil {
		return x, nil //nolint:nilerr // as above
	}
	x.Reasons = e.reasons(a, &view{caller: who, target: t})
	if e.beside != nil {
		if t, err := e.beside.target(a); err == nil {
			x.Reasons = append(x.Reasons, e.beside.reasons(a, &view{caller: who, target: t})...)
			slices.SortStableFunc(x.Reasons, func(a, b Reason) int { return cmp.Compare(a.order, b.order) })
		}
	}
	if !slices.ContainsFunc(x.Reasons, func(r Reason) bool { return !r.Forbid && !r.Shadow && r.Value == Holds }) {
		x.Nearest = closestPermits(x.Reasons)
	}
	return x, nil
}

// reasons judges every policy whose scope fits, in the order of the bundle.
func (e *Engine) reasons(a *Ask, v *view) (out []Reason) {
	var rules []*rule
	var all reads
	for _, r := range v.fitting() {
		if v.inScope(r) {
			rules, all = append(rules, r), all.union(r.full.reads)
		}
	}
	env, err := v.environment(a, all)
	for _, r := range rules {
		own := err
		if err != nil {
			env, own = v.environment(a, r.full.reads)
		}
		out = append(out, v.judge(a, r, env, own))
	}
	return out
}

// inScope tells whether the scopes of a policy hold; the index may answer with more.
func (v *view) inScope(r *rule) bool {
	p := r.ast()
	return fits(p.Principal, &v.caller.entity) && fits(p.Action, &v.target.action) && fits(p.Resource, &v.target.resource)
}

// fits tells whether a scope lets an entity through, all of whose groups are its parents.
func fits(n ast.IsScopeNode, e *types.Entity) bool {
	in := func(u types.EntityUID) bool { return u == e.UID || e.Parents.Contains(u) }
	switch s := n.(type) {
	case ast.ScopeTypeAll:
		return true
	case ast.ScopeTypeEq:
		return s.Entity == e.UID
	case ast.ScopeTypeIn:
		return in(s.Entity)
	case ast.ScopeTypeInSet:
		return slices.ContainsFunc(s.Entities, in)
	case ast.ScopeTypeIs:
		return s.Type == e.UID.Type
	case ast.ScopeTypeIsIn:
		return s.Type == e.UID.Type && in(s.Entity)
	}
	return false
}

// judge evaluates a policy's conditions one by one. err is why the environment does not hold all that they read.
func (v *view) judge(a *Ask, r *rule, env eval.Env, err error) (out Reason) {
	out = Reason{
		Policy: r.label, ID: r.id, File: r.file, Line: r.line, Forbid: r.forbid, Hold: r.hold != nil,
		Shadow: r.shadow, Annotations: r.annotations(), Value: Holds, order: r.order,
	}
	defer func() { out.Approved = out.Hold && out.Value == Holds && a.Approved }()
	for _, c := range r.conditions() {
		j := Judged{Condition: c.Condition, Reached: out.Value == Holds}
		if err != nil {
			j.Value, j.Error = v.alone(a, c)
		} else {
			j.Value, j.Error = valueOf(c.node, c.Unless, env)
		}
		switch {
		case j.Reached:
			out.Value = j.Value
		case j.Value == Broken:
			j.Value, j.Error = Unknown, ""
		}
		out.Conditions = append(out.Conditions, j)
	}
	return out
}

// alone evaluates a condition of a policy some other condition of which reads what cannot be had.
func (v *view) alone(a *Ask, c condition) (Value, string) {
	env, err := v.environment(a, readsOf(&ast.Policy{Conditions: []ast.ConditionType{{Condition: ast.ConditionWhen, Body: c.node}}}))
	if err != nil {
		return Broken, err.Error()
	}
	return valueOf(c.node, c.Unless, env)
}

// environment holds what is read.
func (v *view) environment(a *Ask, reads reads) (eval.Env, error) {
	f, err := newFacts(a, reads.fields, v.caller.trust)
	if err != nil {
		return eval.Env{}, err
	}
	ctx := f.base(a)
	if input := v.target.input; input != nil && reads.fields&(readInput|readNulls|readUndeclared) != 0 {
		if err := addInput(ctx, a.Args, input, reads); err != nil {
			return eval.Env{}, err
		}
	}
	q := v.request(types.NewRecord(ctx))
	return eval.Env{Entities: v, Principal: q.Principal, Action: q.Action, Resource: q.Resource, Context: q.Context}, nil
}

func valueOf(n ast.IsNode, unless bool, env eval.Env) (Value, string) {
	got, err := eval.Eval(n, env)
	if err != nil {
		return Broken, err.Error()
	}
	b, ok := got.(types.Boolean)
	switch {
	case !ok:
		return Broken, "not a boolean"
	case bool(b) != unless:
		return Holds, ""
	}
	return Fails, ""
}

// closestPermits orders the permits that did not apply by how many of their conditions were not met, then by how many were.
func closestPermits(reasons []Reason) []string {
	var permits []Reason
	for _, r := range reasons {
		if !r.Forbid && !r.Shadow {
			permits = append(permits, r)
		}
	}
	met := func(r Reason) (n int) {
		for _, c := range r.Conditions {
			if c.Value == Holds {
				n++
			}
		}
		return n
	}
	slices.SortStableFunc(permits, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(len(a.Conditions)-met(a), len(b.Conditions)-met(b)), cmp.Compare(met(b), met(a)))
	})
	var out []string
	for _, r := range permits[:min(nearest, len(permits))] {
		out = append(out, r.Policy)
	}
	return out
}

// IDs names the policies of Policies by their ids alone, in the same order.
func (d Decision) IDs() []string {
	rules := d.more.determined()
	if d.more == nil {
		rules = d.engine.named(d.reasons)
	}
	var out []string
	for _, r := range rules {
		out = append(out, r.id)
	}
	return out
}

// Policy is one policy of a bundle, as its file has it.
type Policy struct {
	Policy     string // as Decision.Policies names it
	ID, File   string
	Line       int
	Forbid     bool
	Hold       bool
	Shadow     bool // it has @mode("shadow")
	Conditions []Condition
}

// Policies lists the bundle's policies in their order, those in shadow among them.
func (e *Engine) Policies() []Policy {
	rules := slices.Clone(e.rules)
	if e.beside != nil {
		rules = inOrder(append(rules, e.beside.rules...))
	}
	out := make([]Policy, 0, len(rules))
	for _, r := range rules {
		p := Policy{Policy: r.label, ID: r.id, File: r.file, Line: r.line, Forbid: r.forbid, Hold: r.hold != nil, Shadow: r.shadow}
		for _, c := range r.conditions() {
			p.Conditions = append(p.Conditions, c.Condition)
		}
		out = append(out, p)
	}
	return out
}
