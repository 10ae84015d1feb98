package meter_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/tetratelabs/wazero/api"
)

// A shape is a module whose export "run" never ends, or not before a great many units: the worst that was thought of
// for one class of instructions.
type shape struct {
	name   string
	module mod
	arg    uint64
	setup  func(m api.Module)
	ends   bool // it does end, by itself or by a trap; what it costs in an instance that is new is the question
}

const pages = 256 // 16 MiB

var (
	memory16 = cat(0, leb(pages))
	fullBits = int64(pages<<16 - 1)
)

// shapes lists them all.
func shapes() []shape {
	all := []shape{
		{name: "loop", module: one(nil, loop(br(0)))},
		{name: "exp", module: exponential(60)},
		{name: "exp/params", module: wideCalls(64)},
		{name: "loop/params", module: wideLoop(64)},
		{name: "loop/locals", module: manyLocals(500)},
		{name: "globals", module: globals()},
		{name: "branch/if", module: unpredictable()},
		{name: "branch/table", module: branchTable(128)},
		{name: "call/host", module: hostCalls()},
		{name: "call/cold", module: coldCalls(4000), setup: touch},
		{name: "store/forward", module: one(nil, repeatLoop(100, i32c(64), get(0), cat(0x36, 0, 0), i32c(61), cat(0x28, 0, 0), set(0)))},
	}
	all = append(all, endingShapes()...)
	all = append(all, memoryShapes()...)
	all = append(all, bulkShapes()...)
	all = append(all, tableShapes()...)
	return append(all, numericShapes()...)
}

// small is a module like one's with a memory of n pages and no more.
func small(n int, body []byte) mod {
	m := one(nil, body)
	m.memory = cat(1, leb(uint64(n)), leb(uint64(n)))
	return m
}

// one is a module of 16 MiB with one function "run" of one i32 parameter.
func one(localGroups, body []byte) mod {
	return mod{memory: memory16, funcs: []fn{{params: []byte{i32}, locals: localGroups, body: body, export: "run"}}}
}

// repeatLoop is an endless loop of n times the same.
func repeatLoop(n int, parts ...any) []byte {
	return loop(repeat(n, cat(parts...)), br(0))
}

// exponential: each function calls the next twice.
func exponential(n int) mod {
	m := mod{}
	for i := range n {
		f := fn{params: []byte{i32}}
		if i+1 < n {
			f.body = cat(get(0), call(i+1), get(0), call(i+1))
		}
		m.funcs = append(m.funcs, f)
	}
	m.funcs[0].export = "run"
	return m
}

// wideCalls passes and returns many values.
func wideCalls(n int) mod {
	wide := repeat(n, []byte{i64})
	var pass []byte
	for i := range n {
		pass = append(pass, get(i)...)
	}
	return mod{funcs: []fn{
		{params: []byte{i32}, export: "run", body: loop(repeat(n, i64c(1)), repeat(20, call(1)), repeat(n, []byte{0x1a}), br(0))},
		{params: wide, results: wide, body: pass},
	}}
}

// wideLoop goes round with many values that change places.
func wideLoop(n int) mod {
	wide := repeat(n, []byte{i64})
	var turn []byte
	for i := range n {
		turn = append(turn, set(1+i)...)
	}
	for i := range n {
		turn = append(turn, get(1+(i*7)%n)...)
	}
	return mod{
		types: [][]byte{functype(wide, nil)},
		funcs: []fn{{params: []byte{i32}, export: "run", locals: locals(n, i64), body: cat(repeat(n, i64c(3)), 0x03, 1, turn, br(0), 0x0b)}},
	}
}

// manyLocals sets all locals in a branch that is never taken, so that each turn must carry them on.
func manyLocals(n int) mod {
	var sets []byte
	for i := range n {
		sets = append(sets, cat(get(1+(i+1)%n), set(1+i))...)
	}
	return one(locals(n, i64), loop(get(0), iff(sets), br(0)))
}

func globals() mod {
	m := one(nil, repeatLoop(100, 0x23, 0, i64c(1), 0x7c, 0x24, 0))
	m.globals = [][]byte{cat(i64, 1, i64c(0), 0x0b)}
	return m
}

