// Package meter makes a WebAssembly module safe to run on an engine that cannot bound it.
//
// Rewrite reads a module strictly, refuses what it does not know and whatever is over a limit, and gives it back with
// three bounds built in:
//
//   - Fuel. A mutable global counts down as the module runs: at the entry of each function and the head of each loop by
//     the weight of what follows, and by the length of what bulk instructions move. When it falls below zero the module
//     calls the import ImportModule.ImportName (i64)->(i64) with what is left, a negative number. The host answers with
//     the next slice, that number included, or panics to end the call. Each such call is also a point where the Go
//     scheduler may step in, which code of the module is not.
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
	MaxWork         int    // what compiling may cost beyond what its size costs, in about 10 ns of CPU, see work; 100,000,000
	MaxEntities     int    // types, imports, globals and exports, of each; 1,000
	MaxSegments     int    // element and data segments, of each; 1,000
	MaxTables       int    // tables; 1
	MaxTableEntries int    // entries of a table, and of all element segments; clipped or refused as memory is; 65,536
	MaxData         int    // bytes of all data segments; 1 MiB
}

// DefaultOptions returns the limits that zeros stand for.
func DefaultOptions() Options {
	return Options{
		MaxPages:        256,
		MaxDepth:        1024,
		MaxModule:       1 << 20,
		MaxFunctions:    10_000,
		MaxBody:         64 << 10,
		MaxLocals:       1_000,
		MaxArity:        64,
		MaxNesting:      256,
		MaxWork:         100_000_000,
		MaxEntities:     1_000,
		MaxSegments:     1_000,
		MaxTables:       1,
		MaxTableEntries: 1 << 16,
		MaxData:         1 << 20,
	}
}

// filled puts defaults where zeros stand.
func (o Options) filled() Options {
	d := DefaultOptions()
	if o.MaxPages == 0 {
		o.MaxPages = d.MaxPages
	}
	for _, f := range []struct{ v, d *int }{
		{&o.MaxDepth, &d.MaxDepth},
		{&o.MaxModule, &d.MaxModule},
		{&o.MaxFunctions, &d.MaxFunctions},
		{&o.MaxBody, &d.MaxBody},
		{&o.MaxLocals, &d.MaxLocals},
		{&o.MaxArity, &d.MaxArity},
		{&o.MaxNesting, &d.MaxNesting},
		{&o.MaxWork, &d.MaxWork},
		{&o.MaxEntities, &d.MaxEntities},
		{&o.MaxSegments, &d.MaxSegments},
		{&o.MaxTables, &d.MaxTables},
		{&o.MaxTableEntries, &d.MaxTableEntries},
		{&o.MaxData, &d.MaxData},
	} {
		if *f.v == 0 {
			*f.v = *f.d
		}
	}
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
