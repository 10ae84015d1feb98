package cli_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/cli"
	"github.com/gatewright/gatewright/policies/suite"
)

// bundleOf writes a bundle to a folder.
func bundleOf(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func smallBundle() map[string]string {
	return map[string]string{
		"p.cedar":          "@id(\"mail\") permit (principal, action == Action::\"mail___send\", resource)\nwhen { context.plan.inPlan && context.input.to like \"*@acme.example\" };\n",
		"tests/tools.json": `[{"server": "mail", "name": "send", "inputSchema": {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}}]`,
		"tests/mail.txtar": "-- principal ada --\n{}\n-- case inside --\n{\"principal\": \"ada\", \"server\": \"mail\", \"tool\": \"send\", \"args\": {\"to\": \"x@acme.example\"}, \"plan\": {}, \"want\": \"allow\"}\n" +
			"-- case outside --\n{\"principal\": \"ada\", \"server\": \"mail\", \"tool\": \"send\", \"args\": {\"to\": \"x@y.example\"}, \"plan\": {}, \"want\": \"deny\"}\n",
	}
}

func TestTheDefaultBundleIsTestedWhole(t *testing.T) {
	h := newHouse(t)
	dir := filepath.Join("..", "..", "policies", "default")
	if o := h.run(t, "policy", "test", dir, "--cover", "100"); o.code != 0 || !strings.Contains(o.out, " 0 failed, in ") || !strings.Contains(o.out, "100.0 % of the conditions covered\n") {
		t.Errorf("%+v", o)
	}
	if o := h.run(t, "policy", "fmt", "--check", dir); o.code != 0 {
		t.Errorf("%+v", o)
	}
	if o := h.run(t, "policy", "check", dir, "--strict"); o.code != 0 || !strings.Contains(o.out, "ready to come into force, digest ") {
		t.Errorf("%+v", o)
	}
}

func TestPoliciesAreTestedWithoutAGateway(t *testing.T) {
	h, files := newHouse(t), smallBundle()
	dir := bundleOf(t, files)
	junit, sarif := filepath.Join(dir, "..", "junit.xml"), filepath.Join(dir, "..", "sarif.json")
	o := h.run(t, "policy", "test", dir, "--missing", "-v", "--junit", junit, "--sarif", sarif)
	if o.code != 0 || !strings.Contains(o.out, "ok   tests/mail.txtar: inside\n") || !strings.Contains(o.out, dir+"/p.cedar:2:8: policy mail: this never fails: context.plan.inPlan\n2 cases, 0 failed, in ") {
		t.Errorf("%+v", o)
	}
	for file, word := range map[string]string{junit: `<testsuites tests="2" failures="0"`, sarif: "p.cedar"} {
		if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), word) {
			t.Error(file, err, string(b))
		}
	}
	if o = h.run(t, "policy", "test", dir, "--cover", "90"); o.code != 1 || !strings.Contains(o.errOut, "83.3 % of the conditions are covered, and 90 are wanted") {
		t.Errorf("%+v", o)
	}
	if o = h.run(t, "policy", "test", dir, "--run", "nowhere"); o.code != 2 {
		t.Errorf("%+v", o)
	}
	if o = h.run(t, "policy", "test", dir, "--run", "("); o.code != 2 || !strings.Contains(o.errOut, "hint: --run takes") {
		t.Errorf("%+v", o)
	}
	o = h.run(t, "policy", "explain", dir, "--run", "outside")
	if want := "tests/mail.txtar: outside: deny\n  permit p.cedar:1 mail does not apply\n    + 2:8  context.plan.inPlan\n    - 2:31  context.input.to like \"*@acme.example\"\n  nearest to permitting it:\n    p.cedar:1 mail\n" + suite.Legend + "\n"; o.code != 0 || o.out != want {
		t.Errorf("%+v", o)
	}
	var v struct {
		Failed int
		Cases  []struct {
			Policies []struct{ Conditions []struct{ Value string } }
		}
	}
	if o = h.run(t, "policy", "test", dir, "--json"); o.code != 0 || json.Unmarshal([]byte(o.out), &v) != nil || len(v.Cases) != 2 || v.Cases[1].Policies[0].Conditions[1].Value != "fails" {
		t.Errorf("%+v", o)
	}
	files["tests/mail.txtar"] = strings.Replace(files["tests/mail.txtar"], `"want": "deny"`, `"want": "allow"`, 1)
	o = h.run(t, "policy", "test", bundleOf(t, files))
	if o.code != 1 || !strings.Contains(o.out, "/tests/mail.txtar:5: outside\n     want allow, got deny: no policy permits it; the nearest is p.cedar:1 mail\n     permit p.cedar:1 mail does not apply\n") || !strings.Contains(o.errOut, "1 of 2 cases failed") {
		t.Errorf("%+v", o)
	}
}

