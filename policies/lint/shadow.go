package lint

import (
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// shadows finds policies that say at least as much as another: a scope that holds the other's, and no fact that the other does
// not ask for as well. Each policy stands under its scope and its rarest fact, so that looking for those around one policy
// costs the same whatever their number.
type shadows struct {
	counts map[string]int
	at     map[shadowKey][]*policy
}

// scopeKey is one part of a scope: an entity with what is in it or alone, a type, or everything.
type scopeKey struct {
	entity types.EntityUID
	typ    types.EntityType
	exact  bool
}

type shadowKey struct {
	principal, action, resource scopeKey
	fact                        string
}

func newShadows(all []*policy) *shadows {
	s := &shadows{map[string]int{}, map[shadowKey][]*policy{}}
	for _, p := range all {
		for _, f := range p.facts {
			s.counts[f.String()]++
		}
	}
	for _, p := range all {
		if p.Hold || p.shadow() || p.notes["rate"] != "" || !whole(p) {
			continue // what lets some calls pass makes nothing else pointless
		}
		for _, action := range keys(p.tree.Action) {
			k := shadowKey{keys(p.tree.Principal)[0], action, keys(p.tree.Resource)[0], s.rarest(p)}
			s.at[k] = append(s.at[k], p)
		}
	}
	return s
}

// whole tells whether every condition of a policy was read: what says more than was read must shadow nothing.
func whole(p *policy) bool { return len(p.terms) == len(p.Conditions) }

func (s *shadows) rarest(p *policy) string {
	best := ""
	for _, f := range p.facts {
		if t := f.String(); best == "" || s.counts[t] < s.counts[best] {
			best = t
		}
	}
	return best
}

// keys gives what a scope stands under.
func keys(n ast.IsScopeNode) []scopeKey {
	switch v := n.(type) {
	case ast.ScopeTypeEq:
		return []scopeKey{{entity: v.Entity, exact: true}}
	case ast.ScopeTypeIn:
		return []scopeKey{{entity: v.Entity}}
	case ast.ScopeTypeIsIn:
		return []scopeKey{{entity: v.Entity, typ: v.Type}}
	case ast.ScopeTypeIs:
		return []scopeKey{{typ: v.Type}}
	case ast.ScopeTypeInSet:
		var out []scopeKey
		for _, e := range v.Entities {
			out = append(out, scopeKey{entity: e})
		}
		return out
	}
	return []scopeKey{{}}
}

// around lists the keys that hold all that one key holds, itself first.
func around(k scopeKey, groups []types.EntityUID) []scopeKey {
	out := []scopeKey{k}
	typ := k.typ
	if k.exact {
		typ = k.entity.Type
		out = append(out, scopeKey{entity: k.entity}, scopeKey{entity: k.entity, typ: typ})
	}
	none := types.EntityUID{}
	if k.entity != none && k.typ != "" {
		out = append(out, scopeKey{entity: k.entity})
	}
	for _, g := range groups {
		out = append(out, scopeKey{entity: g}, scopeKey{entity: g, typ: typ})
	}
	if typ != "" {
		out = append(out, scopeKey{typ: typ})
	}
	return append(out, scopeKey{})
}

// of finds a policy that makes p pointless: a forbid, or for a permit a permit as well.
func (s *shadows) of(p *policy) *policy {
	facts := []string{""}
	for _, f := range p.facts {
		facts = append(facts, f.String())
	}
	mine := keys(p.tree.Action)
	if len(mine) == 0 || p.shadow() {
		return nil
	}
	resource := keys(p.tree.Resource)[0]
	for _, principal := range around(keys(p.tree.Principal)[0], nil) {
		for _, action := range around(mine[0], p.groups(mine[0])) {
			for _, res := range around(resource, serverOf(resource)) {
				for _, f := range facts {
					for _, q := range s.at[shadowKey{principal, action, res, f}] {
						if q != p && p.coveredBy(q, facts, mine) {
							return q
						}
					}
				}
			}
		}
	}
	return nil
}

// groups lists what an action is in.
func (p *policy) groups(k scopeKey) []types.EntityUID {
	var out []types.EntityUID
	for _, g := range p.world.schema.groups[string(k.entity.ID)] {
		out = append(out, types.NewEntityUID("Action", types.String(g)))
	}
	return out
}

// serverOf names the server of a tool that is meant alone.
func serverOf(k scopeKey) []types.EntityUID {
	name, _, ok := strings.Cut(string(k.entity.ID), "/")
	if !ok || !k.exact || !servered(string(k.entity.Type)) {
		return nil
	}
	return []types.EntityUID{types.NewEntityUID("Server", types.String(name))}
}

// coveredBy tells whether q, whose principal and resource hold those of p, also holds every action and asks for nothing more.
// Of two that say the same the later one is pointless.
func (p *policy) coveredBy(q *policy, facts []string, actions []scopeKey) bool {
	if p.Forbid && !q.Forbid {
		return false
	}
	for _, f := range q.facts {
		if !slices.Contains(facts, f.String()) {
			return false
		}
	}
	for _, a := range actions {
		if !slices.ContainsFunc(around(a, p.groups(a)), func(k scopeKey) bool { return slices.Contains(keys(q.tree.Action), k) }) {
			return false
		}
	}
	same := q.Forbid == p.Forbid && p.Hold == q.Hold && len(q.facts) == len(p.facts) && slices.Equal(keys(q.tree.Principal), keys(p.tree.Principal)) &&
		slices.Equal(keys(q.tree.Action), actions) && slices.Equal(keys(q.tree.Resource), keys(p.tree.Resource))
	return !same || q.order < p.order
}
