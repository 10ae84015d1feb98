package policies_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gatewright/gatewright/policies"
)

func TestABrokenBundleIsRefusedAtItsPlace(t *testing.T) {
	cases := []struct{ name, text, place, msg, hint string }{
		{"syntax", "permit (principal, action, resource)\nwhen { principal.trust > };", "p.cedar:2:27", "parse error", "a policy is"},
		{"unterminated", "permit (principal, action, resource) when { true", "p.cedar:1:49", "parse error", ""},
		{"unknown action", "permit (principal,\n  action == Action::\"call_tol\", resource);", "p.cedar:2:22", "unrecognized action", "did you mean call_tool?"},
		{"unknown tool", `permit (principal, action == Action::"mail___sent", resource);`, "p.cedar:1:39", "unrecognized action", "mail___send"},
		{"unknown type", `permit (principal is Agnt, action, resource);`, "p.cedar:1:22", "unrecognized entity type", "did you mean Agent?"},
		{"unknown attribute", "permit (principal, action, resource)\nwhen { principal.turst > 1 };", "p.cedar:2:18", "`turst`", "did you mean trust?"},
		{"unknown context", `permit (principal, action, resource) when { context.plan.inPaln };`, "p.cedar:1:58", "inPaln", "did you mean inPlan?"},
		{"unknown argument", `permit (principal, action == Action::"mail___send", resource) when { context.input.too == "x" };`, "p.cedar:1:84", "too", "did you mean to?"},
		{"another tool's argument", `permit (principal, action == Action::"mail___send", resource) when { context.input.table == "x" };`, "p.cedar:1:84", "table", ""},
		{"unguarded argument", `permit (principal, action in Action::"call_tool", resource) when { context.input.sql == "x" };`, "p.cedar:1:82", "sql", ""},
		{"optional argument", `permit (principal, action == Action::"mail___send", resource) when { context.input.copies == 1 };`, "p.cedar:1:84", "optional", "`has copies`"},
		{"argument of the tool in the scope", `forbid (principal, action, resource == Tool::"mail/send") when { context.input.to == "x" };`, "p.cedar:1:80", "`to`", `say action == Action::"mail___send"`},
		{"wrong type", `permit (principal, action == Action::"mail___send", resource) when { context.input.to > 1 };`, "p.cedar:1:1", "expected", ""},
		{"argument where none is", `permit (principal, action == Action::"list_tools", resource) when { context.input.to == "x" };`, "p.cedar:1:77", "input", ""},
		{"unknown status", `forbid (principal, action, resource) when { principal.status == Status::"asleep" };`, "p.cedar:1:74", "asleep", "one of active"},
		{"never applies", `permit (principal is Server, action, resource);`, "p.cedar:1:1", "applicable action", "no action goes"},
		{"never applies 2", `permit (principal, action == Action::"list_tools", resource is Tool);`, "p.cedar:1:1", "applicable action", "no action goes"},
		{"owner's attributes", `forbid (principal is Agent, action, resource) when { principal has owner && principal.owner.trust < 3 };`, "p.cedar:1:87", "only be compared", ""},
		{"user's groups", `forbid (principal, action, resource) when { context has onBehalfOf && context.onBehalfOf in Team::"x" };`, "p.cedar:1:79", "only be compared", ""},
		{"a stranger's groups", `forbid (principal, action, resource) when { User::"u" in Team::"x" };`, "p.cedar:1:52", "only be compared", ""},
		{"same id twice", "@id(\"a\") permit (principal, action, resource);\n@id(\"a\") forbid (principal, action, resource);", "p.cedar:2:6", "taken by p.cedar:1 a", "unique"},
		{"mode", "@mode(\"audit\") forbid (principal, action, resource);", "p.cedar:1:2", "@mode", ""},
		{"nesting", "permit (principal, action, resource) when { " + strings.Repeat("(", 2000) + "true", "p.cedar:1:", "brackets open", ""},
		{"length", "permit (principal, action, resource) when { " + strings.Repeat("true && ", 9000) + "true };", "p.cedar:1:", "longer than", ""},
		{"not UTF-8", "permit (principal, action, resource); // \xff", "p.cedar", "UTF-8", ""},
	}
	for _, c := range cases {
		_, err := policies.Compile(bundle(t, c.text), demoTools())
		var problems policies.Problems
		if !errors.As(err, &problems) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got := problems[0].Error()
		if c.name == "owner's attributes" || c.name == "user's groups" {
			got = problems.Error()
		}
		for _, want := range []string{c.place, c.msg, c.hint} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q is missing in:\n%s", c.name, want, problems.Error())
			}
		}
	}
}

