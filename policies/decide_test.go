package policies_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/policies"
)

const allowAll = `permit (principal, action, resource);`

func TestNobodyAndNothingAreRefused(t *testing.T) {
	good := call("mail", "send", `{"to":"x"}`)
	var zero policies.Decision
	if zero.Allowed() || zero.Covers(good) || zero.Policies() != nil || !zero.Bundle().IsZero() {
		t.Error("the zero decision says yes to something")
	}
	var none *policies.Engine
	if d := none.Decide(good); d.Allowed() || d.Covers(good) || !none.Digest().IsZero() {
		t.Error("a nil engine decides")
	}
	e := compile(t, allowAll)
	if !e.Decide(good).Allowed() {
		t.Fatal("the good call is refused: the cases below prove nothing")
	}
	cases := map[string]func(*policies.Ask){
		"no principal":         func(a *policies.Ask) { a.Principal = nil },
		"unknown kind":         func(a *policies.Ask) { a.Principal.Kind = "Robot" },
		"no kind":              func(a *policies.Ask) { a.Principal.Kind = "" },
		"unknown status":       func(a *policies.Ask) { a.Principal.Status = "Active" },
		"no status":            func(a *policies.Ask) { a.Principal.Status = "" },
		"no id":                func(a *policies.Ask) { a.Principal.ID = "" },
		"no tenant":            func(a *policies.Ask) { a.Principal.Tenant = "" },
		"unknown action":       func(a *policies.Ask) { a.Action = "call_tools" },
		"an action group":      func(a *policies.Ask) { a.Action = "mcp" },
		"a tool's own action":  func(a *policies.Ask) { a.Action = "mail___send" },
		"unknown tool":         func(a *policies.Ask) { a.Tool = "Send" },
		"another server's":     func(a *policies.Ask) { a.Server = "db" },
		"no server":            func(a *policies.Ask) { a.Server = "" },
		"args given, unknown":  func(a *policies.Ask) { a.ArgsKnown = false },
		"prompt not known":     func(a *policies.Ask) { a.Action, a.Tool = "get_prompt", "review" },
		"resource with no uri": func(a *policies.Ask) { a.Action, a.Tool = "read_resource", "" },
	}
	for name, change := range cases {
		a := call("mail", "send", `{"to":"x"}`)
		change(a)
		d := e.Decide(a)
		if d.Allowed() || len(d.Errors()) == 0 || strings.Contains(d.Errors()[0], "fault") {
			t.Errorf("%s: allowed %v, errors %q", name, d.Allowed(), d.Errors())
		}
	}
	if d := e.Decide(nil); d.Allowed() || len(d.Errors()) == 0 {
		t.Error("no Ask: allowed")
	}
}

func TestAForbidThatFailsRefuses(t *testing.T) {
	a := call("mail", "send", `{"to":"x","copies":9}`)
	overflow := `context.trust + 9223372036854775807 > 0`
	e := compile(t, allowAll+"\n@id(\"broken\") forbid (principal, action, resource) when { "+overflow+" };")
	d := e.Decide(a)
	if d.Allowed() || !strings.Contains(strings.Join(d.Errors(), ""), "p.cedar:2 broken: ") || strings.Join(d.Policies(), "") != "p.cedar:2 broken" {
		t.Errorf("forbid: allowed %v by %q, errors %q", d.Allowed(), d.Policies(), d.Errors())
	}
	if d.Annotations()[0]["id"] != "broken" {
		t.Errorf("annotations %v", d.Annotations())
	}
	// A permit that fails does not permit, takes nothing away from another, and is reported.
	e = compile(t, allowAll+"\npermit (principal, action, resource) when { "+overflow+" };")
	if d = e.Decide(a); !d.Allowed() || len(d.Errors()) != 1 || strings.Join(d.Policies(), "") != "p.cedar:1 p.cedar#0" {
		t.Errorf("permit: allowed %v by %q, errors %q", d.Allowed(), d.Policies(), d.Errors())
	}
	e = compile(t, "permit (principal, action, resource) when { "+overflow+" };")
	if d = e.Decide(a); d.Allowed() || len(d.Errors()) != 1 {
		t.Errorf("permit alone: allowed %v, errors %q", d.Allowed(), d.Errors())
	}
}

