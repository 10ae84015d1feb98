package meter_test

import (
	"context"
	"errors"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/gatewright/gatewright/wasm/meter"
)

// kernels are what filters spend their time in, as compilers of C and Rust write it: each runs "run" of one number.
func kernels() map[string]mod {
	const n, at, h = 0, 1, 2 // locals: length, position, hash
	byteAt := cat(get(at), cat(0x2d, 0, 0))
	step := cat(get(at), i32c(1), 0x6a, tee(at), get(n), 0x49, brIf(0))
	hash := one(locals(2, i32), cat(i32c(-2128831035), set(h), loop(
		get(h), byteAt, 0x73, i32c(16777619), 0x6c, set(h), step), get(h)))
	hash.funcs[0].results = []byte{i32}
	scan := one(locals(2, i32), cat(loop(
		block(byteAt, i32c('"'), 0x46, 0x45, brIf(0), get(h), i32c(1), 0x6a, set(h)), step), get(h)))
	scan.funcs[0].results = []byte{i32}
	words := one(locals(3, i32), cat(loop(
		get(at), cat(0x29, 3, 0), i64c(0x2222222222222222), 0x85, 0xa7, get(h), 0x6a, set(h),
		get(at), i32c(8), 0x6a, tee(at), get(n), 0x49, brIf(0)), get(h)))
	words.funcs[0].results = []byte{i32}
	fib := mod{memory: memory16, funcs: []fn{{params: []byte{i32}, results: []byte{i32}, export: "run", body: cat(
		get(0), i32c(2), 0x48, 0x04, i32, get(0), 0x05, get(0), i32c(1), 0x6b, call(0), get(0), i32c(2), 0x6b, call(0), 0x6a, 0x0b)}}}
	empty := one(nil, nil)
	small := one(locals(1, i32), loop(get(0), i32c(4), 0x6a, i32c(7), i32c(24), 0xfc, 11, 0, get(1), i32c(1), 0x6a, tee(1), get(0), 0x49, brIf(0)))
	return map[string]mod{"hash": hash, "scan": scan, "words": words, "fib": fib, "empty": empty, "fill24": small}
}

// BenchmarkOverhead runs each kernel plain and metered in turn, so that one run compares them.
func BenchmarkOverhead(b *testing.B) {
	args := map[string]uint64{"hash": 2048, "scan": 2048, "words": 16384, "fib": 20, "empty": 0, "fill24": 500}
	for name, m := range kernels() {
		plain := m.bytes()
		metered, _, err := meter.Rewrite(plain, meter.Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name+"/plain", func(b *testing.B) { runKernel(b, plain, args[name]) })
		b.Run(name+"/metered", func(b *testing.B) { runKernel(b, metered, args[name]) })
	}
}

func runKernel(b *testing.B, module []byte, arg uint64) {
	r := newRuntime(b)
	ctx := fuel(b, 1<<60, 200_000)
	m, err := r.InstantiateWithConfig(ctx, module, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		b.Fatal(err)
	}
	f, stack := m.ExportedFunction("run"), make([]uint64, 1)
	for b.Loop() {
		stack[0] = arg
		if err := f.CallWithStack(ctx, stack); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUnit gives the time of a unit of fuel for every shape that never ends; TestAUnitOfFuelIsNeverDear bounds it.
func BenchmarkUnit(b *testing.B) {
	r := shapeRuntime(b)
	for _, s := range shapes() {
		if s.ends {
			continue
		}
		b.Run(s.name, func(b *testing.B) {
			m := instance(b, r, fuel(b, 0, 0), s.module.bytes(), meter.Options{})
			defer m.Close(context.Background())
			if s.setup != nil {
				s.setup(m)
			}
			const total = 1_000_000
			for b.Loop() {
				ctx := fuel(b, total, 20_000)
				m.ExportedGlobal(meter.FuelGlobal).(api.MutableGlobal).Set(0)
				m.ExportedGlobal(meter.DepthGlobal).(api.MutableGlobal).Set(1024)
				if _, err := m.ExportedFunction("run").Call(ctx, s.arg); !errors.Is(err, errFuel) {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/total, "ns/unit")
		})
	}
}

// BenchmarkRewrite reads and writes a module of many functions.
func BenchmarkRewrite(b *testing.B) {
	m := mod{memory: memory16}
	for i := range 200 {
		m.funcs = append(m.funcs, recursion(40).funcs[0])
		m.funcs[i].export = ""
	}
	m.oneType = true
	module := m.bytes()
	b.SetBytes(int64(len(module)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := meter.Rewrite(module, meter.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
