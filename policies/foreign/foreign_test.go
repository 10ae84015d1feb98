package foreign_test

import (
	"strings"
	"testing"

	"github.com/gatewright/gatewright/policies/foreign"
)

var names = foreign.Names{
	File: "theirs.cedar", Server: "shop",
	Servers: map[string]string{"Billing": "billing"},
	Clients: map[string]string{"ada": `User::"usr_1"`, "eve": `Server::"shop"`},
	Groups:  map[string]string{"department=finance": `Team::"money"`, "x=y": `User::"usr_1"`},
}

// flat puts text on one line, so that layout does not matter.
func flat(s string) string { return strings.Join(strings.Fields(s), " ") }

// TestTranslations: policies in the shapes that the documentation of both gateways shows.
func TestTranslations(t *testing.T) {
	for _, c := range []struct{ name, kind, theirs, ours string }{
		{"a tool", "toolhive", `permit(principal, action == Action::"call_tool", resource == Tool::"weather");`,
			`permit ( principal, action == Action::"shop___weather", resource == Tool::"shop/weather" );`},
		{"a prompt", "toolhive", `permit(principal, action == Action::"get_prompt", resource == Prompt::"hello");`,
			`permit ( principal, action in Action::"get_prompt", resource == Prompt::"shop/hello" );`},
		{"a resource", "toolhive", `permit(principal, action == Action::"read_resource", resource == Resource::"file:///a \"b\"");`,
			`permit ( principal, action in Action::"read_resource", resource == McpResource::"shop/file:///a \"b\"" );`},
		{"a client", "toolhive", `permit(principal == Client::"ada", action == Action::"call_tool", resource);`,
			`permit ( principal == User::"usr_1", action in Action::"call_tool", resource in Server::"shop" );`},
		{"no action", "toolhive", `forbid(principal, action, resource);`,
			`forbid ( principal, action in Action::"work", resource in Server::"shop" );`},
		{"a server", "toolhive", `permit(principal in THVGroup::"eng", action in [Action::"call_tool", Action::"get_prompt"], resource in MCP::"Billing");`,
			`permit ( principal in Team::"eng", action in [Action::"call_tool", Action::"get_prompt"], resource in Server::"billing" );`},
		{"a role", "toolhive", `permit(principal, action == Action::"call_tool", resource) when { principal.claim_roles.contains("admin") };`,
			`permit ( principal, action in Action::"call_tool", resource in Server::"shop" ) when { principal in Role::"admin" };`},
		{"a guarded claim", "toolhive", `permit(principal, action == Action::"call_tool", resource == Tool::"pay") when { principal has claim_department && principal.claim_department == "finance" && resource.arg_amount < 500 };`,
			`permit ( principal, action == Action::"shop___pay", resource == Tool::"shop/pay" ) when { principal in Team::"money" && context.input.amount < 500 };`},
		{"arguments", "toolhive", `permit(principal, action == Action::"call_tool", resource == Tool::"calc") when { resource.arg_op == "add" || context has arg_x && context.arg_x.deep like "a*" };`,
			`permit ( principal, action == Action::"shop___calc", resource == Tool::"shop/calc" ) when { context.input.op == "add" || context.input has x && context.input.x.deep like "a*" };`},
		{"a hint", "toolhive", `permit(principal, action == Action::"call_tool", resource) when { resource has readOnlyHint && resource.readOnlyHint == true };`,
			`permit ( principal, action in Action::"call_tool", resource in Server::"shop" ) when { resource.readOnly == true };`},
		{"a forbidding hint", "toolhive", `forbid(principal, action == Action::"call_tool", resource) when { resource has destructiveHint && resource.destructiveHint == true };`,
			`forbid ( principal, action in Action::"call_tool", resource in Server::"shop" ) when { resource.destructive == true };`},
		{"a list beside", "toolhive", `permit(principal, action in [Action::"list_tools", Action::"call_tool"], resource in MCP::"a");`,
			`permit ( principal, action in Action::"call_tool", resource in Server::"a" );`},

		{"a target's tool", "agentcore", `permit(principal is AgentCore::OAuthUser, action == AgentCore::Action::"Billing___refund", resource == AgentCore::Gateway::"arn:x") when { context.input.amount < 1000 };`,
			`permit ( principal, action == Action::"billing___refund", resource == Tool::"billing/refund" ) when { context.input.amount < 1000 };`},
		{"a tag", "agentcore", `permit(principal is AgentCore::OAuthUser, action == AgentCore::Action::"hr__get", resource is AgentCore::Gateway) when { principal.hasTag("role") && (principal.getTag("role") == "hr" || principal.getTag("role") == "boss") };`,
			`permit ( principal, action == Action::"hr___get", resource == Tool::"hr/get" ) when { principal in Role::"hr" || principal in Role::"boss" };`},
		{"a target", "agentcore", `forbid(principal, action in AgentCore::Action::"Billing", resource) unless { principal.getTag("role") == "admin" };`,
			`forbid ( principal, action in Action::"call_tool", resource in Server::"billing" ) unless { principal in Role::"admin" };`},
		{"several", "agentcore", `permit(principal == AgentCore::OAuthUser::"ada", action in [AgentCore::Action::"a___x", AgentCore::Action::"b___y"], resource) when { context.input has ok };`,
			`permit ( principal == User::"usr_1", action in [Action::"a___x", Action::"b___y"], resource ) when { context.input has ok };`},
		{"everything", "agentcore", `forbid(principal, action, resource);`,
			`forbid ( principal, action in Action::"call_tool", resource in Server::"shop" );`},
		{"time", "agentcore", `@id("hours") permit(principal, action == AgentCore::Action::"a___x", resource) when { context.system.now.toTime() < duration("17h") } unless { principal.id == "ada" };`,
			`@id("hours") permit ( principal, action == Action::"a___x", resource == Tool::"a/x" ) when { context.now.toTime() < duration("17h") } unless { principal == User::"usr_1" };`},
		{"a guarded refusal", "agentcore", `permit(principal, action == AgentCore::Action::"a___x", resource) unless { principal.hasTag("role") && principal.getTag("role") == "guest" };`,
			`permit ( principal, action == Action::"a___x", resource == Tool::"a/x" ) unless { principal in Role::"guest" };`},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, notes, err := foreign.Translate(c.kind, []byte(c.theirs), names)
			if err != nil {
				t.Fatal(err)
			}
			if flat(string(out)) != c.ours {
				t.Errorf("got  %s\nwant %s", flat(string(out)), c.ours)
			}
			if strings.HasPrefix(c.theirs, "permit") && len(notes) == 0 {
				t.Error("no note says that plans are not asked for")
			}
		})
	}
}

