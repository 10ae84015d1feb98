package meter_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/gatewright/gatewright/wasm/meter"
	"github.com/gatewright/gatewright/wasm/scan"
)

// The specification's own tests, which the engine carries in its module, run here twice: as they are, and scanned and
// metered. What a module gives, or that it traps and why, must be the same.

// specOptions are wide, so that few modules are over a limit; memory is as large as the engine is told to allow.
func specOptions() meter.Options {
	return meter.Options{
		MaxPages: specPages, AllowStart: true, AllowTables: true, MaxTables: 100, MaxTableEntries: 1 << 27, MaxNesting: 2000, MaxDepth: 1 << 20, MaxArity: 1000,
		MaxLocals: 2000, MaxTargets: 100_000, AnyDialect: true,
	}
}

const specPages = 1024

func TestTheSpecificationHoldsForMeteredModules(t *testing.T) {
	dir := specDir(t)
	total := &tally{Refused: map[string]int{}}
	for _, version := range []string{"v1", "v2"} {
		files, err := filepath.Glob(filepath.Join(dir, version, "testdata", "*.json"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no tests of %s: %v", version, err)
		}
		for _, f := range files {
			t.Run(version+"/"+strings.TrimSuffix(filepath.Base(f), ".json"), func(t *testing.T) {
				runSpec(t, f, total)
			})
		}
	}
	t.Logf("%+v", *total)
	if total.Modules < 1700 || total.Calls < 30_000 || total.Rejected < 1000 {
		t.Fatalf("too little was compared: %+v", *total)
	}
}

// tally is what was compared and what was not: modules that are refused, by why.
type tally struct {
	Modules, Calls, Rejected int
	Refused                  map[string]int
}

// excluded are the modules of the specification that are refused on purpose, by what their refusal says.
var excluded = map[string]string{
	"SIMD":                                 "vectors do not run here, and the engine is told so",
	"\" is no function":                    "a memory, table or global from elsewhere could not be bounded: only OPA's env.memory is given",
	"a reference to the imported function": "called through a table an import would cost what call_indirect costs, whatever the host does in it",
}

// taken are the modules that the engine takes as they are and that are refused nevertheless.
var taken = map[string]string{
	"v2/simd_select.0.wasm": "it only names a vector in a type; the engine, told that it has none, lets it pass",
}

// specDir is the folder of the tests; without it the test is skipped.
func specDir(t *testing.T) string {
	t.Helper()
	dir, err := specFolder()
	if err != nil {
		t.Skipf("the engine's module is not in the module cache: %v", err)
	}
	return dir
}

// specFolder finds the tests in the module cache.
func specFolder() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		return "", fmt.Errorf("ask for the engine's folder: %w", err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "internal", "integration_test", "spectest")
	_, err = os.Stat(dir)
	return dir, err
}

type specCommand struct {
	Type     string `json:"type"`
	Line     int    `json:"line"`
	Name     string `json:"name"`
	Filename string `json:"filename"`
	Action   struct {
		Type   string      `json:"type"`
		Module string      `json:"module"`
		Field  string      `json:"field"`
		Args   []specValue `json:"args"`
	} `json:"action"`
}

type specValue struct {
	Type  string `json:"type"`
	Value any    `json:"value"`
}

