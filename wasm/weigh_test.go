package wasm_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/linear"
)

// heap is what the program holds.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// crowd returns a small filter with n of something.
func crowd(n int, add func(*asm, int)) asm {
	m := says(`{"verdict":"pass"}`)
	for i := range n {
		add(&m, i)
	}
	return m
}

// heavy are modules that are small and take much: each has very many of one thing.
func heavy() map[string]asm {
	table := says(`{"verdict":"pass"}`)
	table.tables = 1 << 16
	entries := table
	entries.elements = 60_000
	return map[string]asm{
		"nothing":          crowd(0, nil),
		"segments":         crowd(40_000, func(m *asm, _ int) { m.data = append(m.data, data{0, "x"}) }),
		"segments of more": crowd(40_000, func(m *asm, _ int) { m.data = append(m.data, data{0, "0123456789abcdef+"}) }),
		"functions":        crowd(5_000, func(m *asm, _ int) { m.fns = append(m.fns, fn{}) }),
		"locals":           crowd(1_000, func(m *asm, _ int) { m.fns = append(m.fns, fn{locals: 500}) }),
		"exports":          crowd(900, func(m *asm, i int) { m.fns = append(m.fns, fn{export: fmt.Sprintf("export_%d", i)}) }),
		"globals":          crowd(900, func(m *asm, _ int) { m.globals = append(m.globals, 7) }),
		"types": crowd(900, func(m *asm, i int) {
			params := make([]byte, 60)
			for bit := range params {
				params[bit] = byte(i32 - i>>(bit%10)&1) // i32 or i64
			}
			m.fns = append(m.fns, fn{params: params})
		}),
		"results": crowd(900, func(m *asm, i int) {
			params := make([]byte, 10)
			for bit := range params {
				params[bit] = byte(i32 - i>>bit&1)
			}
			m.fns = append(m.fns, fn{params: params, results: bytes.Repeat([]byte{i64}, 60), body: unreachable})
		}),
		"imports": crowd(900, func(m *asm, _ int) {
			m.imports = append(m.imports, host{"gw", "log", []byte{i32, i32, i32}, nil})
		}),
		"table": table, "entries": entries,
	}
}

// TestTheWeightOfAModuleIsWhatItTakes: what is taken of the tenant's memory for a filter, and for an instance of it, is what
// Go's heap grows by, and not much more. Linear memory and native code do not lie there, and are taken as they are.
func TestTheWeightOfAModuleIsWhatItTakes(t *testing.T) {
	const each = 8
	for name, m := range heavy() {
		r := newRuntime(t, func(c *wasm.Config) { c.MaxModule, c.Instances = 8<<20, 4 })
		tenant, module := r.Tenant("org_1", wasm.Quota{Memory: 1 << 30}), m.bytes()
		first := loadFor(t, tenant, m) // what is made once in a process is made
		native, ok := first.Native()
		if !ok {
			t.Fatalf("%s: native code cannot be seen", name)
		}
		check := func(what string, make func() (func() error, error), apart int64) int64 {
			held, taken := heap(), tenant.Stats().Memory
			var done []func() error
			for range each {
				end, err := make()
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				done = append(done, end)
			}
			held, taken = (heap()-held)/each, (tenant.Stats().Memory-taken)/each-apart
			for _, end := range done {
				if err := end(); err != nil {
					t.Fatal(err)
				}
			}
			t.Logf("%s, %s: %d bytes held, %d taken", name, what, held, taken)
			if held > taken || taken > 2*held+64<<10 {
				t.Errorf("%s, %s: %d bytes are held, %d taken", name, what, held, taken)
			}
			return taken
		}
		spare := check("an instance", first.Spare, 1<<16)
		check("a filter", func() (func() error, error) {
			f, err := tenant.Load(t.Context(), "test", module, nil)
			return func() error { return f.Close(t.Context()) }, err
		}, 1<<16+native)
		if spare < wasm.PerInstance {
			t.Errorf("%s: an instance takes %d", name, spare)
		}
		closeAll(t, tenant, first)
	}
}

// TestHowTypesAreEnteredIsNativeCodeToo: the engine makes some for each type, whatever is called.
func TestHowTypesAreEnteredIsNativeCodeToo(t *testing.T) {
	f := loadFor(t, newRuntime(t, nil).Tenant("org_1", wasm.Quota{}), heavy()["results"])
	if n, ok := f.Native(); !ok || n < 900<<10 { // a load or store for each value, and a register or two
		t.Errorf("900 types of 70 values are entered by %d bytes", n)
	}
}

// closeAll closes a tenant's last filter, after which nothing may be counted.
func closeAll(t *testing.T, tenant *wasm.Tenant, f *wasm.Filter) {
	t.Helper()
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := tenant.Stats().Memory; n != 0 {
		t.Errorf("nothing is left, and %d bytes are counted", n)
	}
}

// TestAFilterThatIsTooHeavyIsRefused: at whatever step of Load the quota ends, it says what to do, and nothing stays taken.
func TestAFilterThatIsTooHeavyIsRefused(t *testing.T) {
	for name, m := range heavy() {
		// The image is the last that is taken.
		m.data = append(m.data, data{0, strings.Repeat("image", 4_000)})
		r := newRuntime(t, func(c *wasm.Config) { c.MaxModule = 8 << 20 })
		rich := r.Tenant("rich", wasm.Quota{Memory: 1 << 30})
		f := loadFor(t, rich, m)
		need := rich.Stats().Memory
		closeAll(t, rich, f)
		for part := range int64(8) {
			tenant := r.Tenant(fmt.Sprintf("org_%d", part), wasm.Quota{Memory: 1 + need*part/8})
			_, err := tenant.Load(t.Context(), "test", m.bytes(), nil)
			if !errors.Is(err, linear.ErrBudget) || !strings.Contains(err.Error(), "close another filter or have the quota raised") {
				t.Fatalf("%s: %d of %d parts suffice: %v", name, part, 8, err)
			}
			if n := tenant.Stats().Memory; n != 0 {
				t.Errorf("%s: with %d of 8 parts %d bytes stay taken", name, part, n)
			}
		}
		enough := r.Tenant("enough", wasm.Quota{Memory: need + 64<<10 + int64(len(m.bytes()))*8})
		closeAll(t, enough, loadFor(t, enough, m))
	}
}