func TestWhatAPolicyReadsMustBeKnown(t *testing.T) {
	e := compile(t, `permit (principal, action, resource) when { !context.net.ip.isInRange(ip("10.0.0.0/8")) };
		forbid (principal, action, resource in Server::"db") unless { context.now < datetime("2040-01-01") };`)
	a := call("mail", "send", `{"to":"x"}`)
	if !e.Decide(a).Allowed() {
		t.Fatal("an outside address is refused")
	}
	for _, ip := range []string{"10.1.2.3", "::ffff:10.1.2.3"} {
		a.IP = netip.MustParseAddr(ip)
		if e.Decide(a).Allowed() {
			t.Errorf("%s is not seen as inside 10.0.0.0/8", ip)
		}
	}
	a.IP = netip.Addr{}
	if d := e.Decide(a); d.Allowed() || len(d.Errors()) == 0 {
		t.Errorf("no address: allowed %v, errors %q", d.Allowed(), d.Errors())
	}
	a = call("db", "query", `{}`)
	if !e.Decide(a).Allowed() {
		t.Fatal("before 2040 is refused")
	}
	a.Now = time.Time{}
	if d := e.Decide(a); d.Allowed() || len(d.Errors()) == 0 {
		t.Errorf("no clock: allowed %v, errors %q", d.Allowed(), d.Errors())
	}
	a = call("mail", "send", `{"to":"x"}`)
	a.Now = time.Time{}
	if !e.Decide(a).Allowed() {
		t.Error("a clock nobody reads is missed")
	}
}

func TestEveryFactReachesPolicy(t *testing.T) {
	conditions := map[string]func(*policies.Ask){
		`principal is Agent && principal has owner && principal.owner == User::"usr_1"`: func(a *policies.Ask) { a.Principal.Owner = "usr_2" },
		`principal == Agent::"agt_1"`:                                   func(a *policies.Ask) { a.Principal.ID = "agt_2" },
		`principal in Organization::"acme"`:                             func(a *policies.Ask) { a.Principal.Tenant = "other" },
		`principal in Team::"ops"`:                                      func(a *policies.Ask) { a.Principal.Teams = []string{"dev"} },
		`principal in Role::"Member"`:                                   func(a *policies.Ask) { a.Principal.Roles = nil },
		`principal.labels.contains("blue")`:                             func(a *policies.Ask) { a.Principal.Labels = nil },
		`principal.trust == 500 && context.trust == 500`:                func(a *policies.Ask) { a.Principal.Trust = 499 },
		`principal.status == Status::"active"`:                          func(a *policies.Ask) { a.Principal.Status = "pending" },
		`principal.talksTo.isEmpty()`:                                   func(a *policies.Ask) { a.Principal.TalksTo = []string{"mail"} },
		`context has onBehalfOf && context.onBehalfOf == User::"usr_1"`: func(a *policies.Ask) { a.User = "" },
		`context.net.tls`:                                               func(a *policies.Ask) { a.TLS = false },
		`context.net.ip == ip("192.0.2.7")`:                             func(a *policies.Ask) { a.IP = netip.MustParseAddr("192.0.2.8") },
		`context.now == datetime("2030-03-17T17:46:40Z")`:               func(a *policies.Ask) { a.Now = a.Now.Add(time.Millisecond) },
		`context.plan.inPlan`:                                           func(a *policies.Ask) { a.Plan.InPlan = false },
		`context.plan.id == "pln_1"`:                                    func(a *policies.Ask) { a.Plan.ID = "pln_2" },
		`context.plan.step == 1`:                                        func(a *policies.Ask) { a.Plan.Step = 2 },
		`context.plan.steps == 3`:                                       func(a *policies.Ask) { a.Plan.Steps = 2 },
		`context.plan.stepsDone == 1`:                                   func(a *policies.Ask) { a.Plan.Done = 2 },
		`context.plan.expires > context.now`:                            func(a *policies.Ask) { a.Plan.Expires = time.Time{} },
		`context.plan.bundleAtIssue == ""`:                              func(a *policies.Ask) { a.Plan.BundleAtIssue = "ab" },
		`context.filters.labels.containsAny(["pii"])`:                   func(a *policies.Ask) { a.Labels = []string{"ok"} },
		`resource == Tool::"db/drop" && resource in Server::"db"`:       func(a *policies.Ask) { a.Tool = "query" },
		`resource.destructive && resource.sensitivity == 3 && resource.labels.contains("prod") && !resource.readOnly`: func(a *policies.Ask) { a.Tool = "query" },
		`context.input has table && context.input.table == "t"`:                                                       func(a *policies.Ask) { a.Args = []byte(`{"table":"u"}`) },
	}
	for condition, change := range conditions {
		e := compile(t, `permit (principal, action in Action::"call_tool", resource) when { `+condition+` };`)
		a := call("db", "drop", `{"table":"t"}`)
		a.Labels = []string{"pii"}
		for range 2 { // once built, once from the caches
			if d := e.Decide(a); !d.Allowed() {
				t.Errorf("%s: does not hold: %q", condition, d.Errors())
			}
		}
		change(a)
		if e.Decide(a).Allowed() {
			t.Errorf("%s: holds after the change", condition)
		}
	}
}

// visit calls fn for every settable leaf below v, with its path.
func visit(v reflect.Value, path string, fn func(string, reflect.Value)) {
	switch {
	case v.Kind() == reflect.Pointer:
		visit(v.Elem(), path, fn)
	case v.Kind() == reflect.Struct && v.Type().PkgPath() == reflect.TypeFor[policies.Ask]().PkgPath():
		for i := range v.NumField() {
			visit(v.Field(i), path+"."+v.Type().Field(i).Name, fn)
		}
	default:
		fn(path, v)
	}
}

