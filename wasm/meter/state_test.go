package meter_test

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/gatewright/gatewright/wasm/meter"
)

// TestGlobalsThatCanChangeAreExported: a host can put back all that outlasts a call, and sees nothing of what cannot
// change.
func TestGlobalsThatCanChangeAreExported(t *testing.T) {
	module := mod{
		memory: cat(0, 1),
		globals: [][]byte{
			cat(i32, 0, i32c(1), 0x0b), cat(i64, 1, i64c(22), 0x0b), cat(f32, 1, 0x43, make([]byte, 4), 0x0b),
			cat(0x70, 0, 0xd2, 0, 0x0b), cat(i32, 1, i32c(5), 0x0b),
		},
		exports: [][]byte{exportOf("mine", 3, 1)},
		funcs:   []fn{{export: "run", body: cat(i64c(7), 0x24, 1, i32c(8), 0x24, 4)}},
	}
	out, report, err := meter.Rewrite(module.bytes(), meter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"__state1", "__state2", "__state4"}; !slices.Equal(report.State, want) || !slices.Equal(report.Mutable, []int{1, 2, 4}) {
		t.Fatalf("got %q, %v", report.State, report.Mutable)
	}
	b := fuel(t, 1_000_000, 1000)
	m, err := newRuntime(t).InstantiateWithConfig(b, out, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.ExportedFunction("run").Call(b); err != nil {
		t.Fatal(err)
	}
	second, third := m.ExportedGlobal("__state1").(api.MutableGlobal), m.ExportedGlobal("__state4").(api.MutableGlobal)
	if second.Get() != 7 || third.Get() != 8 || m.ExportedGlobal("mine").Get() != 7 || m.ExportedGlobal("__state0") != nil {
		t.Fatalf("%d, %d", second.Get(), third.Get())
	}
	second.Set(22)
	if m.ExportedGlobal("mine").Get() != 22 {
		t.Fatal("what was put back is not what the module sees")
	}
}

// TestTheNamesOfStateAreTheMeters: a module can neither take nor hide behind them.
func TestTheNamesOfStateAreTheMeters(t *testing.T) {
	for _, name := range []string{"__state0", "__state", "__statement"} {
		refused(t, mod{memory: cat(0, 1), exports: [][]byte{exportOf(name, 2, 0)}}.bytes(), meter.Options{}, meter.ErrUnsupported, "meter's own")
	}
	if _, _, err := meter.Rewrite(mod{memory: cat(0, 1), exports: [][]byte{exportOf("my__state0", 2, 0)}}.bytes(), meter.Options{}); err != nil {
		t.Fatal(err)
	}
}

// importing has the memory of OPA's policies, between two imported functions, and uses it in every way.
func importing(limits []byte, exports ...[]byte) mod {
	return mod{
		types: [][]byte{functype(nil, nil)},
		imports: [][]byte{
			importFn("test", "nothing", 1), cat(sized("env"), sized("memory"), 2, limits), importFn("test", "nothing", 1),
		},
		memories: 1,
		tables:   [][]byte{cat(0x70, 0, 1)},
		elems:    [][]byte{cat(0, i32c(0), 0x0b, vec(leb(2)))},
		data:     [][]byte{cat(0, i32c(8), 0x0b, sized("\x2a\x00\x00\x00"))},
		exports:  exports,
		funcs: []fn{{export: "run", params: []byte{i32}, results: []byte{i32}, body: cat(
			call(0), call(1), i32c(16), get(0), i32c(4), 0xfc, 11, 0, i32c(0), cat(0x28, 2, 8), i32c(0), cat(0x28, 2, 16), 0x6a, 0x3f, 0, 0x6a)}},
	}
}

// TestAnImportedMemoryBecomesTheModulesOwn: of its minimum, with a maximum that is clipped, and exported once.
func TestAnImportedMemoryBecomesTheModulesOwn(t *testing.T) {
	for name, c := range map[string]struct {
		m        mod
		min, max uint32
		exported string
	}{
		"no maximum":            {importing(cat(0, 2)), 2, 10, "memory"},
		"a maximum":             {importing(cat(1, 1, 3)), 1, 3, "memory"},
		"a large maximum":       {importing(cat(1, 1, leb(65536))), 1, 10, "memory"},
		"exported already":      {importing(cat(0, 1), exportOf("memory", 2, 0)), 1, 10, "memory"},
		"exported as something": {importing(cat(0, 1), exportOf("mem", 2, 0)), 1, 10, "mem"},
	} {
		t.Run(name, func(t *testing.T) {
			out, report, err := meter.Rewrite(c.m.bytes(), meter.Options{MaxPages: 10})
			if err != nil || !report.Imported || report.MinPages != c.min || report.MaxPages != c.max {
				t.Fatalf("%+v, %v", report, err)
			}
			b := fuel(t, 1_000_000, 1000)
			r := shapeRuntime(t)
			compiled, err := r.CompileModule(b, out)
			if err != nil {
				t.Fatal(err)
			}
			if len(compiled.ImportedMemories()) != 0 || len(compiled.ImportedFunctions()) != 3 || len(compiled.ExportedMemories()) != 1 {
				t.Fatalf("%v, %v", compiled.ImportedMemories(), compiled.ExportedMemories())
			}
			d := compiled.ExportedMemories()[c.exported]
			if most, ok := d.Max(); d.Min() != c.min || !ok || most != c.max {
				t.Fatalf("at least %d, at most %d", d.Min(), most)
			}
			m, err := r.InstantiateModule(b, compiled, wazero.NewModuleConfig().WithName(""))
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close(context.Background())
			got, err := m.ExportedFunction("run").Call(b, 1)
			if err != nil || got[0] != uint64(42+0x01010101+c.min) {
				t.Fatalf("%v, %v", got, err)
			}
		})
	}
}

// TestAnImportedMemoryHasBounds as any other.
func TestAnImportedMemoryHasBounds(t *testing.T) {
	refused(t, importing(cat(0, 11)).bytes(), meter.Options{MaxPages: 10}, meter.ErrLimit, "11 pages")
	refused(t, importing(cat(3, 1, 2)).bytes(), meter.Options{}, meter.ErrUnsupported, "shared")
	both := importing(cat(0, 1))
	both.memory = cat(0, 1)
	refused(t, both.bytes(), meter.Options{}, meter.ErrLimit, "2 memories")
	twice := importing(cat(0, 1))
	twice.imports, twice.memories = append(twice.imports, twice.imports[1]), 2
	refused(t, twice.bytes(), meter.Options{}, meter.ErrLimit, "2 memories")
	refused(t, importing(cat(0, 1), exportOf("memory", 0, 2)).bytes(), meter.Options{}, meter.ErrUnsupported, "something else")
	other := importing(cat(0, 1))
	other.imports[1] = bytes.Replace(other.imports[1], []byte("env"), []byte("foo"), 1)
	refused(t, other.bytes(), meter.Options{}, meter.ErrUnsupported, "no function")
}

// TestASectionOfNoMemoriesMayFollow: it adds none.
func TestASectionOfNoMemoriesMayFollow(t *testing.T) {
	m := importing(cat(0, 1))
	module := m.bytes()
	at := bytes.Index(module, []byte("\x04\x04\x01\x70\x00\x01")) + 6 // behind the table section
	module = slices.Concat(module[:at], []byte{5, 1, 0}, module[at:])
	out, _, err := meter.Rewrite(module, meter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shapeRuntime(t).CompileModule(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(out, []byte("env")) {
		t.Fatal("the import is still there")
	}
}

// TestAStartFunctionIsExportedWhereItIsNotToRun: by itself nothing runs, for dialects that have such functions; others
// are refused.
func TestAStartFunctionIsExportedWhereItIsNotToRun(t *testing.T) {
	handler := func() mod {
		return mod{
			memory: cat(0, 1), start: leb(2), globals: [][]byte{cat(i32, 1, i32c(0), 0x0b)}, exports: [][]byte{exportOf("g", 3, 0)},
			funcs: []fn{
				{export: "handle_request", results: []byte{i64}, body: i64c(0)}, {export: "handle_response", params: []byte{i32, i32}},
				{body: cat(i32c(9), 0x24, 0)},
			},
		}
	}
	out, report, err := meter.Rewrite(handler().bytes(), meter.Options{ExportStart: true})
	if err != nil || !report.Start {
		t.Fatal(report, err)
	}
	b := fuel(t, 1000, 100)
	m, err := newRuntime(t).InstantiateWithConfig(b, out, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		t.Fatal(err)
	}
	if g := m.ExportedGlobal("g").Get(); g != 0 {
		t.Fatalf("it ran: %d", g)
	}
	if _, err := m.ExportedFunction(meter.StartExport).Call(b); err != nil || m.ExportedGlobal("g").Get() != 9 {
		t.Fatal(err)
	}
	other := handler()
	other.funcs[0].export = ""
	refused(t, other.bytes(), meter.Options{ExportStart: true}, meter.ErrUnsupported, "start")
	named := handler()
	named.funcs[1].export = meter.StartExport
	refused(t, named.bytes(), meter.Options{ExportStart: true}, meter.ErrUnsupported, "meter's own")
}
