package conformance_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/policies"
)

// schemaTools are tools with every kind of argument that the engine tells apart, and names that a text must keep apart.
var schemaTools = []policies.ToolDef{
	{Server: "files", Name: "read", InputSchema: []byte(`{"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}`)},
	{Server: "shop", Name: "pay", InputSchema: []byte(`{"type": "object", "properties": {"amount": {"type": "number"}, "count": {"type": "integer"},
		"to": {"type": "object", "properties": {"iban": {"type": "string"}, "odd name": {"type": ["string", "null"]}}}, "tags": {"type": "array", "items": {"type": "string"}},
		"any": {}, "pair": {"type": "array", "prefixItems": [{}, {}]}, "fast": {"type": "boolean"}}}`)},
	{Server: "files", Name: "summary", Op: "get_prompt"},
	{Server: "files", Name: "file:///a b", Op: "read_resource"},
	{Server: "odd", Name: "q\"; entity Evil; action \"x\n\u202e"},
}

// rustSays checks a schema, and policies against it, with the Rust engine.
func rustSays(t *testing.T, schema []byte, texts map[string]string) []string {
	t.Helper()
	installed(t, "npm", "node_modules", "@cedar-policy", "cedar-wasm")
	job, err := json.Marshal(map[string]any{"schema": string(schema), "policies": texts})
	if err != nil {
		t.Fatal(err)
	}
	var errOut bytes.Buffer
	cmd := node(t, "cedarvalidate.mjs")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(job), &errOut
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%.4000s", err, errOut.String())
	}
	var answer struct{ Errors []string }
	if err := json.Unmarshal(out, &answer); err != nil {
		t.Fatalf("%v in %.4000s", err, out)
	}
	return answer.Errors
}

// TestTheRustEngineReadsOurSchema: the schema that policies here are held against is one for Cedar's own validator, too: the
// policies that ship with the gateway have no error in it, and a slip in one has.
func TestTheRustEngineReadsOurSchema(t *testing.T) {
	schema, skipped, err := policies.Schema(policies.Default(), schemaTools)
	if err != nil || len(skipped) > 0 {
		t.Fatal(skipped, err)
	}
	texts := map[string]string{}
	for _, name := range policies.Default().Files() {
		if strings.HasSuffix(name, ".cedar") {
			b, _ := policies.Default().File(name)
			texts[name] = string(b)
		}
	}
	texts["own.cedar"] = `permit (principal, action == Action::"shop___pay", resource == Tool::"shop/pay")
when { context.input has amount && context.input.amount.lessThan(decimal("5.0")) && context.input has to && context.input.to has "odd name" && context.input.to["odd name"] like "a*" };`
	if errs := rustSays(t, schema, texts); len(errs) > 0 || len(texts) < 5 {
		t.Errorf("of %d files: %s", len(texts), strings.Join(errs, "\n"))
	}
	slip := map[string]string{"slip.cedar": `permit (principal, action == Action::"shop___pay", resource) when { context.input.amuont > 5 };`}
	if errs := rustSays(t, schema, slip); len(errs) == 0 {
		t.Error("a slip passes")
	}
}
