package build

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero"

	"github.com/gatewright/gatewright/wasm/meter"
)

// SmallModule is the size in bytes up to which a module is compiled under the smaller bounds.
const SmallModule = 1 << 20

// What the interpreter may take of this process for one module, in bytes, by its class.
const (
	smallInterpreted = 96 << 20
	largeInterpreted = 256 << 20
)

// Source is where a module's code comes from.
type Source struct {
	// Compiler compiles it in a child; nil has this process do it, which bounds nothing.
	Compiler *Compiler
	// Cache is the engine's memory of code where this process compiles.
	Cache wazero.CompilationCache
	// Interpreted has nothing compiled at all.
	Interpreted bool
	// Tenant and Large are the Job's.
	Tenant string
	Large  bool
}

// Engine returns an engine that Compile can be asked for, with a store of its own.
func (s Source) Engine(ctx context.Context, pages uint32) wazero.Runtime {
	switch {
	case s.Interpreted:
		return wazero.NewRuntimeWithConfig(ctx, Interpreter(pages))
	case s.Compiler != nil:
		return wazero.NewRuntimeWithConfig(ctx, Config(pages).WithCompilationCache(s.Compiler.Cache()))
	}
	return wazero.NewRuntimeWithConfig(ctx, Config(pages).WithCompilationCache(s.Cache))
}

// Meter is meter.Rewrite of the module with that SHA-256, or what it once returned, if the Compiler's cache has that.
func (s Source) Meter(module []byte, digest [32]byte, o meter.Options) (Metered, error) {
	if s.Interpreted || s.Compiler == nil {
		return rewrite(module, o)
	}
	return s.Compiler.meter(module, digest, o)
}

// Compile makes code of a metered module for an engine of the same source. In the Compiler's cache both are kept.
func (s Source) Compile(ctx context.Context, engine wazero.Runtime, m Metered, pages uint32) (wazero.CompiledModule, error) {
	if s.Interpreted {
		if err := s.interpretable(m.Module); err != nil {
			return nil, err
		}
	} else if s.Compiler != nil {
		j := Job{Module: m.Module, Tenant: s.Tenant, Large: s.Large, Pages: pages, digest: m.digest}
		compiled, _, err := s.Compiler.Load(ctx, engine, j)
		if err == nil {
			s.Compiler.keep(m)
		}
		return compiled, err
	}
	compiled, err := engine.CompileModule(ctx, m.Module)
	if err != nil {
		return nil, fmt.Errorf("compile: %.300q", err.Error()) // its text quotes the module
	}
	return compiled, nil
}

// interpretable refuses what the interpreter would take too much memory for.
func (s Source) interpretable(module []byte) error {
	most := int64(smallInterpreted)
	if s.Large {
		most = largeInterpreted
	}
	size, err := Interpreted(module)
	if err == nil && size > most {
		err = fmt.Errorf("interpreting it would take %d MiB, at most %d: declare fewer locals, in fewer functions", size>>20, most>>20)
	}
	return err
}
