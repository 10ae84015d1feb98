// Package meter makes a WebAssembly module safe to run on an engine that cannot bound it.
//
// Rewrite reads a module strictly, refuses what it does not know and whatever is over a limit, and gives it back with
// three bounds built in:
//
//   - Fuel. A mutable global counts down as the module runs: at the entry of each function and the head of each loop by
//     the weight of what follows, and by the length of what bulk instructions move. When it falls below zero the module
//     calls the import ImportModule.ImportName (i64)->(i64) with what is left, a debt. The host takes the debt from the
//     total and answers with the next slice, which is not negative, or panics to end the call. Each such call is also a
//     point where the Go scheduler may step in, which code of the module is not.
//   - Depth. A second global counts down while functions are on the stack. Below zero the module traps (unreachable).
//     A unit stands for at most unitSlots values of a frame, so that the native stack is bounded too.
//   - Memory. The declared maxima of memory and table are clipped.
//
// Both globals are exported under FuelGlobal and DepthGlobal. The host sets both before each call: fuel to zero or a
// first slice, depth to Options.MaxDepth. Where a function has a loop it keeps the fuel in a local and writes it back
// around calls and when it returns; while a host function runs and after a call has returned the global is exact, so a
// host function may charge for itself. After a trap it is not, and neither is the depth: the instance must be thrown
// away, and what was used is known only to within the slice.
//
// Whether and where a module runs out of fuel depends on the module, its input and the total the host grants, and not on
// the slices. A rewritten module is still untrusted bytes: the engine must validate it as ever. What does not validate
// before does not validate after, but for custom sections, which are dropped unread.
package meter

import "cmp"

// What Rewrite adds to a module.
const (
	ImportModule = "gw_internal" // of the one import
	ImportName   = "refuel"
	FuelGlobal   = "__fuel"  // an i64
	DepthGlobal  = "__depth" // an i32
)

// Options bounds what a module may be. A zero stands for the default.
type Options struct {
	MaxPages        uint32 // memory, in pages of 64 KiB; a larger declared maximum is clipped, a larger minimum refused; 256
	MaxDepth        int    // units of call depth, see the package comment; 1024
	AllowStart      bool   // take modules with a start function; the host must be ready to refuel while it instantiates
	MaxModule       int    // bytes of the module; 1 MiB
	MaxFunctions    int    // functions of the module's own; 10,000
	MaxBody         int    // bytes of one function; 64 KiB
	MaxLocals       int    // locals of one function, parameters included; 1,000
	MaxArity        int    // parameters, and results, of one type; 64
	MaxNesting      int    // blocks within blocks; 256
	MaxWork         int    // what compiling may cost beyond what its size costs, in about 10 ns of CPU, see workPerBlock; 100,000,000
	MaxEntities     int    // types, imports, globals and exports, of each; 1,000
	MaxSegments     int    // element and data segments, of each; 1,000
	MaxTables       int    // tables; 1
	MaxTableEntries int    // entries of a table, and of all element segments; clipped or refused as memory is; 65,536
	MaxData         int    // bytes of all data segments; 1 MiB
}

// DefaultOptions returns the limits that zeros stand for.
func DefaultOptions() Options { return Options{}.filled() }

// filled puts defaults where zeros stand.
func (o Options) filled() Options {
	o.MaxPages = min(cmp.Or(o.MaxPages, 256), pagesOfFormat)
	o.MaxDepth = cmp.Or(o.MaxDepth, 1024)
	o.MaxModule = cmp.Or(o.MaxModule, 1<<20)
	o.MaxFunctions = cmp.Or(o.MaxFunctions, 10_000)
	o.MaxBody = cmp.Or(o.MaxBody, 64<<10)
	o.MaxLocals = cmp.Or(o.MaxLocals, 1_000)
	o.MaxArity = cmp.Or(o.MaxArity, 64)
	o.MaxNesting = cmp.Or(o.MaxNesting, 256)
	o.MaxWork = cmp.Or(o.MaxWork, 100_000_000)
	o.MaxEntities = cmp.Or(o.MaxEntities, 1_000)
	o.MaxSegments = cmp.Or(o.MaxSegments, 1_000)
	o.MaxTables = cmp.Or(o.MaxTables, 1)
	o.MaxTableEntries = cmp.Or(o.MaxTableEntries, 1<<16)
	o.MaxData = cmp.Or(o.MaxData, 1<<20)
	return o
}

// Kind says what is imported or exported.
type Kind string

// The kinds of externals.
const (
	Function Kind = "function"
	Table    Kind = "table"
	Memory   Kind = "memory"
	Global   Kind = "global"
)

// Import is one import of the module as it was given.
type Import struct {
	Module, Name string
	Kind         Kind   // always Function: others are refused
	Signature    string // as "(i32,i32)->(i64)"
}

// Export is one export of the module as it was given.
type Export struct {
	Name      string
	Kind      Kind
	Signature string // of a function, as "(i32,i32)->(i64)"
}

// Report tells what is in the module, without what Rewrite added.
type Report struct {
	Imports   []Import
	Exports   []Export
	Functions int    // of the module's own
	HasMemory bool   // and if so:
	MinPages  uint32 // what an instance starts with
	MaxPages  uint32 // what it can grow to, after clipping
	Start     bool   // instantiating runs a function of the module
}

// Rewrite checks module and returns it metered. The same module and options give the same bytes everywhere. An error is
// an *Error that wraps ErrMalformed, ErrUnsupported or ErrLimit; then nothing of the module may be used. module is only
// read, and nothing returned aliases it.
func Rewrite(module []byte, o Options) ([]byte, Report, error) {
	m := newModule(o.filled())
	if err := m.read(module); err != nil {
		return nil, Report{}, err
	}
	return m.encode(), m.report, nil
}
