package policies_test

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/policies"
)

func TestABrokenOverlayIsRefusedAtItsPlace(t *testing.T) {
	tool := `forbid (principal, action in Action::"call_tool", resource) when { `
	cases := []struct{ name, text, place, msg, hint string }{
		{"a permit", allowAll, "terms:1:1", "only narrows", "unless"},
		{"a permit among forbids", "@id(\"a\") forbid (principal, action, resource);\n@id(\"b\") permit (principal, action, resource);", "terms:2:10", "only narrows", ""},
		{"syntax", "forbid (principal, action, resource)\nwhen { principal.trust > };", "terms:2:27", "parse error", "a policy is"},
		{"a mode", `@mode("shadow") forbid (principal, action, resource);`, "terms:1:2", "@mode", ""},
		{"an id twice", "@id(\"a\") forbid (principal, action, resource);\n@id(\"a\") forbid (principal, action, resource);", "terms:2:6", "taken by terms:1 a", ""},
		{"unknown action", `forbid (principal, action == Action::"call_tol", resource);`, "terms:1:39", "unrecognized action", "call_tool"},
		{"unknown action in a condition", `forbid (principal, action, resource) when { action in Action::"wrk" };`, "terms:1:64", "unrecognized action", "work"},
		{"unknown type", `forbid (principal is Agnt, action, resource);`, "terms:1:22", "unrecognized entity type", "Agent"},
		{"unknown type in a condition", `forbid (principal, action, resource) when { resource in Servr::"x" };`, "terms:1:", "unrecognized entity type", "Server"},
		{"a principal that never is", `forbid (principal is Tool, action, resource);`, "terms:1:22", "never a Tool", ""},
		{"a principal that never is 2", `forbid (principal == Team::"ops", action, resource);`, "terms:1:22", "never a Team", ""},
		{"a principal that never is 3", `forbid (principal in Server::"x", action, resource);`, "terms:1:22", "never a Server", ""},
		{"a principal that never is 4", `forbid (principal is Tool in Team::"x", action, resource);`, "terms:1:30", "never a Team", ""},
		{"a resource that never is", `forbid (principal, action == Action::"list_tools", resource is Tool);`, "terms:1:1", "no action goes", ""},
		{"a value that never is", `forbid (principal, action, resource) when { principal.status == Status::"asleep" };`, "terms:1:74", "asleep", "one of active"},
		{"principal's attribute", `forbid (principal, action, resource) when { principal.turst > 1 };`, "terms:1:55", "principal.turst", "trust"},
		{"below an attribute", `forbid (principal, action, resource) when { principal.status.x };`, "terms:1:62", "no attributes", ""},
		{"owner's attribute", `forbid (principal, action, resource) when { principal has owner && principal.owner.trust > 1 };`, "terms:1:84", "no attributes", ""},
		{"user's groups", `forbid (principal, action, resource) when { context has onBehalfOf && context.onBehalfOf in Team::"x" };`, "terms:1:79", "only be compared", ""},
		{"resource's attribute", tool + `resource.nme == "x" };`, "terms:1:77", "resource.nme", "name"},
		{"another resource's attribute", tool + `resource.uri like "x*" };`, "terms:1:77", "resource.uri", ""},
		{"an action's attribute", tool + `action.name == "x" };`, "terms:1:", "action.name", ""},
		{"tags", tool + `principal.hasTag("x") };`, "terms:1:1", "tags", ""},
		{"one word of the context for two", tool + `context has "net.ip" };`, "terms:1:", "context.net.ip", ""},
		{"context", tool + `context.plan.inPaln };`, "terms:1:", "context.plan.inPaln", "inPlan"},
		{"has in the context", tool + `context has amount };`, "terms:1:", "context.amount", ""},
		{"below a leaf", tool + `context.now.x };`, "terms:1:", "context.now.x", ""},
		{"the whole context", tool + `context == context };`, "terms:1:", "as a whole", ""},
		{"a hidden context", tool + `(if true then context else context).now == context.now };`, "terms:1:", "as a whole", ""},
		{"undeclared", tool + `context.undeclared.names.isEmpty() };`, "terms:1:", "does not exist", "context.input"},
		{"nulls", tool + `context.inputNulls.isEmpty() };`, "terms:1:", "does not exist", "context.input"},
		{"input of anything", `forbid (principal, action, resource) when { context.input has a };`, "terms:1:53", "only work", "call_tool"},
		{"input of mcp", `forbid (principal, action in Action::"mcp", resource) when { context.input has a };`, "terms:1:", "only work", ""},
		{"input of a list too", `forbid (principal, action in [Action::"call_tool", Action::"list_tools"], resource) when { context.input has a };`, "terms:1:", "only work", ""},
		{"no Json word", tool + `context.input has amount && context.input.amount.number > 3 };`, "terms:1:", "has no number", ""},
		{"below a Json word", tool + `context.input.amount.long.x };`, "terms:1:", "no attributes", ""},
		{"nesting", tool + strings.Repeat("(", 2000) + "true", "terms:1:", "brackets open", ""},
		{"not UTF-8", "forbid (principal, action, resource); // \xff", "terms", "UTF-8", ""},
	}
	for _, c := range cases {
		o, err := policies.CompileOverlay("terms", []byte(c.text))
		var problems policies.Problems
		if o != nil || !errors.As(err, &problems) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for _, want := range []string{c.place, c.msg, c.hint} {
			if !strings.Contains(problems.Error(), want) {
				t.Errorf("%s: %q is missing in:\n%s", c.name, want, problems.Error())
			}
		}
	}
}

