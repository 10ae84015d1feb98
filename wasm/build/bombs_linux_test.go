package build_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gatewright/gatewright/wasm/build"
)

// bomb is a valid module that takes the compiler far more than its size, and the bounds that may stop it.
type bomb struct {
	name   string
	module []byte
	bounds []build.Bound
}

// bombs are what package meter refuses, most of it; here nothing does but the child's bounds.
func bombs() []bomb {
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
	cpu, memory := []build.Bound{build.CPU}, []build.Bound{build.Memory}
	return []bomb{
		{"blocks, 100,000 deep", module(1, 0, cat(times(100_000, []byte{0x02, noResult}), times(100_000, []byte{0x0b}))), cpu},
		{"10,000 loops, 1,000 locals", loops(10_000, 1000), append(memory, cpu...)},
		{"br_table, 2,000 of 1,000", tables(2000, 1000), append(memory, cpu...)},
		{"50,000 ifs", branches(50_000, 2), cpu},
		{"10,000 ifs, 1,000 locals", branches(10_000, 1000), append(memory, cpu...)},
		{"50,000,000 locals", module(1, 50_000_000, nil), memory},
		{"50,000,000 locals, 40 times", module(40, 50_000_000, cat(get(1), set(2))), memory},
	}
}

// TestBombsCostTheirBoundsAndNoMore: each is an error that names a bound, and takes no more than that. The bounds are
// smaller than the default ones, for the test's sake; with those the same happens later.
func TestBombsCostTheirBoundsAndNoMore(t *testing.T) {
	bounds := build.Bounds{CPU: 2 * time.Second, Memory: 512 << 20, Wall: time.Minute}
	dir := t.TempDir()
	c := open(t, func(o *build.Options) { o.Dir, o.Small = dir, bounds })
	for _, b := range bombs() {
		t.Run(b.name, func(t *testing.T) {
			_, err := c.Compile(t.Context(), job(b.module))
			var e *build.Error
			if !errors.As(err, &e) || !slices.Contains(b.bounds, e.Bound) || e.Hint == "" {
				t.Fatalf("%d bytes: got %v, want bounds %v", len(b.module), err, b.bounds)
			}
			t.Logf("%d bytes: %v", len(b.module), err)
			if e.CPU > bounds.CPU+time.Second || e.Peak > bounds.Memory+256<<20 || e.CPU == 0 || e.Peak == 0 {
				t.Errorf("it took %+v", e.Usage)
			}
		})
	}
	if left := entries(t, dir); len(left) != 0 {
		t.Errorf("the cache holds %q", left)
	}
}
