package meter_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/gatewright/gatewright/wasm/meter"
)

// notes is the context of a call of a generated module: what it told the host, what it had used by then, and the fuel.
type notes struct {
	budget
	total int64
	said  []uint32
	used  []int64
}

// outcome is all that a caller and a host can see of a call.
type outcome struct {
	results []uint64
	trap    string
	said    []uint32
	used    []int64
	memory  [32]byte
	globals [2]uint64
}

// labs are two engines that know the functions of generated modules.
type labs struct{ plain, metered wazero.Runtime }

func newLabs(t testing.TB) labs { return labs{lab(t), lab(t)} }

func lab(t testing.TB) wazero.Runtime {
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigCompiler().WithCoreFeatures(features))
	t.Cleanup(func() { r.Close(context.Background()) })
	host(t, r, "test", "note", []api.ValueType{i32}, nil, func(ctx context.Context, m api.Module, stack []uint64) {
		n := ctx.(*notes)
		n.said = append(n.said, uint32(stack[0]))
		if g := m.ExportedGlobal(meter.FuelGlobal); g != nil {
			n.used = append(n.used, n.total-n.left-int64(g.Get()))
		}
	})
	host(t, r, meter.ImportModule, meter.ImportName, []api.ValueType{i64}, []api.ValueType{i64}, func(ctx context.Context, _ api.Module, stack []uint64) {
		refuel(&ctx.(*notes).budget, stack)
	})
	return r
}

func host(t testing.TB, r wazero.Runtime, module, name string, params, results []api.ValueType, f api.GoModuleFunc) {
	t.Helper()
	_, err := r.NewHostModuleBuilder(module).NewFunctionBuilder().WithGoModuleFunction(f, params, results).Export(name).Instantiate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
}

// runs calls "run" of a new instance with each pair of arguments, until one traps, and tells what was seen and used.
func runs(t testing.TB, r wazero.Runtime, module []byte, total, slice int64, args [][2]uint64) (out []outcome, spent int64) {
	t.Helper()
	m, err := r.InstantiateWithConfig(t.Context(), module, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(context.Background())
	for _, a := range args {
		n := &notes{total: total, budget: budget{Context: t.Context(), left: total, slice: slice}}
		if g := m.ExportedGlobal(meter.FuelGlobal); g != nil {
			g.(api.MutableGlobal).Set(0)
		}
		res, err := m.ExportedFunction("run").Call(n, a[0], a[1])
		out = append(out, seen(m, n, res, err))
		if err != nil {
			return out, -1
		}
		if g := m.ExportedGlobal(meter.FuelGlobal); g != nil {
			spent += total - n.left - int64(g.Get())
			if d := m.ExportedGlobal(meter.DepthGlobal).Get(); d != uint64(meter.DefaultOptions().MaxDepth) {
				t.Fatalf("the depth is %d when a call has returned", d)
			}
		}
	}
	return out, spent
}

func seen(m api.Module, n *notes, res []uint64, err error) outcome {
	o := outcome{results: res, said: n.said, used: n.used, trap: cause(err)}
	if errors.Is(err, errFuel) {
		o.trap = errFuel.Error()
	}
	b, _ := m.Memory().Read(0, m.Memory().Size())
	o.memory = sha256.Sum256(b)
	o.globals = [2]uint64{m.ExportedGlobal("g0").Get(), m.ExportedGlobal("g1").Get()}
	return o
}

// withoutUse leaves out what plain modules do not count.
func withoutUse(all []outcome) []outcome {
	all = slices.Clone(all)
	for i := range all {
		all[i].used = nil
	}
	return all
}

var generatedArgs = [][2]uint64{{0, 0}, {1, 77}, {0xffffffff, 1 << 20}, {12345, 6}}

// TestGeneratedModulesDoTheSameMetered compares results, traps, what the host was told, memory and globals after each
// call, traps included.
func TestGeneratedModulesDoTheSameMetered(t *testing.T) {
	l := newLabs(t)
	n, trapped, looped := uint64(400), 0, 0
	if testing.Short() {
		n = 50
	}
	for seed := range n {
		plain := generated(seed).bytes()
		metered, _, err := meter.Rewrite(plain, meter.Options{AllowTables: true})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		got, spent := runs(t, l.metered, metered, 20_000_000, 20_000_000, generatedArgs)
		last := got[len(got)-1]
		if last.trap == errFuel.Error() {
			looped++
			continue
		}
		if last.trap != "" {
			trapped++
		}
		want, _ := runs(t, l.plain, plain, 0, 0, generatedArgs)
		if fmt.Sprint(want) != fmt.Sprint(withoutUse(got)) {
			t.Fatalf("seed %d: plain %+v, metered %+v", seed, want, got)
		}
		sliced, again := runs(t, l.metered, metered, 20_000_000, 333, generatedArgs)
		if fmt.Sprint(sliced) != fmt.Sprint(got) || again != spent {
			t.Fatalf("seed %d: in slices %+v (%d units), else %+v (%d units)", seed, sliced, again, got, spent)
		}
	}
	t.Logf("%d modules, %d trapped, %d ran for too long", n, trapped, looped)
	if looped > int(n)/4 || trapped > int(n)*3/4 {
		t.Fatalf("%d modules, %d trapped, %d ran for too long: too few are compared", n, trapped, looped)
	}
}

// TestTheEndOfFuelDoesNotDependOnSlices: at every total, what a module did before its fuel was gone is the same.
func TestTheEndOfFuelDoesNotDependOnSlices(t *testing.T) {
	l := newLabs(t)
	ended := 0
	for seed := range uint64(60) {
		metered, _, err := meter.Rewrite(generated(seed).bytes(), meter.Options{AllowTables: true})
		if err != nil {
			t.Fatal(err)
		}
		for total := int64(100); total < 30_000; total *= 3 {
			var first []outcome
			for _, slice := range []int64{1, 97, 5000, 1 << 40} {
				got, _ := runs(t, l.metered, metered, total, slice, generatedArgs)
				if first == nil {
					first = got
				}
				if fmt.Sprint(got) != fmt.Sprint(first) {
					t.Fatalf("seed %d, total %d: %+v in slices of %d, %+v in slices of 1", seed, total, got, slice, first)
				}
			}
			if first[len(first)-1].trap == errFuel.Error() {
				ended++
			}
		}
	}
	if ended < 50 {
		t.Fatalf("only %d calls ran out of fuel", ended)
	}
}

// TestRewritingIsTheSameEveryTime: bytes depend on module and options alone.
func TestRewritingIsTheSameEveryTime(t *testing.T) {
	for seed := range uint64(20) {
		module := generated(seed).bytes()
		given := slices.Clone(module)
		a, ra, err := meter.Rewrite(module, meter.Options{AllowTables: true})
		if err != nil {
			t.Fatal(err)
		}
		b, rb, _ := meter.Rewrite(module, meter.Options{AllowTables: true})
		if !slices.Equal(a, b) || fmt.Sprint(ra) != fmt.Sprint(rb) {
			t.Fatalf("seed %d is rewritten in two ways", seed)
		}
		if !slices.Equal(module, given) {
			t.Fatalf("seed %d was written to", seed)
		}
	}
}
