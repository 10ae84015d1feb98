package wasm_test

import (
	"bytes"
	"io"
	"math"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/gatewright/gatewright/bench/wasm"
	"github.com/gatewright/gatewright/wasm/build"
)

// TestMain lets the test binary be the compiler's child.
func TestMain(m *testing.M) {
	build.Hook()
	os.Exit(m.Run())
}

func run(t *testing.T, rounds int, d time.Duration) *wasm.Report {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, err := wasm.Run(t.Context(), wasm.Options{Self: []string{self}, Rounds: rounds, Time: d, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFiltersAreMeasuredAndEndWithTheirLine(t *testing.T) {
	r := run(t, 1, 200*time.Microsecond)
	var out bytes.Buffer
	if err := r.Write(&out); err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(out.Bytes()), []byte("\n"))
	want := `^wasm noop_us=\d+\.\d{3} noop_vs_close=\d+\.\d{3} loop_vs_native=\d+\.\d\d reset_us_256k=\d+\.\d\d reset_us_4m=\d+\.\d\d meter_loop=\d+\.\d\d meter_calls=\d+\.\d\d cached_ms=\d+\.\d{3} sha256_us=\d+\.\d\d$`
	if last := lines[len(lines)-1]; !regexp.MustCompile(want).Match(last) {
		t.Errorf("last line %q", last)
	}
	for _, v := range []float64{r.Noop, r.VsClose, r.VsNative, r.Reset256K, r.Reset4M, r.Loop, r.Calls, r.CachedMS, r.SHA256} {
		if v <= 0 || math.IsNaN(v) || math.IsInf(v, 0) {
			t.Errorf("a figure is %v: %+v", v, r)
		}
	}
	for name, s := range r.Rounds[0].Samples {
		if s.Work <= 0 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestWithoutRoundsNothingIsMeasured(t *testing.T) {
	if _, err := wasm.Run(t.Context(), wasm.Options{Time: time.Second, Log: io.Discard}); err == nil {
		t.Error("no rounds")
	}
}
