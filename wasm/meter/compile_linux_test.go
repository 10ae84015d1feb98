package meter_test

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/gatewright/gatewright/wasm/meter"
)

// TestWhatPassesCompilesInTime: the worst that passes a tenth of the default work compiles in a tenth of the time that
// is acceptable, beside what its size costs. The shapes are those that were found to be slow.
func TestWhatPassesCompilesInTime(t *testing.T) {
	timed(t)
	const work, most, perByte = 10_000_000, 500 * time.Millisecond, 6 * time.Microsecond
	for _, s := range slowToCompile() {
		t.Run(s.name, func(t *testing.T) {
			module, out := asManyAsPass(t, s, meter.Options{MaxWork: work})
			r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigCompiler())
			defer r.Close(t.Context())
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			start := threadTime(t)
			_, err := r.CompileModule(t.Context(), out)
			took := threadTime(t) - start
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d bytes, metered %d: %v, %.1f ns a unit of work", len(module), len(out), took, float64(took)/work)
			if took > most+perByte*time.Duration(len(module)) {
				t.Errorf("compiling took %v of CPU", took)
			}
		})
	}
}

// slow is a function that is slow to compile; many of it make a module.
type slow struct {
	name   string
	locals int
	body   []byte
}

func slowToCompile() []slow {
	ifs := func(n, l int) []byte {
		return repeatAt(n, func(i int) []byte {
			return cat(get(0), 0x04, 0x40, i32c(1), set(1+i%l), 0x05, get(1+(i*7)%l), set(1+(i*3)%l), 0x0b)
		})
	}
	loops := func(n, l int) []byte {
		return repeatAt(n, func(i int) []byte { return loop(get(1+(i*7)%l), set(1+(i*3)%l), get(0), brIf(0)) })
	}
	dense := func(depth, l int) []byte {
		b := repeatAt(l, func(i int) []byte { return cat(get(1+(i+1)%l), set(1+i)) })
		for range depth {
			b = loop(b, get(0), brIf(0))
		}
		return b
	}
	tables := repeat(30, cat(get(0), iff(get(0), 0x0e, leb(200), make([]byte, 200), 0)))
	return []slow{
		{"ifs", 2, ifs(600, 2)},
		{"ifs, many locals", 998, ifs(150, 998)},
		{"loops", 10, loops(400, 10)},
		{"loops, many locals", 998, loops(90, 998)},
		{"nested loops", 10, nestedLoops(200, 10)},
		{"nested loops, many locals", 998, nestedLoops(30, 998)},
		{"dense loops", 100, dense(16, 100)},
		{"dense loops, many locals", 998, dense(2, 998)},
		{"branches out", 100, branchesOut(300, 100, false)},
		{"branches out, many locals", 400, branchesOut(60, 400, false)},
		{"branches back", 100, branchesOut(300, 100, true)},
		{"branches back, many locals", 998, branchesOut(60, 998, true)},
		{"branches back, locals behind", 300, cat(branchesOut(60, 2, true), repeatAt(300, func(i int) []byte { return cat(get(1+i), 0x1a) }))},
		{"branches out, locals behind", 300, cat(branchesOut(60, 2, false), repeatAt(300, func(i int) []byte { return cat(get(1+i), 0x1a) }))},
		{"ifs, locals behind", 998, cat(ifs(8, 2), repeatAt(998, func(i int) []byte { return cat(get(1+i), 0x1a) }))},
		{"returns", 2, repeat(500, cat(get(0), iff(0x0f)))},
		{"traps", 2, repeat(500, cat(get(0), iff(0x00)))},
		{"tables", 2, tables},
		{"loads", 2, cat(get(0), repeat(15_000, cat(0x28, 0, 0)), 0x1a)},
		{"truncations", 2, cat(get(0), repeat(15_000, cat(0xb7, 0xaa)), 0x1a)},
		{"grows", 2, loop(get(0), repeat(15_000, cat(0x40, 0)), 0x1a)},
		{"calls", 2, loop(repeat(10_000, cat(get(0), call(0))))},
	}
}

// asManyAsPass repeats a function until the module is 300 KB or refused.
func asManyAsPass(t *testing.T, s slow, o meter.Options) (module, out []byte) {
	t.Helper()
	m := mod{memory: cat(0, 1), oneType: true}
	for size := 0; size < 300_000; size += len(s.body) + 10 {
		m.funcs = append(m.funcs, fn{params: []byte{i32}, locals: locals(s.locals, i32), body: s.body})
	}
	for len(m.funcs) > 0 {
		module = m.bytes()
		var err error
		if out, _, err = meter.Rewrite(module, o); err == nil {
			return module, out
		}
		if !errors.Is(err, meter.ErrLimit) {
			t.Fatal(err)
		}
		m.funcs = m.funcs[:len(m.funcs)*9/10]
	}
	t.Fatal("one is too many")
	return nil, nil
}
