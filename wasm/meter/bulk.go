package meter

import (
	"bytes"
	"slices"

	"github.com/gatewright/gatewright/wasm/scan"
)

// helpers are functions of the meter's own that modules call around bulk instructions. They stand behind the module's
// functions in the order in which they are first used.
type helpers struct{ ops []op }

// helper returns the index of the function that goes with a bulk instruction: before it, to pay for its length; for
// memory.copy and memory.fill in its place.
func (m *module) helper(o op) uint32 {
	switch o {
	case scan.OpTableInit, scan.OpTableCopy:
		o = scan.OpTableFill // one price
	}
	i := slices.Index(m.help.ops, o)
	if i < 0 {
		i = len(m.help.ops)
		m.help.ops = append(m.help.ops, o)
	}
	return uint32(m.funcs + 1 + i)
}

// writeHelpers appends the helpers that were used.
func (m *module) writeHelpers() {
	types, bodies := &m.out[scan.FunctionSection], &m.out[scan.CodeSection]
	for _, o := range m.help.ops {
		t, body := m.typeIndex([]byte{i32}, []byte{i32}), m.pay(m.toll(o))
		if o == scan.OpMemoryCopy || o == scan.OpMemoryFill {
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
	return uint32(m.types + i)
}

// pay writes a helper (n)->n that charges a toll.
func (m *module) pay(t toll) code {
	const n, left = 0, 1
	var c code
	c.raw(1, 1, i64)
	c.with(scan.OpGlobalGet, m.fuel())
	c.with(scan.OpLocalGet, n)
	c.i32(0)
	c.with(scan.OpLocalGet, n)
	c.i32(int32(t.limit))
	c.op(scan.OpI32LeU, scan.OpSelect, scan.OpI64ExtendU)
	c.i64(t.per)
	c.op(scan.OpI64Mul)
	c.i64(t.shift)
	c.op(scan.OpI64ShrU, scan.OpI64Sub)
	m.settle(&c, left, scan.OpGlobalSet, m.fuel())
	c.with(scan.OpLocalGet, n)
	c.op(scan.OpEnd)
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
	if o == scan.OpMemoryFill {
		m.pieces(&c, o, false)
		c.op(scan.OpEnd)
		return c
	}
	m.checkRange(&c, o, bulkFrom)
	c.with(scan.OpLocalGet, bulkTo)
	c.with(scan.OpLocalGet, bulkFrom)
	c.op(scan.OpI32GtU)
	c.raw(byte(scan.OpIf), scan.BlockEmpty)
	m.pieces(&c, o, true)
	c.op(scan.OpElse)
	m.pieces(&c, o, false)
	c.op(scan.OpEnd, scan.OpEnd)
	return c
}

// plain writes the instruction itself.
func plain(c *code, o op) {
	if o == scan.OpMemoryCopy {
		c.with(o, 0, 0)
		return
	}
	c.with(o, 0)
}

// checkRange does the whole instruction, which then traps, when what begins at the local from goes past the memory: no
// piece may be written before the trap.
func (m *module) checkRange(c *code, o op, from uint32) {
	c.with(scan.OpLocalGet, from)
	c.op(scan.OpI64ExtendU)
	c.with(scan.OpLocalGet, bulkLen)
	c.op(scan.OpI64ExtendU, scan.OpI64Add)
	c.with(scan.OpMemorySize, 0)
	c.op(scan.OpI64ExtendU)
	c.i64(16)
	c.op(scan.OpI64Shl, scan.OpI64GtU)
	c.raw(byte(scan.OpIf), scan.BlockEmpty)
	c.with(scan.OpLocalGet, bulkTo)
	c.with(scan.OpLocalGet, bulkFrom)
	c.with(scan.OpLocalGet, bulkLen)
	plain(c, o)
	c.op(scan.OpReturn, scan.OpEnd)
}

// pieces writes the loop; last to first where the destination lies behind the source, so that nothing is overwritten
// before it was copied.
func (m *module) pieces(c *code, o op, backward bool) {
	c.raw(byte(scan.OpBlock), scan.BlockEmpty, byte(scan.OpLoop), scan.BlockEmpty)
	c.with(scan.OpLocalGet, bulkLen)
	c.op(scan.OpI32Eqz)
	c.with(scan.OpBrIf, 1)
	m.piece(c)
	if backward {
		shorten(c)
		addTo(c, bulkTo, bulkLen)
		addTo(c, bulkFrom, bulkLen)
		c.with(scan.OpLocalGet, bulkPiece)
		plain(c, o)
	} else {
		c.with(scan.OpLocalGet, bulkTo)
		c.with(scan.OpLocalGet, bulkFrom)
		c.with(scan.OpLocalGet, bulkPiece)
		plain(c, o)
		advance(c, bulkTo)
		if o == scan.OpMemoryCopy {
			advance(c, bulkFrom)
		}
		shorten(c)
	}
	c.with(scan.OpBr, 0)
	c.op(scan.OpEnd, scan.OpEnd)
}

// piece sets how much is moved next and charges it.
func (m *module) piece(c *code) {
	c.with(scan.OpLocalGet, bulkLen)
	c.i32(chunk)
	c.with(scan.OpLocalGet, bulkLen)
	c.i32(chunk)
	c.op(scan.OpI32LtU, scan.OpSelect)
	c.with(scan.OpLocalSet, bulkPiece)
	c.with(scan.OpGlobalGet, m.fuel())
	c.with(scan.OpLocalGet, bulkPiece)
	c.op(scan.OpI64ExtendU)
	c.i64(chunkShift)
	c.op(scan.OpI64ShrU, scan.OpI64Sub)
	m.settle(c, bulkLeft, scan.OpGlobalSet, m.fuel())
}

func addTo(c *code, a, b uint32) {
	c.with(scan.OpLocalGet, a)
	c.with(scan.OpLocalGet, b)
	c.op(scan.OpI32Add)
}

func advance(c *code, local uint32) {
	addTo(c, local, bulkPiece)
	c.with(scan.OpLocalSet, local)
}

func shorten(c *code) {
	c.with(scan.OpLocalGet, bulkLen)
	c.with(scan.OpLocalGet, bulkPiece)
	c.op(scan.OpI32Sub)
	c.with(scan.OpLocalSet, bulkLen)
}
