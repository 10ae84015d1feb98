package scan_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/wasm/scan"
)

// A limit is met exactly by one module and passed by another.
type limit struct {
	name     string
	l        scan.Limits
	ok, over []byte
	text     string
	at       int // where the module that is over is refused
}

func limits() []limit {
	funcs := func(n int) []byte { return mod{oneType: true, funcs: make([]fn, n)}.bytes() }
	nested := func(n int) []byte {
		return mod{funcs: []fn{{body: cat(repeat(n, cat(0x02, 0x40)), repeat(n, []byte{0x0b}))}}}.bytes()
	}
	segments := func(n, size int) []byte {
		return mod{data: slices(n, cat(1, sized(make([]byte, size))))}.bytes()
	}
	entries := func(n ...int) []byte {
		m := mod{tables: [][]byte{cat(0x70, 0, 1)}, funcs: make([]fn, 1)}
		for _, n := range n {
			m.elems = append(m.elems, cat(1, 0, vec(slices(n, leb(0))...)))
		}
		return m.bytes()
	}
	sizes := func(n ...int) []byte {
		m := mod{oneType: true}
		for _, n := range n {
			m.funcs = append(m.funcs, fn{body: repeat(n-2, []byte{1})})
		}
		return m.bytes()
	}
	local := func(groups ...int) []byte {
		var all [][]byte
		for _, n := range groups {
			all = append(all, cat(leb(uint64(n)), i32))
		}
		return mod{funcs: []fn{{params: []byte{i32}, locals: vec(all...)}}}.bytes()
	}
	table := func(n ...int) []byte {
		var body []byte
		for _, n := range n {
			body = cat(body, i32c(0), 0x0e, leb(uint64(n)), make([]byte, n), 0)
		}
		return mod{funcs: []fn{{body: body}}}.bytes()
	}
	types := func(n int) []byte { return mod{types: slices(n, functype(nil, nil))}.bytes() }
	arity := func(in, out int) []byte {
		return mod{types: [][]byte{functype(repeat(in, []byte{i32}), repeat(out, []byte{i32}))}}.bytes()
	}
	globals := func(n int) []byte { return mod{globals: slices(n, cat(i32, 0, i32c(1), 0x0b))}.bytes() }
	imports := func(n int) []byte {
		return mod{types: [][]byte{functype(nil, nil)}, imports: slices(n, importFn("a", "b", 0))}.bytes()
	}
	exports := func(n int) []byte {
		m := mod{memory: cat(0, 1)}
		for i := range n {
			m.exports = append(m.exports, exportOf("e"+string(rune('0'+i)), 2, 0))
		}
		return m.bytes()
	}
	elems := func(n int) []byte {
		return mod{tables: [][]byte{cat(0x70, 0, 1)}, elems: slices(n, cat(1, 0, 0))}.bytes()
	}
	named := func(n int) []byte {
		return mod{types: [][]byte{functype(nil, nil)}, imports: [][]byte{importFn("a", strings.Repeat("b", n), 0)}}.bytes()
	}
	memory := func(n int) []byte { return mod{memory: cat(0, leb(uint64(n)))}.bytes() }
	own := func(n int) []byte { return cat(magic, 5, sized(vec(slices(n, cat(0, 1))...))) }
	tables := func(n int) []byte { return mod{tables: slices(n, cat(0x70, 0, 1))}.bytes() }
	min := func(n int) []byte { return mod{tables: [][]byte{cat(0x70, 0, leb(uint64(n)))}}.bytes() }
	s, l := scan.Small(), scan.Large()
	return []limit{
		{"bytes", scan.Limits{MaxModule: len(funcs(3))}, funcs(3), funcs(4), "36 bytes, at most 32", 21},
		{"bytes, a custom section", scan.Limits{MaxModule: 12}, cat(magic, 0, sized(sized("a"))), cat(magic, 0, sized(sized("a"), 0)), "13 bytes", 8},
		{"functions", scan.Limits{MaxFunctions: 7}, funcs(7), funcs(8), "8 functions, at most 7", 16},
		{"functions, small", s, funcs(10_000), funcs(10_001), "10001 functions", 17},
		{"functions, large", l, funcs(20_000), funcs(20_001), "20001 functions", 18},
		{"body", scan.Limits{MaxBody: 10}, sizes(2, 10), sizes(2, 11), "11 bytes in a function", 25},
		{"body, small", s, sizes(64 << 10), sizes(64<<10 + 1), "65537 bytes in a function", 23},
		{"body, large", l, sizes(512 << 10), sizes(512<<10 + 1), "524289 bytes in a function", 23},
		{"locals", scan.Limits{MaxLocals: 3}, local(1, 1), local(1, 2), "4 locals in a function", 26},
		{"locals, small", s, local(999), local(1000), "1001 locals", 24},
		{"locals, one group", s, local(998, 1), local(1<<32 - 1), "4294967296 locals", 24},
		{"arity of parameters", s, arity(64, 0), arity(65, 0), "65 parameters", 12},
		{"arity of results", s, arity(0, 64), arity(0, 65), "65 results", 13},
		{"nesting", s, nested(256), nested(257), "257 blocks within each other", 537},
		{"nesting, large", l, nested(4096), nested(4097), "4097 blocks", 8217},
		{"labels", scan.Limits{MaxTargets: 5}, table(2, 3), table(2, 4), "6 labels of br_table", 33},
		{"labels, small", s, table(10_000), table(10_001), "10001 labels", 28},
		{"types", s, types(1000), types(1001), "1001 types", 11},
		{"globals", s, globals(1000), globals(1001), "1001 globals", 11},
		{"imports", s, imports(1000), imports(1001), "1001 imports", 17},
		{"exports", scan.Limits{MaxEntities: 3}, exports(3), exports(4), "4 exports", 15},
		{"element segments", scan.Limits{MaxSegments: 4}, elems(4), elems(5), "5 element segments", 16},
		{"data segments", s, segments(1000, 1), segments(1001, 1), "1001 data segments", 11},
		{"data segments, large", scan.Large(), segments(100_000, 1), segments(100_001, 1), "100001 data segments", 12},
		{"data", scan.Limits{MaxData: 100}, segments(10, 10), segments(10, 11), "110 bytes of data", 130},
		{"entries of one segment", scan.Limits{MaxTableEntries: 50}, entries(50), entries(51), "51 entries of element segments", 29},
		{"entries of segments", scan.Limits{MaxTableEntries: 50}, entries(20, 30), entries(20, 31), "51 entries of element segments", 52},
		{"tables", scan.Limits{MaxTables: 2}, tables(2), tables(3), "3 tables", 10},
		{"entries of a table", s, min(65_536), min(65_537), "65537 entries of a table", 12},
		{"pages", s, memory(256), memory(257), "257 pages of memory", 11},
		{"pages, large", l, memory(512), memory(513), "513 pages of memory", 11},
		{"memories", s, own(1), own(2), "2 memories", 10},
		{"names", s, named(1024), named(1025), "1025 bytes", 20},
	}
}