// TestUntranslatable: what these words cannot say is refused at its place, with what can be done.
func TestUntranslatable(t *testing.T) {
	const tool, call = `permit(principal, action == Action::"call_tool", resource == Tool::"x")`, `permit(principal, action == Action::"call_tool", resource)`
	const core = `permit(principal, action == AgentCore::Action::"a___x", resource)`
	for _, c := range []struct{ name, kind, theirs, want string }{
		{"no such kind", "rego", `x`, "no policies of kind"},
		{"no Cedar", "toolhive", "permit(principal,\n  actio == 1);", "theirs.cedar:2:"},
		{"a template", "toolhive", `permit(principal == ?principal, action, resource);`, "theirs.cedar:1:"},
		{"temporal", "agentcore", core + ` when temporal { formerly within 1h (true) };`, "theirs.cedar:1:"},
		{"an unknown client", "toolhive", `permit(principal == Client::"bob", action, resource);`, `theirs.cedar:1:30: who "bob" is here is not known (--client`},
		{"an unknown action", "toolhive", `permit(principal, action == Action::"fly", resource);`, `theirs.cedar:1:38: action`},
		{"forbidden lists", "toolhive", `forbid(principal, action == Action::"list_tools", resource);`, "lists cannot be forbidden"},
		{"an argument of any tool", "toolhive", "\n" + call + "\nwhen { resource.arg_path == \"x\" };", "theirs.cedar:3:17: an argument of no tool"},
		{"an unknown claim", "toolhive", tool + ` when { principal.claim_shoe == "9" };`, `claim "shoe" is not known here (--group`},
		{"a claim's size", "toolhive", tool + ` when { principal.claim_level >= 3 };`, "claim_level is not known here"},
		{"a claim that is absent", "toolhive", tool + ` when { !principal.claim_roles.contains("guest") };`, "without claim roles the original permits nothing"},
		{"a claim before another way", "toolhive", tool + ` when { principal.claim_roles.contains("a") || resource.arg_x == 1 };`, "without claim roles the original permits nothing"},
		{"a claim beside a question", "toolhive", tool + ` when { principal has claim_roles && resource.arg_x == 1 };`, "whether there is claim roles cannot be asked"},
		{"a guard that comes late", "toolhive", tool + ` unless { principal.claim_roles.contains("a") && principal has claim_roles };`, "the original permits nothing"},
		{"a hint for the worse", "toolhive", tool + ` when { resource.destructiveHint == false };`, "the original permits nothing"},
		{"a claim in a choice", "toolhive", tool + ` when { if principal.claim_roles.contains("a") then true else false };`, "where its absence cannot be told"},
		{"another attribute", "toolhive", tool + ` when { resource.owner == "x" };`, "owner is not known here"},
		{"an entity", "toolhive", tool + ` when { resource == Tool::"y" };`, "cannot be named in a condition"},
		{"action in a condition", "toolhive", tool + ` when { action == Action::"call_tool" };`, "write"},
		{"the whole context", "toolhive", tool + ` when { context == {} };`, "context as a whole"},
		{"IAM", "agentcore", `permit(principal is AgentCore::IamEntity, action == AgentCore::Action::"a___x", resource);`, "whom this is about"},
		{"two gateways", "agentcore", strings.Replace(core, "resource)", `resource == AgentCore::Gateway::"1");`, 1) + strings.Replace(core, "resource)", `resource == AgentCore::Gateway::"2");`, 1), "policies of two gateways"},
		{"no target", "agentcore", `permit(principal, action == AgentCore::Action::"tool", resource);`, "is no target's tool"},
		{"another group of actions", "agentcore", `permit(principal, action in Other::Action::"a", resource);`, "does not exist there"},
		{"no action at all", "agentcore", `permit(principal, action in [], resource);`, "no action"},
		{"input of any tool", "agentcore", `permit(principal, action, resource) when { context.input.x == 1 };`, "the input of no tool"},
		{"a scope tag", "agentcore", core + ` when { principal.getTag("scope") like "*orders*" };`, `tag "scope" cannot be read`},
		{"guardrails", "agentcore", core + ` when { context.guardrails.pii };`, "guardrails is not known here"},
		{"too deep", "toolhive", tool + ` when { ` + strings.Repeat("(", 99) + `true` + strings.Repeat(")", 99) + ` };`, "brackets"},
		{"too long", "toolhive", strings.Repeat(" ", 2<<20), "translate one part after the other"},
		{"a client that is no caller", "toolhive", `permit(principal == Client::"eve", action, resource);`, "is no agent or user here"},
		{"a group that is none", "toolhive", tool + ` when { principal.claim_x == "y" };`, "is no team or role here"},
		{"another parent", "toolhive", `permit(principal, action, resource in Folder::"f");`, "do not exist here"},
		{"another scope", "toolhive", `permit(principal is Admin, action, resource);`, "whom this is about"},
		{"the wrong resource", "toolhive", `permit(principal, action == Action::"call_tool", resource == Prompt::"p");`, "do not go together"},
		{"an unknown resource", "toolhive", `permit(principal, action == Action::"call_tool", resource == Car::"p");`, "does not exist here"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, notes, err := foreign.Translate(c.kind, []byte(c.theirs), names)
			if err == nil || out != nil || notes != nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("want %q, got %v and %s", c.want, err, out)
			}
		})
	}
}

