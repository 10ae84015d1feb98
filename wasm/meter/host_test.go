package meter_test

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/gatewright/gatewright/wasm/meter"
)

var errFuel = errors.New("fuel exhausted")

// budget is the context of one call: the fuel that is left to hand out, and the slices in which it goes.
type budget struct {
	context.Context
	left    int64
	slice   int64
	refuels int
}

func fuel(t testing.TB, total, slice int64) *budget {
	t.Helper()
	return &budget{Context: t.Context(), left: total, slice: slice}
}

// refuel is what a host does: slices of what is left, a yield to the scheduler, a panic at the end.
func refuel(ctx context.Context, stack []uint64) {
	b := ctx.(*budget)
	b.refuels++
	b.left += int64(stack[0])
	if b.left < 0 {
		panic(errFuel)
	}
	runtime.Gosched()
	s := min(b.slice, b.left)
	b.left -= s
	stack[0] = uint64(s)
}

// newRuntime is an engine with the meter's host module.
func newRuntime(t testing.TB) wazero.Runtime {
	t.Helper()
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigCompiler().WithCoreFeatures(features))
	t.Cleanup(func() { r.Close(context.Background()) })
	_, err := r.NewHostModuleBuilder(meter.ImportModule).NewFunctionBuilder().
		WithGoFunction(api.GoFunc(refuel), []api.ValueType{api.ValueTypeI64}, []api.ValueType{api.ValueTypeI64}).
		Export(meter.ImportName).Instantiate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const features = api.CoreFeaturesV2 &^ api.CoreFeatureSIMD

// instance rewrites a module, which may change tables, and starts it.
func instance(t testing.TB, r wazero.Runtime, b *budget, module []byte, o meter.Options) api.Module {
	t.Helper()
	o.AllowTables = true
	out, _, err := meter.Rewrite(module, o)
	if err != nil {
		t.Fatal(err)
	}
	m, err := r.InstantiateWithConfig(b, out, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// used is what was taken of the total when a call has returned.
func used(b *budget, m api.Module, total int64) int64 {
	return total - b.left - int64(m.ExportedGlobal(meter.FuelGlobal).Get())
}

// shapeRuntime is an engine with the function that shapes import.
func shapeRuntime(t testing.TB) wazero.Runtime {
	r := newRuntime(t)
	_, err := r.NewHostModuleBuilder("test").NewFunctionBuilder().
		WithGoFunction(api.GoFunc(func(context.Context, []uint64) {}), nil, nil).Export("nothing").Instantiate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}
