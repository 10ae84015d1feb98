package rig

import (
	"math"
	"slices"
)

// Interval is a median with the bounds between which it lies in 95 of 100 runs.
type Interval struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// IntervalOf is that of a list that is not empty. Its bounds are the values between which the median of what the list is
// drawn from lies with a probability of 95 %, whatever its distribution: their ranks are those of the sign test. Of fewer
// than six values they are the least and the largest, and say less.
func IntervalOf(list []float64) Interval {
	s := slices.Sorted(slices.Values(list))
	n := len(s)
	rank, tail, term := 0, 0.0, math.Pow(0.5, float64(n))
	for k := 0; k < n/2; k++ { // tail: how probable it is that at most k values lie below the median
		if tail += term; tail > 0.025 {
			break
		}
		rank, term = k, term*float64(n-k)/float64(k+1)
	}
	return Interval{Median: (s[(n-1)/2] + s[n/2]) / 2, Low: s[rank], High: s[n-1-rank]}
}
