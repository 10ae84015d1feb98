// Package scan reads a WebAssembly module before anything else does, as a stream, and refuses it early.
package scan

import "io"

// Scan reads a module to its end or to the first thing that is wrong with it. An error is an *Error that wraps
// ErrMalformed, ErrUnsupported, ErrLimit or what r failed with; then nothing of the report may be used.
func Scan(r io.Reader, l Limits) (Report, error) {
	_ = l.filled()
	return Report{}, &Error{Detail: "modules are not read yet", Hint: "wait", kind: ErrUnsupported}
}
