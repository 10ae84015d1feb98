package toolschema_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/policies/toolschema"
)

const stub = `namespace S { @mcp_principal entity User; @mcp_resource entity Server; @mcp_action action call_tool; }`

// tools gives a list with one tool of these input members.
func one(input string) string { return `[{"name": "t", "inputSchema": {` + input + `}}]` }

// many gives n tools.
func many(n int) string {
	var b strings.Builder
	b.WriteString("[")
	for i := range n {
		fmt.Fprintf(&b, `%s{"name": "t%d", "inputSchema": {}}`, strings.Repeat(",", min(i, 1)), i)
	}
	return b.String() + "]"
}

// nested gives a schema n objects deep.
func nested(n int) string {
	return strings.Repeat(`"properties": {"a": {"type": "object", `, n) + `"properties": {}` + strings.Repeat(`}}`, n)
}

// TestRefusals: each of these would write a schema that is ambiguous, broken, or not what the tools say. Each gives one
// error that says where, and what can be done.
func TestRefusals(t *testing.T) {
	for _, c := range []struct{ name, tools, want string }{
		{"no list", `{"result": {"tools": 5}}`, "no list of tools"},
		{"no tools", `{"result": {}}`, "it has no tools"},
		{"a string", `"x"`, "no list of tools"},
		{"two keys", one(`"type": "object", "type": "array"`), "duplicate"},
		{"too large", `[` + strings.Repeat(" ", 3<<20) + `]`, "too long"},
		{"too many tools", many(2001), "more than 2000 tools"},
		{"too deep", one(nested(40)), "deep"},
		{"types of types", one(`"properties": {"a": ` + strings.Repeat(`{"type": ["object", "object", "object", "object", "object", "object", "object", "object"], "properties": {"a": `, 10) + `{}` + strings.Repeat(`}}`, 10) + `}`), "too deep ones"},
		{"a tool twice", `[{"name": "t", "inputSchema": {}}, {"name": "t", "inputSchema": {}}]`, `a second tool "t"`},
		{"no name", `[{"inputSchema": {}}]`, "it has no name"},
		{"no schema", `[{"name": "t"}]`, "it has no inputSchema"},
		{"a schema of no kind", `[{"name": "t", "inputSchema": []}]`, "it is not a JSON object"},
		{"no object of types", one(`"$defs": []`), "$defs is not a JSON object"},
		{"no object of properties", one(`"properties": true`), "properties is not a JSON object"},
		{"a description of no kind", one(`"properties": {"a": {"description": 5}}`), "its description is not a string"},
		{"a reference of no kind", one(`"properties": {"a": {"$ref": 5}}`), "$ref is not a string"},
		{"a union of no kind", one(`"properties": {"a": {"anyOf": {}}}`), "it is not an array of schemas"},
		{"a format of no kind", one(`"properties": {"a": {"type": "string", "format": 5}}`), "format is not a string"},
		{"items of no kind", one(`"properties": {"a": {"type": "array", "items": 5}}`), "items is not a schema"},
		{"a tool that is none", `[5]`, "a tool is a JSON object"},
		{"a dash", `[{"name": "get-sum", "inputSchema": {}}]`, `"get-sum", is no identifier`},
		{"an injected name", `[{"name": "x\"; entity Evil; action \"y", "inputSchema": {}}]`, "is no identifier"},
		{"an injected property", one(`"properties": {"a: String }; entity Evil; type b = { c": {"type": "string"}}`), "is no identifier"},
		{"a comment", one(`"properties": {"a//": {"type": "string"}}`), "is no identifier"},
		{"blanks", one(`"properties": {" a": {"type": "string"}}`), "is no identifier"},
		{"a path", one(`"properties": {"a::b": {"type": "string"}}`), "is no identifier"},
		{"a word of the language", one(`"properties": {"in": {"type": "string"}}`), "is no identifier"},
		{"letters of other scripts", one(`"properties": {"\u00fc": {"type": "string"}}`), "is no identifier"},
		{"a long name", one(`"properties": {"` + strings.Repeat("a", 200) + `": {}}`), "longer than 128 bytes"},
		{"the stub's action", `[{"name": "call_tool", "inputSchema": {}}]`, "the stub has an action of that name"},
		{"a type with a built-in name", one(`"properties": {"o": {"type": "object", "properties": {"s": {"type": "string"}}}, "String": {"type": "string", "enum": ["x"]}}`), "would hide Cedar's own"},
		{"a reserved type", one(`"$defs": {"Set": {"type": "array"}}`), "no type can be called Set"},
		{"an entity and a type of one name", one(`"$defs": {"a": {"type": "array", "items": {"type": "string", "enum": ["x"]}}}`), "two types would be called S::t::Input::a"},
		{"a type and a property of one name", one(`"$defs": {"a": {"type": "string"}}, "properties": {"a": {"type": "object", "properties": {}}}`), "two types would be called S::t::Input::a"},
		{"an opaque type of one's own", `{"result": {"$defs": {"Number": {"type": "object", "properties": {"x": {}}}}, "tools": [{"name": "t", "inputSchema": {"properties": {"n": {"type": "number"}}}}]}}`, "the tools define another"},
		{"an undefined reference", one(`"properties": {"a": {"$ref": "#/$defs/x"}}`), `$ref to "x", which is not defined`},
		{"a reference elsewhere", one(`"properties": {"a": {"$ref": "https://evil.example/x"}}`), "does not begin with #/$defs/"},
		{"references in a circle", one(`"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}`), "refers to itself and to nothing else"},
		{"an array of itself", one(`"$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}}`), "cycle"},
		{"an unknown type", one(`"properties": {"a": {"type": "date"}}`), `type "date" does not exist`},
		{"a type of no kind", one(`"properties": {"a": {"type": 5}}`), "type is neither"},
		{"a schema that is none", one(`"properties": {"a": true}`), "a schema is a JSON object here"},
		{"an empty enum", one(`"properties": {"a": {"type": "string", "enum": []}}`), "enum of a string"},
		{"an enum of numbers", one(`"properties": {"a": {"type": "string", "enum": [1]}}`), "enum of a string"},
		{"a required that is none", one(`"required": "a"`), "required is not an array"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := toolschema.Generate([]byte(stub), []byte(c.tools), toolschema.Options{})
			var e *toolschema.Error
			if s != nil || !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("want %q, got %.400v", c.want, err)
			}
			if len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

// TestStubRefusals: a stub that does not say who calls what, or that a tool's own context would overwrite.
func TestStubRefusals(t *testing.T) {
	for _, c := range []struct{ name, stub, want string }{
		{"no text", ``, "nothing beside it"},
		{"no Cedar", `permit (principal, action, resource);`, "stub:1"},
		{"no namespace", `@mcp_principal entity A; @mcp_resource entity B;`, "nothing beside it"},
		{"two", `namespace A { @mcp_principal @mcp_resource entity A; } namespace B { @mcp_principal @mcp_resource entity B; }`, "nothing beside it"},
		{"one and more", `namespace A { @mcp_principal @mcp_resource entity A; } entity B;`, "nothing beside it"},
		{"too long", strings.Repeat(" ", 3<<20) + stub, "stub: longer than"},
		{"no principal", `namespace A { @mcp_resource entity B; }`, "@mcp_principal"},
		{"no resource", `namespace A { @mcp_principal entity B; }`, "@mcp_resource"},
		{"a context without a name", `namespace A { @mcp_principal @mcp_resource entity B; @mcp_context type C = {}; }`, "under which name"},
		{"a context named input", `namespace A { @mcp_principal @mcp_resource entity B; @mcp_context("input") type C = {}; }`, "is the tool's own"},
		{"two contexts of one name", `namespace A { @mcp_principal @mcp_resource @mcp_context("x") entity B; @mcp_context("x") type C = {}; }`, "stands in the context already"},
		{"an unknown type", `namespace A { @mcp_principal @mcp_resource entity B; @mcp_context("x") type C = { d: Nowhere }; }`, "does not resolve"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := toolschema.Generate([]byte(c.stub), []byte(one("")), toolschema.Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("want %q, got %v", c.want, err)
			}
		})
	}
	words := `namespace A::B { @mcp_principal @mcp_resource entity C; }`
	if _, err := toolschema.Generate([]byte(words), []byte(one("")), toolschema.Options{Flatten: true}); err == nil || !strings.Contains(err.Error(), "cannot be flattened") {
		t.Errorf("flattened below two words: %v", err)
	}
}

// TestHostileValues: what may be any text stands in the schema as a string and nothing else.
func TestHostileValues(t *testing.T) {
	values := []string{`"]; entity Evil; //`, "line\nfeed", `\`, "\x00", "\u202e", "it's", "日本", "\U0001f600", `\u{41}`}
	b, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	s, err := toolschema.Generate([]byte(stub), []byte(one(`"properties": {"e": {"type": "string", "enum": `+string(b)+`}}`)), toolschema.Options{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := toolschema.Read(s.Cedar())
	if err != nil {
		t.Fatal(err)
	}
	form, err := again.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]struct {
		EntityTypes map[string]struct{ Enum []string }
	}
	if err := json.Unmarshal(form, &got); err != nil {
		t.Fatal(err)
	}
	if have := got["S::t::Input"].EntityTypes["e"].Enum; fmt.Sprintf("%q", have) != fmt.Sprintf("%q", values) || len(got) != 2 {
		t.Errorf("got %q\nin %s", have, s.Cedar())
	}
}

// TestOwnStub: the stub for servers behind this gateway takes tools, and no name that is none.
func TestOwnStub(t *testing.T) {
	s, err := toolschema.Stub("files")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := toolschema.Generate(s, []byte(one(`"properties": {"path": {"type": "string"}}`)), toolschema.Options{KeepAnnotations: true, Flatten: true}); err != nil {
		t.Error(err)
	}
	if _, err := toolschema.Stub("a { } namespace b"); err == nil {
		t.Error("a namespace that is none was taken")
	}
}

// FuzzGenerate: any text gives a schema that reads back, or an error; never a panic.
func FuzzGenerate(f *testing.F) {
	for _, tools := range []string{one(nested(3)), many(3), one(`"$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/b"}}, "b": {"type": "object", "additionalProperties": {"$ref": "#/$defs/a"}}}, "properties": {"a": {"anyOf": [{"type": ["string", "object"]}, {"type": "array", "prefixItems": [{"type": "number"}], "items": false}]}}`)} {
		f.Add(stub, tools, uint8(31))
	}
	f.Fuzz(func(t *testing.T, stub, tools string, bits uint8) {
		o := toolschema.Options{IncludeOutputs: bits&1 > 0, ObjectsAsRecords: bits&2 > 0, KeepAnnotations: bits&4 > 0, Flatten: bits&8 > 0, NumbersAsDecimal: bits&16 > 0}
		s, err := toolschema.Generate([]byte(stub), []byte(tools), o)
		if err != nil {
			var e *toolschema.Error
			if s != nil || !errors.As(err, &e) {
				t.Errorf("%v, %v", s, err)
			}
			return
		}
		if _, err := toolschema.Read(s.Cedar()); err != nil {
			t.Errorf("%v in\n%s", err, s.Cedar())
		}
	})
}
