package wasm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
)

// Code of guests. Locals 0 and 1 of gw_decide are pointer and length, 2 to 5 its own.
var (
	unreachable = []byte{0x00}
	never       = []byte{0x42, 0} // the answer of what does not come back
	spin        = []byte{0x03, 0x40, 0x0c, 0, 0x0b}
	dropped     = []byte{0x1a}
	ret         = []byte{0x0f}
	end         = []byte{0x0b}
)

func call(i int) []byte { return cat([]byte{0x10}, uleb(i)) }

func get(i byte) []byte          { return []byte{0x20, i} }
func set(i byte) []byte          { return []byte{0x21, i} }
func globalGet(i byte) []byte    { return []byte{0x23, i} }
func globalSet(i byte) []byte    { return []byte{0x24, i} }
func grow(n int32) []byte        { return cat(constant(n), []byte{0x40, 0}) }
func load32(at int32) []byte     { return cat(constant(at), []byte{0x28, 0, 0}) }
func store32(at, v int32) []byte { return cat(constant(at), constant(v), []byte{0x36, 0, 0}) }

// exponential calls itself 2^60 times without a loop and 60 deep.
func exponential() asm {
	a := filterOf(cat(call(3), never)...)
	for i := range 60 {
		a.fns = append(a.fns, fn{body: cat(call(4+i), call(4+i))})
	}
	a.fns = append(a.fns, fn{})
	return a
}

// many repeats code often enough to be dear without a loop.
func many(n int, code []byte) []byte { return bytes.Repeat(code, n) }

func TestHostileFiltersAreStopped(t *testing.T) {
	table := filterOf(cat(constant(0), []byte{0x11, 0, 0}, never)...) // call_indirect of an empty entry
	table.tables = 4
	overrun := filterOf(cat(constant(0), constant(0), constant(-1), []byte{0xfc, 11, 0}, never)...)
	fill := cat(constant(0), constant(0), constant(64<<10), []byte{0xfc, 11, 0})
	for _, c := range []struct {
		name  string
		guest asm
		want  string
	}{
		{"endless loop", filterOf(cat(spin, never)...), wasm.TrapFuel},
		{"exponential calls", exponential(), wasm.TrapFuel},
		{"endless recursion", filterOf(cat(get(0), get(1), call(2))...), wasm.TrapDepth},
		{"growing for ever", filterOf(cat([]byte{0x03, 0x40}, grow(1), dropped, []byte{0x0c, 0, 0x0b}, never)...), wasm.TrapFuel},
		{"filling for ever", filterOf(cat([]byte{0x03, 0x40}, fill, []byte{0x0c, 0, 0x0b}, never)...), wasm.TrapFuel},
		{"filling often", filterOf(cat(many(2000, fill), never)...), wasm.TrapFuel},
		{"unreachable", filterOf(unreachable...), wasm.TrapUnreachable},
		{"division by zero", filterOf(cat(constant(1), constant(0), []byte{0x6d}, dropped, never)...), wasm.TrapFault},
		{"overflow", filterOf(cat(constant(-1<<31), constant(-1), []byte{0x6d}, dropped, never)...), wasm.TrapFault},
		{"calling what is no function", table, wasm.TrapFault},
		{"reading beyond memory", filterOf(cat(load32(-4), dropped, never)...), wasm.TrapMemory},
		{"writing beyond memory", filterOf(cat(store32(65536, 1), never)...), wasm.TrapMemory},
		{"filling beyond memory", overrun, wasm.TrapMemory},
		{"no answer", filterOf(never...), wasm.TrapVerdict},
		{"an answer beyond memory", filterOf(answer(65530, 18)...), wasm.TrapPointer},
		{"an answer that wraps around", filterOf(long(-1)...), wasm.TrapPointer},
		{"an answer at a negative address", filterOf(long(-1<<32 | 18)...), wasm.TrapPointer},
		{"an answer as long as memory", filterOf(answer(0, 65536)...), wasm.TrapVerdict},
		{"an answer longer than memory", filterOf(answer(0, 65537)...), wasm.TrapPointer},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := load(t, c.guest, nil)
			start := cpuNow()
			v, kind := decide(t, f, `{"hello":1}`)
			if kind != c.want {
				t.Fatalf("trap %q, want %q: %s", kind, c.want, f.Stats().LastTrap)
			}
			if took := time.Duration(cpuNow() - start); took > 2*time.Second {
				t.Errorf("it took %v", took)
			}
			s := f.Stats()
			if s.Instances != 0 || s.Traps[kind] != 1 || s.Fuel != uint64(v.Fuel) {
				t.Errorf("%+v", s)
			}
			if strings.ContainsAny(s.LastTrap, "\n") || len(s.LastTrap) > 300 {
				t.Errorf("%q", s.LastTrap)
			}
		})
	}
}

