package stages_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/policies"
)

// engine compiles policies for the world's tools.
func (w *world) engine(cedar string) *policies.Engine {
	w.t.Helper()
	b, err := policies.LoadBundle(fstest.MapFS{"rules.cedar": &fstest.MapFile{Data: []byte(cedar)}})
	w.must(err)
	e, err := policies.Compile(b, w.tools.Defs("acme"))
	w.must(err)
	return e
}

// granted is a call that the intent stage let pass.
func (w *world) granted(args string) *pipeline.Call {
	w.t.Helper()
	p := w.plan(w.alice, `{"steps":[{"server":"files","tool":"read","where":{"path":{"open":true}},"uses":0}]}`)
	w.hold(p, "active")
	c := w.call(w.alice, "read", args, w.token(p, w.alice, nil))
	w.must(w.intent().Check(context.Background(), c))
	return c
}

func TestPolicyRefusesWhatNothingPermits(t *testing.T) {
	w := newWorld(t)
	d := stages.Decide{Policies: &w.engines}
	confined := w.call(w.bob, "read", `{"path":"/a"}`, nil)
	for name, c := range map[string]struct {
		call   *pipeline.Call
		reason string
	}{
		"no plan":              {w.call(w.alice, "read", `{"path":"/a"}`, nil), "policy_denied"},
		"server out of bounds": {confined, "policy_denied"},
		"unknown tool":         {w.call(w.alice, "gone", `{}`, nil), ""},
		"unknown action":       {func() *pipeline.Call { c := w.granted(`{"path":"/a"}`); c.Action = "make_coffee"; return c }(), ""},
		"nobody":               {&pipeline.Call{Action: "list_tools"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			wantDenial(t, d.Check(context.Background(), c.call), pipeline.PolicyDenied, c.reason)
			if c.call.Decision.Allowed() {
				t.Error("the decision allows all the same")
			}
		})
	}
}

func TestATenantWithoutAnEngineIsRefusedEverything(t *testing.T) {
	w := newWorld(t)
	w.engines.Swap("acme", nil)
	for _, c := range []*pipeline.Call{w.granted(`{"path":"/a"}`), {Caller: w.alice, Action: "list_tools", Started: w.now}} {
		wantDenial(t, stages.Decide{Policies: &w.engines}.Check(context.Background(), c), pipeline.PolicyDenied, "")
	}
}

func TestAForbidThatCannotBeEvaluatedDenies(t *testing.T) {
	w := newWorld(t)
	w.engines.Swap("acme", w.engine(`permit (principal, action, resource);
forbid (principal, action == Action::"files___read", resource) when { 9223372036854775807 + context.plan.step + 1 > 0 };`))
	d := wantDenial(t, stages.Decide{Policies: &w.engines}.Check(context.Background(), w.granted(`{"path":"/a"}`)), pipeline.PolicyDenied, "")
	if !strings.HasPrefix(d.Reason, "policy_error: ") {
		t.Errorf("the ledger is told %q, want the error", d.Reason)
	}
	if strings.Contains(d.Message+d.Hint, "overflow") || strings.Contains(d.Message+d.Hint, "rules.cedar") {
		t.Errorf("the caller is told how policy failed: %q %q", d.Message, d.Hint)
	}
}

func TestPolicySeesTheArgumentsThePlanAndThePlace(t *testing.T) {
	w := newWorld(t)
	w.engines.Swap("acme", w.engine(`permit (principal, action == Action::"files___read", resource)
when { context.input.path like "/public/*" && context.plan.inPlan && context.plan.stepsDone == 3 && context.net.ip.isLoopback() };`))
	decide := stages.Decide{Policies: &w.engines, Done: func(merkle.Hash) int { return 3 }}
	c := w.granted(`{"path":"/public/x"}`)
	w.must(decide.Check(context.Background(), c))
	if !c.Decision.Allowed() || len(c.Decision.Policies()) != 1 || !c.Decision.Covers(&c.Ask) {
		t.Errorf("decision %v", c.Decision.Policies())
	}
	wantDenial(t, decide.Check(context.Background(), w.granted(`{"path":"/private"}`)), pipeline.PolicyDenied, "policy_denied")
	decide.Done = nil
	wantDenial(t, decide.Check(context.Background(), w.granted(`{"path":"/public/x"}`)), pipeline.PolicyDenied, "policy_denied")
}

func TestADecisionHoldsForNothingElse(t *testing.T) {
	w := newWorld(t)
	c := w.granted(`{"path":"/a"}`)
	w.must(stages.Decide{Policies: &w.engines}.Check(context.Background(), c))
	for i, change := range []func(*policies.Ask){
		func(a *policies.Ask) { a.Args = []byte(`{"path":"/b"}`) }, func(a *policies.Ask) { a.Tool = "send" }, func(a *policies.Ask) { a.Server = "mail" },
		func(a *policies.Ask) { a.Action = "read_resource" }, func(a *policies.Ask) { a.Plan.Step = 1 }, func(a *policies.Ask) { a.Labels = []string{"x"} },
		func(a *policies.Ask) { a.Principal = w.eve.Principal() }, func(a *policies.Ask) { a.TLS = true }, func(a *policies.Ask) { a.ArgsKnown = false },
	} {
		a := c.Ask
		change(&a)
		if c.Decision.Covers(&a) {
			t.Error(fmt.Sprint("change ", i, " is covered"))
		}
	}
}
