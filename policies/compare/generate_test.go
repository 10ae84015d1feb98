package compare_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/compare"
)

func generate(t testing.TB, old, next string, n int, seed uint64) *compare.Report {
	t.Helper()
	r, err := compare.Generate(t.Context(), engine(t, old), engine(t, next), compare.Requests{N: n, Seed: seed, Tenant: "acme", Tools: tools()}, compare.Options{Examples: 2})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Each change moves one constant, or one scope, by the least that there is.
func TestMadeUpRequestsFindTheLeastDifference(t *testing.T) {
	on := func(condition string) string {
		return all + `@id("x") forbid (principal, action == Action::"sql___query", resource) when { ` + condition + ` };`
	}
	mail := func(condition string) string {
		return all + `@id("x") forbid (principal, action == Action::"mail___send", resource) when { ` + condition + ` };`
	}
	for _, c := range [][2]string{
		{on(`context.input has limit && context.input.limit > 1000`), on(`context.input has limit && context.input.limit >= 1000`)},
		{on(`context.input.table == "salaries"`), on(`context.input.table == "salarie"`)},
		{on(`context.input.table like "*salaries*"`), on(`context.input.table like "salaries*"`)},
		{on(`context.trust < 300`), on(`context.trust <= 300`)},
		{on(`context.filters.labels.contains("pii")`), on(`context.filters.labels.contains("pii") && principal.labels.contains("dba")`)},
		{on(`context.plan.inPlan && context.plan.step == 7`), on(`context.plan.inPlan && context.plan.step == 8`)},
		{on(`context.now > datetime("2026-03-01")`), on(`context.now >= datetime("2026-03-01")`)},
		{on(`context.net.ip.isInRange(ip("10.1.0.0/16"))`), on(`context.net.ip.isInRange(ip("10.1.0.0/17"))`)},
		{on(`context.session.calls > 90`), on(`context.session.calls > 91`)},
		{on(`!context.net.tls`), on(`false`)},
		{on(`principal in Team::"dba"`), on(`principal in Team::"ops"`)},
		{on(`principal is User`), on(`false`)},
		{mail(`context.input has price && context.input.price.greaterThan(decimal("9.99"))`), mail(`context.input has price && context.input.price.greaterThanOrEqual(decimal("9.99"))`)},
		{mail(`context.input has meta && context.input.meta has dept && context.input.meta.dept == "hr"`), mail(`false`)},
		{all, all + `forbid (principal == Agent::"agt_7", action, resource == Tool::"mail/send");`},
		{all, all + `forbid (principal, action == Action::"list_tools", resource);`},
		{all, all + `@hold("why") forbid (principal, action == Action::"sql___query", resource) unless { context.approval.approved };`},
	} {
		if r := generate(t, c[0], c[1], 2500, 1); r.Flips == 0 || r.Requests != 2500 || len(r.Groups[0].Examples) == 0 {
			t.Errorf("no difference is found between\n%s\n%s", strings.TrimPrefix(c[0], all), strings.TrimPrefix(c[1], all))
		}
	}
}

// What a schema leaves open, what no tool is, and what an answer asks for.
func TestMadeUpRequestsFindDifferencesOffTheBeatenPath(t *testing.T) {
	defs := append(tools(), policies.ToolDef{Server: "misc", Name: "do", InputSchema: []byte(`{"type":"object","properties":{"any":{},
		"u":{"anyOf":[{"type":"integer"},{"type":"string"}]},"n":{"anyOf":[{"type":"integer"},{"type":"null"}]},"r":{"$ref":"#/$defs/x"}},"$defs":{"x":{"type":"integer"}}}`)})
	on := func(condition string) string {
		return all + `@id("x") forbid (principal, action == Action::"misc___do", resource) when { ` + condition + ` };`
	}
	hold := all + `@id("x") @hold("w") %s forbid (principal, action == Action::"misc___do", resource);`
	for _, c := range [][2]string{
		{on(`context.input has any && context.input.any has long && context.input.any.long > 5`), on(`context.input has any && context.input.any has long && context.input.any.long > 6`)},
		{on(`context.input has any && context.input.any.kind == "object"`), all},
		{on(`context.input has any && context.input.any has bool && context.input.any.bool`), all},
		{on(`context.input has u && context.input.u has long && context.input.u.long > 5`), on(`context.input has u && context.input.u has long && context.input.u.long > 6`)},
		{on(`context.input has n && context.input.n > 5`), on(`context.input has n && context.input.n > 6`)},
		{on(`context.input has r && context.input.r > 5`), on(`context.input has r && context.input.r > 6`)},
		{on(`context.undeclared.names.contains("force")`), all},
		{on(`context.undeclared.text like "*force*"`), all},
		{on(`context.plan.bundleAtIssue == "abc"`), all},
		{on(`context.plan.id == "pln_1"`), all},
		{on(`context.now.toTime() < duration("17h")`), on(`context.now.toTime() <= duration("17h")`)},
		{all, all + `forbid (principal, action == Action::"invoke_model", resource);`},
		{all, all + `forbid (principal, action == Action::"invoke_model", resource == Model::"openai/gpt");`},
		{all, all + `forbid (principal, action in Action::"planning", resource);`},
		{all, all + `forbid (principal, action == Action::"read_resource", resource) when { resource.scheme == "file" };`},
		{fmt.Sprintf(hold, `@approvals("2")`), fmt.Sprintf(hold, "")},
		{fmt.Sprintf(hold, `@approver("admin")`), fmt.Sprintf(hold, `@approver("manager")`)},
		{strings.Replace(fmt.Sprintf(hold, `@rate("10/1h")`), `@hold("w")`, "", 1), strings.Replace(fmt.Sprintf(hold, `@rate("11/1h")`), `@hold("w")`, "", 1)},
	} {
		old, next := engineOf(t, c[0], defs), engineOf(t, c[1], defs)
		r, err := compare.Generate(t.Context(), old, next, compare.Requests{N: 3000, Seed: 1, Tenant: "acme", Tools: defs}, compare.Options{Examples: 1})
		if err != nil || r.Flips == 0 || r.Groups[0].Policy == "" {
			t.Errorf("%v: no difference is found between\n%s\n%s", err, strings.TrimPrefix(c[0], all), strings.TrimPrefix(c[1], all))
		}
	}
}

func TestMadeUpRequestsAreTheSameForTheSameSeed(t *testing.T) {
	a, b, c := generate(t, all, noSalary, 2000, 1), generate(t, all, noSalary, 2000, 1), generate(t, all, noSalary, 2000, 2)
	if !reflect.DeepEqual(a, b) {
		t.Errorf("%+v\n%+v", a, b)
	}
	if reflect.DeepEqual(a.Groups, c.Groups) {
		t.Error("another seed makes no other requests")
	}
	x := a.Groups[0].Examples[0]
	if !strings.HasPrefix(x.Record, "request ") || !strings.Contains(x.Args, `"table":"salaries"`) || !strings.Contains(x.Ask, `"Trust"`) {
		t.Errorf("%+v", x)
	}
}

func TestEqualPoliciesDoNotDiffer(t *testing.T) {
	moved := "// moved\n" + noSalary[len(all):] + "\n\n" + all
	if r := generate(t, noSalary, moved, 3000, 1); r.Flips != 0 || r.Read != 3000 || r.Replayed == 0 {
		t.Errorf("%+v", r)
	}
	if _, err := compare.Generate(t.Context(), nil, engine(t, all), compare.Requests{N: 1}, compare.Options{}); err == nil {
		t.Error("nothing is compared")
	}
}
