package policies_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/policies"
)

// richConditions ask of each type of argument, and of each kind of fact that a glance can see.
var richConditions = strings.Split(`context.input.s like "a*b"
context.input.s == "ab"
["ab", "x"].contains(context.input.s)
context.input has n && context.input.n > 3
context.input has n && context.input.n != 4
context.input has n && [1, 2, 4].contains(context.input.n)
context.input has n && context.input.n + 9223372036854775800 > 0
if context.input has n then context.input.n >= 0 else context.net.tls
context.input has d && context.input.d.lessThan(decimal("1.5"))
context.input has d && context.input.d == decimal("1.5")
context.input has b && context.input.b
context.input has o && context.input.o has k && context.input.o.k == "z"
context.input has o.m && context.input.o.m <= 2
context.input has l && context.input.l.containsAny([1, 9])
context.input has l && [1, 2, 3].containsAll(context.input.l)
context.input has l && context.input.l.isEmpty()
context.input has any && context.input.any.kind == "number"
context.input has any && context.input.any has long && context.input.any.long == 0
context.input has any && context.input.any has string && context.input.any.string like "*\u{1f600}*"
context.input has nul
context.inputNulls.contains("/nul")
context.net.ip.isInRange(ip("10.0.0.0/8"))
context.net.ip.isIpv4()
context.now.toTime() < duration("12h")
principal has owner && principal.owner == User::"usr_1"
context has onBehalfOf
principal in [Team::"ops", Team::"dev"]
resource in Server::"m"
action in [Action::"mcp"]
principal.status == Status::"active"
context.session.calls > 1 || context.filters.score > 500
context.approval.count >= 2
context.plan.next
context.trust == context.plan.step`, "\n")

// richArguments spell values in every way there is, and some that do not fit.
var richArguments = strings.Split(`{"s":"ab"}
{"s":"a*b","n":4}
{"s":"aXb","n":-0,"d":1.5}
{"s":"x","d":1.50000,"b":true}
{"s":"x","n":1e3,"b":false}
{"s":"x","o":{"k":"z","m":2}}
{"s":"x","o":{}}
{"s":"x","l":[]}
{"s":"x","l":[2,2,1]}
{"s":"x","any":-0.0}
{"s":"x","any":"\ud83d\ude00"}
{"s":"x","any":null}
{"s":"x","nul":null}
{"s":"x","nul":"y"}
{"zz":1,"s":"ab","n":4}
{"\u0073":"ab"}
{}`, "\n")

func TestConditionsOverAllTypesAgreeWithAFullScan(t *testing.T) {
	g := generator{rand.New(rand.NewPCG(99, 1))}
	defs := []policies.ToolDef{{Server: "m", Name: "x", InputSchema: []byte(`{"type":"object","required":["s"],"properties":{"s":{"type":"string"},"n":{"type":"integer"},"d":{"type":"number"},"b":{"type":"boolean"},
		"o":{"type":"object","additionalProperties":false,"properties":{"k":{"type":"string"},"m":{"type":"integer"}}},"l":{"type":"array","items":{"type":"integer"}},"any":{},"nul":{"type":["string","null"]}}}`)}}
	compared := 0
	for range 200 {
		var text strings.Builder
		for i := range 1 + g.IntN(6) {
			fmt.Fprintf(&text, "@id(\"p%d\") %s (%s, action == Action::\"m___x\", resource)", i, g.pick("permit", "permit", "forbid", `@hold("h") forbid`), g.principal())
			for range g.IntN(3) {
				fmt.Fprintf(&text, " %s { %s(%s) %s (%s) }", g.pick("when", "unless"), g.pick("", "!"), g.pick(richConditions...), g.pick("&&", "||"), g.pick(richConditions...))
			}
			text.WriteString(";\n")
		}
		e, err := policies.Compile(bundle(t, text.String()), defs)
		if err != nil {
			continue // strictly typed, a condition can be impossible under a scope
		}
		for range 40 {
			a := g.ask()
			a.Local, a.Action, a.Server, a.Tool, a.ArgsKnown, a.Args = false, "call_tool", "m", "x", true, []byte(g.pick(richArguments...))
			a.Session = policies.SessionFacts{Known: true, Calls: int64(g.IntN(4))}
			want, err := policies.Scan(e, a)
			if err != nil {
				t.Fatal(err)
			}
			got := e.Decide(a)
			if got.Allowed() != want.Allowed || got.Held() != want.Held || sorted(got.Policies()) != sorted(want.Policies) || sorted(got.Errors()) != sorted(want.Errors) {
				t.Fatalf("%s%s\nengine %v %v %q %q\nscan   %+v", text.String(), a.Args, got.Allowed(), got.Held(), got.Policies(), got.Errors(), want)
			}
			compared++
		}
	}
	if compared < 3000 {
		t.Errorf("only %d compared", compared)
	}
}
