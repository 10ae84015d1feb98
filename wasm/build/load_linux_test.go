package build_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/gatewright/gatewright/wasm/build"
)

func runtimeOf(t *testing.T, c *build.Compiler) wazero.Runtime {
	t.Helper()
	r := wazero.NewRuntimeWithConfig(t.Context(), build.Config(pages).WithCompilationCache(c.Cache()))
	t.Cleanup(func() { r.Close(t.Context()) })
	return r
}

// adder is a module whose "run" puts its argument into memory at 8.
func adder() []byte {
	return module(1, 0, cat(number(8), get(0), []byte{0x36, 2, 0}))
}

// TestLoadedCodeRuns, made just now as well as from the cache.
func TestLoadedCodeRuns(t *testing.T) {
	dir := t.TempDir()
	for _, cached := range []bool{false, true} {
		c := open(t, func(o *build.Options) { o.Dir = dir })
		r := runtimeOf(t, c)
		m, a, err := c.Load(t.Context(), r, job(adder()))
		if err != nil || a.Cached != cached {
			t.Fatalf("cached %v, %v", a.Cached, err)
		}
		in, err := r.InstantiateModule(t.Context(), m, wazero.NewModuleConfig().WithName(""))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := in.ExportedFunction("run").Call(t.Context(), 4711); err != nil {
			t.Fatal(err)
		}
		if v, ok := in.ExportedMemory("memory"), false; v != nil || ok {
			t.Error("the module exports no memory")
		}
		if v, _ := in.Memory().ReadUint32Le(8); v != 4711 {
			t.Errorf("it left %d", v)
		}
	}
}

// TestTheGatewayItselfNeverCompiles: asked without code, with another module's code, or with another runtime's, the engine
// returns an error. This is what a change of the engine's inside would break first.
func TestTheGatewayItselfNeverCompiles(t *testing.T) {
	c := open(t, nil)
	r := runtimeOf(t, c)
	if _, err := r.CompileModule(t.Context(), small(1)); err == nil || !strings.Contains(err.Error(), "not made for it") {
		t.Errorf("without code: %v", err)
	}
	a, err := c.Compile(t.Context(), job(small(1)))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Foreign(t.Context(), r, small(2), a); err == nil || !strings.Contains(err.Error(), "not made for it") {
		t.Errorf("with another's code: %v", err)
	}
	if err := c.Foreign(t.Context(), r, small(1), build.Artifact{}); err == nil {
		t.Error("with no code at all")
	}
	if err := c.Foreign(t.Context(), r, small(1), a); err != nil {
		t.Errorf("with its own: %v", err)
	}
}

// TestWhatTheEngineRefuses comes back in words, without bytes of the module.
func TestWhatTheEngineRefuses(t *testing.T) {
	c := open(t, nil)
	for name, m := range map[string][]byte{
		"nothing": nil, "no module": []byte("#!/bin/sh"), "a bad body": module(1, 0, []byte{0x1a}), "cut": small(1)[:30],
	} {
		_, err := c.Compile(t.Context(), job(m))
		if !bound(err, build.Engine) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOneModuleIsCompiledOnce, however many ask at once.
func TestOneModuleIsCompiledOnce(t *testing.T) {
	c := open(t, nil)
	r := runtimeOf(t, c)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, _, err := c.Load(t.Context(), r, job(module(2000, 2, cat(number(1), set(1))))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s := c.Stats(); s.Compiled != 1 || s.Failed+s.Busy != 0 {
		t.Errorf("%+v", s)
	}
}
