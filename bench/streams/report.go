package streams

import (
	"fmt"
	"io"

	"github.com/gatewright/gatewright/bench/rig"
)

// Report is everything a run found.
type Report struct {
	Saturation float64      `json:"saturation"` // calls a second
	Conns      int          `json:"conns"`
	Idle       int          `json:"idle"`
	Slow       int          `json:"slow"`
	Time       string       `json:"time"`
	KBIdle     float64      `json:"kb_idle"`   // of the gateway's memory, for a stream on which nothing is said
	KBSlow     float64      `json:"kb_slow"`   // and for one with events that nobody reads, the call it is of under way
	Before     rig.Rest     `json:"before"`    // what the gateway holds without streams,
	WithIdle   rig.Rest     `json:"with_idle"` // with those that are idle,
	WithAll    rig.Rest     `json:"with_all"`  // and with all of them
	Left       rig.Rest     `json:"left"`      // beyond Before when all have gone
	SHA256     float64      `json:"sha256_us"` // CPU of SHA-256 over 1 KiB, the yardstick between machines
	Ratio      rig.Interval `json:"ratio"`     // of the p99 of others beside the streams to that without them
	Control    rig.Interval `json:"control"`   // of the p99 without them to itself
	Rounds     []Round      `json:"rounds"`
}

// Round is every measurement once.
type Round struct {
	rig.Turn
	Beside  Part `json:"beside"`
	Without Part `json:"without"`
	Control Part `json:"control"`
}

// Part is what the other callers saw, in microseconds.
type Part struct {
	Calls int     `json:"calls"`
	Rate  float64 `json:"rate"`
	P50   float64 `json:"p50_us"`
	P99   float64 `json:"p99_us"`
	CPU   float64 `json:"cpu"`  // of the gateway, in processors
	Open  int     `json:"open"` // streams beside which it was measured
}

func (r *Round) line() string {
	return fmt.Sprintf("p99 %.0f us beside %d streams (p50 %.0f, %.2f processors), %.0f and %.0f us without (p50 %.0f, %.2f processors)",
		r.Beside.P99, r.Beside.Open, r.Beside.P50, r.Beside.CPU, r.Without.P99, r.Control.P99, r.Without.P50, r.Without.CPU)
}

// column is a figure of each round that counts.
func (r *Report) column(f func(*Round) float64) []float64 { return rig.Column(r.Rounds, f) }

func (r *Report) summarize() {
	r.Ratio = rig.IntervalOf(r.column(func(x *Round) float64 { return x.Beside.P99 / x.Without.P99 }))
	r.Control = rig.IntervalOf(r.column(func(x *Round) float64 { return x.Control.P99 / x.Without.P99 }))
	r.SHA256 = rig.IntervalOf(r.column(func(x *Round) float64 { return x.Before.SHA256 })).Median
}

// Write prints the figures; its last line is for machines.
func (r *Report) Write(w io.Writer) error {
	fmt.Fprintf(w, "The gateway takes %.0f calls a second at most. Others make %.0f a second over %d connections.\n\n", r.Saturation, r.Saturation*share, r.Conns)
	fmt.Fprintf(w, "%-46s %10s %10s %12s\n", "the gateway holds", "MiB", "goroutines", "descriptors")
	for _, row := range []struct {
		name string
		rig.Rest
	}{
		{"without streams", r.Before},
		{fmt.Sprintf("with %d that are idle", r.Idle), r.WithIdle},
		{fmt.Sprintf("and %d with events that nobody reads", r.Slow), r.WithAll},
		{"beyond the first, when all have gone", r.Left},
	} {
		fmt.Fprintf(w, "%-46s %10.1f %10d %12d\n", row.name, float64(row.Resident)/(1<<20), row.Goroutines, row.Descriptors)
	}
	fmt.Fprintf(w, "\n%-46s %10s %10s %12s\n", "others' calls", "p50 us", "p99 us", "processors")
	for _, row := range []struct {
		name string
		of   func(*Round) *Part
	}{
		{"beside the streams", func(x *Round) *Part { return &x.Beside }},
		{"without", func(x *Round) *Part { return &x.Without }},
		{"without, again", func(x *Round) *Part { return &x.Control }},
	} {
		of := func(f func(*Part) float64) float64 {
			return rig.Median(r.column(func(x *Round) float64 { return f(row.of(x)) }))
		}
		fmt.Fprintf(w, "%-46s %10.0f %10.0f %12.2f\n", row.name, of(func(p *Part) float64 { return p.P50 }), of(func(p *Part) float64 { return p.P99 }), of(func(p *Part) float64 { return p.CPU }))
	}
	_, err := fmt.Fprintf(w, "\nstreams kb_idle=%.1f kb_slow=%.1f goroutines_left=%d descriptors_left=%d ratio=%.2f low=%.2f high=%.2f control=%.2f control_low=%.2f control_high=%.2f sha256_us=%.2f\n",
		r.KBIdle, r.KBSlow, r.Left.Goroutines, r.Left.Descriptors, r.Ratio.Median, r.Ratio.Low, r.Ratio.High, r.Control.Median, r.Control.Low, r.Control.High, r.SHA256)
	return err
}
