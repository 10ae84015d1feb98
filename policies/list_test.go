package policies_test

import (
	"testing"

	"github.com/gatewright/gatewright/policies"
)

// listing asks of a tool: could it be called, in some plan and with some arguments?
func listing(server, tool string) *policies.Ask {
	a := call(server, tool, "")
	a.Args, a.ArgsKnown, a.Plan = nil, false, policies.PlanFacts{InPlan: true}
	return a
}

func TestAListShowsWhatSomeArgumentsCouldReach(t *testing.T) {
	cases := []struct {
		text string
		want bool
	}{
		{`permit (principal, action == Action::"mail___send", resource) when { context.input.to == "boss" };`, true},
		{`permit (principal, action == Action::"mail___send", resource) when { !(context.input.to == "boss") };`, true},
		{`permit (principal, action == Action::"mail___send", resource) unless { context.input.to == "boss" };`, true},
		{`permit (principal, action == Action::"mail___send", resource) when { context.input.to == "boss" && principal.trust > 900 };`, false},
		{`permit (principal, action == Action::"mail___send", resource) when { context.input.to == "boss" || principal.trust > 900 };`, true},
		{`permit (principal, action == Action::"mail___send", resource) when { !(context.input.to == "boss" || principal.trust > 100) };`, false},
		{`permit (principal, action == Action::"mail___send", resource) when { if context.input.to == "boss" then principal.trust > 900 else principal.trust > 800 };`, false},
		{`permit (principal, action == Action::"mail___send", resource) when { if context.input.to == "boss" then principal.trust > 900 else principal.trust > 100 };`, true},
		{`permit (principal, action == Action::"mail___send", resource) when { if context.input.to == "boss" then principal.trust + 9223372036854775807 > 0 else principal.trust > 100 };`, true},
		{allowAll + `forbid (principal, action == Action::"mail___send", resource) when { if context.input.to == "boss" then principal.trust + 9223372036854775807 > 0 else principal.trust > 900 };`, true},
		{`permit (principal, action == Action::"mail___send", resource) when { if principal.trust > 900 then true else context.input.to == "x" };`, true},
		{`permit (principal, action == Action::"mail___send", resource) when { context.plan.step == 7 };`, true},
		{`permit (principal, action == Action::"mail___send", resource) when { context.plan.inPlan };`, true},
		{`permit (principal, action == Action::"mail___send", resource) when { !context.plan.inPlan };`, false},
		{`permit (principal, action == Action::"mail___send", resource) when { context.undeclared.names.isEmpty() && context.inputNulls.isEmpty() };`, true},
		{allowAll + `forbid (principal, action == Action::"mail___send", resource) when { context.input.to == "boss" };`, true},
		{allowAll + `forbid (principal, action == Action::"mail___send", resource) unless { context.input.to == "boss" };`, true},
		{allowAll + `forbid (principal, action == Action::"mail___send", resource) when { context.input.to == "boss" || principal.trust > 100 };`, false},
		{allowAll + `forbid (principal, action == Action::"mail___send", resource) when { context.input.to == "boss" && principal.trust > 100 };`, true},
		{allowAll + `forbid (principal, action == Action::"mail___send", resource) unless { context.input.to == "boss" && principal.trust > 900 };`, false},
		{allowAll + `forbid (principal, action == Action::"mail___send", resource) when { if context.input.to == "b" then principal.trust > 1 else principal.trust > 2 };`, false},
		{allowAll + `forbid (principal, action == Action::"mail___send", resource) when { principal.trust > 1 };`, false},
		{allowAll + `forbid (principal, action, resource) when { context.trust + 9223372036854775807 > 0 };`, false},
		{`permit (principal in Team::"dev", action == Action::"mail___send", resource) when { context.input.to == "boss" };`, false},
	}
	for _, c := range cases {
		if got := compile(t, c.text).Decide(listing("mail", "send")); got.Allowed() != c.want {
			t.Errorf("%s\n  shown: %v, %q", c.text, got.Allowed(), got.Errors())
		}
	}
}

func TestTheDefaultBundleListsWhatCouldBePlanned(t *testing.T) {
	e := defaultEngine(t)
	if !e.Decide(listing("mail", "send")).Allowed() || !e.Decide(listing("db", "drop")).Allowed() {
		t.Error("a tool that could be planned is hidden")
	}
	a := listing("mail", "send")
	a.Principal.TalksTo = []string{"db"}
	if e.Decide(a).Allowed() {
		t.Error("a server out of reach is shown")
	}
	// The answer to a list never stands for a call.
	a = listing("mail", "send")
	d := e.Decide(a)
	a.ArgsKnown = true
	if d.Covers(a) {
		t.Error("the answer to a list covers a call")
	}
}