func TestAnOverlayOutOfBoundsIsRefused(t *testing.T) {
	const good = `forbid (principal, action, resource);`
	for name, c := range map[string]struct{ name, text string }{
		"no name":       {"", good},
		"a long name":   {strings.Repeat("n", 129), good},
		"a line feed":   {"a\nb", good},
		"no UTF-8":      {"a\xff", good},
		"nothing":       {"terms", ""},
		"only comments": {"terms", "// all is well\n"},
		"too many":      {"terms", strings.Repeat(good+"\n", 129)},
		"too long":      {"terms", good + strings.Repeat(" ", 64<<10)},
	} {
		if o, err := policies.CompileOverlay(c.name, []byte(c.text)); err == nil || o != nil {
			t.Errorf("%s: compiles", name)
		}
	}
	if _, err := policies.CompileOverlay("terms", []byte(strings.Repeat(good+"\n", 128))); err != nil {
		t.Errorf("the most: %v", err)
	}
}

// laid asks with one overlay.
func laid(a *policies.Ask, o ...*policies.Overlay) *policies.Ask {
	a.Overlays = o
	return a
}

func TestAnOverlayOnlyNarrows(t *testing.T) {
	e := compile(t, `@id("ok") permit (principal, action in Action::"work", resource in Server::"mail");`)
	no := overlay(t, `@id("no") @reason("not here") forbid (principal, action in Action::"call_tool", resource) when { resource.name like "s*" };`)
	nothing := overlay(t, `forbid (principal, action in Action::"call_tool", resource) when { resource.name like "z*" };`)
	send := func() *policies.Ask { return call("mail", "send", `{"to":"x"}`) }
	if d := e.Decide(laid(send(), no)); d.Allowed() || strings.Join(d.Policies(), "|") != "terms:1 no" || d.Annotations()[0]["reason"] != "not here" {
		t.Errorf("forbidden: %v by %q", d.Allowed(), d.Policies())
	}
	if d := e.Decide(laid(send(), nothing)); !d.Allowed() || strings.Join(d.Policies(), "|") != "p.cedar:1 ok" || d.Annotations()[0]["id"] != "ok" {
		t.Errorf("not forbidden: %v by %q", d.Allowed(), d.Policies())
	}
	if d := e.Decide(laid(send(), nothing, no, nothing)); d.Allowed() {
		t.Error("one of three forbids, and the call is allowed")
	}
	if d := e.Decide(laid(send(), nothing, nil)); d.Allowed() || len(d.Errors()) == 0 {
		t.Error("a missing overlay is taken for one that forbids nothing")
	}
	if e.Decide(laid(call("db", "query", `{}`), nothing)).Allowed() {
		t.Error("an overlay permits")
	}
	for _, approved := range []bool{false, true} { // an approval does not lift a forbid of an overlay
		a := laid(send(), no)
		a.Approved = approved
		if d := e.Decide(a); d.Allowed() || d.Held() {
			t.Error("an approval lifts a forbid of an overlay")
		}
	}
	approved := laid(send(), nothing)
	held := e.Decide(approved)
	if approved.Approved = true; held.Covers(approved) {
		t.Error("a decision covers the approved call")
	}
	// The overlays are part of the question.
	d := e.Decide(send())
	if d.Covers(laid(send(), nothing)) || e.Decide(laid(send(), nothing)).Covers(send()) || e.Decide(laid(send(), nothing)).Covers(laid(send(), nothing, nothing)) {
		t.Error("a decision covers an Ask with other overlays")
	}
	again := overlay(t, `forbid (principal, action in Action::"call_tool", resource) when { resource.name like "z*" };`)
	if !e.Decide(laid(send(), nothing)).Covers(laid(send(), again)) || again.Digest() != nothing.Digest() || again.Digest() == no.Digest() || again.Name() != "terms" {
		t.Error("equal overlays are not alike")
	}
}