// TestAllocIsNotBelieved: gw_alloc may lie about what it gives.
func TestAllocIsNotBelieved(t *testing.T) {
	shown := int32(len((&abi.Context{Body: []byte(`{"hello":1}`)}).JSON()))
	for _, c := range []struct {
		name  string
		alloc []byte
		want  string
	}{
		{"nothing", constant(0), wasm.TrapInput},
		{"the end of memory", constant(65536), wasm.TrapPointer},
		{"just too little", constant(65536 - shown + 1), wasm.TrapPointer},
		{"a negative address", constant(-16), wasm.TrapPointer},
		{"an address that wraps around", constant(-1), wasm.TrapPointer},
		{"a trap", unreachable, wasm.TrapUnreachable},
		{"never", cat(spin, constant(1)), wasm.TrapFuel},
		{"just enough", constant(65536 - shown), ""},
		{"its own data", constant(1), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := says(`{"verdict":"pass"}`)
			a.fns[1].body = c.alloc
			if _, kind := decide(t, load(t, a, nil), `{"hello":1}`); kind != c.want {
				t.Errorf("trap %q, want %q", kind, c.want)
			}
		})
	}
}

// TestInitCanFail: a filter that refuses its configuration, or does not come to an end with it, is not loaded.
func TestInitCanFail(t *testing.T) {
	for _, c := range []struct {
		name string
		init []byte
		want string
	}{
		{"refuses", constant(7), wasm.TrapInit},
		{"traps", cat(unreachable, constant(0)), wasm.TrapUnreachable},
		{"never ends", cat(spin, constant(0)), wasm.TrapFuel},
		{"works", constant(0), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := says(`{"verdict":"pass"}`)
			a.fns = append(a.fns, fn{export: "gw_init", params: []byte{i32, i32}, results: []byte{i32}, body: c.init})
			f, err := newRuntime(t, nil).Load(t.Context(), "test", a.bytes(), []byte("{}"))
			if c.want == "" {
				if err != nil || f == nil {
					t.Fatal(err)
				}
				return
			}
			if kind := kindOf(t, err, wasm.Verdict{}); kind != c.want || f != nil {
				t.Errorf("trap %q, want %q: %v", kind, c.want, err)
			}
		})
	}
}

// TestNoCallLearnsOfAnother: a guest that keeps what it is shown, in memory, in a global and in memory it has grown, and
// tells it to the next call if it can.
func TestNoCallLearnsOfAnother(t *testing.T) {
	tells := func(condition []byte) []byte { // refuses when the condition holds
		return cat(condition, []byte{0x04, 0x40}, answer(1024, len(deny)), ret, end)
	}
	passes := answer(2048, len(pass))
	for _, c := range []struct {
		name string
		body []byte
	}{
		{"memory", cat(tells(load32(4096)), store32(4096, 1), passes)},
		{"memory before its data", cat(tells(load32(1020)), store32(1020, 1), passes)},
		{"its own data", cat(tells(cat(load32(2048), constant(0x65767b22), []byte{0x46})), store32(1500, 1), passes)},
		{"where the input stood", cat(tells(load32(32<<10+512)), store32(32<<10+512, 1), passes)},
		{"a global", cat(tells(globalGet(0)), constant(1), globalSet(0), passes)},
		{"another global", cat(tells(globalGet(1)), constant(1), globalSet(1), passes)},
		{"memory that grows again", cat(grow(1), dropped, tells(load32(65536+40)), store32(65536+40, 1), passes)},
		{"grown memory", cat(tells(cat([]byte{0x3f, 0}, constant(1), []byte{0x47})), grow(1), dropped, store32(65536, 1), passes)},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := filterOf(c.body...)
			a.globals = []uint64{0, 0}
			a.data = []data{{1024, deny}, {2048, pass}}
			f := load(t, a, func(c *wasm.Config) { c.Instances = 1 })
			for i := range 3 {
				if v, kind := decide(t, f, `{"secret":"of call one"}`); kind != "" || v.Kind != wasm.Pass {
					t.Fatalf("call %d: %v, trap %q", i, v.Kind, kind)
				}
			}
		})
	}
}

