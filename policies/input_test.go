package policies_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gatewright/gatewright/policies"
)

// argument compiles a permit with one condition on mail.send and asks it with one argument document.
func argument(t *testing.T, condition, args string) policies.Decision {
	t.Helper()
	e := compile(t, `permit (principal, action == Action::"mail___send", resource) when { `+condition+` };`)
	return e.Decide(call("mail", "send", args))
}

func TestEveryJSONTypeIsVisible(t *testing.T) {
	cases := []struct{ args, holds, not string }{
		{`{"to":"bob"}`, `context.input.to == "bob"`, `context.input.to like "x*"`},
		{`{"to":"\u00e9\n\"","x":1}`, `context.input.to == "é\n\""`, `context.input.to == "e"`},
		{`{"to":"","copies":3}`, `context.input has copies && context.input.copies == 3`, `context.input has copies && context.input.copies > 3`},
		{`{"to":"","copies":5.0}`, `context.input has copies && context.input.copies == 5`, `!(context.input has copies)`},
		{`{"to":"","copies":1e3}`, `context.input has copies && context.input.copies == 1000`, `context.input has copies && context.input.copies < 1000`},
		{`{"to":"","copies":-9007199254740991}`, `context.input has copies && context.input.copies == -9007199254740991`, `context.input has copies && context.input.copies > 0`},
		{`{"to":"","urgent":true}`, `context.input has urgent && context.input.urgent`, `context.input has urgent && !context.input.urgent`},
		{`{"to":"","urgent":false}`, `context.input has urgent && !context.input.urgent`, `!(context.input has urgent)`},
		{`{"to":"","price":12.5}`, `context.input has price && context.input.price == decimal("12.5")`, `context.input has price && context.input.price.greaterThan(decimal("12.5"))`},
		{`{"to":"","price":1250e-2}`, `context.input has price && context.input.price == decimal("12.5")`, `context.input has price && context.input.price.lessThan(decimal("12.5"))`},
		{`{"to":"","price":-7}`, `context.input has price && context.input.price == decimal("-7.0")`, `context.input has price && context.input.price == decimal("7.0")`},
		{`{"to":"","price":-0.0}`, `context.input has price && context.input.price == decimal("0.0")`, `context.input has price && context.input.price == decimal("1.0")`},
		{`{"to":"","tags":["a","b"]}`, `context.input has tags && context.input.tags.containsAll(["b","a"])`, `context.input has tags && context.input.tags.contains("c")`},
		{`{"to":"","tags":[]}`, `context.input has tags && context.input.tags.isEmpty()`, `context.input has tags && context.input.tags.contains("a")`},
		{`{"to":"","meta":{"dept":"x","level":2}}`, `context.input has meta && context.input.meta has level && context.input.meta.level == 2`, `context.input has meta && context.input.meta.dept == "y"`},
		{`{"to":"","meta":{"dept":"x"}}`, `context.input has meta && !(context.input.meta has level)`, `context.input has meta && context.input.meta has level`},
		{`{"to":"","mode":"now"}`, `context.input has mode && context.input.mode == "now"`, `context.input has mode && context.input.mode == "draft"`},
		{`{"to":"","note":"n"}`, `context.input has note && context.input.note == "n"`, `context.inputNulls.contains("/note")`},
		{`{"to":"","note":null}`, `!(context.input has note) && context.inputNulls == ["/note"]`, `context.input has note`},
		{`{"to":""}`, `!(context.input has note)`, `context.inputNulls.contains("/note")`},
		{`{"to":"","any":null}`, `context.input has any && context.input.any.kind == "null" && context.input.any.text == "null"`, `context.input has any && context.input.any has string`},
		{`{"to":"","any":"x"}`, `context.input has any && context.input.any has string && context.input.any.string == "x" && context.input.any.text == "\"x\""`, `context.input has any && context.input.any has long`},
		{`{"to":"","any":true}`, `context.input has any && context.input.any has bool && context.input.any.bool`, `context.input has any && context.input.any.kind == "string"`},
		{`{"to":"","any":7}`, `context.input has any && context.input.any has long && context.input.any.long == 7 && context.input.any has decimal && context.input.any.decimal == decimal("7.0")`, `context.input has any && context.input.any.text == "7.0"`},
		{`{"to":"","any":0.00001}`, `context.input has any && context.input.any.kind == "number" && context.input.any.text == "0.00001" && !(context.input.any has decimal)`, `context.input has any && context.input.any has long`},
		{`{"to":"","any":1e300}`, `context.input has any && context.input.any.text == "1e+300"`, `context.input has any && context.input.any has decimal`},
		{`{"to":"","any":{"b":[1,{"c":null}],"a":"x"}}`, `context.input has any && context.input.any.text == "{\"a\":\"x\",\"b\":[1,{\"c\":null}]}"`, `context.input has any && context.input.any.kind == "array"`},
		{`{"to":"","mixed":[1,"a",null,[]]}`, `context.input has mixed && context.input.mixed.text == "[1,\"a\",null,[]]"`, `context.input has mixed && context.input.mixed.kind == "object"`},
		{`{"to":"","pair":["a",1]}`, `context.input has pair && context.input.pair.text like "[\"a\"*"`, `context.input has pair && context.input.pair.text == "[]"`},
		{`{"to":"","free":{"k":{"deep":1}}}`, `context.input has free && context.input.free.text like "*\"deep\":1*"`, `context.input has free && context.input.free.text like "*wide*"`},
		{`{"to":"","either":4}`, `context.input has either && context.input.either has long && context.input.either.long > 3`, `context.input has either && context.input.either has string`},
		{`{"to":"","extra":{"z":1},"more":2}`, `context.undeclared.names == ["extra","more"] && context.undeclared.text == "{\"extra\":{\"z\":1},\"more\":2}"`, `context.undeclared.names.isEmpty()`},
		{`{"to":""}`, `context.undeclared.names.isEmpty() && context.undeclared.text == "{}"`, `context.undeclared.names.contains("to")`},
	}
	for _, c := range cases {
		if d := argument(t, c.holds, c.args); !d.Allowed() || len(d.Errors()) > 0 {
			t.Errorf("%s\n  %s does not hold: %q", c.args, c.holds, d.Errors())
		}
		if d := argument(t, c.not, c.args); d.Allowed() || len(d.Errors()) > 0 {
			t.Errorf("%s\n  %s: allowed %v, %q", c.args, c.not, d.Allowed(), d.Errors())
		}
	}
}

