package scan_test

// A small assembler, so that tests say what a module holds byte by byte and need no tools.

const (
	i32 = 0x7f
	i64 = 0x7e
	f32 = 0x7d
	f64 = 0x7c
)

// leb is an unsigned number.
func leb(n uint64) []byte {
	var b []byte
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// sleb is a signed number.
func sleb(n int64) []byte {
	var b []byte
	for {
		c := byte(n & 0x7f)
		n >>= 7
		if n == 0 && c&0x40 == 0 || n == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

// cat joins bytes, byte slices, strings and lists of them.
func cat(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case byte:
			b = append(b, p)
		case int:
			b = append(b, byte(p))
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		case [][]byte:
			for _, e := range p {
				b = append(b, e...)
			}
		}
	}
	return b
}

func sized(parts ...any) []byte {
	b := cat(parts...)
	return append(leb(uint64(len(b))), b...)
}

// vec is a count and its elements.
func vec(elements ...[]byte) []byte {
	return cat(leb(uint64(len(elements))), elements)
}

func repeat(n int, b []byte) []byte {
	out := make([]byte, 0, n*len(b))
	for range n {
		out = append(out, b...)
	}
	return out
}

const magic = "\x00asm\x01\x00\x00\x00"

// fn is one function of a module under construction.
type fn struct {
	params, results []byte
	locals          []byte // groups, encoded with their count; nil: none
	body            []byte // without the last end
	export          string
}

// mod is a module under construction. Each function has a type of its own, of the same index.
type mod struct {
	types    [][]byte // behind the functions' own
	imports  [][]byte
	memories int // of the imports
	tables   [][]byte
	memory   []byte // limits
	globals  [][]byte
	exports  [][]byte
	start    []byte
	elems    [][]byte
	count    bool // write a data count section
	funcs    []fn
	data     [][]byte
	custom   []byte
	oneType  bool // all functions are of the first one's type
}

func functype(params, results []byte) []byte { return cat(0x60, sized(params), sized(results)) }

func importFn(module, name string, typ int) []byte {
	return cat(sized(module), sized(name), 0, leb(uint64(typ)))
}

// nImports counts the imports, which are functions.
func (m mod) bytes() []byte {
	var types, funcs, exports, bodies [][]byte
	for i, f := range m.funcs {
		if i == 0 || !m.oneType {
			types = append(types, functype(f.params, f.results))
		}
		funcs = append(funcs, leb(uint64(len(types)-1)))
		if f.export != "" {
			exports = append(exports, cat(sized(f.export), 0, leb(uint64(len(m.imports)-m.memories+i))))
		}
		locals := f.locals
		if locals == nil {
			locals = []byte{0}
		}
		bodies = append(bodies, sized(locals, f.body, 0x0b))
	}
	types = append(types, m.types...)
	exports = append(exports, m.exports...)
	out := []byte(magic)
	section := func(id int, n int, body []byte) {
		if n > 0 {
			out = append(out, cat(id, sized(body))...)
		}
	}
	section(1, len(types), vec(types...))
	section(2, len(m.imports), vec(m.imports...))
	section(3, len(funcs), vec(funcs...))
	section(4, len(m.tables), vec(m.tables...))
	section(5, len(m.memory), cat(1, m.memory))
	section(6, len(m.globals), vec(m.globals...))
	section(7, len(exports), vec(exports...))
	section(8, len(m.start), m.start)
	section(9, len(m.elems), vec(m.elems...))
	if m.count {
		section(12, 1, leb(uint64(len(m.data))))
	}
	section(10, len(bodies), vec(bodies...))
	section(11, len(m.data), vec(m.data...))
	return append(out, m.custom...)
}

// Instructions the tests write often.

func get(i int) []byte            { return cat(0x20, leb(uint64(i))) }
func call(i int) []byte           { return cat(0x10, leb(uint64(i))) }
func i32c(n int64) []byte         { return cat(0x41, sleb(n)) }
func i64c(n int64) []byte         { return cat(0x42, sleb(n)) }
func br(i int) []byte             { return cat(0x0c, leb(uint64(i))) }
func brIf(i int) []byte           { return cat(0x0d, leb(uint64(i))) }
func loop(parts ...any) []byte    { return cat(0x03, 0x40, cat(parts...), 0x0b) }
func iff(parts ...any) []byte     { return cat(0x04, 0x40, cat(parts...), 0x0b) }
func locals(n int, t byte) []byte { return cat(1, leb(uint64(n)), t) }
func exportOf(name string, kind, i int) []byte {
	return cat(sized(name), kind, leb(uint64(i)))
}
