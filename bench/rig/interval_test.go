package rig_test

import (
	"slices"
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
		got := rig.IntervalOf(list)
		if want := (rig.Interval{Median: float64(n-1) / 2, Low: float64(rank), High: float64(n - 1 - rank)}); got != want {
			t.Errorf("of %d: %v, want %v", n, got, want)
		}
	}
}
