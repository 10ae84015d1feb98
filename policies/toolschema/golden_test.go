package toolschema_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go/x/exp/schema"

	"github.com/gatewright/gatewright/policies/toolschema"
)

// vectors finds the folder of outside vectors, or ends the test.
func vectors(t *testing.T) string {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "shared", "vectors", "mcp-cedar-schema")
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("outside vectors are missing: %v", err)
		}
		t.Skipf("outside vectors are missing: %v", err)
	}
	return dir
}

func read(t *testing.T, parts ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGoldenSchemas: the text of the official generator's own examples, byte by byte up to the end of the last line, and
// their JSON form, compared as parsed and resolved.
func TestGoldenSchemas(t *testing.T) {
	dir := vectors(t)
	stub := read(t, dir, "stub.cedarschema")
	for _, c := range []struct {
		tool, want string
		o          toolschema.Options
	}{
		{"tool", "tool_default", toolschema.Options{}},
		{"tool", "tool_objects_as_records", toolschema.Options{ObjectsAsRecords: true}},
		{"tool", "tool_encode_numbers_as_decimal", toolschema.Options{NumbersAsDecimal: true}},
		{"tool", "tool_include_outputs", toolschema.Options{IncludeOutputs: true}},
		{"tool", "tool_flattened_namespace", toolschema.Options{Flatten: true}},
		{"tool", "tool_keep_annotations", toolschema.Options{KeepAnnotations: true}},
		{"tool_mixed_array", "tool_mixed_array", toolschema.Options{}},
		{"tool_nullable_objects", "tool_nullable_objects", toolschema.Options{}},
		{"tool_tuple", "tool_tuple", toolschema.Options{}},
	} {
		t.Run(c.want, func(t *testing.T) {
			got, err := toolschema.Generate(stub, read(t, dir, "simple", c.tool+".json"), c.o)
			if err != nil {
				t.Fatal(err)
			}
			want := read(t, dir, "simple", c.want+".cedarschema")
			if trim(got.Cedar()) != trim(want) {
				t.Errorf("%s", difference(trim(got.Cedar()), trim(want)))
			}
			name := filepath.Join(dir, "simple", c.want+".cedarschema.json")
			if _, err := os.Stat(name); err != nil {
				return // the examples added last have no JSON form
			}
			ours, err := got.JSON()
			if err != nil {
				t.Fatal(err)
			}
			if g, w := meaning(t, ours), meaning(t, read(t, name)); g != w {
				t.Errorf("the JSON form means something else: %s", difference(g, w))
			}
		})
	}
}

func trim(b []byte) string { return strings.TrimRight(string(b), "\n") }

// meaning parses a schema's JSON form and writes what it resolves to, one declaration after the other.
func meaning(t *testing.T, b []byte) string {
	t.Helper()
	var s schema.Schema
	if err := s.UnmarshalJSON(b); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Resolve(); err != nil {
		t.Fatal(err)
	}
	for _, ns := range s.AST().Namespaces {
		for id, a := range ns.Actions { // Rust writes an action that applies to nothing as one that applies to none of all types
			if a.AppliesTo != nil && len(a.AppliesTo.Principals)+len(a.AppliesTo.Resources) == 0 {
				a.AppliesTo = nil
				ns.Actions[id] = a
			}
		}
	}
	text, err := s.MarshalCedar()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// difference shows the first line that differs.
func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return "got  " + g[i] + "\nwant " + w[i] + "\nin\n" + got
		}
	}
	return "one goes on where the other ends:\n" + got
}
