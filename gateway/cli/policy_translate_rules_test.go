package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPolicyTranslateRules: JSON of AI Identity and ArmorIQ becomes Cedar, what is left out shows and fails, and what is not
// known is refused whole.
func TestPolicyTranslateRules(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		name, from, text string
		args             []string
		code             int
		out, errOut      string
	}{
		{"AI Identity", "aiidentity", `{"allowed_endpoints":["/v1/*"],"allowed_methods":["GET"]}`, []string{"--tool", "web/fetch", "--agent", "agt_1"}, 0,
			`forbid (principal == Agent::"agt_1", action == Action::"web___fetch", resource)`, ""},
		{"where it comes from", "aiidentity", `{"denied_endpoints":["/v1/admin/*"]}`, nil, 0, "// denied_endpoints\n@id(\"aiidentity:denied_endpoints:/v1/admin/*\")", ""},
		{"a cost", "aiidentity", `{"allowed_endpoints":["*"],"max_cost_usd":5}`, nil, 1, "// LEFT OUT: policy at /max_cost_usd", "left out, because Cedar cannot say it"},
		{"an unknown member", "aiidentity", `{"allowed_endpoints":["*"],"deny":["x"]}`, nil, 2, "", "policy at /deny: not a member that is known"},
		{"no tool", "aiidentity", `{}`, []string{"--tool", "x"}, 2, "", `--tool "x" is not SERVER/TOOL`},
		{"ArmorIQ, of a plan", "armoriq", `{"deny":["mail/*"]}`, nil, 0, "forbid (principal, action in Action::\"work\", resource)", ""},
		{"ArmorIQ, a rate", "armoriq", `{"deny":["mail/*"],"rate_limit":5}`, nil, 1, "// LEFT OUT: at most 5 calls in ", "left out"},
		{"ArmorIQ, nothing", "armoriq", `{}`, nil, 0, "// Nothing is forbidden.", ""},
		{"ArmorIQ, unknown", "armoriq", `{"denied":["mail/*"]}`, nil, 2, "", "as a profile: "},
		{"as JSON", "aiidentity", `{"allowed_endpoints":["*"],"max_cost_usd":5}`, []string{"--json"}, 1, `"left":`, "left out"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "policy.json")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			o := h.run(t, append([]string{"policy", "translate", "--from", c.from, file}, c.args...)...)
			if o.code != c.code || !strings.Contains(o.out, c.out) || !strings.Contains(o.errOut, c.errOut) || c.out == "" && o.out != "" {
				t.Errorf("%+v", o)
			}
		})
	}
}
