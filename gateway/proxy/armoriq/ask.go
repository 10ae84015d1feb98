package armoriq

import (
	"time"

	"github.com/gatewright/gatewright/gateway/terms"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/policies"
)

// target is a tool that policy is asked about before it is called.
type target struct {
	server, tool string
	local        bool // of a server that this gateway does not hold
	args         []byte
	known        bool // args are those of the call; else any are meant
}

// aheadOfCall is how long a plan is taken to last when policy is asked about a call that may come.
const aheadOfCall = time.Hour

// ifCalled is the question policy would be asked if the target were called now as a step of a plan: of this one, or, with
// nil, of one that is still to be made.
func (r *request) ifCalled(t target, held *intent.Held, id string, step int, narrowed *terms.Terms) *policies.Ask {
	ask := r.c.BuildAsk(0)
	ask.Action, ask.Server, ask.Tool, ask.Local = "call_tool", t.server, t.tool, t.local
	ask.Args, ask.ArgsKnown = t.args, t.known
	ask.Plan = policies.PlanFacts{InPlan: true, ID: id, Step: step, Steps: 1, Expires: r.c.Started.Add(aheadOfCall)}
	ask.Session.Known = true // as one that begins: how far it will be by then nobody knows
	if held != nil {
		ask.Plan.Steps = held.Size()
	}
	if narrowed != nil {
		ask.Overlays = narrowed.Overlays
	}
	return &ask
}

// decide asks policy.
func (r *request) decide(ask *policies.Ask) policies.Decision { return r.engine().Decide(ask) }

// engine is the one whose answers count for the caller: all that one request asks is answered by the same.
func (r *request) engine() *policies.Engine { return r.c.Take(r.Policies).Engine }

// verdictOf is a decision in the three words of this dialect, and what policy says about it.
func verdictOf(d policies.Decision) (verdict, why string) {
	why = "no policy permits it"
	if notes := d.Annotations(); len(notes) > 0 && notes[0]["reason"] != "" {
		why = notes[0]["reason"]
	}
	switch {
	case d.Allowed():
		return "allow", why
	case d.Held():
		if holds := d.Holds(); len(holds) > 0 {
			why = holds[0].Why
		}
		return "hold", why
	}
	return "block", why
}