func TestAllProblemsAreReportedUpToABound(t *testing.T) {
	var text strings.Builder
	for range 80 {
		text.WriteString("permit (principal, action, resource) when { principal.nope };\n")
	}
	_, err := policies.Compile(bundle(t, text.String()), nil)
	var problems policies.Problems
	if !errors.As(err, &problems) || len(problems) != 80 || problems[79].Line != 80 {
		t.Fatalf("%d problems", len(problems))
	}
	if s := err.Error(); strings.Count(s, "\n") > 50 || !strings.Contains(s, "30 more") {
		t.Errorf("the message is not bounded: %d lines", strings.Count(s, "\n"))
	}
}

func TestGoodPoliciesCompile(t *testing.T) {
	for _, text := range []string{
		`// a comment with a ; and a " and (((` + "\n" + allowAll,
		`@reason("strings with \"quotes\", ; and ((( are text") permit (principal, action, resource);`,
		`forbid (principal, action in Action::"call_tool", resource) when { context.input has sql && context.input.sql like "*DROP*" };`,
		`forbid (principal, action, resource) unless { action in Action::"mcp" || action in Action::"model" };`,
		`forbid (principal, action, resource) when { context has onBehalfOf && context.onBehalfOf == User::"x" };`,
		`forbid (principal, action == Action::"mail___send", resource) when { context.input has any && context.input.any has string && context.input.any.string like "x*" };`,
		`permit (principal, action == Action::"mail___send", resource == Tool::"mail/send") when { context.undeclared.names.isEmpty() && !context.inputNulls.contains("/note") };`,
	} {
		if _, err := policies.Compile(bundle(t, text), demoTools()); err != nil {
			t.Errorf("%s\n%v", text, err)
		}
	}
}

