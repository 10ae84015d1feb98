package judge

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/wasm"
)

// title says of which call something is said.
func (t *trial) title(i int) string {
	switch v := t.upload.Vectors[i]; {
	case t.report.Vectors == 0:
		return "on the empty call, which every upload without vectors is given"
	case v.Name == "":
		return fmt.Sprintf("vector %d", i+1)
	default:
		return fmt.Sprintf("vector %d, %q", i+1, v.Name)
	}
}

// asked says what the filter was asked.
func (t *trial) asked() string {
	switch t.report.Vectors {
	case 0:
		return "no vectors, an empty call"
	case 1:
		return "1 vector"
	}
	return fmt.Sprintf("%d vectors", t.report.Vectors)
}

// trapped rejects a filter that gave no verdict. All that it was shown is its uploader's, and so is what it wrote: but that stands
// in the hint alone, since the ledger keeps reasons.
func (t *trial) trapped(i int, a answer) *Rejection {
	return reject(t.afterLine(a.trap, trapHints[a.trap]), "%s: %s", t.title(i), why(a.trap, a.cause, a.fuel))
}

// stillborn rejects a filter that did not start.
func (t *trial) stillborn(trap *wasm.Trap) *Rejection {
	cause := trap.Err
	if inner := errors.Unwrap(cause); inner != nil {
		cause = inner // without that it was being set up
	}
	hint := initHint(trap.Kind)
	if h, ok := errors.AsType[hinted](cause); ok {
		hint = h.Hint()
	}
	return reject(t.afterLine(trap.Kind, hint), "it does not start: %s", why(trap.Kind, cause, t.judge.cfg.Wasm.InitFuel))
}

// hinted is an error that knows what to change.
type hinted interface {
	error
	Hint() string
}

// why says what a trap was, to whoever wrote the filter.
func why(kind string, cause error, fuel int64) string {
	switch {
	case kind == wasm.TrapFuel:
		return fmt.Sprintf("it used up its %d units of fuel: an endless loop, or too much work", fuel)
	case kind == wasm.TrapUnreachable:
		return "the filter stopped itself (a panic, an abort, a failed assertion)"
	case kind == wasm.TrapDepth:
		return "too many of its calls were open at once: a recursion without end, or a deep one"
	case kind == wasm.TrapVerdict && cause != nil:
		return fmt.Sprintf("what it answered is no verdict: %v", cause)
	case kind == wasm.TrapInit && cause != nil:
		return cause.Error()
	case cause != nil:
		return fmt.Sprintf("it trapped: %s: %v", kind, cause)
	}
	return "it trapped: " + kind
}

// trapHints say what to do about a trap in a call.
var trapHints = map[string]string{
	wasm.TrapFuel:        "see What it may cost in wasm/README.md; the limit is the operator's",
	wasm.TrapUnreachable: logHint,
	wasm.TrapVerdict:     "see What it answers in wasm/README.md",
	wasm.TrapPointer:     "a verdict, and all it points to, has to lie in the filter's memory: gw_decide returns ptr << 32 | len",
	wasm.TrapMemory:      "it read or wrote outside its memory: look for an index or a pointer that is wrong",
	wasm.TrapDepth:       "bound the recursion, or keep what is open in a list of your own",
	wasm.TrapInput:       "gw_alloc returned 0: give it room for the call",
	wasm.TrapFault:       "it divided by zero, converted a number that does not fit, called no function, or asked its host for what that does not give",
}

const logHint = "have it log before it gives up: the last line it logged is shown here"

const otherHint = "mend the filter, or what the vector wants"

// lastLine bounds what is told of a line, in bytes.
const lastLine = 200

// afterLine adds to a hint what the filter wrote last, where it gave up itself.
func (t *trial) afterLine(kind, hint string) string {
	if hint == "" {
		hint = otherHint
	}
	switch kind {
	case wasm.TrapUnreachable, wasm.TrapFault, wasm.TrapInit:
		if t.last == "" {
			return hint
		}
		if strings.Contains(t.last, "_start first") { // what Go's runtime says
			return "it is built as a program, not as a library: build a Go filter with -buildmode=c-shared"
		}
		if hint == logHint {
			hint = "look for what it did next"
		}
		return fmt.Sprintf("the last line it logged: %q; %s", t.last[:min(len(t.last), lastLine)], hint)
	}
	return hint
}

func initHint(kind string) string {
	switch kind {
	case wasm.TrapFuel:
		return "do less in gw_init and in start functions: they may spend filters.init_fuel"
	case wasm.TrapInit:
		return "gw_init refuses this configuration: give another with --config"
	}
	return "it traps in gw_init or in a start function: run it under a debugger of your language's tests"
}
