package plugins

import (
	"slices"
	"time"
)

// breaker decides when a connector is started again.
type breaker struct {
	config  Config
	crashes []time.Time // within the window, the oldest first
	row     int         // crashes in a row without a long run between
	trying  bool        // it was broken, and no run since has been a long one
}

// crashed counts the end, at now, of a run that began at began. It returns how
// long to wait before the next one, and whether the connector is broken.
func (b *breaker) crashed(began, now time.Time) (pause time.Duration, broken bool) {
	window := b.config.CrashWindow
	b.crashes = append(slices.DeleteFunc(b.crashes, func(t time.Time) bool { return now.Sub(t) > window }), now)
	if now.Sub(began) > window {
		b.row, b.trying = 0, false
	}
	if b.trying || len(b.crashes) >= b.config.MaxCrashes {
		b.trying = true
		return b.config.BreakFor, true
	}
	// Doubled bit by bit: a shift could run over.
	pause = b.config.BackoffMin
	for n := 0; n < b.row && pause < b.config.BackoffMax; n++ {
		pause *= 2
	}
	b.row++
	return min(pause, b.config.BackoffMax), false
}

// forgive forgets all crashes, after a restart by hand that worked.
func (b *breaker) forgive() { *b = breaker{config: b.config} }