func TestABundleThatCannotComeIntoForceIsRefused(t *testing.T) {
	h, files := newHouse(t), smallBundle()
	files["p.cedar"] = strings.Replace(files["p.cedar"], "context.input.to", "context.input.too", 1)
	dir := bundleOf(t, files)
	for _, verb := range []string{"check", "test", "explain"} {
		o := h.run(t, "policy", verb, dir)
		if o.code != 1 || !strings.Contains(o.errOut, "p.cedar:2:") || !strings.Contains(o.errOut, "too") {
			t.Errorf("%s: %+v", verb, o)
		}
	}
	sarif := filepath.Join(t.TempDir(), "s.json")
	if o := h.run(t, "policy", "check", dir, "--sarif", sarif); o.code != 1 {
		t.Errorf("%+v", o)
	}
	if b, err := os.ReadFile(sarif); err != nil || !strings.Contains(string(b), `"policy-invalid"`) {
		t.Error(err, string(b))
	}
	for _, args := range [][]string{{"check", filepath.Join(dir, "nowhere")}, {"test", t.TempDir()}, {"check", filepath.Join(dir, "p.cedar")}} {
		if o := h.run(t, append([]string{"policy"}, args...)...); o.code != 2 || !strings.Contains(o.errOut, "hint: a bundle is a folder") {
			t.Errorf("%v: %+v", args, o)
		}
	}
	if o := h.run(t, "policy", "test", bundleOf(t, map[string]string{"p.cedar": "permit (principal, action, resource);"})); o.code != 1 || !strings.Contains(o.errOut, "hint: a file begins with") {
		t.Errorf("%+v", o)
	}
}

func TestFlagsThatSayNothingAreRefused(t *testing.T) {
	h, dir := newHouse(t), bundleOf(t, smallBundle())
	for _, args := range [][]string{
		{"test", dir, "--min-coverage", "NaN"}, {"test", dir, "--min-coverage", "900"}, {"test", dir, "--min-coverage", "-1"},
		{"test", dir, "--min-coverage", "50", "--run", "in"}, {"test", dir, "--watch", "--run", "("}, {"test", dir, "--watch", "--cover", "101"},
		{"explain", dir, "--run", "in", "--who", "ada"}, {"explain", dir, "--who", "{\"Teams\": []}"}, {"explain", dir, "--who", "ada", "--args", "{"},
		{"explain", dir, "--who", "ada", "--now", "noon"}, {"explain", dir, "--case", filepath.Join(dir, "none")}, {"explain", dir, "--who", "ada", "--plan", "[]"},
		{"fmt", "-w", "-"}, {"fmt", filepath.Join(dir, "none")}, {"fmt", filepath.Join(dir, "tests")}, {"fmt", "-w", "-d", dir},
	} {
		if o := h.run(t, append([]string{"policy"}, args...)...); o.code != 2 || !strings.Contains(o.errOut, "hint: ") {
			t.Errorf("%q: %+v", args, o)
		}
	}
	if o := h.run(t, "policy", "explain", bundleOf(t, map[string]string{"p.cedar": "permit (principal, action, resource);"})); o.code != 1 || !strings.Contains(o.errOut, "hint: a file begins with") {
		t.Errorf("%+v", o)
	}
}

