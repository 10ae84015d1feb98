package wasm

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero"

	"github.com/gatewright/gatewright/wasm/build"
)

// smallModule is the size in bytes up to which a module is compiled under the smaller bounds.
const smallModule = 1 << 20

// origin is where a filter's code comes from.
type origin struct {
	cache       wazero.CompilationCache
	compiler    *build.Compiler // nil: this process compiles
	interpreted bool
	tenant      string // who waits for the compiler
	large       bool
}

// origin chooses for a module of that size.
func (r *Runtime) origin(tenant string, size int) origin {
	return origin{cache: r.cache, compiler: r.config.Compiler, tenant: tenant, large: size > smallModule}
}

// LoadInterpreted is Load, but nothing is compiled: the engine's interpreter runs the filter, many times slower. The two
// share next to no code, so that verdicts and fuel that agree speak for both.
func (r *Runtime) LoadInterpreted(ctx context.Context, name string, module, initConfig []byte, options ...Option) (*Filter, error) {
	f, err := r.load(ctx, name, module, initConfig, origin{interpreted: true}, options...)
	if err != nil {
		return nil, fmt.Errorf("load filter %q: %w", name, err)
	}
	return f, nil
}

// engine returns an engine with a store of its own.
func (o origin) engine(ctx context.Context, pages uint32) wazero.Runtime {
	if o.interpreted {
		return wazero.NewRuntimeWithConfig(ctx, build.Interpreter(pages))
	}
	return wazero.NewRuntimeWithConfig(ctx, build.Config(pages).WithCompilationCache(o.cache))
}

// compile makes code of a metered module, elsewhere if there is a compiler.
func (o origin) compile(ctx context.Context, engine wazero.Runtime, module []byte, pages uint32) (wazero.CompiledModule, error) {
	if o.compiler != nil {
		compiled, _, err := o.compiler.Load(ctx, engine, build.Job{Module: module, Tenant: o.tenant, Large: o.large, Pages: pages})
		return compiled, err
	}
	compiled, err := engine.CompileModule(ctx, module)
	if err != nil {
		return nil, fmt.Errorf("compile: %.300q", err.Error()) // its text quotes the module
	}
	return compiled, nil
}
