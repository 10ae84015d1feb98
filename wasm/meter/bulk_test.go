package meter_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero/api"

	"github.com/gatewright/gatewright/wasm/meter"
)

// bulkModule exports fill, copy and init of three numbers each, in a memory of eight pages.
func bulkModule() mod {
	three := []byte{i32, i32, i32}
	args := cat(get(0), get(1), get(2))
	return mod{
		memory: cat(1, 8, 8), count: true,
		exports: [][]byte{exportOf("memory", 2, 0)},
		data:    [][]byte{cat(1, sized(pattern(100_000)))},
		funcs: []fn{
			{params: three, export: "fill", body: cat(args, 0xfc, 11, 0)},
			{params: three, export: "copy", body: cat(args, 0xfc, 10, 0, 0)},
			{params: three, export: "init", body: cat(args, 0xfc, 8, 0, 0)},
		},
	}
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

// TestLongFillsAndCopiesDoWhatShortOnesDo: in pieces, overlapping either way, and at the end of memory; what goes past it
// traps and writes nothing.
func TestLongFillsAndCopiesDoWhatShortOnesDo(t *testing.T) {
	b := fuel(t, 1<<40, 1000)
	m := instance(t, newRuntime(t), b, bulkModule().bytes(), meter.Options{})
	const size = 8 << 16
	offsets := []int{0, 1, 65_535, 65_536, 65_537, 131_072, 200_000, size - 65_537, size - 1, size}
	lengths := []int{0, 1, 65_535, 65_536, 65_537, 131_072, 131_073, 300_000, size, size + 1, 1 << 31, 1<<32 - 1}
	want, start := make([]byte, size), pattern(size)
	got, _ := m.Memory().Read(0, size)
	try := func(name string, to, from, n int, inside bool, do func()) {
		t.Helper()
		copy(got, start)
		copy(want, start)
		_, err := m.ExportedFunction(name).Call(b, uint64(uint32(to)), uint64(uint32(from)), uint64(uint32(n)))
		if inside != (err == nil) || err != nil && !strings.Contains(err.Error(), "out of bounds memory access") {
			t.Fatalf("%s(%d, %d, %d): %v", name, to, from, n, err)
		}
		if inside {
			do()
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%s(%d, %d, %d) writes something else", name, to, from, n)
		}
	}
	for _, to := range offsets {
		for _, n := range lengths {
			try("fill", to, 0x5a, n, to+n <= size, func() { copy(want[to:], bytes.Repeat([]byte{0x5a}, n)) })
			for _, from := range offsets {
				try("copy", to, from, n, to+n <= size && from+n <= size, func() { copy(want[to:to+n], want[from:from+n]) })
			}
			try("init", to, 3, n, to+n <= size && 3+n <= 100_000, func() { copy(want[to:], pattern(100_000)[3:3+n]) })
		}
	}
}

// TestLengthsAreCharged: what bulk instructions move and what grows costs fuel in proportion.
func TestLengthsAreCharged(t *testing.T) {
	table := func(body ...any) mod {
		m := one(nil, cat(body...))
		m.memory = cat(1, 1, leb(200))
		m.tables = [][]byte{cat(0x70, 0, leb(30_000))}
		m.elems = [][]byte{cat(1, 0, vec(repeatSlices(20_000, leb(0))...))}
		m.data, m.count = [][]byte{cat(1, sized(make([]byte, 60_000)))}, true
		return m
	}
	for _, c := range []struct {
		name  string
		m     mod
		n     uint64
		least int64
	}{
		{"fill", one(nil, cat(i32c(0), i32c(1), get(0), 0xfc, 11, 0)), 1 << 23, 1 << 21},
		{"copy", one(nil, cat(i32c(0), i32c(1), get(0), 0xfc, 10, 0, 0)), 1 << 23, 1 << 21},
		{"init", table(i32c(0), i32c(0), get(0), 0xfc, 8, 0, 0), 60_000, 15_000},
		{"table.fill", table(i32c(0), 0xd0, 0x70, get(0), 0xfc, 17, 0), 30_000, 60_000},
		{"table.copy", table(i32c(0), i32c(1), get(0), 0xfc, 14, 0, 0), 20_000, 40_000},
		{"table.init", table(i32c(0), i32c(0), get(0), 0xfc, 12, 0, 0), 20_000, 40_000},
		{"table.grow", table(0xd0, 0x70, get(0), 0xfc, 15, 0, 0x1a), 20_000, 160_000},
		{"memory.grow", table(get(0), 0x40, 0, 0x1a), 100, 1_200_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRuntime(t)
			cost := func(n uint64) int64 {
				b := fuel(t, 1<<40, 1<<30)
				m := instance(t, r, b, c.m.bytes(), meter.Options{})
				defer m.Close(context.Background())
				if _, err := m.ExportedFunction("run").Call(b, n); err != nil {
					t.Fatal(err)
				}
				return used(b, m, 1<<40)
			}
			if more := cost(c.n) - cost(0); more < c.least || more > c.least*11/10 {
				t.Errorf("%d units for a length of %d, want about %d", more, c.n, c.least)
			}
		})
	}
}

