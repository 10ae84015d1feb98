package build

import (
	"fmt"
	"time"
)

// Bound says which bound a compilation ran into.
type Bound string

// The bounds, and what else keeps a module from being compiled.
const (
	CPU      Bound = "cpu"      // the processor time of its class
	Memory   Bound = "memory"   // the memory of its class
	Wall     Bound = "time"     // the time by the clock of its class
	Code     Bound = "code"     // the native code of its class
	Engine   Bound = "engine"   // the engine refused the module
	Busy     Bound = "busy"     // too many wait already
	Canceled Bound = "canceled" // nobody waits for it any more
	Killed   Bound = "killed"   // something outside ended the child
	Platform Bound = "platform" // this system cannot bound a child
	Fault    Bound = "fault"    // the child could not be started or did not answer
)

// hints say what to do about each.
var hints = map[Bound]string{
	CPU:      "make functions smaller: branches, loops and br_table times locals of one function cost most; or split the filter",
	Memory:   "make functions smaller and with fewer locals, or split the filter",
	Wall:     "upload again when the gateway is less busy; if that fails too, make functions smaller",
	Code:     "build for size (-Os), and leave out what the filter does not use",
	Engine:   "check the module with `gatewright filter check`",
	Busy:     "wait for the uploads under way, then upload again",
	Canceled: "upload again",
	Killed:   "upload again; if it stays so, the gateway's host has too little memory",
	Platform: "run the gateway on Linux",
	Fault:    "this is the gateway's fault, not the module's: tell its operator",
}

// Error says why a module was not compiled, and what to do about it. Nothing of it was loaded or kept.
type Error struct {
	Bound Bound
	Usage
	Detail string
	Hint   string
}

func (e *Error) Error() string {
	used := ""
	if e.Wall > 0 {
		used = fmt.Sprintf(" (after %v of CPU, %v by the clock and %d MiB)", e.CPU.Round(time.Millisecond), e.Wall.Round(time.Millisecond), e.Peak>>20)
	}
	return fmt.Sprintf("compile: %s: %s%s; %s", e.Bound, e.Detail, used, e.Hint)
}

func refuse(b Bound, u Usage, detail string) *Error {
	return &Error{Bound: b, Usage: u, Detail: detail, Hint: hints[b]}
}
