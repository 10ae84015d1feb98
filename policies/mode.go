package policies

import (
	"fmt"
	"slices"
)

// A policy with @mode("shadow") is evaluated beside the others and never enforced: no answer, reason or error of a decision
// is its doing. What it would have done, Decision.WouldBe and Decision.Shadowed say.
const (
	modeShadow  = "shadow"
	modeEnforce = "enforce"
)

// takeMode reads @mode. Any other word is a slip, and a policy must not be enforced, or left out, by one.
func (r *rule) takeMode() (problems Problems) {
	switch mode, has := r.annotations()["mode"]; {
	case !has || mode == modeEnforce:
	case mode == modeShadow:
		r.shadow = true
	default:
		problems = append(problems, r.problem("mode", fmt.Sprintf("@mode is %q", mode), `@mode("shadow") evaluates a policy and never enforces it; @mode("enforce"), or no @mode, enforces it`))
	}
	return problems
}

// would is what a decision would have been, had the policies in shadow been enforced.
type would struct {
	outcome
	shadowed []*rule // those in shadow that apply, or that could not be evaluated
	failed   bool    // it cannot be told
}

// newBeside makes the engine of a bundle's policies in shadow, nil when there are none. It is an engine of its own, with
// its own index, so that nothing about it can touch the enforced one; they share the words and the names of policies.
func (e *Engine) newBeside(shadowed []*rule, tools []*tool) *Engine {
	if len(shadowed) == 0 {
		return nil
	}
	b := &Engine{digest: e.digest, seed: e.seed, words: e.words, byLabel: e.byLabel}
	b.fill(shadowed, tools)
	return b
}

// byMode parts the policies of a bundle.
func byMode(rules []*rule) (enforced, shadowed []*rule) {
	for _, r := range rules {
		if r.shadow {
			shadowed = append(shadowed, r)
		} else {
			enforced = append(enforced, r)
		}
	}
	return enforced, shadowed
}

// imagine asks the policies in shadow and joins what they say to what the enforced ones said, before holds and overlays.
// A fault in it leaves only that it cannot be told. bundle is not changed.
func (e *Engine) imagine(a *Ask, principal uint64, bundle outcome) (w *would) {
	w = &would{}
	defer func() {
		if r := recover(); r != nil {
			*w = would{failed: true}
		}
	}()
	c, err := e.beside.candidatesFor(a, principal, !a.ArgsKnown)
	if err != nil {
		w.failed = true
		return w
	}
	var beside outcome
	if err = e.beside.ask(a, c, &beside); err != nil { // enforced, it would refuse like this
		w.outcome = outcome{errors: []string{err.Error()}}
		return w
	}
	w.shadowed = e.named(beside.reasons)
	if beside.more != nil {
		w.shadowed = inOrder(append(w.shadowed, beside.more.holds...))
	}
	w.outcome = e.merge(bundle, beside)
	if w.more != nil || len(a.Overlays) > 0 {
		if err = e.settle(a, &c.view, &w.outcome); err != nil {
			w.outcome = outcome{errors: []string{err.Error()}}
		}
	}
	return w
}

// Shadowed names the policies with @mode("shadow") that apply to the call, as Policies names the others, whether or not
// they would have changed the answer. A forbid in shadow that cannot be evaluated is among them.
func (d Decision) Shadowed() []string {
	if d.would == nil {
		return nil
	}
	return labels(d.would.shadowed)
}

// WouldBe tells whether the call would have been allowed, had every policy with @mode("shadow") been enforced, and whether
// that answer differs from this one, as it also does when only one of them is held. When it cannot be told nothing differs.
func (d Decision) WouldBe() (allowed, differs bool) {
	if d.would == nil || d.would.failed {
		return d.Allowed(), false
	}
	return d.would.allowed, d.would.allowed != d.Allowed() || d.WouldBeHeld() != d.Held()
}

// WouldBeHeld tells whether the call would have been held, had every policy with @mode("shadow") been enforced.
func (d Decision) WouldBeHeld() bool {
	if d.would == nil || d.would.failed {
		return d.Held()
	}
	return d.would.more != nil && d.would.more.held
}

// WouldPolicies names the policies that would have determined the answer that WouldBe gives.
func (d Decision) WouldPolicies() []string {
	switch {
	case d.would == nil || d.would.failed:
		return d.Policies()
	case d.would.more != nil:
		return labels(d.would.more.rules)
	}
	return labels(d.engine.named(d.would.reasons))
}

// Shadows lists the policies with @mode("shadow"), in the order of the bundle.
func (e *Engine) Shadows() []string {
	if e == nil || e.beside == nil {
		return nil
	}
	return slices.Clip(labels(e.beside.rules))
}
