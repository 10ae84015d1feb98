package opa

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/gatewright/gatewright/wasm/abi"
	"github.com/gatewright/gatewright/wasm/meter"
)

// Module is what policies import from.
const Module = "env"

// i32s are so many parameters or results of the only type that OPA's ABI has.
func i32s(n int) []api.ValueType { return slices.Repeat([]api.ValueType{api.ValueTypeI32}, n) }

// imports are all that a policy may import, with how many parameters they take; the built-ins give a result.
var imports = []struct {
	name            string
	params, results int
	run             func(ctx context.Context, m api.Memory, stack []uint64)
}{
	{"opa_abort", 1, 0, abort},
	{"opa_println", 1, 0, printLine},
	{"opa_builtin0", 2, 1, builtin(0)},
	{"opa_builtin1", 3, 1, builtin(1)},
	{"opa_builtin2", 4, 1, builtin(2)},
	{"opa_builtin3", 5, 1, builtin(3)},
	{"opa_builtin4", 6, 1, builtin(4)},
}

// The functions of a policy, with how many parameters they take. All but opa_heap_ptr_set and the setters of the evaluation's
// context give a result.
const (
	fnMalloc      = "opa_malloc"
	fnJSONParse   = "opa_json_parse"
	fnJSONDump    = "opa_json_dump"
	fnValueParse  = "opa_value_parse"
	fnValueDump   = "opa_value_dump"
	fnHeapGet     = "opa_heap_ptr_get"
	fnHeapSet     = "opa_heap_ptr_set"
	fnBuiltins    = "builtins"
	fnEntrypoints = "entrypoints"
	fnNew         = "opa_eval_ctx_new"
	fnSetInput    = "opa_eval_ctx_set_input"
	fnSetData     = "opa_eval_ctx_set_data"
	fnSetEntry    = "opa_eval_ctx_set_entrypoint"
	fnEval        = "eval"
	fnResult      = "opa_eval_ctx_get_result"
	fnOneShot     = "opa_eval"              // since ABI 1.2
	fnStash       = "opa_heap_blocks_stash" // since ABI 1.3
)

// exports are what a policy has to export, but for the last two.
var exports = []struct {
	name            string
	params, results int
}{
	{fnMalloc, 1, 1}, {fnJSONParse, 2, 1}, {fnJSONDump, 1, 1}, {fnValueParse, 2, 1}, {fnValueDump, 1, 1}, {fnHeapGet, 0, 1},
	{fnHeapSet, 1, 0}, {fnBuiltins, 0, 1}, {fnEntrypoints, 0, 1}, {fnNew, 0, 1}, {fnSetInput, 2, 0}, {fnSetData, 2, 0},
	{fnSetEntry, 2, 0}, {fnEval, 1, 1}, {fnResult, 1, 1}, {fnOneShot, 7, 1}, {fnStash, 0, 0},
}

// required is how many of exports every version has.
const required = 15

// Dialect is OPA's ABI, versions 1.0 to 1.3 and later ones that add to them, for package wasm.
type Dialect struct {
	// Start is the export under which the module's start function can be called, if it has one.
	Start string
}

// Name is "opa".
func (Dialect) Name() string { return "opa" }

// Speaks looks for the functions that every policy has.
func (Dialect) Speaks(m wazero.CompiledModule) bool {
	f := m.ExportedFunctions()
	return f[fnEval] != nil && f[fnBuiltins] != nil && f[fnEntrypoints] != nil
}

// Check holds the module to exports and imports. Which phases it judges is only known once it has said its entrypoints: those
// it has none for pass.
func (d Dialect) Check(m wazero.CompiledModule) (abi.Phases, error) {
	for _, f := range m.ImportedFunctions() {
		if module, name, _ := f.Import(); module != meter.ImportModule && (module != Module || !known(name, f)) {
			return 0, fmt.Errorf("it imports %.80q from %.80q, which OPA's ABI does not have with this signature: build it with opa build -t wasm", name, module)
		}
	}
	if len(m.ExportedMemories()) == 0 {
		return 0, errors.New("it exports no memory: build it with OPA 0.27 or later")
	}
	have := m.ExportedFunctions()
	for i, want := range exports {
		f, ok := have[want.name]
		switch {
		case !ok && i < required:
			return 0, fmt.Errorf("it does not export %s: build it with opa build -t wasm", want.name)
		case ok && !(slices.Equal(f.ParamTypes(), i32s(want.params)) && slices.Equal(f.ResultTypes(), i32s(want.results))):
			return 0, fmt.Errorf("its %s has another signature than OPA's ABI: build it with opa build -t wasm", want.name)
		}
	}
	return abi.Phases(0).Set(abi.Request).Set(abi.Response), nil
}

func known(name string, f api.FunctionDefinition) bool {
	for _, i := range imports {
		if i.name == name {
			return slices.Equal(f.ParamTypes(), i32s(i.params)) && slices.Equal(f.ResultTypes(), i32s(i.results))
		}
	}
	return false
}

// Host defines the functions of imports.
func (Dialect) Host(ctx context.Context, engine wazero.Runtime) error {
	b := engine.NewHostModuleBuilder(Module)
	for _, i := range imports {
		run := i.run
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, m api.Module, stack []uint64) {
			run(ctx, m.Memory(), stack)
		}), i32s(i.params), i32s(i.results)).Export(i.name)
	}
	_, err := b.Instantiate(ctx)
	return err
}

// Size is that of the input document.
func (Dialect) Size(c *abi.Context) int { return c.Size(abi.FormJSON) }

// Bind finds the policy's functions and refuses a version of the ABI that is not 1.
func (d Dialect) Bind(m api.Module, l abi.Limits) (abi.Guest, error) {
	if v := m.ExportedGlobal("opa_wasm_abi_version"); v == nil || uint32(v.Get()) != 1 {
		return nil, errors.New("it does not say that its ABI is version 1: build it with OPA 0.27 or later")
	}
	g := &guest{module: m, memory: m.Memory(), limits: l, calls: make(map[string]api.Function, len(exports))}
	for _, e := range exports {
		if f := m.ExportedFunction(e.name); f != nil {
			g.calls[e.name] = f
		}
	}
	if d.Start != "" {
		g.start = m.ExportedFunction(d.Start)
	}
	return g, nil
}
