package wasm

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/gatewright/gatewright/wasm/abi"
	"github.com/gatewright/gatewright/wasm/linear"
	"github.com/gatewright/gatewright/wasm/wasi"
)

// Kinds of Trap. The list is closed.
const (
	TrapFuel        = "fuel"        // it spent its budget
	TrapDepth       = "depth"       // too many calls were open at once
	TrapMemory      = "memory"      // it read or wrote outside its memory
	TrapUnreachable = "unreachable" // it gave up: an assertion, a panic
	TrapFault       = "fault"       // it divided by zero, converted what does not fit, called what is no function, or asked the host for what it does not give
	TrapPointer     = "pointer"     // it handed out a pointer that does not lie in its memory
	TrapVerdict     = "verdict"     // its answer is not a verdict
	TrapInput       = "input"       // the call is too large for it
	TrapBusy        = "busy"        // no instance came free in time
	TrapQuota       = "quota"       // its tenant takes all that it may
	TrapBroken      = "broken"      // it trapped too often of late
	TrapCanceled    = "canceled"    // the caller's context ended first
	TrapClosed      = "closed"      // the filter was closed
	TrapInit        = "init"        // it refused its configuration
	TrapInternal    = "internal"    // the runtime failed, or has no memory
)

// kinds gives each kind its place in FilterStats.
var kinds = []string{
	TrapFuel, TrapDepth, TrapMemory, TrapUnreachable, TrapFault, TrapPointer, TrapVerdict, TrapInput, TrapBusy, TrapBroken,
	TrapCanceled, TrapClosed, TrapInit, TrapInternal, TrapQuota,
}

// Trap is why a filter gave no verdict. The call it was asked about must be refused.
type Trap struct {
	Filter string
	Kind   string
	Err    error // may be nil; its text names no byte of the call
}

// Error names the filter and what happened, in one line.
func (t *Trap) Error() string {
	if t.Err == nil {
		return fmt.Sprintf("filter %s: %s", t.Filter, t.Kind)
	}
	return fmt.Sprintf("filter %s: %s: %v", t.Filter, t.Kind, t.Err)
}

// Unwrap gives the cause.
func (t *Trap) Unwrap() error { return t.Err }

// guilty says whether a trap counts against the filter: what it did itself, and what nobody foresaw while it ran or was made
// ready to. Whatever the fault of the runtime is, this module brings it out: its calls are refused at once, before each of them
// goes through it again and throws an instance away. A machine without memory is nobody's doing, and refuses calls of all alike.
func guilty(t *Trap) bool {
	switch t.Kind {
	case TrapInput, TrapBusy, TrapQuota, TrapBroken, TrapCanceled, TrapClosed, TrapInit:
		return false
	case TrapInternal:
		return !errors.Is(t.Err, linear.ErrSystem) && !errors.Is(t.Err, linear.ErrBudget) && !errors.Is(t.Err, errImage)
	}
	return true
}

// errFuel is what the host itself raises inside a call, and errDepth what it finds behind one; others are package abi's.
var (
	errFuel  = errors.New("fuel is used up")
	errDepth = errors.New("too many calls are open at once")
)

// reasons are the texts of the engine's own errors, whose type it does not export.
var reasons = []struct{ text, kind string }{
	{"out of bounds memory access", TrapMemory},
	{"unreachable", TrapUnreachable},
	{"stack overflow", TrapDepth},
	{"integer divide by zero", TrapFault},
	{"integer overflow", TrapFault},
	{"invalid conversion to integer", TrapFault},
	{"invalid table access", TrapFault},
	{"indirect call type mismatch", TrapFault},
}

// classify says what kind of trap the engine's error is. depth is whether the counter of open calls stood at its end.
func classify(err error, depth bool) (string, error) {
	var ended *contextEnd
	var verdict *abi.BadVerdict
	var over *overQuota
	var refusal *abi.Refusal
	switch {
	case errors.Is(err, errFuel):
		return TrapFuel, errFuel
	case errors.Is(err, abi.ErrPointer):
		return TrapPointer, abi.ErrPointer
	case errors.Is(err, abi.ErrNoRoom):
		return TrapInput, abi.ErrNoRoom
	case errors.Is(err, abi.ErrInit):
		return TrapInit, err
	case errors.Is(err, wasi.ErrExit):
		return TrapUnreachable, wasi.ErrExit
	case errors.Is(err, errBusy):
		return TrapBusy, errBusy
	case errors.Is(err, errClosed):
		return TrapClosed, errClosed
	case errors.Is(err, linear.ErrBudget):
		return TrapQuota, linear.ErrBudget
	case errors.Is(err, linear.ErrSystem):
		return TrapInternal, linear.ErrSystem
	case errors.Is(err, errImage):
		return TrapInternal, errImage
	case errors.As(err, &over):
		return TrapQuota, over.cause
	case errors.As(err, &refusal):
		return TrapFault, refusal
	case errors.As(err, &verdict):
		return TrapVerdict, verdict.Cause
	case errors.As(err, &ended):
		return TrapCanceled, ended.cause
	case depth:
		return TrapDepth, errDepth
	}
	// The lines that follow hold a stack trace with names of the module's choosing.
	first, _, _ := strings.Cut(err.Error(), "\n")
	if what, ok := strings.CutPrefix(first, "wasm error: "); ok {
		for _, r := range reasons {
			if what == r.text {
				return r.kind, errors.New(r.text)
			}
		}
	}
	return TrapInternal, unforeseen(err)
}

// unforeseen stands for a panic or an error that nobody foresaw. The runtime of Go names indices and types; what any other
// holds is not known, so its type has to do. That there is no memory is foreseen, wherever it comes up.
func unforeseen(what any) error {
	if err, ok := what.(error); ok {
		for _, known := range []error{linear.ErrBudget, linear.ErrSystem} {
			if errors.Is(err, known) {
				return known
			}
		}
		if s, ok := errors.AsType[surprise](err); ok {
			return s
		}
		if fault, ok := errors.AsType[runtime.Error](err); ok {
			return surprise(fmt.Sprintf("%.200q", fault.Error()))
		}
	}
	return surprise(fmt.Sprintf("%T", what))
}

// surprise is what is told of something that nobody foresaw.
type surprise string

func (s surprise) Error() string { return "unforeseen: " + string(s) }

// contextEnd carries the end of the caller's context out of a call.
type contextEnd struct{ cause error }

func (e *contextEnd) Error() string { return e.cause.Error() }

// ended returns the error of a context that is over.
func ended(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return ctx.Err()
}
