package meter

// op is an opcode. Those behind the prefix 0xfc stand at opPrefix plus their number.
type op uint16

const opPrefix op = 0xfc00

const (
	opUnreachable  op = 0x00
	opNop          op = 0x01
	opBlock        op = 0x02
	opLoop         op = 0x03
	opIf           op = 0x04
	opElse         op = 0x05
	opEnd          op = 0x0b
	opBr           op = 0x0c
	opBrIf         op = 0x0d
	opBrTable      op = 0x0e
	opReturn       op = 0x0f
	opCall         op = 0x10
	opCallIndirect op = 0x11
	opDrop         op = 0x1a
	opSelect       op = 0x1b
	opSelectTyped  op = 0x1c
	opLocalGet     op = 0x20
	opLocalSet     op = 0x21
	opLocalTee     op = 0x22
	opGlobalGet    op = 0x23
	opGlobalSet    op = 0x24
	opTableGet     op = 0x25
	opTableSet     op = 0x26
	opFirstLoad    op = 0x28
	opLastLoad     op = 0x35
	opFirstStore   op = 0x36
	opLastStore    op = 0x3e
	opMemorySize   op = 0x3f
	opMemoryGrow   op = 0x40
	opI32Const     op = 0x41
	opI64Const     op = 0x42
	opF32Const     op = 0x43
	opF64Const     op = 0x44
	opI32Eqz       op = 0x45
	opI32LtS       op = 0x48
	opI32LtU       op = 0x49
	opI32GtU       op = 0x4b
	opI32LeU       op = 0x4d
	opI64LtS       op = 0x53
	opI64GtU       op = 0x56
	opI64GeS       op = 0x59
	opI32Add       op = 0x6a
	opI32Sub       op = 0x6b
	opI64Add       op = 0x7c
	opI64Sub       op = 0x7d
	opI64Mul       op = 0x7e
	opI64Shl       op = 0x86
	opI64ShrU      op = 0x88
	opI64ExtendU   op = 0xad
	opLastNumeric  op = 0xc4 // i64.extend32_s
	opRefNull      op = 0xd0
	opRefIsNull    op = 0xd1
	opRefFunc      op = 0xd2

	opFirstSat   op = opPrefix + 0 // i32.trunc_sat_f32_s
	opLastSat    op = opPrefix + 7 // i64.trunc_sat_f64_u
	opMemoryInit op = opPrefix + 8
	opDataDrop   op = opPrefix + 9
	opMemoryCopy op = opPrefix + 10
	opMemoryFill op = opPrefix + 11
	opTableInit  op = opPrefix + 12
	opElemDrop   op = opPrefix + 13
	opTableCopy  op = opPrefix + 14
	opTableGrow  op = opPrefix + 15
	opTableSize  op = opPrefix + 16
	opTableFill  op = opPrefix + 17
)

// blockEmpty is the type of a block that takes and gives nothing.
const blockEmpty = 0x40

// refusal names the proposal behind an opcode that is not taken, so that an author knows what to switch off.
func refusal(c byte) string {
	switch {
	case c == 0x12 || c == 0x13:
		return "a tail call"
	case c == 0x06 || c == 0x07 || c == 0x08 || c == 0x09 || c == 0x0a || c == 0x18 || c == 0x19 || c == 0x1f:
		return "exception handling"
	case c == 0x14 || c == 0x15 || c >= 0xd3 && c <= 0xd6:
		return "a typed function reference"
	case c == 0xfb:
		return "garbage collection"
	case c == 0xfd:
		return "SIMD"
	case c == 0xfe:
		return "threads"
	}
	return "an unknown instruction"
}
