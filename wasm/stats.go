package wasm

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/merkle"
)

// FilterStats is what a filter has done since it was loaded.
type FilterStats struct {
	Name    string
	Tenant  string // empty when it was loaded without one
	Dialect string
	Digest  merkle.Hash
	Size    int // of the module as given, in bytes
	Memory  int // of a fresh instance, in bytes

	Passed, Denied, Rewritten uint64            // verdicts
	Traps                     map[string]uint64 // calls without one, by kind; kinds that never happened are absent
	LastTrap                  string            // the latest, as Trap.Error says it; empty when there was none
	LastTrapAt                time.Time
	Broken                    bool   // calls are refused at once for now
	Breaks                    uint64 // how often it came to that

	Fuel     uint64 // units spent by all calls
	MostFuel int64  // by the costliest
	// Timed calls of those that were made took Time together, of which the slowest Slowest: one in 64 is timed. Putting an
	// instance back afterwards is not in it.
	Timed   uint64
	Time    time.Duration
	Slowest time.Duration

	Instances int    // held now
	InUse     int    // of these, at work or being put back
	Waits     uint64 // calls that found every instance at work
	Reset     string // how instances are put back: copy (all is written anew), pages (what was written), drop (what was written is read anew)
	Resets    uint64 // how often one was
	Thrown    uint64 // instances thrown away: they trapped, or had grown to the bound
}

// Calls is how many calls came to the filter.
func (s *FilterStats) Calls() uint64 {
	n := s.Passed + s.Denied + s.Rewritten
	for _, traps := range s.Traps {
		n += traps
	}
	return n
}

// resetNames are those of linear's strategies.
var resetNames = [...]string{"copy", "pages", "drop"}

// timedOf calls one is timed: to look at the clock costs as much as a small filter.
const timedOf = 64

// tally sums the calls of a slot. Its borrower alone adds, others may read.
type tally struct {
	kinds         [Rewrite + 1]atomic.Uint64
	fuel          atomic.Uint64
	most          atomic.Int64
	timed         atomic.Uint64
	time, slowest atomic.Int64 // nanoseconds
	resets        atomic.Uint64
	thrown        atomic.Uint64
	turn          uint32 // the borrower's
}

// begin returns when a call began, or the zero time when it is not to be timed.
func (t *tally) begin() (at time.Time) {
	if t.turn%timedOf == 0 {
		at = time.Now()
	}
	t.turn++
	return at
}

// add counts a call that began as begin said. A kind of zero is a trap.
func (t *tally) add(k Kind, fuel int64, began time.Time) {
	t.kinds[k].Add(1)
	t.fuel.Add(uint64(fuel))
	if fuel > t.most.Load() {
		t.most.Store(fuel)
	}
	if began.IsZero() {
		return
	}
	took := int64(time.Since(began))
	t.timed.Add(1)
	t.time.Add(took)
	t.slowest.Store(max(took, t.slowest.Load()))
}

// fill adds the tally to s.
func (t *tally) fill(s *FilterStats) {
	s.Passed += t.kinds[Pass].Load()
	s.Denied += t.kinds[Deny].Load()
	s.Rewritten += t.kinds[Rewrite].Load()
	s.Fuel += t.fuel.Load()
	s.MostFuel = max(s.MostFuel, t.most.Load())
	s.Timed += t.timed.Load()
	s.Time += time.Duration(t.time.Load())
	s.Slowest = max(s.Slowest, time.Duration(t.slowest.Load()))
	s.Resets += t.resets.Load()
	s.Thrown += t.thrown.Load()
}

// faults counts traps.
type faults struct {
	mu     sync.Mutex
	traps  []uint64 // as in kinds
	last   *Trap
	lastAt time.Time
}

func (f *faults) add(t *Trap) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.traps == nil {
		f.traps = make([]uint64, len(kinds))
	}
	f.traps[slices.Index(kinds, t.Kind)]++
	f.last, f.lastAt = t, time.Now()
}

func (f *faults) fill(s *FilterStats) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.Traps = make(map[string]uint64)
	for i, n := range f.traps {
		if n > 0 {
			s.Traps[kinds[i]] = n
		}
	}
	if f.last != nil {
		s.LastTrap, s.LastTrapAt = f.last.Error(), f.lastAt
	}
}
