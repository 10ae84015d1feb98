package suite

import (
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/layout"
)

// Seen counts what the cases met of one policy.
type Seen struct {
	Policy     policies.Policy
	Fitted     int // cases whose call its scope fits
	Applied    int // cases in which it applied
	Conditions []SeenCondition
}

// SeenCondition counts what the cases met of one condition, where it was reached.
type SeenCondition struct {
	policies.Condition
	Held, Failed int
	Broken       int // it could not be evaluated
}

// Coverage is how much of the policies the cases met.
type Coverage struct {
	Policies []Seen // in the order of the bundle
	at       map[string]int
}

// Missing is one thing that no case met.
type Missing struct {
	File         string
	Line, Column int
	Policy       string
	What         string
}

// add takes up an engine's policies; those of one bundle are the same whatever tools it was compiled with.
func (c *Coverage) add(e *policies.Engine) {
	if c.at != nil {
		return
	}
	c.at = map[string]int{}
	for _, p := range e.Policies() {
		s := Seen{Policy: p}
		for _, x := range p.Conditions {
			s.Conditions = append(s.Conditions, SeenCondition{Condition: x})
		}
		c.at[p.Policy] = len(c.Policies)
		c.Policies = append(c.Policies, s)
	}
}

func (c *Coverage) see(x *policies.Explanation) {
	for _, r := range x.Reasons {
		i, ok := c.at[r.Policy]
		if !ok {
			continue
		}
		s := &c.Policies[i]
		s.Fitted++
		if r.Value == policies.Holds {
			s.Applied++
		}
		for k, j := range r.Conditions {
			switch {
			case !j.Reached || k >= len(s.Conditions):
			case j.Value == policies.Holds:
				s.Conditions[k].Held++
			case j.Value == policies.Fails:
				s.Conditions[k].Failed++
			case j.Value == policies.Broken:
				s.Conditions[k].Broken++
			}
		}
	}
}

// Percent is the share of what could be met: that each policy's scope fits, that the policy applies, and that each of its
// conditions holds and fails. A bundle without policies is covered.
func (c *Coverage) Percent() float64 {
	met, all := 0, 0
	count := func(n int) {
		if all++; n > 0 {
			met++
		}
	}
	for i := range c.Policies {
		count(c.Policies[i].Fitted)
		count(c.Policies[i].Applied)
		for _, x := range c.Policies[i].Conditions {
			count(x.Held)
			count(x.Failed)
		}
	}
	if all == 0 {
		return 100
	}
	return 100 * float64(met) / float64(all)
}

// Missing lists what no case met, in the order of the bundle.
func (c *Coverage) Missing() []Missing {
	var out []Missing
	for i := range c.Policies {
		s := &c.Policies[i]
		p := &s.Policy
		if s.Fitted == 0 {
			out = append(out, Missing{p.File, p.Line, 1, p.ID, "its scope fits no case"})
		}
		if s.Applied == 0 {
			out = append(out, Missing{p.File, p.Line, 1, p.ID, "it never applies"})
		}
		for _, x := range s.Conditions {
			switch {
			case x.Held == 0 && x.Failed == 0 && x.Broken > 0:
				out = append(out, Missing{p.File, x.Line, x.Column, p.ID, "this never holds and never fails, it only cannot be evaluated: " + x.said()})
			case x.Held == 0 && x.Failed == 0:
				out = append(out, Missing{p.File, x.Line, x.Column, p.ID, "this is never reached: " + x.said()})
			case x.Held == 0:
				out = append(out, Missing{p.File, x.Line, x.Column, p.ID, "this never holds: " + x.said()})
			case x.Failed == 0:
				out = append(out, Missing{p.File, x.Line, x.Column, p.ID, "this never fails: " + x.said()})
			}
		}
	}
	return out
}

func (x *SeenCondition) said() string { return said(x.Condition) }

// said gives a condition on one line.
func said(c policies.Condition) string {
	text := plain(layout.Line(c.Text))
	if text == "" {
		text = "(its text was not found)"
	}
	if c.Unless {
		return "unless " + text
	}
	return text
}
