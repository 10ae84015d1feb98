package policies

import (
	"cmp"
	"slices"

	"github.com/cedar-policy/cedar-go/types"
)

// Action is what a policy may name as an action.
type Action struct {
	Name       string
	Groups     []string // it is in, directly or not, sorted
	Principals []string // types of who asks; none of a group
	Resources  []string // types of what is asked about
	Tool       bool     // one of the tools the bundle was compiled with
}

// Actions lists every action and group of actions, sorted by name.
func (e *Engine) Actions() []Action {
	var out []Action
	for uid, a := range e.words.full.Actions {
		x := Action{Name: string(uid.ID)}
		for _, g := range e.words.parents[uid] {
			x.Groups = append(x.Groups, string(g.ID))
		}
		slices.Sort(x.Groups)
		if a.AppliesTo != nil {
			x.Principals, x.Resources = typeNames(a.AppliesTo.Principals), typeNames(a.AppliesTo.Resources)
		}
		_, own := e.words.fixed.Actions[uid]
		x.Tool = !own
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b Action) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func typeNames(list []types.EntityType) []string {
	out := make([]string, len(list))
	for i, t := range list {
		out[i] = string(t)
	}
	slices.Sort(out)
	return out
}
