// Package meter makes a WebAssembly module safe to run on an engine that cannot bound it.
//
// Rewrite reads a module as package scan does, refuses what that does not know and whatever is over a limit, and gives it
// back with three bounds built in:
//
//   - Fuel. A mutable global counts down as the module runs: at the entry of each function and the head of each loop by
//     the weight of what follows, and by the length of what bulk instructions move. When it falls below zero the module
//     calls the import ImportModule.ImportName (i64)->(i64) with what is left, a debt. The host takes the debt from the
//     total and answers with the next slice, which is not negative, or panics to end the call. Each such call is also a
//     point where the Go scheduler may step in, which code of the module is not.
//   - Depth. A second global counts down while functions are on the stack. Below zero the module traps (unreachable).
//     A unit stands for at most unitSlots values of a frame, so that the native stack is bounded too.
//   - Memory. The declared maxima of memory and table are clipped, and the memory env.memory that policies of OPA import
//     becomes the module's own, exported as MemoryExport.
//
// Besides, every global that can change is exported under a name of Report.State, so that a host can put an instance back
// to an earlier state; what it could not put back, tables, dropped segments and what the engine keeps of each ref.func, no
// code can change unless Options.AllowTables says that instances are not used twice.
//
// Fuel and depth are exported as FuelGlobal and DepthGlobal. The host sets both before each call: fuel to zero or a
// first slice, depth to Options.MaxDepth. Where a function has a loop it keeps the fuel in a local and writes it back
// around calls and when it returns; while a host function runs and after a call has returned the global is exact, so a
// host function may charge for itself. After a trap it is not, and neither is the depth: the instance must be thrown
// away, and what was used is known only to within the slice.
//
// Whether and where a module runs out of fuel depends on the module, its input and the total the host grants, and not on
// the slices. A rewritten module is still untrusted bytes: the engine must validate it as ever. What does not validate
// before does not validate after, but for custom sections, which are dropped unread.
package meter

import "github.com/gatewright/gatewright/wasm/scan"

// Version numbers what Rewrite makes of a module. It goes up with every change of the code here or of package scan after which
// some module is refused or comes out otherwise than before: what was made under another number is not used any more.
const Version = 2

// What Rewrite adds to a module.
const (
	ImportModule = scan.MeterModule // of the one import
	ImportName   = "refuel"
	FuelGlobal   = scan.FuelGlobal  // an i64
	DepthGlobal  = scan.DepthGlobal // an i32
	MemoryExport = "memory"         // a memory that was imported
	StartExport  = scan.StartExport // the start function, with Options.ExportStart
)

// Options bounds what a module may be; MaxDepth bounds its calls. AnyDialect is without effect: what a module imports and
// exports is for scan.Scan to judge.
type Options = scan.Limits

// DefaultOptions returns the limits that zeros stand for.
func DefaultOptions() Options { return scan.Small() }

type (
	// Kind says what is imported or exported.
	Kind = scan.Kind
	// Import is one import of the module as it was given.
	Import = scan.Import
	// Export is one export of the module as it was given.
	Export = scan.Export
	// Error says where and why a module was refused, and what to change.
	Error = scan.Error
)

// The kinds of externals.
const (
	Function = scan.Function
	Table    = scan.Table
	Memory   = scan.Memory
	Global   = scan.Global
)

// Why a module is not taken. Every *Error wraps exactly one of them.
var (
	ErrMalformed   = scan.ErrMalformed
	ErrUnsupported = scan.ErrUnsupported
	ErrLimit       = scan.ErrLimit
)

// Report tells what is in the module, without what Rewrite added.
type Report struct {
	scan.Report
	State []string // the names under which the module's own globals that can change are exported: what a reset puts back
}

// Rewrite checks module and returns it metered. The same module and options give the same bytes everywhere. An error is
// an *Error that wraps ErrMalformed, ErrUnsupported or ErrLimit; then nothing of the module may be used. module is only
// read, and nothing returned aliases it.
func Rewrite(module []byte, o Options) ([]byte, Report, error) {
	m := newModule(module, o)
	if err := m.read(); err != nil {
		return nil, Report{}, err
	}
	return m.encode(), m.report, nil
}
