package meter

import "github.com/gatewright/gatewright/wasm/scan"

// code is WebAssembly being written.
type code []byte

// u32 appends an unsigned LEB128 number.
func (c *code) u32(n uint32) {
	for ; n >= 0x80; n >>= 7 {
		*c = append(*c, byte(n)|0x80)
	}
	*c = append(*c, byte(n))
}

// signed appends a signed LEB128 number.
func (c *code) signed(n int64) {
	for {
		low := byte(n & 0x7f)
		n >>= 7
		if n == 0 && low&0x40 == 0 || n == -1 && low&0x40 != 0 {
			*c = append(*c, low)
			return
		}
		*c = append(*c, low|0x80)
	}
}

// raw appends bytes as they are.
func (c *code) raw(b ...byte) { *c = append(*c, b...) }

// sized appends b after its length.
func (c *code) sized(b []byte) {
	c.u32(uint32(len(b)))
	*c = append(*c, b...)
}

// name appends a string after its length.
func (c *code) name(s string) { c.sized([]byte(s)) }

// section appends a section, or nothing when it would be empty.
func (c *code) section(id scan.SectionID, count int, body []byte) {
	if count == 0 {
		return
	}
	var n code
	n.u32(uint32(count))
	c.raw(byte(id))
	c.u32(uint32(len(n) + len(body)))
	c.raw(n...)
	c.raw(body...)
}

// op appends instructions without operands.
func (c *code) op(ops ...op) {
	for _, o := range ops {
		if o >= scan.OpPrefix {
			c.raw(byte(scan.OpPrefix >> 8))
			c.u32(uint32(o & 0xff))
			continue
		}
		c.raw(byte(o))
	}
}

// with appends an instruction and its operands, each an index.
func (c *code) with(o op, operands ...uint32) {
	c.op(o)
	for _, n := range operands {
		c.u32(n)
	}
}

func (c *code) i32(n int32) {
	c.op(scan.OpI32Const)
	c.signed(int64(n))
}

func (c *code) i64(n int64) {
	c.op(scan.OpI64Const)
	c.signed(n)
}
