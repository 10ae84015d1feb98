package wasm

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/gatewright/gatewright/wasm/abi"
	"github.com/gatewright/gatewright/wasm/gw"
	"github.com/gatewright/gatewright/wasm/httpwasm"
	"github.com/gatewright/gatewright/wasm/opa"
)

// What a filter is shown and what it answers are abi's.
type (
	// Verdict is a filter's answer to one call. It owns its memory, which the next answer uses again.
	Verdict = abi.Verdict
	// Kind is what a filter decided.
	Kind = abi.Kind
	// Score is how sure a filter is of something, from 0 to 1000.
	Score = abi.Score
)

// The kinds of verdict. The zero Kind is none of them, so that a Verdict nobody filled in allows nothing.
const (
	Pass    = abi.Pass
	Deny    = abi.Deny
	Rewrite = abi.Rewrite
)

// dialect is one ABI that a module may speak. To add one: write a type with these methods, in a file of this package or in a
// package below it (which can import abi and the engine, but not this package), and put it into dialects. Everything else is
// the same for all: fuel, depth, memory, reset, breaker, pool, traps.
//
// Functions that the module imports get from abi.HostOf(ctx) what is being judged, charge fuel for their work, and end the call
// by a panic with abi.ErrPointer or the like. What they keep during a call belongs into Host.Local or the guest's own memory,
// never into the Guest: nothing may pass from one call to the next.
type dialect interface {
	// Name is what reports and logs call it.
	Name() string
	// Speaks says whether the module is one of the dialect's, by what it exports. The first that says so has it.
	Speaks(m wazero.CompiledModule) bool
	// Check refuses a module that exports less than the dialect asks for or imports more than it gives, in words for its
	// author, and says which phases the others judge.
	Check(m wazero.CompiledModule) (abi.Phases, error)
	// Host defines the modules that others may import.
	Host(ctx context.Context, engine wazero.Runtime) error
	// Bind finds in a new instance what the dialect calls. No code of it has run yet.
	Bind(m api.Module, l abi.Limits) (abi.Guest, error)
	// Size is how many bytes of input a call is: fuel is granted by it, and it must not be over the bound.
	Size(c *abi.Context) int
}

// dialects are all, in the order in which they are tried.
var dialects = []dialect{
	gw.Dialect{Form: abi.FormLeaves, Start: exportStart}, gw.Dialect{Form: abi.FormFlat, Start: exportStart},
	gw.Dialect{Form: abi.FormJSON, Start: exportStart}, httpwasm.Dialect{Start: exportStart}, opa.Dialect{Start: exportStart},
}

var _ gw.Sized = (*tank)(nil)

// speaking finds the dialect of a module.
func speaking(m wazero.CompiledModule) (dialect, error) {
	for _, d := range dialects {
		if d.Speaks(m) {
			return d, nil
		}
	}
	names := make([]string, 0, len(dialects))
	for _, d := range dialects {
		names = append(names, d.Name())
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return nil, errors.New("it does not export " + gw.Marker + ", nor speaks another dialect; known are " + strings.Join(names, ", "))
}
