package abi

import (
	"context"
	"errors"
)

// Guest is one instance of a module, spoken to in its dialect. One goroutine uses it at a time. ctx is what the engine has to
// be called with: it holds the call's fuel, and is a Host.
//
// Whatever goes wrong is an error, which refuses the call; an error of the engine is returned as it is.
type Guest interface {
	// Init shows the configuration, which may be empty, to a new instance, once and before all else. What the instance is after
	// that, it is again before each call.
	Init(ctx context.Context, config []byte) error
	// Judge shows it a call and fills v, which is empty.
	Judge(ctx context.Context, c *Context, v *Verdict) error
}

// Host is what the functions that a guest imports find of the call that runs: HostOf their context. A function stops the guest
// by panicking with an error, one of those below where they fit.
type Host interface {
	// Call is what is being judged, nil while the guest is set up. It is only read.
	Call() *Context
	// Charge takes fuel, in units of at most 15 ns of work: each function charges for what it does before it does it. The guest
	// is stopped at the next charge of its own when it has too little.
	Charge(units int64)
	// Log writes a line of the guest's: level 0 is debug, 1 info, 2 warning, 3 error. It charges for it, and drops what is over
	// the bounds of a call.
	Log(level int32, text []byte)
	// Local is a place of that set of functions for what it has to remember until the call is over. It is nil when one begins.
	Local(Set) *any
}

// Set is a set of functions that a guest imports, and that keeps something during a call.
type Set int

// The sets.
const (
	SetDialect Set = iota // those of the guest's dialect
	SetWASI
	Sets // how many there are
)

// HostOf returns the host of the call that runs.
func HostOf(ctx context.Context) Host { return ctx.(Host) }

// What a guest or a function it imports ends a call with.
var (
	ErrPointer = errors.New("pointer outside memory")
	ErrNoRoom  = errors.New("it has no room for the call")
	ErrInit    = errors.New("the configuration is refused")
)
