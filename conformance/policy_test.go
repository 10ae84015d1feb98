package conformance_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// bundleFolder is a security team's folder: the default bundle with a file of its own.
func bundleFolder(t testing.TB, own string) string {
	t.Helper()
	top, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(top, "policies", "default"))); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "own.cedar"), own)
	return dir
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), fs.FileMode(0o600)); err != nil {
		t.Fatal(err)
	}
}

// smallSums forbids by an argument of one tool.
const smallSums = `@id("no-big-lists")
forbid (principal, action == Action::"demo___notes_list", resource)
when { context.input has limit && context.input.limit > 10 };
`

func TestASecurityTeamsFolderIsInForce(t *testing.T) {
	t.Parallel()
	dir := bundleFolder(t, smallSums)
	g := start(t, Setup{HCL: fmt.Sprintf("policies {\n  bundle = %q\n}\n", dir)})
	a := g.newAgent(t)
	_, tok := a.planned(t, `{"server":"demo","tool":"notes_list","uses":0,"where":{"limit":{"open":true}}}`)
	list := func(limit int) answer {
		return a.call(t, "demo", "notes_list", fmt.Sprintf(`{"limit":%d}`, limit), tok.Token)
	}
	list(10).ok(t)
	denied := list(11).refused(t, "policy_denied")
	if r := g.find(t, denied.Record); !strings.Contains(r.Raw, `"own.cedar:1 no-big-lists"`) {
		t.Errorf("the record does not name the policy: %s", r.Raw)
	}

	// A bundle that does not compile is refused with its place, and the last good one stays.
	for text, place := range map[string]string{
		strings.Replace(smallSums, "limit >", "limt >", 1): "own.cedar:3", strings.Replace(smallSums, "forbid (", "forbit (", 1): "own.cedar:2:",
		strings.Replace(smallSums, "notes_list", "notes_lists", 1): "own.cedar:2:", strings.Replace(smallSums, "context.input has limit && ", "", 1): "own.cedar:3:",
	} {
		writeFile(t, filepath.Join(dir, "own.cedar"), text)
		if ans := g.control(t, g.Admin(), "POST", "/api/v1/bundles/reload", nil); ans.Status < 400 || !strings.Contains(ans.Body, place) {
			t.Errorf("%s was answered %s, want %s in it", text, ans, place)
		}
		list(11).refused(t, "policy_denied")
		list(10).ok(t)
	}
	writeFile(t, filepath.Join(dir, "own.cedar"), strings.Replace(smallSums, "> 10", "> 15", 1))
	if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the folder's reading on SIGHUP", func() bool { return list(11).Result != nil })
	list(16).refused(t, "policy_denied")
	writeFile(t, filepath.Join(dir, "own.cedar"), strings.Replace(smallSums, "> 10", "> 20", 1))
	g.manage(t, g.Admin(), "POST", "/api/v1/bundles/reload", nil, nil)
	list(11).ok(t)
	list(21).refused(t, "policy_denied")
	g.Stop(t)
	g.Restart(t)
	list(11).ok(t)
	list(21).refused(t, "policy_denied")
}

// TestABundleThatNamesAServerWhichIsDownDoesNotLockTheHouse: what a policy means is not certain while the tools it names
// are unknown, so the tenant is refused everything; but the gateway serves, says so, and heals when the server is back.
func TestABundleThatNamesAServerWhichIsDownDoesNotLockTheHouse(t *testing.T) {
	t.Parallel()
	h := newHostile(t, nil)
	dir := bundleFolder(t, strings.NewReplacer("demo___notes_list", "billing___act", "limit", "n").Replace(smallSums))
	g := start(t, Setup{HCL: fmt.Sprintf("policies {\n  bundle = %q\n}\nserver \"billing\" {\n  tenant = \"demo\"\n  url = %q\n  allow_private = true\n}\n", dir, h.url)})
	work := func(g *Gateway) answer {
		return send(t, "POST", g.URL+"/api/v1/plans", bearer(g.Key(), ""), `{"steps":[`+step("demo", "calculate", expression(1))+`]}`)
	}
	if ans := work(g); ans.Status != 201 {
		t.Fatalf("with the server up: %s", ans)
	}
	g.Stop(t)
	h.stop()
	g.Restart(t)
	if ans := work(g); ans.Status != 201 {
		ans.refused(t, "policy_denied")
		if !strings.Contains(g.Log(), "own.cedar:2:") {
			t.Errorf("the log does not say why the tenant is refused:\n%s", g.Log())
		}
	}
	h.again()
	g.manage(t, g.Admin(), "POST", "/api/v1/servers/billing/refresh", nil, nil)
	if ans := work(g); ans.Status != 201 {
		t.Errorf("with the server back: %s", ans)
	}
}
