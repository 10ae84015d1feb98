package wasm

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/tetratelabs/wazero"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/wasm/abi"
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
	image    *image
	memories memories
	dialect  dialect
	phases   abi.Phases
	pool     *pool
	breaker  breaker
	said     func(level int, text string) // what it writes; may be nil
	breaks   atomic.Uint64
}

// Name returns the name the filter was loaded under.
func (f *Filter) Name() string { return f.name }

// Digest returns the SHA-256 of the module as it was given to Load.
func (f *Filter) Digest() merkle.Hash { return f.digest }

// HasResponse reports whether the filter looks at results too. One that does not lets every result pass.
func (f *Filter) HasResponse() bool { return f.phases.Has(abi.Response) }

// HasChunk reports whether the filter looks at the chunks of a result that streams. One that does not lets every chunk pass.
func (f *Filter) HasChunk() bool { return f.phases.Has(abi.Chunk) }

// Dialect returns the name of the ABI that the filter speaks.
func (f *Filter) Dialect() string { return f.dialect.Name() }

// Decide asks the filter about a request. c is only read but for its Phase, which it sets. v is overwritten, its buffers used again.
// Every error is a *Trap: the call must be refused, and v allows nothing.
func (f *Filter) Decide(ctx context.Context, c *abi.Context, v *Verdict) error {
	c.Phase = abi.Request
	return f.judge(ctx, c, v)
}

// OnResponse asks the filter about a result, like Decide.
func (f *Filter) OnResponse(ctx context.Context, c *abi.Context, v *Verdict) error {
	c.Phase = abi.Response
	return f.judge(ctx, c, v)
}

// OnChunk asks the filter about a chunk of a result that streams, like Decide. c.Flags says where the chunk stands. Each chunk
// is judged for itself: what the filter saw of those before it, it has forgotten.
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
	in, t := f.admit(ctx, size)
	if t == nil {
		in, t = f.run(ctx, in, c, size, v)
		f.pool.give(in, outcome{kind: v.Kind, trap: t, fuel: v.Fuel})
	} else {
		f.pool.refused(t)
	}
	if t == nil {
		f.breaker.passed()
		return nil
	}
	if guilty(t.Kind) && f.breaker.trapped() {
		f.breaks.Add(1)
	}
	return t
}

// admit lends an instance for a call of that size, or nil when one has to be made.
func (f *Filter) admit(ctx context.Context, size int) (*instance, *Trap) {
	if size > f.config.MaxContext {
		return nil, f.trap(TrapInput, fmt.Errorf("%d bytes, at most %d", size, f.config.MaxContext))
	}
	if f.breaker.open() {
		return nil, f.trap(TrapBroken, errBroken)
	}
	in, err := f.pool.take(ctx)
	if err != nil {
		return nil, f.trap(classify(err, false))
	}
	return in, nil
}

// run makes the call and returns the instance as it was before it, or nil when it is gone.
func (f *Filter) run(ctx context.Context, in *instance, c *abi.Context, size int, v *Verdict) (back *instance, t *Trap) {
	defer func() {
		if r := recover(); r != nil {
			v.Reset()
			back, t = nil, f.trap(TrapInternal, unforeseen(r))
		}
	}()
	if in == nil {
		var err error
		if in, err = f.spare(); err != nil {
			return nil, f.trap(TrapInternal, err)
		}
	}
	budget := f.config.Fuel + f.config.ByteFuel*int64(size)
	rent := int64(in.memory.Size()) / restoredPerUnit
	in.begin(ctx, c, max(budget-rent, 0), f.config.Depth)
	err := in.guest.Judge(&in.tank, c, v)
	v.Fuel = rent + in.spent(max(budget-rent, 0))
	if err != nil {
		spent := v.Fuel
		t = f.trap(classify(err, in.deep()))
		v.Reset()
		v.Fuel = spent
		if t.Kind == TrapFuel {
			v.Fuel = max(budget, rent)
		}
	}
	if t != nil || !in.reset(f.image) {
		_ = in.close() // frees memory, and has nothing else to fail at
		return nil, t
	}
	return in, nil
}

// restoredPerUnit is how many bytes of memory are put back after a call for a unit of fuel, about a nanosecond's worth: what
// a filter's size costs everybody is paid by its calls.
const restoredPerUnit = 32

func (f *Filter) trap(kind string, err error) *Trap { return &Trap{f.name, kind, err} }

// free gives back the filter's code and store, once no instance is left. It frees memory, and has nothing else to fail at.
func (f *Filter) free() {
	if f.compiled != nil {
		_ = f.compiled.Close(context.Background())
	}
	if f.engine != nil {
		_ = f.engine.Close(context.Background())
	}
}

// Close refuses further calls, waits for those that run, and frees what the filter holds. When ctx ends first it returns
// its error, and the rest happens once the last call is over.
func (f *Filter) Close(ctx context.Context) error {
	over := f.pool.close()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close filter %s: %w", f.name, ended(ctx))
	}
}

var errBroken = errors.New("it trapped too often of late")

// Stats returns what the filter has done so far.
func (f *Filter) Stats() FilterStats {
	s := FilterStats{
		Name: f.name, Digest: f.digest, Size: f.size, Memory: f.image.size,
		Broken: f.breaker.open(), Breaks: f.breaks.Load(),
	}
	f.pool.stats(&s)
	return s
}
