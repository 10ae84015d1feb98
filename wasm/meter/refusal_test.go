package meter_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/wasm/meter"
	"github.com/gatewright/gatewright/wasm/scan"
)

// rich has something in every section.
func rich() mod {
	return mod{
		imports: [][]byte{importFn("gw", "log", 1)},
		types:   [][]byte{functype([]byte{i32}, nil)},
		funcs:   []fn{{export: "run", body: cat(i32c(1), call(0), 0x23, 0, 0x1a, loop(i32c(0), brIf(0)), i32c(0), i32c(0), i32c(3), 0xfc, 8, 1, 0)}},
		memory:  cat(1, 1, 2),
		tables:  [][]byte{cat(0x70, 0, 3)},
		globals: [][]byte{cat(i32, 1, i32c(5), 0x0b), cat(0x70, 0, 0xd2, 1, 0x0b)},
		exports: [][]byte{exportOf("memory", 2, 0), exportOf("table", 1, 0), exportOf("global", 3, 0)},
		start:   leb(1),
		elems:   [][]byte{cat(0, i32c(1), 0x0b, vec(leb(1))), cat(5, 0x70, vec(cat(0xd0, 0x70, 0x0b)))},
		data:    [][]byte{cat(0, i32c(8), 0x0b, sized("some data")), cat(1, sized("passive"))},
		count:   true,
		custom:  cat(0, sized(sized("name"), "whatever")),
	}
}

func TestWhatIsInAModuleIsReported(t *testing.T) {
	_, r, err := meter.Rewrite(rich().bytes(), meter.Options{AllowStart: true})
	if err != nil {
		t.Fatal(err)
	}
	want := scan.Report{
		Class: scan.SmallClass, Size: len(rich().bytes()), Types: 2, Tables: 1, Mutable: []int{0}, Globals: 2, Elements: 2, Entries: 2,
		Segments: 2, Data: 16, Body: 26, Nesting: 1, Work: 672,
		Imports: []meter.Import{{Module: "gw", Name: "log", Kind: meter.Function, Signature: "(i32)->()"}},
		Exports: []meter.Export{
			{Name: "run", Kind: meter.Function, Signature: "()->()"},
			{Name: "memory", Kind: meter.Memory},
			{Name: "table", Kind: meter.Table},
			{Name: "global", Kind: meter.Global},
		},
		Functions: 1, HasMemory: true, MinPages: 1, MaxPages: 2, Start: true,
	}
	if fmt.Sprintf("%+v", r) != fmt.Sprintf("%+v", meter.Report{Report: want, State: []string{"__state0"}}) {
		t.Fatalf("got  %+v\nwant %+v", r, want)
	}
}

func TestSignaturesNameEachType(t *testing.T) {
	m := mod{funcs: []fn{{params: []byte{i32, i64, f32, f64}, results: []byte{0x70, 0x6f}, export: "f", body: cat(0xd0, 0x70, 0xd0, 0x6f)}}}
	_, r, err := meter.Rewrite(m.bytes(), meter.Options{})
	if err != nil || r.Exports[0].Signature != "(i32,i64,f32,f64)->(funcref,externref)" {
		t.Fatalf("%+v, %v", r, err)
	}
}

// refused checks that a module is refused for a reason of a kind.
func refused(t *testing.T, module []byte, o meter.Options, kind error, text string) {
	t.Helper()
	out, _, err := meter.Rewrite(module, o)
	var e *meter.Error
	if !errors.As(err, &e) || !errors.Is(err, kind) || !strings.Contains(err.Error(), text) {
		t.Fatalf("got %v, want %v about %q", err, kind, text)
	}
	if out != nil {
		t.Fatal("a refused module is returned")
	}
	if e.Offset < 0 || e.Offset > len(module) {
		t.Fatalf("offset %d of %d bytes", e.Offset, len(module))
	}
}

