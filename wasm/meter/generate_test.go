package meter_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
)

// A generator writes random modules that validate: functions that call later ones, loops that end, branches of every
// kind, memory and tables within bounds and beyond. Floats leave it as integers, since the bits of a NaN are the
// engine's choice.
type generator struct {
	*rand.Rand
	funcs  []fn   // signatures first, bodies later
	now    int    // the function being written
	types  []byte // of its locals, parameters first
	params int
	labels [][]byte // what a branch carries, outermost first; loops are not branched to
	room   int      // instructions still to be written
}

const (
	genPages   = 2
	genEntries = 12
	genNote    = 0 // the imported function "note" (i32)
)

// generated is a module from a seed.
func generated(seed uint64) mod {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 7))}
	for range 2 + g.IntN(5) {
		g.funcs = append(g.funcs, fn{params: g.some(3), results: g.some(2)})
	}
	g.funcs[0].export, g.funcs[0].params = "run", []byte{i32, i32}
	for g.now = range g.funcs {
		g.function(&g.funcs[g.now])
	}
	types := [][]byte{functype([]byte{i32}, nil), functype(nil, []byte{i32, i64})}
	refs := vec(leb(uint64(len(g.funcs))), leb(uint64(len(g.funcs))))
	return mod{
		funcs: g.funcs, types: types,
		imports: [][]byte{importFn("test", "note", len(g.funcs))},
		memory:  cat(1, genPages, 4),
		tables:  [][]byte{cat(0x70, 1, genEntries, 20)},
		globals: [][]byte{cat(i32, 1, i32c(5), 0x0b), cat(i64, 1, i64c(-1), 0x0b), cat(i32, 0, i32c(9), 0x0b)},
		exports: [][]byte{exportOf("memory", 2, 0), exportOf("g0", 3, 0), exportOf("g1", 3, 1), exportOf("table", 1, 0)},
		elems:   [][]byte{cat(0, i32c(1), 0x0b, refs), cat(1, 0, refs), cat(3, 0, refs)},
		data:    [][]byte{cat(0, i32c(100), 0x0b, sized("what was there")), cat(1, sized("a passive segment of some bytes"))},
		count:   true,
	}
}

// some is a list of up to n types.
func (g *generator) some(n int) []byte {
	out := make([]byte, g.IntN(n+1))
	for i := range out {
		out[i] = g.valueType()
	}
	return out
}

func (g *generator) valueType() byte { return []byte{i32, i32, i64, f64}[g.IntN(4)] }

func (g *generator) function(f *fn) {
	declared := append(g.some(6), i32, i64)
	g.types, g.params = append(append([]byte{}, f.params...), declared...), len(f.params)
	g.labels, g.room = [][]byte{f.results}, 40+g.IntN(200)
	body := cat(g.statements(3), g.all(f.results))
	groups := [][]byte{}
	for _, t := range g.types[g.params:] { // loops have added theirs
		groups = append(groups, cat(1, t))
	}
	f.body, f.locals = body, vec(groups...)
}

func (g *generator) statements(n int) []byte {
	var b []byte
	for range 1 + g.IntN(n) {
		b = append(b, g.statement()...)
	}
	return b
}

// all writes an expression of each type.
func (g *generator) all(types []byte) []byte {
	var b []byte
	for _, t := range types {
		b = append(b, g.value(t)...)
	}
	return b
}

// within writes what stands in a block that carries types.
func (g *generator) within(types []byte, f func() []byte) []byte {
	g.labels = append(g.labels, types)
	defer func() { g.labels = g.labels[:len(g.labels)-1] }()
	return f()
}

func (g *generator) statement() []byte {
	if g.room--; g.room < 0 {
		return cat(0x01)
	}
	i := g.IntN(len(g.types))
	switch g.IntN(24) {
	case 0, 1, 2:
		if g.types[i] != 0 { // the counter of a loop around
			return cat(g.value(g.types[i]), set(i))
		}
	case 3:
		return cat(g.address(), g.value(i32), []byte{0x36, 0x3a, 0x3b}[g.IntN(3)], 0, leb(uint64(g.IntN(100))))
	case 4:
		return cat(g.address(), g.value(i64), []byte{0x37, 0x3c, 0x3e}[g.IntN(3)], 0, 0)
	case 5:
		return cat(g.value(i32), 0x24, 0)
	case 6:
		return cat(g.value(i64), 0x24, 1)
	case 7, 8:
		return cat(g.value(i32), 0x04, 0x40, g.within(nil, func() []byte { return cat(g.statements(3), 0x05, g.statements(2)) }), 0x0b)
	case 9:
		return block(g.within(nil, func() []byte { return cat(g.statements(3), g.branch()) }))
	case 10, 11, 12:
		return g.loop()
	case 13:
		return g.table()
	case 14:
		return cat(g.value(i32), iff(g.within(nil, func() []byte { return cat(g.all(g.labels[0]), 0x0f) })))
	case 15:
		return g.bulk()
	case 16:
		return g.tables()
	case 17:
		return cat(g.value(i32), call(genNote))
	case 18, 19:
		return g.call()
	case 20:
		return cat(i32c(int64(g.IntN(3))), 0x40, 0, 0x1a)
	case 21:
		return g.indirect()
	case 22:
		if g.IntN(8) == 0 {
			return cat(g.value(i32), iff(0x00))
		}
	}
	return cat(g.value(i32), 0x1a)
}

