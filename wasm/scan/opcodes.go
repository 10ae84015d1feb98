package scan

// Op is an opcode. Those behind the prefix 0xfc stand at OpPrefix plus their number.
type Op uint16

// OpPrefix is where the opcodes behind the prefix 0xfc begin.
const OpPrefix Op = 0xfc00

// The opcodes that a reader or a writer of modules tells apart.
const (
	OpUnreachable  Op = 0x00
	OpNop          Op = 0x01
	OpBlock        Op = 0x02
	OpLoop         Op = 0x03
	OpIf           Op = 0x04
	OpElse         Op = 0x05
	OpEnd          Op = 0x0b
	OpBr           Op = 0x0c
	OpBrIf         Op = 0x0d
	OpBrTable      Op = 0x0e
	OpReturn       Op = 0x0f
	OpCall         Op = 0x10
	OpCallIndirect Op = 0x11
	OpDrop         Op = 0x1a
	OpSelect       Op = 0x1b
	OpSelectTyped  Op = 0x1c
	OpLocalGet     Op = 0x20
	OpLocalSet     Op = 0x21
	OpLocalTee     Op = 0x22
	OpGlobalGet    Op = 0x23
	OpGlobalSet    Op = 0x24
	OpTableGet     Op = 0x25
	OpTableSet     Op = 0x26
	OpFirstLoad    Op = 0x28
	OpLastLoad     Op = 0x35
	OpFirstStore   Op = 0x36
	OpLastStore    Op = 0x3e
	OpMemorySize   Op = 0x3f
	OpMemoryGrow   Op = 0x40
	OpI32Const     Op = 0x41
	OpI64Const     Op = 0x42
	OpF32Const     Op = 0x43
	OpF64Const     Op = 0x44
	OpI32Eqz       Op = 0x45
	OpI32LtS       Op = 0x48
	OpI32LtU       Op = 0x49
	OpI32GtU       Op = 0x4b
	OpI32LeU       Op = 0x4d
	OpI64LtS       Op = 0x53
	OpI64GtU       Op = 0x56
	OpI64GeS       Op = 0x59
	OpI32Add       Op = 0x6a
	OpI32Sub       Op = 0x6b
	OpI64Add       Op = 0x7c
	OpI64Sub       Op = 0x7d
	OpI64Mul       Op = 0x7e
	OpI64Shl       Op = 0x86
	OpI64ShrU      Op = 0x88
	OpI64ExtendU   Op = 0xad
	OpLastNumeric  Op = 0xc4 // i64.extend32_s
	OpRefNull      Op = 0xd0
	OpRefIsNull    Op = 0xd1
	OpRefFunc      Op = 0xd2

	OpFirstSat   Op = OpPrefix + 0 // i32.trunc_sat_f32_s
	OpLastSat    Op = OpPrefix + 7 // i64.trunc_sat_f64_u
	OpMemoryInit Op = OpPrefix + 8
	OpDataDrop   Op = OpPrefix + 9
	OpMemoryCopy Op = OpPrefix + 10
	OpMemoryFill Op = OpPrefix + 11
	OpTableInit  Op = OpPrefix + 12
	OpElemDrop   Op = OpPrefix + 13
	OpTableCopy  Op = OpPrefix + 14
	OpTableGrow  Op = OpPrefix + 15
	OpTableSize  Op = OpPrefix + 16
	OpTableFill  Op = OpPrefix + 17
)

// BlockEmpty is the type of a block that takes and gives nothing.
const BlockEmpty = 0x40

// What to tell authors whose compilers were told to use more than runs here.
const (
	hintMVP  = "build for the core of WebAssembly with sign extension, saturating conversions, multi-value and bulk memory, and nothing newer"
	hintSIMD = "build without SIMD: -C target-feature=-simd128 for Rust, -mno-simd128 for clang, no --enable simd for AssemblyScript"
	hintEH   = "build without exceptions: -fno-exceptions for C++, panic=abort for Rust"
	hintTail = "build without tail calls: -mno-tail-call for clang"
	hintRefs = "build without reference types: -mno-reference-types for clang, -C target-feature=-reference-types for Rust"
	hintGC   = "build for linear memory: languages that need garbage collection by the engine do not run here"
	hintMT   = "build without threads: no -pthread, no shared memory, no --enable threads"
	hintTab  = "leave tables as they were built, and call through them only: build without reference types (-mno-reference-types) and without threads"
)

// refusal names the proposal behind an opcode that is not taken, so that an author knows what to switch off.
func refusal(c Op) (what, hint string) {
	switch {
	case c == 0x12 || c == 0x13:
		return "a tail call", hintTail
	case c == 0x06 || c == 0x07 || c == 0x08 || c == 0x09 || c == 0x0a || c == 0x18 || c == 0x19 || c == 0x1f:
		return "exception handling", hintEH
	case c == 0x14 || c == 0x15 || c >= 0xd3 && c <= 0xd6:
		return "a typed function reference", hintRefs
	case c == 0xfb:
		return "garbage collection", hintGC
	case c == 0xfd:
		return "SIMD", hintSIMD
	case c == 0xfe:
		return "threads", hintMT
	}
	return "an unknown instruction", hintMVP
}

// hintLimits is for flags of a memory or a table that are not taken.
func hintLimits(flags byte) string {
	switch {
	case flags < 4:
		return hintMT
	case flags < 8:
		return "build for 32-bit addresses: wasm32, not wasm64"
	}
	return hintMVP
}

// changes names an instruction whose effect on tables, segments and the engine's memory the host cannot undo.
func changes(o Op) string {
	switch o {
	case OpRefFunc:
		return "ref.func"
	case OpTableSet:
		return "table.set"
	case OpTableInit:
		return "table.init"
	case OpElemDrop:
		return "elem.drop"
	case OpTableCopy:
		return "table.copy"
	case OpTableGrow:
		return "table.grow"
	case OpTableFill:
		return "table.fill"
	case OpDataDrop:
		return "data.drop"
	}
	return ""
}