// TestNothingStaysTakenOfALoadThatFails, whatever it fails at.
func TestNothingStaysTakenOfALoadThatFails(t *testing.T) {
	const pass = `{"verdict":"pass"}`
	trap, refuses, fat, foreign := says(pass), says(pass), says(pass), says(pass)
	params := []byte{i32, i32}
	trap.fns = append(trap.fns, fn{export: "gw_init", params: params, results: []byte{i32}, body: []byte{0x00}})
	refuses.fns = append(refuses.fns, fn{export: "gw_init", params: params, results: []byte{i32}, body: constant(1)})
	fat.fns = append(fat.fns, fn{export: "gw_init", params: params, results: []byte{i32}, body: cat(grow(200), dropped, constant(0))})
	foreign.imports = []host{{"env", "f", nil, nil}}
	unbound := says(pass)
	unbound.memory = ""
	late := says(pass)
	late.data = append(late.data, data{1<<16 - 1, "over the end"})
	r := newRuntime(t, nil)
	for name, m := range map[string]asm{"trap": trap, "refuses": refuses, "grows": fat, "imports": foreign, "no memory": unbound, "data": late} {
		tenant := r.Tenant("org "+name, wasm.Quota{Memory: 4 << 20})
		if _, err := tenant.Load(t.Context(), "test", m.bytes(), nil); err == nil {
			t.Errorf("%s: no error", name)
		}
		if n := tenant.Stats().Memory; n != 0 {
			t.Errorf("%s: %d bytes stay taken", name, n)
		}
	}
}

// TestCodeThatIsSharedIsTakenByEach: whoever closes the other one must not make it cheaper.
func TestCodeThatIsSharedIsTakenByEach(t *testing.T) {
	r := newRuntime(t, nil)
	tenant := r.Tenant("org_1", wasm.Quota{})
	one := loadFor(t, tenant, says(`{"verdict":"pass"}`))
	taken := tenant.Stats().Memory
	other := loadFor(t, tenant, says(`{"verdict":"pass"}`))
	if n := tenant.Stats().Memory; n != 2*taken {
		t.Errorf("%d bytes for one, %d for two", taken, n)
	}
	if err := one.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := tenant.Stats().Memory; n != taken {
		t.Errorf("%d bytes for one, %d when the other is gone", taken, n)
	}
	closeAll(t, tenant, other)
}

// TestAnInstanceGivesBackWhatItTook, but for linear memory, which lies ready for the next.
func TestAnInstanceGivesBackWhatItTook(t *testing.T) {
	tenant := newRuntime(t, nil).Tenant("org_1", wasm.Quota{})
	f := loadFor(t, tenant, says(`{"verdict":"pass"}`))
	before := tenant.Stats().Memory
	for range 3 {
		end, err := f.Spare()
		if err != nil {
			t.Fatal(err)
		}
		if n := tenant.Stats().Memory - before; n < 1<<16+wasm.PerInstance {
			t.Errorf("an instance takes %d bytes", n)
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if n := tenant.Stats().Memory - before; n != 1<<16 {
			t.Errorf("%d bytes stay taken", n)
		}
	}
	closeAll(t, tenant, f)
}

// TestNothingStaysTakenWhereTheSystemGivesNoMemory: the engine panics then, in the middle of making an instance.
func TestNothingStaysTakenWhereTheSystemGivesNoMemory(t *testing.T) {
	tenant := newRuntime(t, nil).Tenant("org_1", wasm.Quota{})
	f := loadFor(t, tenant, says(`{"verdict":"pass"}`))
	before := tenant.Stats().Memory
	f.Starve()
	for range 3 {
		if _, err := f.Spare(); !errors.Is(err, linear.ErrSystem) {
			t.Fatalf("no memory from the system: %v", err)
		}
	}
	if n := tenant.Stats().Memory - before; n != 0 {
		t.Errorf("%d bytes stay taken of instances that were not made", n)
	}
	closeAll(t, tenant, f)
}

// TestALoadIsPaidFor: by its time, and when it fails as well. Who has no fuel does not come to owe for the time.
func TestALoadIsPaidFor(t *testing.T) {
	r := newRuntime(t, nil)
	large, ever := says(`{"verdict":"pass"}`), says(`{"verdict":"pass"}`)
	large.pages = 256
	tenant := r.Tenant("large", wasm.Quota{FuelPerSecond: 1 << 20}) // a millisecond's worth, which comes back in a second
	_ = loadFor(t, tenant, large)
	if left := tenant.Stats().Fuel; left > 1<<19 || left < -1_000 {
		t.Errorf("%d units are left after a load", left)
	}
	ever.fns = append(ever.fns, fn{export: "gw_init", params: []byte{i32, i32}, results: []byte{i32}, body: cat(spin, constant(0))})
	tenant = r.Tenant("ever", wasm.Quota{FuelPerSecond: 1 << 20})
	if _, err := tenant.Load(t.Context(), "test", ever.bytes(), nil); err == nil || tenant.Stats().Fuel > -wasm.DefaultConfig().InitFuel/2 {
		t.Errorf("a gw_init that runs for ever: %v, %+v", err, tenant.Stats())
	}
}
