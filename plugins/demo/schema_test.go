package demo_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/gatewright/gatewright/plugins/connector"
	"github.com/gatewright/gatewright/plugins/demo"
)

func TestASchemaWithAnUnknownRuleIsRefused(t *testing.T) {
	for _, text := range []string{
		``, `[]`, `{"type":"object","minProperties":1}`, `{"type":"string","pattern":"("}`, `{"enum":[1]}`, `{"type":["string"]}`, `{"items":{"uniqueItems":true}}`,
	} {
		if demo.CheckArguments(text, []byte(`{}`)) == nil {
			t.Errorf("%s was taken", text)
		}
	}
}

// TestArgumentsAreJudgedAsByAFullValidator: for any arguments, near the rules of each tool's schema or far from them, our
// short checker and a complete one agree.
func TestArgumentsAreJudgedAsByAFullValidator(t *testing.T) {
	for _, tool := range tools(t) {
		t.Run(tool.Name, func(t *testing.T) {
			theirs, shape := compiled(t, tool.InputSchema)
			verdicts := map[bool]int{}
			rapid.Check(t, func(t *rapid.T) {
				raw, err := json.Marshal(value(t, shape))
				if err != nil {
					t.Fatal(err)
				}
				v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
				if err != nil {
					t.Fatal(err)
				}
				ours, full := demo.CheckArguments(string(tool.InputSchema), raw), theirs.Validate(v)
				if (ours == nil) != (full == nil) {
					t.Fatalf("%s: we say %v, a full validator %v", raw, ours, full)
				}
				verdicts[ours == nil]++
			})
			if !testing.Short() && (verdicts[true] == 0 || verdicts[false] == 0) { // short runs try too few
				t.Errorf("only one side was tried: %v", verdicts)
			}
		})
	}
}

func tools(t *testing.T) []described {
	t.Helper()
	reply, err := server(t).Call(t.Context(), &connector.Request{Method: "tools/list", Principal: "p"})
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Tools []described }
	if err := json.Unmarshal(reply.Result, &list); err != nil {
		t.Fatal(err)
	}
	return list.Tools
}

func compiled(t *testing.T, schema []byte) (*jsonschema.Schema, map[string]any) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var shape map[string]any
	if err := json.Unmarshal(schema, &shape); err != nil {
		t.Fatal(err)
	}
	return s, shape
}

// value draws a value that mostly follows a schema, and now and then does not.
func value(t *rapid.T, shape map[string]any) any {
	if seldom(t, "stray") {
		return rapid.SampledFrom([]any{nil, true, 0.5, -1.0, 1e6, "", "x", []any{}, map[string]any{}}).Draw(t, "any")
	}
	if forms, ok := shape["anyOf"].([]any); ok {
		return value(t, rapid.SampledFrom(forms).Draw(t, "form").(map[string]any))
	}
	switch shape["type"] {
	case "object":
		return object(t, shape)
	case "array":
		return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) any { return value(t, shape["items"].(map[string]any)) }), 0, 9).Draw(t, "array")
	case "string":
		return text(t, shape)
	case "boolean":
		return rapid.Bool().Draw(t, "bool")
	}
	if rapid.Bool().Draw(t, "whole") {
		return float64(rapid.IntRange(0, 101).Draw(t, "integer"))
	}
	return rapid.Float64Range(-1, 31).Draw(t, "number")
}

// seldom is true about once in twenty times; the library prefers small numbers.
func seldom(t *rapid.T, what string) bool { return rapid.IntRange(0, 1000).Draw(t, what)%20 == 19 }

func object(t *rapid.T, shape map[string]any) map[string]any {
	out := map[string]any{}
	members := shape["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if !seldom(t, "without "+name) {
			out[name] = value(t, members[name].(map[string]any))
		}
	}
	if seldom(t, "more") {
		out["more"] = 1.0
	}
	return out
}

func text(t *rapid.T, shape map[string]any) string {
	if listed, ok := shape["enum"].([]any); ok && !seldom(t, "unlisted") {
		return rapid.SampledFrom(listed).Draw(t, "word").(string)
	}
	if pattern, ok := shape["pattern"].(string); ok && !seldom(t, "unmatching") {
		fit := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return !regexp.MustCompile(pattern).MatchString(w) })
		return rapid.SampledFrom(fit).Draw(t, "fit")
	}
	if rapid.Bool().Draw(t, "at the bound") {
		longest, _ := shape["maxLength"].(float64)
		return strings.Repeat(rapid.SampledFrom([]string{"x", "é", "😀"}).Draw(t, "letter"), int(longest)+rapid.IntRange(0, 1).Draw(t, "over"))
	}
	return rapid.SampledFrom(words).Draw(t, "text")
}

var words = []string{"", "a", "tag-1", "Not Lower", "a@b.example", "nobody", "https://demo.example/", "https://demo.example/x\n"}