// TestLimits: each limit is met exactly, and refused one over, where it stands.
func TestLimits(t *testing.T) {
	for _, c := range limits() {
		t.Run(c.name, func(t *testing.T) {
			if _, err := scanned(t, c.ok, form(c.l)); err != nil {
				t.Errorf("at the limit: %v", err)
			}
			if at := refused(t, c.over, form(c.l), scan.ErrLimit, c.text); at != c.at {
				t.Errorf("refused at %d, want %d", at, c.at)
			}
		})
	}
}

// TestWorkIsLimited: what a module costs to compile is met exactly, and refused one below.
func TestWorkIsLimited(t *testing.T) {
	module := mod{funcs: []fn{{params: []byte{i32}, body: repeat(100, cat(get(0), iff(0x01)))}}}.bytes()
	r, err := scanned(t, module, form(scan.Limits{}))
	if err != nil || r.Work < 10_000 {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := scanned(t, module, form(scan.Limits{MaxWork: r.Work})); err != nil {
		t.Fatal(err)
	}
	if at := refused(t, module, form(scan.Limits{MaxWork: r.Work - 1}), scan.ErrLimit, "work to compile"); at != 26 {
		t.Fatalf("refused at %d", at)
	}
}

// TestEachLimitCanBeSet: no field of Limits is without effect, and zeros stand for what Small says.
func TestEachLimitCanBeSet(t *testing.T) {
	if scan.Small().Filled() != scan.Small() || (scan.Limits{}).Filled() != scan.Small() {
		t.Fatalf("%+v", scan.Limits{}.Filled())
	}
	small, large := reflect.ValueOf(scan.Small()), reflect.ValueOf(scan.Large())
	for i := range small.NumField() {
		f := small.Type().Field(i)
		if f.Type.Kind() == reflect.Bool {
			continue
		}
		if s, l := small.Field(i), large.Field(i); s.IsZero() || s.CanInt() && s.Int() > l.Int() || s.CanUint() && s.Uint() > l.Uint() {
			t.Errorf("%s: %v is small, %v large", f.Name, s, l)
		}
	}
}

// TestTheLargeClassIsOffered: what only the large class would take is refused with a hint that says so.
func TestTheLargeClassIsOffered(t *testing.T) {
	module := mod{data: slices(1001, cat(1, sized("x")))}.bytes()
	_, err := scanned(t, module, form(scan.Small()))
	var e *scan.Error
	if !errors.As(err, &e) || !strings.Contains(e.Hint, "the large class allowed for it, which takes 100000") {
		t.Fatal(err)
	}
	r, err := scanned(t, module, form(scan.Large()))
	if err != nil || r.Class != scan.LargeClass || r.Large != "1001 data segments" {
		t.Fatalf("%+v, %v", r, err)
	}
	r, err = scanned(t, mod{data: slices(1000, cat(1, sized("x")))}.bytes(), form(scan.Large()))
	if err != nil || r.Class != scan.SmallClass || r.Large != "" {
		t.Fatalf("%+v, %v", r, err)
	}
	over := mod{data: slices(200_001, cat(1, sized("x")))}.bytes()
	if _, err = scanned(t, over, form(scan.Large())); !errors.As(err, &e) || strings.Contains(e.Hint, "the large class") {
		t.Fatal(err)
	}
}

// TestAModuleOverAMegabyteIsLarge by its size alone.
func TestAModuleOverAMegabyteIsLarge(t *testing.T) {
	pad := func(n int) []byte {
		n -= len(magic) + 1
		for lead := 1; ; lead++ {
			if body := sized(sized("x"), make([]byte, n-lead-2)); len(body) == n {
				return cat(magic, 0, body)
			}
		}
	}
	for n, class := range map[int]scan.Class{1 << 20: scan.SmallClass, 1<<20 + 1: scan.LargeClass, 8 << 20: scan.LargeClass} {
		r, err := scanned(t, pad(n), form(scan.Large()))
		if err != nil || r.Size != n || r.Class != class {
			t.Errorf("%d bytes: %d, %s, %v", n, r.Size, r.Class, err)
		}
	}
	refused(t, pad(8<<20+1), form(scan.Large()), scan.ErrLimit, "8388609 bytes, at most 8388608")
}

func slices(n int, b []byte) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = b
	}
	return out
}