// TestEachSectionIsRefused: what a section may not say.
func TestEachSectionIsRefused(t *testing.T) {
	one := func(change func(m *mod)) []byte {
		m := rich()
		change(&m)
		return m.bytes()
	}
	cases := []struct {
		name   string
		module []byte
		kind   error
		text   string
	}{
		{"nothing", nil, meter.ErrMalformed, "past the end"},
		{"a component", []byte("\x00asm\x0d\x00\x01\x00"), meter.ErrMalformed, "core module"},
		{"another version", []byte("\x00asm\x02\x00\x00\x00"), meter.ErrMalformed, "core module"},
		{"text", []byte("(module)        "), meter.ErrMalformed, "core module"},
		{"a tag section", []byte(magic + "\x0d\x03\x01\x00\x00"), meter.ErrUnsupported, "kind 13"},
		{"a section of kind 99", []byte(magic + "\x63\x00"), meter.ErrUnsupported, "kind 99"},
		{"a section twice", []byte(magic + "\x01\x01\x00\x01\x01\x00"), meter.ErrMalformed, "out of order"},
		{"sections out of order", []byte(magic + "\x03\x01\x00\x01\x01\x00"), meter.ErrMalformed, "out of order"},
		{"a section that ends early", []byte(magic + "\x01\x02\x00\x00"), meter.ErrMalformed, "too many"},
		{"a section past the end", []byte(magic + "\x01\x7f\x00"), meter.ErrMalformed, "past the end"},
		{"a custom section without a name", []byte(magic + "\x00\x00"), meter.ErrMalformed, "unexpected end"},
		{"a custom section whose name is not UTF-8", []byte(magic + "\x00\x02\x01\xff"), meter.ErrMalformed, "UTF-8"},

		{"a type that is no function", one(func(m *mod) { m.types = [][]byte{{0x5f, 0}} }), meter.ErrUnsupported, "form 0x5f"},
		{"a recursive type", one(func(m *mod) { m.types = [][]byte{{0x4e, 0}} }), meter.ErrUnsupported, "form 0x4e"},
		{"a vector parameter", one(func(m *mod) { m.types = [][]byte{functype([]byte{0x7b}, nil)} }), meter.ErrUnsupported, "SIMD"},
		{"an exception parameter", one(func(m *mod) { m.types = [][]byte{functype([]byte{0x69}, nil)} }), meter.ErrUnsupported, "0x69"},
		{"65 parameters", one(func(m *mod) { m.types = [][]byte{functype(repeat(65, []byte{i32}), nil)} }), meter.ErrLimit, "65 parameters"},
		{"65 results", one(func(m *mod) { m.types = [][]byte{functype(nil, repeat(65, []byte{i32}))} }), meter.ErrLimit, "65 results"},

		{"an import of the meter's", one(func(m *mod) { m.imports = [][]byte{importFn("gw_internal", "refuel", 1)} }), meter.ErrUnsupported, "meter's own"},
		{"another import of its module", one(func(m *mod) { m.imports = [][]byte{importFn("gw_internal", "x", 1)} }), meter.ErrUnsupported, "meter's own"},
		{"an imported memory", one(func(m *mod) { m.imports = [][]byte{cat(sized("e"), sized("m"), 2, 0, 1)} }), meter.ErrUnsupported, "no function"},
		{"an imported table", one(func(m *mod) { m.imports = [][]byte{cat(sized("e"), sized("t"), 1, 0x70, 0, 1)} }), meter.ErrUnsupported, "no function"},
		{"an imported global", one(func(m *mod) { m.imports = [][]byte{cat(sized("e"), sized("g"), 3, i32, 0)} }), meter.ErrUnsupported, "no function"},
		{"an imported tag", one(func(m *mod) { m.imports = [][]byte{cat(sized("e"), sized("g"), 4, 0, 0)} }), meter.ErrUnsupported, "no function"},
		{"an import of no type", one(func(m *mod) { m.imports = [][]byte{importFn("e", "f", 2)} }), meter.ErrMalformed, "type 2 of 2"},
		{"an import with a bad name", one(func(m *mod) { m.imports = [][]byte{importFn("e", "\xc3\x28", 1)} }), meter.ErrMalformed, "UTF-8"},
		{"an import with a long name", one(func(m *mod) { m.imports = [][]byte{importFn("e", strings.Repeat("x", 1025), 1)} }), meter.ErrLimit, "1025"},

		{"two tables", one(func(m *mod) { m.tables = append(m.tables, m.tables[0]) }), meter.ErrLimit, "2 tables"},
		{"a table of numbers", one(func(m *mod) { m.tables = [][]byte{cat(i32, 0, 3)} }), meter.ErrUnsupported, "reference"},
		{"a large table", one(func(m *mod) { m.tables = [][]byte{cat(0x70, 0, leb(65_537))} }), meter.ErrLimit, "65537"},
		{"a shared table", one(func(m *mod) { m.tables = [][]byte{cat(0x70, 3, 1, 1)} }), meter.ErrUnsupported, "shared"},
		{"a table of 64 bits", one(func(m *mod) { m.tables = [][]byte{cat(0x70, 4, 1)} }), meter.ErrUnsupported, "64"},
		{"a table with a first value", one(func(m *mod) { m.tables = [][]byte{cat(0x40, 0, 0x70, 0, 1, 0xd0, 0x70, 0x0b)} }), meter.ErrUnsupported, "reference"},

		{"a shared memory", one(func(m *mod) { m.memory = cat(3, 1, 2) }), meter.ErrUnsupported, "shared"},
		{"a memory of 64 bits", one(func(m *mod) { m.memory = cat(4, 1) }), meter.ErrUnsupported, "64"},
		{"a memory of odd pages", one(func(m *mod) { m.memory = cat(8, 1, 0) }), meter.ErrUnsupported, "odd"},
		{"a large memory", one(func(m *mod) { m.memory = cat(0, leb(257)) }), meter.ErrLimit, "257"},
		{"a memory over the format", one(func(m *mod) { m.memory = cat(0, leb(65_537)) }), meter.ErrMalformed, "65536"},
		{"a maximum over the format", one(func(m *mod) { m.memory = cat(1, 1, leb(0xffffffff)) }), meter.ErrMalformed, "65536"},
		{"a maximum below the minimum", one(func(m *mod) { m.memory = cat(1, 2, 1) }), meter.ErrMalformed, "at least 2"},
		{"two memories", cat(magic, 5, sized(2, 0, 1, 0, 1)), meter.ErrLimit, "2 memories"},

		{"a global of no type", one(func(m *mod) { m.globals = [][]byte{cat(0x40, 0, i32c(1), 0x0b)} }), meter.ErrUnsupported, "0x40"},
		{"a vector global", one(func(m *mod) { m.globals = [][]byte{cat(0x7b, 0, 0xfd)} }), meter.ErrUnsupported, "SIMD"},
		{"a global of mutability 2", one(func(m *mod) { m.globals = [][]byte{cat(i32, 2, i32c(1), 0x0b)} }), meter.ErrMalformed, "mutability 2"},
		{"a global from a global", one(func(m *mod) { m.globals = [][]byte{cat(i32, 0, 0x23, 0, 0x0b)} }), meter.ErrUnsupported, "constant"},
		{"a global by a sum", one(func(m *mod) { m.globals = [][]byte{cat(i32, 0, i32c(1), i32c(1), 0x6a, 0x0b)} }), meter.ErrUnsupported, "more than one"},
		{"a global of an imported function", one(func(m *mod) { m.globals = [][]byte{cat(0x70, 0, 0xd2, 0, 0x0b)} }), meter.ErrUnsupported, "imported"},
		{"a global of no function", one(func(m *mod) { m.globals = [][]byte{cat(0x70, 0, 0xd2, 2, 0x0b)} }), meter.ErrMalformed, "function 2 of 2"},

		{"an export of the fuel", one(func(m *mod) { m.exports = [][]byte{exportOf("__fuel", 3, 0)} }), meter.ErrUnsupported, "meter's own"},
		{"an export of the depth", one(func(m *mod) { m.exports = [][]byte{exportOf("__depth", 3, 0)} }), meter.ErrUnsupported, "meter's own"},
		{"an export twice", one(func(m *mod) { m.exports = append(m.exports, m.exports[0]) }), meter.ErrMalformed, "second"},
		{"an export of the meter's fuel", one(func(m *mod) { m.exports = [][]byte{exportOf("g", 3, 2)} }), meter.ErrMalformed, "global 2 of 2"},
		{"an export of refuel", one(func(m *mod) { m.exports = [][]byte{exportOf("g", 0, 2)} }), meter.ErrMalformed, "function 2 of 2"},
		{"an export of no memory", one(func(m *mod) { m.exports = [][]byte{exportOf("g", 2, 1)} }), meter.ErrMalformed, "memory 1 of 1"},
		{"an export of no table", one(func(m *mod) { m.exports = [][]byte{exportOf("g", 1, 1)} }), meter.ErrMalformed, "table 1 of 1"},
		{"an exported tag", one(func(m *mod) { m.exports = [][]byte{exportOf("g", 4, 0)} }), meter.ErrUnsupported, "kind 4"},

		{"a start at no function", one(func(m *mod) { m.start = leb(2) }), meter.ErrMalformed, "function 2 of 2"},

		{"elements of no table", one(func(m *mod) { m.elems[0] = cat(2, 1, i32c(1), 0x0b, 0, vec(leb(1))) }), meter.ErrMalformed, "table 1 of 1"},
		{"elements without a table", one(func(m *mod) { m.tables, m.exports = nil, nil }), meter.ErrMalformed, "without a table"},
		{"elements of kind 8", one(func(m *mod) { m.elems[0] = cat(8, vec()) }), meter.ErrMalformed, "kind 8"},
		{"elements that are no functions", one(func(m *mod) { m.elems[0] = cat(1, 1, vec(leb(1))) }), meter.ErrMalformed, "elements of kind 1"},
		{"elements of numbers", one(func(m *mod) { m.elems[0] = cat(5, i32, vec(i32c(1))) }), meter.ErrUnsupported, "reference"},
		{"an imported function as an element", one(func(m *mod) { m.elems[0] = cat(0, i32c(1), 0x0b, vec(leb(0))) }), meter.ErrUnsupported, "imported"},
		{"an imported function by an expression", one(func(m *mod) { m.elems[1] = cat(5, 0x70, vec(cat(0xd2, 0, 0x0b))) }), meter.ErrUnsupported, "imported"},
		{"an element that is refuel", one(func(m *mod) { m.elems[0] = cat(0, i32c(1), 0x0b, vec(leb(2))) }), meter.ErrMalformed, "function 2 of 2"},

		{"fewer data than announced", cat(magic, 12, sized(1)), meter.ErrMalformed, "announced"},
		{"data of kind 3", one(func(m *mod) { m.data[0] = cat(3, sized("x")) }), meter.ErrMalformed, "kind 3"},
		{"data of another memory", one(func(m *mod) { m.data[0] = cat(2, 1, i32c(1), 0x0b, sized("x")) }), meter.ErrMalformed, "memory 1 of 1"},
		{"data without a memory", mod{data: [][]byte{cat(0, i32c(1), 0x0b, sized("x"))}}.bytes(), meter.ErrMalformed, "without a memory"},
		{"data past the section", one(func(m *mod) { m.data[1] = cat(1, leb(100), "x") }), meter.ErrMalformed, "past the end"},

		{"functions without code", []byte(magic + "\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00"), meter.ErrMalformed, "no code"},
		{"code without functions", []byte(magic + "\x0a\x04\x01\x02\x00\x0b"), meter.ErrMalformed, "1 bodies for 0"},
		{"a function of no type", []byte(magic + "\x01\x04\x01\x60\x00\x00\x03\x02\x01\x01"), meter.ErrMalformed, "type 1 of 1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			refused(t, c.module, meter.Options{AllowStart: true}, c.kind, c.text)
		})
	}
}

