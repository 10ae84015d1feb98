package wasm

import (
	"slices"
	"time"

	"github.com/gatewright/gatewright/merkle"
)

// FilterStats is what a filter has done since it was loaded.
type FilterStats struct {
	Name   string
	Digest merkle.Hash
	Size   int // of the module as given, in bytes
	Memory int // of a fresh instance, in bytes

	Passed, Denied, Rewritten uint64            // verdicts
	Traps                     map[string]uint64 // calls without one, by kind; kinds that never happened are absent
	LastTrap                  string            // the latest, as Trap.Error says it; empty when there was none
	LastTrapAt                time.Time
	Broken                    bool   // calls are refused at once for now
	Breaks                    uint64 // how often it came to that

	Fuel      uint64 // units spent by all calls
	MostFuel  int64  // by the costliest
	Instances int    // held now
	InUse     int    // of these, at work
	Waits     uint64 // calls that found every instance at work
	Thrown    uint64 // instances thrown away: they trapped, or had grown
}

// outcome is what one call came to.
type outcome struct {
	kind Kind // none when it trapped
	trap *Trap
	fuel int64
}

// tally sums outcomes. The pool's lock guards it.
type tally struct {
	kinds         [Rewrite + 1]uint64
	traps         []uint64 // as in kinds
	last          *Trap
	lastAt        time.Time
	fuel          uint64
	most          int64
	waits, thrown uint64
}

func (t *tally) add(o outcome) {
	t.kinds[o.kind]++
	t.fuel += uint64(o.fuel)
	t.most = max(t.most, o.fuel)
	if o.trap == nil {
		return
	}
	if t.traps == nil {
		t.traps = make([]uint64, len(kinds))
	}
	t.traps[slices.Index(kinds, o.trap.Kind)]++
	t.last, t.lastAt = o.trap, time.Now()
}

func (t *tally) fill(s *FilterStats) {
	s.Passed, s.Denied, s.Rewritten = t.kinds[Pass], t.kinds[Deny], t.kinds[Rewrite]
	s.Traps = make(map[string]uint64)
	for i, n := range t.traps {
		if n > 0 {
			s.Traps[kinds[i]] = n
		}
	}
	if t.last != nil {
		s.LastTrap, s.LastTrapAt = t.last.Error(), t.lastAt
	}
	s.Fuel, s.MostFuel, s.Waits, s.Thrown = t.fuel, t.most, t.waits, t.thrown
}
