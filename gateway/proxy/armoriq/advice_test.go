package armoriq_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/config"
)

// TestPreflightSaysWhatAPlanWouldMeet.
func TestPreflightSaysWhatAPlanWouldMeet(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	a := w.agent(t, w.admin, "")
	for calls, want := range map[string]string{
		`{"name":"bank__echo","args":{}}`:                "allow",
		`{"tool":"mcp__bank__echo","arguments":{}}`:      "allow",
		`{"name":"echo"}`:                                "allow",
		`{"name":"bank__pay","args":{"amount":1000}}`:    "allow",
		`{"name":"bank__pay","args":{"amount":1000.01}}`: "hold",
		`{"name":"bank__pay","args":{"amount":"5"}}`:     "deny", // breaks the schema
		`{"name":"bank__pay","args":{}}`:                 "deny",
		`{"name":"bank__denied"}`:                        "deny",
		`{"name":"bank__nothing"}`:                       "deny",
		`{"name":"Bash","args":{"command":"ls"}}`:        "allow", // runs at the client
		`{"name":"bank__wire"},{"name":"bank__denied"}`:  "deny",
		`{"name":"bank__denied"},{"name":"bank__wire"}`:  "deny",
		`{"name":"bank__echo"},{"name":"bank__wire"}`:    "hold",
		``: "allow",
		`{"name":"bank__echo","args":{"_iam_context":{"allowed_tools":["*"]},"amount":99999}}`: "allow",
	} {
		ans := a.post(t, "/iap/sdk/preflight", `{"user_prompt":"p","authority_snapshot":{},"tool_calls":[`+calls+`]}`).ok(t)
		if ans.text("decision") != want || ans.text("intent_id") != ans.record {
			t.Errorf("%s: %s, want %s", calls, ans, want)
		}
		if list := ans.says("violations").([]any); (len(list) == 0) != (want == "allow") {
			t.Errorf("%s: %s", calls, ans)
		}
	}
	a.post(t, "/iap/sdk/preflight", `{"tool_calls":[{"name":"a","tool":"b"}]}`).refused(t, http.StatusBadRequest, "malformed")
	a.post(t, "/iap/sdk/preflight", `{"tool_calls":[{}]}`).refused(t, http.StatusBadRequest, "malformed")
	a.post(t, "/iap/sdk/preflight", `{}`).refused(t, http.StatusBadRequest, "malformed")
}

// TestADecisionIsAboutTheCallersPlan: without a plan that has the tool with these arguments the answer is no, as it is for
// the call.
func TestADecisionIsAboutTheCallersPlan(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	a, b := w.agent(t, w.admin, ""), w.agent(t, w.admin, "")
	decide := func(who agent, tool, params string) answer {
		t.Helper()
		return who.post(t, "/v1/data/armoriq/authz/decision", fmt.Sprintf(`{"input":{"policies":[{"effect":"permit"}],"subject":{"role":"admin"},"resource":{"toolName":%q,"resourceType":"mcp","params":%s}}}`, tool, params)).ok(t)
	}
	if ans := decide(a, "bank__echo", `{}`); ans.says("result", "allow") != false || ans.text("result", "plan_id") != "" {
		t.Errorf("without a plan: %s", ans)
	}
	tk := a.token(t, step("bank", "echo", `{"x":1}`)+","+step("bank", "echo", `{"x":2.50}`)+","+step("bank", "pay", `{"amount":5000}`)+","+step("bank", "denied", `{}`)+
		`,{"action":"mail","mcp":"bank"},{"action":"Bash","mcp":"claude-code","metadata":{"inputs":{"command":"ls"}}}`, "")
	for _, c := range []struct{ tool, params, want string }{
		{"bank__echo", `{"x":1}`, "allow"},
		{"bank__echo", `{"x":2.5}`, "allow"},
		{"bank__echo", `{"x":1,"_iam_context":{}}`, "allow"},
		{"bank__echo", `{"x":3}`, "deny"},
		{"bank__echo", `{"x":"1"}`, "deny"},
		{"bank__echo", `{"x":1,"y":1}`, "deny"},
		{"bank__echo", `{}`, "deny"},
		{"bank__pay", `{"amount":5000}`, "hold"},
		{"bank__pay", `{"amount":1}`, "deny"},
		{"bank__denied", `{}`, "deny"},
		{"bank__mail", `{"text":"any"}`, "allow"},
		{"bank__wire", `{}`, "deny"},
		{"Bash", `{"command":"ls"}`, "allow"},
		{"Bash", `{"command":"rm"}`, "deny"},
		{"other__Bash", `{"command":"ls"}`, "deny"},
	} {
		ans := decide(a, c.tool, c.params)
		if ans.text("result", "decision") != c.want || ans.says("result", "allow") != (c.want == "allow") || ans.says("result", "hold") != (c.want == "hold") {
			t.Errorf("%s %s: %s, want %s", c.tool, c.params, ans, c.want)
		}
		if c.want != "deny" && ans.text("result", "plan_id") != tk.plan {
			t.Errorf("%s %s: judged under %s", c.tool, c.params, ans)
		}
	}
	if ans := decide(b, "bank__echo", `{"x":1}`); ans.says("result", "allow") != false {
		t.Errorf("under another agent's plan: %s", ans)
	}
	a.post(t, "/iap/plans/"+tk.plan+"/status", `{"status":"completed"}`).ok(t)
	if ans := decide(a, "bank__echo", `{"x":1}`); ans.says("result", "allow") != false {
		t.Errorf("under a plan that ended: %s", ans)
	}
	a.post(t, "/v1/data/armoriq/authz/decision", `{"input":{}}`).refused(t, http.StatusBadRequest, "malformed")
}