func TestReportsAreWrittenOfARunThatCouldNotBe(t *testing.T) {
	h, files := newHouse(t), smallBundle()
	files["tests/mail.txtar"] = strings.ReplaceAll(files["tests/mail.txtar"], `"want"`, `"wanted"`)
	dir, out := bundleOf(t, files), t.TempDir()
	junit, sarif := filepath.Join(out, "j.xml"), filepath.Join(out, "s.json")
	o := h.run(t, "policy", "test", dir, "--junit", junit, "--sarif", sarif, "--json")
	if o.code != 1 || strings.Count(o.errOut, "tests/mail.txtar:") != 2 || strings.Count(o.errOut, "\n") != 2 || strings.Count(o.out, `"policy-test"`) != 2 {
		t.Errorf("%+v", o)
	}
	for file, word := range map[string]string{junit: `errors="2"`, sarif: `"startLine": 5`} {
		if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), word) {
			t.Error(file, err, string(b))
		}
	}
	if o = h.run(t, "policy", "check", dir, "--json"); o.code != 1 || strings.Count(o.out, `"policy-test"`) != 2 {
		t.Errorf("%+v", o)
	}
}

func TestWhatAPolicySaysMovesNoCursor(t *testing.T) {
	h := newHouse(t)
	files := smallBundle()
	files["p.cedar"] = "@id(\"a\\u{1b}[2Jb\\nok   x\") permit (principal, action == Action::\"mail___send\", resource) when { context.input.too == \"x\" };"
	dir := bundleOf(t, files)
	if o := h.run(t, "policy", "check", dir); o.code != 1 || strings.Contains(o.errOut, "\x1b") || !strings.Contains(o.errOut, "too") {
		t.Errorf("%q", o.errOut)
	}
	files["p.cedar"] = strings.Replace(files["p.cedar"], "too", "to", 1)
	for _, verb := range []string{"check", "test", "explain"} {
		o := h.run(t, "policy", verb, bundleOf(t, files))
		if strings.Contains(o.out+o.errOut, "\x1b") || strings.Contains(o.out, "\nok   x") || !strings.Contains(o.out, `a\u001b[2Jb`) {
			t.Errorf("%s: %q", verb, o.out)
		}
	}
}

func TestCheckWarnsOfWhatWasHardlyMeant(t *testing.T) {
	h := newHouse(t)
	dir := bundleOf(t, map[string]string{"p.cedar": "permit (principal, action, resource)\nwhen { context.plan.inPlan && false };\n"})
	sarif := filepath.Join(t.TempDir(), "s.json")
	o := h.run(t, "policy", "check", dir, "--sarif", sarif)
	if o.code != 0 || !strings.Contains(o.out, dir+"/p.cedar:2:31: warning: policy p.cedar#0: it can never apply: false is never so here (mend the condition") || !strings.Contains(o.out, "[unreachable]\n") || !strings.Contains(o.out, "1 policies, 0 tools, 2 warnings: ready") {
		t.Errorf("%+v", o)
	}
	if b, err := os.ReadFile(sarif); err != nil || !strings.Contains(string(b), `"id": "unreachable"`) || !strings.Contains(string(b), "A policy that can never apply") {
		t.Error(err, string(b))
	}
	if o = h.run(t, "policy", "check", dir, "--strict"); o.code != 1 || !strings.Contains(o.errOut, "2 warnings\nhint: ") {
		t.Errorf("%+v", o)
	}
	var v struct {
		Findings []struct{ Rule, Level string }
	}
	if o = h.run(t, "policy", "check", dir, "--json", "--strict"); o.code != 1 || json.Unmarshal([]byte(o.out), &v) != nil || len(v.Findings) != 3 {
		t.Errorf("%+v", o)
	}
}

