package filters

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/gateway/filters/place"
	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
)

var _ Unit = (*unit)(nil)

// timedOne is of how many calls one is timed: the clock costs as much as a small filter.
const timedOne = 16

// unit is a filter in force or in shadow, with what was counted beside what the filter counts itself.
type unit struct {
	*wasm.Filter
	key     unitKey
	version uint64
	broke   func(u *unit, s wasm.FilterStats) // called when its breaker opened

	users  int // sets that hold it, and who is about to make one; guarded by Service.mu
	breaks atomic.Uint64
	calls  atomic.Uint64
	timed  atomic.Uint64
	nanos  atomic.Int64
	tries  *place.Tries // of a shadow
}

// unitKey says which units are the same: one is kept from set to set as long as it is.
type unitKey struct {
	name, digest, config string
	shadow               bool
}

// Decide asks the filter.
func (u *unit) Decide(ctx context.Context, c *abi.Context, v *abi.Verdict) error {
	if u.calls.Add(1)%timedOne != 0 {
		return u.trapped(u.Filter.Decide(ctx, c, v))
	}
	begun := time.Now()
	err := u.Filter.Decide(ctx, c, v)
	u.took(begun)
	return u.trapped(err)
}

// OnResponse asks it about an answer.
func (u *unit) OnResponse(ctx context.Context, c *abi.Context, v *abi.Verdict) error {
	if u.calls.Add(1)%timedOne != 0 {
		return u.trapped(u.Filter.OnResponse(ctx, c, v))
	}
	begun := time.Now()
	err := u.Filter.OnResponse(ctx, c, v)
	u.took(begun)
	return u.trapped(err)
}

func (u *unit) took(begun time.Time) {
	u.nanos.Add(int64(time.Since(begun)))
	u.timed.Add(1)
}

// trapped raises the alarm once for each time that the breaker opens.
func (u *unit) trapped(err error) error {
	if err == nil || u.broke == nil {
		return err
	}
	if t, ok := errors.AsType[*wasm.Trap](err); !ok || t.Kind == wasm.TrapBroken {
		return err
	}
	s := u.Stats()
	if seen := u.breaks.Load(); s.Breaks > seen && u.breaks.CompareAndSwap(seen, s.Breaks) {
		u.broke(u, s)
	}
	return err
}

func (u *unit) stats() Stats {
	f := u.Stats()
	s := Stats{
		Passed: f.Passed, Denied: f.Denied, Rewritten: f.Rewritten, Traps: f.Traps, Fuel: f.Fuel, MostFuel: f.MostFuel,
		Timed: u.timed.Load(), Time: time.Duration(u.nanos.Load()), Waits: f.Waits, Thrown: f.Thrown, Breaks: f.Breaks,
		Instances: f.Instances, InUse: f.InUse, Memory: f.Memory, Broken: f.Broken, LastTrap: f.LastTrap, LastTrapAt: f.LastTrapAt,
	}
	if u.tries != nil {
		s.Labelled, s.Skipped = u.tries.Labelled(), u.tries.Skipped()
	}
	return s
}

// sorted lists the keys of a map.
func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
