package meter_test

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/gatewright/gatewright/wasm/meter"
	"github.com/gatewright/gatewright/wasm/scan"
)

// What is small and asks for much: each is refused without much work, or taken and stopped when it runs.

// allocated tells how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestCountsAreNotBelieved: a dozen bytes that announce millions of elements cost nothing.
func TestCountsAreNotBelieved(t *testing.T) {
	huge := leb(0xffffffff)
	section := func(id int, content ...any) []byte { return cat(magic, id, sized(content...)) }
	inCode := func(content ...any) []byte {
		return cat(magic, 1, sized(vec(functype(nil, nil))), 3, sized(1, 0), 10, sized(1, sized(content...)))
	}
	bombs := map[string][]byte{
		"parameters":          section(1, 1, 0x60, huge),
		"results":             section(1, 1, 0x60, 0, huge),
		"the name of imports": section(2, 1, huge),
		"a maximum of pages":  section(5, 1, 1, 0, huge),
		"entries":             section(4, 1, 0x70, 0, huge),
		"element entries":     section(9, 1, 1, 0, huge),
		"expressions":         section(9, 1, 5, 0x70, huge),
		"bytes of data":       section(11, 1, 1, huge),
		"the data count":      section(12, huge),
		"a section":           cat(magic, 1, huge),
		"a custom name":       section(0, huge),
		"a body":              cat(magic, 1, sized(vec(functype(nil, nil))), 3, sized(1, 0), 10, sized(1, huge)),
		"groups of locals":    inCode(huge),
		"locals":              inCode(1, huge, i32, 0x0b),
		"locals of two kinds": inCode(2, leb(1<<31), i32, leb(1<<31), i64, 0x0b),
		"50 million locals":   inCode(1, leb(50_000_000), i32, 0x0b),
		"labels":              inCode(0, i32c(0), 0x0e, huge),
		"types of a select":   inCode(0, 0x1c, huge),
	}
	for id := range 12 {
		if id != 0 && id != 8 {
			bombs[fmt.Sprintf("section %d", id)] = section(id, huge)
			bombs[fmt.Sprintf("section %d, no more than the module's size", id)] = section(id, leb(1<<20), make([]byte, 100))
		}
	}
	for name, module := range bombs {
		t.Run(name, func(t *testing.T) {
			var err error
			spent := allocated(func() { _, _, err = meter.Rewrite(module, meter.Options{}) })
			if err == nil {
				t.Fatal("taken")
			}
			if spent > 64<<10 {
				t.Fatalf("%d bytes allocated for a module of %d", spent, len(module))
			}
		})
	}
}

// TestBombsForTheCompilerAreRefused: valid modules that compile for minutes.
func TestBombsForTheCompilerAreRefused(t *testing.T) {
	many := func(n int, body []byte, local []byte) []byte {
		return mod{memory: cat(0, 1), funcs: []fn{{params: []byte{i32}, locals: local, body: repeat(n, body)}}}.bytes()
	}
	table := func(n, labels int) []byte {
		return many(n, cat(get(0), 0x0e, leb(uint64(labels)), make([]byte, labels), 0), nil)
	}
	wide := meter.Options{MaxBody: 16 << 20, MaxModule: 16 << 20}
	for name, module := range map[string][]byte{
		"blocks, 100,000 deep":        many(1, cat(repeat(100_000, cat(0x02, 0x40)), repeat(100_000, cat(0x0b))), nil),
		"10,000 loops, 1,000 locals":  many(10_000, loop(get(1), set(2), get(0), brIf(0)), locals(999, i32)),
		"50,000 ifs":                  many(50_000, cat(get(0), iff()), nil),
		"10,000 ifs, 1,000 locals":    many(10_000, cat(get(0), iff(get(1), set(2))), locals(999, i32)),
		"br_table, 2,000 times 1,000": table(2000, 1000),
		"100,000 functions":           mod{oneType: true, funcs: make([]fn, 100_000)}.bytes(),
		"nested loops, many locals":   many(1, nestedLoops(200, 900), locals(999, i32)),
		"a far target, many locals":   many(1, branchesOut(5000, 900, true), locals(999, i32)),
	} {
		t.Run(name, func(t *testing.T) {
			for _, o := range []meter.Options{wide, scan.Large()} {
				start := time.Now()
				refused(t, module, o, meter.ErrLimit, "")
				if d := time.Since(start); d > time.Second {
					t.Errorf("refused after %v", d)
				}
			}
		})
	}
}