const (
	pass = `{"verdict":"pass"}`
	deny = `{"verdict":"deny","reason":"no"}`
)

// TestInitIsKept: what gw_init has set up is there in every call and in every instance.
func TestInitIsKept(t *testing.T) {
	a := filterOf(cat(
		load32(4096), constant(42), []byte{0x46}, globalGet(0), constant(43), []byte{0x46, 0x71}, // memory and global
		[]byte{0x3f, 0}, constant(3), []byte{0x46, 0x71}, load32(2<<16), constant(44), []byte{0x46, 0x71}, // grown memory
		[]byte{0x04, 0x40}, store32(4096, 0), constant(0), globalSet(0), answer(2048, len(pass)), ret, end,
		answer(1024, len(deny)))...)
	a.globals = []uint64{7}
	a.data = []data{{1024, deny}, {2048, pass}}
	a.fns = append(a.fns, fn{export: "gw_init", params: []byte{i32, i32}, results: []byte{i32},
		body: cat(store32(4096, 42), constant(43), globalSet(0), grow(2), dropped, store32(2<<16, 44), constant(0))})
	f := load(t, a, nil)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				var v wasm.Verdict
				if err := f.Decide(t.Context(), &abi.Context{Body: []byte("{}")}, &v); err != nil || v.Kind != wasm.Pass {
					t.Errorf("%v: %v", v.Kind, err)
					return
				}
			}
		})
	}
	all.Wait()
	if s := f.Stats(); s.Passed != 400 || s.Thrown != 0 {
		t.Errorf("%+v", s)
	}
}

// TestTheSameInputCostsTheSame: fuel is a price, not a time.
func TestTheSameInputCostsTheSame(t *testing.T) {
	// It adds up the bytes it is shown, in a loop, as often as there are bytes.
	a := filterOf(cat(
		[]byte{0x02, 0x40, 0x03, 0x40}, get(2), get(1), []byte{0x4f, 0x0d, 1}, // block loop: 2 >= 1 ends it
		constant(0), set(3), []byte{0x02, 0x40, 0x03, 0x40}, get(3), get(1), []byte{0x4f, 0x0d, 1},
		get(3), constant(1), []byte{0x6a}, set(3), []byte{0x0c, 0, 0x0b, 0x0b},
		get(2), constant(1), []byte{0x6a}, set(2), []byte{0x0c, 0, 0x0b, 0x0b},
		answer(2048, len(pass)))...)
	a.data = []data{{2048, pass}}
	f := load(t, a, nil)
	var costs []int64
	for i := range 30 {
		v, kind := decide(t, f, strings.Repeat("x", 400))
		if kind != "" {
			t.Fatal(kind)
		}
		costs = append(costs, v.Fuel)
		if i%10 == 9 {
			runtime.GC()
		}
	}
	slices.Sort(costs)
	if costs[0] != costs[len(costs)-1] || costs[0] < 400*400 {
		t.Errorf("costs from %d to %d", costs[0], costs[len(costs)-1])
	}
}

// TestABudgetIsExact: one unit less than a call costs is too little.
func TestABudgetIsExact(t *testing.T) {
	guest := says(pass)
	v, _ := decide(t, load(t, guest, nil), "{}")
	exact := func(c *wasm.Config) { c.Fuel, c.ByteFuel = v.Fuel, 0 }
	if _, kind := decide(t, load(t, guest, exact), "{}"); kind != "" {
		t.Errorf("%d units are too little: %s", v.Fuel, kind)
	}
	less := func(c *wasm.Config) { c.Fuel, c.ByteFuel = v.Fuel-1, 0 }
	if _, kind := decide(t, load(t, guest, less), "{}"); kind != wasm.TrapFuel {
		t.Errorf("%d units are enough: %q", v.Fuel-1, kind)
	}
	byLength := func(c *wasm.Config) { c.Fuel, c.ByteFuel = v.Fuel-2, 1 }
	if _, kind := decide(t, load(t, guest, byLength), "{}"); kind != "" {
		t.Errorf("bytes do not count: %s", kind)
	}
}

