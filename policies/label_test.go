package policies_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/policies"
)

func refusal(t *testing.T, files map[string][]byte, defs []policies.ToolDef) string {
	t.Helper()
	b, err := policies.NewBundle(files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = policies.Compile(b, defs); err == nil {
		t.Fatal("it compiles")
	}
	return err.Error()
}

// A forbid that cannot be evaluated denies, which is found out by its label: a permit must not have the same.
func TestNoTwoPoliciesAreNamedAlike(t *testing.T) {
	msg := refusal(t, map[string][]byte{
		"a.cedar":           []byte(`@id("b.cedar:1 c") forbid (principal, action, resource) when { principal.trust + 9223372036854775807 > 0 };`),
		"a.cedar:1 b.cedar": []byte(`@id("c") permit (principal, action, resource);`),
	}, demoTools())
	if !strings.Contains(msg, `could not tell it from another policy (rename the file "a.cedar:1 b.cedar")`) {
		t.Error(msg)
	}
}

// Every suggestion looks at the names of all tools; nobody reads more than some.
func TestABundleFullOfSlipsIsRefusedSoon(t *testing.T) {
	var defs []policies.ToolDef
	var text strings.Builder
	for i := range 1000 {
		defs = append(defs, policies.ToolDef{Server: "s", Name: fmt.Sprint("t", i), InputSchema: fmt.Appendf(nil, `{"type":"object","properties":{"first_%d":{},"second_%d":{}}}`, i, i)})
	}
	for i := range 4000 {
		fmt.Fprintf(&text, "permit (principal, action == Action::\"s___t%d\", resource) when { principal.frist_7 };\n", i%1000)
	}
	began := time.Now()
	msg := refusal(t, map[string][]byte{"p.cedar": []byte(text.String())}, defs)
	if took := time.Since(began); took > 10*time.Second || !strings.Contains(msg, "did you mean first_7") {
		t.Errorf("after %v: %.300s", took, msg)
	}
}

// What x has a.b.c stands for grows with the square of its length, and nothing known is deep.
func TestAttributesInARowAreBounded(t *testing.T) {
	for name, between := range map[string]string{"plain": ".", "blanks": " . \n", "comments": "// x\n.// y\n"} {
		for _, c := range []struct {
			n    int
			want bool
		}{{30, false}, {40, true}, {30_000 / len(between), true}} {
			text := "forbid (principal, action, resource) when { if principal.x then true else principal has " + strings.Repeat("a"+between, c.n) + "a };"
			began := time.Now()
			_, err := policies.CompileOverlay("terms", []byte(text))
			if got := err != nil && strings.Contains(err.Error(), "attributes in a row"); got != c.want || time.Since(began) > 2*time.Second {
				t.Errorf("%s, %d: after %v: %.200v", name, c.n, time.Since(began), err)
			}
		}
	}
	many := "permit (principal, action, resource) when { " + strings.Repeat("if context.net.tls then context.net.tls else ", 50) + "context.net.tls };"
	compile(t, many)
}
