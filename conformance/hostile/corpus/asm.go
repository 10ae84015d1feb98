package corpus

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// The assembler of this file writes WebAssembly's binary format byte by byte: no compiler would make these modules.

// Types of values.
const (
	i32 = 0x7f
	i64 = 0x7e
	f64 = 0x7c
)

const magic = "\x00asm\x01\x00\x00\x00"

// fn is a function; code comes without the closing end. Its locals beside the parameters are of type i32.
type fn struct {
	export          string
	params, results []byte
	locals          int
	code            []byte
	float           bool // its only local is an f64
}

// host is an imported function.
type host struct {
	module, name    string
	params, results []byte
	what            []byte // in place of a function
}

// guest is a module. Empty parts are left out.
type guest struct {
	types       [][]byte // in front of those of its functions
	imports     []host
	fns         []fn
	table       []byte // what follows the count of the table section
	pages       int
	memory      []byte // in place of pages
	globals     [][]byte
	exports     [][]byte // beside those of its functions and of memory
	noMemory    bool     // memory is not exported
	start       int      // the index of the start function plus one
	elems, data [][]byte
	count       bool // a data count section
	before      []byte
	after       []byte // whole sections around all others
}

// filter is a module with the whole ABI whose gw_decide is code: its locals 0 and 1 are pointer and length, 2 to 5 its
// own. Input is handed out at 32 KiB.
func filter(pages int, code ...[]byte) guest {
	return guest{pages: pages, fns: []fn{
		{export: "gw_abi_1"},
		{export: "gw_alloc", params: []byte{i32}, results: []byte{i32}, code: num(32 << 10)},
		{export: "gw_decide", params: []byte{i32, i32}, results: []byte{i64}, locals: 4, code: cat(code...)},
	}}
}

// firstOwn is the index of the first function behind those of filter.
const firstOwn = 3

// judge is a function of the type of gw_decide.
func judge(export string, code ...[]byte) fn {
	return fn{export: export, params: []byte{i32, i32}, results: []byte{i64}, locals: 4, code: cat(code...)}
}

// says is a filter that answers text.
func says(text string) guest {
	g := filter(2+len(text)>>16, answer(1024, len(text)))
	g.data = [][]byte{active(1024, text)}
	if len(text) > 31<<10 { // it must not lie where the input does
		g = filter(2+len(text)>>16, answer(1<<16, len(text)))
		g.data = [][]byte{active(1<<16, text)}
	}
	return g
}

func (g guest) with(more ...fn) guest {
	g.fns = append(slices.Clone(g.fns), more...)
	return g
}

func (g guest) bytes() []byte {
	types := slices.Clone(g.types)
	typeOf := func(params, results []byte) []byte {
		t := functype(params, results)
		for i, have := range types {
			if bytes.Equal(t, have) {
				return uleb(i)
			}
		}
		types = append(types, t)
		return uleb(len(types) - 1)
	}
	var imports, funcs, exports, codes [][]byte
	for _, h := range g.imports {
		what := h.what
		if what == nil {
			what = cat(op(0), typeOf(h.params, h.results))
		}
		imports = append(imports, cat(str(h.module), str(h.name), what))
	}
	for i, f := range g.fns {
		funcs = append(funcs, typeOf(f.params, f.results))
		b := body(f.locals, f.code)
		if f.float {
			b = cat(op(1, 1, f64), f.code, end)
		}
		codes = append(codes, sized(b))
		if f.export != "" {
			exports = append(exports, export(f.export, 0, g.imported()+i))
		}
	}
	memory := g.memory
	if g.pages > 0 {
		memory = cat(op(0), uleb(g.pages))
	}
	var memories, tables [][]byte
	if memory != nil {
		memories = [][]byte{memory}
		if !g.noMemory {
			exports = append(exports, export("memory", 2, 0))
		}
	}
	if g.table != nil {
		tables = [][]byte{g.table}
	}
	var start, count []byte
	if g.start > 0 {
		start = section(8, uleb(g.start-1))
	}
	if g.count {
		count = section(12, uleb(len(g.data)))
	}
	return cat([]byte(magic), g.before, vector(1, types), vector(2, imports), vector(3, funcs), vector(4, tables), vector(5, memories),
		vector(6, g.globals), vector(7, append(exports, g.exports...)), start, vector(9, g.elems), count, vector(10, codes),
		vector(11, g.data), g.after)
}