// local is a client that decides for itself by what the gateway gave it: the default unless a statement names the tool.
type local struct {
	def    string
	effect map[string]string
	tag    string
}

func bundleOf(t *testing.T, a agent) local {
	t.Helper()
	ans := a.get(t, "/policy/bundles/current?agent="+a.id).ok(t)
	var v struct {
		Agents []struct {
			AgentID string
			Policy  *struct {
				Document struct {
					ExpiresAt  string
					Defaults   map[string]string
					Statements []struct {
						Effect, ExpiresAt string
						Match             struct{ Tool string }
						Conditions        []json.RawMessage
					}
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(ans.body), &v); err != nil || len(v.Agents) != 1 || v.Agents[0].AgentID != a.id || v.Agents[0].Policy == nil || v.Agents[0].Policy.Document.ExpiresAt == "" {
		t.Fatalf("%v in %s", err, ans)
	}
	out := local{def: v.Agents[0].Policy.Document.Defaults["tools"], effect: map[string]string{}, tag: ans.head.Get("ETag")}
	for _, s := range v.Agents[0].Policy.Document.Statements {
		if _, twice := out.effect[s.Match.Tool]; twice || s.ExpiresAt == "" || strings.ContainsAny(s.Match.Tool, "*?") {
			t.Errorf("statement %+v", s)
		}
		out.effect[s.Match.Tool] = s.Effect
	}
	return out
}

func (l local) says(tool string) string {
	if e, ok := l.effect[tool]; ok {
		return e
	}
	return l.def
}

// TestALocalDecisionIsNeverMorePermissive holds, under many policies, what a client would decide for itself against what
// the gateway decides about the very call.
func TestALocalDecisionIsNeverMorePermissive(t *testing.T) {
	t.Parallel()
	calls := []struct{ server, tool, params string }{
		{"bank", "echo", `{"x":1}`}, {"bank", "echo", `{}`}, {"bank", "pay", `{"amount":10}`}, {"bank", "pay", `{"amount":5000}`}, {"bank", "pay", `{"amount":"x"}`},
		{"bank", "mail", `{"text":"hi"}`}, {"bank", "denied", `{}`}, {"bank", "wire", `{}`}, {"bank", "nothing", `{}`},
		{"claude-code", "Bash", `{"command":"ls"}`}, {"elsewhere", "echo", `{"x":1}`},
	}
	for _, c := range []struct {
		policy, profile string
		want            map[string]string // some decisions that the client must come to, so that it is not all "block"
	}{
		{want: map[string]string{"echo": "allow", "mail": "allow", "pay": "hold", "wire": "hold", "denied": "block", "nothing": "block", "Bash": "allow"}},
		// Another plan's own policy is nobody's else: a client of this mode gives its plans none.
		{policy: `{"deny":["bank/echo"]}`, want: map[string]string{"echo": "allow", "mail": "allow"}},
		{policy: `{"allowed_tools":["echo"],"rate_limit":1}`, want: map[string]string{"echo": "allow", "mail": "allow", "pay": "hold"}},
		{profile: `{"policyName":"p","memberRule":{"allowedTools":["mail"]}}`, want: map[string]string{"echo": "block", "mail": "allow"}},
		{profile: `{"policyName":"p","allowedTools":["pay","echo"],"amountThreshold":{"currency":"USD","maxPerTransaction":50,"requireApprovalAbove":5}}`, want: map[string]string{"mail": "block", "pay": "hold"}},
		{profile: `{"policyName":"p","memberRule":{"allowedTools":["mail","echo"]}}`, policy: `{"deny":["bank/mail"]}`, want: map[string]string{"mail": "allow", "wire": "block"}},
	} {
		t.Run(c.policy+c.profile, func(t *testing.T) {
			t.Parallel()
			w := open(t, nil)
			a := w.agent(t, w.admin, "")
			if c.profile != "" {
				a.put(t, "/policies/profiles/draft", `{"policy":`+c.profile+`}`).ok(t)
				w.manage(t, w.admin, "POST", "/api/v1/proposals/"+a.post(t, "/policies/profiles/propose", `{}`).ok(t).text("proposalId")+"/approve", "", nil)
			}
			if c.policy != "" {
				a.post(t, "/iap/sdk/token", `{"plan":{"steps":[`+step("bank", "echo", `{"x":2}`)+`]},"policy":`+c.policy+`}`).ok(t)
			}
			tokens := make([]string, len(calls))
			for i, call := range calls {
				ans := a.post(t, "/iap/sdk/token", `{"plan":{"steps":[`+step(call.server, call.tool, call.params)+`]}}`)
				tokens[i] = ans.text("jwt_token") // none: no call either
			}
			l := bundleOf(t, a)
			for i, call := range calls {
				ans := a.post(t, "/iap/sdk/enforce", invocation(call.server, call.tool, call.params, tokens[i]))
				if l.says(call.tool) == "allow" && ans.text("enforcementAction") != "allow" {
					t.Errorf("%s/%s %s: locally allowed, here %s", call.server, call.tool, call.params, ans)
				}
			}
			for tool, want := range c.want {
				if got := l.says(tool); got != want {
					t.Errorf("%s is %s, want %s", tool, got, want)
				}
			}
			for range 3 { // what is counted here
				ans := a.post(t, "/invoke", invocation("bank", "echo", `{"x":1}`, tokens[0]))
				if l.says("echo") == "allow" && ans.status != http.StatusOK {
					t.Errorf("locally allowed, here %s", ans)
				}
			}
		})
	}
}

// TestALocalBundleIsTheCallersAndHasATag.
func TestALocalBundleIsTheCallersAndHasATag(t *testing.T) {
	t.Parallel()
	w := open(t, func(c *config.Config) { c.Intent.MaxPlans = 2000 })
	a, other, elsewhere := w.agent(t, w.admin, ""), w.agent(t, w.admin, ""), w.agent(t, w.admin, `,"talks_to":["another"]`)
	url := w.g.URL() + "/policy/bundles/current?agent=" + a.id
	one := bundleOf(t, a)
	if one.def != "block" {
		t.Errorf("what is not named is %s", one.def)
	}
	if e := bundleOf(t, elsewhere); e.says("echo") != "block" {
		t.Errorf("a server that the agent may not talk to: %+v", e)
	}
	for _, name := range []string{other.id, "nothing", a.id + "x"} {
		if ans := a.get(t, "/policy/bundles/current?agent="+name).ok(t); len(ans.says("agents").([]any)) != 0 {
			t.Errorf("%s is shown %s", name, ans)
		}
	}
	a.get(t, "/policy/bundles/current?agent=a&agent=b").refused(t, http.StatusBadRequest, "malformed")
	a.get(t, "/policy/bundles/current?agent="+strings.Repeat("a", 600)).refused(t, http.StatusBadRequest, "malformed")
	same := w.exchange(t, "GET", url, bearer(a.key).and("If-None-Match", one.tag), "")
	if same.status != http.StatusNotModified || same.body != "" || same.record == "" || one.tag == "" {
		t.Errorf("unchanged: %s", same)
	}
	for _, tag := range []string{"", `""`, "*", `W/` + one.tag, "x"} {
		if ans := w.exchange(t, "GET", url, bearer(a.key).and("If-None-Match", tag), ""); ans.status != http.StatusOK || ans.head.Get("ETag") != one.tag {
			t.Errorf("If-None-Match %s: %s", tag, ans)
		}
	}
	if two := bundleOf(t, other); two.tag == one.tag {
		t.Error("two agents have one tag")
	}
	a.token(t, step("claude-code", "Bash", `{"command":"ls"}`), "") // a tool that only a plan names
	changed := w.exchange(t, "GET", url, bearer(a.key).and("If-None-Match", one.tag), "")
	if changed.status != http.StatusOK || changed.head.Get("ETag") == one.tag {
		t.Errorf("after a plan with a local step: %s", changed)
	}
	w.manage(t, w.admin, "PUT", "/api/v1/agents/"+a.id+"/status", `{"status":"suspended"}`, nil)
	if ans := w.exchange(t, "GET", url, bearer(a.key).and("If-None-Match", one.tag), ""); ans.status != http.StatusUnauthorized && ans.status != http.StatusForbidden {
		t.Errorf("suspended: %s", ans)
	}
}

// TestAPlanEndsOnceAndOnlyByItsAgent.
func TestAPlanEndsOnceAndOnlyByItsAgent(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	a, other := w.agent(t, w.admin, ""), w.agent(t, w.admin, "")
	for status, state := range map[string]string{"completed": "completed", "failed": "failed", "expired": "failed"} {
		tk := a.token(t, step("bank", "echo", `{"x":1}`), "")
		path := "/iap/plans/" + tk.plan + "/status"
		call := func() answer { return a.post(t, "/invoke", invocation("bank", "echo", `{"x":1}`, tk.jwt)) }
		other.post(t, path, `{"status":"`+status+`"}`).refused(t, http.StatusNotFound, "not_found")
		for _, bad := range []string{`{"status":"revoked"}`, `{"status":"Completed"}`, `{"Status":"completed"}`, `{}`, `{"status":null}`} {
			a.post(t, path, bad).refused(t, http.StatusBadRequest, "malformed")
		}
		if ans := a.post(t, path, `{"status":"active"}`).ok(t); ans.text("status") != "active" {
			t.Errorf("%s", ans)
		}
		call().ok(t)
		for range 2 {
			if ans := a.post(t, path, `{"status":"`+status+`"}`).ok(t); ans.text("status") != state {
				t.Errorf("%s: %s", status, ans)
			}
		}
		a.post(t, path, `{"status":"active"}`).refused(t, http.StatusForbidden, "plan_inactive")
		if ans := call(); ans.status < 400 {
			t.Errorf("a plan that is %s serves: %s", state, ans)
		}
	}
	for _, id := range []string{"pln_nothing", "x", "%2e%2e", "pln_" + strings.Repeat("x", 300)} {
		if ans := a.post(t, "/iap/plans/"+id+"/status", `{"status":"completed"}`); ans.status != http.StatusNotFound {
			t.Errorf("%s: %s", id, ans)
		}
	}
}

// TestARequestForApprovalIsItsAgentsOwn: a neighbour in the same organisation neither sees nor spends it.
func TestARequestForApprovalIsItsAgentsOwn(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	a, other := w.agent(t, w.admin, ""), w.agent(t, w.admin, "")
	tk := a.token(t, step("bank", "pay", `{"amount":5000}`), "")
	call := invocation("bank", "pay", `{"amount":5000}`, tk.jwt)
	ask := `{"tool":"pay","domain":"bank","arguments":{"amount":5000},"planId":"` + tk.plan + `"}`
	id := a.post(t, "/delegation/request", ask).ok(t).text("delegationId")
	if again := a.post(t, "/delegation/request", ask).ok(t); again.text("delegationId") != id || again.text("status") != "pending" {
		t.Errorf("asked again: %s", again)
	}
	if held := a.post(t, "/invoke", call); held.status != http.StatusForbidden || held.text("enforcementAction") != "hold" {
		t.Errorf("before anybody approved: %s", held)
	}
	a.post(t, "/delegation/mark-executed", `{"delegationId":"`+id+`"}`).refused(t, http.StatusBadRequest, "malformed")
	w.manage(t, w.admin, "POST", "/api/v1/approvals/"+id+"/approve", "", nil)
	check := "/delegation/check-approved?tool=pay&amount=5000.0&planId=" + tk.plan
	other.post(t, "/delegation/request", ask).refused(t, http.StatusNotFound, "not_found")
	other.get(t, "/delegation/"+id+"/status").refused(t, http.StatusNotFound, "not_found")
	other.post(t, "/delegation/mark-executed", `{"delegationId":"`+id+`"}`).refused(t, http.StatusNotFound, "not_found")
	if ans := other.get(t, check); ans.says("approved") != false {
		t.Errorf("a neighbour finds it: %s", ans)
	}
	if ans := a.get(t, check).ok(t); ans.says("approved") != true || ans.text("delegationId") != id {
		t.Errorf("its agent: %s", ans)
	}
	a.post(t, "/delegation/mark-executed", `{"delegationId":"`+id+`"}`).ok(t) // the client's word: the call spends it
	a.post(t, "/invoke", call).ok(t)
	if ans := a.post(t, "/invoke", call); ans.text("enforcementAction") != "hold" {
		t.Errorf("an approval serves twice: %s", ans)
	}
	if ans := a.get(t, check).ok(t); ans.says("approved") != false {
		t.Errorf("after it was spent: %s", ans)
	}
}
