package linear

import (
	"bytes"
	"encoding/binary"
	"unsafe"
)

// Strategy is how a memory is put back.
type Strategy uint8

// Strategies. Which of them an image uses depends on its size and on what the operating system offers.
const (
	Copy  Strategy = iota // all of it is written anew
	Pages                 // only pages that were written since the memory was made, which the system knows
	Drop                  // the system drops the pages that were written; reading them again shows the image
)

const (
	// gap is how many zero bytes part two pieces of an image: fewer are cheaper to copy than to part.
	gap = 256
	// mostCopied is the largest image, in bytes, that is copied: up to there asking the system costs more. From there on it
	// costs less, not least because what was not written stays out of the cache.
	mostCopied = 64 << 10
	// mostCopiedUnasked is the same where the system cannot say which pages were written.
	mostCopiedUnasked = 1 << 20
)

// Image is a state of a memory. Many memories may go back to it at once.
type Image struct {
	size   int
	pieces []piece // what is not zero, in order; none when it is mapped
	mapped *mapped // nil when it is copied
}

type piece struct {
	at   int
	data []byte
}

// NewImage keeps a copy of memory. Close must follow.
func NewImage(memory []byte) *Image {
	i := &Image{size: len(memory)}
	if len(memory) > mostCopied {
		i.mapped = mapImage(memory)
	}
	if i.mapped != nil {
		return i
	}
	for at := zeros(memory); at < len(memory); at += zeros(memory[at:]) {
		from := at
		for at < len(memory) && zeros(memory[at:min(at+gap, len(memory))]) < gap {
			at++
		}
		i.pieces = append(i.pieces, piece{from, bytes.Clone(memory[from:at])})
	}
	return i
}

// Size is the image's length in bytes.
func (i *Image) Size() int { return i.size }

// Held is how many bytes the image takes beside the memories that show it.
func (i *Image) Held() (n int) {
	if i.mapped != nil {
		return i.mapped.held()
	}
	for _, p := range i.pieces {
		n += cap(p.data)
	}
	return n + cap(i.pieces)*int(unsafe.Sizeof(piece{}))
}

// Strategy says how memories are put back to it.
func (i *Image) Strategy() Strategy {
	switch {
	case i.mapped == nil:
		return Copy
	case i.mapped.pages():
		return Pages
	}
	return Drop
}

// Close gives back what the image holds. No memory may use it any more.
func (i *Image) Close() {
	if i.mapped != nil {
		i.mapped.close()
	}
}

// Adopt makes the memory, which must have the image's size, show the image, and Restore go back to it.
func (m *Memory) Adopt(i *Image) bool {
	switch {
	case len(m.bytes) != i.size:
		return false
	case m.image == i: // from a shelf
		return m.Restore()
	case i.mapped == nil:
		i.copyTo(m.bytes)
	case !m.lay(i.mapped):
		return false
	}
	m.image = i
	return true
}

// Restore puts back the image that the memory adopted, and reports whether it could. The memory must have its size.
func (m *Memory) Restore() bool {
	switch i := m.image; {
	case i == nil || len(m.bytes) != i.size:
		return false
	case i.mapped != nil:
		return m.rub(i.mapped)
	default:
		i.copyTo(m.bytes)
		return true
	}
}

// copyTo writes all of the image.
func (i *Image) copyTo(memory []byte) {
	done := 0
	for _, p := range i.pieces {
		clear(memory[done:p.at])
		done = p.at + copy(memory[p.at:], p.data)
	}
	clear(memory[done:])
}

// zeros counts the zero bytes that b begins with.
func zeros(b []byte) (n int) {
	for len(b)-n >= 8 && binary.LittleEndian.Uint64(b[n:]) == 0 {
		n += 8
	}
	for n < len(b) && b[n] == 0 {
		n++
	}
	return n
}
