// Package wasi gives filters the few functions of WASI preview 1 that runtimes such as Go's ask for before they run anything,
// and gives them nothing by it: the clock shows the time of the context and goes on only by what the guest sleeps, which takes
// no time; random numbers begin with the same seed in each call; there are no arguments, no environment and no files; what is
// written to standard output and error goes to the filter's log. So a filter with a runtime decides like one without: the same
// input always gets the same verdict.
//
// Every pointer is checked: one that does not lie in the guest's memory ends the call with abi.ErrPointer. All work is bounded
// and charged for before it is done.
//
// The functions and their types are those of https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md.
package wasi

import (
	"context"
	"errors"
	"slices"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/gatewright/gatewright/wasm/abi"
)

// Module is the name of the module that filters import the functions from.
const Module = "wasi_snapshot_preview1"

// Initialize is the export that starts the runtime of a reactor: the host calls it once, under fuel, before all else.
const Initialize = "_initialize"

// ErrExit ends a call in which the guest called proc_exit: it gave up.
var ErrExit = errors.New("it called proc_exit; hint: what it wrote before that is in the filter's log")

// errno is what a function returns; 0 is success.
type errno uint32

// The errnos that are used here, as the specification numbers them.
const (
	success errno = 0
	badf    errno = 8  // no such file descriptor
	inval   errno = 28 // invalid argument
)

// price is what each call costs, in units of fuel, beside what its work does.
const price = 100

// function is one of the functions. It returns through errno, and stops the guest by a panic.
type function struct {
	name   string
	params []api.ValueType
	run    func(g *guest, a []uint64) errno
}

// guest is who calls, and what is remembered of its call.
type guest struct {
	host   abi.Host
	memory api.Memory
	*state
}

// state is what the functions remember until a call is over.
type state struct {
	slept  uint64     // nanoseconds
	random uint64     // state of the generator
	lines  [2]partial // of standard output and error
}

const (
	i32 = api.ValueTypeI32
	i64 = api.ValueTypeI64
)

var (
	one   = []api.ValueType{i32}
	two   = []api.ValueType{i32, i32}
	three = []api.ValueType{i32, i32, i32}
	four  = []api.ValueType{i32, i32, i32, i32}
)

// functions are those that Go's runtime and package os import, and no more.
var functions = []function{
	{"args_get", two, nothing},
	{"args_sizes_get", two, none},
	{"clock_time_get", []api.ValueType{i32, i64, i32}, clockTime},
	{"environ_get", two, nothing},
	{"environ_sizes_get", two, none},
	{"fd_close", one, noFile},
	{"fd_fdstat_get", two, noFile},
	{"fd_fdstat_set_flags", two, noFile},
	{"fd_prestat_dir_name", three, noFile},
	{"fd_prestat_get", two, noFile},
	{"fd_read", four, noFile},
	{"fd_write", four, write},
	{"poll_oneoff", four, poll},
	{"proc_exit", one, exit},
	{"random_get", two, random},
	{"sched_yield", nil, nothing},
}

// Imports reports whether the module imports anything from Module.
func Imports(m wazero.CompiledModule) bool {
	for _, d := range m.ImportedFunctions() {
		if module, _, _ := d.Import(); module == Module {
			return true
		}
	}
	return false
}

// Gives reports whether an import from Module is one of the functions, by name and type.
func Gives(d api.FunctionDefinition) bool {
	_, name, _ := d.Import()
	i := slices.IndexFunc(functions, func(f function) bool { return f.name == name })
	return i >= 0 && slices.Equal(functions[i].params, d.ParamTypes()) && slices.Equal(functions[i].results(), d.ResultTypes())
}

// Define defines Module in an engine. Its functions find what is being judged by abi.HostOf.
func Define(ctx context.Context, engine wazero.Runtime) error {
	b := engine.NewHostModuleBuilder(Module)
	for _, f := range functions {
		b = b.NewFunctionBuilder().WithGoModuleFunction(f.host(), f.params, f.results()).Export(f.name)
	}
	_, err := b.Instantiate(ctx)
	return err
}

// results are an errno, except of what never returns.
func (f function) results() []api.ValueType {
	if f.name == "proc_exit" {
		return nil
	}
	return one
}

// host is the function as the engine calls it.
func (f function) host() api.GoModuleFunc {
	return func(ctx context.Context, m api.Module, stack []uint64) {
		h := abi.HostOf(ctx)
		h.Charge(price)
		local := h.Local(abi.SetWASI)
		s, ok := (*local).(*state)
		if !ok {
			s = &state{random: seed}
			*local = s
		}
		stack[0] = uint64(f.run(&guest{h, m.Memory(), s}, stack))
	}
}

// bytes returns the guest's memory from at on, size bytes of it.
func (g *guest) bytes(at, size uint64) []byte {
	if g.memory != nil && at <= 1<<32-1 && size <= 1<<32-1 {
		if b, ok := g.memory.Read(uint32(at), uint32(size)); ok {
			return b
		}
	}
	panic(abi.ErrPointer)
}

// nothing succeeds: there is nothing to do.
func nothing(*guest, []uint64) errno { return success }

// none writes that there are 0 arguments, or variables, of 0 bytes.
func none(g *guest, a []uint64) errno {
	count, size := g.bytes(low(a[0]), 4), g.bytes(low(a[1]), 4)
	clear(count)
	clear(size)
	return success
}

// noFile says that there is no such file.
func noFile(*guest, []uint64) errno { return badf }

// exit ends the call.
func exit(g *guest, _ []uint64) errno {
	for i := range g.lines {
		g.flush(i)
	}
	panic(ErrExit)
}

// low is what an argument of 32 bits says; what stands above it means nothing.
func low(v uint64) uint64 { return v & (1<<32 - 1) }