func TestAnOverlayHolds(t *testing.T) {
	e := compile(t, allowAll+"\n"+holdSend)
	o := overlay(t, `@id("big") @hold("large") @approver("manager") forbid (principal, action in Action::"call_tool", resource) when {
		context.input has copies && context.input.copies has decimal && context.input.copies.decimal.greaterThan(decimal("3.0")) };`)
	a := laid(call("mail", "send", `{"to":"boss","copies":4}`), o)
	d := e.Decide(a)
	want := policies.Hold{Policy: "terms:1 big", Why: "large", Approver: "manager"}
	if d.Allowed() || !d.Held() || strings.Join(d.Policies(), "|") != "p.cedar:2 ask|terms:1 big" || len(d.Holds()) != 2 || d.Holds()[1] != want {
		t.Errorf("held %v by %q, %+v", d.Held(), d.Policies(), d.Holds())
	}
	a.Approved = true
	if d := e.Decide(a); !d.Allowed() || len(d.Holds()) != 2 {
		t.Errorf("approved: %v", d.Allowed())
	}
	if d := e.Decide(laid(call("mail", "send", `{"to":"x","copies":3}`), o)); !d.Allowed() {
		t.Errorf("below: %v by %q", d.Allowed(), d.Policies())
	}
}

// One text means the same whatever a tool's schema says of the argument.
func TestAnOverlaySeesEveryArgumentAsJSON(t *testing.T) {
	limit := overlay(t, `forbid (principal, action in Action::"call_tool", resource) when {
		context.input has amount && context.input.amount has decimal && context.input.amount.decimal.greaterThan(decimal("1000.0")) };`)
	var tools []policies.ToolDef
	for i, typ := range []string{`{"type":"integer"}`, `{"type":"number"}`, `{}`, `{"type":["string","number"]}`, ""} {
		schema := `{"type":"object","properties":{"amount":` + typ + `}}`
		if typ == "" {
			schema = `{"type":"object"}`
		}
		tools = append(tools, policies.ToolDef{Server: "s", Name: fmt.Sprint("t", i), InputSchema: []byte(schema)})
	}
	e, err := policies.Compile(bundle(t, allowAll), tools)
	if err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]bool{`{"amount":1000}`: true, `{"amount":1000.0001}`: false, `{"amount":1001}`: false, `{"amount":1e4}`: false,
		`{"amount":-5}`: true, `{"amount":"2000"}`: true, `{}`: true, `{"other":5000}`: true, ``: true, `{"\u0061mount":1001}`: false} {
		for i := range tools {
			if d := e.Decide(laid(call("s", fmt.Sprint("t", i), args), limit)); d.Allowed() != want || len(d.Errors()) > 0 {
				t.Errorf("t%d %s: allowed %v, errors %q", i, args, d.Allowed(), d.Errors())
			}
		}
		local := laid(call("laptop", "t", args), limit)
		if local.Local = true; e.Decide(local).Allowed() != want {
			t.Errorf("local %s: not %v", args, want)
		}
	}
	for condition, args := range map[string]string{
		`context.input.a.kind == "string" && context.input.a.string == "x" && context.input.a.text == "\"x\""`:                                      `{"a":"x"}`,
		`context.input.a.kind == "number" && context.input.a.long == 7 && context.input.a.decimal == decimal("7.0") && context.input.a.text == "7"`: `{"a":7}`,
		`context.input.a.kind == "number" && !(context.input.a has long) && context.input.a.decimal == decimal("0.5")`:                              `{"a":0.5}`,
		`context.input.a.kind == "number" && !(context.input.a has decimal)`:                                                                        `{"a":922337203685477581}`,
		`context.input.a.kind == "boolean" && context.input.a.bool`:                                                                                 `{"a":true}`,
		`context.input.a.kind == "null"`:                                             `{"a":null}`,
		`context.input.a.kind == "array" && context.input.a.text == "[1,{\"b\":2}]"`: `{"a": [1, {"b": 2}]}`,
		`context.input.a.kind == "object" && context.input["b c"].long == 2`:         `{"a":{},"b c":2}`,
		`!(context.input == {})`:                                                     `{"a":1}`,
		`context.input == context.input && context.input.a has long`:                 `{"a":1}`,
		`context.input.nope.long == 1`:                                               `{"a":1}`, // fails, and a forbid that fails denies
	} {
		o := overlay(t, `forbid (principal, action in Action::"call_tool", resource) when { `+condition+` };`)
		if e.Decide(laid(call("s", "t0", args), o)).Allowed() {
			t.Errorf("%s does not forbid %s", condition, args)
		}
	}
	o := overlay(t, `forbid (principal, action in Action::"call_tool", resource) when { context.input has a };`)
	if d := e.Decide(laid(call("s", "t0", `[]`), o)); d.Allowed() || len(d.Errors()) != 1 || !strings.Contains(d.Errors()[0], "terms: the arguments") {
		t.Errorf("no object: allowed %v, %q", d.Allowed(), d.Errors())
	}
}

