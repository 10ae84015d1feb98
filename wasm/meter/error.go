package meter

import (
	"errors"
	"fmt"
)

// Why a module is not taken. Every *Error wraps exactly one of them.
var (
	// ErrMalformed: the bytes are not a module of the binary format, or a module that names what it does not have.
	ErrMalformed = errors.New("malformed module")
	// ErrUnsupported: the module may be sound, but uses what this package refuses to let run.
	ErrUnsupported = errors.New("unsupported module")
	// ErrLimit: the module is over a bound of Options.
	ErrLimit = errors.New("module over a limit")
)

// Error says where and why a module was refused. Its text quotes names of the module, and nothing else of it.
type Error struct {
	Offset int    // bytes from the start of the module
	Detail string // what is wrong there
	kind   error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%v: at byte %d: %s", e.kind, e.Offset, e.Detail)
}

// Unwrap returns ErrMalformed, ErrUnsupported or ErrLimit.
func (e *Error) Unwrap() error { return e.kind }
