// Package gw is the host's side of our own ABI, version 1: what a filter exports, and how it is asked. README.md of package wasm
// is what authors of filters read.
package gw

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/gatewright/gatewright/wasm/abi"
	"github.com/gatewright/gatewright/wasm/meter"
	"github.com/gatewright/gatewright/wasm/wasi"
)

// Marker is the export that says that a module speaks this ABI.
const Marker = "gw_abi_1"

// The other exports of a filter.
const (
	exportFlat     = "gw_abi_1b"
	exportLeaves   = "gw_abi_1b_leaves"
	exportAlloc    = "gw_alloc"
	exportInit     = "gw_init"
	exportDecide   = "gw_decide"
	exportResponse = "gw_on_response"
	exportChunk    = "gw_on_chunk"
)

// Dialect is the ABI with one form of the context, for package wasm. A module that takes the flat form says so by gw_abi_1b, and
// may say gw_abi_1 beside it; one that wants the leaves of the body as well says so by gw_abi_1b_leaves.
type Dialect struct {
	Form abi.Form
	// Start is the export under which the module's start function can be called, if it has one.
	Start string
}

// Sized is what the context of a call has to be: it knows how many bytes Dialect.Size counted.
type Sized interface{ Size() int }

// Name is "gw" or "gw-flat".
func (d Dialect) Name() string {
	if d.Form == abi.FormJSON {
		return "gw"
	}
	return "gw-flat"
}

// markers are what a module exports to say which form it takes.
var markers = map[abi.Form][]string{
	abi.FormJSON: {Marker}, abi.FormFlat: {exportFlat}, abi.FormLeaves: {exportFlat, exportLeaves},
}

// Speaks looks for the exports that name the form.
func (d Dialect) Speaks(m wazero.CompiledModule) bool {
	exported := m.ExportedFunctions()
	for _, name := range markers[d.Form] {
		if _, ok := exported[name]; !ok {
			return false
		}
	}
	return true
}

// Size is that of the context in the form the module takes.
func (d Dialect) Size(c *abi.Context) int { return c.Size(d.Form) }

// Host defines gw.log.
func (d Dialect) Host(ctx context.Context, engine wazero.Runtime) error {
	const i32 = api.ValueTypeI32
	_, err := engine.NewHostModuleBuilder("gw").NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(log), []api.ValueType{i32, i32, i32}, nil).Export("log").Instantiate(ctx)
	return err
}

// signature is a function's type.
type signature struct{ params, results []api.ValueType }

// judges is the type of the functions that judge.
var judges = signature{[]api.ValueType{api.ValueTypeI32, api.ValueTypeI32}, []api.ValueType{api.ValueTypeI64}}

// functions are what a filter exports; those marked optional may be missing.
var functions = []struct {
	name     string
	optional bool
	signature
}{
	{Marker, true, signature{}},
	{exportFlat, true, signature{}},
	{exportLeaves, true, signature{}},
	{exportAlloc, false, signature{[]api.ValueType{api.ValueTypeI32}, []api.ValueType{api.ValueTypeI32}}},
	{exportDecide, false, judges},
	{exportInit, true, signature{judges.params, []api.ValueType{api.ValueTypeI32}}},
	{exportResponse, true, judges},
	{exportChunk, true, signature{[]api.ValueType{api.ValueTypeI32, api.ValueTypeI32, api.ValueTypeI32}, judges.results}},
	{wasi.Initialize, true, signature{}},
}

// log is gw.log(level, pointer, length).
func log(ctx context.Context, module api.Module, stack []uint64) {
	text, ok := module.Memory().Read(uint32(stack[1]), uint32(stack[2]))
	if !ok {
		panic(abi.ErrPointer)
	}
	abi.HostOf(ctx).Log(int32(stack[0]), text)
}

// Check holds the module to functions, and to importing nothing but gw.log and what package wasi gives.
func (d Dialect) Check(m wazero.CompiledModule) (abi.Phases, error) {
	for _, d := range m.ImportedFunctions() {
		module, name, _ := d.Import()
		if !(module == "gw" && name == "log" || module == meter.ImportModule && name == meter.ImportName || module == wasi.Module && wasi.Gives(d)) {
			return 0, fmt.Errorf("it imports %.80q from %.80q; a filter may import nothing but log from gw, and what Go's runtime needs of WASI", name, module)
		}
	}
	if _, ok := m.ExportedMemories()["memory"]; !ok {
		return 0, errors.New("it does not export its memory")
	}
	exported := m.ExportedFunctions()
	for _, want := range functions {
		have, ok := exported[want.name]
		switch {
		case !ok && !want.optional:
			return 0, fmt.Errorf("it does not export %s", want.name)
		case ok && !(slices.Equal(have.ParamTypes(), want.params) && slices.Equal(have.ResultTypes(), want.results)):
			return 0, fmt.Errorf("its %s has another signature than the ABI's", want.name)
		}
	}
	if _, ok := exported[d.Start]; ok {
		return 0, errors.New("it has a start function; export what it does as gw_init")
	}
	phases := abi.Phases(0).Set(abi.Request)
	if _, ok := exported[exportResponse]; ok {
		phases = phases.Set(abi.Response)
	}
	if _, ok := exported[exportChunk]; ok {
		phases = phases.Set(abi.Chunk)
	}
	return phases, nil
}

