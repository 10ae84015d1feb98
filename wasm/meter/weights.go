package meter

import "github.com/gatewright/gatewright/wasm/scan"

// Weights in units of fuel. A unit must cost less than 15 ns of CPU whatever the module does, so what can be slow weighs
// more: see BenchmarkUnit, which runs the worst that each class can do. One unit is about what an addition costs.
const (
	weightEntry        = 4   // of a function, beside what is in it
	weightFrame        = 16  // of each unit of depth a function takes: the native stack may have to grow for it
	weightLoop         = 2   // of a loop's head, beside what is in it
	weightCall         = 8   // the callee's entry comes on top
	weightCallIndirect = 24  // the table's entry, the callee's instance and code may all miss the cache
	weightCallHost     = 100 // leaving the module and coming back; a host function charges for its own work
	weightBranchTable  = 4
	weightStore        = 4
	weightDivide       = 20
	weightFloatMul     = 8 // numbers below the normal range take a slow path in the processor
	weightFloatDivide  = 16
	weightTable        = 8  // table.get and set
	weightRefFunc      = 40 // engines leave the module for it
	weightGrow         = 100
	weightBulk         = 40 // before its length is charged
)

// weightLoad is what a load weighs in a memory of at most pages. One that misses all caches and the table of addresses
// takes as long as hundreds of additions; in a memory that a core's own cache holds it takes as long as a few. Authors
// whose filters are content with 1 MiB get six times the loads by declaring so.
func weightLoad(pages uint32) int64 {
	switch {
	case pages <= 16:
		return 4
	case pages <= 256:
		return 24
	default:
		return 32
	}
}

// weight is what an instruction adds to its region. What compiles to nothing weighs nothing.
func (m *module) weight(o op) int64 {
	switch {
	case o >= scan.OpFirstLoad && o <= scan.OpLastLoad:
		return weightLoad(m.pages)
	case o >= scan.OpFirstStore && o <= scan.OpLastStore:
		return weightStore
	case o >= scan.OpI32Eqz && o <= scan.OpLastNumeric:
		return weightNumeric(o)
	case o >= scan.OpFirstSat && o <= scan.OpLastSat:
		return weightFloatMul
	}
	switch o {
	case scan.OpNop, scan.OpBlock, scan.OpLoop, scan.OpElse, scan.OpEnd, scan.OpDrop, scan.OpLocalGet, scan.OpI32Const, scan.OpI64Const, scan.OpF32Const, scan.OpF64Const:
		return 0
	case scan.OpCallIndirect:
		return weightCallIndirect
	case scan.OpRefFunc:
		return weightRefFunc
	case scan.OpTableGet, scan.OpTableSet:
		return weightTable
	case scan.OpMemoryGrow, scan.OpTableGrow:
		return weightGrow
	case scan.OpMemoryInit, scan.OpDataDrop, scan.OpMemoryCopy, scan.OpMemoryFill, scan.OpTableInit, scan.OpElemDrop, scan.OpTableCopy, scan.OpTableFill:
		return weightBulk
	}
	return 1
}

// weightNumeric is the weight of what only computes.
func weightNumeric(o op) int64 {
	switch {
	case o >= 0x6d && o <= 0x70, o >= 0x7f && o <= 0x82: // i32 and i64 div, rem
		return weightDivide
	case o == 0x91 || o == 0x95 || o == 0x9f || o == 0xa3: // f32 and f64 sqrt, div
		return weightFloatDivide
	case o >= 0x8d && o <= 0xa6 && o != 0x92 && o != 0x93 && o != 0xa0 && o != 0xa1: // rounding, mul, min, max, copysign
		return weightFloatMul
	case o >= 0xa8 && o <= 0xbb: // conversions
		return weightConvert(o)
	}
	return 1
}

// weightConvert tells conversions between integers and floats from those between integers.
func weightConvert(o op) int64 {
	if o == 0xac || o == 0xad {
		return 1
	}
	return weightFloatMul
}

// A toll is what a bulk instruction pays by its length n: per*n>>shift. Over limit the instruction fails whatever is
// paid, so that only its weight is due.
type toll struct {
	per, shift int64
	limit      uint32
}

func (m *module) toll(o op) toll {
	switch o {
	case scan.OpMemoryInit:
		return toll{per: 1, shift: 2, limit: uint32(m.o.MaxData)}
	case scan.OpMemoryGrow:
		return toll{per: 12_000, limit: m.pages} // the engine may copy all there is, and touches what is new
	case scan.OpTableGrow:
		return toll{per: 8, limit: uint32(m.o.MaxTableEntries)}
	default: // table.init, copy, fill
		return toll{per: 2, limit: uint32(m.o.MaxTableEntries)}
	}
}

// unitSlots is how many values of a frame a unit of depth stands for. The engine may keep each value that an
// instruction makes in a slot of eight bytes of its own.
const unitSlots = 256