// A value that cannot be shown as its schema promises refuses when a policy reads it, and only then.
func TestAnArgumentThatCannotBeShownRefusesIfItIsRead(t *testing.T) {
	cases := []struct{ param, args, says string }{
		{"price", `{"to":"x","price":0.00001}`, "argument /price: 0.00001 does not fit a decimal"},
		{"price", `{"to":"x","price":1e300}`, "/price"},
		{"price", `{"to":"x","price":922337203685477.6}`, "/price"},
		{"copies", `{"to":"x","copies":1.5}`, "argument /copies: 1.5 is not an integer"},
		{"copies", `{"to":"x","copies":1e300}`, "/copies"},
		{"copies", `{"to":"x","copies":"3"}`, "argument /copies: the tool's schema promises an integer"},
		{"copies", `{"to":"x","copies":null}`, "/copies"},
		{"urgent", `{"to":"x","urgent":"true"}`, "a boolean"},
		{"tags", `{"to":"x","tags":["a",1]}`, "argument /tags/1: the tool's schema promises a string"},
		{"tags", `{"to":"x","tags":"a"}`, "an array"},
		{"meta", `{"to":"x","meta":{"dept":"d","extra":1}}`, "argument /meta/extra: the tool's schema does not name"},
		{"meta", `{"to":"x","meta":{"dept":"d","a/b~c":1}}`, "/meta/a~1b~0c"},
		{"meta", `{"to":"x","meta":[]}`, "an object"},
	}
	for _, c := range cases {
		// Neither a permit nor a forbid may be asked about what it cannot see.
		forbid := compile(t, allowAll+` forbid (principal, action == Action::"mail___send", resource) when { !(context.input has `+c.param+`) };`)
		permit := compile(t, `permit (principal, action == Action::"mail___send", resource) when { context.input has `+c.param+` };`)
		for _, e := range []*policies.Engine{forbid, permit} {
			d := e.Decide(call("mail", "send", c.args))
			if d.Allowed() || !strings.Contains(strings.Join(d.Errors(), ""), c.says) {
				t.Errorf("%s: allowed %v, errors %q", c.args, d.Allowed(), d.Errors())
			}
		}
		if other := compile(t, `permit (principal, action == Action::"mail___send", resource) when { context.input.to == "x" };`); !other.Decide(call("mail", "send", c.args)).Allowed() {
			t.Errorf("%s: refused although nobody reads %s", c.args, c.param)
		}
	}
}