// Bind finds the functions that Check has looked at.
func (d Dialect) Bind(m api.Module, l abi.Limits) (abi.Guest, error) {
	return &guest{
		form: d.Form, limits: l, memory: m.Memory(), alloc: m.ExportedFunction(exportAlloc), setup: m.ExportedFunction(exportInit),
		start: m.ExportedFunction(wasi.Initialize),
		judges: [...]api.Function{
			abi.Request: m.ExportedFunction(exportDecide), abi.Response: m.ExportedFunction(exportResponse),
			abi.Chunk: m.ExportedFunction(exportChunk),
		},
	}, nil
}

// guest is an instance that speaks our own ABI.
type guest struct {
	form   abi.Form
	limits abi.Limits
	memory api.Memory
	alloc  api.Function
	start  api.Function    // starts the module's runtime; nil when it has none
	setup  api.Function    // nil when the module has none
	judges [3]api.Function // by phase, nil where the module has none
	stack  [3]uint64
	ahead  uint32 // where there is room for roomAhead bytes in the image already; 0 when there is none
}

// roomAhead is how many bytes are asked for before the image is taken: calls that need no more do not ask.
const roomAhead = 4096

// Ahead asks for room for the calls to come.
func (g *guest) Ahead(ctx context.Context) (uint64, error) {
	at, _, err := g.room(ctx, roomAhead)
	if err != nil {
		return 0, err
	}
	g.ahead = at
	return uint64(at), nil
}

// Told takes over what another instance's Ahead returned.
func (g *guest) Told(at uint64) { g.ahead = uint32(at) }

// place is where a call is written: where room was made ahead, or else where the guest says now.
func (g *guest) place(ctx context.Context, size int) (at uint32, room []byte, err error) {
	if g.ahead != 0 && size <= roomAhead {
		if room, ok := g.memory.Read(g.ahead, uint32(size)); ok {
			return g.ahead, room, nil
		}
	}
	return g.room(ctx, size)
}

// room asks the guest for memory and returns it. It stays the guest's, who may do as it likes with it once it is called again.
func (g *guest) room(ctx context.Context, size int) (at uint32, room []byte, err error) {
	g.stack[0] = uint64(size)
	if err := g.alloc.CallWithStack(ctx, g.stack[:]); err != nil {
		return 0, nil, err
	}
	if at = uint32(g.stack[0]); at == 0 {
		return 0, nil, abi.ErrNoRoom
	}
	room, ok := g.memory.Read(at, uint32(size))
	if !ok {
		return 0, nil, abi.ErrPointer
	}
	return at, room, nil
}

// Judge writes the context into the guest's memory, asks, and reads the verdict there.
func (g *guest) Judge(ctx context.Context, c *abi.Context, v *abi.Verdict) error {
	size := ctx.(Sized).Size()
	at, room, err := g.place(ctx, size)
	if err != nil {
		return err
	}
	c.Put(g.form, room)
	g.stack[0], g.stack[1], g.stack[2] = uint64(at), uint64(size), uint64(c.Flags)
	if err := g.judges[c.Phase].CallWithStack(ctx, g.stack[:]); err != nil {
		return err
	}
	memory, _ := g.memory.Read(0, g.memory.Size())
	return v.Read(memory, uint32(g.stack[0]>>32), uint32(g.stack[0]), c.Phase, g.limits)
}

// Init starts the module's runtime and runs gw_init, where it has them.
func (g *guest) Init(ctx context.Context, config []byte) error {
	if g.start != nil {
		if err := g.start.CallWithStack(ctx, g.stack[:]); err != nil {
			return err
		}
	}
	if g.setup == nil {
		return nil
	}
	var at uint32
	if len(config) > 0 {
		var room []byte
		var err error
		if at, room, err = g.room(ctx, len(config)); err != nil {
			return err
		}
		copy(room, config)
	}
	g.stack[0], g.stack[1] = uint64(at), uint64(len(config))
	if err := g.setup.CallWithStack(ctx, g.stack[:]); err != nil {
		return err
	}
	if code := int32(g.stack[0]); code != 0 {
		return fmt.Errorf("%w: gw_init returned %d", abi.ErrInit, code)
	}
	return nil
}
