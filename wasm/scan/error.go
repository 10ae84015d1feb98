package scan

import (
	"errors"
	"fmt"
)

// Why a module is not taken. Every *Error wraps exactly one of them.
var (
	// ErrMalformed: the bytes are not a module of the binary format, or a module that names what it does not have.
	ErrMalformed = errors.New("malformed module")
	// ErrUnsupported: the module may be sound, but uses or asks for what is not given.
	ErrUnsupported = errors.New("unsupported module")
	// ErrLimit: the module is over a bound of Limits.
	ErrLimit = errors.New("module over a limit")
)

// Error says where and why a module was refused, and what its author can change. Its text quotes names of the module, and
// nothing else of it.
type Error struct {
	Offset int    // bytes from the start of the module
	Detail string // what is wrong there
	Hint   string // what to change; never empty
	kind   error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%v: at byte %d: %s; hint: %s", e.kind, e.Offset, e.Detail, e.Hint)
}

// Unwrap returns ErrMalformed, ErrUnsupported, ErrLimit or, when the source failed, its error.
func (e *Error) Unwrap() error { return e.kind }