func TestArgumentsThatAreNoObjectRefuse(t *testing.T) {
	for _, args := range []string{`[]`, `"x"`, `1`, `null`, ` `} {
		if d := argument(t, `context.undeclared.names.isEmpty()`, args); d.Allowed() || len(d.Errors()) == 0 {
			t.Errorf("%s: allowed %v, errors %q", args, d.Allowed(), d.Errors())
		}
	}
}

func TestAMissingRequiredArgumentRefuses(t *testing.T) {
	e := compile(t, allowAll+` forbid (principal, action == Action::"mail___send", resource) when { context.input.to == "boss" };`)
	for _, args := range []string{`{}`, ``, `{"copies":1}`} {
		if d := e.Decide(call("mail", "send", args)); d.Allowed() || len(d.Errors()) == 0 {
			t.Errorf("%q: allowed %v, errors %q", args, d.Allowed(), d.Errors())
		}
	}
}

// Schemas in the shapes that generators write.
func TestSchemasOfAllKindsGiveTypes(t *testing.T) {
	cases := []struct{ schema, condition, args string }{
		{`{"type":"object","properties":{"p":{"$ref":"#/$defs/P"}},"$defs":{"P":{"type":"object","properties":{"q":{"type":"integer"}},"required":["q"]}}}`,
			`context.input has p && context.input.p.q == 1`, `{"p":{"q":1}}`},
		{`{"type":"object","properties":{"p":{"$ref":"https://example.com/x"}}}`, `context.input has p && context.input.p.text == "1"`, `{"p":1}`},
		{`{"type":"object","properties":{"p":{"$ref":"#"}}}`, `context.input has p && context.input.p.text == "1"`, `{"p":1}`},
		{`{"type":"object","properties":{"p":{"$ref":"#/properties/p"}}}`, `context.input has p && context.input.p.text == "1"`, `{"p":1}`},
		{`{"type":"object","properties":{"p":{"oneOf":[{"type":"string"},{"type":"integer"}]}}}`, `context.input has p && context.input.p has long && context.input.p.long == 1`, `{"p":1}`},
		{`{"type":"object","properties":{"p":{"allOf":[{"type":"string"}]}}}`, `context.input has p && context.input.p == "s"`, `{"p":"s"}`},
		{`{"type":"object","properties":{"p":{"allOf":[{"type":"string"},{"minLength":1}]}}}`, `context.input has p && context.input.p.text == "\"s\""`, `{"p":"s"}`},
		{`{"type":"object","properties":{"p":{"const":3}}}`, `context.input has p && context.input.p == 3`, `{"p":3}`},
		{`{"type":"object","properties":{"p":{"enum":["a",1]}}}`, `context.input has p && context.input.p has string`, `{"p":"a"}`},
		{`{"type":"object","properties":{"p":{"enum":["a",null]}}}`, `context.input has p && context.input.p == "a"`, `{"p":"a"}`},
		{`{"type":"object","properties":{"p":{"type":["null","boolean"]}}}`, `context.inputNulls.contains("/p")`, `{"p":null}`},
		{`{"type":"object","properties":{"p":{"type":"array","items":{"type":["string","null"]}}}}`, `context.input has p && context.input.p.text == "[\"a\",null]"`, `{"p":["a",null]}`},
		{`{"type":"object","properties":{"p":{"type":"array","items":{"type":"array","items":{"type":"integer"}}}}}`, `context.input has p && context.input.p.contains([1,2])`, `{"p":[[2,1]]}`},
		{`{"type":"object","properties":{"p":{"type":"object","properties":{"a":{}},"additionalProperties":true}}}`, `context.input has p && context.input.p.text == "{\"z\":1}"`, `{"p":{"z":1}}`},
		{`{"type":"object","properties":{"p q":{"type":"string"}}}`, `context.input has "p q" && context.input["p q"] == "x"`, `{"p q":"x"}`},
		{`{"type":"object","properties":{"p":true}}`, `context.input has p && context.input.p.kind == "array"`, `{"p":[]}`},
		{`{"anyOf":[{"properties":{"p":{}}}]}`, `context.undeclared.names.contains("p")`, `{"p":1}`},
		{`{}`, `context.undeclared.text == "{\"p\":1}"`, `{"p":1}`},
		{``, `context.undeclared.text == "{\"p\":1}"`, `{"p":1}`},
	}
	for _, c := range cases {
		tools := []policies.ToolDef{{Server: "s", Name: "t", InputSchema: []byte(c.schema)}}
		e, err := policies.Compile(bundle(t, `permit (principal, action == Action::"s___t", resource) when { `+c.condition+` };`), tools)
		if err != nil {
			t.Errorf("%s\n  %v", c.schema, err)
			continue
		}
		if d := e.Decide(call("s", "t", c.args)); !d.Allowed() {
			t.Errorf("%s\n  %s: refused: %q", c.schema, c.args, d.Errors())
		}
	}
}

