package stages_test

import (
	"context"
	"testing"

	life "github.com/gatewright/gatewright/gateway/filters"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
)

// sent notes what it is shown beside a result.
type sent struct {
	*unit
	arguments *string
}

func (s sent) Decide(_ context.Context, shown *abi.Context, v *wasm.Verdict) error {
	*s.arguments, v.Kind = string(shown.Arguments), wasm.Pass
	return nil
}

func (s sent) OnResponse(_ context.Context, shown *abi.Context, v *wasm.Verdict) error {
	return s.Decide(context.Background(), shown, v)
}

// TestAResultIsShownWithWhatWasSent: what a server was given, as the filters left it, and not what the caller wrote.
func TestAResultIsShownWithWhatWasSent(t *testing.T) {
	w := newWorld(t)
	var arguments string
	sees := sent{&unit{name: "sees", response: func(string, *wasm.Verdict) error { return nil }}, &arguments}
	set := life.NewSet(life.Place(sees, nil), life.Place(&unit{name: "moves", request: replacing("/a", "/b", "moved")}, nil))
	f := &stages.Filter{Filters: always{set}, Arguments: canon.DefaultLimits(), Results: canon.DefaultLimits()}
	c := w.step(open, `{"path":"/a"}`)
	w.must(f.Check(context.Background(), c))
	if arguments != "" {
		t.Errorf("a request is shown with %s beside it", arguments)
	}
	c.Reply.Result = []byte(`{"content":[]}`)
	w.must(f.CheckReply(context.Background(), c))
	if arguments != `{"path":"/b"}` {
		t.Errorf("shown with %s", arguments)
	}
}