func TestAStartFunctionIsTakenOnlyWhenAllowed(t *testing.T) {
	refused(t, rich().bytes(), meter.Options{}, meter.ErrUnsupported, "start")
}

// body is a module of one function in every surrounding that instructions can need.
func body(code ...any) []byte {
	m := rich()
	m.start = nil
	m.funcs[0].body = cat(code...)
	m.funcs[0].locals = locals(2, i32)
	return m.bytes()
}

// TestEachInstructionIsRefused: unknown ones, and known ones that name what is not there. The meter adds locals,
// globals, types and functions behind a module's own, so an index that is one too high would reach them.
func TestEachInstructionIsRefused(t *testing.T) {
	cases := []struct {
		name string
		code []byte
		kind error
		text string
	}{
		{"a tail call", cat(0x12, 0), meter.ErrUnsupported, "a tail call (0x12)"},
		{"an indirect tail call", cat(0x13, 0, 0), meter.ErrUnsupported, "a tail call (0x13)"},
		{"a call by reference", cat(0x14, 0), meter.ErrUnsupported, "typed function reference"},
		{"try", cat(0x06, 0x40, 0x0b), meter.ErrUnsupported, "exception"},
		{"throw", cat(0x08, 0), meter.ErrUnsupported, "exception"},
		{"try_table", cat(0x1f, 0x40, 0, 0x0b), meter.ErrUnsupported, "exception"},
		{"a vector", cat(0xfd, 12, make([]byte, 16)), meter.ErrUnsupported, "SIMD"},
		{"an atomic", cat(0xfe, 3, 0), meter.ErrUnsupported, "threads"},
		{"a struct", cat(0xfb, 0, 0), meter.ErrUnsupported, "garbage"},
		{"ref.eq", cat(0xd3), meter.ErrUnsupported, "typed function reference"},
		{"a wide sum", cat(0xfc, 19), meter.ErrUnsupported, "0xfc 19"},
		{"a far prefix", cat(0xfc, leb(1<<31)), meter.ErrUnsupported, "0xfc 2147483648"},
		{"a hole", cat(0x27), meter.ErrUnsupported, "an unknown instruction (0x27)"},
		{"the last hole", cat(0xff), meter.ErrUnsupported, "an unknown instruction (0xff)"},
		{"the meter's local", cat(0x20, 2), meter.ErrMalformed, "local 2 of 2"},
		{"setting the meter's local", cat(i32c(0), 0x21, 2), meter.ErrMalformed, "local 2 of 2"},
		{"tee of the meter's local", cat(i32c(0), 0x22, 2), meter.ErrMalformed, "local 2 of 2"},
		{"the meter's fuel", cat(0x23, 2), meter.ErrMalformed, "global 2 of 2"},
		{"setting the meter's fuel", cat(i64c(1), 0x24, 2), meter.ErrMalformed, "global 2 of 2"},
		{"setting the meter's depth", cat(i32c(1), 0x24, 3), meter.ErrMalformed, "global 3 of 2"},
		{"a call of refuel or a helper", cat(i64c(1), call(2)), meter.ErrMalformed, "function 2 of 2"},
		{"a far call", cat(call(1<<32 - 1)), meter.ErrMalformed, "function 4294967295"},
		{"a reference to a helper", cat(0xd2, 2), meter.ErrMalformed, "function 2 of 2"},
		{"a reference to an import", cat(0xd2, 0), meter.ErrUnsupported, "imported"},
		{"a type of the meter", cat(i32c(0), 0x11, 2, 0), meter.ErrMalformed, "type 2 of 2"},
		{"a table that is not there", cat(i32c(0), 0x11, 0, 1), meter.ErrMalformed, "table 1 of 1"},
		{"a block of the meter's type", cat(0x02, 2, 0x0b), meter.ErrMalformed, "type 2 of 2"},
		{"a block of a negative type", cat(0x02, sleb(-1000), 0x0b), meter.ErrMalformed, "type -1000"},
		{"a block of a vector", cat(0x02, 0x7b, 0x0b), meter.ErrUnsupported, "SIMD"},
		{"a label that is not there", br(1), meter.ErrMalformed, "label 1 of 1"},
		{"a label of the meter's block", loop(br(2)), meter.ErrMalformed, "label 2 of 2"},
		{"a label in a table", cat(i32c(0), 0x0e, 1, 0, 1), meter.ErrMalformed, "label 1 of 1"},
		{"a last label in a table", cat(i32c(0), 0x0e, 1, 1, 0), meter.ErrMalformed, "label 1 of 1"},
		{"a long table", cat(i32c(0), 0x0e, leb(1<<32-1)), meter.ErrMalformed, "announced"},
		{"an else alone", cat(0x05), meter.ErrMalformed, "without an if"},
		{"an else in a block", cat(0x02, 0x40, 0x05, 0x0b), meter.ErrMalformed, "without an if"},
		{"a second else", cat(i32c(0), 0x04, 0x40, 0x05, 0x05, 0x0b), meter.ErrMalformed, "without an if"},
		{"an end too many", cat(0x0b), meter.ErrMalformed, "too many"},
		{"an end too few", cat(0x02, 0x40), meter.ErrMalformed, "unexpected end"},
		{"a second memory", cat(i32c(0), 0x28, 0x42, 1, 0), meter.ErrUnsupported, "second memory"},
		{"a large alignment", cat(i32c(0), 0x28, 4, 0), meter.ErrUnsupported, "alignment"},
		{"the size of a second memory", cat(0x3f, 1), meter.ErrMalformed, "memory 1 of 1"},
		{"growing a second memory", cat(i32c(0), 0x40, 1), meter.ErrMalformed, "memory 1 of 1"},
		{"filling a second memory", cat(0xfc, 11, 1), meter.ErrMalformed, "memory 1 of 1"},
		{"copying from a second memory", cat(0xfc, 10, 0, 1), meter.ErrMalformed, "memory 1 of 1"},
		{"data that is not there", cat(0xfc, 8, 2, 0), meter.ErrMalformed, "data segment 2 of 2"},
		{"dropping what is not there", cat(0xfc, 9, 2), meter.ErrMalformed, "data segment 2 of 2"},
		{"elements that are not there", cat(0xfc, 12, 2, 0), meter.ErrMalformed, "element segment 2 of 2"},
		{"dropping elements that are not there", cat(0xfc, 13, 2), meter.ErrMalformed, "element segment 2 of 2"},
		{"a copy to no table", cat(0xfc, 14, 1, 0), meter.ErrMalformed, "table 1 of 1"},
		{"a copy from no table", cat(0xfc, 14, 0, 1), meter.ErrMalformed, "table 1 of 1"},
		{"growing no table", cat(0xfc, 15, 1), meter.ErrMalformed, "table 1 of 1"},
		{"the size of no table", cat(0xfc, 16, 1), meter.ErrMalformed, "table 1 of 1"},
		{"filling no table", cat(0xfc, 17, 1), meter.ErrMalformed, "table 1 of 1"},
		{"an entry of no table", cat(0x25, 1), meter.ErrMalformed, "table 1 of 1"},
		{"setting an entry of no table", cat(0x26, 1), meter.ErrMalformed, "table 1 of 1"},
		{"null of no type", cat(0xd0, 0x7f), meter.ErrUnsupported, "reference"},
		{"null of a typed reference", cat(0xd0, 0), meter.ErrUnsupported, "reference"},
		{"select of vectors", cat(0x1c, 1, 0x7b), meter.ErrUnsupported, "SIMD"},
		{"a number of six bytes", cat(0x41, "\x80\x80\x80\x80\x80\x00"), meter.ErrMalformed, "32 bits"},
		{"a number with odd high bits", cat(0x41, "\xff\xff\xff\xff\x1f"), meter.ErrMalformed, "32 bits"},
		{"a number of eleven bytes", cat(0x42, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"), meter.ErrMalformed, "64 bits"},
		{"a long number with odd high bits", cat(0x42, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02"), meter.ErrMalformed, "64 bits"},
		{"an index of six bytes", cat(0x20, "\x80\x80\x80\x80\x80\x00"), meter.ErrMalformed, "32 bits"},
		{"an index over 32 bits", cat(0x20, "\x80\x80\x80\x80\x10"), meter.ErrMalformed, "32 bits"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			refused(t, body(c.code), meter.Options{}, c.kind, c.text)
		})
	}
}

// TestNumbersMayBePadded: what is long but sound is taken.
func TestNumbersMayBePadded(t *testing.T) {
	for _, code := range [][]byte{
		cat(0x41, "\x80\x80\x80\x80\x78", 0x1a), cat(0x41, "\xff\xff\xff\xff\x07", 0x1a), cat(0x41, "\xff\xff\xff\xff\x7f", 0x1a),
		cat(0x42, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x7f", 0x1a), cat(0x42, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00", 0x1a),
		cat(0x20, "\x81\x80\x80\x80\x00", 0x1a),
	} {
		if _, _, err := meter.Rewrite(body(code), meter.Options{}); err != nil {
			t.Errorf("% x: %v", code, err)
		}
	}
}

// TestWithoutASurroundingAnInstructionIsRefused: memory and data instructions in a module that has none.
func TestWithoutASurroundingAnInstructionIsRefused(t *testing.T) {
	for name, code := range map[string][]byte{
		"load": cat(i32c(0), 0x28, 0, 0), "store": cat(i32c(0), i32c(0), 0x36, 0, 0), "size": cat(0x3f, 0), "grow": cat(0x40, 0),
		"fill": cat(0xfc, 11, 0), "copy": cat(0xfc, 10, 0, 0), "init": cat(0xfc, 8, 0, 0), "drop": cat(0xfc, 9, 0),
		"call_indirect": cat(0x11, 0, 0), "table.get": cat(0x25, 0), "elem.drop": cat(0xfc, 13, 0), "global.get": cat(0x23, 0),
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, mod{funcs: []fn{{body: code}}}.bytes(), meter.Options{}, meter.ErrMalformed, "")
		})
	}
}

