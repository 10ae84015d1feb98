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

// refused checks that a module is refused for a reason of a kind, and not returned.
func refused(t *testing.T, module []byte, o meter.Options, kind error, text string) {
	t.Helper()
	out, report, err := meter.Rewrite(module, o)
	var e *meter.Error
	if !errors.As(err, &e) || !errors.Is(err, kind) || !strings.Contains(err.Error(), text) {
		t.Fatalf("got %v, want %v about %q", err, kind, text)
	}
	if out != nil || report.Size != 0 {
		t.Fatalf("%d bytes of a refused module, %+v", len(out), report)
	}
}

// TestWhatIsRefusedIsNotWritten: package scan tells what is refused, and its tests hold that Rewrite says the same.
func TestWhatIsRefusedIsNotWritten(t *testing.T) {
	refused(t, rich().bytes(), meter.Options{}, meter.ErrUnsupported, "start")
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