// bits is a value as the engine takes it; false for vectors.
func (v specValue) bits() (uint64, bool) {
	s, ok := v.Value.(string)
	switch {
	case v.Value == nil || s == "null":
		return 0, v.Type != "v128"
	case !ok:
		return 0, false
	case v.Type == "externref":
		n, err := strconv.ParseUint(s, 10, 64)
		return n + 1, err == nil
	case strings.HasPrefix(s, "nan"):
		return map[string]uint64{"f32": 0x7fc00000, "f64": 0x7ff8000000000000}[v.Type], true
	case strings.HasPrefix(s, "-"):
		n, err := strconv.ParseInt(s, 10, 64)
		if strings.HasSuffix(v.Type, "32") {
			return uint64(uint32(n)), err == nil
		}
		return uint64(n), err == nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

// A twin is one module twice.
type twin struct{ plain, metered api.Module }

// specRun is one file's run.
type specRun struct {
	t        *testing.T
	plain    wazero.Runtime
	metered  wazero.Runtime
	last     *twin
	named    map[string]*twin
	dir      string
	total    *tally
	contexts context.Context
}

func runSpec(t *testing.T, file string, total *tally) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Commands []specCommand `json:"commands"`
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	s := &specRun{
		t: t, plain: specRuntime(t), metered: specRuntime(t), named: map[string]*twin{}, dir: filepath.Dir(file), total: total,
		contexts: &budget{Context: t.Context(), left: 1 << 60, slice: 20_000},
	}
	for _, c := range all.Commands {
		s.command(c)
	}
}

// specRuntime is an engine with the functions that the tests import.
func specRuntime(t *testing.T) wazero.Runtime {
	cfg := wazero.NewRuntimeConfigCompiler().WithCoreFeatures(features).WithMemoryLimitPages(specPages)
	r := wazero.NewRuntimeWithConfig(t.Context(), cfg)
	t.Cleanup(func() { r.Close(context.Background()) })
	b := r.NewHostModuleBuilder("spectest")
	for name, params := range map[string][]api.ValueType{
		"print": nil, "print_i32": {i32}, "print_i64": {i64}, "print_f32": {f32}, "print_f64": {f64},
		"print_i32_f32": {i32, f32}, "print_f64_f64": {f64, f64},
	} {
		b.NewFunctionBuilder().WithGoFunction(api.GoFunc(func(context.Context, []uint64) {}), params, nil).Export(name)
	}
	if _, err := b.Instantiate(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := r.NewHostModuleBuilder(meter.ImportModule).NewFunctionBuilder().
		WithGoFunction(api.GoFunc(refuel), []api.ValueType{i64}, []api.ValueType{i64}).Export(meter.ImportName).Instantiate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (s *specRun) command(c specCommand) {
	switch c.Type {
	case "module":
		s.module(c)
	case "assert_malformed", "assert_invalid":
		if strings.HasSuffix(c.Filename, ".wasm") {
			s.invalid(c)
		}
	case "assert_return", "assert_trap", "action":
		m := s.last
		if c.Action.Module != "" {
			m = s.named[c.Action.Module]
		}
		if c.Action.Type == "invoke" && m != nil {
			s.invoke(m, c)
		}
	}
}

func (s *specRun) read(c specCommand) []byte {
	b, err := os.ReadFile(filepath.Join(s.dir, c.Filename))
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

func (s *specRun) module(c specCommand) {
	s.last = nil
	module := s.read(c)
	cfg := wazero.NewModuleConfig().WithName("")
	plain, plainErr := s.plain.InstantiateWithConfig(s.contexts, module, cfg)
	out, _, err := meter.Rewrite(module, specOptions())
	s.scan(c, module, err)
	if err != nil {
		s.refused(c, plainErr, err)
		return
	}
	again, _, err := meter.Rewrite(module, specOptions())
	if err != nil || !slices.Equal(out, again) {
		s.t.Errorf("line %d: rewriting twice gives different bytes", c.Line)
	}
	metered, err := s.metered.InstantiateWithConfig(s.contexts, out, cfg)
	if (plainErr == nil) != (err == nil) {
		s.t.Errorf("line %d, %s: plain %v, metered %v", c.Line, c.Filename, plainErr, err)
	}
	if plainErr != nil || err != nil {
		return
	}
	s.total.Modules++
	s.last = &twin{plain, metered}
	if c.Name != "" {
		s.named[c.Name] = s.last
	}
}

// refused: a module is refused for a reason that is known, and one that the engine takes only when it is named.
func (s *specRun) refused(c specCommand, plain, err error) {
	name := filepath.Base(filepath.Dir(s.dir)) + "/" + c.Filename
	if plain == nil && taken[name] == "" {
		s.t.Errorf("line %d: the engine takes %s: %v", c.Line, name, err)
	}
	for said, why := range excluded {
		if strings.Contains(err.Error(), said) && errors.Is(err, meter.ErrUnsupported) {
			s.total.Refused[why]++
			return
		}
	}
	s.t.Errorf("line %d, %s is refused for a reason of no known class: %v", c.Line, name, err)
}

// scan reads a module as an upload is read, which must say what the meter says.
func (s *specRun) scan(c specCommand, module []byte, meter error) {
	_, err := scan.Scan(iotest.HalfReader(bytes.NewReader(module)), specOptions())
	if fmt.Sprint(err) != fmt.Sprint(meter) {
		s.t.Errorf("line %d, %s: scanned %v, metered %v", c.Line, c.Filename, err, meter)
	}
}

// invalid: what the engine refuses must not become valid by rewriting.
func (s *specRun) invalid(c specCommand) {
	module := s.read(c)
	if _, err := s.plain.CompileModule(s.t.Context(), module); err == nil {
		return
	}
	s.total.Rejected++
	out, _, err := meter.Rewrite(module, specOptions())
	s.scan(c, module, err)
	if err != nil {
		return
	}
	if _, err := s.metered.CompileModule(s.t.Context(), out); err == nil {
		s.t.Errorf("line %d, %s: rewriting made an invalid module valid", c.Line, c.Filename)
	}
}

func (s *specRun) invoke(m *twin, c specCommand) {
	var args []uint64
	for _, v := range c.Action.Args {
		b, ok := v.bits()
		if !ok {
			return
		}
		args = append(args, b)
	}
	s.total.Calls++
	p, m2 := m.plain.ExportedFunction(c.Action.Field), m.metered.ExportedFunction(c.Action.Field)
	if p == nil || m2 == nil {
		s.t.Fatalf("line %d: no function %q: %v, %v", c.Line, c.Action.Field, p, m2)
	}
	want, wantErr := p.Call(s.contexts, args...)
	m.metered.ExportedGlobal(meter.DepthGlobal).(api.MutableGlobal).Set(1 << 20)
	got, gotErr := m2.Call(s.contexts, args...)
	if cause(wantErr) != cause(gotErr) {
		s.t.Errorf("line %d, %s: plain %v, metered %v", c.Line, c.Action.Field, wantErr, gotErr)
	}
	if wantErr == nil && gotErr == nil {
		s.same(c, p.Definition().ResultTypes(), want, got)
	}
}

// same compares results; references are addresses of the two instances.
func (s *specRun) same(c specCommand, types []api.ValueType, want, got []uint64) {
	for i, t := range types {
		if t == api.ValueTypeExternref || t == 0x70 {
			want[i], got[i] = min(want[i], 1), min(got[i], 1)
		}
	}
	if !slices.Equal(want, got) {
		s.t.Errorf("line %d, %s: plain %x, metered %x", c.Line, c.Action.Field, want, got)
	}
}

// cause is the first line of a trap.
func cause(err error) string {
	if err == nil {
		return ""
	}
	first, _, _ := strings.Cut(fmt.Sprint(err), "\n")
	return first
}
