package meter_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/gatewright/gatewright/wasm/meter"
)

// FuzzRewrite: whatever the bytes, Rewrite refuses with an *Error or gives a module that the engine takes exactly when
// it takes the module as it was, that does the same when fuel is plenty, and that stops when it is not. The engine only
// sees what Rewrite let through: its decoder believes counts.
func FuzzRewrite(f *testing.F) {
	for seed := range uint64(12) {
		f.Add(generated(seed).bytes())
	}
	f.Add(rich().bytes())
	for _, s := range shapes()[:12] {
		f.Add(s.module.bytes())
	}
	for _, file := range specSeeds() {
		if b, err := os.ReadFile(file); err == nil && len(b) < 4096 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, module []byte) {
		o := meter.Options{MaxModule: 1 << 16, MaxPages: 16, MaxWork: 1 << 20, AllowStart: true, AllowTables: true}
		metered, report, err := meter.Rewrite(module, o)
		if err != nil {
			var e *meter.Error
			if !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(module) || metered != nil {
				t.Fatalf("%v, %d bytes", err, len(metered))
			}
			return
		}
		fuzzPair(t, withoutCustom(module), metered, report)
	})
}

// withoutCustom leaves out the custom sections of a module that was found sound: the engine believes counts in names, and
// the meter drops them unread.
func withoutCustom(module []byte) []byte {
	out := append([]byte(nil), module[:len(magic)]...)
	for b := module[len(magic):]; len(b) > 0; {
		size, n := binary.Uvarint(b[1:])
		end := 1 + n + int(size)
		if b[0] != 0 {
			out = append(out, b[:end]...)
		}
		b = b[end:]
	}
	return out
}

// specSeeds are a few of the specification's modules, where they are at hand.
func specSeeds() []string {
	dir, err := specFolder()
	if err != nil {
		return nil
	}
	all, err := filepath.Glob(filepath.Join(dir, "v2", "testdata", "*.0.wasm"))
	if err != nil {
		return nil
	}
	return all
}

func fuzzPair(t *testing.T, module, metered []byte, report meter.Report) {
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(features).WithMemoryLimitPages(16))
	defer r.Close(ctx)
	_, plainErr := r.CompileModule(ctx, module)
	_, meteredErr := r.CompileModule(ctx, metered)
	if (plainErr == nil) != (meteredErr == nil) {
		t.Fatalf("plain %v, metered %v", plainErr, meteredErr)
	}
	if plainErr != nil || meteredErr != nil || len(report.Imports) > 0 {
		return
	}
	b := &budget{Context: ctx, left: 100_000, slice: 7_000}
	host(t, r, meter.ImportModule, meter.ImportName, []api.ValueType{i64}, []api.ValueType{i64}, func(ctx context.Context, _ api.Module, stack []uint64) {
		refuel(ctx, stack)
	})
	got, ended := tryAll(b, r, metered, report)
	if !ended {
		return
	}
	if want, _ := tryAll(b, r, module, report); want != got {
		t.Fatalf("plain %s, metered %s", want, got)
	}
}

// tryAll instantiates a module and calls its exports, and tells what came of it; false when fuel or depth ran out.
func tryAll(b *budget, r wazero.Runtime, module []byte, report meter.Report) (string, bool) {
	m, err := r.InstantiateWithConfig(b, module, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		return cause(err), !errors.Is(err, errFuel) && cause(err) != "" && !deep(err)
	}
	defer m.Close(context.Background())
	said := ""
	for _, e := range report.Exports {
		if e.Kind != meter.Function {
			continue
		}
		f := m.ExportedFunction(e.Name)
		if results, err := f.Call(b, make([]uint64, len(f.Definition().ParamTypes()))...); err != nil {
			if errors.Is(err, errFuel) || deep(err) {
				return "", false
			}
			return said + cause(err), true
		} else if plainResults(f.Definition().ResultTypes()) {
			said += fmt.Sprintln(e.Name, results)
		}
	}
	return said, true
}

// deep tells a trap that may be the meter's for depth.
func deep(err error) bool {
	return cause(err) == "wasm error: unreachable" || cause(err) == "wasm error: stack overflow"
}

// plainResults tells that results are integers: references are addresses, and of NaNs there are many.
func plainResults(types []api.ValueType) bool {
	for _, t := range types {
		if t != api.ValueTypeI32 && t != api.ValueTypeI64 {
			return false
		}
	}
	return true
}
