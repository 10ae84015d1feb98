package cli_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPolicySchema: the schema that policies are held against, and the other shape, of tools from each place there is.
func TestPolicySchema(t *testing.T) {
	h := newHouse(t)
	dir := bundleOf(t, smallBundle())
	list := filepath.Join(t.TempDir(), "list.json")
	if err := os.WriteFile(list, []byte(`{"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "sum", "inputSchema": {"type": "object", "properties": {"a": {"type": "integer"}}}}]}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	h.control.HandleFunc("GET /api/v1/servers", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, `{"items": [{"name": "far-away"}]}`) })
	h.control.HandleFunc("GET /api/v1/servers/far-away/tools", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, `{"items": [{"name": "t", "state": "usable", "input_schema": {"type": "object", "properties": {"b": {"type": "boolean"}}}}, {"name": "bad", "state": "unusable", "why": "too\nlarge"}]}`)
	})
	for _, c := range []struct {
		name, out, errOut string
		args              []string
	}{
		{"tests", "action mail___send in call_tool appliesTo {", "", []string{dir}},
		{"a list", "action math___sum in call_tool", "", []string{dir, "--tools", list, "--server", "math"}},
		{"the gateway", `action "far-away___t" in call_tool`, "left out: far-away/bad: too large\n", []string{dir, "--api"}},
		{"JSON", `"mail___send": {`, "", []string{dir, "--format", "json"}},
		{"the other shape", "type sendInput = {\n    to: String\n  };", "", []string{dir, "--compatible"}},
		{"a server with a dash", "namespace far_away {", "left out", []string{dir, "--compatible", "--api"}},
		{"a list in the other shape", "  action \"sum\" in [Action::\"call_tool\"]", "", []string{dir, "--compatible", "--tools", list, "--server", "math"}},
		{"the other shape as JSON", `"sendInput": {`, "", []string{dir, "--compatible", "--format", "json"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := h.run(t, append([]string{"policy", "schema"}, c.args...)...)
			if o.code != 0 || !strings.Contains(o.out, c.out) || !strings.Contains(o.errOut, c.errOut) || c.errOut == "" && o.errOut != "" {
				t.Errorf("%+v", o)
			}
		})
	}
	h.fails(t, 2, "does not name its server", "policy", "schema", dir, "--tools", list)
	h.fails(t, 2, "say two things", "policy", "schema", dir, "--tools", list, "--api")
	h.fails(t, 2, "no such file", "policy", "schema", dir, "--tools", list+"x")
	none := filepath.Join(dir, "p.json")
	if err := os.WriteFile(none, []byte(`{"tools": 5}`), 0o600); err != nil {
		t.Fatal(err)
	}
	h.fails(t, 2, "holds no list of tools", "policy", "schema", dir, "--tools", none, "--server", "a")
	odd := filepath.Join(dir, "odd.json")
	if err := os.WriteFile(odd, []byte(`[{"server": "a", "name": "get-sum"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	h.fails(t, 1, "is no identifier in Cedar", "policy", "schema", dir, "--tools", odd, "--compatible")
	h.fails(t, 2, "tools of 0 servers", "policy", "schema", dir, "--compatible", "--server", "nobody")
}

// TestPolicyTranslate: policies of another gateway come out laid out, with notes for people; what cannot be said here does
// not come out at all.
func TestPolicyTranslate(t *testing.T) {
	h := newHouse(t)
	h.stdin = `permit(principal == Client::"ada", action == Action::"call_tool", resource == Tool::"pay") when { principal has claim_department && principal.claim_department == "finance" && resource.arg_amount < 5 };`
	args := []string{"policy", "translate", "--from", "toolhive", "-", "--server", "shop", "--client", `ada=User::"usr_1"`, "--group", `department=finance=Team::"money"`}
	o := h.run(t, args...)
	for _, want := range []string{`principal == User::"usr_1"`, `action == Action::"shop___pay"`, `principal in Team::"money"`, `context.input.amount < 5`} {
		if o.code != 0 || !strings.Contains(o.out, want) {
			t.Errorf("no %q: %+v", want, o)
		}
	}
	if !strings.Contains(o.errOut, "note: ") || strings.Contains(o.out, "note: ") {
		t.Errorf("%+v", o)
	}
	if o := h.run(t, append(args, "--json")...); o.code != 0 || !strings.Contains(o.out, `"notes": [`) {
		t.Errorf("%+v", o)
	}
	h.fails(t, 2, "is not of its form", append(args, "--client", "bob")...)
	h.fails(t, 2, "two things", append(args, "--client", `ada=User::"usr_2"`)...)
	o = h.run(t, "policy", "translate", "--from", "toolhive", "-")
	if o.code == 0 || o.out != "" || !strings.Contains(o.errOut, ":1:") || !strings.Contains(o.errOut, "--client") {
		t.Errorf("%+v", o)
	}
}