func TestWhatAnOverlayReadsMustBeKnown(t *testing.T) {
	e := compile(t, allowAll)
	o := overlay(t, `@id("net") forbid (principal, action in Action::"call_tool", resource in Server::"mail") unless { context.net.ip.isInRange(ip("192.0.2.0/24")) };`)
	a := laid(call("mail", "send", `{"to":"x"}`), o)
	if !e.Decide(a).Allowed() {
		t.Fatal("an inside address is refused")
	}
	if a.IP = netip.MustParseAddr("198.51.100.1"); e.Decide(a).Allowed() {
		t.Error("an outside address is allowed")
	}
	a.IP = netip.Addr{}
	if d := e.Decide(a); d.Allowed() || len(d.Errors()) != 1 || !strings.HasPrefix(d.Errors()[0], "terms: ") {
		t.Errorf("no address: allowed %v, %q", d.Allowed(), d.Errors())
	}
	a.Server, a.Tool, a.Args = "db", "query", nil
	if !e.Decide(a).Allowed() {
		t.Error("an address that no policy reads is missed")
	}
	broken := overlay(t, `@id("bad") forbid (principal, action, resource) when { context.trust + 9223372036854775807 > 0 };`)
	d := e.Decide(laid(call("mail", "send", `{"to":"x"}`), broken))
	if d.Allowed() || strings.Join(d.Policies(), "") != "terms:1 bad" || !strings.HasPrefix(d.Errors()[0], "terms:1 bad: ") {
		t.Errorf("a forbid that fails: allowed %v by %q, %q", d.Allowed(), d.Policies(), d.Errors())
	}
}

func TestAnOverlayFiltersLists(t *testing.T) {
	e := defaultEngine(t)
	for text, want := range map[string]bool{
		`forbid (principal, action in Action::"call_tool", resource) unless { resource.name like "q*" };`:                                         false,
		`forbid (principal, action == Action::"mail___send", resource);`:                                                                          false,
		`forbid (principal, action in Action::"call_tool", resource) when { context.input has to };`:                                              true,
		`forbid (principal, action in Action::"call_tool", resource) unless { context.input has to };`:                                            true,
		`forbid (principal, action in Action::"call_tool", resource) when { principal.trust > 1 || context.input has to };`:                       false,
		`forbid (principal is User, action, resource);`:                                                                                           true,
		`forbid (principal, action, resource in Server::"db");`:                                                                                   true,
		`forbid (principal in Team::"ops", action, resource is Tool in Server::"mail");`:                                                          false,
		`forbid (principal, action in [Action::"mail___send", Action::"db___drop"], resource == Tool::"mail/send") when { principal.trust > 1 };`: false,
	} {
		if d := e.Decide(laid(listing("mail", "send"), overlay(t, text))); d.Allowed() != want || len(d.Errors()) > 0 {
			t.Errorf("%s\n  shown: %v, %q", text, d.Allowed(), d.Errors())
		}
	}
}

// Thousands of overlays live at once.
func TestAnOverlayIsSmall(t *testing.T) {
	const n, most = 1_000, 12 << 10
	text := []byte(`@id("tools") @reason("only these") forbid (principal, action in Action::"call_tool", resource)
		unless { ["a/x", "a/y", "b/z"].contains(resource.name) || resource in Server::"mail" };
		@id("amount") @hold("large amounts need a person") forbid (principal, action in Action::"call_tool", resource)
		when { context.input has amount && context.input.amount has decimal && context.input.amount.decimal.greaterThan(decimal("1000.0")) };
		@id("hours") forbid (principal, action in Action::"call_tool", resource) unless { context.now.toTime() < duration("17h") };`)
	kept := make([]*policies.Overlay, n)
	var before, after runtime.MemStats
	overlay(t, string(text)) // the schema it is checked against is read once
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range kept {
		kept[i] = overlay(t, string(text))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := int64(after.HeapAlloc-before.HeapAlloc) / n
	t.Logf("%d bytes each", each)
	if each > most {
		t.Errorf("%d bytes each, at most %d", each, most)
	}
	runtime.KeepAlive(kept)
}
