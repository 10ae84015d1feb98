package meter_test

import (
	"context"
	"errors"
	"math"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"golang.org/x/sys/unix"

	"github.com/gatewright/gatewright/wasm/meter"
)

// timed ends a test that holds CPU times against bounds, unless they are asked for: they say something of the code on a
// quiet machine only, and nothing under the race detector. conformance/hostile measures what a unit costs at any time.
func timed(t *testing.T) {
	t.Helper()
	if os.Getenv("GATEWRIGHT_TIMES") == "" {
		t.Skip("times are held against bounds with GATEWRIGHT_TIMES=1, on a quiet machine")
	}
}

// threadTime is the CPU time of this thread.
func threadTime(t testing.TB) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

// unitCost runs a shape until total units are gone and returns the CPU time of one.
func unitCost(t testing.TB, r wazero.Runtime, s shape, total int64) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b := fuel(t, total, 20_000)
	m := instance(t, r, b, s.module.bytes(), meter.Options{})
	defer m.Close(context.Background())
	if s.setup != nil {
		s.setup(m)
	}
	start := threadTime(t)
	_, err := m.ExportedFunction("run").Call(b, s.arg)
	cost := threadTime(t) - start
	if s.ends {
		total = used(b, m, total)
	} else if !errors.Is(err, errFuel) {
		t.Fatalf("%s: %v", s.name, err)
	}
	return time.Duration(float64(cost) / float64(total) * 1000) // ps
}

func TestAUnitOfFuelIsNeverDear(t *testing.T) {
	timed(t)
	const most, total = 15 * time.Microsecond, 2_000_000
	r := shapeRuntime(t)
	for _, s := range shapes() {
		t.Run(s.name, func(t *testing.T) {
			cost, total := time.Duration(math.MaxInt64), int64(total)
			if s.ends {
				total *= 100
			}
			for range 3 {
				cost = min(cost, unitCost(t, r, s, total))
			}
			t.Logf("%5d ps a unit", cost)
			if cost > most {
				t.Errorf("a unit costs %d ps, want at most %d", cost, most)
			}
		})
	}
}
