package main

import "encoding/binary"

// The filters of this file are written byte by byte in WebAssembly's binary format: no compiler would make them.

// shape is one way of never ending.
type shape struct {
	name   string
	module []byte
}

const pages = 256 // 16 MiB, the most a filter has by default

func shapes() []shape {
	loop := func(body ...[]byte) []byte {
		return join([]byte{0x03, 0x40}, join(body...), []byte{0x0c, 0, 0x0b, 0x00}) // loop; ...; br 0; end; unreachable
	}
	next := join(get(2), num(1664525), []byte{0x6c}, num(1013904223), []byte{0x6a}) // an own generator's step
	return []shape{
		{"empty-loop", module(loop())},
		{"division", module(loop(get(2), num(7), []byte{0x6a, 0x22, 2}, num(3), []byte{0x6e, 0x1a}))},
		{"calls-exponential", exponential(60)},
		{"memory.fill-16-mib", module(loop(num(0), num(1), num(pages<<16), []byte{0xfc, 11, 0}))},
		{"memory.copy-8-mib", module(loop(num(0), num(8<<20), num(8<<20), []byte{0xfc, 10, 0, 0}))},
		{"memory.copy-backwards", module(loop(num(4096), num(0), num(15<<20), []byte{0xfc, 10, 0, 0}))},
		{"memory.grow-by-nothing", module(loop(num(0), []byte{0x40, 0, 0x1a}))},
		{"loads-missing-the-cache", module(loop(next, get(3), []byte{0x6a, 0x22, 2}, num(0xfffff8), []byte{0x71, 0x28, 2, 0, 0x21, 3}))},
		{"stores-missing-the-cache", module(loop(next, []byte{0x22, 2}, num(0xfffff8), []byte{0x71}, get(2), []byte{0x36, 2, 0}))},
	}
}

// exponential has n functions, each calling the next twice, and no loop.
func exponential(n int) []byte {
	var more [][]byte
	for i := range n - 1 {
		call := append([]byte{0x10}, number(firstMore+i+1)...)
		more = append(more, join(call, call))
	}
	more = append(more, nil)
	return module(join([]byte{0x10}, number(firstMore), []byte{0x00}), more...)
}

// firstMore is the index of the first function beside those of the ABI.
const firstMore = 3

// module is a filter whose gw_decide is body, with four locals after pointer and length, and further functions that take
// and give nothing.
func module(decide []byte, more ...[]byte) []byte {
	const i32, i64 = 0x7f, 0x7e
	types := list([]byte{0x60, 0, 0}, []byte{0x60, 1, i32, 1, i32}, []byte{0x60, 2, i32, i32, 1, i64})
	kinds, codes := [][]byte{{0}, {1}, {2}}, [][]byte{code(0, nil), code(0, num(32<<10)), code(4, decide)}
	for _, m := range more {
		kinds, codes = append(kinds, []byte{0}), append(codes, code(0, m))
	}
	memory := list(join([]byte{0}, number(pages)))
	exports := list(export("memory", 2, 0), export("gw_abi_1", 0, 0), export("gw_alloc", 0, 1), export("gw_decide", 0, 2))
	return join([]byte("\x00asm\x01\x00\x00\x00"),
		section(1, types), section(3, list(kinds...)), section(5, memory), section(7, exports), section(10, list(codes...)))
}

func code(locals int, body []byte) []byte {
	head := []byte{0}
	if locals > 0 {
		head = []byte{1, byte(locals), 0x7f}
	}
	return sized(join(head, body, []byte{0x0b}))
}

func export(name string, kind byte, index int) []byte {
	return join(sized([]byte(name)), []byte{kind}, number(index))
}

func section(id byte, body []byte) []byte { return append([]byte{id}, sized(body)...) }

func list(entries ...[]byte) []byte { return append(number(len(entries)), join(entries...)...) }

func sized(b []byte) []byte { return append(number(len(b)), b...) }

// number is an unsigned LEB128.
func number(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) } //nolint:gosec // never negative

// num pushes an i32 constant, a signed LEB128.
func num(n int32) []byte {
	b := []byte{0x41}
	for {
		c := byte(n & 0x7f)
		n >>= 7
		if n == 0 && c&0x40 == 0 || n == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func get(local byte) []byte { return []byte{0x20, local} }

func join(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}
