package policies

import (
	"errors"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Nothing interrupts cedar-go, and what a policy costs can be its length times that of an argument, both of one caller's
// choosing. So the most that an evaluation can take is added up first, from a form that is made when the policy is
// compiled and the lengths of this call, and what is too dear is refused unasked. A unit is about what it takes to look at
// one byte: one to five nanoseconds.
const (
	// overlayBudget is for all overlays of one decision together: some five milliseconds. Anybody may lay terms over a plan of
	// theirs, and everybody waits for the same processors. It is enough for 50 patterns over 64 KiB of text.
	overlayBudget = 4 << 20

	// bundleBudget is for the bundle. Its policies are the operator's, but the text they look at is the caller's, who may pick
	// one that is hard to match: a call never takes more than a few tenths of a second. It is enough for 40 common patterns
	// over 1 MiB.
	bundleBudget = 128 << 20

	// textGrowth is how much longer a value can be than its JSON: 1e20 takes 21 digits.
	textGrowth = 6
)

// What an operation takes, in units, beside the bytes that it looks at.
const (
	nodeUnits    = 32
	callUnits    = 256 // an extension function
	elementUnits = 128 // of a set or record that is made anew, or of a list of scopes
)

var (
	errTooDear = errors.New("the policy costs too much for arguments of this size")
	errAllDear = errors.New("the bundle's policies cost too much for arguments of this size")
)

// extent is a number of bytes or units that depends on the call: fixed, and so many for each byte of what is known of the
// caller and the tool, of single arguments, and of all arguments.
type extent struct {
	fixed, env, whole int
	params            map[string]int
}

// add adds o, times n. Texts of policies are short, so nothing overflows.
func (x *extent) add(o extent, n int) {
	x.fixed += o.fixed * n
	x.env += o.env * n
	x.whole += o.whole * n
	for name, times := range o.params {
		x.param(name, times*n)
	}
}

func (x *extent) param(name string, n int) {
	if x.params == nil {
		x.params = map[string]int{}
	}
	x.params[name] += n
}

// slope is the most that one more byte of arguments adds.
func (x *extent) slope() int {
	n := x.whole
	for _, times := range x.params {
		n += times
	}
	return n
}

// sizes are the lengths of one call.
type sizes struct {
	env   int          // bytes of what is known of the caller and the tool
	input types.Record // what is shown of the arguments
	more  int          // bytes that are shown beside it
}

// of is the extent for one call.
func (x *extent) of(s *sizes) int {
	n := x.fixed + x.env*s.env
	if x.whole > 0 {
		n += x.whole * (s.more + sizeOf(s.input))
	}
	for name, times := range x.params {
		if v, ok := s.input.Get(types.String(name)); ok {
			n += times * sizeOf(v)
		}
	}
	return n
}

// sizeOf bounds the bytes of a value.
func sizeOf(v types.Value) int {
	n := 8
	switch v := v.(type) {
	case types.String:
		n += len(v)
	case types.EntityUID:
		n += 8 + len(v.Type) + len(v.ID)
	case types.Set:
		for e := range v.All() {
			n += 8 + sizeOf(e)
		}
	case types.Record:
		for k, e := range v.All() {
			n += 8 + len(k) + sizeOf(e)
		}
	}
	return n
}

// sizesOf measures what is known of a call.
func sizesOf(a *Ask, v *view) sizes {
	s := sizes{env: v.caller.size + v.target.size + len(a.User) + len(a.Plan.ID) + len(a.Plan.BundleAtIssue)}
	for _, l := range a.Labels {
		s.env += 16 + len(l)
	}
	for _, l := range a.Session.Labels {
		s.env += 16 + len(l)
	}
	for i := range a.Scores {
		s.env += 24 + len(a.Scores[i].Name)
	}
	return s
}

// costOf bounds what the conditions and scopes of a policy take.
func costOf(p *ast.Policy) (x extent) {
	for _, scope := range []ast.IsScopeNode{p.Principal, p.Action, p.Resource} {
		x.fixed += elementUnits * len(scopeKeys(scope))
	}
	for _, c := range p.Conditions {
		x.value(c.Body)
	}
	return x
}

// value adds what evaluating n takes, and bounds the size of what comes out.
func (x *extent) value(n ast.IsNode) (size extent) {
	x.fixed += nodeUnits
	if root, path := chain(n); root != "" {
		x.fixed += nodeUnits * len(path)
		return place(root, path)
	}
	switch v := n.(type) {
	case ast.NodeValue:
		return extent{fixed: sizeOf(v.Value)}
	case ast.NodeTypeLike:
		x.add(x.value(v.Arg), patternOf(v.Value).hardness())
		return extent{fixed: 8}
	case ast.NodeTypeEquals, ast.NodeTypeNotEquals:
		x.equal(n)
		return extent{fixed: 8}
	}
	kids, known := children(n)
	if !known {
		x.fixed += bundleBudget
	}
	for _, k := range kids {
		size.add(x.value(k), 1)
	}
	return x.operator(n, len(kids), size)
}

// place is the size of what stands at a path below a variable.
func place(root types.String, path []types.String) (size extent) {
	switch {
	case root != "context":
		size.env = 1
	case len(path) == 0:
		size.env, size.whole = 1, 2
	case path[0] == "input" && len(path) > 1:
		size.param(string(path[1]), 1)
	case path[0] == "input", path[0] == "undeclared", path[0] == "inputNulls":
		size.whole = 2
	default:
		size.env = 1
	}
	return size
}

// equal adds a comparison. What is not of the same length or hash is not looked into, so a literal bounds it.
func (x *extent) equal(n ast.IsNode) {
	left, right, _ := operands(n)
	l, r := x.value(left), x.value(right)
	_, fixed := left.(ast.NodeValue)
	if _, ok := right.(ast.NodeValue); ok {
		l, fixed = r, true
	}
	x.add(l, 4)
	if !fixed {
		x.add(r, 4)
	}
}

// operator adds what an operator takes beyond its operands, whose sizes are given together.
func (x *extent) operator(n ast.IsNode, operands int, size extent) extent {
	switch n.(type) {
	case ast.NodeTypeIfThenElse:
		return size
	case ast.NodeTypeSet:
		if !constants(n) { // else it is made once, when it is compiled
			x.add(size, 4)
			x.fixed += elementUnits*operands + 16*operands*operands // all may share one hash
		}
		return size
	case ast.NodeTypeRecord:
		x.add(size, 2)
		x.fixed += elementUnits * operands
		return size
	case ast.NodeTypeAccess:
		return size
	case ast.NodeTypeExtensionCall: // its errors quote what it could not read
		x.add(size, 16)
		x.fixed += callUnits
	case ast.NodeTypeContains, ast.NodeTypeContainsAll, ast.NodeTypeContainsAny: // hashes, and probes
		x.add(size, 4)
	case ast.NodeTypeIn, ast.NodeTypeIsIn: // a set of entities is built again each time
		x.add(size, 8)
	}
	return extent{fixed: 8}
}

// constants reports that an expression has only literals below it.
func constants(n ast.IsNode) bool {
	kids, known := children(n)
	for _, k := range kids {
		known = known && constants(k)
	}
	_, variable := n.(ast.NodeTypeVariable)
	return known && !variable
}

// affordable reports whether the bundle's policies in g may look at arguments of this size. Most calls are settled by the
// first look.
func (g *group) affordable(a *Ask, v *view, ctx types.RecordMap) bool {
	if g.cheap(a) {
		return true
	}
	s := sizesOf(a, v)
	s.input, _ = ctx["input"].(types.Record)
	s.more = textGrowth * len(a.Args)
	return g.cost.of(&s) <= bundleBudget
}
