package policies_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/policies"
)

// defaultCases gives every rule of the default bundle a case in which it decides and one in which it stays out, so that
// the call goes the other way.
var defaultCases = []struct {
	rule  string
	ask   func(*policies.Ask) // what makes the rule decide
	allow bool
	not   func(*policies.Ask) // the nearest Ask in which it does not
}{
	{rule: "active-only", ask: func(a *policies.Ask) { a.Principal.Status = "suspended" }, not: func(*policies.Ask) {}},
	{rule: "active-only", ask: func(a *policies.Ask) { a.Principal.Status = "revoked" }, not: func(*policies.Ask) {}},
	{rule: "active-only", ask: func(a *policies.Ask) { a.Principal.Status = "pending"; discovery(a) }, not: discovery},
	{rule: "active-only", ask: func(a *policies.Ask) { a.Principal.Status = "suspended"; modelCall(a) }, not: modelCall},
	{rule: "talks-to", ask: func(a *policies.Ask) { a.Principal.TalksTo = []string{"db"} },
		not: func(a *policies.Ask) { a.Principal.TalksTo = []string{"db", "mail"} }},
	{rule: "talks-to", ask: func(a *policies.Ask) { a.Principal.TalksTo = []string{"db"}; discovery(a); a.Server = "mail" },
		not: func(a *policies.Ask) { a.Principal.TalksTo = []string{"db"}; discovery(a) }},
	{rule: "talks-to", ask: func(a *policies.Ask) { a.Principal.TalksTo = []string{"db"}; modelCall(a) }, not: modelCall},
	{rule: "discovery", allow: true, ask: discovery, not: func(a *policies.Ask) { discovery(a); a.Action = "erase_everything" }},
	{rule: "conversation", allow: true, ask: func(a *policies.Ask) { discovery(a); a.Action = "cancel_task" },
		not: func(a *policies.Ask) { discovery(a); a.Action = "conversation" }},
	{rule: "planned-tool-call", allow: true, ask: func(*policies.Ask) {}, not: func(a *policies.Ask) { a.Plan.InPlan = false }},
	{rule: "planned-resource-read", allow: true, ask: resource, not: func(a *policies.Ask) { resource(a); a.Plan.InPlan = false }},
	{rule: "planned-prompt", allow: true, ask: prompt, not: func(a *policies.Ask) { prompt(a); a.Plan.InPlan = false }},
	{rule: "destructive-needs-plan", ask: func(a *policies.Ask) { drop(a); a.Plan.InPlan = false }, not: drop},
	{rule: "planning", allow: true, ask: func(a *policies.Ask) { discovery(a); a.Action = "capture_plan" },
		not: func(a *policies.Ask) { discovery(a); a.Action = "planning" }},
	{rule: "planning", allow: true, ask: func(a *policies.Ask) { discovery(a); a.Action = "delegate_token" },
		not: func(a *policies.Ask) { discovery(a); a.Action, a.Principal.Status = "delegate_token", "suspended" }},
	{rule: "account", allow: true, ask: func(a *policies.Ask) { discovery(a); a.Action = "propose" },
		not: func(a *policies.Ask) { discovery(a); a.Action = "account" }},
	{rule: "models", allow: true, ask: modelCall, not: func(a *policies.Ask) { modelCall(a); a.Tool = "" }},
}

func discovery(a *policies.Ask) { a.Action, a.Server, a.Tool, a.Args = "list_tools", "", "", nil }
func modelCall(a *policies.Ask) { a.Action, a.Server, a.Tool = "invoke_model", "openai", "gpt-5" }
func resource(a *policies.Ask) {
	a.Action, a.Server, a.Tool, a.Args = "read_resource", "files", "file:///etc/hosts", nil
}
func prompt(a *policies.Ask) {
	a.Action, a.Server, a.Tool, a.Args = "get_prompt", "mail", "review", nil
}
func drop(a *policies.Ask) { a.Server, a.Tool, a.Args = "db", "drop", []byte(`{"table":"t"}`) }

func TestEveryDefaultRuleHasAnAllowAndARefusal(t *testing.T) {
	e := defaultEngine(t)
	covered := map[string]bool{}
	for _, c := range defaultCases {
		covered[c.rule] = true
		yes := call("mail", "send", `{"to":"x"}`)
		c.ask(yes)
		d := e.Decide(yes)
		decided := slices.ContainsFunc(d.Policies(), func(p string) bool { return strings.HasSuffix(p, " "+c.rule) })
		if d.Allowed() != c.allow || !decided || len(d.Errors()) > 0 {
			t.Errorf("%s: allowed %v by %q, errors %q", c.rule, d.Allowed(), d.Policies(), d.Errors())
		}
		no := call("mail", "send", `{"to":"x"}`)
		c.not(no)
		if d := e.Decide(no); d.Allowed() == c.allow {
			t.Errorf("%s: the other way also gives %v, by %q", c.rule, d.Allowed(), d.Policies())
		}
	}
	for _, id := range policies.Ids(e) {
		if !covered[id] {
			t.Errorf("rule %s has no case", id)
		}
	}
}

func TestTheDefaultBundleExplainsEveryRule(t *testing.T) {
	e := defaultEngine(t)
	for _, c := range defaultCases {
		a := call("mail", "send", `{"to":"x"}`)
		c.ask(a)
		for _, notes := range e.Decide(a).Annotations() {
			if notes["id"] == "" || len(notes["reason"]) < 20 {
				t.Errorf("%s: annotations %v", c.rule, notes)
			}
		}
	}
}

// Every action that the gateway may ask about, without a plan: only work is refused.
func TestWorkAloneNeedsAPlan(t *testing.T) {
	e := defaultEngine(t)
	free := "initialize discover ping list_tools list_prompts list_resources list_resource_templates complete set_log_level " +
		"subscribe unsubscribe notify respond list_tasks get_task task_result cancel_task invoke_model list_models " +
		"capture_plan read_plan issue_token reanchor_plan delegate_token revoke_token end_plan request_approval " +
		"read_account report propose check_policy"
	for action := range strings.FieldsSeq(free) {
		a := call("mail", "send", "")
		a.Action, a.Args, a.Plan = action, nil, policies.PlanFacts{}
		if d := e.Decide(a); !d.Allowed() {
			t.Errorf("%s: refused: %q %q", action, d.Policies(), d.Errors())
		}
	}
	for _, action := range []string{"call_tool", "read_resource", "get_prompt", "work", "mcp", "mail___send", "", "Call_Tool"} {
		a := call("mail", "send", "")
		a.Action, a.Args, a.Plan = action, nil, policies.PlanFacts{}
		if e.Decide(a).Allowed() {
			t.Errorf("%s: allowed without a plan", action)
		}
	}
}
