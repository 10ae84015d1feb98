package policies_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/policies"
)

// longPolicy is one with as many conjuncts as fit.
func longPolicy(term string) string {
	terms := strings.Repeat(term+" && ", (63<<10)/(len(term)+4))
	return `permit (principal, action in Action::"call_tool", resource) when { ` + terms + "true };\n"
}

// unlikeTools are tools of which no two have the same arguments.
func unlikeTools(n int) (tools []policies.ToolDef) {
	for i := range n {
		tools = append(tools, policies.ToolDef{Server: "s", Name: fmt.Sprint("t", i), InputSchema: fmt.Appendf(nil, `{"type":"object","properties":{"p%d":{"type":"string"}}}`, i)})
	}
	return tools
}

// guardedTool has many optional arguments; the policy asks for each.
func guardedTool() (string, []policies.ToolDef) {
	var guards, fields []string
	for i := range 250 {
		guards = append(guards, fmt.Sprintf("context.input has p%d", i))
		fields = append(fields, fmt.Sprintf(`"p%d":{"type":"string"}`, i))
	}
	return `permit (principal, action in Action::"call_tool", resource) when { ` + strings.Join(guards, " && ") + " };\n",
		[]policies.ToolDef{{Server: "s", Name: "t", InputSchema: []byte(`{"type":"object","properties":{` + strings.Join(fields, ",") + `}}`)}}
}

func TestTheTimeOfACompilationIsBounded(t *testing.T) {
	guards, guarded := guardedTool()
	for _, c := range []struct {
		name, text string
		tools      []policies.ToolDef
		refused    bool
	}{
		{"a long chain that reads the context", strings.Repeat(longPolicy("context.trust > 1"), 4), manyTools(1_000), false},
		{"a long chain of guards", strings.Repeat(longPolicy("context.input has amount"), 4), manyTools(1_000), false},
		{"conditions on actions", strings.Repeat(`forbid (principal, action, resource) when { principal.trust > 3 && action in Action::"mcp" };`, 100), unlikeTools(1_000), false},
		{"many policies over many tools", manyPolicies(10_000, true), manyTools(1_000), false},
		{"whole arguments of tools that differ", strings.Repeat(longPolicy("context.input == context.input"), 8), unlikeTools(1_000), true},
		{"many guards", strings.Repeat(guards, 500), guarded, true},
	} {
		start := time.Now()
		before := cpuNow()
		_, err := policies.Compile(bundle(t, c.text), c.tools)
		if took := time.Duration(cpuNow() - before); took > 4*time.Second {
			t.Errorf("%s: took %v (%v)", c.name, took, time.Since(start))
		}
		var problems policies.Problems
		if errors.As(err, &problems) != c.refused || err != nil && !c.refused {
			t.Errorf("%s: %.300v", c.name, err)
		}
		if c.refused && (len(problems) != 1 || problems[0].Line == 0 || problems[0].Hint == "" || !strings.Contains(problems[0].Msg, "takes too long to check")) {
			t.Errorf("%s: %+v", c.name, problems)
		}
	}
}

func TestTheSearchForProblemsEnds(t *testing.T) {
	_, err := policies.Compile(bundle(t, strings.Repeat("permit (principal, action, resource) when { principal.nope };\n", 5_000)), nil)
	var problems policies.Problems
	if !errors.As(err, &problems) || len(problems) != 101 || !strings.Contains(problems[100].Msg, "and more") {
		t.Errorf("%d problems: %.200v", len(problems), err)
	}
	chain := "permit (principal, action, resource) when { " + strings.Repeat(`context.onBehalfOf in Team::"x" || `, 1_000) + "true };\n"
	if _, err = policies.Compile(bundle(t, chain), nil); !errors.As(err, &problems) || len(problems) != 101 {
		t.Errorf("%d problems: %.200v", len(problems), err)
	}
}

func TestABundleHasAtMostSoManyPolicies(t *testing.T) {
	files := map[string][]byte{}
	for i := range 6 {
		files[fmt.Sprintf("p%d.cedar", i)] = []byte(strings.Repeat("permit(principal,action,resource);\n", 10_000))
	}
	b, err := policies.NewBundle(files)
	if err != nil {
		t.Fatal(err)
	}
	_, err = policies.Compile(b, nil)
	var problems policies.Problems
	if !errors.As(err, &problems) || len(problems) != 1 || problems[0].File != "p5.cedar" || problems[0].Hint == "" || !strings.Contains(problems[0].Msg, "more than 50000 policies") {
		t.Errorf("%d: %.300v", len(problems), err)
	}
}

// TestAConditionOnAnActionIsCheckedForTheToolItNames: the others stand for each other, the named one for itself.
func TestAConditionOnAnActionIsCheckedForTheToolItNames(t *testing.T) {
	for text, refused := range map[string]bool{
		`permit (principal, action in Action::"call_tool", resource) when { action == Action::"mail___send" && context.input.to == "x" };`:                                true,
		`permit (principal, action in Action::"call_tool", resource) when { action == Action::"mail___send" && context.input.table == "x" };`:                             true,
		`permit (principal, action in Action::"call_tool", resource) when { action != Action::"mail___send" && context.input.to == "x" };`:                                true,
		`permit (principal, action == Action::"mail___send", resource) when { action == Action::"mail___send" && context.input.to == "x" };`:                              false,
		`permit (principal, action, resource) when { [Action::"mail___send"].contains(action) && context has input && context.input has to && context.input.to == "x" };`: false,
		`permit (principal, action, resource) when { action == Action::"mail___sent" };`:                                                                                  true,
	} {
		if _, err := policies.Compile(bundle(t, text), demoTools()); (err != nil) != refused {
			t.Errorf("%s: %v", text, err)
		}
	}
}
