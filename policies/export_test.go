package policies

import (
	"iter"
	"slices"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

// Parses tells whether a text is Cedar.
func Parses(text string) bool {
	_, err := cedar.NewPolicyListFromBytes("", []byte(text))
	return err == nil
}

// scanAll gives every policy of an engine, guards and index unused.
type scanAll struct {
	e       *Engine
	unknown bool
}

func (s scanAll) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, r := range s.e.rules {
			form := &r.full
			if s.unknown {
				form = r.maybe
			}
			if form != nil && !yield(cedar.PolicyID(r.label), form.policy) {
				return
			}
		}
	}
}

// Plain is the answer of Scan.
type Plain struct {
	Allowed, Held    bool
	Policies, Errors []string
}

// Scan answers an Ask the plain way: cedar.Authorize over every policy with the whole context, no index, no guard, no
// cache, and forbids that fail refuse; then every policy of every overlay. The engine must agree with it.
func Scan(e *Engine, a *Ask) (p Plain, err error) {
	t, err := e.target(a)
	if err != nil {
		return p, err
	}
	who := newCaller(a.Principal, 0)
	v := &view{caller: who, target: t}
	f, err := newFacts(a, readAll, who.trust)
	if err != nil {
		return p, err
	}
	ctx := f.base(a)
	if t.input != nil {
		if err := addInput(ctx, a.Args, t.input, reads{fields: readAll, whole: true}); err != nil {
			return p, err
		}
	}
	var permits, holds []string
	ask := func(id cedar.PolicyID, policy *cedar.Policy, r *rule) {
		_, diag := cedar.Authorize(one{policy}, v, v.request(cedar.NewRecord(ctx)))
		switch {
		case len(diag.Errors) > 0:
			p.Errors = append(p.Errors, string(id)+": "+diag.Errors[0].Message)
			if r.forbid {
				p.Policies = append(p.Policies, string(id))
			}
		case len(diag.Reasons) == 0:
		case !r.forbid:
			permits = append(permits, string(id))
		case r.hold != nil:
			holds = append(holds, string(id))
		default:
			p.Policies = append(p.Policies, string(id))
		}
	}
	for id, policy := range (scanAll{e, !a.ArgsKnown}).All() {
		ask(id, policy, e.byLabel[string(id)])
	}
	for _, o := range a.Overlays {
		delete(ctx, "input")
		if t.input != nil {
			if ctx["input"], err = (&bill{left: 1 << 40}).shown(a.Args, &reads{whole: true}); err != nil {
				return p, err
			}
		}
		for _, l := range o.rules {
			form := &l.full
			if !a.ArgsKnown {
				form = l.maybe
			}
			if form != nil {
				ask(cedar.PolicyID(l.label), form.policy, l.rule)
			}
		}
	}
	if a.Approved {
		holds = nil
	}
	switch denied := len(p.Policies) > 0 || len(permits) == 0; {
	case denied || len(holds) > 0:
		p.Held = !denied
		p.Policies = append(p.Policies, holds...)
	default:
		p.Allowed, p.Policies = true, permits
	}
	return p, nil
}

// Candidates is the number of policies evaluated for an Ask.
func Candidates(e *Engine, a *Ask) int {
	t, err := e.target(a)
	if err != nil {
		return 0
	}
	c := gather(view{caller: newCaller(a.Principal, 0), target: t}, !a.ArgsKnown)
	n := 0
	for _, g := range []*group{&c.lasting, c.lasting.holds, &c.fresh, c.fresh.holds} {
		if g != nil {
			n += len(g.policies)
		}
	}
	return n
}

// Ids gives the ids of an engine's policies.
func Ids(e *Engine) (ids []string) {
	for _, r := range e.rules {
		ids = append(ids, r.id)
	}
	slices.Sort(ids)
	return ids
}

// Corrupt makes evaluation panic: the index answers with a policy that is none.
func Corrupt(e *Engine) {
	for _, t := range e.tools {
		t.buckets = []bucket{{scopeKey{}: {nil}}}
	}
}

// Units is what the overlays of an Ask are charged before they are asked, and the error if that is too much.
func Units(e *Engine, a *Ask) (int, error) {
	t, err := e.target(a)
	if err != nil {
		return 0, err
	}
	_, b, err := price(a, &view{caller: newCaller(a.Principal, 0), target: t})
	if b == nil {
		return 0, err
	}
	return overlayBudget - b.left, err
}

// Budgets of one decision, in units.
const (
	OverlayBudget = overlayBudget
	BundleBudget  = bundleBudget
)

// Pattern is how a pattern of like, as it stands in Cedar between quotes, is matched and priced.
type Pattern struct {
	Cedar types.Pattern
	own   pattern
}

// NewPattern takes texts apart from one another by stars.
func NewPattern(texts ...string) Pattern {
	var parts []any
	for i, s := range texts {
		if i > 0 {
			parts = append(parts, types.Wildcard{})
		}
		parts = append(parts, s)
	}
	p := types.NewPattern(parts...)
	return Pattern{p, patternOf(p)}
}

// Match is the overlays' own way of matching.
func (p Pattern) Match(s string) bool { return p.own.match(s) }

// Hardness is what Cedar's way takes for a byte, at most.
func (p Pattern) Hardness() int { return p.own.hardness() }

// Texts are the pattern's.
func (p Pattern) Texts() []string { return p.own }
