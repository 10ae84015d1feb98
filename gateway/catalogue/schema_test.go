package catalogue_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/merkle/canon"
)

func compile(t testing.TB, text string) catalogue.Schema {
	t.Helper()
	s, err := catalogue.CompileSchema([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s
}

func TestSchemasThatCannotBeEnforcedAreRefused(t *testing.T) {
	laughs := `{"type":"object","$ref":"#/$defs/a0","$defs":{`
	for i := range 30 {
		laughs += fmt.Sprintf(`"a%d":{"allOf":[{"$ref":"#/$defs/a%d"},{"$ref":"#/$defs/a%d"}]},`, i, i+1, i+1)
	}
	laughs += `"a30":{}}}`
	for name, text := range map[string]string{
		"remote ref":               `{"type":"object","properties":{"a":{"$ref":"https://evil.example/s.json"}}}`,
		"metadata ref":             `{"type":"object","$ref":"http://169.254.169.254/latest"}`,
		"file ref":                 `{"type":"object","$ref":"file:///etc/passwd"}`,
		"relative ref":             `{"type":"object","$ref":"other.json"}`,
		"unknown metaschema":       `{"$schema":"https://evil.example/meta","type":"object"}`,
		"remote by id":             `{"$id":"https://evil.example/base/","type":"object","$ref":"x.json"}`,
		"dangling ref":             `{"type":"object","$ref":"#/$defs/none"}`,
		"type unknown":             `{"type":"objekt"}`,
		"required not strings":     `{"type":"object","required":[1]}`,
		"required twice":           `{"type":"object","required":["a","a"]}`,
		"minLength negative":       `{"type":"object","properties":{"a":{"minLength":-1}}}`,
		"minimum not a number":     `{"type":"object","properties":{"a":{"minimum":"1"}}}`,
		"pattern not RE2":          `{"type":"object","properties":{"a":{"pattern":"(?=x)"}}}`,
		"pattern with backref":     `{"type":"object","properties":{"a":{"pattern":"(a)\\1"}}}`,
		"pattern too long":         `{"type":"object","properties":{"a":{"pattern":"` + strings.Repeat("a", 2000) + `"}}}`,
		"pattern repeats too much": `{"type":"object","properties":{"a":{"pattern":"(a{1000}){1000}"}}}`,
		"composition bomb":         laughs,
		"endless self reference":   `{"type":"object","allOf":[{"$ref":"#"}]}`,
		"exponential recursion":    `{"type":"object","anyOf":[{"properties":{"a":{"$ref":"#"}}},{"properties":{"a":{"$ref":"#"}}}]}`,
		"dynamic ref":              `{"type":"object","$dynamicAnchor":"n","properties":{"a":{"$dynamicRef":"#n"}}}`,
		"regexp of many programs":  `{"type":"object","properties":{"a":{"type":"string","pattern":"((a{0,30}b{0,30}){0,30}){0,5}"}}}`,
		"a string":                 `"object"`,
		"a number":                 `7`,
	} {
		if _, err := catalogue.CompileSchema([]byte(text)); err == nil {
			t.Errorf("%s was accepted", name)
		} else if strings.Contains(err.Error(), "\n") || len(err.Error()) > 400 {
			t.Errorf("%s: the reason is not one short line: %q", name, err)
		} else if strings.HasPrefix(name, "remote") && !errors.Is(err, catalogue.ErrRemote) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// cases are arguments that must be refused, and the rule that does it; "" means
// they fit.
var cases = []struct{ schema, args, rule string }{
	{`{"type":"object","additionalProperties":false,"properties":{"a":{}}}`, `{"b":1}`, "/b breaks additionalProperties"},
	{`{"type":"object","additionalProperties":false,"properties":{"a":{}}}`, `{"A":1}`, "/A breaks additionalProperties"},
	{`{"type":"object","additionalProperties":false,"properties":{"k":{}}}`, "{\"\u212a\":1}", "/\u212a breaks additionalProperties"},
	{`{"type":"object","additionalProperties":false,"properties":{"a":{}}}`, `{"\u0061":1}`, ""},
	{`{"type":"object","additionalProperties":false}`, `{"":1}`, "/ breaks additionalProperties"},
	{`{"type":"object","additionalProperties":{"type":"integer"}}`, `{"a/b":"x"}`, "/a~1b breaks type"},
	{`{"type":"object","additionalProperties":{"type":"integer"},"properties":{"a":{"type":"string"}}}`, `{"a":"x","b":1}`, ""},
	{`{"type":"object","required":["a","b"]}`, `{"a":1}`, "/b breaks required"},
	{`{"type":"object","required":["a"]}`, `{"\u0061":null}`, ""},
	{`{"type":"object","properties":{"a":{"type":"integer"}}}`, `{"a":1.5}`, "/a breaks type"},
	{`{"type":"object","properties":{"a":{"type":"integer"}}}`, `{"a":"1"}`, "/a breaks type"},
	{`{"type":"object","properties":{"a":{"type":"integer"}}}`, `{"a":true}`, "/a breaks type"},
	{`{"type":"object","properties":{"a":{"type":"integer"}}}`, `{"a":2.0}`, ""},
	{`{"type":"object","properties":{"a":{"type":"integer"}}}`, `{"a":1e2}`, ""},
	{`{"type":"object","properties":{"a":{"type":["string","null"]}}}`, `{"a":null}`, ""},
	{`{"type":"object","properties":{"a":{"type":["string","null"]}}}`, `{"a":[]}`, "/a breaks type"},
	{`{"type":"object","properties":{"a":{"enum":["x","y",3,null,true]}}}`, `{"a":"z"}`, "/a breaks enum"},
	{`{"type":"object","properties":{"a":{"enum":["x","y",3,null,true]}}}`, `{"a":"\u0078"}`, ""},
	{`{"type":"object","properties":{"a":{"enum":["x","y",3,null,true]}}}`, `{"a":3.0}`, ""},
	{`{"type":"object","properties":{"a":{"enum":["x","y",3,null,true]}}}`, `{"a":false}`, "/a breaks enum"},
	{`{"type":"object","properties":{"a":{"const":"x"}}}`, `{"a":"X"}`, "/a breaks enum"},
	{`{"type":"object","properties":{"a":{"minimum":0,"maximum":10}}}`, `{"a":-0.0}`, ""},
	{`{"type":"object","properties":{"a":{"minimum":0,"maximum":10}}}`, `{"a":-1e-300}`, "/a breaks minimum"},
	{`{"type":"object","properties":{"a":{"minimum":0.1}}}`, `{"a":0.1}`, ""},
	{`{"type":"object","properties":{"a":{"maximum":10}}}`, `{"a":10.000000000000002}`, "/a breaks maximum"},
	{`{"type":"object","properties":{"a":{"exclusiveMaximum":10}}}`, `{"a":1e1}`, "/a breaks exclusiveMaximum"},
	{`{"type":"object","properties":{"a":{"exclusiveMinimum":0}}}`, `{"a":0}`, "/a breaks exclusiveMinimum"},
	{`{"type":"object","properties":{"a":{"maxLength":2}}}`, `{"a":"日本語"}`, "/a breaks maxLength 2"},
	{`{"type":"object","properties":{"a":{"maxLength":2}}}`, `{"a":"日本"}`, ""},
	{`{"type":"object","properties":{"a":{"maxLength":1}}}`, `{"a":"\ud83d\ude00"}`, ""},
	{`{"type":"object","properties":{"a":{"minLength":1}}}`, `{"a":""}`, "/a breaks minLength 1"},
	{`{"type":"object","properties":{"a":{"pattern":"^[a-z]+$"}}}`, `{"a":"ab\n"}`, "/a breaks pattern"},
	{`{"type":"object","properties":{"a":{"pattern":"b"}}}`, `{"a":"abc"}`, ""},
	{`{"type":"object","properties":{"a":{"pattern":"^\\d+$"}}}`, `{"a":"\u0031"}`, ""},
	{`{"type":"object","properties":{"a":{"items":{"type":"string"},"minItems":1,"maxItems":2}}}`, `{"a":["x",1]}`, "/a/1 breaks type"},
	{`{"type":"object","properties":{"a":{"items":{"type":"string"},"minItems":1,"maxItems":2}}}`, `{"a":[]}`, "/a breaks minItems 1"},
	{`{"type":"object","properties":{"a":{"items":{"type":"string"},"minItems":1,"maxItems":2}}}`, `{"a":["","",""]}`, "/a breaks maxItems 2"},
	{`{"type":"object","properties":{"a":{"items":false}}}`, `{"a":[1]}`, "/a/0 breaks false schema"},
	{`{"type":"object","properties":{"a":false}}`, `{"a":1}`, "/a breaks false schema"},
	{`{"type":"object","properties":{"a":{"anyOf":[{"type":"string"},{"type":"integer","minimum":3}]}}}`, `{"a":2}`, "/a breaks anyOf"},
	{`{"type":"object","properties":{"a":{"anyOf":[{"type":"string"},{"type":"integer","minimum":3}]}}}`, `{"a":3}`, ""},
	{`{"type":"object","properties":{"a":{"type":"object","required":["b"],"properties":{"b":{"type":"object","properties":{"c":{"const":1}}}}}}}`, `{"a":{"b":{"c":2}}}`, "/a/b/c breaks enum"},
	{`{"type":"object"}`, `[]`, "the arguments breaks type"},
	{`{"type":"object"}`, `null`, "the arguments breaks type"},
}

func TestArgumentsAreJudgedAndErrorsNamePlaceAndRule(t *testing.T) {
	for _, c := range cases {
		s := compile(t, c.schema)
		if !s.Fast() {
			t.Errorf("%s needs the library", c.schema)
		}
		got := ""
		if err := s.Check([]byte(c.args)); err != nil {
			got = err.Error()
		}
		if got != c.rule {
			t.Errorf("%s with %s\n got %q\nwant %q", c.schema, c.args, got, c.rule)
		}
		if slow := s.CheckSlow([]byte(c.args)); (slow == nil) != (c.rule == "") {
			t.Errorf("%s with %s: the library says %v", c.schema, c.args, slow)
		}
	}
}

func TestRarerKeywordsAreJudgedByTheLibrary(t *testing.T) {
	for _, c := range []struct{ schema, bad, good string }{
		{`{"type":"object","properties":{"a":{"oneOf":[{"type":"integer"},{"minimum":2}]}}}`, `{"a":3}`, `{"a":1}`},
		{`{"type":"object","allOf":[{"required":["a"]}]}`, `{}`, `{"a":1}`},
		{`{"type":"object","properties":{"a":{"not":{"const":1}}}}`, `{"a":1}`, `{"a":2}`},
		{`{"type":"object","if":{"required":["a"]},"then":{"required":["b"]}}`, `{"a":1}`, `{"a":1,"b":1}`},
		{`{"type":"object","dependentRequired":{"a":["b"]}}`, `{"a":1}`, `{}`},
		{`{"type":"object","patternProperties":{"^x":{"type":"string"}},"additionalProperties":false}`, `{"xa":1}`, `{"xa":"1"}`},
		{`{"type":"object","propertyNames":{"maxLength":2}}`, `{"abc":1}`, `{"ab":1}`},
		{`{"type":"object","maxProperties":1}`, `{"a":1,"b":1}`, `{}`},
		{`{"type":"object","properties":{"a":{"uniqueItems":true}}}`, `{"a":[1,1.0]}`, `{"a":[1,2]}`},
		{`{"type":"object","properties":{"a":{"prefixItems":[{"type":"string"}],"items":false}}}`, `{"a":["x",1]}`, `{"a":["x"]}`},
		{`{"type":"object","properties":{"a":{"multipleOf":0.1}}}`, `{"a":0.25}`, `{"a":0.3}`},
		{`{"type":"object","properties":{"a":{"enum":[{"x":1},[1]]}}}`, `{"a":{"x":2}}`, `{"a":{"x":1.0}}`},
		{`{"type":"object","$defs":{"n":{"type":"object","properties":{"next":{"$ref":"#/$defs/n"},"v":{"type":"integer"}},"additionalProperties":false}},"$ref":"#/$defs/n"}`,
			`{"next":{"next":{"v":"x"}}}`, `{"next":{"next":{"v":1}}}`},
		{`{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"a":{"items":[{"type":"string"}],"additionalItems":false}}}`, `{"a":["x",1]}`, `{"a":["x"]}`},
		{`{"$schema":"http://json-schema.org/draft-04/schema#","type":"object","properties":{"a":{"maximum":3,"exclusiveMaximum":true}}}`, `{"a":3}`, `{"a":2}`},
		{`{"type":"object","unevaluatedProperties":false,"properties":{"a":{}}}`, `{"b":1}`, `{"a":1}`},
	} {
		s := compile(t, c.schema)
		if s.Fast() {
			t.Errorf("%s is judged without the library", c.schema)
		}
		if err := s.Check([]byte(c.bad)); err == nil {
			t.Errorf("%s accepts %s", c.schema, c.bad)
		}
		if err := s.Check([]byte(c.good)); err != nil {
			t.Errorf("%s refuses %s: %v", c.schema, c.good, err)
		}
	}
}

func TestAViolationNeverHoldsTheValue(t *testing.T) {
	for _, text := range []string{
		`{"type":"object","properties":{"a":{"enum":["x"]}}}`, `{"type":"object","properties":{"a":{"const":"x"}}}`,
		`{"type":"object","properties":{"a":{"pattern":"^x$"}}}`, `{"type":"object","properties":{"a":{"not":{}}}}`,
		`{"type":"object","properties":{"a":{"oneOf":[{"const":1},{"const":2}]}}}`, `{"type":"object","properties":{"a":{"type":"integer"}}}`,
	} {
		err := compile(t, text).Check([]byte(`{"a":"hunter2"}`))
		var v *catalogue.Violation
		if !errors.As(err, &v) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", text, err)
		}
	}
	long := compile(t, `{"type":"object","additionalProperties":false}`).Check([]byte(`{"` + strings.Repeat("k", 1000) + `":1}`))
	if len(long.Error()) > 120 {
		t.Errorf("a long key is repeated whole: %v", long)
	}
}

func TestJudgingAllocatesNothing(t *testing.T) {
	s := compile(t, benchSchema)
	args := []byte(benchArgs)
	if err := s.Check(args); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _ = s.Check(args) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzSchema compares the own judge with the library on schemas and arguments
// that both can read.
func FuzzSchema(f *testing.F) {
	for _, c := range cases {
		f.Add([]byte(c.schema), []byte(c.args))
	}
	f.Add([]byte(benchSchema), []byte(benchArgs))
	f.Fuzz(func(t *testing.T, schema, args []byte) {
		limits := canon.Limits{Bytes: 8 << 10, Depth: 16, Values: 1000}
		if canon.Check(schema, limits) != nil || canon.Check(args, limits) != nil {
			return
		}
		s, err := catalogue.CompileSchema(schema)
		if err != nil || !s.Fast() {
			return
		}
		fast, slow := s.Check(args), s.CheckSlow(args)
		if (fast == nil) != (slow == nil) {
			t.Errorf("%s\n%s\n own: %v\n library: %v", schema, args, fast, slow)
		}
	})
}

const benchSchema = `{"type":"object","required":["table","limit"],"additionalProperties":false,"properties":{
	"table":{"type":"string","enum":["orders","users"]},"columns":{"type":"array","maxItems":8,"items":{"type":"string","maxLength":40}},
	"where":{"type":"array","items":{"type":"object","required":["column","op","value"],"additionalProperties":false,"properties":{
		"column":{"type":"string"},"op":{"enum":["eq","lt","gt"]},"value":{"anyOf":[{"type":"string"},{"type":"number"}]}}}},
	"limit":{"type":"integer","minimum":1,"maximum":100},"note":{"type":"string","maxLength":4000}}}`

var benchArgs = `{"table":"orders","columns":["id","customer","cents"],"where":[{"column":"cents","op":"gt","value":100},{"column":"customer","op":"eq","value":"Ada"}],"limit":20,"note":"` +
	strings.Repeat("a longer text of the usual kind ", 36) + `"}`

func BenchmarkCheckArgs(b *testing.B) {
	s := compile(b, benchSchema)
	args := []byte(benchArgs)
	b.Run("own", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(args)))
		for b.Loop() {
			_ = s.Check(args)
		}
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(args)))
		for b.Loop() {
			_ = s.CheckSlow(args)
		}
	})
}
