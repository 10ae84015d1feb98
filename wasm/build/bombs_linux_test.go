package build_test

import (
	"errors"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/gatewright/gatewright/wasm/build"
)

// bombs are valid modules that take the compiler far more than their size. Package meter refuses most of them; here nothing
// does but the child's bounds.
func bombs() map[string][]byte {
	tables := func(n, labels int) []byte {
		one := cat(get(0), []byte{0x0e}, leb(labels), make([]byte, labels+1))
		return module(1, 0, times(n, ifElse(one, nil)))
	}
	branches := func(n, locals int) []byte {
		return module(1, locals, each(n, func(i int) []byte {
			return ifElse(cat(number(1), set(1+i%locals)), cat(get(1+(i*7)%locals), set(1+(i*3)%locals)))
		}))
	}
	loops := func(n, locals int) []byte {
		return module(1, locals, each(n, func(i int) []byte { return loop(get(1+i%locals), set(1+(i*3)%locals), get(0), brIf) }))
	}
	return map[string][]byte{
		"blocks, 100,000 deep":        module(1, 0, cat(times(100_000, []byte{0x02, noResult}), times(100_000, []byte{0x0b}))),
		"10,000 loops, 1,000 locals":  loops(10_000, 1000),
		"br_table, 2,000 of 1,000":    tables(2000, 1000),
		"50,000 ifs":                  branches(50_000, 2),
		"10,000 ifs, 1,000 locals":    branches(10_000, 1000),
		"50,000,000 locals":           module(1, 50_000_000, nil),
		"50,000,000 locals, 40 times": module(40, 50_000_000, cat(get(1), set(2))),
	}
}

// TestBombsCostTheirBoundsAndNoMore: each is an error that names one of the two, and takes no more than that. The bounds are
// smaller than the default ones, for the test's sake; with those the same happens later.
func TestBombsCostTheirBoundsAndNoMore(t *testing.T) {
	bounds := build.Bounds{CPU: time.Second, Memory: 256 << 20, Wall: time.Minute}
	dir := t.TempDir()
	c := open(t, func(o *build.Options) { o.Dir, o.Small = dir, bounds })
	for name, module := range bombs() {
		t.Run(name, func(t *testing.T) {
			_, err := beside(t, func() (build.Artifact, error) { return c.Compile(t.Context(), job(module)) })
			var e *build.Error
			if !errors.As(err, &e) || e.Bound != build.CPU && e.Bound != build.Memory || e.Hint == "" {
				t.Fatalf("%d bytes: got %v", len(module), err)
			}
			t.Logf("%d bytes: %v", len(module), err)
			if e.CPU > bounds.CPU+time.Second || e.Peak > bounds.Memory+256<<20 || e.CPU == 0 || e.Peak == 0 && e.Wall > 100*time.Millisecond { // memory is looked at now and then
				t.Errorf("it took %+v", e.Usage)
			}
		})
	}
	if left := entries(t, dir); len(left) != 0 {
		t.Errorf("the cache holds %q", left)
	}
}

// beside does f and fails when that took more of this process than feeding and watching a child takes.
func beside(t *testing.T, f func() (build.Artifact, error)) (build.Artifact, error) {
	t.Helper()
	var before, after runtime.MemStats
	var begun, ended syscall.Rusage
	runtime.ReadMemStats(&before)
	errs := syscall.Getrusage(syscall.RUSAGE_SELF, &begun)
	a, err := f()
	errs = errors.Join(errs, syscall.Getrusage(syscall.RUSAGE_SELF, &ended))
	runtime.ReadMemStats(&after)
	cpu := time.Duration(ended.Utime.Nano() + ended.Stime.Nano() - begun.Utime.Nano() - begun.Stime.Nano())
	if made := after.TotalAlloc - before.TotalAlloc; errs != nil || made > 4<<20 || cpu > 300*time.Millisecond {
		t.Errorf("beside the child: %d bytes, %v, %v", made, cpu, errs)
	}
	return a, err
}

// TestWhatIsOnlyLargeIsCompiled: what costs in proportion to its size stays within the bounds.
func TestWhatIsOnlyLargeIsCompiled(t *testing.T) {
	c := open(t, func(o *build.Options) {
		if testing.Short() { // as with the race detector, under which the compiler, which is this program, is ten times as slow
			o.Small = build.Bounds{CPU: time.Minute, Wall: 5 * time.Minute}
		}
	})
	for name, module := range map[string][]byte{
		"100,000 functions": module(100_000, 0, nil),
		"a straight line":   module(8, 2, times(30_000, cat(get(1), get(2), []byte{0x6a}, set(1)))),
	} {
		a, err := c.Compile(t.Context(), job(module))
		t.Logf("%s, %d bytes: %+v, %v", name, len(module), a.Usage, err)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
