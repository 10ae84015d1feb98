package policy

import (
	"errors"

	"github.com/gatewright/gatewright/policies"
)

// listed is how many tools a list is filtered from.
const listed = 200

// lists measures tools/list: first for callers the engine has not seen, then for the same again when its tables have grown
// to hold them; CPU microseconds a list.
func (o *ours) lists() (cold, cached float64, err error) {
	const again = 20
	o.renew()
	if cold, err = o.listing(1); err != nil {
		return 0, 0, err
	}
	if _, err = o.listing(settling); err != nil {
		return 0, 0, err
	}
	cached, err = o.listing(again)
	return cold, cached, err
}

// listing is the CPU time of one of some times as many lists as there are callers.
func (o *ours) listing(times int) (float64, error) {
	used, err := spent(func() error {
		for range times {
			if err := o.listEach(); err != nil {
				return err
			}
		}
		return nil
	})
	return float64(used.Nanoseconds()) / 1e3 / float64(times*len(o.who)), err
}

var errNothingListed = errors.New("no tool is shown to anybody")

func (o *ours) listEach() error {
	shown := 0
	for i, p := range o.who {
		a := policies.Ask{
			Principal: p, User: "usr_1", Action: "call_tool", Plan: policies.PlanFacts{InPlan: true},
			IP: o.asks[i%requests].IP, TLS: true, Now: o.asks[i%requests].Now,
		}
		for range o.engine.ToolList(&a).All() {
			shown++
		}
	}
	if shown == 0 {
		return errNothingListed
	}
	return nil
}
