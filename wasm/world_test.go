package wasm_test

import (
	"context"
	"errors"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
	"github.com/gatewright/gatewright/wasm/build"
)

func TestMain(m *testing.M) {
	build.Hook() // the tests' own program compiles for them
	goleak.VerifyTestMain(m)
}

// newRuntime returns a runtime that the test closes.
func newRuntime(tb testing.TB, change func(*wasm.Config)) *wasm.Runtime {
	tb.Helper()
	c := wasm.DefaultConfig()
	if change != nil {
		change(&c)
	}
	r, err := wasm.New(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return r
}

// load loads a module into a runtime of its own.
func load(tb testing.TB, m asm, change func(*wasm.Config)) *wasm.Filter {
	tb.Helper()
	f, err := newRuntime(tb, change).Load(tb.Context(), "test", m.bytes(), nil)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// decide asks a filter and returns the kind of trap, empty when there was none.
func decide(tb testing.TB, f *wasm.Filter, input string) (wasm.Verdict, string) {
	tb.Helper()
	var v wasm.Verdict
	err := f.Decide(tb.Context(), &abi.Context{Body: []byte(input)}, &v)
	return v, kindOf(tb, err, v)
}

func kindOf(tb testing.TB, err error, v wasm.Verdict) string {
	tb.Helper()
	if err == nil {
		if v.Kind == 0 {
			tb.Error("no verdict and no error")
		}
		return ""
	}
	var t *wasm.Trap
	if !errors.As(err, &t) {
		tb.Fatalf("%v is no trap", err)
	}
	if v.Kind != 0 || v.Reason != "" || v.Message != "" || len(v.Labels) != 0 || len(v.Body) != 0 {
		tb.Errorf("a verdict beside the trap: %+v", v)
	}
	return t.Kind
}

// cpu reports the CPU time of the process per operation: on a busy machine wall time says little.
func cpu(b *testing.B) func() {
	b.Helper()
	b.ReportAllocs()
	start := cpuNow()
	return func() { b.ReportMetric(float64(cpuNow()-start)/float64(b.N), "cpu-ns/op") }
}

func cpuNow() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // zero on failure shows in the figures
	return u.Utime.Nano() + u.Stime.Nano()
}
