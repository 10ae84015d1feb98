package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
	if o := h.run(t, "policy", "check", dir); o.code != 0 || !strings.Contains(o.out, "ready to come into force, digest ") {
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
	if o = h.run(t, "policy", "test", dir, "--cover", "90"); o.code != 1 || !strings.Contains(o.errOut, "80.0 % of the conditions are covered, and 90 are wanted") {
		t.Errorf("%+v", o)
	}
	if o = h.run(t, "policy", "test", dir, "--run", "nowhere"); o.code != 2 {
		t.Errorf("%+v", o)
	}
	if o = h.run(t, "policy", "test", dir, "--run", "("); o.code != 2 || !strings.Contains(o.errOut, "hint: --run takes") {
		t.Errorf("%+v", o)
	}
	o = h.run(t, "policy", "explain", dir, "--run", "outside")
	if want := "tests/mail.txtar: outside: deny\n  permit p.cedar:1 mail does not apply\n    + 2:8  context.plan.inPlan\n    - 2:31  context.input.to like \"*@acme.example\"\n  nearest to permitting it:\n    p.cedar:1 mail\n"; o.code != 0 || o.out != want {
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
