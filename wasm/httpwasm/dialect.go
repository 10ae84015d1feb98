package httpwasm

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

// The exports of a guest. Those that start it are called once, in this order, where it has them.
const (
	exportRequest  = "handle_request"
	exportResponse = "handle_response"
	exportReactor  = "_initialize"
	exportCommand  = "_start"
)

// Dialect is the http-wasm handler ABI for package wasm.
type Dialect struct {
	// Start is the export under which the module's start function can be called, if it has one.
	Start string
}

// Name is "http-wasm".
func (Dialect) Name() string { return "http-wasm" }

// Speaks looks for handle_request.
func (Dialect) Speaks(m wazero.CompiledModule) bool {
	return m.ExportedFunctions()[exportRequest] != nil
}

// Check holds the module to the ABI's two functions and to importing of http_handler only what it has.
func (d Dialect) Check(m wazero.CompiledModule) (abi.Phases, error) {
	if _, ok := m.ExportedMemories()["memory"]; !ok {
		return 0, errors.New("it does not export its memory: export it as \"memory\"")
	}
	i32, i64 := api.ValueTypeI32, api.ValueTypeI64
	for _, want := range []struct {
		name            string
		optional        bool
		params, results []api.ValueType
	}{
		{exportRequest, false, nil, []api.ValueType{i64}},
		{exportResponse, false, []api.ValueType{i32, i32}, nil},
		{exportReactor, true, nil, nil},
		{exportCommand, true, nil, nil},
	} {
		f := m.ExportedFunctions()[want.name]
		switch {
		case f == nil && !want.optional:
			return 0, fmt.Errorf("it does not export %s, which the http-wasm handler ABI asks for", want.name)
		case f != nil && !(slices.Equal(f.ParamTypes(), want.params) && slices.Equal(f.ResultTypes(), want.results)):
			return 0, fmt.Errorf("its %s has another signature than the http-wasm handler ABI's", want.name)
		}
	}
	have := Functions()
	for _, f := range m.ImportedFunctions() {
		module, name, _ := f.Import()
		known := func(h Function) bool {
			return h.Name == name && slices.Equal(f.ParamTypes(), h.Params) && slices.Equal(f.ResultTypes(), h.Results)
		}
		if !(module == Module && slices.ContainsFunc(have, known) || module == meter.ImportModule || module == wasi.Module && wasi.Gives(f)) {
			return 0, fmt.Errorf("it imports %.80q from %.80q, which nobody gives it with this signature: only %s and what Go imports of WASI are there",
				name, module, Module)
		}
	}
	return abi.Phases(0).Set(abi.Request).Set(abi.Response), nil
}

// Host defines the functions of http_handler.
func (Dialect) Host(ctx context.Context, engine wazero.Runtime) error {
	b := engine.NewHostModuleBuilder(Module)
	for _, f := range Functions() {
		run, setup := f.Run, f.Setup
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, m api.Module, stack []uint64) {
			host := abi.HostOf(ctx)
			x, ok := (*host.Local(abi.SetDialect)).(*Exchange)
			if !ok || x.starting && !setup {
				panic(refuse("there is no exchange while the guest is set up"))
			}
			units, err := run(x, m.Memory(), stack)
			host.Charge(units)
			if err != nil {
				panic(err)
			}
		}), f.Params, f.Results).Export(f.Name)
	}
	_, err := b.Instantiate(ctx)
	return err
}

// Size is that of the bodies; the rest of what a guest can read is bounded.
func (Dialect) Size(c *abi.Context) int {
	if s, ok := c.Raw.(*Shown); ok {
		return len(s.Exchange.Request.Body)
	}
	return len(c.Body) + len(c.Arguments)
}

// Bind finds the guest's functions.
func (d Dialect) Bind(m api.Module, l abi.Limits) (abi.Guest, error) {
	g := &guest{limits: l, request: m.ExportedFunction(exportRequest), response: m.ExportedFunction(exportResponse)}
	for _, name := range []string{d.Start, exportReactor, exportCommand} {
		if f := m.ExportedFunction(name); name != "" && f != nil {
			g.starts = append(g.starts, f)
		}
	}
	return g, nil
}
