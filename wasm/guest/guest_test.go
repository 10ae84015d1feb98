// Package guest_test builds the examples of all guest kits and holds them to one set of vectors.
package guest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	kits     = []string{"assemblyscript", "c", "go", "rust"}
	examples = []string{"redact-secrets", "block-sql", "label-pii", "rate-injection"}
)

// vector is a call and what its verdict has to be, as gatewright filter push takes them.
type vector struct {
	Name      string
	Phase     string
	Arguments json.RawMessage
	Result    json.RawMessage
	Want      struct {
		Verdict string
		Reason  string
		Labels  []string
		Scores  map[string]int64
		Body    json.RawMessage
	}
}

func vectors(t *testing.T, example string) []vector {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("vectors", example+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []vector }
	if err := json.Unmarshal(text, &file); err != nil || len(file.Vectors) < 12 {
		t.Fatalf("%d vectors of %s: %v", len(file.Vectors), example, err)
	}
	return file.Vectors
}

// config is what gw_init is shown; not all examples take one.
func config(t *testing.T, example string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("vectors", example+".config.json"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return text
}

// build builds the examples of a kit and returns where they are. Without its compiler the test is skipped, but for CI.
func build(t *testing.T, kit string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	script := filepath.Join(kit, "build.sh")
	missing, err := exec.CommandContext(ctx, "bash", script, "--toolchain").CombinedOutput()
	if err != nil && os.Getenv("CI") != "true" {
		t.Skipf("missing %s; toolchains.sh install brings it", strings.Join(strings.Fields(string(missing)), ", "))
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(ctx, "bash", script, dir).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v; missing: %s\n%s", script, err, missing, out)
	}
	return dir
}

// runtime takes modules of the large class too, which Go's are.
func runtime(t *testing.T) *wasm.Runtime {
	t.Helper()
	c := wasm.DefaultConfig()
	c.MaxModule = 8 << 20
	r, err := wasm.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (v vector) ask(t *testing.T, f *wasm.Filter) wasm.Verdict {
	t.Helper()
	c := &abi.Context{
		Tenant: "org_1", Agent: "agt_1", User: "usr_1", Op: "tools/call", Server: "files", Tool: "read", Now: 1_700_000_000_000,
		Labels: []string{"seen:before"}, Body: v.Arguments,
	}
	ask := f.Decide
	if v.Phase == "response" {
		c.Phase, c.Body, ask = abi.Response, v.Result, f.OnResponse
	}
	var got wasm.Verdict
	if err := ask(t.Context(), c, &got); err != nil {
		t.Fatalf("%s: %v", v.Name, err)
	}
	return got
}

// met compares a verdict with what is wanted. What is not said may be anything.
func (v vector) met(t *testing.T, got wasm.Verdict) {
	t.Helper()
	scores := map[string]int64{}
	for _, s := range got.Scores {
		scores[s.Name] = s.Value
	}
	switch w := v.Want; {
	case w.Verdict != got.Kind.String(), w.Reason != "" && w.Reason != got.Reason, w.Labels != nil && !slices.Equal(w.Labels, got.Labels),
		w.Scores != nil && !maps.Equal(w.Scores, scores), w.Body != nil && compact(t, w.Body) != compact(t, got.Body):
		t.Errorf("%s: %s %s %q %v %s", v.Name, got.Kind, got.Reason, got.Labels, scores, got.Body)
	}
}

// compact makes JSON comparable.
func compact(t *testing.T, text []byte) string {
	t.Helper()
	var value any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&value); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// said is a verdict in full, but for what it cost.
func said(v wasm.Verdict) string {
	return fmt.Sprintf("%s %q %q %q %v %s", v.Kind, v.Reason, v.Message, v.Labels, v.Scores, v.Body)
}

// TestExamplesMeetTheirVectors: each example, in each language, answers as its vectors say, and all languages answer alike, to
// the byte.
func TestExamplesMeetTheirVectors(t *testing.T) {
	all := map[string]string{} // what the first language said, by example and vector
	for _, kit := range kits {
		t.Run(kit, func(t *testing.T) {
			if testing.Short() && kit != "c" {
				t.Skip("short")
			}
			dir := build(t, kit)
			r := runtime(t)
			for _, example := range examples {
				module, err := os.ReadFile(filepath.Join(dir, example+".wasm"))
				if err != nil {
					t.Fatal(err)
				}
				started := time.Now()
				f, err := r.Load(t.Context(), example, module, config(t, example))
				if err != nil {
					t.Fatal(err)
				}
				refuse(t, r, example, module)
				t.Run(example, func(t *testing.T) {
					t.Logf("%d bytes, loaded in %v, %d KiB of memory", len(module), time.Since(started).Round(time.Millisecond), f.Stats().Memory>>10)
					meet(t, f, example, all)
				})
			}
		})
	}
}

func meet(t *testing.T, f *wasm.Filter, example string, all map[string]string) {
	t.Helper()
	most := int64(0)
	for _, v := range vectors(t, example) {
		got := v.ask(t, f)
		v.met(t, got)
		most = max(most, got.Fuel)
		key := example + ": " + v.Name
		if first, ok := all[key]; ok && first != said(got) {
			t.Errorf("%s: %s, another language said %s", v.Name, said(got), first)
		}
		all[key] = said(got)
	}
	t.Logf("at most %d units of fuel", most)
}

// refused are configurations that an example must not take: a filter that is not what it was meant to be must not run.
var refused = map[string][]string{
	"block-sql": {"", "{}", `{"tables":[]}`, `{"tables":["a b"]}`, `{"tables":["pay\u0000roll"]}`, `{"tables":["caf\u00e9"]}`, `{"tables":[""]}`, `{"table":["a"]}`},
	"rate-injection": {
		`{"deny_from":0}`, `{"deny_from":1001}`, `{"deny_from":-1}`, `{"deny_from":8e2}`, `{"deny_from":"800"}`, `{"deny_from":99999}`, `{"deny_from":4294967396}`,
	},
}

func refuse(t *testing.T, r *wasm.Runtime, example string, module []byte) {
	t.Helper()
	for _, config := range refused[example] {
		f, err := r.Load(t.Context(), example, module, []byte(config))
		var trap *wasm.Trap
		if f != nil || !errors.As(err, &trap) || trap.Kind != wasm.TrapInit {
			t.Errorf("%s takes %q: %v", example, config, err)
		}
	}
}

// manuals says how the README of a kit is to be tried: the language of the block with a whole filter, the source that the command
// builds, and where the whole filter goes instead.
var manuals = map[string]struct{ language, source, whole, file string }{
	"assemblyscript": {"ts", "examples/block-sql.ts", "whole.ts", "whole.ts"},
	"c":              {"c", "examples/block-sql.c", "whole.c", "whole.c"},
	"go":             {"go", "./examples/block-sql", "./whole", "whole/main.go"},
	"rust":           {"rust", "examples/block-sql.rs", "whole.rs", "whole.rs"},
}

// TestREADMEsAreTrue: in a copy of the kit and with nothing else, the one command that each README gives builds an example, and
// the filter that it shows.
func TestREADMEsAreTrue(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	for _, kit := range kits {
		t.Run(kit, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(kit, "README.md"))
			if err != nil {
				t.Fatal(err)
			}
			how := manuals[kit]
			dir, r := filepath.Join(t.TempDir(), kit), runtime(t)
			if err := os.CopyFS(dir, os.DirFS(kit)); err != nil {
				t.Fatal(err)
			}
			command := block(t, string(text), "sh")
			meet(t, made(t, r, kit, dir, command), "block-sql", map[string]string{})
			file := filepath.Join(dir, how.file)
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(block(t, string(text), how.language)), 0o600); err != nil {
				t.Fatal(err)
			}
			early(t, made(t, r, kit, dir, strings.Replace(command, how.source, how.whole, 1)))
		})
	}
}