// TestWhatFailsForItsLengthCostsNoLength: an absurd length traps, or gives -1, as it does unmetered.
func TestWhatFailsForItsLengthCostsNoLength(t *testing.T) {
	r := newRuntime(t)
	for name, c := range map[string]struct {
		body []byte
		trap bool
	}{
		"fill":        {cat(i32c(0), i32c(1), i32c(-1), 0xfc, 11, 0), true},
		"copy":        {cat(i32c(0), i32c(1), i32c(-1), 0xfc, 10, 0, 0), true},
		"memory.grow": {cat(i32c(-1), 0x40, 0, 0x1a), false},
		"table.grow":  {cat(0xd0, 0x70, i32c(-1), 0xfc, 15, 0, 0x1a), false},
		"table.fill":  {cat(i32c(0), 0xd0, 0x70, i32c(-1), 0xfc, 17, 0), true},
		"table.copy":  {cat(i32c(0), i32c(0), i32c(-1), 0xfc, 14, 0, 0), true},
	} {
		m := one(nil, c.body)
		m.tables = [][]byte{cat(0x70, 0, 5)}
		b := fuel(t, 2000, 2000)
		_, err := instance(t, r, b, m.bytes(), meter.Options{}).ExportedFunction("run").Call(b, 0)
		if errors.Is(err, errFuel) || (err != nil) != c.trap {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAHostFunctionMayCharge: the global is exact while a host function runs, also in a loop, and what it takes is gone.
func TestAHostFunctionMayCharge(t *testing.T) {
	const turns = 50
	m := mod{
		imports: [][]byte{importFn("test", "dear", 1)},
		types:   [][]byte{functype(nil, nil)},
		funcs:   []fn{{params: []byte{i32}, export: "run", body: loop(call(0), get(0), i32c(1), 0x6b, tee(0), brIf(0))}},
	}
	cost := func(each int64) int64 {
		r := newRuntime(t)
		host(t, r, "test", "dear", nil, nil, func(_ context.Context, m api.Module, _ []uint64) {
			g := m.ExportedGlobal(meter.FuelGlobal).(api.MutableGlobal)
			g.Set(uint64(int64(g.Get()) - each))
		})
		b := fuel(t, 1<<40, 700)
		in := instance(t, r, b, m.bytes(), meter.Options{})
		if _, err := in.ExportedFunction("run").Call(b, turns); err != nil {
			t.Fatal(err)
		}
		return used(b, in, 1<<40)
	}
	if got := cost(1000) - cost(0); got != turns*1000 {
		t.Fatalf("%d units for %d charges of 1000", got, turns)
	}
}

// TestSmallMemoriesPayLessForLoads: a declared maximum decides.
func TestSmallMemoriesPayLessForLoads(t *testing.T) {
	cost := func(most int) int64 {
		m := one(nil, repeat(100, cat(get(0), cat(0x28, 0, 0), set(0))))
		m.memory = cat(1, 1, leb(uint64(most)))
		b := fuel(t, 1<<40, 1<<30)
		in := instance(t, newRuntime(t), b, m.bytes(), meter.Options{MaxPages: 1000})
		if _, err := in.ExportedFunction("run").Call(b, 0); err != nil {
			t.Fatal(err)
		}
		return used(b, in, 1<<40)
	}
	if a, b, c := cost(16), cost(17), cost(1000); a >= b || b >= c {
		t.Fatalf("%d, %d and %d units", a, b, c)
	}
}