func TestPoliciesAreLaidOut(t *testing.T) {
	h := newHouse(t)
	const wild, tidy = "permit(principal,action,resource) // all\nwhen{true};", "permit (principal, action, resource) // all\nwhen { true };\n"
	dir := bundleOf(t, map[string]string{"a.cedar": wild, "sub/b.cedar": tidy, ".git/c.cedar": "?", "d.txt": "?"})
	file := filepath.Join(dir, "a.cedar")
	if o := h.run(t, "policy", "fmt", "--check", dir); o.code != 1 || o.out != file+"\n" || !strings.Contains(o.errOut, "1 of 2 files are laid out otherwise\nhint: ") {
		t.Errorf("%+v", o)
	}
	if o := h.run(t, "policy", "fmt", "-d", dir); o.code != 0 || !strings.Contains(o.out, "@@ -1,2 +1,2 @@\n-permit(principal,action,resource) // all\n-when{true};\n+permit (principal") {
		t.Errorf("%+v", o)
	}
	if o := h.run(t, "policy", "fmt", file); o.code != 0 || o.out != tidy {
		t.Errorf("%+v", o)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != wild {
		t.Error("it was written:", err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if o := h.run(t, "policy", "fmt", "-w", dir); o.code != 0 || o.out != "" {
		t.Errorf("%+v", o)
	}
	info, err := os.Stat(file)
	if b, fault := os.ReadFile(file); err != nil || fault != nil || string(b) != tidy || info.Mode().Perm() != 0o640 {
		t.Error(err, fault, string(b), info.Mode())
	}
	if o := h.run(t, "policy", "fmt", "--check", dir); o.code != 0 || o.out != "" {
		t.Errorf("%+v", o)
	}
	if err := os.WriteFile(file, []byte("permit (principal, /* x */ action, resource);\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if o := h.run(t, "policy", "fmt", "-w", dir); o.code != 1 || !strings.Contains(o.errOut, file+":1:20: Cedar has no comments between") {
		t.Errorf("%+v", o)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 4 {
		t.Error(err, left)
	}
}

func TestACallThatNobodyMadeIsExplained(t *testing.T) {
	h, dir := newHouse(t), bundleOf(t, smallBundle())
	want := "deny\n  permit p.cedar:1 mail does not apply\n    - 2:8  context.plan.inPlan\n   (-) 2:31  context.input.to like \"*@acme.example\"\n"
	if o := h.run(t, "policy", "explain", dir, "--who", "ada", "--server", "mail", "--tool", "send", "--args", `{"to": "x@y.example"}`); o.code != 0 || !strings.HasPrefix(o.out, want) {
		t.Errorf("%+v", o)
	}
	file := filepath.Join(t.TempDir(), "case.json")
	if err := os.WriteFile(file, []byte(`{"principal": "ada", "server": "mail", "tool": "send", "args": {"to": "x@acme.example"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if o := h.run(t, "policy", "explain", dir, "--case", file, "--plan", "{}"); o.code != 0 || !strings.HasPrefix(o.out, "allow\n  permit p.cedar:1 mail applies\n") {
		t.Errorf("%+v", o)
	}
	if o := h.run(t, "policy", "explain", dir, "--case", file, "--who", `{"status": "suspended"}`, "--json"); o.code != 0 || !strings.Contains(o.out, `"got": "deny"`) {
		t.Errorf("%+v", o)
	}
	for _, args := range [][]string{{"--who", "eve"}, {"--who", "ada", "--tool", "none"}, {"--who", "ada", "--action", "none"}} {
		if o := h.run(t, append([]string{"policy", "explain", dir, "--server", "mail", "--tool", "send"}, args...)...); o.code != 1 || !strings.Contains(o.errOut, "(") {
			t.Errorf("%q: %+v", args, o)
		}
	}
}

// A report inside the bundle is no change of the bundle.
func TestWatchingEndsAndDoesNotChaseItself(t *testing.T) {
	dir := bundleOf(t, smallBundle())
	ctx, stop := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer stop()
	var out, errOut strings.Builder
	junit := filepath.Join(dir, "junit.xml")
	code := cli.Run(ctx, []string{"policy", "test", dir, "--watch", "--junit", junit}, strings.NewReader(""), &out, &errOut, cli.Runner{Getenv: func(string) string { return "" }})
	if code != 0 || strings.Count(out.String(), "waiting for changes") != 1 {
		t.Errorf("%d %q %q", code, out.String(), errOut.String())
	}
}