// branch leaves blocks when a condition holds, or always.
func (g *generator) branch() []byte {
	to := g.IntN(len(g.labels))
	carried := g.labels[len(g.labels)-1-to]
	if g.IntN(4) == 0 {
		return cat(g.all(carried), br(to))
	}
	drops := repeat(len(carried), []byte{0x1a})
	return cat(g.all(carried), g.value(i32), brIf(to), drops)
}

// loop goes round a few times, with a counter of its own that nothing else can set.
func (g *generator) loop() []byte {
	counter := len(g.types)
	rounds := int64(1 + g.IntN(6))
	g.types = append(g.types, i32)
	hidden := g.types
	g.types = g.types[:counter:counter] // statements within cannot name it, and add theirs behind
	g.types = append(g.types, 0)
	body := g.within([]byte{0xff}, func() []byte { return g.statements(3) })
	hidden = append(hidden[:counter+1:counter+1], g.types[counter+1:]...)
	g.types = hidden
	return cat(i32c(rounds), set(counter), loop(body, get(counter), i32c(1), 0x6b, tee(counter), brIf(0)))
}

// table jumps to one of the blocks around that carry nothing.
func (g *generator) table() []byte {
	return g.within(nil, func() []byte {
		var to [][]byte
		for i, l := range g.labels {
			if len(l) == 0 {
				to = append(to, leb(uint64(len(g.labels)-1-i)))
			}
		}
		return block(g.statements(2), g.value(i32), 0x0e, vec(to...), 0)
	})
}

func (g *generator) bulk() []byte {
	n := cat(g.value(i32), i32c(0x3ff), 0x71)
	if g.IntN(12) == 0 {
		n = i32c([]int64{70_000, 1 << 17, -1, 65_536}[g.IntN(4)])
	}
	switch g.IntN(4) {
	case 0:
		return cat(g.address(), g.value(i32), n, 0xfc, 11, 0)
	case 1:
		return cat(g.address(), i32c(int64(g.IntN(40))), i32c(int64(g.IntN(12))), 0xfc, 8, 1, 0)
	case 2:
		if g.IntN(10) == 0 {
			return cat(0xfc, 9, 1)
		}
	}
	return cat(g.address(), g.address(), n, 0xfc, 10, 0, 0)
}

func (g *generator) tables() []byte {
	at := func() []byte { return i32c(int64(g.IntN(genEntries + 1))) }
	few := i32c(int64(g.IntN(4)))
	ref := cat(0xd2, leb(uint64(len(g.funcs))))
	switch g.IntN(6) {
	case 0:
		return cat(at(), ref, 0x26, 0)
	case 1:
		return cat(at(), ref, few, 0xfc, 17, 0)
	case 2:
		return cat(at(), at(), few, 0xfc, 14, 0, 0)
	case 3:
		return cat(at(), i32c(0), few, 0xfc, 12, 1, 0)
	case 4:
		return cat(0xd0, 0x70, few, 0xfc, 15, 0, 0x1a)
	}
	return cat(at(), 0x25, 0, 0xd1, 0x24, 0)
}

// call calls a later function, or at times itself: then its depth ends it.
func (g *generator) call() []byte {
	if g.now+1 >= len(g.funcs) {
		return cat(0x01)
	}
	i := g.now + 1 + g.IntN(len(g.funcs)-g.now-1)
	return g.results(g.funcs[i], call(1+i))
}

// indirect calls the function that the table holds, or traps.
func (g *generator) indirect() []byte {
	last := len(g.funcs) - 1
	if g.now == last {
		return cat(0x01)
	}
	slot := i32c(int64(1 + g.IntN(2)))
	if g.IntN(10) == 0 {
		slot = cat(g.value(i32), i32c(15), 0x71)
	}
	return g.results(g.funcs[last], cat(slot, 0x11, leb(uint64(last)), 0))
}

