package policies_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/policies"
)

func TestCommentsThatOnlyOneReaderKnowsAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"between slash and star": "permit (principal, action, resource) /* && forbid */;",
		"around a condition":     "permit (principal, action, resource)\nwhen { true /* } when { */ };",
		"a lone return":          "permit (principal, action, resource); // see\rforbid (principal, action, resource);",
	} {
		_, err := policies.Compile(bundle(t, text), demoTools())
		if err == nil || !strings.Contains(err.Error(), "p.cedar:") || !strings.Contains(err.Error(), "comment") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"returns at the ends of lines": "permit (principal, action, resource) // yes\r\nwhen { true };\r\n// end\r",
		"a star in a string":           "permit (principal, action, resource) when { \"/*\" != \"*/\" };",
	} {
		if _, err := policies.Compile(bundle(t, text), demoTools()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What stands behind a policy's semicolon is not its own, whatever braces it has.
func TestWordsBehindAPolicyAreNotItsConditions(t *testing.T) {
	e := compile(t, "permit (principal, action, resource) when { context.trust > 900 }; // when { true }\n// { \" }\n")
	x, err := e.Explain(call("mail", "send", `{"to":"x"}`))
	if want := "p.cedar#0: fails\n  1:45 context.trust > 900 = fails true\n"; err != nil || words(x) != want {
		t.Errorf("%v %q", err, words(x))
	}
	_, err = policies.Compile(bundle(t, "permit (principal, action, resource)\nwhen { context.nope };\n// nope is not there yet\n"), demoTools())
	if err == nil || !strings.Contains(err.Error(), "p.cedar:2:16: ") {
		t.Error("the comment is blamed:", err)
	}
}

// A condition that needs nothing of what is missing keeps its value.
func TestAConditionIsBrokenOnlyByWhatItReads(t *testing.T) {
	e := compile(t, `permit (principal, action == Action::"mail___send", resource)
when { principal.status == Status::"active" && context.plan.inPlan && context.input.to == "x" };`)
	a := call("mail", "send", `{"to":7}`)
	a.Plan = policies.PlanFacts{}
	x, err := e.Explain(a)
	if err != nil || x.Decision.Allowed() || len(x.Decision.Errors()) == 0 {
		t.Fatalf("%v %+v", err, x)
	}
	want := `p.cedar#0: fails
  2:8 principal.status == Status::"active" = holds true
  2:48 context.plan.inPlan = fails true
  2:71 context.input.to == "x" = unknown false
`
	if got := words(x); got != want {
		t.Errorf("got\n%s", got)
	}
	a.Plan.InPlan = true
	if x, err = e.Explain(a); err != nil || x.Reasons[0].Value != policies.Broken || !x.Reasons[0].Conditions[2].Reached {
		t.Errorf("%v\n%s", err, words(x))
	}
	a.IP, a.Now = netip.Addr{}, time.Time{}
	x, err = compile(t, `permit (principal, action, resource) when { principal.trust >= 0 && context.now > datetime("2020-01-01") };`).Explain(a)
	if err != nil || x.Reasons[0].Conditions[0].Value != policies.Holds || x.Reasons[0].Conditions[1].Value != policies.Broken {
		t.Errorf("%v\n%s", err, words(x))
	}
}

// Large policies are taken apart once, and in one pass.
func TestLongConditionsAreTakenApartInOnePass(t *testing.T) {
	var text strings.Builder
	for i := range 4 {
		fmt.Fprintf(&text, "@id(\"p%d\") permit (principal, action, resource) when { true%s };\n", i, strings.Repeat("&&true", 8500))
	}
	e := compile(t, text.String())
	began := time.Now()
	for range 3 {
		if n := len(e.Policies()[3].Conditions); n != 8501 {
			t.Fatal(n, "conditions")
		}
	}
	last := e.Policies()[3].Conditions[8500]
	if took := time.Since(began); took > time.Second {
		t.Error("it took", took)
	}
	if last.Line != 4 || last.Column != 55+8500*6 {
		t.Errorf("%+v", last)
	}
}

func TestAConditionStandsWhereItIsWritten(t *testing.T) {
	e := compile(t, "@id(\"é\") permit (principal, action, resource) // ü\nwhen { \"é\" == \"é\" // when { }\n && (true && false) && !({a: 1} has a) };")
	got := ""
	for _, c := range e.Policies()[0].Conditions {
		got += fmt.Sprintf("%d:%d %s\n", c.Line, c.Column, c.Text)
	}
	if want := "2:8 \"é\" == \"é\"\n3:5 (true && false)\n3:24 !({a: 1} has a)\n"; got != want {
		t.Errorf("%q", got)
	}
	if ids := e.Decide(call("mail", "send", `{"to":"x"}`)).IDs(); len(ids) != 0 {
		t.Error(ids)
	}
	named := compile(t, "@id(\"with space\") permit (principal, action, resource);").Decide(call("mail", "send", `{"to":"x"}`))
	if ids := named.IDs(); len(ids) != 1 || ids[0] != "with space" {
		t.Errorf("%q", ids)
	}
}

// Policies in shadow are explained where they stand, and decide nothing.
func TestPoliciesInShadowAreExplained(t *testing.T) {
	e := compile(t, "@id(\"a\") permit (principal, action, resource);\n@id(\"b\") @mode(\"shadow\") forbid (principal, action, resource) when { context.trust < 900 };\n"+
		"@id(\"c\") permit (principal, action, resource) when { context.trust > 900 };\n@id(\"d\") @mode(\"shadow\") permit (principal, action, resource) when { context.trust > 901 };")
	x, err := e.Explain(call("mail", "send", `{"to":"x"}`))
	if err != nil || !x.Decision.Allowed() || len(x.Reasons) != 4 || len(e.Policies()) != 4 || e.Policies()[1].ID != "b" || !e.Policies()[1].Shadow {
		t.Fatalf("%v %+v", err, x)
	}
	if r := x.Reasons[1]; r.ID != "b" || !r.Shadow || r.Value != policies.Holds || x.Reasons[2].Shadow {
		t.Errorf("%+v", x.Reasons)
	}
	e = compile(t, "@id(\"d\") @mode(\"shadow\") permit (principal, action, resource);\n@id(\"c\") permit (principal, action, resource) when { context.trust > 900 };")
	if x, err = e.Explain(call("mail", "send", `{"to":"x"}`)); err != nil || x.Decision.Allowed() || strings.Join(x.Nearest, "|") != "p.cedar:2 c" {
		t.Errorf("%v %q", err, x.Nearest)
	}
}
