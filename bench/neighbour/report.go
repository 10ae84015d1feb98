package neighbour

import (
	"fmt"
	"io"

	"github.com/gatewright/gatewright/bench/rig"
)

// Report is everything a run found.
type Report struct {
	Saturation float64      `json:"saturation"` // calls a second
	Conns      int          `json:"conns"`
	Time       string       `json:"time"`
	SHA256     float64      `json:"sha256_us"` // CPU of SHA-256 over 1 KiB, the yardstick between machines
	Ratio      rig.Interval `json:"ratio"`     // of the p99 beside the hostile tenant to that beside the harmless one
	Control    rig.Interval `json:"control"`   // of the p99 beside the harmless one to itself
	Rounds     []Round      `json:"rounds"`
}

// Round is every measurement once.
type Round struct {
	rig.Turn
	Hostile  Part `json:"hostile"`
	Harmless Part `json:"harmless"`
	Control  Part `json:"control"`
}

// Part is what the neighbour saw, in microseconds, and what the other tenant did meanwhile.
type Part struct {
	Calls int     `json:"calls"`
	Rate  float64 `json:"rate"`
	P50   float64 `json:"p50_us"`
	P99   float64 `json:"p99_us"`
	CPU   float64 `json:"cpu"` // of the process of both, in processors
	Rival Rival   `json:"rival"`
}

// since is what was done after the earlier look.
func (r Rival) since(earlier Rival) Rival {
	out := Rival{Passed: r.Passed - earlier.Passed, Fuel: r.Fuel - earlier.Fuel, Traps: map[string]uint64{}}
	for kind, n := range r.Traps {
		if n > earlier.Traps[kind] {
			out.Traps[kind] = n - earlier.Traps[kind]
		}
	}
	return out
}

func (r *Round) line() string {
	return fmt.Sprintf("p99 %.0f us beside the hostile tenant (p50 %.0f, %.2f processors; it passed %d calls with %d M units, %v), %.0f and %.0f us beside the harmless one (p50 %.0f, %.2f processors)",
		r.Hostile.P99, r.Hostile.P50, r.Hostile.CPU, r.Hostile.Rival.Passed, r.Hostile.Rival.Fuel/1e6, r.Hostile.Rival.Traps, r.Harmless.P99, r.Control.P99, r.Harmless.P50, r.Harmless.CPU)
}

// column is a figure of each round that counts.
func (r *Report) column(f func(Round) float64) []float64 {
	return rig.Column(r.Rounds, func(x *Round) float64 { return f(*x) })
}

func (r *Report) summarize() {
	r.Ratio = rig.IntervalOf(r.column(func(x Round) float64 { return x.Hostile.P99 / x.Harmless.P99 }))
	r.Control = rig.IntervalOf(r.column(func(x Round) float64 { return x.Control.P99 / x.Harmless.P99 }))
	r.SHA256 = rig.IntervalOf(r.column(func(x Round) float64 { return x.Before.SHA256 })).Median
}

// Write prints the figures; its last line is for machines.
func (r *Report) Write(w io.Writer) error {
	of := func(f func(Round) float64) float64 { return rig.IntervalOf(r.column(f)).Median }
	fmt.Fprintf(w, "The gateway takes %.0f calls a second at most. The neighbour makes %.0f a second over %d connections.\n\n", r.Saturation, r.Saturation*ownShare, r.Conns)
	fmt.Fprintf(w, "%-28s %10s %10s\n", "beside", "p50 us", "p99 us")
	for _, row := range []struct {
		name string
		of   func(Round) Part
	}{
		{"a hostile tenant", func(x Round) Part { return x.Hostile }},
		{"a harmless tenant", func(x Round) Part { return x.Harmless }},
		{"a harmless tenant again", func(x Round) Part { return x.Control }},
	} {
		fmt.Fprintf(w, "%-28s %10.0f %10.0f\n", row.name, of(func(x Round) float64 { return row.of(x).P50 }), of(func(x Round) float64 { return row.of(x).P99 }))
	}
	_, err := fmt.Fprintf(w, "\nneighbour ratio=%.2f low=%.2f high=%.2f control=%.2f control_low=%.2f control_high=%.2f sha256_us=%.2f\n",
		r.Ratio.Median, r.Ratio.Low, r.Ratio.High, r.Control.Median, r.Control.Low, r.Control.High, r.SHA256)
	return err
}