// next is a step of a random sequence in the local x (an i64), leaving it on the stack.
func next(x int) []byte {
	return cat(get(x), i64c(6364136223846793005), 0x7e, i64c(1442695040888963407), 0x7c, tee(x))
}

// address is a random address within 16 MiB.
func address(x int) []byte { return cat(next(x), i64c(33), 0x88, 0xa7, i32c(fullBits&^7), 0x71) }

// unpredictable branches on random bits.
func unpredictable() mod {
	var body []byte
	for i := range 60 {
		body = append(body, cat(get(1), i64c(int64(i%32)), 0x88, i64c(1), 0x83, 0xa7, iff(get(1), i64c(1), 0x7c, set(1)))...)
	}
	return one(locals(1, i64), loop(next(1), 0x1a, body, br(0)))
}

// branchTable jumps to random places.
func branchTable(n int) mod {
	body := cat(address(1), i32c(3), 0x76, i32c(int64(n-1)), 0x71, 0x0e, leb(uint64(n-1)))
	for i := range n {
		body = append(body, leb(uint64(i))...)
	}
	for i := range n {
		body = cat(0x02, 0x40, body, 0x0b, get(1), i64c(int64(i)), 0x85, set(1), br(n-1-i))
	}
	return one(locals(1, i64), loop(body))
}

func hostCalls() mod {
	m := mod{
		imports: [][]byte{importFn("test", "nothing", 1)},
		types:   [][]byte{functype(nil, nil)},
		funcs:   []fn{{params: []byte{i32}, export: "run", body: repeatLoop(100, call(0))}},
	}
	return m
}