func TestTheDefaultBundleCompilesWithoutTools(t *testing.T) {
	e, err := policies.Compile(policies.Default(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if e.Decide(call("mail", "send", `{}`)).Allowed() {
		t.Error("a tool nobody knows is allowed")
	}
	for _, b := range []*policies.Bundle{nil, {}} {
		if _, err := policies.Compile(b, nil); err == nil {
			t.Error("an empty bundle compiles")
		}
	}
}

func TestABadToolIsLeftOutAlone(t *testing.T) {
	deep := strings.Repeat(`{"type":"object","properties":{"a":`, 12) + `{}` + strings.Repeat(`}}`, 12)
	tools := append(demoTools(),
		policies.ToolDef{Server: "x", Name: "dup"}, policies.ToolDef{Server: "x", Name: "dup"}, // one name, two tools
		policies.ToolDef{Server: "a___b", Name: "c"}, policies.ToolDef{Server: "a", Name: "b___c"}, // one action
		policies.ToolDef{Server: "a/b", Name: "d"}, policies.ToolDef{Server: "a", Name: "b/d"}, // one resource
		policies.ToolDef{Server: "x", Name: "broken", InputSchema: []byte(`{"type":`)},
		policies.ToolDef{Server: "x", Name: "twice", InputSchema: []byte(`{"type":"object","type":"object"}`)},
		policies.ToolDef{Server: "x", Name: "list", InputSchema: []byte(`[]`)},
		policies.ToolDef{Server: "x", Name: "odd", Op: "delete_everything"},
		policies.ToolDef{Server: "", Name: "nowhere"},
		policies.ToolDef{Server: "x", Name: "deep", InputSchema: []byte(deep)},
		policies.ToolDef{Server: "x", Name: "none"},
	)
	e, err := policies.Compile(bundle(t, allowAll), tools)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(e.Skipped()); n != 11 {
		t.Errorf("%d tools left out: %q", n, e.Skipped())
	}
	for _, c := range []struct {
		server, tool string
		want         bool
	}{{"mail", "send", true}, {"x", "deep", true}, {"x", "none", true}, {"x", "dup", false}, {"a___b", "c", false},
		{"a", "b___c", false}, {"a/b", "d", false}, {"a", "b/d", false}, {"x", "broken", false}, {"x", "twice", false}, {"x", "list", false}, {"x", "odd", false}} {
		if got := e.Decide(call(c.server, c.tool, `{}`)).Allowed(); got != c.want {
			t.Errorf("%s/%s: allowed %v", c.server, c.tool, got)
		}
	}
}

func TestABundleMayAddWordsButNotChangeTheGateways(t *testing.T) {
	own, _ := policies.Default().File("schema.cedarschema")
	load := func(schema, text string) error {
		b, err := policies.LoadBundle(fstest.MapFS{"p.cedar": {Data: []byte(text)}, "schema.cedarschema": {Data: []byte(schema)}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = policies.Compile(b, demoTools())
		return err
	}
	if err := load(string(own), allowAll); err != nil {
		t.Errorf("the gateway's schema, unchanged: %v", err)
	}
	if err := load(`entity Region enum ["eu", "us"]; type Pair = { a: Long };`, allowAll); err != nil {
		t.Errorf("additions: %v", err)
	}
	for _, schema := range []string{
		`entity Agent;`, `entity Tool enum ["a"];`, `type Context = { now: Long };`, `action call_tool;`,
		`action rob appliesTo { principal: [Agent], resource: [Tool], context: {} };`,
		`namespace X { entity Y; }`, `entity Z in [Nowhere];`, `entity`, `entity A = { b: Nothing };`,
	} {
		err := load(schema, allowAll)
		var problems policies.Problems
		if !errors.As(err, &problems) || problems[0].File != "schema.cedarschema" {
			t.Errorf("%s: %v", schema, err)
		}
	}
}

func TestABundlesOwnActionDoesNotBecomeATool(t *testing.T) {
	b, err := policies.LoadBundle(fstest.MapFS{"p.cedar": {Data: []byte(allowAll)}, "schema.cedarschema": {Data: []byte(`action "mail___send";`)}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := policies.Compile(b, demoTools())
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Skipped()) != 1 || e.Decide(call("mail", "send", `{"to":"x"}`)).Allowed() || !e.Decide(call("db", "query", `{}`)).Allowed() {
		t.Errorf("left out: %q", e.Skipped())
	}
}

func TestValidationOfAGroupSeesEveryTool(t *testing.T) {
	tools := demoTools()
	for i := range 50 {
		tools = append(tools, policies.ToolDef{Server: "gen", Name: fmt.Sprint("t", i), InputSchema: []byte(`{"type":"object","properties":{"path":{"type":"string"}}}`)})
	}
	guarded := bundle(t, `forbid (principal, action in Action::"call_tool", resource) when { context.input has path && context.input.path like "*..*" };`)
	if _, err := policies.Compile(guarded, tools); err != nil {
		t.Fatal(err)
	}
	tools = append(tools, policies.ToolDef{Server: "gen", Name: "odd", InputSchema: []byte(`{"type":"object","properties":{"path":{"type":"integer"}}}`)})
	if _, err := policies.Compile(guarded, tools); err == nil {
		t.Error("a path that is a number is compared as text")
	}
}
