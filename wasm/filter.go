package wasm

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/tetratelabs/wazero"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/wasm/abi"
	"github.com/gatewright/gatewright/wasm/linear"
)

// Filter is one loaded module with its configuration. Load it once for each tenant: what a filter is shown never leaves
// it but through its verdict and its log. Many goroutines may use it at once.
type Filter struct {
	name     string
	digest   merkle.Hash
	size     int
	config   Config
	engine   wazero.Runtime
	compiled wazero.CompiledModule
	state    []string // names of the globals that make up its state, memory aside
	image    *image   // nil until there is a first instance
	tenant   *Tenant  // nil when nothing bounds it together with others
	weight   weight
	began    int64        // the fuel that the first instance took, until there is one
	held     atomic.Int64 // of the tenant's memory, beside linear memory
	dialect  dialect
	phases   abi.Phases
	legacy   any    // of an abi.Heir
	ahead    uint64 // of a forward
	shelf    linear.Shelf
	pool     *pool
	faults   faults
	holds    holds
	breaker  breaker
	said     func(level int, text string) // what it writes; may be nil
	breaks   atomic.Uint64
}

// Name returns the name the filter was loaded under.
func (f *Filter) Name() string { return f.name }

// Digest returns the SHA-256 of the module as it was given to Load.
func (f *Filter) Digest() merkle.Hash { return f.digest }

// HasResponse reports whether the filter looks at results too, whole or in chunks. One that does not lets every result pass.
func (f *Filter) HasResponse() bool { return f.phases.Has(abi.Response) || f.HasChunk() }

// HasChunk reports whether the filter looks at the chunks of a result that streams. One that does not lets every chunk pass.
func (f *Filter) HasChunk() bool { return f.phases.Has(abi.Chunk) }

// Dialect returns the name of the ABI that the filter speaks.
func (f *Filter) Dialect() string { return f.dialect.Name() }

// Decide asks the filter about a request. c is only read but for Phase and Flags, which it sets. v is overwritten, its
// buffers used again. Every error is a *Trap: the call must be refused, and v allows nothing.
func (f *Filter) Decide(ctx context.Context, c *abi.Context, v *Verdict) error {
	c.Phase = abi.Request
	return f.judge(ctx, c, v)
}

// OnResponse asks the filter about a whole result, like Decide. One that looks at chunks alone is shown it as its stream's
// only one.
func (f *Filter) OnResponse(ctx context.Context, c *abi.Context, v *Verdict) error {
	if !f.phases.Has(abi.Response) && f.HasChunk() {
		c.Flags = abi.First | abi.Last
		err := f.OnChunk(ctx, c, v)
		c.Phase, c.Flags = abi.Response, 0 // to whoever comes next it is a result
		return err
	}
	c.Phase = abi.Response
	return f.judge(ctx, c, v)
}

// OnChunk asks the filter about a chunk of a result that streams, like Decide; the caller sets c.Flags. Each chunk is judged
// for itself: what the filter saw of those before it, it has forgotten. A refusal ends the stream.
func (f *Filter) OnChunk(ctx context.Context, c *abi.Context, v *Verdict) error {
	c.Phase = abi.Chunk
	return f.judge(ctx, c, v)
}

func (f *Filter) judge(ctx context.Context, c *abi.Context, v *Verdict) error {
	v.Reset()
	if !f.phases.Has(c.Phase) {
		v.Kind = Pass
		return nil
	}
	size := f.dialect.Size(c)
	slot, t := f.admit(ctx, size, v)
	if t == nil {
		began, in := slot.tally.begin(), slot.in
		t = f.run(ctx, in, c, size, v)
		slot.tally.add(v.Kind, v.Fuel, began)
		if t != nil || in.weighStacks() != nil { // a stack that its tenant has no memory for is not kept
			slot.discard()
		}
		cost := max(v.Fuel, in.tank.took())
		f.pool.give(slot)
		f.tenant.leave(cost)
	}
	if t == nil {
		f.breaker.passed()
		return nil
	}
	f.faults.add(t)
	if guilty(t) && f.breaker.trapped() {
		f.breaks.Add(1)
	}
	return t
}