// imported counts the imported functions.
func (g guest) imported() int {
	n := 0
	for _, h := range g.imports {
		if h.what == nil {
			n++
		}
	}
	return n
}

func functype(params, results []byte) []byte {
	return cat(op(0x60), uleb(len(params)), params, uleb(len(results)), results)
}

func body(locals int, code []byte) []byte {
	head := op(0)
	if locals > 0 {
		head = cat(op(1), uleb(locals), op(i32))
	}
	return cat(head, code, op(0x0b))
}

func export(name string, kind byte, index int) []byte { return cat(str(name), op(kind), uleb(index)) }

// mutable is a global of type i32.
func mutable(n int32) []byte { return cat(op(i32, 1), num(n), op(0x0b)) }

// active is a data segment for memory.
func active(at int32, text string) []byte { return cat(op(0), num(at), op(0x0b), str(text)) }

func vector(id byte, entries [][]byte) []byte {
	if len(entries) == 0 {
		return nil
	}
	return section(id, cat(uleb(len(entries)), cat(entries...)))
}

func section(id byte, content ...[]byte) []byte { return cat(op(id), sized(cat(content...))) }

func sized(b []byte) []byte { return cat(uleb(len(b)), b) }

func str(s string) []byte { return sized([]byte(s)) }

// Instructions.

func op(b ...byte) []byte { return b }

func cat(parts ...[]byte) []byte { return slices.Concat(parts...) }

func times(n int, code ...[]byte) []byte { return bytes.Repeat(cat(code...), n) }

func uleb(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func sleb(o []byte, n int64) []byte {
	for {
		c := byte(n & 0x7f)
		n >>= 7
		if n == 0 && c&0x40 == 0 || n == -1 && c&0x40 != 0 {
			return append(o, c)
		}
		o = append(o, c|0x80)
	}
}

func num(n int32) []byte            { return sleb(op(0x41), int64(n)) }
func long(n int64) []byte           { return sleb(op(0x42), n) }
func get(local int) []byte          { return cat(op(0x20), uleb(local)) }
func set(local int) []byte          { return cat(op(0x21), uleb(local)) }
func tee(local int) []byte          { return cat(op(0x22), uleb(local)) }
func readGlobal(i int) []byte       { return cat(op(0x23), uleb(i)) }
func writeGlobal(i int) []byte      { return cat(op(0x24), uleb(i)) }
func call(function int) []byte      { return cat(op(0x10), uleb(function)) }
func grow(pages int32) []byte       { return cat(num(pages), op(0x40, 0)) }
func read32(at int32) []byte        { return cat(num(at), op(0x28, 2, 0)) }
func write32(at, v int32) []byte    { return cat(num(at), num(v), op(0x36, 2, 0)) }
func fill(at, n int32) []byte       { return cat(num(at), num(1), num(n), op(0xfc, 11, 0)) }
func move(to, from, n int32) []byte { return cat(num(to), num(from), num(n), op(0xfc, 10, 0, 0)) }

// loop never ends.
func loop(code ...[]byte) []byte { return cat(op(0x03, 0x40), cat(code...), op(0x0c, 0, 0x0b)) }

func block(code ...[]byte) []byte { return cat(op(0x02, 0x40), cat(code...), end) }

// when runs code if the condition holds.
func when(condition []byte, code ...[]byte) []byte {
	return cat(condition, op(0x04, 0x40), cat(code...), end)
}

var (
	end         = op(0x0b)
	ret         = op(0x0f)
	drop        = op(0x1a)
	unreachable = op(0x00)
	never       = long(0) // the answer of what does not come back
	spin        = loop()
)

// answer is a verdict's place.
func answer(at, size int) []byte { return long(int64(at)<<32 | int64(size)) }
