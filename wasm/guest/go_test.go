package guest_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
)

// tame asks Go's runtime for all that a filter must not get.
const tame = `package main

import (
	"os"
	"time"

	gw "github.com/gatewright/gatewright/wasm/guest/go"
)

var calls int

func digits(n int64) (s string) {
	for ; n > 0; n /= 10 {
		s = string(rune('0'+n%10)) + s
	}
	return s
}

func judge(c gw.Context, v *gw.Verdict) {
	calls++
	switch c.Tool() {
	case "panic":
		panic("it cannot be")
	case "exit":
		os.Exit(0)
	case "wait":
		<-make(chan bool)
	case "spin":
		for {
			calls++
		}
	}
	began, done := time.Now(), make(chan bool)
	go func() {
		time.Sleep(time.Hour)
		println("slept")
		done <- true
	}()
	<-done
	v.Label("calls:" + digits(int64(calls)))
	v.Label("at:" + digits(began.Unix()))
	v.Label("slept:" + digits(int64(time.Since(began)/time.Second)))
	v.Label("arguments:" + digits(int64(len(os.Args)+1)))
	_, err := os.Stdin.Read(make([]byte, 1))
	v.Label("file:" + map[bool]string{true: "none", false: "read"}[err != nil])
	v.Label("home:" + map[bool]string{true: "none", false: "set"}[os.Getenv("HOME") == ""])
	m := map[int]bool{}
	for i := range 64 {
		m[i] = true
	}
	for i := range m { // in an order that the runtime draws by lot
		v.Label("first:" + digits(int64(i+1)))
		break
	}
	gw.Log(gw.Error, "from the kit")
}

//go:wasmexport gw_decide
func decide(_, size uint32) uint64 { return gw.Judge(size, judge) }

func main() {}
`

// TestGoRuntimeIsTamed: it runs as ever, with goroutines and timers, and has no clock, no chance, no file and no memory of the
// last call.
func TestGoRuntimeIsTamed(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	dir := filepath.Join(t.TempDir(), "go")
	if err := os.CopyFS(dir, os.DirFS("go")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "tame"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tame", "main.go"), []byte(tame), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "go", dir, `GOOS=wasip1 GOARCH=wasm go build -trimpath -buildmode=c-shared -ldflags="-s -w" -o filter.wasm ./tame`)
	module, err := os.ReadFile(filepath.Join(dir, "filter.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	c := wasm.DefaultConfig()
	c.MaxModule, c.Fuel, c.MemoryPages, c.InitFuel = 8<<20, 100_000_000, 512, 200_000_000
	r, err := wasm.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	var lines []string
	f, err := r.Load(t.Context(), "tame", module, nil, wasm.WithLog(func(_ int, line string) { lines = append(lines, line) }))
	if err != nil {
		t.Fatal(err)
	}
	asksTwice(t, f)
	if want := []string{"slept", "from the kit", "slept", "from the kit"}; !slices.Equal(lines, want) {
		t.Errorf("%q", lines)
	}
	for tool, want := range map[string][2]string{
		"panic": {wasm.TrapUnreachable, "panic: it cannot be"}, "exit": {wasm.TrapUnreachable, ""},
		"wait": {wasm.TrapUnreachable, "deadlock"}, "spin": {wasm.TrapFuel, ""},
	} {
		lines = nil
		var v wasm.Verdict
		var trap *wasm.Trap
		if err := f.Decide(t.Context(), &abi.Context{Tool: tool}, &v); !errors.As(err, &trap) || trap.Kind != want[0] {
			t.Errorf("%s: %s %v", tool, v.Kind, err)
		}
		if !strings.Contains(strings.Join(lines, "\n"), want[1]) {
			t.Errorf("%s: %q", tool, lines)
		}
	}
	asksTwice(t, f)
}

// asksTwice asks the same twice and wants the same answer for the same fuel.
func asksTwice(t *testing.T, f *wasm.Filter) {
	t.Helper()
	var first, second wasm.Verdict
	for _, v := range []*wasm.Verdict{&first, &second} {
		if err := f.Decide(t.Context(), &abi.Context{Now: 1_700_000_000_999}, v); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"calls:1", "at:1700000000", "slept:3600", "arguments:1", "file:none", "home:none"}
	if len(first.Labels) != 7 || !slices.Equal(first.Labels[:6], want) {
		t.Errorf("%q", first.Labels)
	}
	if said(first) != said(second) || first.Fuel != second.Fuel {
		t.Errorf("%s for %d, then %s for %d", said(first), first.Fuel, said(second), second.Fuel)
	}
}