// block is the first block of a language in a document.
func block(t *testing.T, text, language string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, "```"+language+"\n")
	if !ok {
		t.Fatalf("no block of %s", language)
	}
	body, _, _ := strings.Cut(rest, "```")
	return body
}

// made is the filter that a command builds.
func made(t *testing.T, r *wasm.Runtime, kit, dir, command string) *wasm.Filter {
	t.Helper()
	run(t, kit, dir, command)
	module, err := os.ReadFile(filepath.Join(dir, "filter.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := r.Load(t.Context(), "filter", module, config(t, "block-sql"))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// early asks the filter that the READMEs show.
func early(t *testing.T, f *wasm.Filter) {
	t.Helper()
	for _, c := range []struct {
		tool string
		hour int64
		want string
	}{
		{"deploy", 3, `deny "too_early" "deployments begin at six" [] [] `},
		{"deploy", 6, `pass "" "" ["hours:checked"] [] `},
		{"deployment", 3, `pass "" "" ["hours:checked"] [] `},
	} {
		var v wasm.Verdict
		if err := f.Decide(t.Context(), &abi.Context{Tool: c.tool, Now: (24*20_000 + c.hour) * 3_600_000}, &v); err != nil || said(v) != c.want {
			t.Errorf("%s at %d: %s, %v", c.tool, c.hour, said(v), err)
		}
	}
}

// run runs a command in a folder, with the compilers that toolchains.sh brings first on the path.
func run(t *testing.T, kit, dir, command string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	const script = `set -euo pipefail
		. "$1/toolchains.sh"
		need=$(case $2 in c) echo clang ;; rust) echo debian-rust ;; go) echo go ;; *) echo assemblyscript ;; esac)
		missing "$need" || exit 75
		if [ "$2" = assemblyscript ]; then
			ln -sfn "$(dirname "$asc")/../.." node_modules
			[ "$node" = node ] || PATH=$(dirname "$node"):$PATH
			PATH=$PWD/node_modules/.bin:$PATH
			npx() { "$@"; }
		fi
		[ "$2" = rust ] && PATH=$(dirname "$debian_rustc"):$PATH
		[ "$2" = c ] && PATH=$(dirname "$clang"):$PATH
		eval "$3"`
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "bash", "-c", script, "bash", here, kit, command)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() == 75 && os.Getenv("CI") != "true" {
		t.Skipf("missing %s; toolchains.sh install brings it", bytes.TrimSpace(out))
	}
	if err != nil {
		t.Fatalf("%s\n%v\n%s", command, err, out)
	}
}
