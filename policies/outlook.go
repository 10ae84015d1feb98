package policies

import (
	"slices"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

// Outlook says what can be known of the calls of a tool before they are made. The zero value is Never.
type Outlook uint8

// What can be known.
const (
	Never     Outlook = iota // no call would be allowed, approved or not
	Sometimes                // it depends, or cannot be told: ask about each call
	Always                   // every call would be allowed
	Held                     // every call would be held, and may go on once approved
)

func (o Outlook) String() string {
	if o > Held {
		return "Never"
	}
	return [...]string{"Never", "Sometimes", "Always", "Held"}[o]
}

// readUnsure is what a decision made elsewhere and later cannot rely on.
const readUnsure = readUnknown | readNow | readNet | readLabels

// Outlook looks at all calls that differ from the Ask at most in their arguments, their time and address, the labels put
// on by filters, and their place in the plan. Whether they belong to a plan at all, who asks, and the tool are as in the
// Ask, whose ArgsKnown should be false: arguments are not looked at. When unsure it says Sometimes.
func (e *Engine) Outlook(a *Ask) (o Outlook) {
	if e == nil || a == nil || a.Principal == nil {
		return Never
	}
	defer func() {
		if r := recover(); r != nil {
			o = Never
		}
	}()
	unknown := *a
	unknown.Args, unknown.ArgsKnown = nil, false
	c, err := e.candidatesFor(&unknown, printPrincipal(e.seed, a.Principal), false)
	if err != nil || slices.Contains(a.Overlays, nil) {
		return Never
	}
	if rules := e.speaking(&unknown, c); slices.ContainsFunc(rules, (*rule).unsure) {
		return e.foresee(&unknown, &c.view, rules)
	}
	d := e.Decide(&unknown)
	switch {
	case (d.Allowed() || d.Held()) && c.view.target.resource.UID.Type == "Prompt":
		return Sometimes // a prompt that the catalogue does not know is refused when it has arguments
	case d.Allowed():
		return Always
	case d.Held():
		return Held
	}
	return Never
}

// unsure: even a policy that does not match refuses when the arguments that it reads cannot be shown to it, and one with a
// rate may have no room.
func (r *rule) unsure() bool { return r.rate != nil || r.full.reads.fields&readUnsure != 0 }

// speaking lists every policy that may have a say, holds and overlays included.
func (e *Engine) speaking(a *Ask, c *candidates) (rules []*rule) {
	for _, g := range []*group{&c.lasting, c.lasting.holds, &c.fresh, c.fresh.holds} {
		if g == nil {
			continue
		}
		for _, p := range g.policies {
			rules = append(rules, e.byLabel[string(p.id)])
		}
	}
	for _, o := range a.Overlays {
		for i := range o.rules {
			if o.rules[i].fits(&c.view) {
				rules = append(rules, o.rules[i].rule)
			}
		}
	}
	return rules
}

// foresee tells Never from Sometimes: no permit can match whatever the unsure facts are, or some forbid must.
func (e *Engine) foresee(a *Ask, v *view, rules []*rule) Outlook {
	permitted, left := false, overlayBudget
	s := sizesOf(a, v)
	for _, r := range rules {
		if form := r.withoutUnsure(); form != nil && r.laid {
			if left -= form.cost.of(&s); left < 0 {
				return Never // as Decide will say
			}
		}
		matches, fails := r.surely(a, v)
		switch {
		case !r.forbid:
			permitted = permitted || matches || fails
		case matches && r.hold == nil && r.rate == nil, fails && !r.unsure():
			return Never
		}
	}
	if permitted {
		return Sometimes
	}
	return Never
}

// surely evaluates a rule without the unsure facts: for a permit whether it could match, for a forbid whether it must.
func (r *rule) surely(a *Ask, v *view) (matches, fails bool) {
	form := r.withoutUnsure()
	if form == nil {
		return false, false
	}
	f, err := newFacts(a, r.full.reads.fields&^readUnsure, v.caller.trust)
	if err != nil {
		return false, true
	}
	_, diag := cedar.Authorize(one{form.policy}, v, v.request(types.NewRecord(f.base(a))))
	return len(diag.Reasons) > 0, len(diag.Errors) > 0
}
