package wasm

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/tetratelabs/wazero/api"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/wasm/build"
	"github.com/gatewright/gatewright/wasm/meter"
	"github.com/gatewright/gatewright/wasm/scan"
	"github.com/gatewright/gatewright/wasm/wasi"
)

// Load makes a filter of a module. initConfig is what gw_init is shown, once; it may be empty. An error says what is wrong
// with the module, in words for its author. ctx bounds gw_init, and the compilation before it where Config.Compiler does
// that; in this process it cannot be interrupted.
func (r *Runtime) Load(ctx context.Context, name string, module, initConfig []byte, options ...Option) (*Filter, error) {
	f, err := r.load(ctx, name, module, initConfig, r.origin("", len(module)), options...)
	if err != nil {
		return nil, fmt.Errorf("load filter %q: %w", name, err)
	}
	return f, nil
}

// LoadInterpreted is Load, but nothing is compiled: the engine's interpreter runs the filter, many times slower. The two
// share next to no code, so that verdicts and fuel that agree speak for both. A module that would take too much of this
// process's memory that way is refused.
func (r *Runtime) LoadInterpreted(ctx context.Context, name string, module, initConfig []byte, options ...Option) (*Filter, error) {
	from := r.origin("", len(module))
	from.Interpreted = true
	f, err := r.load(ctx, name, module, initConfig, from, options...)
	if err != nil {
		return nil, fmt.Errorf("load filter %q: %w", name, err)
	}
	return f, nil
}

// origin is where the code of a tenant's module of that size comes from.
func (r *Runtime) origin(tenant string, size int) build.Source {
	return build.Source{Compiler: r.config.Compiler, Cache: r.cache, Tenant: tenant, Large: size > build.SmallModule}
}

func (r *Runtime) load(ctx context.Context, name string, module, initConfig []byte, from build.Source, options ...Option) (loaded *Filter, err error) {
	c := r.config
	switch {
	case !validName(name):
		return nil, errors.New("the name is not 1 to 64 of a-z, 0-9, '.', '_' and '-'")
	case len(module) > c.MaxModule:
		return nil, fmt.Errorf("the module has %d bytes, at most %d", len(module), c.MaxModule)
	case len(initConfig) > c.MaxContext:
		return nil, fmt.Errorf("the configuration has %d bytes, at most %d", len(initConfig), c.MaxContext)
	}
	digest := sha256.Sum256(module)
	metered, err := from.Meter(module, digest, c.limits())
	if err != nil {
		return nil, err
	}
	f := &Filter{name: name, digest: merkle.Hash(digest), size: len(module), config: c, state: metered.State}
	for _, o := range options {
		o(f)
	}
	f.breaker.traps, f.breaker.window, f.breaker.pause = c.Traps, c.TrapWindow, c.BreakFor
	f.pool = newPool(c.Instances, c.Wait, func() { f.free(); r.forget(f) })
	f.weight = weigh(metered.Module, len(f.pool.slots))
	f.pool.build, f.pool.reset = f.spare, func(in *instance) bool { return in.reset(f.image) }
	defer func() {
		if p := recover(); p != nil { // the engine's compiler met what nobody foresaw
			err = fmt.Errorf("panic: %.200q", fmt.Sprint(p))
		}
		if err != nil {
			err = f.tenant.advise(err)
			f.end()
			loaded = nil
		}
	}()
	if err := f.take(f.weight.filter); err != nil { // before anything is made
		return nil, err
	}
	if err := f.compile(ctx, from, metered); err != nil {
		return nil, err
	}
	if err := f.firstInstance(ctx, initConfig); err != nil {
		return nil, err
	}
	return f, r.add(f)
}

// limits are what a module has to keep. Where modules over 1 MiB are let in, they may be what Go makes of a filter.
func (c Config) limits() meter.Options {
	l := scan.Small()
	if c.MaxModule > l.MaxModule {
		l = scan.Large()
	}
	l.MaxPages, l.MaxDepth, l.MaxModule, l.MaxData, l.ExportStart = c.MemoryPages, c.Depth, c.MaxModule, c.MaxModule, true
	return l
}

// compile makes native code of the module. Each filter has a store of its own: what it leaves behind there, such as types,
// ends with it. Only the code is shared, between filters of the same module.
func (f *Filter) compile(ctx context.Context, from build.Source, module build.Metered) (err error) {
	f.engine = from.Engine(ctx, f.config.MemoryPages)
	i64 := []api.ValueType{api.ValueTypeI64}
	_, err = f.engine.NewHostModuleBuilder(meter.ImportModule).NewFunctionBuilder().
		WithGoFunction(api.GoFunc(refuelHost), i64, i64).Export(meter.ImportName).Instantiate(ctx)
	if err != nil {
		return err
	}
	if f.compiled, err = from.Compile(ctx, f.engine, module, f.config.MemoryPages); err != nil {
		return err
	}
	if f.dialect, err = speaking(f.compiled); err != nil {
		return err
	}
	if f.phases, err = f.dialect.Check(f.compiled); err != nil {
		return err
	}
	if wasi.Imports(f.compiled) {
		if err := wasi.Define(ctx, f.engine); err != nil {
			return err
		}
	}
	return f.dialect.Host(ctx, f.engine)
}

// The names package meter gives what it injects.
const (
	exportFuel  = meter.FuelGlobal
	exportDepth = meter.DepthGlobal
	exportStart = meter.StartExport // a start function
)
