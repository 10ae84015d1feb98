package policies_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/policies"
)

// words gives an explanation a line for each condition.
func words(x policies.Explanation) string {
	var b strings.Builder
	for _, r := range x.Reasons {
		fmt.Fprintf(&b, "%s: %s\n", r.ID, r.Value)
		for _, c := range r.Conditions {
			unless := ""
			if c.Unless {
				unless = "unless "
			}
			fmt.Fprintf(&b, "  %d:%d %s%s = %s%s %t\n", c.Line, c.Column, unless, strings.Join(strings.Fields(c.Text), " "), c.Value, c.Error, c.Reached)
		}
	}
	return b.String()
}

const explained = `// A comment with a " quote and { brace.
@id("note") @reason("a { brace && more")
permit (principal is Agent, action == Action::"mail___send", resource in Server::"mail")
when { context.plan.inPlan && context.input.to like "*@acme.example" // it's && ours
    && ("&&" != "||" && context.trust > 100) }
when { context.trust > 900 || principal.status == Status::"active" }
unless { context has onBehalfOf && context.onBehalfOf == User::"usr_9" };
@id("rich") permit (principal, action, resource) when { context.trust > 900 && context.plan.inPlan && resource is Tool };
@id("poor") permit (principal, action, resource == Tool::"mail/send") when { if context.trust > 900 && true then true else false };
@id("else") permit (principal, action, resource in Server::"db");
@id("late") forbid (principal, action in [Action::"call_tool", Action::"read_resource"], resource) when { context.now > datetime("2040-01-01") };
`

func TestEachConditionOfEachPolicyThatFitsHasItsValue(t *testing.T) {
	e := compile(t, explained)
	a := call("mail", "send", `{"to":"x@acme.example"}`)
	x, err := e.Explain(a)
	if err != nil {
		t.Fatal(err)
	}
	want := `note: holds
  4:8 context.plan.inPlan = holds true
  4:31 context.input.to like "*@acme.example" = holds true
  5:8 ("&&" != "||" && context.trust > 100) = holds true
  6:8 context.trust > 900 || principal.status == Status::"active" = holds true
  7:10 unless context has onBehalfOf && context.onBehalfOf == User::"usr_9" = holds true
rich: fails
  8:57 context.trust > 900 = fails true
  8:80 context.plan.inPlan = holds false
  8:103 resource is Tool = holds false
poor: fails
  9:78 if context.trust > 900 && true then true else false = fails true
late: fails
  11:107 context.now > datetime("2040-01-01") = fails true
`
	if got := words(x); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if !x.Decision.Allowed() || len(x.Nearest) != 0 || x.Reasons[0].Annotations["reason"] != "a { brace && more" || !x.Reasons[3].Forbid {
		t.Errorf("%+v", x)
	}
	a.Args = []byte(`{"to":"x@elsewhere.example"}`)
	if x, err = e.Explain(a); err != nil || x.Decision.Allowed() || strings.Join(x.Nearest, "|") != "p.cedar:2 note|p.cedar:8 rich|p.cedar:9 poor" {
		t.Errorf("%q, %v", x.Nearest, err)
	}
}

// What an explanation says of each policy is what the decision was made of.
func TestAnExplanationAgreesWithItsDecision(t *testing.T) {
	g := generator{rand.New(rand.NewPCG(3, 5))}
	seen := map[string]int{}
	for range 80 {
		var text []string
		for i := range 1 + g.IntN(40) {
			text = append(text, g.policy(i))
		}
		e := compile(t, strings.Join(text, "\n"))
		for range 40 {
			a := g.ask()
			if !a.ArgsKnown {
				if _, err := e.Explain(a); err == nil {
					t.Fatal("explained without arguments")
				}
				continue
			}
			x, err := e.Explain(a)
			if err != nil {
				t.Fatal(err)
			}
			permitted, forbidden, held := false, false, false
			for _, r := range x.Reasons {
				seen[r.Value.String()]++
				applies := r.Value == policies.Holds
				switch {
				case !r.Forbid:
					permitted = permitted || applies
				case r.Hold && r.Value != policies.Broken:
					held = held || applies && !a.Approved
				default:
					forbidden = forbidden || r.Value != policies.Fails
				}
			}
			if want := permitted && !forbidden && !held; x.Decision.Allowed() != want {
				t.Fatalf("allowed %v, explained %v, errors %q\n%s\n%s", x.Decision.Allowed(), want, x.Decision.Errors(), strings.Join(text, "\n"), words(x))
			}
			if d := e.Decide(a); d.Allowed() != x.Decision.Allowed() || sorted(d.Policies()) != sorted(x.Decision.Policies()) {
				t.Fatal("another decision than Decide's")
			}
			if permitted && len(x.Nearest) > 0 {
				t.Fatal("near ones are named where one permits:", x.Nearest)
			}
		}
	}
	if seen["holds"] < 500 || seen["fails"] < 500 || seen["error"] < 50 {
		t.Error("too little was met:", seen)
	}
}

func TestNothingIsExplainedOfNobody(t *testing.T) {
	e := compile(t, allowAll)
	var none *policies.Engine
	for name, f := range map[string]func() error{
		"no engine":    func() error { _, err := none.Explain(call("mail", "send", `{"to":"x"}`)); return err },
		"no question":  func() error { _, err := e.Explain(nil); return err },
		"no principal": func() error { _, err := e.Explain(&policies.Ask{ArgsKnown: true}); return err },
	} {
		if f() == nil {
			t.Error(name)
		}
	}
	a := call("mail", "send", `{"to":"x"}`)
	a.Tool = "unknown"
	if x, err := e.Explain(a); err != nil || x.Decision.Allowed() || len(x.Decision.Errors()) == 0 || x.Reasons != nil {
		t.Errorf("%+v %v", x, err)
	}
	a = call("mail", "send", `{"to":7}`)
	x, err := compile(t, `permit (principal, action == Action::"mail___send", resource) when { context.input.to == "x" };`).Explain(a)
	if err != nil || x.Decision.Allowed() || x.Reasons[0].Value != policies.Broken || x.Reasons[0].Conditions[0].Error == "" {
		t.Errorf("an argument of another type: %+v %v", x, err)
	}
}
