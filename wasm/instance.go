package wasm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/gatewright/gatewright/wasm/abi"
	"github.com/gatewright/gatewright/wasm/linear"
)

// image is the state of an instance after gw_init: all that a guest can change and that could tell one call about another.
// Load refuses modules that can change anything else.
type image struct {
	memory  *linear.Image
	globals []uint64 // as in instance.globals
}

var errImage = errors.New("a new instance has another shape than the first")

// instance is one copy of a module with its own memory. One goroutine uses it at a time.
type instance struct {
	module  api.Module
	memory  api.Memory
	guest   abi.Guest
	fuel    api.MutableGlobal
	depth   api.MutableGlobal
	globals []api.MutableGlobal // all others that the module can change
	linear  *linear.Memory      // what memory lies in
	taken   int64               // of the tenant's memory, beside what linear took
	stacks  []*[]byte           // native ones, of the functions that the host calls
	stacked int64               // of taken, for those
	tank    tank
}

// moduleConfig gives a module no name, calls nothing of it, and makes no source of randomness that nobody would ask.
var moduleConfig = wazero.NewModuleConfig().WithName("").WithStartFunctions().WithRandSource(strings.NewReader(""))

// newInstance instantiates the module, whose memory will be size bytes long. No code of it runs yet: start functions are
// refused.
func (f *Filter) newInstance(size int) (*instance, error) {
	if err := f.take(f.weight.instance); err != nil {
		return nil, fmt.Errorf("instantiate: %w", err)
	}
	memory, err := f.shelf.New(f.tenant.budget(), size, int(f.config.MemoryPages)*pageSize)
	if err != nil {
		f.give(f.weight.instance)
		return nil, fmt.Errorf("instantiate: %w", err)
	}
	in := &instance{linear: memory, taken: f.weight.instance, tank: tank{Context: context.Background(), slice: firstSlice, filter: f}}
	defer func() {
		if in.module == nil { // also where the engine panics, as it does when there is no memory
			memory.Free()
			f.give(in.taken)
		}
	}()
	module, err := f.engine.InstantiateModule(experimental.WithMemoryAllocator(&in.tank, memory), f.compiled, moduleConfig)
	if err != nil {
		return nil, fmt.Errorf("instantiate: %.300q", err.Error())
	}
	in.module, in.memory = module, module.Memory()
	if err = f.bind(in); err == nil {
		err = in.weighStacks()
	}
	if err != nil {
		_ = in.close()
		return nil, fmt.Errorf("instantiate: %w", err)
	}
	return in, nil
}

// bind finds in a new instance what the host works with.
func (f *Filter) bind(in *instance) (err error) {
	module := in.module
	in.fuel, _ = module.ExportedGlobal(exportFuel).(api.MutableGlobal)
	in.depth, _ = module.ExportedGlobal(exportDepth).(api.MutableGlobal)
	for _, name := range f.state {
		g, _ := module.ExportedGlobal(name).(api.MutableGlobal)
		in.globals = append(in.globals, g)
	}
	if in.fuel == nil || in.depth == nil || slices.Contains(in.globals, nil) {
		return errors.New("the module is not metered")
	}
	in.tank.fuel = in.fuel
	in.depth.Set(uint64(f.config.Depth))
	in.guest, err = f.dialect.Bind(called{module, in}, abi.Limits{Verdict: f.config.MaxVerdict, Body: f.config.MaxContext})
	return err
}

// forward is a Guest that can do a part of all calls once. What Ahead leaves behind is in the image; what it returns is told
// the other instances.
type forward interface {
	Ahead(ctx context.Context) (uint64, error)
	Told(uint64)
}

// firstInstance makes the instance whose state after gw_init all others begin with. Its tenant pays for that as it does for
// others, also where it fails: the fuel of what ran, and where it took more nanoseconds than that, those as far as it has fuel.
func (f *Filter) firstInstance(ctx context.Context, config []byte) error {
	began := time.Now()
	defer func() {
		f.tenant.spend(f.began)
		f.tenant.pay(int64(time.Since(began)) - f.began)
	}()
	in, err := f.setUp(ctx, config)
	if err != nil {
		return err
	}
	if g, ok := in.guest.(forward); ok {
		in.begin(ctx, nil, f.config.Fuel)
		f.ahead, err = g.Ahead(&in.tank)
		f.began += in.spent(f.config.Fuel)
		if err != nil { // then each call does it, from a state that saw nothing of this
			_ = in.close()
			if in, err = f.setUp(ctx, config); err != nil {
				return err
			}
		}
	}
	return f.keep(in)
}

