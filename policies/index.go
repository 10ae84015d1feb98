package policies

import (
	"iter"
	"slices"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/gatewright/gatewright/policies/quick"
)

// scopeKey is what one scope of a policy asks for: everything (zero), a type (no id), or an entity and what is in it.
//
// The index answers with every policy whose three scopes could hold. It may answer with more, never with less: scopes are
// evaluated again with the rest of the policy, and since ==, in and is cannot fail, a policy left out has a false scope
// and no error. So decision, reasons and errors are those of the full scan.
type scopeKey struct {
	typ    types.EntityType
	id     types.String
	entity bool
}

func entityKey(u types.EntityUID) scopeKey { return scopeKey{typ: u.Type, id: u.ID, entity: true} }

// keysOf lists every key under which a policy matching this entity may stand.
func keysOf(u types.EntityUID, ancestors []types.EntityUID) []scopeKey {
	keys := []scopeKey{{}, {typ: u.Type}, entityKey(u)}
	for _, a := range ancestors {
		keys = append(keys, entityKey(a))
	}
	return keys
}

// scopeKeys gives the keys a scope node stands under.
func scopeKeys(n ast.IsScopeNode) []scopeKey {
	switch s := n.(type) {
	case ast.ScopeTypeEq:
		return []scopeKey{entityKey(s.Entity)}
	case ast.ScopeTypeIn:
		return []scopeKey{entityKey(s.Entity)}
	case ast.ScopeTypeIsIn:
		return []scopeKey{entityKey(s.Entity)}
	case ast.ScopeTypeIs:
		return []scopeKey{{typ: s.Type}}
	case ast.ScopeTypeInSet:
		keys := make([]scopeKey, 0, len(s.Entities))
		for _, e := range s.Entities {
			keys = append(keys, entityKey(e))
		}
		return keys
	default:
		return []scopeKey{{}}
	}
}

// index finds the policies whose scopes fit: first by action and resource, which a tool fixes once, then by principal.
type index struct {
	buckets map[bucketKey]bucket
}

type bucketKey struct{ action, resource scopeKey }

type bucket map[scopeKey][]*rule

func newIndex(rules []*rule) *index {
	x := &index{buckets: map[bucketKey]bucket{}}
	for _, r := range rules {
		p := r.ast()
		for _, action := range scopeKeys(p.Action) {
			for _, resource := range scopeKeys(p.Resource) {
				x.add(bucketKey{action, resource}, scopeKeys(p.Principal), r)
			}
		}
	}
	return x
}

func (x *index) add(at bucketKey, principals []scopeKey, r *rule) {
	b := x.buckets[at]
	if b == nil {
		b = bucket{}
		x.buckets[at] = b
	}
	for _, k := range principals {
		b[k] = append(b[k], r)
	}
}

// fitting lists the buckets for one action and resource.
func (x *index) fitting(action, resource []scopeKey) []bucket {
	var out []bucket
	for _, a := range action {
		for _, r := range resource {
			if b := x.buckets[bucketKey{a, r}]; b != nil {
				out = append(out, b)
			}
		}
	}
	return out
}

// candidates is what can decide one caller's call of one target: made once, used until it falls out of the cache. They
// stand in two groups, because Cedar's records are dear to build: one reads only facts that last, and its outcome can be
// remembered; the other reads what every call brings anew.
type candidates struct {
	view    view
	lasting group
	fresh   group
}

// readFresh is what changes with every call.
const readFresh = readNow | readFilters | readSession | readApproval | readInput | readNulls | readUndeclared

// group is a list of policies and all that they read.
type group struct {
	reads    reads
	cost     extent // of all, holds included
	slope    int    // of cost
	policies []labeled
	slow     bool   // not all of them, holds included, can be asked by a glance
	holds    *group // those with @hold and forbids with @rate, asked apart: they must not hide which policies permit
}

func (g *group) empty() bool { return len(g.policies) == 0 && g.holds == nil }

// add puts a rule into the group, in the given form. sure says that its guard holds.
func (g *group) add(r *rule, form *variant, sure bool) {
	g.slow = g.slow || form.program == nil || !sure
	g.reads = g.reads.union(form.reads)
	g.cost.add(form.cost, 1)
	g.slope = g.cost.slope()
	if r.apart() {
		if g.holds == nil {
			g.holds = &group{}
		}
		g = g.holds
	}
	g.policies = append(g.policies, r.labeled(form))
}

// labeled is a policy under the id that diagnostics will carry.
type labeled struct {
	id     cedar.PolicyID
	policy *cedar.Policy

	program *quick.Program // nil if it is not of the common kind
	forbid  bool
	reason  []cedar.DiagnosticReason // itself
}

// apart says that a policy does not deny what it applies to: it has people asked, or calls counted.
func (r *rule) apart() bool { return r.hold != nil || r.rate != nil && r.forbid }

func (r *rule) labeled(form *variant) labeled {
	return labeled{
		id: cedar.PolicyID(r.label), policy: form.policy, program: form.program, forbid: r.forbid, reason: r.reason,
	}
}

// All gives the policies to cedar-go.
func (g *group) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for i := range g.policies {
			if !yield(g.policies[i].id, g.policies[i].policy) {
				return
			}
		}
	}
}

var _ cedar.PolicyIterator = (*group)(nil)

// fitting lists the policies whose scopes could hold, in the order of the bundle, each once.
func (v *view) fitting() []*rule {
	var rules []*rule
	for _, b := range v.target.buckets {
		for _, k := range v.caller.keys {
			rules = append(rules, b[k]...)
		}
	}
	slices.SortFunc(rules, func(a, b *rule) int { return a.order - b.order })
	return slices.Compact(rules)
}

// gather collects the candidates whose guards hold, in the order of the bundle, each once. unknown selects the variants
// for lists.
func gather(v view, unknown bool) *candidates {
	c := &candidates{view: v}
	for _, r := range v.fitting() {
		form := &r.full
		if unknown {
			form = r.maybe
		}
		if form == nil {
			continue
		}
		holds, fails := c.view.passes(form.guard)
		if !holds && !fails {
			continue
		}
		g := &c.lasting
		if form.reads.fields&readFresh != 0 {
			g = &c.fresh
		}
		g.add(r, form, holds && !fails)
	}
	return c
}
