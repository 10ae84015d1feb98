package stages_test

import (
	"context"
	"testing"

	life "github.com/gatewright/gatewright/gateway/filters"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/policies/manifest"
	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
)

// chunkwise is a filter that is told of a result as of a chunk.
type chunkwise struct{ passing }

func (chunkwise) OnResponse(_ context.Context, shown *abi.Context, v *wasm.Verdict) error {
	shown.Phase, v.Kind = abi.Chunk, wasm.Pass
	return nil
}

// TestAResultStaysOneForTheFiltersAfterAChunk: which filters look at a call does not hang on what another was told.
func TestAResultStaysOneForTheFiltersAfterAChunk(t *testing.T) {
	w := newWorld(t)
	deny := &unit{name: "deny", response: func(_ string, v *wasm.Verdict) error { v.Kind = wasm.Deny; return nil }}
	set := life.NewSet(
		life.Place(deny, &manifest.Filter{Name: "deny", Mode: "enforce", Direction: manifest.Response}),
		life.Place(chunkwise{}, nil), // results meet the last filter first
	)
	f := &stages.Filter{Filters: always{set}, Arguments: canon.DefaultLimits(), Results: canon.DefaultLimits()}
	c := w.step(open, `{"path":"/a"}`)
	c.Reply.Result = []byte(`{"content":[]}`)
	wantDenial(t, f.CheckReply(context.Background(), c), pipeline.FilterDenied, "")
}