// setUp makes an instance and starts it.
func (f *Filter) setUp(ctx context.Context, config []byte) (*instance, error) {
	in, err := f.newInstance(f.firstSize())
	if err != nil {
		return nil, err
	}
	in.begin(ctx, nil, f.config.InitFuel)
	err = in.guest.Init(&in.tank, config)
	f.began += in.spent(f.config.InitFuel)
	if err != nil {
		_ = in.close()
		kind, err := classify(err, in.deep())
		return nil, f.trap(kind, fmt.Errorf("while it is set up: %w", err))
	}
	return in, nil
}

// keep makes the image of an instance, and the instance the first of the pool.
func (f *Filter) keep(in *instance) error {
	if h, ok := in.guest.(abi.Heir); ok {
		f.legacy, f.phases = h.Legacy()
	}
	memory, _ := in.memory.Read(0, in.memory.Size())
	f.image = &image{memory: linear.NewImage(memory)}
	for _, g := range in.globals {
		f.image.globals = append(f.image.globals, g.Get())
	}
	if err := errors.Join(f.account(in), in.weighStacks()); err != nil {
		_ = in.close()
		return err
	}
	if !in.linear.Adopt(f.image.memory) || !in.reset(f.image) {
		_ = in.close()
		return errImage
	}
	f.pool.slots[0].in = in
	f.pool.slots[0].state.Store(clean)
	return nil
}

// account takes of the tenant's memory what the image holds, and puts right what was taken for native code.
func (f *Filter) account(in *instance) error {
	more := int64(f.image.memory.Held()) + 16*int64(len(f.image.globals))
	if code, ok := native(in.module); ok {
		more += code - f.weight.code
	}
	if more < 0 {
		f.give(-more)
		return nil
	}
	return f.take(more)
}

// firstSize is how many bytes of memory the module begins with.
func (f *Filter) firstSize() (size int) {
	for _, m := range f.compiled.ExportedMemories() {
		size = max(size, int(m.Min())*pageSize)
	}
	return size
}

// spare makes a further instance. Its tenant pays a unit for each nanosecond, and when there is none made too: a filter whose
// calls end with no instance left would otherwise have them made for nothing.
func (f *Filter) spare() (_ *instance, err error) {
	began := time.Now()
	var in *instance
	defer func() {
		f.tenant.spend(int64(time.Since(began)))
		if r := recover(); r != nil { // the engine met what nobody foresaw
			err = unforeseen(r)
			if in != nil {
				_ = in.close()
			}
		}
	}()
	size := f.image.memory.Size()
	if in, err = f.newInstance(size); err != nil {
		return nil, err
	}
	if g, ok := in.guest.(forward); ok {
		g.Told(f.ahead)
	}
	if h, ok := in.guest.(abi.Heir); ok {
		h.Inherit(f.legacy)
	}
	if more := size - int(in.memory.Size()); more > 0 {
		in.memory.Grow(uint32(more / pageSize)) // Adopt looks whether it worked
	}
	if !in.linear.Adopt(f.image.memory) || !in.reset(f.image) {
		_ = in.close()
		return nil, errImage
	}
	return in, nil
}

// close gives back all that the instance takes. It may be called again.
func (in *instance) close() error {
	in.tank.filter.give(in.taken)
	in.taken = 0
	return in.module.Close(context.Background())
}

// reset puts the instance into the image's state and reports whether it could.
func (in *instance) reset(m *image) bool {
	size := m.memory.Size()
	if in.linear.Size() != size && !in.linear.Shrink(size, in.memory.Grow) || int(in.memory.Size()) != size {
		return false
	}
	for i, g := range in.globals {
		g.Set(m.globals[i])
	}
	in.depth.Set(uint64(in.tank.filter.config.Depth)) // as it is after each call that returned
	return in.linear.Restore()
}

// begin hands out fuel for one call, which c is, or for setting up where that is nil.
func (in *instance) begin(ctx context.Context, c *abi.Context, budget int64) {
	in.fuel.Set(uint64(in.tank.start(ctx, c, budget)))
}

// spent is how much of budget is gone.
func (in *instance) spent(budget int64) int64 {
	return min(budget, budget-in.tank.left-int64(in.fuel.Get()))
}

// deep reports whether a trap came of too many open calls.
func (in *instance) deep() bool { return int32(in.depth.Get()) < 0 }