// TestARunawayDelaysNobody collects garbage while filters run wild. Without slices each collection would wait for the
// longest of them.
func TestARunawayDelaysNobody(t *testing.T) {
	f := load(t, filterOf(cat(spin, never)...), func(c *wasm.Config) { c.Fuel, c.Traps = 1<<40, 1000 })
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			var v wasm.Verdict
			err := f.Decide(ctx, &abi.Context{Body: []byte("{}")}, &v)
			if kind := kindOf(t, err, v); kind != wasm.TrapCanceled || !errors.Is(err, context.Canceled) {
				t.Errorf("%v, want it canceled", err)
			}
		})
	}
	for f.Stats().InUse < 2 {
		runtime.Gosched()
	}
	var pauses []time.Duration
	for range 60 {
		start := time.Now()
		runtime.GC()
		pauses = append(pauses, time.Since(start))
	}
	cancel()
	start := time.Now()
	all.Wait()
	slices.Sort(pauses)
	t.Logf("collections: median %v, 19 of 20 below %v, all below %v; canceled within %v", pauses[30], pauses[57], pauses[59], time.Since(start))
	if pauses[30] > 250*time.Millisecond { // a few are the machine's other work
		t.Errorf("half of the collections took over %v", pauses[30])
	}
}

// TestTheLogIsBounded: what a filter logs is told apart, quoted and cut off.
func TestTheLogIsBounded(t *testing.T) {
	guest := func(level, at, size int32, times int) asm {
		a := filterOf(cat(many(times, cat(constant(level), constant(at), constant(size), call(0))), answer(2048, len(pass)))...)
		a.imports = []host{{"gw", "log", []byte{i32, i32, i32}, nil}}
		a.data = []data{{1024, "hello\nthere"}, {2048, pass}}
		return a
	}
	var out bytes.Buffer
	logged := func(c *wasm.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if _, kind := decide(t, load(t, guest(2, 1024, 11, 1), logged), "{}"); kind != "" {
		t.Error(kind)
	}
	if s := out.String(); !strings.Contains(s, `level=WARN msg="filter log" filter=test text="hello\nthere"`) {
		t.Errorf("%q", s)
	}
	out.Reset()
	if _, kind := decide(t, load(t, guest(9, 1024, 11, 1000), logged), "{}"); kind != "" {
		t.Error(kind)
	}
	if n := strings.Count(out.String(), "\n"); n != 16 || !strings.Contains(out.String(), "ERROR") {
		t.Errorf("%d lines", n)
	}
	out.Reset()
	if _, kind := decide(t, load(t, guest(-1, 1024, 1025, 1), logged), "{}"); kind != "" || out.Len() > 0 {
		t.Errorf("%q %d", kind, out.Len())
	}
	if _, kind := decide(t, load(t, guest(0, 65530, 11, 1), logged), "{}"); kind != wasm.TrapPointer {
		t.Errorf("trap %q", kind)
	}
	silent, kind := decide(t, load(t, guest(0, 1024, 11, 1), nil), "{}")
	if kind != "" || silent.Fuel < 200 {
		t.Errorf("%q %d", kind, silent.Fuel)
	}
}

func TestUnsoundModulesAreNotLoaded(t *testing.T) {
	ok := says(pass)
	change := func(f func(*asm)) asm {
		a := ok
		a.fns = slices.Clone(ok.fns)
		f(&a)
		return a
	}
	for _, c := range []struct {
		name  string
		guest asm
		want  string
	}{
		{"no ABI", change(func(a *asm) { a.fns[0].export = "" }), "it does not export gw_abi_1"},
		{"another ABI", change(func(a *asm) { a.fns[0].params = []byte{i32} }), "its gw_abi_1 has another signature"},
		{"no alloc", change(func(a *asm) { a.fns[1].export = "malloc" }), "it does not export gw_alloc"},
		{"another alloc", change(func(a *asm) { a.fns[1].results, a.fns[1].body = []byte{i64}, never }), "its gw_alloc has another signature"},
		{"no decide", change(func(a *asm) { a.fns[2].export = "" }), "it does not export gw_decide"},
		{"another decide", change(func(a *asm) { a.fns[2].results, a.fns[2].body = nil, nil }), "its gw_decide has another signature"},
		{"another response", change(func(a *asm) { a.fns = append(a.fns, fn{export: "gw_on_response"}) }), "its gw_on_response has another signature"},
		{"another init", change(func(a *asm) { a.fns = append(a.fns, fn{export: "gw_init"}) }), "its gw_init has another signature"},
		{"no memory", change(func(a *asm) { a.memory = "" }), "it does not export its memory"},
		{"memory under another name", change(func(a *asm) { a.memory = "mem" }), "it does not export its memory"},
		{"too much memory", filterWith(257, never...), "memory"},
		{"a clock", change(func(a *asm) { a.imports = []host{{"wasi_snapshot_preview1", "clock_time_get", nil, nil}} }), `it imports "clock_time_get" from "wasi_snapshot_preview1"`},
		{"our own import", change(func(a *asm) { a.imports = []host{{"gw_internal", "refuel", []byte{i64}, []byte{i64}}} }), "gw_internal"},
		{"our own export", change(func(a *asm) { a.fns = append(a.fns, fn{export: "__fuel"}) }), "__fuel"},
		{"our own state", change(func(a *asm) { a.fns = append(a.fns, fn{export: "__state0"}) }), "__state"},
		{"another log", change(func(a *asm) { a.imports = []host{{"gw", "log", []byte{i64}, nil}} }), "signature"},
		{"a table that changes", change(func(a *asm) {
			a.tables = 4
			a.fns[2].body = cat(constant(0), []byte{0xd0, 0x70}, constant(1), []byte{0xfc, 17, 0}, never)
		}), "table.fill"},
		{"an entry that changes", change(func(a *asm) {
			a.tables = 4
			a.fns[2].body = cat(constant(0), []byte{0xd0, 0x70, 0x26, 0}, never)
		}), "table.set"},
		{"a table that grows", change(func(a *asm) {
			a.tables = 4
			a.fns[2].body = cat([]byte{0xd0, 0x70}, constant(1), []byte{0xfc, 15, 0}, dropped, never)
		}), "table.grow"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := newRuntime(t, nil).Load(t.Context(), "test", c.guest.bytes(), nil)
			if err == nil || f != nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	r := newRuntime(t, func(c *wasm.Config) { c.MaxModule, c.MaxContext = 1000, 100 })
	for _, c := range []struct {
		name, filter   string
		module, config []byte
	}{
		{"no name", "", ok.bytes(), nil},
		{"a long name", strings.Repeat("a", 65), ok.bytes(), nil},
		{"an odd name", "a/b", ok.bytes(), nil},
		{"nothing", "a", nil, nil},
		{"no module", "a", []byte("hello"), nil},
		{"half a module", "a", ok.bytes()[:40], nil},
		{"a large module", "a", make([]byte, 1001), nil},
		{"a large configuration", "a", ok.bytes(), make([]byte, 101)},
	} {
		if f, err := r.Load(t.Context(), c.filter, c.module, c.config); err == nil || f != nil {
			t.Errorf("%s is taken", c.name)
		}
	}
}

// TestDamagedModulesAreContained cuts a module everywhere and turns each of its bits: what is loaded all the same must not
// do more than trap.
func TestDamagedModulesAreContained(t *testing.T) {
	r := newRuntime(t, func(c *wasm.Config) { c.Fuel, c.InitFuel = 100_000, 100_000 })
	module := says(pass).bytes()
	try := func(damaged []byte) {
		f, err := r.Load(t.Context(), "damaged", damaged, nil)
		if err != nil {
			return
		}
		var v wasm.Verdict
		kindOf(t, f.Decide(t.Context(), &abi.Context{Body: []byte("{}")}, &v), v)
		if err := f.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for i := range module {
		try(module[:i])
		for bit := range 8 {
			turned := bytes.Clone(module)
			turned[i] ^= 1 << bit
			try(turned)
		}
	}
}

func Example() {
	r, err := wasm.New(context.Background(), wasm.DefaultConfig())
	if err != nil {
		panic(err)
	}
	defer r.Close(context.Background())
	f, err := r.Load(context.Background(), "no-shouting", says(`{"verdict":"deny","reason":"shouting"}`).bytes(), nil)
	if err != nil {
		panic(err)
	}
	var v wasm.Verdict
	err = f.Decide(context.Background(), &abi.Context{Body: []byte(`{"abi":1,"phase":"request","arguments":{"text":"HELLO"}}`)}, &v)
	fmt.Println(v.Kind, v.Reason, err)
	// Output: deny shouting <nil>
}

// TestARecursionWhileStartingIsNamed.
func TestARecursionWhileStartingIsNamed(t *testing.T) {
	m := says(`{"verdict":"pass"}`)
	m.fns = append(m.fns, fn{export: "gw_init", params: []byte{i32, i32}, results: []byte{i32}, body: cat(get(0), get(1), call(len(m.fns)))})
	_, err := newRuntime(t, nil).Load(t.Context(), "test", m.bytes(), nil)
	if want := `load filter "test": filter test: depth: while it is set up: too many calls are open at once`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