// coldCalls calls functions in an order that memory and the processor cannot foresee.
func coldCalls(n int) mod {
	pick := cat(address(1), i32c(3), 0x76, i32c(4095), 0x71)
	m := one(locals(1, i64), repeatLoop(20, i32c(1), pick, 0x11, 0, 0))
	m.oneType = true
	var refs [][]byte
	for i := range n {
		m.funcs = append(m.funcs, fn{params: []byte{i32}, body: cat(get(0), iff(
			i32c(int64(i)), get(0), cat(0x36, 2, 0), i32c(0), i32c(0), cat(0x28, 2, 0), i32c(8), 0x74, cat(0x36, 2, 0)))})
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 4096 {
		refs = append(refs, leb(uint64(1+r.IntN(n))))
	}
	m.tables = [][]byte{cat(0x70, 0, leb(4096))}
	m.elems = [][]byte{cat(0, i32c(0), 0x0b, vec(refs...))}
	return m
}

// cycle fills memory with one random cycle of addresses, 64 bytes apart.
func cycle(shift int) func(m api.Module) {
	return func(m api.Module) {
		b, _ := m.Memory().Read(0, m.Memory().Size())
		n := len(b) / 64
		order := rand.New(rand.NewPCG(1, 2)).Perm(n)
		for i, o := range order {
			to := order[(i+1)%n]*64 + shift
			if to+4 > len(b) {
				to -= 64
			}
			at := o*64 + shift
			if at+4 > len(b) {
				continue
			}
			binary.LittleEndian.PutUint32(b[at:], uint32(to))
		}
	}
}

// touch makes the pages of memory real.
func touch(m api.Module) {
	b, _ := m.Memory().Read(0, m.Memory().Size())
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
}

// endingShapes grow what can only grow once in the life of an instance.
func endingShapes() []shape {
	grow := func(n int64) mod {
		m := one(nil, cat(loop(i32c(n), 0x40, 0, i32c(-1), 0x47, brIf(0))))
		m.memory = cat(0, 1)
		return m
	}
	growTable := func(n int64) mod {
		m := one(nil, loop(0xd0, 0x70, i32c(n), 0xfc, 15, 0, i32c(-1), 0x47, brIf(0)))
		m.tables = [][]byte{cat(0x70, 0, 0)}
		return m
	}
	// grown and written to
	used := one(nil, cat(loop(i32c(1), 0x40, 0, tee(0), i32c(-1), 0x47, iff(
		repeatAt(16, func(i int) []byte { return cat(get(0), i32c(16), 0x74, i32c(1), cat(0x36, 0, leb(uint64(i*4096)))) }), br(1)))))
	used.memory = cat(0, 1)
	return []shape{
		{name: "memory/grow/1", module: grow(1), ends: true},
		{name: "memory/grow/16", module: grow(16), ends: true},
		{name: "memory/grow/255", module: grow(255), ends: true},
		{name: "memory/grow/used", module: used, ends: true},
		{name: "table/grow/1", module: growTable(1), ends: true},
		{name: "table/grow/256", module: growTable(256), ends: true},
		{name: "table/grow/65536", module: growTable(65536), ends: true},
		{name: "recursion", module: mod{funcs: []fn{{params: []byte{i32}, export: "run", body: cat(get(0), call(0))}}}, ends: true},
		{name: "recursion/frames", module: recursion(50), ends: true},
		{name: "recursion/large", module: recursion(1500), ends: true},
	}
}

func repeatAt(n int, f func(i int) []byte) []byte {
	var b []byte
	for i := range n {
		b = append(b, f(i)...)
	}
	return b
}

// recursion keeps n values alive over a call of itself.
func recursion(n int) mod {
	m := one(locals(1, i64), cat(
		repeatAt(n, func(int) []byte { return next(1) }), get(0), call(0), set(1),
		repeatAt(n, func(int) []byte { return cat(get(1), 0x7c, set(1)) }), get(1)))
	m.funcs[0].results = []byte{i64}
	return m
}

func memoryShapes() []shape {
	chase := cat(get(0), cat(0x28, 0, 0), set(0))
	return []shape{
		{name: "load/chase", module: one(nil, repeatLoop(500, chase)), setup: cycle(0)},
		{name: "load/chase/loop", module: one(nil, loop(get(0), cat(0x28, 0, 0), tee(0), 0x0d, 0, br(0))), setup: cycle(0), arg: 64},
		{name: "load/chase/split", module: one(nil, repeatLoop(500, chase)), setup: cycle(62), arg: 62},
		{name: "load/chase/1M", module: small(16, repeatLoop(500, chase)), setup: cycle(0)},
		{name: "load/chase/1M/split", module: small(16, repeatLoop(500, chase)), setup: cycle(62), arg: 62},
		{name: "load/chase/4M", module: small(64, repeatLoop(500, chase)), setup: cycle(0)},
		{name: "load/chase/4M/split", module: small(64, repeatLoop(500, chase)), setup: cycle(62), arg: 62},
		{name: "load/random", module: one(locals(2, i64), repeatLoop(100, address(1), cat(0x29, 0, 0), get(2), 0x7c, set(2))), setup: touch},
		{name: "store/random", module: one(locals(1, i64), repeatLoop(100, address(1), i64c(1), cat(0x37, 0, 0))), setup: touch},
		{name: "store/split", module: one(locals(1, i64), repeatLoop(100, address(1), i32c(fullBits>>13<<13), 0x71, i64c(1), cat(0x37, 0, leb(4092)))), setup: touch},
		{name: "store/load", module: one(locals(1, i64), repeatLoop(100, address(1), get(1), address(1), cat(0x29, 0, 0), 0x85, tee(1), cat(0x37, 0, 0))), setup: touch},
		{name: "memory/size", module: one(nil, repeatLoop(100, 0x3f, 0, set(0)))},
		{name: "memory/grow/none", module: one(nil, repeatLoop(100, i32c(0), 0x40, 0, set(0)))},
		{name: "memory/grow/refused", module: one(nil, repeatLoop(100, i32c(1), 0x40, 0, set(0)))},
		{name: "memory/grow/absurd", module: one(nil, repeatLoop(100, i32c(-1), 0x40, 0, set(0)))},
	}
}

func bulkShapes() []shape {
	fill := func(to, n int64) []byte { return cat(i32c(to), i32c(1), i32c(n), 0xfc, 11, 0) }
	copied := func(to, from, n int64) []byte { return cat(i32c(to), i32c(from), i32c(n), 0xfc, 10, 0, 0) }
	initial := func(n int64) mod {
		m := one(nil, repeatLoop(50, i32c(100), i32c(0), i32c(n), 0xfc, 8, 0, 0))
		m.data, m.count = [][]byte{cat(1, sized(make([]byte, 1<<19)))}, true
		return m
	}
	dropped := one(nil, repeatLoop(100, 0xfc, 9, 0))
	dropped.data, dropped.count = [][]byte{cat(1, sized("abc"))}, true
	all := []shape{
		{name: "init/0", module: initial(0)},
		{name: "init/64", module: initial(64)},
		{name: "init/512k", module: initial(1 << 19)},
		{name: "data/drop", module: dropped},
		{name: "copy/random", module: one(locals(1, i64), repeatLoop(50, address(1), address(1), i32c(8), 0xfc, 10, 0, 0)), setup: touch},
		{name: "fill/random", module: one(locals(1, i64), repeatLoop(50, address(1), i32c(1), i32c(8), 0xfc, 11, 0)), setup: touch},
		{name: "copy/overlap/1", module: one(nil, repeatLoop(10, copied(1, 0, 1<<24-1))), setup: touch},
		{name: "copy/overlap/back", module: one(nil, repeatLoop(10, copied(0, 1, 1<<24-1))), setup: touch},
	}
	for _, n := range []int64{0, 1, 63, 4096, 1 << 16, 1 << 17, 1 << 23, 1 << 24} {
		all = append(all, shape{name: fmt.Sprintf("fill/%d", n), module: one(nil, repeatLoop(50, fill(0, n))), setup: touch})
		if n < 1<<24 {
			all = append(all,
				shape{name: fmt.Sprintf("copy/%d", n), module: one(nil, repeatLoop(50, copied(1<<23, 0, n))), setup: touch},
				shape{name: fmt.Sprintf("copy/odd/%d", n), module: one(nil, repeatLoop(50, copied(1<<23-4001, 77, n))), setup: touch})
		}
	}
	return all
}

func tableShapes() []shape {
	const entries = 1 << 16
	table := func(n int, body []byte) mod {
		m := one(locals(1, i64), body)
		m.tables = [][]byte{cat(0x70, 0, leb(uint64(n)))}
		m.elems = [][]byte{cat(1, 0, vec(repeatSlices(1000, leb(0))...))}
		return m
	}
	slot := cat(next(1), i64c(33), 0x88, 0xa7, i32c(entries-1), 0x71)
	var all []shape
	for _, n := range []int64{0, 1, 1000, entries} {
		all = append(all,
			shape{name: fmt.Sprintf("table/fill/%d", n), module: table(entries, repeatLoop(50, i32c(0), 0xd2, 0, i32c(n), 0xfc, 17, 0))},
			shape{name: fmt.Sprintf("table/copy/%d", n), module: table(entries, repeatLoop(50, i32c(0), i32c(0), i32c(n), 0xfc, 14, 0, 0))})
		if n <= 1000 {
			all = append(all, shape{name: fmt.Sprintf("table/init/%d", n), module: table(entries, repeatLoop(50, i32c(7), i32c(0), i32c(n), 0xfc, 12, 0, 0))})
		}
	}
	return append(all,
		shape{name: "table/get", module: table(entries, repeatLoop(50, slot, 0x25, 0, 0xd1, 0x1a))},
		shape{name: "table/set", module: table(entries, repeatLoop(50, slot, 0xd2, 0, 0x26, 0))},
		shape{name: "table/size", module: table(entries, repeatLoop(50, 0xfc, 16, 0, set(0)))},
		shape{name: "table/ref", module: table(entries, repeatLoop(50, 0xd2, 0, 0xd1, set(0)))},
		shape{name: "table/grow/none", module: table(10, repeatLoop(50, 0xd0, 0x70, i32c(0), 0xfc, 15, 0, set(0)))},
		shape{name: "table/grow/refused", module: table(entries, repeatLoop(50, 0xd0, 0x70, i32c(1), 0xfc, 15, 0, set(0)))},
		shape{name: "table/grow/absurd", module: table(entries, repeatLoop(50, 0xd0, 0x70, i32c(-1), 0xfc, 15, 0, set(0)))},
		shape{name: "elem/drop", module: table(10, repeatLoop(100, 0xfc, 13, 0))},
	)
}

func repeatSlices(n int, b []byte) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = b
	}
	return out
}

