//go:build wasm

package gw

import "unsafe"

// input is what the gateway writes next; keeping it here keeps it alive.
var input []byte

// output is the last answer.
var output = make([]byte, 0, 1024)

//go:wasmexport gw_abi_1b
func abi() {}

// leaves asks for the table that Context.Walk reads.
//
//go:wasmexport gw_abi_1b_leaves
func leaves() {}

//go:wasmexport gw_alloc
func alloc(size uint32) unsafe.Pointer {
	input = make([]byte, size+1) // an empty slice has no place of its own
	return unsafe.Pointer(unsafe.SliceData(input))
}

// Judge shows a call to a function and returns where its verdict lies:
//
//	//go:wasmexport gw_decide
//	func decide(at, size uint32) uint64 { return gw.Judge(size, judge) }
func Judge(size uint32, judge func(Context, *Verdict)) uint64 {
	c := ReadContext(input[:size])
	var v Verdict
	judge(c, &v)
	output = v.Append(output[:0], c.Phase())
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(output))))<<32 | uint64(len(output))
}

// Config returns the filter's configuration, which may be empty, for gw_init:
//
//	//go:wasmexport gw_init
//	func start(_, size uint32) int32 { return configure(gw.Config(size)) }
func Config(size uint32) []byte {
	if size == 0 {
		return nil
	}
	return input[:size]
}

// Level is how much a line of the log matters.
type Level int32

// The levels.
const (
	Debug Level = iota
	Info
	Warning
	Error
)

//go:wasmimport gw log
func hostLog(level Level, at unsafe.Pointer, size uint32)

// Log writes a line to the filter's log, of which little is kept. So does print.
func Log(level Level, text string) {
	hostLog(level, unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)))
}