// TestDataWithoutACountCannotBeNamed: the format demands the data count section before code that names a segment.
func TestDataWithoutACountCannotBeNamed(t *testing.T) {
	m := rich()
	m.start, m.count = nil, false
	refused(t, m.bytes(), meter.Options{}, meter.ErrMalformed, "data segment 1 of 0")
}

// TestEveryUnknownOpcodeIsRefused goes through all bytes.
func TestEveryUnknownOpcodeIsRefused(t *testing.T) {
	known := func(c int) bool {
		return c <= 5 || c >= 0x0b && c <= 0x11 || c >= 0x1a && c <= 0x1c || c >= 0x20 && c <= 0x26 || c >= 0x28 && c <= 0xc4 ||
			c >= 0xd0 && c <= 0xd2 || c == 0xfc
	}
	for c := range 256 {
		_, _, err := meter.Rewrite(body(c, make([]byte, 20)), meter.Options{})
		if !known(c) && !errors.Is(err, meter.ErrUnsupported) {
			t.Errorf("%#x: %v", c, err)
		}
		if known(c) && errors.Is(err, meter.ErrUnsupported) && !strings.Contains(err.Error(), "reference") {
			t.Errorf("%#x is known: %v", c, err)
		}
	}
}

// TestEveryCutIsRefused: no beginning of a module is one, but where a section ends that nothing needs to follow.
func TestEveryCutIsRefused(t *testing.T) {
	module := rich().bytes()
	whole := 0
	for n := range module {
		_, _, err := meter.Rewrite(module[:n], meter.Options{AllowStart: true})
		if err == nil {
			whole++
			continue
		}
		if !errors.Is(err, meter.ErrMalformed) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if whole > 5 {
		t.Fatalf("%d beginnings of a module are taken", whole)
	}
}

// TestLimits: each limit is met exactly, and refused one over.
func TestLimits(t *testing.T) {
	funcs := func(n int) []byte { return mod{oneType: true, funcs: make([]fn, n)}.bytes() }
	nested := func(n int) []byte {
		return mod{funcs: []fn{{body: cat(repeat(n, cat(0x02, 0x40)), repeat(n, []byte{0x0b}))}}}.bytes()
	}
	segments := func(n, size int) []byte {
		return mod{data: repeatSlices(n, cat(1, sized(make([]byte, size))))}.bytes()
	}
	entries := func(n int) []byte {
		return mod{tables: [][]byte{cat(0x70, 0, 1)}, funcs: make([]fn, 1), elems: [][]byte{cat(1, 0, vec(repeatSlices(n, leb(0))...))}}.bytes()
	}
	for _, c := range []struct {
		name     string
		o        meter.Options
		ok, over []byte
	}{
		{"bytes", meter.Options{MaxModule: len(funcs(3))}, funcs(3), funcs(4)},
		{"functions", meter.Options{MaxFunctions: 7}, funcs(7), funcs(8)},
		{"default functions", meter.Options{}, funcs(10_000), funcs(10_001)},
		{"body", meter.Options{MaxBody: 10}, mod{funcs: []fn{{body: make([]byte, 0)}, {body: repeat(8, []byte{1})}}}.bytes(), mod{funcs: []fn{{body: repeat(9, []byte{1})}}}.bytes()},
		{"locals", meter.Options{}, mod{funcs: []fn{{params: []byte{i32}, locals: locals(999, i32)}}}.bytes(), mod{funcs: []fn{{params: []byte{i32}, locals: locals(1000, i32)}}}.bytes()},
		{"nesting", meter.Options{}, nested(256), nested(257)},
		{"types", meter.Options{}, mod{types: repeatSlices(1000, functype(nil, nil))}.bytes(), mod{types: repeatSlices(1001, functype(nil, nil))}.bytes()},
		{"globals", meter.Options{}, mod{globals: repeatSlices(1000, cat(i32, 0, i32c(1), 0x0b))}.bytes(), mod{globals: repeatSlices(1001, cat(i32, 0, i32c(1), 0x0b))}.bytes()},
		{"imports", meter.Options{}, mod{types: [][]byte{functype(nil, nil)}, imports: repeatSlices(1000, importFn("a", "b", 0))}.bytes(), mod{types: [][]byte{functype(nil, nil)}, imports: repeatSlices(1001, importFn("a", "b", 0))}.bytes()},
		{"segments", meter.Options{}, segments(1000, 1), segments(1001, 1)},
		{"data", meter.Options{MaxData: 100}, segments(10, 10), segments(10, 11)},
		{"entries", meter.Options{MaxTableEntries: 50}, entries(50), entries(51)},
		{"pages", meter.Options{MaxPages: 3}, mod{memory: cat(0, 3)}.bytes(), mod{memory: cat(0, 4)}.bytes()},
		{"tables", meter.Options{MaxTables: 2}, mod{tables: repeatSlices(2, cat(0x70, 0, 1))}.bytes(), mod{tables: repeatSlices(3, cat(0x70, 0, 1))}.bytes()},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, _, err := meter.Rewrite(c.ok, c.o); err != nil {
				t.Errorf("at the limit: %v", err)
			}
			refused(t, c.over, c.o, meter.ErrLimit, "")
		})
	}
}

// TestLargerMaximaAreClipped: what an instance can grow to is bounded, whatever the module declares.
func TestLargerMaximaAreClipped(t *testing.T) {
	for _, memory := range [][]byte{cat(0, 1), cat(1, 1, leb(65536)), cat(1, 1, 10)} {
		out, r, err := meter.Rewrite(mod{memory: memory, tables: [][]byte{cat(0x70, 0, 2)}}.bytes(), meter.Options{MaxPages: 10, MaxTableEntries: 99})
		if err != nil || r.MaxPages != 10 || r.MinPages != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		if !bytes.Contains(out, cat(5, sized(1, 1, 1, 10))) || !bytes.Contains(out, cat(4, sized(1, 0x70, 1, 2, 99))) {
			t.Fatalf("no clipped limits in % x", out)
		}
	}
}
