package policies

import (
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// field is one part of the context that can be built, or left out, on its own.
type field uint32

const (
	readNow field = 1 << iota
	readIP
	readTLS
	readTrust
	readUser
	readInPlan
	readPlanID
	readStep
	readSteps
	readDone
	readExpires
	readIssued
	readLabels
	readInput
	readNulls
	readUndeclared
	readNext
	readScore
	readScores
	readCalls
	readThisTool
	readSeen
	readApproved
	readApprovals

	readPlan = readInPlan | readPlanID | readStep | readSteps | readDone | readExpires | readIssued | readNext
	readNet  = readIP | readTLS
	readAll  = readApprovals<<1 - 1

	readFilters  = readLabels | readScore | readScores
	readSession  = readCalls | readThisTool | readSeen
	readApproval = readApproved | readApprovals

	// readUnknown is what nobody knows when a list is filtered: the arguments, which step of which plan, what filters will
	// make of the call, what its session will hold by then, and whether people will approve it. Whether there is a plan at
	// all is still taken from the Ask.
	readUnknown = readInput | readNulls | readUndeclared | (readPlan &^ readInPlan) | readScore | readScores | readSession | readApproval
)

// contextPaths names the leaf of the context behind each field. Reading a path reads every leaf below it. An overlay may
// read them all but inputNulls and undeclared, and its input is made of Json records.
var contextPaths = map[string]field{
	"now": readNow, "net.ip": readIP, "net.tls": readTLS, "trust": readTrust, "onBehalfOf": readUser,
	"plan.inPlan": readInPlan, "plan.id": readPlanID, "plan.step": readStep, "plan.steps": readSteps,
	"plan.stepsDone": readDone, "plan.expires": readExpires, "plan.bundleAtIssue": readIssued,
	"plan.next": readNext, "filters.score": readScore, "filters.scores": readScores,
	"session.calls": readCalls, "session.callsThisTool": readThisTool, "session.labels": readSeen,
	"approval.approved": readApproved, "approval.count": readApprovals,
	"filters.labels": readLabels, "input": readInput, "inputNulls": readNulls, "undeclared": readUndeclared,
}

// reads is what a policy looks at in the context: a bound, never less than it reads.
type reads struct {
	fields field
	params []string // top-level arguments, sorted; only if readInput is set and whole is not
	whole  bool     // the input as one value
}

func (r reads) union(o reads) reads {
	out := reads{fields: r.fields | o.fields, whole: r.whole || o.whole}
	if !out.whole {
		out.params = append(slices.Clone(r.params), o.params...)
		slices.Sort(out.params)
		out.params = slices.Compact(out.params)
	}
	return out
}

// note records that path below context is read; an unknown path (the validator refuses it) reads everything.
func (r *reads) note(path []types.String) {
	if len(path) == 0 {
		r.fields, r.whole = readAll, true
		return
	}
	if path[0] == "input" {
		r.fields |= readInput
		if len(path) == 1 {
			r.whole = true
		} else if i, found := slices.BinarySearch(r.params, string(path[1])); !found {
			r.params = slices.Insert(r.params, i, string(path[1]))
		}
		return
	}
	r.fields |= fieldsAt(path)
}

// fieldsAt gives the fields at, above or below a path.
func fieldsAt(path []types.String) field {
	if len(path) > 2 {
		path = path[:2]
	}
	words := make([]string, len(path))
	for i, p := range path {
		words[i] = string(p)
	}
	name := strings.Join(words, ".")
	got := contextPaths[name]
	if got != 0 {
		return got
	}
	for leaf, f := range contextPaths {
		if strings.HasPrefix(leaf, name+".") || strings.HasPrefix(name, leaf+".") {
			got |= f
		}
	}
	if got == 0 {
		return readAll
	}
	return got
}

// readsOf analyses the conditions of a policy. Scopes never read the context.
func readsOf(p *ast.Policy) reads {
	var r reads
	for _, c := range p.Conditions {
		r.visit(c.Body)
	}
	return r
}

func readsOfNode(n ast.IsNode) reads {
	var r reads
	r.visit(n)
	return r
}

func (r *reads) visit(n ast.IsNode) {
	if root, path := chain(n); root == "context" {
		r.note(path)
		return
	}
	kids, known := children(n)
	if !known {
		r.note(nil)
	}
	for _, k := range kids {
		r.visit(k)
	}
}

// maxChain bounds a path of attributes: nothing known is as deep, and each of its ends is tried.
const maxChain = 32

// chain takes x.a.b, and x.a has b, apart when x is a variable. A longer path than maxChain is none.
func chain(n ast.IsNode) (root types.String, path []types.String) { return chainTo(n, maxChain) }

func chainTo(n ast.IsNode, left int) (root types.String, path []types.String) {
	if left < 0 {
		return "", nil
	}
	switch v := n.(type) {
	case ast.NodeTypeVariable:
		return v.Name, nil
	case ast.NodeTypeAccess:
		if root, path = chainTo(v.Arg, left-1); root != "" {
			return root, append(path, v.Value)
		}
	case ast.NodeTypeHas:
		if root, path = chainTo(v.Arg, left-1); root != "" {
			return root, append(path, v.Value)
		}
	}
	return "", nil
}

// children lists the direct parts of an expression. known is false for a node this program has never heard of; callers
// then assume the worst.
func children(n ast.IsNode) (kids []ast.IsNode, known bool) {
	if l, r, ok := operands(n); ok {
		return []ast.IsNode{l, r}, true
	}
	switch v := n.(type) {
	case ast.NodeValue, ast.NodeTypeVariable:
		return nil, true
	case ast.NodeTypeAccess:
		return []ast.IsNode{v.Arg}, true
	case ast.NodeTypeHas:
		return []ast.IsNode{v.Arg}, true
	case ast.NodeTypeLike:
		return []ast.IsNode{v.Arg}, true
	case ast.NodeTypeIs:
		return []ast.IsNode{v.Left}, true
	case ast.NodeTypeIsIn:
		return []ast.IsNode{v.Left, v.Entity}, true
	case ast.NodeTypeNegate:
		return []ast.IsNode{v.Arg}, true
	case ast.NodeTypeNot:
		return []ast.IsNode{v.Arg}, true
	case ast.NodeTypeIsEmpty:
		return []ast.IsNode{v.Arg}, true
	case ast.NodeTypeIfThenElse:
		return []ast.IsNode{v.If, v.Then, v.Else}, true
	case ast.NodeTypeExtensionCall:
		return v.Args, true
	case ast.NodeTypeSet:
		return v.Elements, true
	case ast.NodeTypeRecord:
		for _, e := range v.Elements {
			kids = append(kids, e.Value)
		}
		return kids, true
	}
	return nil, false
}

// operands gives both sides of an operator.
func operands(n ast.IsNode) (l, r ast.IsNode, ok bool) {
	var b ast.BinaryNode
	switch v := n.(type) {
	case ast.NodeTypeAnd:
		b = v.BinaryNode
	case ast.NodeTypeOr:
		b = v.BinaryNode
	case ast.NodeTypeEquals:
		b = v.BinaryNode
	case ast.NodeTypeNotEquals:
		b = v.BinaryNode
	case ast.NodeTypeLessThan:
		b = v.BinaryNode
	case ast.NodeTypeLessThanOrEqual:
		b = v.BinaryNode
	case ast.NodeTypeGreaterThan:
		b = v.BinaryNode
	case ast.NodeTypeGreaterThanOrEqual:
		b = v.BinaryNode
	case ast.NodeTypeIn:
		b = v.BinaryNode
	case ast.NodeTypeContains:
		b = v.BinaryNode
	case ast.NodeTypeContainsAll:
		b = v.BinaryNode
	case ast.NodeTypeContainsAny:
		b = v.BinaryNode
	case ast.NodeTypeAdd:
		b = v.BinaryNode
	case ast.NodeTypeSub:
		b = v.BinaryNode
	case ast.NodeTypeMult:
		b = v.BinaryNode
	case ast.NodeTypeHasTag:
		b = v.BinaryNode
	case ast.NodeTypeGetTag:
		b = v.BinaryNode
	default:
		return nil, nil, false
	}
	return b.Left, b.Right, true
}
