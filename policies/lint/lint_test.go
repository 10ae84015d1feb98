package lint_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/lint"
)

var defs = []policies.ToolDef{
	{Server: "db", Name: "query", InputSchema: []byte(`{"type":"object","properties":{"table":{"type":"string"},"rows":{"type":"integer"}},"required":["table","rows"]}`)},
	{Server: "mail", Name: "send", InputSchema: []byte(`{"type":"object","properties":{"to":{"type":"string"}},"required":["to"]}`)},
}

func compile(t testing.TB, text string) (*policies.Bundle, *policies.Engine) {
	t.Helper()
	b, err := policies.LoadBundle(fstest.MapFS{"p.cedar": {Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := policies.Compile(b, defs)
	if err != nil {
		t.Fatal(err)
	}
	return b, e
}

// found gives the findings but for missing ids and reasons, a line each.
func found(t testing.TB, text string) string {
	t.Helper()
	out := ""
	for _, f := range lint.Check(compile(t, text)) {
		if !strings.HasPrefix(f.Rule, "missing") {
			out += fmt.Sprintf("%d:%d %s %s\n", f.Line, f.Column, f.Rule, f.Level)
		}
		if f.Hint == "" || f.Msg == "" || f.File != "p.cedar" || lint.Rules()[f.Rule] == "" {
			t.Errorf("%+v", f)
		}
	}
	return out
}

const query = `permit (principal in Team::"data", action == Action::"db___query", resource)`

func TestPoliciesThatCanNeverApply(t *testing.T) {
	for name, when := range map[string]string{
		"false":                        `when { false }`,
		"not true":                     `unless { true }`,
		"true or anything":             `unless { true || context.plan.inPlan }`,
		"behind another":               `when { context.plan.inPlan && 1 > 2 }`,
		"of another type":              `when { resource is Prompt }`,
		"another server's":             `when { resource == Tool::"mail/send" && action == Action::"mail___send" }`,
		"another action":               `when { action in Action::"discovery" }`,
		"two values":                   `when { context.input.table == "a" && context.input.table == "b" }`,
		"a value and not":              `when { context.input.table == "a" && context.input.table != "a" }`,
		"a value and unless":           `when { context.input.table == "a" } unless { context.input.table == "a" }`,
		"in both":                      `when { context.plan.inPlan } unless { context.plan.inPlan || context.trust > 3 }`,
		"an empty range":               `when { context.trust > 500 && context.trust < 501 }`,
		"a number outside":             `when { context.trust == 7 && context.trust >= 8 }`,
		"a range outside of an unless": `when { 900 < context.trust } unless { context.trust > 100 }`,
		"an if of nothing":             `when { if context.plan.inPlan then false else 2 < 1 }`,
	} {
		if got := found(t, query+"\n"+when+";"); !strings.HasPrefix(got, "2:") || !strings.HasSuffix(got, " unreachable warning\n") || strings.Count(got, "\n") != 1 {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := found(t, `permit (principal == Agent::"a", action in Action::"work", resource in Server::"db") when { principal is User };`); got != "1:93 unreachable warning\n" {
		t.Errorf("%q", got)
	}
	for name, when := range map[string]string{
		"one side":          `when { context.plan.inPlan || false }`,
		"its own type":      `when { resource is Tool && principal is Agent }`,
		"a range":           `when { context.trust > 500 && context.trust < 502 }`,
		"two things":        `when { context.input.table == "a" && context.input.rows == 3 }`,
		"its own tool":      `when { resource == Tool::"db/query" && resource in Server::"db" }`,
		"not another value": `when { context.input.table == "a" } unless { context.input.table == "b" }`,
	} {
		if got := found(t, strings.Replace(query, "resource)", "resource in Server::\"db\")", 1)+"\n"+when+";"); got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestPoliciesThatMakeNoDifference(t *testing.T) {
	narrow := query + " when { context.plan.inPlan && context.trust >= 5 };\n"
	for name, other := range map[string]string{
		"a wider action":            `permit (principal in Team::"data", action in Action::"call_tool", resource) when { 5 <= context.trust };`,
		"a group of groups":         `permit (principal in Team::"data", action in [Action::"discovery", Action::"work"], resource) when { context.plan.inPlan };`,
		"everybody":                 `permit (principal, action == Action::"db___query", resource) when { context.plan.inPlan };`,
		"forbidden":                 `forbid (principal, action == Action::"db___query", resource);`,
		"forbidden on a condition":  `forbid (principal in Team::"data", action in Action::"mcp", resource) when { context.plan.inPlan };`,
		"the same in another order": `permit (principal in Team::"data", action == Action::"db___query", resource) when { context.trust >= 5 } when { context.plan.inPlan };`,
	} {
		got := found(t, other+"\n"+narrow)
		if !strings.Contains(got, "2:1 shadowed warning\n") || strings.Count(got, "shadowed") != 1 {
			t.Errorf("%s: %q", name, got)
		}
	}
	for name, other := range map[string]string{
		"more conditions":     `permit (principal, action in Action::"work", resource) when { context.plan.inPlan && context.net.tls };`,
		"other people":        `permit (principal in Team::"other", action == Action::"db___query", resource);`,
		"some of them":        `permit (principal is Agent, action == Action::"db___query", resource) when { context.plan.inPlan };`,
		"a hold":              `@hold("look") forbid (principal, action == Action::"db___query", resource);`,
		"only what it would":  `@mode("shadow") forbid (principal, action == Action::"db___query", resource);`,
		"other actions":       `forbid (principal, action in Action::"discovery", resource);`,
		"one of its actions":  `forbid (principal, action == Action::"mail___send", resource);`,
		"unless it is so":     `forbid (principal, action in Action::"work", resource) unless { context.plan.inPlan };`,
		"another tool":        `forbid (principal, action, resource == Tool::"mail/send");`,
		"an or of conditions": `forbid (principal, action in Action::"work", resource) when { context.plan.inPlan && (context.trust < 5 || context.net.tls) };`,
	} {
		if got := found(t, other+"\n"+narrow); strings.Contains(got, "shadowed") {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := found(t, `forbid (principal, action in Action::"db___query", resource);`+"\n"+`permit (principal in Team::"data", action in [Action::"db___query", Action::"mail___send"], resource);`); got != "" {
		t.Errorf("one of two actions: %q", got)
	}
	elsewhere := `forbid (principal in Team::"x", action in Action::"discovery", resource) when { context.net.tls && context.trust > 1 };` + "\n" +
		`forbid (principal in Team::"y", action in Action::"discovery", resource) when { context.net.tls && context.trust > 2 };` + "\n"
	if got := found(t, elsewhere+`forbid (principal, action in Action::"work", resource) when { context.plan.inPlan && context.net.tls };`+"\n"+query+" when { context.plan.inPlan };"); got != "" {
		t.Errorf("a condition more: %q", got)
	}
	tool := `permit (principal is Agent in Team::"data", action, resource == Tool::"db/query") when { context.net.tls };` + "\n"
	for _, other := range []string{`forbid (principal in Team::"data", action, resource in Server::"db");`, `forbid (principal is Agent, action, resource is Tool);`, `forbid (principal, action, resource is Tool in Server::"db");`} {
		if got := found(t, tool+other); !strings.Contains(got, "1:1 shadowed warning\n") {
			t.Errorf("%s: %q", other, got)
		}
	}
	if got := found(t, `forbid (principal, action, resource in Server::"db");`+"\n"+`@hold("x") forbid (principal, action == Action::"db___query", resource == Tool::"db/query");`); got != "2:1 shadowed warning\n" {
		t.Errorf("%q", got)
	}
}

func TestPoliciesThatAreWiderThanTheyLook(t *testing.T) {
	for text, want := range map[string]string{
		`permit (principal, action, resource) when { context.plan.inPlan };`:                                                                                              "1:1 unscoped warning\n",
		`permit (principal, action, resource);`:                                                                                                                           "1:1 unscoped warning\n",
		`forbid (principal, action == Action::"call_tool", resource == Tool::"db/query");`:                                                                                "1:1 local-only warning\n",
		`forbid (principal, action in Action::"call_tool", resource == Tool::"db/query");`:                                                                                "",
		`forbid (principal, action in [Action::"call_tool"], resource == Tool::"db/query");`:                                                                              "",
		`permit (principal is Agent, action in Action::"call_tool", resource);`:                                                                                           "1:1 broad warning\n",
		`permit (principal, action == Action::"db___query", resource) when { true };`:                                                                                     "1:1 broad warning\n",
		`permit (principal, action in Action::"mcp", resource);`:                                                                                                          "1:1 broad warning\n",
		`permit (principal, action in Action::"discovery", resource);`:                                                                                                    "",
		`permit (principal, action in Action::"work", resource) when { context.plan.inPlan };`:                                                                            "",
		`permit (principal in Team::"a", action in Action::"work", resource);`:                                                                                            "",
		`forbid (principal, action, resource) unless { context.plan.inPlan };`:                                                                                            "1:1 unindexable note\n",
		"forbid (principal, action, resource)\nwhen { context.net.tls && principal in Team::\"a\" };":                                                                     "2:27 unindexable warning\n",
		"forbid (principal, action in Action::\"work\", resource)\nwhen { resource == Tool::\"db/query\" };":                                                              "2:8 unindexable warning\n",
		`forbid (principal, action in Action::"work", resource) when { !(resource in Server::"db") };`:                                                                    "",
		"// lint:allow unscoped, broad\npermit (principal, action, resource);":                                                                                            "",
		"permit (principal, action, resource); // lint:allow broad\nforbid (principal, action, resource);":                                                                "1:1 unscoped warning\n1:1 shadowed warning\n2:1 unindexable note\n",
		`permit (principal in Team::"a", action in Action::"call_tool", resource) when { context.undeclared.text like "*x*" };`:                                           "1:81 unguarded warning\n",
		`permit (principal in Team::"a", action in Action::"call_tool", resource) when { context.undeclared.names.contains("x") && context.undeclared.text like "*x*" };`: "",
	} {
		if got := found(t, text); got != want {
			t.Errorf("%s\n%q, want %q", text, got, want)
		}
	}
	all := ""
	for _, f := range lint.Check(compile(t, query+";")) {
		all += f.Rule + " " + f.Level + "\n"
	}
	if all != "missing-id warning\nmissing-reason note\n" {
		t.Errorf("%q", all)
	}
}

func TestTheDefaultBundleHasNoWarning(t *testing.T) {
	b, err := policies.LoadBundle(os.DirFS("../default"))
	if err != nil {
		t.Fatal(err)
	}
	e, err := policies.Compile(b, defs)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range lint.Check(b, e) {
		if f.Level != "note" {
			t.Errorf("%+v", f)
		}
	}
}

func TestTenThousandPoliciesAreLookedAtInSeconds(t *testing.T) {
	var text strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&text, "@id(\"p%d\") permit (principal in Team::\"t%d\", action in Action::\"call_tool\", resource in Server::\"db\") when { context.plan.inPlan && context.trust > %d };\n", i, i%100, i)
	}
	b, e := compile(t, text.String())
	began := time.Now()
	if n := len(lint.Check(b, e)); n != 10_000 { // each lacks a reason
		t.Error(n)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Error("it took", took)
	} else {
		t.Log("it took", took)
	}
}

func TestARateMakesNothingPointless(t *testing.T) {
	for _, capped := range []string{"forbid", "permit"} {
		text := query + ";\n" + `@id("cap") @rate("10/1h") ` + strings.Replace(query, "permit", capped, 1) + ";"
		want := map[string]string{"forbid": "", "permit": "2:1 shadowed warning\n"}[capped] // 1 permits more than 2
		if got := found(t, text); got != want {
			t.Errorf("%s: %q, want %q", capped, got, want)
		}
	}
}

func TestTemplatesAreLookedAt(t *testing.T) {
	b, err := policies.NewBundle(map[string][]byte{
		"z.cedar": []byte(query + ";"),
		"templates/t.cedar": []byte("@id(\"a\")\npermit (principal in ?principal, action, resource)\nwhen { 1 > 2 };\n" +
			"// lint:allow unreachable\n@id(\"b\") permit (principal in ?principal, action, resource) when { 1 > 2 };\n" +
			"@id(\"c\") permit (principal in ?principal, action, resource) when { 1 > 2 };"),
		"templates/links.json": []byte(`[{"templateId":"b","newId":"of b","values":{"?principal":"Team::\"x\""}},{"templateId":"a","newId":"of a","values":{"?principal":"Team::\"x\""}}]`),
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := policies.Compile(b, defs)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, f := range lint.Check(b, e) {
		if !strings.HasPrefix(f.Rule, "missing") {
			got += fmt.Sprintf("%s:%d:%d %s %s\n", f.File, f.Line, f.Column, f.Policy, f.Rule)
		}
	}
	if want := "templates/t.cedar:3:8 of a unreachable\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestAScoreThatTheSchemaDoesNotName is asked for in vain: `has` of a name that nobody knows compiles, and is never so.
func TestAScoreThatTheSchemaDoesNotName(t *testing.T) {
	check := func(name, rest string) (out []string) {
		t.Helper()
		b, err := policies.LoadBundle(fstest.MapFS{
			"p.cedar":            {Data: []byte("@id(\"a\") @reason(\"b\") forbid (principal, action in Action::\"work\", resource)\nwhen { context.plan.inPlan && context.filters.scores has " + name + rest + " };")},
			"schema.cedarschema": {Data: []byte("type Scores = { injection?: Long };")},
		})
		if err != nil {
			t.Fatal(err)
		}
		e, err := policies.Compile(b, defs)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range lint.Check(b, e) {
			out = append(out, fmt.Sprintf("%d %s %s: %s (%s)", f.Line, f.Rule, f.Level, f.Msg, f.Hint))
		}
		return out
	}
	if got := check("injection", " && context.filters.scores.injection > 500"); got != nil {
		t.Errorf("%q", got)
	}
	got := check("injektion", " && context.filters.scores.injektion > 500")
	if len(got) != 1 || !strings.HasPrefix(got[0], "2 unknown-score warning: policy a: it asks for the score injektion") || !strings.Contains(got[0], "it names: injection") {
		t.Errorf("%q", got)
	}
}
