package policies

import (
	"net/netip"
	"slices"
	"sync"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/policies/quick"
)

// Building a context costs more than asking most policies about it. So a group whose policies are all of the common kind,
// and whose scopes are known to hold, is asked by way of package quick, which reads facts where they stand. Whenever that
// cannot tell, cedar-go is asked about the whole group: it alone says what an error is.

// The slots of facts, by the place of each in the context.
const (
	slotNow quick.Slot = iota
	slotIP
	slotTLS
	slotTrust
	slotUser
	slotInPlan
	slotStep
	slotSteps
	slotDone
	slotNext
	slotScore
	slotCalls
	slotThisTool
	slotApproved
	slotApprovals
)

var places = quick.Places{
	"now": slotNow, "net.ip": slotIP, "net.tls": slotTLS, "trust": slotTrust, "onBehalfOf": slotUser,
	"plan.inPlan": slotInPlan, "plan.step": slotStep, "plan.steps": slotSteps, "plan.stepsDone": slotDone, "plan.next": slotNext,
	"filters.score": slotScore, "session.calls": slotCalls, "session.callsThisTool": slotThisTool,
	"approval.approved": slotApproved, "approval.count": slotApprovals,
}

// glass is what one glance needs, made once and used again.
type glass struct {
	env quick.Env
	in  inputReader
}

var glasses = sync.Pool{New: func() any {
	g := &glass{}
	g.env.Input = types.RecordMap{}
	return g
}}

// clear forgets a call.
func (g *glass) clear() {
	clear(g.env.Input)
	g.env = quick.Env{Input: g.env.Input}
	g.in = inputReader{reader: reader{path: g.in.reader.path[:0]}}
}

// glance asks a group without building a context. When known is false it cannot tell, and out is of no use. Its errors are
// those of evaluate.
func (e *Engine) glance(a *Ask, v *view, g *group, f *facts) (out outcome, known bool, err error) {
	s, _ := glasses.Get().(*glass)
	defer glasses.Put(s)
	defer s.clear()
	if input := v.target.input; input != nil && f.fields&readInput != 0 {
		if !g.cheap(a) {
			return out, false, nil
		}
		s.in.shape, s.in.reads, s.in.input = input, g.reads, s.env.Input
		if err := s.in.take(a.Args); err != nil {
			return out, false, err
		}
	}
	s.env.Principal, s.env.Action, s.env.Resource = v.caller.entity.UID, v.target.action.UID, v.target.resource.UID
	s.env.Entities = v
	f.show(&s.env, a)
	if out.allowed, out.reasons, known = g.glance(&s.env); !known {
		return outcome{}, false, nil
	}
	if g.holds != nil {
		_, held, known := g.holds.glance(&s.env)
		if !known {
			return outcome{}, false, nil
		}
		e.hold(&out, held)
	}
	return out, true, nil
}

// show fills the slots of the facts that are read.
func (f *facts) show(env *quick.Env, a *Ask) {
	put := func(bit field, at quick.Slot, v quick.Value) {
		if f.fields&bit != 0 {
			env.Slots[at] = v
		}
	}
	put(readNow, slotNow, quick.Datetime(f.now))
	if f.ip.IsValid() {
		env.IP = types.IPAddr(netip.PrefixFrom(f.ip, f.ip.BitLen()))
		put(readIP, slotIP, quick.Address())
	}
	put(readTLS, slotTLS, quick.Bool(f.tls))
	put(readTrust, slotTrust, quick.Long(f.trust))
	if f.user != "" {
		put(readUser, slotUser, quick.Of(types.NewEntityUID("User", types.String(f.user))))
	}
	if f.fields&readPlan != 0 {
		put(readInPlan, slotInPlan, quick.Bool(f.plan.InPlan))
		put(readStep, slotStep, quick.Long(int64(f.plan.Step)))
		put(readSteps, slotSteps, quick.Long(int64(f.plan.Steps)))
		put(readDone, slotDone, quick.Long(int64(f.plan.Done)))
		put(readNext, slotNext, quick.Bool(f.next))
	}
	if f.fields&(readScore|readApproval|readSession) != 0 {
		put(readScore, slotScore, quick.Of(highest(a.Scores)))
		put(readApproved, slotApproved, quick.Bool(a.Approved))
		put(readApprovals, slotApprovals, quick.Long(int64(a.Approvals)))
		if a.Session.Known {
			put(readCalls, slotCalls, quick.Long(a.Session.Calls))
			put(readThisTool, slotThisTool, quick.Long(a.Session.ThisTool))
		}
	}
}

// glance is judge for policies of the common kind, whose scopes hold.
func (g *group) glance(env *quick.Env) (allowed bool, reasons []cedar.DiagnosticReason, known bool) {
	var permits []cedar.DiagnosticReason
	for i := range g.policies {
		p := &g.policies[i]
		holds, known := p.program.Run(env)
		switch {
		case !known:
			return false, nil, false
		case holds && p.forbid:
			reasons = join(reasons, p.reason)
		case holds:
			permits = join(permits, p.reason)
		}
	}
	if len(reasons) > 0 {
		return false, reasons, true
	}
	return len(permits) > 0, permits, true
}

// join appends without changing what it is given.
func join(list, more []cedar.DiagnosticReason) []cedar.DiagnosticReason {
	if len(list) == 0 {
		return more
	}
	return append(slices.Clip(list), more...)
}

// cheap reports that no argument of this call's size makes the policies of g dear.
func (g *group) cheap(a *Ask) bool {
	return g.slope == 0 || len(a.Args) <= bundleBudget/textGrowth/g.slope
}

// take reads the arguments that the policies read.
func (in *inputReader) take(args []byte) error {
	if len(args) == 0 {
		return nil
	}
	if canon.KindOf(args) != '{' {
		return errNotObject
	}
	in.left = len(in.reads.params)
	in.all = in.reads.whole || in.reads.fields&(readNulls|readUndeclared) != 0
	return in.read(args)
}
