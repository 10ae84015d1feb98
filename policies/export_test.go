package policies

import (
	"iter"
	"slices"

	cedar "github.com/cedar-policy/cedar-go"
)

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

// Scan answers an Ask the plain way: cedar.Authorize over every policy with the whole context, no index, no guard, no
// cache, and forbids that fail refuse. The engine must agree with it.
func Scan(e *Engine, a *Ask) (Decision, error) {
	t, err := e.target(a)
	if err != nil {
		return Decision{}, err
	}
	who := newCaller(a.Principal, 0)
	v := &view{who, t}
	all := reads{fields: readAll, whole: true}
	f, err := newFacts(a, readAll, who.trust)
	if err != nil {
		return Decision{}, err
	}
	ctx := f.base(a.Labels)
	if t.input != nil {
		if err := addInput(ctx, a.Args, t.input, all); err != nil {
			return Decision{}, err
		}
	}
	answer, diag := cedar.Authorize(scanAll{e, !a.ArgsKnown}, v, v.request(cedar.NewRecord(ctx)))
	out := outcome{allowed: bool(answer), reasons: diag.Reasons}
	if len(diag.Errors) > 0 {
		e.blame(&out, diag.Errors)
	}
	return Decision{engine: e, outcome: out}, nil
}

// Candidates is the number of policies evaluated for an Ask.
func Candidates(e *Engine, a *Ask) int {
	t, err := e.target(a)
	if err != nil {
		return 0
	}
	c := gather(view{newCaller(a.Principal, 0), t}, !a.ArgsKnown)
	return len(c.lasting.policies) + len(c.fresh.policies)
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
