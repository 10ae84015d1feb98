package wasm_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
	"github.com/gatewright/gatewright/wasm/scan"
)

// TestTheReadmesFilterWorks builds the whole filter that README.md shows and asks it.
func TestTheReadmesFilterWorks(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(page), "```c\n")
	code, rest, found := strings.Cut(code, "```\n")
	_, flags, _ := strings.Cut(rest, "    clang ")
	flags, _, ends := strings.Cut(flags, " -o filter.wasm filter.c\n")
	if !found || !ends {
		t.Fatal("README.md shows no filter, or not how it is built")
	}
	f, err := newRuntime(t, nil).Load(t.Context(), "readme", compileC(t, code, strings.Fields(flags)), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tool, id string
		want     wasm.Verdict
	}{
		{"read", "", wasm.Verdict{Kind: wasm.Pass}},
		{"deletes", "pln_1", wasm.Verdict{Kind: wasm.Pass, Labels: []string{"planned"}}},
		{"delete", "", wasm.Verdict{Kind: wasm.Deny, Reason: "no_deletion"}},
		{"delete", "pln_1", wasm.Verdict{Kind: wasm.Deny, Reason: "no_deletion", Labels: []string{"planned"}}},
	} {
		var v wasm.Verdict
		shown := &abi.Context{Tool: c.tool, Plan: abi.Plan{ID: c.id, In: c.id != ""}}
		if err := f.Decide(t.Context(), shown, &v); err != nil || v.Kind != c.want.Kind || v.Reason != c.want.Reason || !slices.Equal(v.Labels, c.want.Labels) {
			t.Errorf("%s %q: %v %+v", c.tool, c.id, err, v)
		}
	}
}

// compileC builds a module, by the first clang that knows wasm32.
func compileC(t *testing.T, code string, flags []string) []byte {
	t.Helper()
	dir := t.TempDir()
	source, module := filepath.Join(dir, "filter.c"), filepath.Join(dir, "filter.wasm")
	if err := os.WriteFile(source, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	args := append(slices.Clone(flags), "-Wall", "-Werror", "-Wno-pointer-to-int-cast", "-o", module, source)
	var said []string
	for _, clang := range []string{"clang", "/usr/lib/llvm-19/bin/clang", "/usr/lib/llvm-14/bin/clang"} {
		out, err := exec.CommandContext(ctx, clang, args...).CombinedOutput() //nolint:gosec // a list of ours
		if err == nil {
			built, err := os.ReadFile(module) //nolint:gosec // made above
			if err != nil {
				t.Fatal(err)
			}
			return built
		}
		if len(out) > 0 {
			t.Fatalf("%s %s: %v\n%s", clang, strings.Join(args, " "), err, out)
		}
		said = append(said, err.Error())
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("no clang: %q", said)
	}
	t.Skipf("no clang, which the guests' toolchains bring: %q", said)
	return nil
}

// TestTheReadmeCountsWASI: the page says how many functions of WASI there are, and what is refused lists them.
func TestTheReadmeCountsWASI(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, i := range scan.Imports(scan.GW) {
		if i.Module == scan.WASIModule {
			n++
		}
	}
	if want := fmt.Sprintf("the %d functions of WASI", n); n == 0 || !strings.Contains(string(page), want) {
		t.Errorf("README.md does not say %q", want)
	}
}
