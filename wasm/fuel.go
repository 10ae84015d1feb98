package wasm

import (
	"context"
	"runtime"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/gatewright/gatewright/wasm/abi"
)

// Native code cannot be interrupted: until it calls back, a garbage collection waits, and with it everybody. So a budget is
// handed out in slices that take about a tenth of a millisecond, whatever the guest does.
const (
	firstSlice = 20_000 // units
	leastSlice = 2_000
	mostSlice  = 1 << 20
	slowSlice  = 150 * time.Microsecond
	fastSlice  = 60 * time.Microsecond
)

// tank is the context of an instance's calls: the engine hands it back to refuel, without a search or an allocation.
// Only the goroutine that makes the call touches it.
type tank struct {
	context.Context // the caller's
	left            int64
	slice           int64
	last            time.Time     // when the slice began; zero when nobody looked
	refueled        bool          // this call needed more than one slice
	slices          time.Duration // how long those took that are over, as far as somebody looked
	fuel            api.MutableGlobal
	logged          int // bytes written to the log by this call
	filter          *Filter
	call            *abi.Context
	size            int // of the call, as its dialect counts
	locals          [abi.Sets]any
	local           bool // there may be something in them
}

var _ abi.Host = (*tank)(nil)

// Size is how many bytes of input the call is.
func (t *tank) Size() int { return t.size }

// Call is what is being judged.
func (t *tank) Call() *abi.Context { return t.call }

// Charge takes fuel. What is overdrawn stops the guest where it is next charged itself.
func (t *tank) Charge(units int64) { t.fuel.Set(uint64(int64(t.fuel.Get()) - units)) }

// Local is what a set of imported functions remembers during a call.
func (t *tank) Local(s abi.Set) *any {
	t.local = true
	return &t.locals[s]
}

// Value hides the caller's values from the engine, which looks for experimental settings there.
func (t *tank) Value(any) any { return nil }

// start begins a call with a budget and returns its first slice.
func (t *tank) start(ctx context.Context, c *abi.Context, budget int64) int64 {
	t.Context, t.last, t.logged, t.slices = ctx, time.Time{}, 0, 0
	t.call = c
	if t.local {
		t.locals, t.local = [abi.Sets]any{}, false
	}
	if t.refueled { // the last call did, so this one may too: look how long a slice takes
		t.last, t.refueled = time.Now(), false
	}
	first := min(t.slice, budget)
	t.left = budget - first
	return first
}

// refuel is called by metered code whose slice is used up; rest is what is left of it, negative when it was overdrawn.
// The trap point and the total depend on the guest alone: slices never exceed what is left.
func (t *tank) refuel(rest int64) int64 {
	if t.left += rest; t.left < 0 {
		panic(errFuel)
	}
	select {
	case <-t.Done():
		panic(&contextEnd{ended(t.Context)})
	default:
	}
	t.refueled = true
	t.adapt(time.Now())
	runtime.Gosched() // several runaways would otherwise starve everybody else
	t.last = time.Now()
	next := min(t.slice, t.left)
	t.left -= next
	return next
}

// adapt fits the next slice to how long the last one took.
func (t *tank) adapt(now time.Time) {
	if t.last.IsZero() {
		return
	}
	took := now.Sub(t.last)
	t.slices += took
	switch {
	case took > slowSlice && t.slice > leastSlice:
		t.slice /= 2
	case took < fastSlice && t.slice < mostSlice:
		t.slice += t.slice / 2
	}
}

// took is how many nanoseconds the call took that ends now, without its first slice where nobody looked at that; 0 when one
// slice was enough. While other processes hold up this one that is more than what the call used.
func (t *tank) took() int64 {
	if !t.refueled {
		return 0
	}
	return int64(t.slices + time.Since(t.last))
}

// refuelHost is the function that metered code imports.
func refuelHost(ctx context.Context, stack []uint64) {
	stack[0] = uint64(ctx.(*tank).refuel(int64(stack[0])))
}
