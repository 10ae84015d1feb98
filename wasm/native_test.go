package wasm_test

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
	"github.com/gatewright/gatewright/wasm/build"
)

// compiler returns a compiler over a folder, and what makes a runtime use it.
func compiler(tb testing.TB, dir string, b build.Bounds) (*build.Compiler, func(*wasm.Config)) {
	tb.Helper()
	if runtime.GOOS != "linux" {
		tb.Skip("uploads are compiled on Linux only")
	}
	c, err := build.New(build.Options{Dir: dir, Key: bytes.Repeat([]byte{1}, 32), Small: b})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c, func(conf *wasm.Config) { conf.Compiler = c }
}

// whole is a filter of 24 KB that C was compiled to.
func whole(tb testing.TB) []byte {
	tb.Helper()
	b, err := os.ReadFile("filters/redact-secrets.wasm")
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// loaded loads a module and gives back what it says of an input.
func loaded(tb testing.TB, load func() (*wasm.Filter, error)) wasm.Verdict {
	tb.Helper()
	f, err := load()
	if err != nil {
		tb.Fatal(err)
	}
	var v wasm.Verdict
	err = f.Decide(tb.Context(), &abi.Context{Body: []byte(`{"note":"AKIAIOSFODNN7EXAMPLE","n":[1,2,{"password":"hunter2"}]}`)}, &v)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// TestEveryWayToLoadAFilterComesToTheSame: compiled here, compiled in a child, from its cache, and interpreted, a filter says
// the same and spends the same.
func TestEveryWayToLoadAFilterComesToTheSame(t *testing.T) {
	dir := t.TempDir()
	first, child := compiler(t, dir, build.Bounds{})
	second, again := compiler(t, dir, build.Bounds{})
	here, there, cached := newRuntime(t, nil), newRuntime(t, child), newRuntime(t, again)
	want := loaded(t, func() (*wasm.Filter, error) { return here.Load(t.Context(), "f", whole(t), nil) })
	if want.Kind != wasm.Rewrite || want.Fuel == 0 || bytes.Contains(want.Body, []byte("AKIA")) {
		t.Fatalf("%+v", want)
	}
	for name, load := range map[string]func() (*wasm.Filter, error){
		"in a child": func() (*wasm.Filter, error) { return there.Load(t.Context(), "f", whole(t), nil) },
		"from a tenant": func() (*wasm.Filter, error) {
			return there.Tenant("org_1", wasm.Quota{}).Load(t.Context(), "f", whole(t), nil)
		},
		"interpreted": func() (*wasm.Filter, error) { return there.LoadInterpreted(t.Context(), "f", whole(t), nil) },
	} {
		if got := loaded(t, load); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	got := loaded(t, func() (*wasm.Filter, error) { return cached.Load(t.Context(), "f", whole(t), nil) })
	if !reflect.DeepEqual(got, want) {
		t.Errorf("from the cache: %+v, want %+v", got, want)
	}
	if a, b := first.Stats(), second.Stats(); a.Compiled != 1 || b.Compiled != 0 || b.Hits != 1 {
		t.Errorf("%+v, then %+v", a, b)
	}
}

// TestAnInterpretedFilterStopsToo: fuel bounds it as it bounds compiled code.
func TestAnInterpretedFilterStopsToo(t *testing.T) {
	r := newRuntime(t, nil)
	f, err := r.LoadInterpreted(t.Context(), "f", filterOf(cat(spin, never)...).bytes(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, kind := decide(t, f, `{}`); kind != wasm.TrapFuel {
		t.Errorf("got %q", kind)
	}
}

// TestWhatTheInterpreterWouldChokeOnIsRefused: compiled it is harmless.
func TestWhatTheInterpreterWouldChokeOnIsRefused(t *testing.T) {
	a := says(pass)
	for range 3000 {
		a.fns = append(a.fns, fn{locals: 900})
	}
	r := newRuntime(t, nil)
	if _, err := r.Load(t.Context(), "f", a.bytes(), nil); err != nil {
		t.Error(err)
	}
	if _, err := r.LoadInterpreted(t.Context(), "f", a.bytes(), nil); err == nil || !strings.Contains(err.Error(), "fewer locals") {
		t.Errorf("got %v", err)
	}
}

// TestAnUploadThatCannotBeCompiledIsAnError with the bound and what to do about it.
func TestAnUploadThatCannotBeCompiledIsAnError(t *testing.T) {
	c, child := compiler(t, t.TempDir(), build.Bounds{Code: 1000})
	_, err := newRuntime(t, child).Load(t.Context(), "f", whole(t), nil)
	var e *build.Error
	if !errors.As(err, &e) || e.Bound != build.Code || e.Hint == "" || c.Stats().Failed != 1 {
		t.Errorf("got %v", err)
	}
}

// BenchmarkCachedFilter is how long a module of 24 KB takes from the sealed cache to its first instance, scanned and metered
// anew before. The engine has forgotten the filter each time, since nobody else uses it.
func BenchmarkCachedFilter(b *testing.B) {
	c, child := compiler(b, b.TempDir(), build.Bounds{})
	r := newRuntime(b, child)
	module := whole(b)
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		f, err := r.Load(b.Context(), "f", module, nil)
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
		b.StopTimer()
		if err := f.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	if s := c.Stats(); s.Compiled != 1 || int(s.Hits) != len(took)-1 {
		b.Fatalf("%+v of %d", s, len(took))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
}