// TestNoServer: policies that name no server do not spread to all there are.
func TestNoServer(t *testing.T) {
	for kind, theirs := range map[string]string{
		"toolhive":  `permit(principal, action == Action::"call_tool", resource);`,
		"agentcore": `permit(principal, action, resource);`,
	} {
		if out, _, err := foreign.Translate(kind, []byte(theirs), foreign.Names{}); err == nil || !strings.Contains(err.Error(), "--server") {
			t.Errorf("%s: %v %s", kind, err, out)
		}
		if out, _, err := foreign.Translate(kind, []byte(theirs), foreign.Names{Server: "*"}); err != nil || !strings.Contains(flat(string(out)), "resource )") {
			t.Errorf("%s: %v %s", kind, err, out)
		}
	}
	if out, _, err := foreign.Translate("toolhive", []byte(`permit(principal, action, resource == Tool::"x");`), foreign.Names{Server: "*"}); err == nil {
		t.Errorf("a tool of which server? %s", out)
	}
}

// TestNotesNameWhatIsLeftOut: whoever takes the policies over reads what is different.
func TestNotesNameWhatIsLeftOut(t *testing.T) {
	_, notes, err := foreign.Translate("agentcore", []byte(`permit(principal is AgentCore::OAuthUser, action == AgentCore::Action::"a___x", resource == AgentCore::Gateway::"arn:1") when { principal.getTag("role") == "admin" };`), names)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(notes, "\n")
	for _, want := range []string{"arn:1", "OAuthUser", `Role::"admin" must have those as members`, "context.plan.inPlan"} {
		if !strings.Contains(all, want) {
			t.Errorf("no note about %q in\n%s", want, all)
		}
	}
}

// TestAnnotationsWithAMeaningHereAreLeftOut: they say nothing there, and one of them would keep a forbid from denying.
func TestAnnotationsWithAMeaningHereAreLeftOut(t *testing.T) {
	for _, note := range []string{`@mode("shadow")`, `@hold("ask")`, `@rate("1000000/1s")`, `@rate_by("tenant")`, `@approvals("1")`, `@approver("manager")`} {
		out, notes, err := foreign.Translate(foreign.ToolHive, []byte(note+` @id("x") forbid(principal, action, resource);`), names)
		if err != nil || flat(string(out)) != `@id("x") forbid ( principal, action in Action::"work", resource in Server::"shop" );` || len(notes) != 1 {
			t.Errorf("%s: %v %q\n%s", note, err, notes, out)
		}
	}
}
