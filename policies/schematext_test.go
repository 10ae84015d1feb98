package policies_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gatewright/gatewright/policies"
)

// TestSchemaText: the text holds what the engine reads of the tools, and the names of tools stay names.
func TestSchemaText(t *testing.T) {
	hostile := "x\"; entity Evil; action \"y\n"
	text, skipped, err := policies.Schema(policies.Default(), []policies.ToolDef{
		{Server: "files", Name: "read", InputSchema: []byte(`{"type": "object", "properties": {"path": {"type": "string"}, "odd name": {"type": ["string", "null"]}, "any": {}}, "required": ["path"]}`)},
		{Server: "s", Name: hostile},
		{Server: "", Name: "nameless"},
	})
	if err != nil || len(skipped) != 1 {
		t.Fatal(skipped, err)
	}
	for _, want := range []string{"action files___read in call_tool", "path: String", `"odd name"?: String`, "any?: Json", `\n" in call_tool`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "\nentity Evil") {
		t.Errorf("a tool's name became a declaration:\n%s", text)
	}
}

// TestSchemaTextRefusals: a type that would mean another thing in the text, and what is no bundle.
func TestSchemaTextRefusals(t *testing.T) {
	b, err := policies.LoadBundle(fstest.MapFS{
		"a.cedar":            {Data: []byte("permit (principal, action, resource);")},
		"schema.cedarschema": {Data: []byte("entity String;")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if text, _, err := policies.Schema(b, []policies.ToolDef{{Server: "files", Name: "read", InputSchema: []byte(`{"type": "object", "properties": {"path": {"type": "string"}}}`)}}); err == nil {
		t.Errorf("a bundle's String passes for Cedar's:\n%s", text)
	}
	if _, _, err := policies.Schema(nil, nil); err == nil {
		t.Error("no bundle has a schema")
	}
}
