package policy

import (
	"errors"

	"github.com/gatewright/gatewright/policies"
)

// listed is how many tools a list is filtered from.
const listed = 200

// lists measures tools/list of some servers: first for callers the engine has not seen, then for the same again; CPU
// microseconds a list.
func (o *ours) lists() (cold, cached float64, err error) {
	const again = 20
	o.renew()
	for _, times := range []int{1, again} {
		used, err := spent(func() error {
			for range times {
				if err := o.listEach(); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return 0, 0, err
		}
		us := float64(used.Nanoseconds()) / 1e3 / float64(times*len(o.who))
		if times == 1 {
			cold = us
		} else {
			cached = us
		}
	}
	return cold, cached, nil
}

var errNothingListed = errors.New("no tool is shown to anybody")

func (o *ours) listEach() error {
	shown := 0
	for _, p := range o.who {
		a := policies.Ask{
			Principal: p, User: "usr_1", Action: "call_tool", Plan: policies.PlanFacts{InPlan: true},
			IP: o.asks[0].IP, TLS: true, Now: o.asks[0].Now,
		}
		for i := range listed {
			a.Server, a.Tool = o.w.tools[i].server, o.w.tools[i].name
			if d := o.engine.Decide(&a); d.Allowed() {
				shown++
			}
		}
	}
	if shown == 0 {
		return errNothingListed
	}
	return nil
}
