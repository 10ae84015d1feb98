package pipeline_test

import (
	"context"
	"errors"
	"testing"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// seat is a place in a counter.
type seat struct {
	ended []bool
	boom  bool
}

func (s *seat) Keep(context.Context, []string) error { return nil }

func (s *seat) End(out bool) {
	s.ended = append(s.ended, out)
	if s.boom {
		panic("boom")
	}
}

func TestAPlaceIsEndedOnceAndKnowsWhetherItsCallWentOut(t *testing.T) {
	for name, c := range map[string]struct {
		refuse error
		fail   ledger.Kind
		up     error
		out    bool
	}{
		"goes out":                {out: true},
		"refused":                 {refuse: pipeline.Deny(pipeline.PolicyDenied, "")},
		"a fault":                 {refuse: errors.New("fault")},
		"not recorded":            {fail: ledger.Admitted},
		"outcome not recorded":    {fail: ledger.Settled, out: true},
		"the server is not there": {up: pipeline.Deny(pipeline.UpstreamDown, ""), out: true},
	} {
		first, second := &seat{boom: true}, &seat{}
		h := build(t,
			stage{name: "counts", check: func(c *pipeline.Call) error { c.Counted = append(c.Counted, first, second); return nil }},
			stage{name: "judges", check: func(*pipeline.Call) error { return c.refuse }})
		h.book.fail = func(k ledger.Kind) error {
			if c.fail != 0 && k == c.fail {
				return errors.New("disk")
			}
			return nil
		}
		if c.up != nil {
			h.up.answer = func(*pipeline.Call) error { return c.up }
		}
		call := h.run(call())
		for _, s := range []*seat{first, second} {
			if len(s.ended) != 1 || s.ended[0] != c.out {
				t.Errorf("%s: ended %v", name, s.ended)
			}
		}
		if len(call.Counted) != 0 {
			t.Errorf("%s: %d places are left", name, len(call.Counted))
		}
	}
}
