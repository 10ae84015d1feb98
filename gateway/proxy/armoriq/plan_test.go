package armoriq_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/config"
)

// planned is a sealed plan as a manager reads it.
type planned struct {
	Goal     string
	Metadata json.RawMessage
	Steps    []struct {
		Op, Server, Tool string
		Local            bool
		Uses             int
		After            []int
		Args             struct {
			Additional bool
			Params     map[string]struct{ Const json.RawMessage }
		}
	}
}

func (w *world) plan(t *testing.T, id string) planned {
	t.Helper()
	var v struct{ Content planned }
	w.manage(t, w.admin, "GET", "/api/v1/plans/"+id+"/content", "", &v)
	return v.Content
}

// TestStepsAreReadInEverySpelling that their clients use; whatever the spelling the step is the same.
func TestStepsAreReadInEverySpelling(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	a := w.agent(t, w.admin, "")
	for text, want := range map[string]string{
		`{"action":"echo","mcp":"bank","params":{"x":1}}`:                                 `bank/echo {"x":1}`,
		`{"action":"echo","tool":"echo","mcp":"bank","params":{"x":1},"description":"d"}`: `bank/echo {"x":1}`,
		`{"tool":"echo","mcp":"bank","arguments":{"x":1},"step_id":"s","position":1}`:     `bank/echo {"x":1}`,
		`{"action":"echo","tool":null,"mcp":"bank","params":{"x":1.0}}`:                   `bank/echo {"x":1}`,
		`{"action":"bank__echo","params":{"x":1}}`:                                        `bank/echo {"x":1}`,
		`{"action":"mcp__bank__echo","params":{"x":1}}`:                                   `bank/echo {"x":1}`,
		`{"action":"echo","params":{"x":1}}`:                                              `bank/echo {"x":1}`, // one server has it
		`{"action":"echo","mcp":"bank","metadata":{"inputs":{"x":1},"more":5}}`:           `bank/echo {"x":1}`,
		`{"action":"echo","mcp":"bank","params":{"x":1},"arguments":{"x":2}}`:             `bank/echo {"x":1}`, // params are the call's
		`{"action":"echo","mcp":"bank","params":null,"arguments":{"x":1}}`:                `bank/echo {"x":1}`,
		`{"action":"echo","mcp":"bank","params":{}}`:                                      `bank/echo {}`,
		`{"action":"echo","mcp":"bank"}`:                                                  `bank/echo *`,
		`{"action":"echo","mcp":"bank","params":{"x":1,"_iam_context":{"a":1},"_policy_context":1,"_approvals":9,"_delegation_id":"d","user_email":"a@b"}}`: `bank/echo {"x":1}`,
		`{"action":"mail","mcp":"bank","params":{"text":"x","user_email":"a@b","_iam_context":{}}}`:                                                         `bank/mail {"text":"x","user_email":"a@b"}`,
		`{"action":"echo","mcp":"bank","params":{"x":{"_iam_context":1,"b":[1.50,"\u0061"]}}}`:                                                              `bank/echo {"x":{"_iam_context":1,"b":[1.5,"a"]}}`,
		`{"action":"Bash","mcp":"claude-code","metadata":{"inputs":{"command":"ls"}}}`:                                                                      `local claude-code/Bash {"command":"ls"}`,
		`{"action":"Bash"}`: `local local/Bash *`,
		`{"action":"other__do","params":{"user_email":"a@b"}}`: `local other/do {}`,
	} {
		tk := a.token(t, text, "")
		p := w.plan(t, tk.plan)
		if got := described(t, p, 0); got != want {
			t.Errorf("%s is the step %s, want %s", text, got, want)
		}
	}
	tk := a.token(t, step("bank", "echo", `{}`)+`,{"action":"echo","mcp":"bank","params":{},"after":[0]}`, `,"context_id":"ctx","policy":{"deny":["x/*"]}`)
	p := w.plan(t, tk.plan)
	if len(p.Steps) != 2 || len(p.Steps[1].After) != 1 || p.Steps[1].After[0] != 0 || p.Goal != "g" || !strings.Contains(string(p.Metadata), `"policy":{"deny":["x/*"]}`) || !strings.Contains(string(p.Metadata), `"ctx"`) || !strings.Contains(string(p.Metadata), `"orgId":"demo"`) {
		t.Errorf("the plan is %+v with %s", p, p.Metadata)
	}
}

func described(t *testing.T, p planned, i int) string {
	t.Helper()
	s := p.Steps[i]
	args := "*"
	if !s.Args.Additional {
		values := map[string]json.RawMessage{}
		for name, c := range s.Args.Params {
			values[name] = c.Const
		}
		args = marshal(t, values)
	}
	where := s.Server + "/" + s.Tool + " " + args
	if s.Local {
		return "local " + where
	}
	return where
}

