package meter

import (
	"bytes"
	"slices"
)

// helpers are functions of the meter's own that modules call around bulk instructions. They stand behind the module's
// functions in the order in which they are first used.
type helpers struct{ ops []op }

// helper returns the index of the function that goes with a bulk instruction: before it, to pay for its length; for
// memory.copy and memory.fill in its place.
func (m *module) helper(o op) uint32 {
	switch o {
	case opTableInit, opTableCopy:
		o = opTableFill // one price
	}
	i := slices.Index(m.help.ops, o)
	if i < 0 {
		i = len(m.help.ops)
		m.help.ops = append(m.help.ops, o)
	}
	return uint32(len(m.funcs) + 1 + i)
}

// writeHelpers appends the helpers that were used.
func (m *module) writeHelpers() {
	types, bodies := &m.out[functionSection], &m.out[codeSection]
	for _, o := range m.help.ops {
		t, body := m.typeIndex([]byte{i32}, []byte{i32}), m.pay(m.toll(o))
		if o == opMemoryCopy || o == opMemoryFill {
			t, body = m.typeIndex([]byte{i32, i32, i32}, nil), m.chunks(o)
		}
		types.n++
		types.body.u32(t)
		bodies.n++
		bodies.body.sized(body)
	}
}

// typeIndex returns the index of a type that the meter needs, which stands behind the module's own.
func (m *module) typeIndex(params, results []byte) uint32 {
	var t code
	t.raw(formFunc)
	t.sized(params)
	t.sized(results)
	i := slices.IndexFunc(m.added, func(a code) bool { return bytes.Equal(a, t) })
	if i < 0 {
		i = len(m.added)
		m.added = append(m.added, t)
	}
	return uint32(len(m.types) + i)
}

// pay writes a helper (n)->n that charges a toll.
func (m *module) pay(t toll) code {
	const n, left = 0, 1
	var c code
	c.raw(1, 1, i64)
	c.with(opGlobalGet, m.fuel())
	c.with(opLocalGet, n)
	c.i32(0)
	c.with(opLocalGet, n)
	c.i32(int32(t.limit))
	c.op(opI32LeU, opSelect, opI64ExtendU)
	c.i64(t.per)
	c.op(opI64Mul)
	c.i64(t.shift)
	c.op(opI64ShrU, opI64Sub)
	m.settle(&c, left, opGlobalSet, m.fuel())
	c.with(opLocalGet, n)
	c.op(opEnd)
	return c
}

// chunk is how much memory.copy and memory.fill move before they are charged again: about 10 us.
const chunk = 1 << 16

// chunkShift says what a byte costs in memory.copy and memory.fill: 1/4 of a unit.
const chunkShift = 2

// The locals of chunks.
const (
	bulkTo    = iota // parameters: destination,
	bulkFrom         // source or value,
	bulkLen          // length
	bulkLeft         // fuel
	bulkPiece        // bytes in this piece
)

// chunks writes a helper (to, from or value, n) that does a memory.copy or memory.fill piece by piece.
func (m *module) chunks(o op) code {
	var c code
	c.raw(2, 1, i64, 1, i32)
	m.checkRange(&c, o, bulkTo)
	if o == opMemoryFill {
		m.pieces(&c, o, false)
		c.op(opEnd)
		return c
	}
	m.checkRange(&c, o, bulkFrom)
	c.with(opLocalGet, bulkTo)
	c.with(opLocalGet, bulkFrom)
	c.op(opI32GtU)
	c.raw(byte(opIf), blockEmpty)
	m.pieces(&c, o, true)
	c.op(opElse)
	m.pieces(&c, o, false)
	c.op(opEnd, opEnd)
	return c
}

// plain writes the instruction itself.
func plain(c *code, o op) {
	if o == opMemoryCopy {
		c.with(o, 0, 0)
		return
	}
	c.with(o, 0)
}

// checkRange does the whole instruction, which then traps, when what begins at the local from goes past the memory: no
// piece may be written before the trap.
func (m *module) checkRange(c *code, o op, from uint32) {
	c.with(opLocalGet, from)
	c.op(opI64ExtendU)
	c.with(opLocalGet, bulkLen)
	c.op(opI64ExtendU, opI64Add)
	c.with(opMemorySize, 0)
	c.op(opI64ExtendU)
	c.i64(16)
	c.op(opI64Shl, opI64GtU)
	c.raw(byte(opIf), blockEmpty)
	c.with(opLocalGet, bulkTo)
	c.with(opLocalGet, bulkFrom)
	c.with(opLocalGet, bulkLen)
	plain(c, o)
	c.op(opReturn, opEnd)
}

// pieces writes the loop; last to first where the destination lies behind the source, so that nothing is overwritten
// before it was copied.
func (m *module) pieces(c *code, o op, backward bool) {
	c.raw(byte(opBlock), blockEmpty, byte(opLoop), blockEmpty)
	c.with(opLocalGet, bulkLen)
	c.op(opI32Eqz)
	c.with(opBrIf, 1)
	m.piece(c)
	if backward {
		shorten(c)
		addTo(c, bulkTo, bulkLen)
		addTo(c, bulkFrom, bulkLen)
		c.with(opLocalGet, bulkPiece)
		plain(c, o)
	} else {
		c.with(opLocalGet, bulkTo)
		c.with(opLocalGet, bulkFrom)
		c.with(opLocalGet, bulkPiece)
		plain(c, o)
		advance(c, bulkTo)
		if o == opMemoryCopy {
			advance(c, bulkFrom)
		}
		shorten(c)
	}
	c.with(opBr, 0)
	c.op(opEnd, opEnd)
}

// piece sets how much is moved next and charges it.
func (m *module) piece(c *code) {
	c.with(opLocalGet, bulkLen)
	c.i32(chunk)
	c.with(opLocalGet, bulkLen)
	c.i32(chunk)
	c.op(opI32LtU, opSelect)
	c.with(opLocalSet, bulkPiece)
	c.with(opGlobalGet, m.fuel())
	c.with(opLocalGet, bulkPiece)
	c.op(opI64ExtendU)
	c.i64(chunkShift)
	c.op(opI64ShrU, opI64Sub)
	m.settle(c, bulkLeft, opGlobalSet, m.fuel())
}

func addTo(c *code, a, b uint32) {
	c.with(opLocalGet, a)
	c.with(opLocalGet, b)
	c.op(opI32Add)
}

func advance(c *code, local uint32) {
	addTo(c, local, bulkPiece)
	c.with(opLocalSet, local)
}

func shorten(c *code) {
	c.with(opLocalGet, bulkLen)
	c.with(opLocalGet, bulkPiece)
	c.op(opI32Sub)
	c.with(opLocalSet, bulkLen)
}
