package wasm_test

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// The assembler of this file writes modules that no compiler would. Its words are those of the binary format.

const (
	i32 = 0x7f
	i64 = 0x7e
)

// fn is a function; body is its code without the closing end.
type fn struct {
	export          string
	params, results []byte
	locals          int // of type i32
	body            []byte
}

// host is an imported function.
type host struct {
	module, name    string
	params, results []byte
}

// data is an active data segment.
type data struct {
	at   int
	text string
}

// asm is a module with one memory.
type asm struct {
	imports  []host
	fns      []fn
	pages    int
	memory   string   // export name; empty for none
	globals  []uint64 // mutable i32
	shared   []string // names under which the first globals are exported
	data     []data
	tables   int    // funcref entries
	elements int    // of the table, that are the first function
	raw      []byte // sections appended as they are
}

// filterOf returns a module with the whole ABI whose gw_decide is body; its first two locals are pointer and length. Memory
// is handed out at 32 KiB.
func filterOf(body ...byte) asm { return filterWith(1, body...) }

func filterWith(pages int, body ...byte) asm {
	return asm{pages: pages, memory: "memory", fns: []fn{
		{export: "gw_abi_1"},
		{export: "gw_alloc", params: []byte{i32}, results: []byte{i32}, body: constant(32 << 10)},
		{export: "gw_decide", params: []byte{i32, i32}, results: []byte{i64}, locals: 4, body: body},
	}}
}

// says returns a filter that answers text to everything.
func says(text string) asm {
	a := filterOf(answer(1024, len(text))...)
	a.data = []data{{1024, text}}
	return a
}

// answer pushes ptr<<32|len.
func answer(at, size int) []byte { return long(int64(at)<<32 | int64(size)) }

func constant(n int32) []byte { return sleb([]byte{0x41}, int64(n)) }
func long(n int64) []byte     { return sleb([]byte{0x42}, n) }

func cat(parts ...[]byte) []byte { return slices.Concat(parts...) }

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

func uleb(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func text(s string) []byte { return append(uleb(len(s)), s...) }

func section(id byte, entries [][]byte) []byte {
	if len(entries) == 0 {
		return nil
	}
	body := cat(uleb(len(entries)), cat(entries...))
	return cat([]byte{id}, uleb(len(body)), body)
}

func (a asm) bytes() []byte {
	var types, imports, funcs, exports, codes, globals, segments [][]byte
	typeOf := func(params, results []byte) []byte {
		t := cat([]byte{0x60}, uleb(len(params)), params, uleb(len(results)), results)
		i := slices.IndexFunc(types, func(other []byte) bool { return slices.Equal(other, t) })
		if i < 0 {
			i, types = len(types), append(types, t)
		}
		return uleb(i)
	}
	for _, h := range a.imports {
		imports = append(imports, cat(text(h.module), text(h.name), []byte{0}, typeOf(h.params, h.results)))
	}
	for i, f := range a.fns {
		funcs = append(funcs, typeOf(f.params, f.results))
		locals := []byte{0}
		if f.locals > 0 {
			locals = cat([]byte{1}, uleb(f.locals), []byte{i32})
		}
		body := cat(locals, f.body, []byte{0x0b})
		codes = append(codes, cat(uleb(len(body)), body))
		if f.export != "" {
			exports = append(exports, cat(text(f.export), []byte{0}, uleb(len(a.imports)+i)))
		}
	}
	if a.memory != "" {
		exports = append(exports, cat(text(a.memory), []byte{2, 0}))
	}
	for _, g := range a.globals {
		globals = append(globals, cat([]byte{i32, 1}, constant(int32(g)), []byte{0x0b}))
	}
	for i, name := range a.shared {
		exports = append(exports, cat(text(name), []byte{3}, uleb(i)))
	}
	for _, d := range a.data {
		segments = append(segments, cat([]byte{0}, constant(int32(d.at)), []byte{0x0b}, text(d.text)))
	}
	var memory, table [][]byte
	if a.pages > 0 {
		memory = [][]byte{cat([]byte{0}, uleb(a.pages))}
	}
	if a.tables > 0 {
		table = [][]byte{cat([]byte{0x70, 0}, uleb(a.tables))}
	}
	var elements [][]byte
	if a.elements > 0 {
		elements = [][]byte{cat([]byte{0}, constant(0), []byte{0x0b}, uleb(a.elements), bytes.Repeat(uleb(len(a.imports)), a.elements))}
	}
	return cat([]byte("\x00asm\x01\x00\x00\x00"), section(1, types), section(2, imports), section(3, funcs), section(4, table),
		section(5, memory), section(6, globals), section(7, exports), section(9, elements), section(10, codes), section(11, segments), a.raw)
}
