package armoriq_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/armoriq"
)

// fuzz holds whatever is translated to the promise: it compiles, it can be evaluated, it is the same again, and a refusal
// is a Problem.
func fuzz(f *testing.F, form func([]byte) (armoriq.Terms, error), seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		terms, err := form(text)
		if err != nil {
			var p armoriq.Problem
			if !errors.As(err, &p) || len(terms.Cedar) > 0 {
				t.Fatalf("%v with %q", err, terms.Cedar)
			}
			return
		}
		again, err := form(text)
		if err != nil || string(again.Cedar) != string(terms.Cedar) || !slices.Equal(again.Lines, terms.Lines) {
			t.Fatalf("not the same again: %v\n%s\n%s", err, terms.Cedar, again.Cedar)
		}
		if len(terms.Cedar) == 0 {
			return
		}
		o, err := policies.CompileOverlay("terms", terms.Cedar)
		if err != nil {
			t.Fatalf("%v\n%s", err, terms.Cedar)
		}
		for _, args := range []string{`{}`, `{"command":"ls","file_path":"a","path":null,"url":"https://a.com/","amount":5,"value":"x"}`, `{"command":1,"path":[1],"url":{},"amount":"5"}`} {
			judge(t, o, call("mail", "send", args))
		}
	})
}

func FuzzPolicy(f *testing.F) {
	fuzz(f, armoriq.Policy, `null`, `{"global":{"metadata":{}}}`,
		`{"allow":["a/*","b.c","d__e","*"],"deny":["x/y*z","\"\\"],"allowed_tools":["q"],"rate_limit":100,"ip_whitelist":["10.0.0.0/8","::1"],
		"time_restrictions":{"allowed_hours":[9,10,17],"allowed_days":["Monday","sun"]},"priority":50}`,
		`[{"name":"a","priority":1},{"priority":2,"denied_tools":["mcp__a__b"]}]`,
		`{"statements":[`+about("a", "forbid", `"eq":"Bash"`, cond("bash.program", "in", `["rm"]`))+`]}`)
}

func FuzzProfile(f *testing.F) {
	fuzz(f, armoriq.Profile, `[]`,
		`[{"policyName":"p","memberRule":{"allowedTools":["pay","a/b*"],"amountThreshold":{"maxPerTransaction":10.5,"requireApprovalAbove":0.1}},"defaultEnforcementAction":"hold"}]`,
		profile("deny", about("a", "permit", `"in":["Bash","mcp__a__b"]`, cond("bash.raw", "not_matches", `"a.*b|c\\."`)),
			about("b", "require_approval", `"eq":"*"`, cond("file.path", "starts_with", `"/x*"`)+","+cond("tool.name", "starts_with", `"mcp__a__"`))),
		profile("hold", about("a", "forbid", `"eq":"*"`, cond("network.host", "not_in", `["a.com","[::1]"]`)+","+cond("bash.hasWriteRedirection", "eq", `true`))))
}
