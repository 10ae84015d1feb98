package wasm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// The exports of a filter. README.md beside this file is what their authors read.
const (
	exportABI      = "gw_abi_1"
	exportAlloc    = "gw_alloc"
	exportInit     = "gw_init"
	exportDecide   = "gw_decide"
	exportResponse = "gw_on_response"
)

// instance is one copy of a module with its own memory. One goroutine uses it at a time.
type instance struct {
	module   api.Module
	memory   api.Memory
	alloc    api.Function
	decide   api.Function
	response api.Function // nil when the module has none
	fuel     api.MutableGlobal
	depth    api.MutableGlobal
	globals  []api.MutableGlobal // all others that the module can change
	tank     tank
	stack    [2]uint64
}

// moduleConfig gives a module no name, calls nothing of it, and makes no source of randomness that nobody would ask.
var moduleConfig = wazero.NewModuleConfig().WithName("").WithStartFunctions().WithRandSource(strings.NewReader(""))

// newInstance instantiates the module. No code of it runs yet: start functions are refused.
func (f *Filter) newInstance() (*instance, error) {
	in := &instance{tank: tank{Context: context.Background(), slice: firstSlice, filter: f}}
	ctx := experimental.WithMemoryAllocator(&in.tank, &f.memories)
	module, err := f.engine.InstantiateModule(ctx, f.compiled, moduleConfig)
	if err != nil {
		return nil, fmt.Errorf("instantiate: %.300q", err.Error())
	}
	in.module, in.memory = module, module.Memory()
	in.alloc, in.decide = module.ExportedFunction(exportAlloc), module.ExportedFunction(exportDecide)
	in.response = module.ExportedFunction(exportResponse)
	in.fuel, _ = module.ExportedGlobal(exportFuel).(api.MutableGlobal)
	in.depth, _ = module.ExportedGlobal(exportDepth).(api.MutableGlobal)
	for _, name := range f.state {
		g, _ := module.ExportedGlobal(name).(api.MutableGlobal)
		in.globals = append(in.globals, g)
	}
	if in.fuel == nil || in.depth == nil || slices.Contains(in.globals, nil) {
		_ = in.close()
		return nil, errors.New("instantiate: the module is not metered")
	}
	in.tank.fuel = in.fuel
	return in, nil
}

// firstInstance makes the instance whose state after gw_init all others begin with.
func (f *Filter) firstInstance(ctx context.Context, config []byte) error {
	in, err := f.newInstance()
	if err != nil {
		return err
	}
	in.begin(ctx, f.config.InitFuel, f.config.Depth)
	if err := in.init(config); err != nil {
		_ = in.close()
		kind, err := classify(err, in.deep())
		return f.trap(kind, fmt.Errorf("%s: %w", exportInit, err))
	}
	memory, _ := in.memory.Read(0, in.memory.Size())
	f.image = newImage(memory, in.globals)
	f.pool.idle, f.pool.live = append(f.pool.idle, in), 1
	return nil
}

// spare makes a further instance.
func (f *Filter) spare() (*instance, error) {
	in, err := f.newInstance()
	if err != nil {
		return nil, err
	}
	if more := f.image.size - int(in.memory.Size()); more > 0 {
		in.memory.Grow(uint32(more / pageSize)) // reset looks whether it worked
	}
	if !in.reset(f.image) {
		_ = in.close()
		return nil, errImage
	}
	return in, nil
}

func (in *instance) close() error { return in.module.Close(context.Background()) }

// reset puts the instance into the image's state and reports whether it could.
func (in *instance) reset(m *image) bool {
	if int(in.memory.Size()) != m.size {
		return false
	}
	for i, g := range in.globals {
		g.Set(m.globals[i])
	}
	memory, ok := in.memory.Read(0, in.memory.Size())
	if ok {
		m.restore(memory)
	}
	return ok
}

// begin hands out fuel and depth for one call.
func (in *instance) begin(ctx context.Context, budget int64, depth int) {
	in.depth.Set(uint64(depth))
	in.fuel.Set(uint64(in.tank.start(ctx, budget)))
}

// spent is how much of budget is gone.
func (in *instance) spent(budget int64) int64 {
	return min(budget, budget-in.tank.left-int64(in.fuel.Get()))
}

// deep reports whether a trap came of too many open calls.
func (in *instance) deep() bool { return int32(in.depth.Get()) < 0 }

// place asks the guest for memory and copies input there.
func (in *instance) place(input []byte) (at uint32, err error) {
	in.stack[0] = uint64(len(input))
	if err := in.alloc.CallWithStack(&in.tank, in.stack[:]); err != nil {
		return 0, err
	}
	at = uint32(in.stack[0])
	if at == 0 {
		return 0, errNoRoom
	}
	if !in.memory.Write(at, input) {
		return 0, errPointer
	}
	return at, nil
}

// judge asks the guest and reads its verdict.
func (in *instance) judge(input []byte, v *Verdict, p phase, b bounds) error {
	fn := in.decide
	if p == response {
		fn = in.response
	}
	answer, err := in.ask(fn, input)
	if err != nil {
		return err
	}
	if err := v.read(answer, p.body(), b); err != nil {
		return &badVerdict{err}
	}
	return nil
}

// ask shows input to one of the guest's functions and returns its answer, which lies in the guest's memory.
func (in *instance) ask(fn api.Function, input []byte) ([]byte, error) {
	at, err := in.place(input)
	if err != nil {
		return nil, err
	}
	in.stack[0], in.stack[1] = uint64(at), uint64(len(input))
	if err := fn.CallWithStack(&in.tank, in.stack[:]); err != nil {
		return nil, err
	}
	answer, ok := in.memory.Read(uint32(in.stack[0]>>32), uint32(in.stack[0]))
	if !ok {
		return nil, errPointer
	}
	return answer, nil
}

// init runs gw_init when the module has one.
func (in *instance) init(config []byte) error {
	fn := in.module.ExportedFunction(exportInit)
	if fn == nil {
		return nil
	}
	var at uint32
	if len(config) > 0 {
		var err error
		if at, err = in.place(config); err != nil {
			return err
		}
	}
	in.stack[0], in.stack[1] = uint64(at), uint64(len(config))
	if err := fn.CallWithStack(&in.tank, in.stack[:]); err != nil {
		return err
	}
	if code := int32(in.stack[0]); code != 0 {
		return fmt.Errorf("%w: code %d", errInit, code)
	}
	return nil
}
