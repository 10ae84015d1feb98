package meter_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/gatewright/gatewright/wasm/meter"
	"github.com/gatewright/gatewright/wasm/scan"
)

// goFilter reads its input as JSON, looks for a key and says what it found.
const goFilter = `package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"unsafe"
)

var (
	key     = regexp.MustCompile("AKIA[0-9A-Z]{16}")
	in, out []byte
)

//go:wasmexport gw_abi_1
func abi() {}

//go:wasmexport gw_alloc
func alloc(n int32) int32 {
	in = make([]byte, n)
	return int32(uintptr(unsafe.Pointer(unsafe.SliceData(in))))
}

//go:wasmexport gw_decide
func decide(at, n int32) int64 {
	var v map[string]any
	if err := json.Unmarshal(in[:n], &v); err != nil {
		panic(err)
	}
	out, _ = json.Marshal(map[string]string{"verdict": "pass", "message": fmt.Sprint(len(v), key.FindString(string(in)))})
	return int64(uintptr(unsafe.Pointer(unsafe.SliceData(out))))<<32 | int64(len(out))
}

func main() {}
`

// goModule builds the filter as authors do.
func goModule(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"main.go": goFilter, "go.mod": "module filter\n\ngo 1.26\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", "filter.wasm", ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	module, err := os.ReadFile(filepath.Join(dir, "filter.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	return module
}

// TestAFilterInGoIsOfTheLargeClass: what Go builds is taken as large and not as small, is soon rewritten, and says
// metered what it says plain.
func TestAFilterInGoIsOfTheLargeClass(t *testing.T) {
	module := goModule(t)
	report, err := scan.Scan(bytes.NewReader(module), scan.Large())
	if err != nil || report.Class != scan.LargeClass || report.Dialect != scan.GW {
		t.Fatalf("%s, %s, %v", report.Class, report.Dialect, err)
	}
	report.Imports, report.Exports = nil, nil
	t.Logf("%+v", report)
	if _, err := scan.Scan(bytes.NewReader(module), scan.Small()); err == nil {
		t.Fatal("it is taken as small")
	}
	start := time.Now()
	metered, _, err := meter.Rewrite(module, scan.Large())
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	t.Logf("%d bytes, metered %d, in %v", len(module), len(metered), took)
	if os.Getenv("GATEWRIGHT_TIMES") != "" && took > time.Second {
		t.Error("that is too long")
	}
	input := `{"arguments":{"key":"AKIAABCDEFGHIJKLMNOP"},"b":[1,2,{"c":null}]}`
	want := `{"message":"2AKIAABCDEFGHIJKLMNOP","verdict":"pass"}`
	for name, m := range map[string][]byte{"plain": module, "metered": metered} {
		if got := decide(t, m, input); got != want {
			t.Errorf("%s says %q, want %q", name, got, want)
		}
	}
}

// decide asks a filter on the interpreter, which is sooner ready than the compiler.
func decide(t *testing.T, module []byte, input string) string {
	t.Helper()
	b := fuel(t, 1<<40, 100_000)
	r := wazero.NewRuntimeWithConfig(b, wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(features))
	defer r.Close(context.Background())
	host(t, r, meter.ImportModule, meter.ImportName, []api.ValueType{i64}, []api.ValueType{i64}, func(ctx context.Context, _ api.Module, stack []uint64) {
		refuel(ctx, stack)
	})
	wasi_snapshot_preview1.MustInstantiate(b, r)
	m, err := r.InstantiateWithConfig(b, module, wazero.NewModuleConfig().WithStartFunctions("_initialize"))
	if err != nil {
		t.Fatal(err)
	}
	at, err := m.ExportedFunction("gw_alloc").Call(b, uint64(len(input)))
	if err != nil || !m.Memory().WriteString(uint32(at[0]), input) {
		t.Fatalf("%v, %v", at, err)
	}
	answer, err := m.ExportedFunction("gw_decide").Call(b, at[0], uint64(len(input)))
	if err != nil {
		t.Fatal(err)
	}
	said, _ := m.Memory().Read(uint32(answer[0]>>32), uint32(answer[0]))
	return string(said)
}
