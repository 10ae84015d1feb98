package neighbour

import (
	"strings"
	"testing"

	"github.com/gatewright/gatewright/bench/rig"
)

// TestOnlyRoundsThatCountCount, and what is compared is of one round.
func TestOnlyRoundsThatCountCount(t *testing.T) {
	part := func(p99 float64) Part { return Part{P50: p99 / 2, P99: p99} }
	counts := rig.Turn{Counts: true}
	r := &Report{Rounds: []Round{
		{Turn: counts, Hostile: part(110), Harmless: part(100), Control: part(90)},
		{Hostile: part(900), Harmless: part(1), Control: part(1)},
		{Turn: counts, Hostile: part(2200), Harmless: part(2000), Control: part(1800)},
	}}
	r.summarize()
	var out strings.Builder
	if err := r.Write(&out); err != nil {
		t.Fatal(err)
	}
	want := "neighbour ratio=1.10 low=1.10 high=1.10 control=0.90 control_low=0.90 control_high=0.90 sha256_us=0.00\n"
	if !strings.HasSuffix(out.String(), "\n"+want) {
		t.Errorf("%s", out.String())
	}
}
