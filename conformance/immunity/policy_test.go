package immunity_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
)

// TestPeers05AForbidSeesWhatIsDeepInTheArgumentsOrIsRefused: ToolHive gives its policies scalars alone, so that a forbid
// over a nested argument never fires, and turns numbers into decimals, so that one over a number refuses every tool;
// agentgateway took rules over arguments and did not enforce them (3092, 3127). Here both fire, and a policy that reads
// what is not there is refused when it is handed in.
func TestPeers05AForbidSeesWhatIsDeepInTheArgumentsOrIsRefused(t *testing.T) {
	t.Parallel()
	g := start(t, "")
	r := &recorder{name: "db", tools: `[{"name":"read","inputSchema":{"type":"object","properties":{"n":{"type":"integer"},"filter":{"type":"object","properties":{"table":{"type":"string"}}}}}},{"name":"other","inputSchema":{"type":"object"}}]`}
	g.put(t, r)
	var now struct {
		Number  uint64
		Content map[string]string
	}
	g.manage(t, "GET", "/api/v1/policies/revisions/1", nil, &now)
	push := func(policy string) answer {
		files := map[string]string{"deep.cedar": policy}
		maps.Copy(files, now.Content)
		return g.ask(t, g.admin, "POST", "/api/v1/policies/revisions", map[string]any{"files": files})
	}
	const forbid = `@id("%s") forbid (principal, action == Action::"db___read", resource) when { %s };` + "\n"
	for _, unusable := range []string{"context.input.nothing == 1", `context.input has filter && context.input.filter.tabel == "secrets"`, `context.input has n && context.input.n > "a"`, "context.input.n > 1000", "context.nothing"} {
		if a := push(fmt.Sprintf(forbid, "deep", unusable)); a.status < 400 || a.status > 499 || !strings.Contains(a.body, "deep.cedar:1") {
			t.Errorf("%s: %s", unusable, a)
		}
	}
	good := push(fmt.Sprintf(forbid, "deep", `context.input has filter && context.input.filter has table && context.input.filter.table == "secrets"`) + fmt.Sprintf(forbid, "much", "context.input has n && context.input.n > 1000"))
	if err := json.Unmarshal([]byte(good.body), &now); err != nil || good.status != 201 {
		t.Fatalf("%v %s", err, good)
	}
	g.manage(t, "POST", fmt.Sprintf("/api/v1/policies/revisions/%d/activate", now.Number), map[string]any{"mode": "enforce"}, nil)
	a := g.agent(t)
	token := a.planned(t, anything("db", "read"), anything("db", "other"))
	for args, refused := range map[string]bool{
		`{"n":5,"filter":{"table":"public"}}`: false, `{}`: false, `{"n":1000}`: false,
		`{"n":5000,"filter":{"table":"public"}}`: true, `{"n":5,"filter":{"table":"secrets"}}`: true, `{"filter":{"table":"\u0073ecrets"}}`: true, `{"n":1001}`: true,
	} {
		ans := a.call(t, "db", "read", args, token)
		if refused && ans.code() != "policy_denied" || !refused && ans.result() == "" {
			t.Errorf("%s: %s", args, ans)
		}
	}
	if ans := a.call(t, "db", "other", `{"n":5000}`, token); ans.result() == "" {
		t.Errorf("another tool: %s", ans)
	}
	for _, f := range r.calls() {
		if strings.Contains(f.body, "ecrets") || strings.Contains(f.body, "1001") || f.tool == "read" && strings.Contains(f.body, "5000") {
			t.Errorf("it reached the server: %s", f.body)
		}
	}
}