// results calls and drops what comes back.
func (g *generator) results(f fn, how []byte) []byte {
	return cat(g.all(f.params), how, repeat(len(f.results), []byte{0x1a}))
}

// address is one within memory, most of the time.
func (g *generator) address() []byte {
	if g.IntN(60) == 0 {
		return g.value(i32)
	}
	return cat(g.value(i32), i32c(genPages<<16-2048), 0x71)
}

func (g *generator) value(t byte) []byte {
	if g.room--; g.room < 0 || g.IntN(4) == 0 {
		return g.simple(t)
	}
	switch g.IntN(12) {
	case 0:
		return cat(g.value(t), g.value(t), g.value(i32), 0x1b)
	case 1:
		return cat(g.value(i32), 0x04, t, g.within([]byte{t}, func() []byte { return cat(g.value(t), 0x05, g.value(t)) }), 0x0b)
	case 2:
		return cat(0x02, t, g.within([]byte{t}, func() []byte { return cat(g.value(t), g.value(i32), brIf(0)) }), 0x0b)
	case 3:
		return cat(g.value(t), g.value(t), g.value(i32), 0x1c, 1, t)
	case 4:
		// a block of two results: i32 and i64
		b := cat(0x02, sleb(int64(len(g.funcs)+1)), g.within([]byte{i32, i64}, func() []byte {
			return cat(g.value(i32), g.value(i64), g.value(i32), brIf(0))
		}), 0x0b)
		return cat(b, 0x1a, 0x1a, g.simple(t))
	}
	switch t {
	case i32:
		return g.int32()
	case i64:
		return g.int64()
	}
	return g.float()
}

// simple is a constant or a local.
func (g *generator) simple(t byte) []byte {
	for range 3 {
		if i := g.IntN(len(g.types)); g.types[i] == t {
			return get(i)
		}
	}
	switch t {
	case i32:
		return i32c(int64(int32(g.Uint32()) >> g.IntN(32)))
	case i64:
		return i64c(int64(g.Uint64()) >> g.IntN(64))
	}
	return binary.LittleEndian.AppendUint64([]byte{0x44}, math.Float64bits(g.NormFloat64()*1e6))
}

func (g *generator) int32() []byte {
	switch g.IntN(8) {
	case 0:
		return cat(g.value(i32), []byte{0x45, 0x67, 0x68, 0x69, 0xc0, 0xc1}[g.IntN(6)])
	case 1:
		return cat(g.value(i64), g.value(i64), 0x51+g.IntN(10))
	case 2:
		return cat(g.address(), []byte{0x28, 0x2c, 0x2f}[g.IntN(3)], 0, leb(uint64(g.IntN(100))))
	case 3:
		return cat(g.value(f64), 0xfc, 2)
	case 4:
		return []([]byte){cat(0x3f, 0), cat(0x23, 0), cat(0x23, 2), cat(0xfc, 16, 0), cat(g.value(i64), 0xa7)}[g.IntN(5)]
	case 5:
		return cat(g.value(i32), g.value(i32), 0x46+g.IntN(10))
	}
	o := 0x6a + g.IntN(15)
	if o >= 0x6d && o <= 0x70 && g.IntN(6) > 0 {
		return cat(g.value(i32), g.value(i32), i32c(1), 0x72, o)
	}
	return cat(g.value(i32), g.value(i32), o)
}

func (g *generator) int64() []byte {
	switch g.IntN(6) {
	case 0:
		return cat(g.value(i32), 0xac+g.IntN(2))
	case 1:
		return cat(g.address(), []byte{0x29, 0x30, 0x35}[g.IntN(3)], 0, 0)
	case 2:
		return cat(g.value(f64), 0xfc, 6)
	case 3:
		return cat(0x23, 1)
	}
	o := 0x7c + g.IntN(15)
	if o >= 0x7f && o <= 0x82 && g.IntN(6) > 0 {
		return cat(g.value(i64), g.value(i64), i64c(1), 0x84, o)
	}
	return cat(g.value(i64), g.value(i64), o)
}

func (g *generator) float() []byte {
	switch g.IntN(4) {
	case 0:
		return cat(g.value(i32), 0xb7)
	case 1:
		return cat(g.value(i64), 0xb9)
	case 2:
		return cat(g.value(f64), 0x99+g.IntN(7))
	}
	return cat(g.value(f64), g.value(f64), 0xa0+g.IntN(4))
}
