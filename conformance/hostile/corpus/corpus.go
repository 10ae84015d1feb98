// Package corpus makes modules that were written to do harm: to kill the process that reads them, to take more time or
// memory than they were given, to hold up others, to read what was another call's, or to have a host believe what it
// should not. Each says what must become of it.
//
// The modules are made from source, the same bytes on every run. Tests, fuzzers (as seeds) and the program in the folder
// above use them.
package corpus

import "slices"

// Stage is where a module ends.
type Stage string

// The stages of an upload and of a call, in their order.
const (
	Check   Stage = "check"   // refused before the engine saw a byte, by package scan or meter
	Compile Stage = "compile" // refused by the engine
	Load    Stage = "load"    // refused for what it imports, exports or uses
	Init    Stage = "init"    // trapped before it was ready
	Decide  Stage = "decide"  // trapped on a request
	Respond Stage = "respond" // trapped on a result
	Chunk   Stage = "chunk"   // trapped on a part of a stream
	Passed  Stage = "passed"  // every call got the same lawful verdict
)

// Case is one module with what must become of it.
type Case struct {
	Name string
	// About says what it tries.
	About string
	Make  func() []byte
	// Stage is where it must end, and Kind how: malformed, unsupported or limit where it is refused unread, a trap's kind
	// where it trapped, empty elsewhere.
	Stage Stage
	Kind  string
	// Says is part of the reason that the author of a refused module must be given; empty where only the kind matters.
	Says string
	// Endless marks code that would never end by itself: what it costs others is measured while it runs.
	Endless bool
	// Config is what gw_init is shown.
	Config []byte
}

// All returns the cases, each of another name.
func All() []Case {
	return slices.Concat(counts(), forms(), kinds(), bounds(), bombs(), endless(), tricks(), traps(), pointers(), verdicts(), logs(),
		memories(), Gluttons(), dialects())
}

// Seeds returns the modules of at most limit bytes, for fuzzers to begin with.
func Seeds(limit int) [][]byte {
	var seeds [][]byte
	for _, c := range All() {
		if m := c.Make(); len(m) <= limit {
			seeds = append(seeds, m)
		}
	}
	return seeds
}

// Leaks is a case that tells whenever it is asked, as those that keep secrets would if they had got hold of one. Whoever
// judges what became of a case must find fault with it.
func Leaks() Case {
	g := says(tells)
	return of("leaks", "refuses as if it had found a secret", Passed, "", "", g)
}

// raw is a case of fixed bytes.
func raw(name, about string, stage Stage, kind, says string, module []byte) Case {
	return Case{Name: name, About: about, Stage: stage, Kind: kind, Says: says, Make: func() []byte { return module }}
}

// of is a case of a guest.
func of(name, about string, stage Stage, kind, says string, g guest) Case {
	return Case{Name: name, About: about, Stage: stage, Kind: kind, Says: says, Make: g.bytes}
}

// Kinds of refusals and of traps, in the words of packages scan, meter and wasm.
const (
	malformed   = "malformed"
	unsupported = "unsupported"
	limit       = "limit"

	fuel    = "fuel"
	depth   = "depth"
	memory  = "memory"
	gaveUp  = "unreachable"
	fault   = "fault"
	pointer = "pointer"
	verdict = "verdict"
	input   = "input"
	refused = "init"
)
