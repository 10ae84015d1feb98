package rig

import (
	"fmt"
	"io"
	"slices"
)

// Turn is what the rounds of all benches have in common. A round of a bench embeds it.
type Turn struct {
	Before Weather `json:"before"`
	After  Weather `json:"after"`
	Noise  string  `json:"noise,omitempty"` // why it does not count, or would not have
	Counts bool    `json:"counts"`
}

// turn is promoted to the round that embeds it.
func (t *Turn) turn() *Turn { return t }

// remark says what a line about the round ends with.
func (t *Turn) remark() string {
	switch {
	case t.Noise == "":
		return ""
	case t.Counts:
		return " (noisy: " + t.Noise + ")"
	}
	return " (repeated: " + t.Noise + ")"
}

// A round is a pointer to a type that embeds Turn.
type round[R any] interface {
	*R
	turn() *Turn
}

// Repeat measures until as many quiet rounds are there as are wanted, and tells log of each in the words of line. measure fills
// the round with that number, counted from zero, and what is true of all rounds is filled in. When as many rounds were noisy as
// are wanted, noisy ones count too, and the report says so: a busy machine gives wide ranges, not an endless run.
func Repeat[R any, P round[R]](want int, log io.Writer, measure func(n int, r P) error, line func(P) string) ([]R, error) {
	watch := NewWatch()
	var out []R
	for counted, noisy := 0, 0; counted < want; {
		var r R
		t := P(&r).turn()
		var err error
		if t.Before, err = watch.Look(); err != nil {
			return nil, err
		}
		if err = measure(len(out), &r); err != nil {
			return nil, err
		}
		if t.After, err = watch.Look(); err != nil {
			return nil, err
		}
		if t.Noise = noise(t.Before, t.After); t.Noise != "" {
			noisy++
		}
		if t.Counts = t.Noise == "" || noisy > want; t.Counts {
			counted++
		}
		out = append(out, r)
		fmt.Fprintf(log, "round %d/%d: %s%s\n", counted, want, line(&r), t.remark())
	}
	return out, nil
}

// Column is a figure of each round that counts.
func Column[R any, P round[R]](rounds []R, f func(P) float64) []float64 {
	var out []float64
	for i := range rounds {
		if r := P(&rounds[i]); r.turn().Counts {
			out = append(out, f(r))
		}
	}
	return out
}

// Counted is how many rounds count, and how many of them are noisy.
func Counted[R any, P round[R]](rounds []R) (all, noisy int) {
	for i := range rounds {
		switch t := P(&rounds[i]).turn(); {
		case !t.Counts:
		case t.Noise != "":
			noisy++
			fallthrough
		default:
			all++
		}
	}
	return all, noisy
}

// Median of a list that is not empty.
func Median(list []float64) float64 {
	s := slices.Sorted(slices.Values(list))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// Bounds of noise within a round, beyond which it is repeated.
const (
	maxSteal = 0.01 // share of CPU time taken by the host
	maxOff   = 0.05 // change of the speed of computing
)

// noise says why a round is not to be trusted, or nothing.
func noise(before, after Weather) string {
	if after.Steal > maxSteal {
		return fmt.Sprintf("the host took %.1f %% of the time", 100*after.Steal)
	}
	if off := after.Off(before); off > maxOff {
		return fmt.Sprintf("computing changed its speed by %.0f %%", 100*off)
	}
	return ""
}
