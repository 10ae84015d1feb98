package wasm

import (
	"bytes"
	"errors"

	"github.com/tetratelabs/wazero/api"
)

// gap is how many zero bytes part two pieces of an image: fewer are cheaper to copy than to part.
const gap = 256

// image is the state of an instance after gw_init: all that a guest can change and that could tell one call about another.
// Load refuses modules that can change anything else.
type image struct {
	size    int      // of the memory in bytes
	pieces  []piece  // what is not zero, in order
	globals []uint64 // as in instance.globals
}

type piece struct {
	at   int
	data []byte
}

var errImage = errors.New("a new instance has another shape than the first")

// newImage copies the state of an instance.
func newImage(memory []byte, globals []api.MutableGlobal) *image {
	m := &image{size: len(memory)}
	for _, g := range globals {
		m.globals = append(m.globals, g.Get())
	}
	for i := zeros(memory); i < len(memory); i += zeros(memory[i:]) {
		from := i
		for i < len(memory) && zeros(memory[i:min(i+gap, len(memory))]) < gap {
			i++
		}
		m.pieces = append(m.pieces, piece{from, bytes.Clone(memory[from:i])})
	}
	return m
}

// zeros counts the zero bytes that b begins with.
func zeros(b []byte) int {
	for i, c := range b {
		if c != 0 {
			return i
		}
	}
	return len(b)
}

// restore puts memory back; its size must be the image's.
func (m *image) restore(memory []byte) {
	done := 0
	for _, p := range m.pieces {
		clear(memory[done:p.at])
		done = p.at + copy(memory[p.at:], p.data)
	}
	clear(memory[done:])
}