// admit lends an instance for a call of that size. The tenant's leave and the pool's give must follow when there is no trap.
func (f *Filter) admit(ctx context.Context, size int, v *Verdict) (*slot, *Trap) {
	if size > f.config.MaxContext {
		return nil, f.trap(TrapInput, fmt.Errorf("%d bytes, at most %d", size, f.config.MaxContext))
	}
	if f.breaker.open() {
		return nil, f.trap(TrapBroken, errBroken)
	}
	if err := f.tenant.enter(ctx); err != nil {
		return nil, f.trap(classify(err, false))
	}
	// Who calls again with the same verdict is most often on the same processor: the slot is chosen by its address.
	slot, err := f.pool.take(ctx, uint32(uint64(uintptr(unsafe.Pointer(v)))*spread>>32))
	if err != nil {
		f.tenant.leave(0)
		return nil, f.trap(classify(err, false))
	}
	return slot, nil
}

// spread makes of addresses that differ little numbers that differ much: 2^64 over the golden ratio.
const spread = 0x9e3779b97f4a7c15

// run makes the call. After a trap the instance must not be used again.
func (f *Filter) run(ctx context.Context, in *instance, c *abi.Context, size int, v *Verdict) (t *Trap) {
	defer func() {
		if r := recover(); r != nil {
			v.Reset()
			t = f.trap(TrapInternal, unforeseen(r))
		}
	}()
	budget := f.config.Fuel + f.config.ByteFuel*int64(size)
	rent := int64(f.image.memory.Size()) / restoredPerUnit
	in.tank.size = size
	in.begin(ctx, c, max(budget-rent, 0))
	err := in.guest.Judge(&in.tank, c, v)
	v.Fuel = rent + in.spent(max(budget-rent, 0))
	if err == nil {
		return nil
	}
	spent := v.Fuel
	t = f.trap(classify(err, in.deep()))
	v.Reset()
	v.Fuel = spent
	if t.Kind == TrapFuel {
		v.Fuel = max(budget, rent)
	}
	return t
}

// restoredPerUnit is how many bytes of memory are put back after a call for a unit of fuel, about a nanosecond's worth: what
// a filter's size costs everybody is paid by its calls.
const restoredPerUnit = 32

func (f *Filter) trap(kind string, err error) *Trap { return &Trap{f.name, kind, err} }

// free gives back the filter's code and store, once no instance is left. It frees memory, and has nothing else to fail at.
func (f *Filter) free() {
	f.shelf.Close()
	if f.image != nil {
		f.image.memory.Close()
	}
	if f.compiled != nil {
		_ = f.compiled.Close(context.Background())
	}
	if f.engine != nil {
		_ = f.engine.Close(context.Background())
	}
	f.give(f.held.Load()) // what is left
}

var errBroken = errors.New("it trapped too often of late")

// Settle puts back what calls left behind, and returns how many instances that was. Nobody has to: a call that finds no other
// instance puts its own back first, and when many wait for it, a goroutine does. Who calls it when an answer is on its way
// keeps that off the path of the next.
func (f *Filter) Settle() int { return f.pool.settle() }

// Stats returns what the filter has done so far.
func (f *Filter) Stats() FilterStats {
	s := FilterStats{
		Name: f.name, Dialect: f.Dialect(), Digest: f.digest, Size: f.size, Memory: f.image.memory.Size(),
		Reset:  resetNames[f.image.memory.Strategy()],
		Broken: f.breaker.open(), Breaks: f.breaks.Load(),
	}
	if f.tenant != nil {
		s.Tenant = f.tenant.name
	}
	f.pool.stats(&s)
	f.faults.fill(&s)
	return s
}