// nestedLoops nests n loops, each of which moves locals.
func nestedLoops(n, from int) []byte {
	var b []byte
	for i := range n {
		b = loop(b, get(1+(i*7)%from), set(1+(i*3)%from), get(0), brIf(0))
	}
	return b
}

// branchesOut leaves a block, or goes back to a loop, in n places between which locals change; all are read behind.
func branchesOut(n, from int, back bool) []byte {
	step := func(i int) []byte { return cat(get(0), brIf(0), get(1+(i+1)%from), set(1+i%from)) }
	if back {
		return loop(repeatAt(n, step))
	}
	return cat(block(repeatAt(n, step)), repeatAt(from, func(i int) []byte { return cat(get(1+i), 0x1a) }))
}

// TestEndlessModulesStop: each shape that never ends runs out of fuel, or of depth, in time.
func TestEndlessModulesStop(t *testing.T) {
	r := shapeRuntime(t)
	for _, s := range shapes() {
		if s.ends {
			continue
		}
		b := fuel(t, 200_000, 20_000)
		m := instance(t, r, b, s.module.bytes(), meter.Options{})
		start := time.Now()
		_, err := m.ExportedFunction("run").Call(b, s.arg)
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("%s: stopped after %v", s.name, d)
		}
		if !errors.Is(err, errFuel) {
			t.Errorf("%s: %v", s.name, err)
		}
		m.Close(t.Context())
	}
}

// TestAStartFunctionIsMetered: instantiating asks for fuel.
func TestAStartFunctionIsMetered(t *testing.T) {
	r := newRuntime(t)
	out, _, err := meter.Rewrite(mod{funcs: []fn{{body: loop(br(0))}}, start: leb(0)}.bytes(), meter.Options{AllowStart: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Instantiate(fuel(t, 100_000, 1000), out); !errors.Is(err, errFuel) {
		t.Fatalf("got %v", err)
	}
}

// TestTheStackIsBoundedByDepth: frames count by what they may hold.
func TestTheStackIsBoundedByDepth(t *testing.T) {
	r := newRuntime(t)
	for _, values := range []int{0, 50, 1500} {
		m := recursion(values)
		m.globals = [][]byte{cat(i32, 1, i32c(0), 0x0b)}
		m.exports = [][]byte{exportOf("frames", 3, 0)}
		m.funcs[0].body = cat(0x23, 0, i32c(1), 0x6a, 0x24, 0, m.funcs[0].body)
		b := fuel(t, 1<<40, 1<<40)
		in := instance(t, r, b, m.bytes(), meter.Options{MaxDepth: 100})
		if _, err := in.ExportedFunction("run").Call(b, 0); err == nil || errors.Is(err, errFuel) {
			t.Fatalf("got %v", err)
		}
		frames := int(in.ExportedGlobal("frames").Get())
		if most := 100*256/(values+1) + 1; frames > min(most, 101) || frames < 2 {
			t.Errorf("%d frames of more than %d values with a depth of 100", frames, values)
		}
	}
}

// TestOutputIsBounded: what is added is in proportion to what is given.
func TestOutputIsBounded(t *testing.T) {
	for name, f := range map[string]fn{
		"loops": {body: repeat(1000, loop())},
		"calls": {body: loop(repeat(20_000, call(0)))},
		"fills": {body: loop(repeat(10_000, cat(0xfc, 11, 0)))},
		"grows": {body: loop(repeat(20_000, cat(0x40, 0)))},
	} {
		module := mod{memory: cat(0, 1), funcs: []fn{f}}.bytes()
		out, _, err := meter.Rewrite(module, meter.Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(out) > 20*len(module) {
			t.Errorf("%s: %d bytes from %d", name, len(out), len(module))
		}
	}
}
