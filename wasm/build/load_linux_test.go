package build_test

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

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

// BenchmarkCached is how long a metered module of 20 KB takes from its sealed entry to its first instance.
func BenchmarkCached(b *testing.B) {
	module := bodies(b)
	c := open(b, nil)
	if _, err := c.Compile(b.Context(), job(module)); err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		r := wazero.NewRuntimeWithConfig(b.Context(), build.Config(pages).WithCompilationCache(c.Cache()))
		m, a, err := c.Load(b.Context(), r, job(module))
		if err != nil || !a.Cached {
			b.Fatal(err)
		}
		if _, err := r.InstantiateModule(b.Context(), m, wazero.NewModuleConfig().WithName("")); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
		b.StopTimer()
		if err := errors.Join(m.Close(b.Context()), r.Close(b.Context())); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
}

// bodies is a module of 20 KB in functions of some size, much like a compiler's.
func bodies(tb testing.TB) []byte {
	tb.Helper()
	m := module(40, 8, each(20, func(i int) []byte {
		return cat(loop(get(1+i%8), get(0), []byte{0x6a}, set(1+(i*3)%8), get(0), brIf), number(8), get(1+i%8), []byte{0x36, 2, 0})
	}))
	if len(m) < 16<<10 || len(m) > 24<<10 {
		tb.Fatalf("%d bytes", len(m))
	}
	return m
}

// TestTheInterpretersMemoryIsEstimated from above, and not far above for what is costly.
func TestTheInterpretersMemoryIsEstimated(t *testing.T) {
	for name, m := range map[string][]byte{
		"locals": module(200, 998, cat(get(1), set(2))),
		"code":   module(4, 2, times(8000, cat(number(1), set(1)))),
		"loops":  bodies(t),
	} {
		r := wazero.NewRuntimeWithConfig(t.Context(), build.Interpreter(pages))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := r.CompileModule(t.Context(), m)
		runtime.ReadMemStats(&after)
		r.Close(t.Context())
		estimate, known := build.Interpreted(m)
		if err != nil || known != nil {
			t.Fatal(name, err, known)
		}
		if took := int64(after.TotalAlloc - before.TotalAlloc); took > estimate+1<<20 || name == "locals" && estimate > 4*took {
			t.Errorf("%s: %d bytes taken, %d estimated", name, took, estimate)
		}
	}
	for _, cut := range []int{0, 7, 20, 100} {
		if _, err := build.Interpreted(module(4, 2, times(100, set(1)))[:cut]); err == nil {
			t.Errorf("cut at %d: an estimate", cut)
		}
	}
}
