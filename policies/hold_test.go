package policies_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/policies"
)

func TestABadHoldIsRefusedAtItsPlace(t *testing.T) {
	forbid := " forbid (principal, action, resource);"
	cases := []struct{ text, place, msg, hint string }{
		{"@id(\"a\")\n@hold(\"why\") permit (principal, action, resource);", "p.cedar:2:1", "on a permit", "on a forbid"},
		{"@hold" + forbid, "p.cedar:1:1", "does not say why", "@hold("},
		{`@hold("")` + forbid, "p.cedar:1:1", "does not say why", "@hold("},
		{`@approvals("2")` + forbid, "p.cedar:1:1", "without @hold", "add @hold"},
		{`@approver("admin")` + forbid, "p.cedar:1:1", "without @hold", "add @hold"},
		{`@hold("why") @approvals("0")` + forbid, "p.cedar:1:14", "from 1 to 16", `@approvals("2")`},
		{`@hold("why") @approvals("17")` + forbid, "p.cedar:1:14", "from 1 to 16", ""},
		{`@hold("why") @approvals("02")` + forbid, "p.cedar:1:14", "from 1 to 16", ""},
		{`@hold("why") @approvals("+2")` + forbid, "p.cedar:1:14", "from 1 to 16", ""},
		{`@hold("why") @approvals("two")` + forbid, "p.cedar:1:14", "from 1 to 16", ""},
		{`@hold("why") @approvals` + forbid, "p.cedar:1:14", "from 1 to 16", ""},
		{`@hold("why") @approver("Admin")` + forbid, "p.cedar:1:14", "not a role", "manager"},
		{`@hold("why") @approver("member")` + forbid, "p.cedar:1:14", "not a role", "manager"},
		{`@hold("why") @approver` + forbid, "p.cedar:1:14", "not a role", "manager"},
		{`@hold("why") @aprovals("2")` + forbid, "p.cedar:1:14", "unknown annotation @aprovals", "did you mean @approvals?"},
		{`@hold("why") @aprover("admin")` + forbid, "p.cedar:1:14", "unknown annotation @aprover", "did you mean @approver?"},
		{`@moed("shadow")` + forbid, "p.cedar:1:1", "unknown annotation @moed", "did you mean @mode?"},
		{`@raet("1/1h")` + forbid, "p.cedar:1:1", "unknown annotation @raet", "did you mean @rate?"},
		{`@raeson("x")` + forbid, "p.cedar:1:1", "unknown annotation @raeson", "did you mean @reason?"},
	}
	for _, c := range cases {
		_, err := policies.Compile(bundle(t, c.text), demoTools())
		var problems policies.Problems
		if !errors.As(err, &problems) {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		for _, want := range []string{c.place, c.msg, c.hint} {
			if !strings.Contains(problems[0].Error(), want) {
				t.Errorf("%s: %q is missing in %s", c.text, want, problems[0].Error())
			}
		}
		if _, err := policies.CompileOverlay("terms", []byte(c.text)); !errors.As(err, &problems) {
			t.Errorf("%s: in an overlay: %v", c.text, err)
		}
	}
}

const (
	holdSend = `@id("ask") @hold("mail leaves the house") @approvals("2") @approver("admin")
		forbid (principal, action == Action::"mail___send", resource) when { context.input.to == "boss" };`
	holdAll = `@id("ask-all") @hold("everything is watched") forbid (principal, action, resource);`
)

func TestAHeldCallIsNotAllowedUntilItIsApproved(t *testing.T) {
	boss, other := call("mail", "send", `{"to":"boss"}`), call("mail", "send", `{"to":"x"}`)
	e := compile(t, `@id("all") `+allowAll+"\n"+holdSend)
	d := e.Decide(boss)
	if d.Allowed() || !d.Held() || strings.Join(d.Policies(), "|") != "p.cedar:2 ask" || d.Annotations()[0]["hold"] != "mail leaves the house" {
		t.Fatalf("allowed %v, held %v by %q", d.Allowed(), d.Held(), d.Policies())
	}
	want := policies.Hold{Policy: "p.cedar:2 ask", Why: "mail leaves the house", Approver: "admin", Approvals: 2}
	if h := d.Holds(); len(h) != 1 || h[0] != want {
		t.Errorf("holds %+v", h)
	}
	if d := e.Decide(other); !d.Allowed() || d.Held() || d.Holds() != nil || strings.Join(d.Policies(), "|") != "p.cedar:1 all" {
		t.Errorf("another call: allowed %v, held %v by %q", d.Allowed(), d.Held(), d.Policies())
	}
	if d.Covers(other) {
		t.Error("a held decision covers another call")
	}
	boss.Approved = true
	if d.Covers(boss) {
		t.Error("a held decision covers the approved call")
	}
	d = e.Decide(boss)
	if !d.Allowed() || d.Held() || !d.Covers(boss) || strings.Join(d.Policies(), "|") != "p.cedar:1 all" || len(d.Holds()) != 1 || d.Holds()[0] != want {
		t.Errorf("approved: allowed %v, held %v by %q, holds %+v", d.Allowed(), d.Held(), d.Policies(), d.Holds())
	}
	var zero policies.Decision
	if zero.Held() || zero.Holds() != nil {
		t.Error("the zero decision holds")
	}
}

// Approval stands in for a person's yes to a hold. It makes up for nothing else.
func TestAnApprovalAnswersHoldsOnly(t *testing.T) {
	overflow := `context.trust + 9223372036854775807 > 0`
	cases := map[string]string{
		"nothing permits":          holdAll,
		"a forbid beside it":       allowAll + holdAll + `@id("no") forbid (principal, action, resource);`,
		"a fresh forbid beside it": allowAll + holdAll + `@id("no") forbid (principal, action, resource) when { context.now > datetime("2000-01-01") };`,
		"a hold that fails":        allowAll + `@id("no") @hold("why") forbid (principal, action, resource) when { ` + overflow + ` };`,
		"a forbid that fails":      allowAll + holdAll + `@id("no") forbid (principal, action, resource) when { ` + overflow + ` };`,
		"a hold on what is hidden": allowAll + `@id("no") @hold("why") forbid (principal, action == Action::"mail___send", resource) when { context.input has price && context.input.price == decimal("1.0") };`,
	}
	for name, text := range cases {
		for _, approved := range []bool{false, true} {
			a := call("mail", "send", `{"to":"x","price":0.00001}`)
			a.Approved = approved
			for range 2 { // built, then remembered
				if d := compile(t, text).Decide(a); d.Allowed() || d.Held() || d.Holds() != nil {
					t.Errorf("%s, approved %v: allowed %v, held %v by %q", name, approved, d.Allowed(), d.Held(), d.Policies())
				}
			}
		}
	}
}

func TestHoldsOfEveryKindCount(t *testing.T) {
	fresh := `@id("late") @hold("late") forbid (principal, action, resource) when { context.now > datetime("2000-01-01") };`
	e := compile(t, fresh+"\n"+allowAll+"\n"+holdAll+"\n"+holdSend)
	a := call("mail", "send", `{"to":"boss"}`)
	for range 2 {
		if d := e.Decide(a); !d.Held() || strings.Join(d.Policies(), "|") != "p.cedar:1 late|p.cedar:3 ask-all|p.cedar:4 ask" || len(d.Holds()) != 3 {
			t.Errorf("held %v by %q, %+v", d.Held(), d.Policies(), d.Holds())
		}
	}
	if h := e.Decide(a).Holds()[1]; h.Approvals != 0 || h.Approver != "" {
		t.Errorf("what is left to the settings has a value: %+v", h)
	}
	a.Approved = true
	if d := e.Decide(a); !d.Allowed() || len(d.Holds()) != 3 {
		t.Errorf("approved: %v, %+v", d.Allowed(), d.Holds())
	}
	// A list says what could be called: held for certain is not allowed, but not hidden either.
	if d := e.Decide(listing("mail", "send")); d.Allowed() || !d.Held() {
		t.Errorf("list: allowed %v, held %v", d.Allowed(), d.Held())
	}
	if d := compile(t, allowAll+holdSend).Decide(listing("mail", "send")); !d.Allowed() || d.Held() {
		t.Errorf("list, some arguments: allowed %v, held %v", d.Allowed(), d.Held())
	}
}

func TestALocalToolIsJudgedAsUnknown(t *testing.T) {
	local := func() *policies.Ask {
		a := call("laptop", "run/fast", `{"cmd":"ls"}`)
		a.Local = true
		return a
	}
	e := compile(t, allowAll)
	for name, change := range map[string]func(*policies.Ask){
		"not local":           func(a *policies.Ask) { a.Local = false },
		"another action":      func(a *policies.Ask) { a.Action = "read_resource" },
		"a list":              func(a *policies.Ask) { a.Action = "list_tools" },
		"no action":           func(a *policies.Ask) { a.Action = "" },
		"no server":           func(a *policies.Ask) { a.Server = "" },
		"no tool":             func(a *policies.Ask) { a.Tool = "" },
		"a tool that is ours": func(a *policies.Ask) { a.Server, a.Tool = "mail", "send" },
		"a server with slash": func(a *policies.Ask) { a.Server = "a/b" },
	} {
		a := local()
		change(a)
		if d := e.Decide(a); d.Allowed() || len(d.Errors()) == 0 || strings.Contains(d.Errors()[0], "fault") {
			t.Errorf("%s: allowed %v, errors %q", name, d.Allowed(), d.Errors())
		}
	}
	ours, err := policies.Compile(bundle(t, allowAll), []policies.ToolDef{{Server: "laptop/run", Name: "fast"}})
	if err != nil {
		t.Fatal(err)
	}
	if ours.Decide(local()).Allowed() {
		t.Error("a local tool passes under the id of one that the gateway holds")
	}
	for condition, want := range map[string]bool{
		`resource == Tool::"laptop/run/fast" && resource in Server::"laptop" && resource.name == "run/fast"`:                                                 true,
		`resource.destructive && resource.openWorld && !resource.readOnly && !resource.idempotent && resource.sensitivity == 0 && resource.labels.isEmpty()`: true,
		`context.undeclared.text == "{\"cmd\":\"ls\"}"`: true,
		`resource in Server::"mail"`:                    false,
		`resource.readOnly`:                             false,
	} {
		e := compile(t, `permit (principal, action in Action::"call_tool", resource) when { `+condition+` };`)
		if d := e.Decide(local()); d.Allowed() != want || len(d.Errors()) > 0 {
			t.Errorf("%s: allowed %v, errors %q", condition, d.Allowed(), d.Errors())
		}
	}
	e = defaultEngine(t)
	a := local()
	if !e.Decide(a).Allowed() {
		t.Error("a local step of a plan is refused")
	}
	if a.Plan.InPlan = false; e.Decide(a).Allowed() {
		t.Error("a local call without a plan is allowed")
	}
	a.Local = false
	if e.Decide(a).Allowed() {
		t.Error("the cache turns an unknown tool into a local one")
	}
}

// The path that most calls take allocates nothing.
func TestAnAnswerFromMemoryAllocatesNothing(t *testing.T) {
	e, a := defaultEngine(t), call("mail", "send", `{"to":"x"}`)
	e.Decide(a)
	if n := testing.AllocsPerRun(100, func() {
		if !e.Decide(a).Allowed() {
			t.Error("refused")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
