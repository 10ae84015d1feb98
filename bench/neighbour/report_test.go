package neighbour

import (
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/bench/rig"
)

// TestTheIntervalIsThatOfTheSignTest: the ranks stand in every table of it.
func TestTheIntervalIsThatOfTheSignTest(t *testing.T) {
	for n, rank := range map[int]int{1: 0, 5: 0, 6: 0, 8: 0, 9: 1, 11: 1, 12: 2, 15: 3, 20: 5, 25: 7} {
		list := make([]float64, n)
		for i := range list {
			list[i] = float64(i)
		}
		slices.Reverse(list)
		got := interval(list)
		if want := (Interval{float64(n-1) / 2, float64(rank), float64(n - 1 - rank)}); got != want {
			t.Errorf("of %d: %v, want %v", n, got, want)
		}
	}
}

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