// TestASchemaThatRefersToItselfOverAndOverCostsLittle: the type of an argument is bounded in work, not only in depth; what
// lies beyond is shown as Json.
func TestASchemaThatRefersToItselfOverAndOverCostsLittle(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"type":"object","$defs":{"pad":{"description":"` + strings.Repeat("x", 50_000) + `"},"leaf":{"type":"string"}},"properties":{`)
	for i := range 400 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"p%d":{"$ref":"#/$defs/leaf"}`, i)
	}
	b.WriteString(`}}`)
	tools := make([]policies.ToolDef, 20)
	for i := range tools {
		tools[i] = policies.ToolDef{Server: "s", Name: fmt.Sprint("t", i), InputSchema: []byte(b.String())}
	}
	if _, err := policies.Compile(policies.Default(), tools); err != nil {
		t.Fatal(err)
	}
}

// TestAWordOfASchemaIsNotReadInAnotherCase: a server could otherwise hide an argument from the policies about it.
func TestAWordOfASchemaIsNotReadInAnotherCase(t *testing.T) {
	bundle, err := policies.LoadBundle(fstest.MapFS{"p.cedar": {Data: []byte(`forbid (principal, action == Action::"pay___send", resource) when { context.input.amount > 100 };`)}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = policies.Compile(bundle, []policies.ToolDef{{Server: "pay", Name: "send",
		InputSchema: []byte(`{"type":"object","required":["amount"],"properties":{"amount":{"type":"integer"}},"Properties":{"x":{"type":"string"}}}`)}})
	if err != nil {
		t.Errorf("the argument is hidden: %v", err)
	}
}
