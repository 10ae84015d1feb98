package policies_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/policies"
)

func TestABadRateIsRefusedWhenLoaded(t *testing.T) {
	const permit = `permit (principal, action in Action::"call_tool", resource);`
	for notes, want := range map[string][2]string{
		`@id("a") @rate("10/1w")`:                   {"p.cedar:1:10", `as @rate("10/1h")`},
		`@id("a") @rate("")`:                        {"p.cedar:1:10", `as @rate("10/1h")`},
		`@id("a") @rate("10")`:                      {"p.cedar:1:10", ""},
		`@id("a") @rate("10/h")`:                    {"p.cedar:1:10", ""},
		`@id("a") @rate("0/1h")`:                    {"p.cedar:1:10", ""},
		`@id("a") @rate("-1/1h")`:                   {"p.cedar:1:10", ""},
		`@id("a") @rate("+1/1h")`:                   {"p.cedar:1:10", ""},
		`@id("a") @rate("01/1h")`:                   {"p.cedar:1:10", ""},
		`@id("a") @rate("1/01h")`:                   {"p.cedar:1:10", ""},
		`@id("a") @rate("1.5/1h")`:                  {"p.cedar:1:10", ""},
		`@id("a") @rate("10 / 1h")`:                 {"p.cedar:1:10", ""},
		`@id("a") @rate("10/1h ")`:                  {"p.cedar:1:10", ""},
		`@id("a") @rate("10/0s")`:                   {"p.cedar:1:10", ""},
		`@id("a") @rate("10/32d")`:                  {"p.cedar:1:10", ""},
		`@id("a") @rate("10/9999999999999999999h")`: {"p.cedar:1:10", ""},
		`@id("a") @rate("1000001/1h")`:              {"p.cedar:1:10", ""},
		`@id("a") @rate("10/1h/2")`:                 {"p.cedar:1:10", ""},
		`@id("a") @rate("10/1h") @rate_by("tools")`: {"p.cedar:1:25", `@rate_by("tool")`},
		`@id("a") @rate("10/1h") @rate_by("")`:      {"p.cedar:1:25", ""},
		`@id("a") @rate_by("tool")`:                 {"p.cedar:1:10", `add @rate("10/1h")`},
		`@rate("10/1h")`:                            {"p.cedar:1:1", `add @id("name")`},
	} {
		_, err := policies.Compile(bundle(t, notes+" "+permit), demoTools())
		var problems policies.Problems
		if !errors.As(err, &problems) || !strings.HasPrefix(problems[0].Error(), want[0]+":") || !strings.Contains(problems[0].Hint, want[1]) || problems[0].Hint == "" {
			t.Errorf("%s: %v", notes, err)
		}
	}
	for _, text := range []string{
		`@id("a") @rate("10/1h") permit (principal, action, resource);`,
		`@id("a") @rate("10/1h") permit (principal, action in Action::"mcp", resource);`,
		`@id("a") @rate("10/1h") forbid (principal, action == Action::"list_tools", resource);`,
		`@id("a") @rate("10/1h") permit (principal, action in [Action::"call_tool", Action::"capture_plan"], resource);`,
		`@id("a") @rate("10/1h") @hold("why") forbid (principal, action in Action::"call_tool", resource);`,
	} {
		if _, err := policies.Compile(bundle(t, text), demoTools()); err == nil || !strings.Contains(err.Error(), "p.cedar:1:10") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := policies.CompileOverlay("o", []byte(`@id("a") @rate("10/1h") forbid (principal, action in Action::"call_tool", resource);`)); err == nil || !strings.Contains(err.Error(), "no rates") {
		t.Errorf("an overlay with a rate: %v", err)
	}
	for text, want := range map[string]policies.Rate{
		`@id("a") @rate("10/1h")`:                          {Max: 10, Per: time.Hour, By: "principal"},
		`@id("a") @rate("1000000/31d") @rate_by("tenant")`: {Max: 1_000_000, Per: 31 * 24 * time.Hour, By: "tenant"},
		`@id("a") @rate("1/90s") @rate_by("tool")`:         {Max: 1, Per: 90 * time.Second, By: "tool"},
	} {
		want.ID, want.Policy = "a", "p.cedar:1 a"
		got := compile(t, text+permit).Decide(call("mail", "send", `{"to":"x"}`)).Rates()
		if len(got) != 1 || got[0] != want {
			t.Errorf("%s: %+v", text, got)
		}
	}
}

func TestWhatHasToHaveRoom(t *testing.T) {
	const (
		free  = `@id("free") permit (principal, action in Action::"call_tool", resource);`
		some  = `@id("some") @rate("1/1h") permit (principal, action in Action::"call_tool", resource);`
		more  = `@id("more") @rate("2/1h") permit (principal, action == Action::"mail___send", resource);`
		limit = `@id("cap") @rate("3/1h") forbid (principal, action in Action::"work", resource in Server::"mail") when { context.input.to == "x" };`
		hold  = `@hold("ask") forbid (principal, action in Action::"call_tool", resource);`
		never = `forbid (principal, action in Action::"call_tool", resource);`
	)
	typed := strings.ReplaceAll(limit, `in Action::"work"`, `== Action::"mail___send"`)
	for text, want := range map[string]string{
		some: "some", some + more: "some more", free + some: "", typed + free: "cap", typed + some + more: "cap some more",
		typed + free + some: "cap", some + never: "", typed + free + hold: "", free: "",
	} {
		e := compile(t, text)
		a := call("mail", "send", `{"to":"x"}`)
		d := e.Decide(a)
		var ids []string
		for _, r := range d.Rates() {
			ids = append(ids, r.ID)
			if r.Cap != (r.ID == "cap") {
				t.Errorf("%s: %+v", text, r)
			}
		}
		if got := strings.Join(ids, " "); got != want || e.Rated() != strings.Contains(text, "@rate") {
			t.Errorf("%s: %q, not %q", text, got, want)
		}
		if d.Allowed() == strings.Contains(text, "@hold") || d.Allowed() == strings.Contains(text, never) {
			if d.Allowed() {
				t.Errorf("%s: allowed", text)
			}
		}
	}
	e := compile(t, typed+free+hold)
	a := call("mail", "send", `{"to":"x"}`)
	if d := e.Decide(a); !d.Held() || len(d.Policies()) != 1 {
		t.Errorf("held %v by %q", d.Held(), d.Policies())
	}
	if a.Approved = true; len(e.Decide(a).Rates()) != 1 {
		t.Error("an approval lets a call pass the cap")
	}
	// A cap that cannot be evaluated denies like any forbid.
	e = compile(t, free+`@id("cap") @rate("3/1h") forbid (principal, action in Action::"work", resource) when { context.trust + 9223372036854775807 > 0 };`)
	if d := e.Decide(call("mail", "send", `{"to":"x"}`)); d.Allowed() || len(d.Errors()) != 1 {
		t.Errorf("allowed %v, errors %q", d.Allowed(), d.Errors())
	}
	e = compile(t, typed+free)
	if !e.Decide(listing("mail", "send")).Allowed() {
		t.Error("a tool with a rate is not listed")
	}
	if o := e.Outlook(listing("mail", "send")); o != policies.Sometimes {
		t.Errorf("the outlook of a call with a cap is %v", o)
	}
	if o := compile(t, some).Outlook(listing("mail", "send")); o != policies.Sometimes {
		t.Errorf("the outlook of a call with a rate is %v", o)
	}
}
