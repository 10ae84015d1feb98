package abi

import (
	"encoding/binary"
	"math"
)

// Places in the header of the flat form, in bytes. All numbers are little endian; a text is two of 32 bits: where it begins,
// counted from the header's first byte, and how many bytes it has.
const (
	atVersion = 0  // 1
	atPhase   = 4  // 1 request, 2 response, 3 chunk
	atSize    = 8  // of the whole context
	atBits    = 12 // see below
	atNow     = 16 // 64 bits
	atStep    = 24
	atHeader  = 28  // the header's own size
	atTexts   = 32  // tenant, agent, user, op, server, tool, plan id
	atLabels  = 88  // of the table of labels, and how many there are
	atBody    = 96  // JSON
	atLeaves  = 104 // of the table of leaves, and how many there are
	flatHead  = 128 // what is between is zero
)

// Bits of the header.
const (
	bitPlan   = 1 << iota // the call is a step of a plan
	bitFirst              // the chunk is its stream's first
	bitLast               // the chunk is its stream's last
	bitLeaves             // there is a table of leaves
)

var order = binary.LittleEndian

// settleFlat writes what is missing of the flat form around the body.
func (c *Context) settleFlat() {
	if len(c.flat.head) == 0 {
		c.flat.head = c.appendFlat(c.flat.head)
	}
	if len(c.flat.labels) == 0 && len(c.Labels) > 0 {
		c.flat.labels = appendLabels(c.flat.labels, c.Labels)
	}
}

// appendFlat writes the header and the texts behind it. What depends on labels and body is left zero.
func (c *Context) appendFlat(b []byte) []byte {
	b = append(b, make([]byte, flatHead)...)
	order.PutUint32(b[atVersion:], Version)
	order.PutUint32(b[atPhase:], uint32(c.Phase)+1)
	order.PutUint64(b[atNow:], uint64(c.Now))
	order.PutUint32(b[atHeader:], flatHead)
	bits, id := uint32(0), ""
	if c.Phase == Chunk {
		bits = uint32(c.Flags&(First|Last)) << 1
	}
	if c.Plan.In {
		bits, id = bits|bitPlan, c.Plan.ID
		order.PutUint32(b[atStep:], uint32(c.Plan.Step))
	}
	order.PutUint32(b[atBits:], bits)
	for i, s := range [...]string{c.Tenant, c.Agent, c.User, c.Op, c.Server, c.Tool, id} {
		putSpan(b[atTexts+8*i:], len(b), len(s))
		b = append(b, s...)
	}
	return pad(b)
}

// appendLabels writes the table of labels and their texts, counted from the table's first byte.
func appendLabels(b []byte, labels []string) []byte {
	b = append(b, make([]byte, 8*len(labels))...)
	for i, s := range labels {
		putSpan(b[8*i:], len(b), len(s))
		b = append(b, s...)
	}
	return b
}

func putSpan(b []byte, at, size int) {
	order.PutUint32(b, uint32(at))
	order.PutUint32(b[4:], uint32(size))
}

func pad(b []byte) []byte {
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

// up rounds a place up to a multiple of 8.
func up(n int) int { return (n + 7) &^ 7 }

func (c *Context) sizeFlat(f Form) int {
	c.settleFlat()
	n := len(c.flat.head) + len(c.object())
	if f == FormLeaves {
		if !c.leaves.settle(c.object(), len(c.flat.head)) {
			return unfit
		}
		n = up(n+len(c.leaves.texts)) + len(c.leaves.table)
	}
	return up(n) + len(c.flat.labels)
}

// unfit is the size of a context that cannot be written: more than any filter takes.
const unfit = math.MaxInt32

func (c *Context) putFlat(f Form, dst []byte) int {
	at := copy(dst, c.flat.head)
	body := copy(dst[at:], c.object())
	putSpan(dst[atBody:], at, body)
	n := at + body
	if f == FormLeaves {
		n += copy(dst[n:], c.leaves.texts)
		n = fill(dst, n)
		putSpan(dst[atLeaves:], n, len(c.leaves.table)/leafSize)
		dst[atBits] |= bitLeaves
		n += copy(dst[n:], c.leaves.table)
	}
	n = c.putLabels(dst, fill(dst, n))
	order.PutUint32(dst[atSize:], uint32(n))
	return n
}

// putLabels writes the table of labels to its place and returns where it ends.
func (c *Context) putLabels(dst []byte, at int) int {
	putSpan(dst[atLabels:], at, len(c.Labels))
	copy(dst[at:], c.flat.labels)
	for i := range c.Labels {
		entry := dst[at+8*i:]
		order.PutUint32(entry, order.Uint32(entry)+uint32(at))
	}
	return at + len(c.flat.labels)
}

// fill clears what is between n and the next multiple of 8, and returns that.
func fill(dst []byte, n int) int {
	end := up(n)
	clear(dst[n:end])
	return end
}