// numericShapes chains each numeric instruction on hard values: small, large and below the normal range.
func numericShapes() []shape {
	var all []shape
	add := func(name string, typ byte, start []byte, step []byte) {
		all = append(all, shape{name: name, module: one(locals(1, typ), cat(start, set(1), repeatLoop(100, get(1), step, set(1))))})
	}
	f64c := func(v float64) []byte { return binary.LittleEndian.AppendUint64([]byte{0x44}, math.Float64bits(v)) }
	f32c := func(v float32) []byte { return binary.LittleEndian.AppendUint32([]byte{0x43}, math.Float32bits(v)) }
	const tiny64, tiny32 = 3e-310, 3e-40
	for o := 0x67; o <= 0x69; o++ {
		add(fmt.Sprintf("i32/%#x", o), i32, i32c(-7), cat(o))
	}
	for o := 0x6a; o <= 0x78; o++ {
		add(fmt.Sprintf("i32/%#x", o), i32, i32c(-7), cat(i32c(3), o, i32c(math.MinInt32), 0x72))
	}
	for o := 0x79; o <= 0x7b; o++ {
		add(fmt.Sprintf("i64/%#x", o), i64, i64c(-7), cat(o))
	}
	for o := 0x7c; o <= 0x8a; o++ {
		add(fmt.Sprintf("i64/%#x", o), i64, i64c(-7), cat(i64c(3), o, i64c(math.MinInt64+12345), 0x84))
	}
	for o := 0x8b; o <= 0x91; o++ {
		add(fmt.Sprintf("f32/%#x/tiny", o), f32, f32c(tiny32), cat(o))
		add(fmt.Sprintf("f32/%#x/half", o), f32, f32c(1e9+.5), cat(o))
	}
	for o := 0x92; o <= 0x98; o++ {
		add(fmt.Sprintf("f32/%#x/tiny", o), f32, f32c(tiny32), cat(f32c(1), o))
		add(fmt.Sprintf("f32/%#x/tiny2", o), f32, f32c(tiny32), cat(f32c(tiny32), o, f32c(tiny32), 0x92))
	}
	for o := 0x99; o <= 0x9f; o++ {
		add(fmt.Sprintf("f64/%#x/tiny", o), f64, f64c(tiny64), cat(o))
		add(fmt.Sprintf("f64/%#x/half", o), f64, f64c(1e9+.5), cat(o))
	}
	for o := 0xa0; o <= 0xa6; o++ {
		add(fmt.Sprintf("f64/%#x/tiny", o), f64, f64c(tiny64), cat(f64c(1), o))
		add(fmt.Sprintf("f64/%#x/nan", o), f64, f64c(math.NaN()), cat(f64c(1), o))
	}
	add("convert/demote", f64, f64c(3e-40), cat(0xb6, 0xbb))
	add("convert/i64_u", i64, i64c(math.MinInt64), cat(0xba, 0xfc, 7))
	add("convert/i64_u/f32", i64, i64c(math.MinInt64), cat(0xb5, 0xfc, 5))
	add("convert/i32_u", i32, i32c(math.MinInt32), cat(0xb8, 0xfc, 3))
	add("convert/i64_s", i64, i64c(1<<62), cat(0xb9, 0xb0))
	add("convert/i64_s/nan", i64, i64c(math.MaxInt64), cat(0x1a, f64c(math.NaN()), 0xfc, 6))
	add("convert/i64_u/over", i64, i64c(math.MaxInt64), cat(0xba, f64c(1e300), 0xa2, 0xfc, 7))
	add("convert/reinterpret", f64, f64c(1), cat(0xbd, 0xbf))
	return all
}