func change(t *testing.T, path string, v reflect.Value) {
	switch x := v.Addr().Interface().(type) {
	case *string:
		*x += "x"
	case *int:
		*x++
	case *int64:
		*x++
	case *bool:
		*x = !*x
	case *[]string:
		*x = append([]string{"x"}, *x...)
	case *[]byte:
		*x = append([]byte(nil), append(*x, ' ')...)
	case *time.Time:
		*x = x.Add(1)
	case *netip.Addr:
		*x = x.Next()
	case *[]policies.Score:
		*x = append(*x, policies.Score{Name: "x"})
	case *[]*policies.Overlay:
		*x = append(*x, overlay(t, `forbid (principal, action, resource) when { false };`))
	default:
		t.Fatalf("%s: a field of type %v, which the print may not know", path, v.Type())
	}
}

func TestADecisionCoversExactlyItsAsk(t *testing.T) {
	e := defaultEngine(t)
	fields := 0
	visit(reflect.ValueOf(call("mail", "send", `{"to":"x"}`)).Elem(), "Ask", func(path string, _ reflect.Value) {
		fields++
		a := call("mail", "send", `{"to":"x"}`)
		d := e.Decide(a)
		if !d.Covers(a) || !d.Covers(call("mail", "send", `{"to":"x"}`)) {
			t.Fatal("a decision does not cover its own Ask, or an equal one")
		}
		visit(reflect.ValueOf(a).Elem(), "Ask", func(p string, v reflect.Value) {
			if p == path {
				change(t, p, v)
			}
		})
		if d.Covers(a) {
			t.Errorf("%s changed and the decision still covers", path)
		}
	})
	if fields < 34 {
		t.Errorf("only %d fields visited", fields)
	}
}

func TestADecisionDoesNotCoverLookalikes(t *testing.T) {
	e := defaultEngine(t)
	a := call("mail", "send", `{"to":"x"}`)
	a.Principal.Teams, a.Principal.Roles = []string{"a", "b"}, nil
	d := e.Decide(a)
	b := call("mail", "send", `{"to":"x"}`)
	b.Principal.Teams, b.Principal.Roles = []string{"a"}, []string{"b"}
	if d.Covers(b) {
		t.Error("lists that run into each other cover")
	}
	if other := defaultEngine(t); other.Decide(a).Allowed() && d.Covers(nil) {
		t.Error("covers no Ask")
	}
	a.Args = nil
	d = e.Decide(a)
	a.Args = []byte{}
	if d.Covers(a) {
		t.Error("no arguments and empty arguments are alike")
	}
}

func TestAPrincipalChangedInPlaceIsSeen(t *testing.T) {
	e := defaultEngine(t)
	a := call("mail", "send", `{"to":"x"}`)
	if !e.Decide(a).Allowed() {
		t.Fatal("refused")
	}
	a.Principal.Status = "revoked"
	if e.Decide(a).Allowed() {
		t.Error("a revoked principal is answered from the cache")
	}
}

func TestAPanicInsideRefuses(t *testing.T) {
	e := compile(t, allowAll)
	policies.Corrupt(e)
	d := e.Decide(call("mail", "send", `{"to":"x"}`))
	if d.Allowed() || len(d.Errors()) != 1 || !strings.Contains(d.Errors()[0], "fault") {
		t.Errorf("allowed %v, errors %q", d.Allowed(), d.Errors())
	}
}

func TestManyCallersShareAnEngine(t *testing.T) {
	e := defaultEngine(t)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 400 {
				a := call("mail", "send", `{"to":"x"}`)
				a.Principal.ID = fmt.Sprintf("agt_%d", i%97)
				want := (i+g)%2 == 0
				if !want {
					a.Principal.Status = "suspended"
				}
				if d := e.Decide(a); d.Allowed() != want || !d.Covers(a) {
					t.Errorf("caller %d: allowed %v", i, d.Allowed())
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestASetKeepsTenantsApart(t *testing.T) {
	var s policies.Set
	a := call("mail", "send", `{"to":"x"}`)
	if s.For("acme").Decide(a).Allowed() {
		t.Error("an unknown tenant is allowed")
	}
	e := compile(t, allowAll)
	if s.Swap("acme", e) != nil || s.For("acme") != e || s.For("other").Decide(a).Allowed() || s.For("").Decide(a).Allowed() {
		t.Error("an engine serves another tenant")
	}
	next := defaultEngine(t)
	if s.Swap("acme", next) != e || s.For("acme") != next {
		t.Error("swap does not swap")
	}
	if s.Swap("acme", nil) != next || s.For("acme").Decide(a).Allowed() {
		t.Error("a removed tenant is allowed")
	}
}