// TestAPlanThatIsNotUnderstoodIsNoPlan.
func TestAPlanThatIsNotUnderstoodIsNoPlan(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	a := w.agent(t, w.admin, "")
	ok := step("bank", "echo", `{}`)
	for plan, status := range map[string]int{
		`{}`: 400, `{"steps":null}`: 400, `{"Steps":[` + ok + `]}`: 400, `{"steps":[]}`: 422, `{"steps":[{}]}`: 400, `{"steps":[{"mcp":"bank"}]}`: 400, `{"steps":[null]}`: 400,
		`{"steps":[{"action":"a","tool":"b","mcp":"bank"}]}`:                            400,
		`{"steps":[{"Action":"echo","mcp":"bank"}]}`:                                    400,
		`{"steps":[{"action":"nothing","mcp":"bank"}]}`:                                 422,
		`{"steps":[{"action":"bank__nothing"}]}`:                                        422,
		`{"steps":[{"action":"echo","mcp":"bank","after":[0]}]}`:                        400,
		`{"steps":[` + ok + `,{"action":"echo","mcp":"bank","after":[1]}]}`:             400,
		`{"steps":[` + ok + `,{"action":"echo","mcp":"bank","after":[-1]}]}`:            400,
		`{"steps":[` + ok + `,{"action":"echo","mcp":"bank","after":[0.0]}]}`:           400,
		`{"steps":[` + ok + `,{"action":"echo","mcp":"bank","after":["0"]}]}`:           400,
		`{"steps":[` + strings.Repeat(ok+",", 256) + ok + `]}`:                          422,
		`{"goal":"` + strings.Repeat("g", 8193) + `","steps":[` + ok + `]}`:             400,
		`{"metadata":{"a":"` + strings.Repeat("g", 65537) + `"},"steps":[` + ok + `]}`:  400,
		`{"steps":[{"action":"` + strings.Repeat("a", 1025) + `"}]}`:                    400,
		`{"steps":[{"action":"\u0000","mcp":"x"}]}`:                                     422,
		`{"steps":[{"action":"echo","mcp":"bank","params":{` + manyParams(257) + `}}]}`: 400,
	} {
		for _, path := range []string{"/iap/sdk/token", "/iap/process", "/intent"} {
			if ans := a.post(t, path, `{"plan":`+plan+`}`); ans.status != status || ans.record == "" || strings.Contains(ans.body, `"jwt`) {
				t.Errorf("%s %.120s: %s, want %d", path, plan, ans, status)
			}
		}
	}
	for policy, status := range map[string]int{`{"permit":"everything"}`: 422, `[{"priority":1},{"priority":1}]`: 422, `{"rate_limit":1.5}`: 422, `"x"`: 422, `{"deny":["a"],"priority":1.0}`: 422} {
		if ans := a.post(t, "/iap/sdk/token", `{"plan":{"steps":[`+ok+`]},"policy":`+policy+`}`); ans.status != status || ans.text("message") == "" {
			t.Errorf("policy %s: %s", policy, ans)
		}
	}
	for life, status := range map[string]int{"0": 400, "-5": 400, "0.5": 400, "60.0": 200, "1e2": 200, "99999999": 200} {
		if ans := a.post(t, "/iap/sdk/token", `{"plan":{"steps":[`+ok+`]},"expires_in":`+life+`}`); ans.status != status {
			t.Errorf("expires_in %s: %s", life, ans)
		}
	}
}

func manyParams(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"p%d":1`, i)
	}
	return b.String()[1:]
}

// TestArgumentsAreHeldToThePlanAsConfigured.
func TestArgumentsAreHeldToThePlanAsConfigured(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string][]int{"exact": {200, 409, 409, 409, 409}, "subset": {200, 200, 409, 409, 409}, "open": {200, 200, 200, 200, 200}} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			w := open(t, func(c *config.Config) { c.ArmorIQ.Arguments = setting })
			a := w.agent(t, w.admin, "")
			tk := a.token(t, step("bank", "echo", `{"x":1}`), "")
			for i, params := range []string{`{"x":1.0,"_iam_context":{"y":1}}`, `{"x":1,"y":2}`, `{"x":2}`, `{"x":"1"}`, `{}`} {
				if ans := a.post(t, "/invoke", invocation("bank", "echo", params, tk.jwt)); ans.status != want[i] {
					t.Errorf("%s: %s, want %d", params, ans, want[i])
				}
			}
			for _, other := range []string{invocation("bank", "mail", `{"text":"x"}`, tk.jwt), invocation("elsewhere", "echo", `{"x":1}`, tk.jwt)} {
				if ans := a.post(t, "/invoke", other); ans.status != http.StatusConflict && ans.status != http.StatusForbidden {
					t.Errorf("%.100s: %s", other, ans)
				}
			}
			a.post(t, "/invoke", `{"mcp":"bank","action":"echo","params":{"x":1},"arguments":{"x":2},"token":`+tk.object+`}`).refused(t, http.StatusBadRequest, "malformed")
			a.post(t, "/invoke", `{"mcp":"bank","action":"echo","params":{"x":1},"intent_token":{"jwt_token":"`+tk.jwt+`","plan_id":"pln_other"}}`).refused(t, http.StatusBadRequest, "malformed")
		})
	}
}
