// Package scan reads a WebAssembly module before anything else does, as a stream, and refuses it at the first byte that is
// wrong.
//
// What a module is made of is bounded by Limits: each number in it is held against its bound before anything is done with
// it, and what a scan holds in memory depends on the bytes that came and on Limits, never on what they announce. The form
// of every section and instruction is checked, and every index; whether the types of values agree is left to the engine,
// which sees a module only after package meter has written it anew. Instructions and forms that do not run here are
// refused: SIMD, threads, tail calls, exceptions, 64-bit and several memories, garbage collection, and what changes
// tables or drops segments.
//
// A module keeps the contract of one dialect, told by its exports: its imports are on the dialect's list with the very
// signature, and its exports are there. Beside what its dialect gives a module may import those functions of WASI that Go
// needs, which read and write nothing.
//
// A module is of the small class, or of the large one, which takes what carries a runtime of its own. What is refused
// comes with its offset and a hint for its author. The binary format is that of the WebAssembly Core Specification 2.0,
// chapter 5.
package scan

import "io"

// Scan reads a module to its end or to the first thing that is wrong with it. An error is an *Error that wraps
// ErrMalformed, ErrUnsupported, ErrLimit or what r failed with; then nothing of the report may be used.
func Scan(r io.Reader, l Limits) (Report, error) { return stream(r, l) }
