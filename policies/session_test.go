package policies_test

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gatewright/gatewright/policies"
)

// scored is a bundle with scores of its own.
func scored(t *testing.T, scores, text string) (*policies.Engine, error) {
	t.Helper()
	b, err := policies.LoadBundle(fstest.MapFS{"p.cedar": {Data: []byte(text)}, "schema.cedarschema": {Data: []byte("type Scores = " + scores + ";")}})
	if err != nil {
		t.Fatal(err)
	}
	return policies.Compile(b, demoTools())
}

func TestWhatOnlyWorkHasIsRefusedElsewhereWhenLoaded(t *testing.T) {
	for _, c := range []struct{ condition, hint string }{
		{"context.session.calls > 3", `only work has a session: name the action, or say action in Action::"work"`},
		{"context.approval.approved", `only work can be approved: name the action, or say action in Action::"work"`},
		{"context.filters.score > 3", `only work has scores: name the action, or say action in Action::"work"`},
		{"context.filters.scores has pii", `only work has scores: name the action, or say action in Action::"work"`},
	} {
		for _, scope := range []string{"action", `action in Action::"discovery"`, `action == Action::"capture_plan"`, `action == Action::"list_tools"`} {
			_, err := policies.Compile(bundle(t, "forbid (principal, "+scope+", resource) when { "+c.condition+" };"), demoTools())
			var problems policies.Problems
			if !errors.As(err, &problems) || problems[0].Line != 1 || problems[0].Column < 2 || problems[0].Hint != c.hint {
				t.Errorf("%s in %s: %v", c.condition, scope, err)
			}
		}
		for _, scope := range []string{`action in Action::"work"`, `action in Action::"call_tool"`, `action == Action::"mail___send"`, `action == Action::"get_prompt"`} {
			if _, err := scored(t, "{ pii?: Long }", "forbid (principal, "+scope+", resource) when { "+c.condition+" };"); err != nil {
				t.Errorf("%s in %s: %v", c.condition, scope, err)
			}
		}
	}
}

func TestASessionNobodyCountedRefuses(t *testing.T) {
	e := compile(t, allowAll+`forbid (principal, action in Action::"work", resource in Server::"mail") when { context.session.calls >= 3 };`)
	a := call("mail", "send", `{"to":"x"}`)
	if d := e.Decide(a); d.Allowed() || !strings.Contains(strings.Join(d.Errors(), ""), "the session, which is unknown") {
		t.Errorf("allowed %v, errors %q", d.Allowed(), d.Errors())
	}
	a.Session.Known = true
	if d := e.Decide(a); !d.Allowed() {
		t.Errorf("the first call: %q", d.Errors())
	}
	if a = call("db", "query", `{}`); !e.Decide(a).Allowed() {
		t.Error("a session that nobody reads is missed")
	}
	if !e.Decide(listing("mail", "send")).Allowed() {
		t.Error("a tool is not listed whose calls are allowed at first")
	}
}

func TestWhatIsCountedReachesPolicy(t *testing.T) {
	for condition, change := range map[string]func(*policies.Ask){
		`context.session.calls == 7`:                                      func(a *policies.Ask) { a.Session.Calls++ },
		`context.session.callsThisTool == 2`:                              func(a *policies.Ask) { a.Session.ThisTool-- },
		`context.session.labels.containsAll(["pii", "src:web"])`:          func(a *policies.Ask) { a.Session.Labels = []string{"pii"} },
		`context.filters.score == 870`:                                    func(a *policies.Ask) { a.Scores = a.Scores[1:] },
		`context.filters.scores has pii && context.filters.scores.pii==3`: func(a *policies.Ask) { a.Scores = a.Scores[:1] },
		`!(context.filters.scores has toxic)`:                             func(a *policies.Ask) { a.Scores = append(a.Scores, policies.Score{Name: "toxic"}) },
		`context.approval.approved`:                                       func(a *policies.Ask) { a.Approved = false },
		`context.approval.count == 2`:                                     func(a *policies.Ask) { a.Approvals = 1 },
		`context.plan.next`:                                               func(a *policies.Ask) { a.Plan.Done = 0 },
	} {
		e, err := scored(t, "{ injection?: Long, pii?: Long, toxic?: Long }", `permit (principal, action in Action::"work", resource) when { `+condition+` };`)
		if err != nil {
			t.Fatalf("%s: %v", condition, err)
		}
		a := call("mail", "send", `{"to":"x"}`)
		a.Session = policies.SessionFacts{Known: true, Calls: 7, ThisTool: 2, Labels: []string{"pii", "src:web"}}
		a.Scores, a.Approved, a.Approvals = []policies.Score{{Name: "injection", Value: 870}, {Name: "pii", Value: 3}}, true, 2
		if d := e.Decide(a); !d.Allowed() {
			t.Errorf("%s: refused: %q", condition, d.Errors())
		}
		if change(a); e.Decide(a).Allowed() {
			t.Errorf("%s: holds after the change", condition)
		}
		a = listing("mail", "send")
		if a.Plan.InPlan = true; !e.Decide(a).Allowed() {
			t.Errorf("%s: a tool is not listed that may be allowed", condition)
		}
	}
}

func TestScoresAreDeclaredAsOptionalIntegers(t *testing.T) {
	for _, bad := range []string{"{ pii: Long }", "{ pii?: String }", "{ pii?: { a: Long } }", `{ "PII"?: Long }`, "{ pii?: Bool }", "Long", "Set<Long>", `{ "a-b"?: Long }`, `{ ""?: Long }`} {
		_, err := scored(t, bad, allowAll)
		var problems policies.Problems
		if !errors.As(err, &problems) || problems[0].File != "schema.cedarschema" || problems[0].Hint == "" {
			t.Errorf("%s: %v", bad, err)
		}
	}
	for text, want := range map[string]string{
		`context.filters.scores has pii && context.filters.scores.injektion > 3`: "injektion",
		`context.filters.scores.pii > 3`:                                         "`has pii`",
		`context.filters.scores has pii && context.filters.scores.pii == "x"`:    "not compatible",
	} {
		if _, err := scored(t, "{ pii?: Long, injection?: Long }", `forbid (principal, action in Action::"work", resource) when { `+text+` };`); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestAScoreThatNobodyNamedHasAHint: it stands in no schema until the bundle's author puts it there.
func TestAScoreThatNobodyNamedHasAHint(t *testing.T) {
	work := func(text string) string {
		return `forbid (principal, action in Action::"work", resource) when { ` + text + ` };`
	}
	for text, want := range map[string]string{
		"context.filters.scores.risk > 500":                                          "in schema.cedarschema: type Scores = { risk?: Long };",
		"context.filters.scores has pii && context.filters.scores.injektion > 3":     "did you mean injection?",
		`context.filters.scores has pii && context.filters.scores["Toxic Word"] > 3`: "a-z, 0-9 and _",
	} {
		if _, err := scored(t, "{ pii?: Long, injection?: Long }", work(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := scored(t, "{ risk?: Long }", work("context.filters.scores has risk && context.filters.scores.risk > 500")); err != nil {
		t.Error(err)
	}
}

func TestEveryTypeOfJSONIsSeen(t *testing.T) {
	tools := []policies.ToolDef{{Server: "x", Name: "y", InputSchema: []byte(`{"type":"object","properties":{
		"o":{"type":"object","properties":{"inner":{"type":"object","properties":{"n":{"type":"integer"},"list":{"type":"array","items":{"type":"object","properties":{"k":{"type":"string"},"on":{"type":"boolean"}},"required":["k","on"]}}}}}},
		"rows":{"type":"array","items":{"type":"array","items":{"type":"integer"}}},
		"maybe":{"type":["string","null"]},"null":{"type":"null"},"num":{"type":"number"},"int":{"type":"integer"},"any":{}}}`)}}
	for _, c := range []struct{ condition, args string }{
		{`context.input has o && context.input.o has inner && context.input.o.inner has n && context.input.o.inner.n == -9223372036854775808`, `{"o":{"inner":{"n":-9223372036854775808}}}`},
		{`context.input has int && context.input.int == 9223372036854775807`, `{"int":9223372036854775807}`},
		{`context.input has num && context.input.num == decimal("-922337203685477.5808")`, `{"num":-922337203685477.5808}`},
		{`context.input has num && context.input.num == decimal("0.0001")`, `{"num":1e-4}`},
		{`context.input has o && context.input.o has inner && context.input.o.inner has list && context.input.o.inner.list.contains({"k": "a", "on": true})`, `{"o":{"inner":{"list":[{"k":"b","on":true},{"on":true,"k":"a"}]}}}`},
		{`context.input has rows && context.input.rows.contains([1, 2])`, `{"rows":[[3],[2,1,2]]}`},
		{`!(context.input has maybe) && context.inputNulls.contains("/maybe")`, `{"maybe":null}`},
		{`context.input has null && context.input.null.kind == "null"`, `{"null":null}`},
		{`context.input has any && context.input.any.kind == "object" && context.input.any.text == "{\"a\":[{\"b\":[null,1.5]}]}"`, `{"any":{"a":[ {"b":[null, 1.50]} ]}}`},
		{`context.input has any && context.input.any.kind == "array" && context.input.any.text like "*\"deep\"*"`, `{"any":[{"x":["deep"]}]}`},
		{`context.input has any && context.input.any has bool && !context.input.any.bool`, `{"any":false}`},
		{`context.input has any && context.input.any has decimal && !(context.input.any has long)`, `{"any":-0.5}`},
		{`context.input has any && context.input.any has long && context.input.any.long == -9007199254740991`, `{"any":-9007199254740991}`},
		{`context.undeclared.names.contains("z") && context.undeclared.text like "*{\"q\":[]}*"`, `{"z":{"q":[]}}`},
	} {
		e, err := policies.Compile(bundle(t, `permit (principal, action == Action::"x___y", resource) when { `+c.condition+` };`), tools)
		if err != nil {
			t.Errorf("%s: %v", c.condition, err)
			continue
		}
		if d := e.Decide(call("x", "y", c.args)); !d.Allowed() {
			t.Errorf("%s of %s: %q", c.condition, c.args, d.Errors())
		}
		if e.Decide(call("x", "y", `{"int":1}`)).Allowed() {
			t.Errorf("%s: holds without it", c.condition)
		}
	}
	e, err := policies.Compile(bundle(t, `permit (principal, action == Action::"x___y", resource) unless { context.input has int && context.input.int < 0 };
		permit (principal, action == Action::"x___y", resource) unless { context.input has num && context.input.num.lessThan(decimal("0.0")) };
		permit (principal, action == Action::"x___y", resource) unless { context.input has o && context.input.o has inner };`), tools)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{`{"int":9223372036854775808}`, `{"int":1.5}`, `{"num":1e15}`, `{"num":0.00001}`, `{"int":null}`, `{"o":{"other":1}}`, `{"o":[]}`, `{"o":null}`} {
		if d := e.Decide(call("x", "y", args)); args != `{"o":null}` && args != `{"int":null}` && (d.Allowed() || len(d.Errors()) != 1) {
			t.Errorf("%s: allowed %v, errors %q", args, d.Allowed(), d.Errors())
		}
	}
}

func TestADecisionCoversEveryNumberThatWasCounted(t *testing.T) {
	e := defaultEngine(t)
	full := func() *policies.Ask {
		a := call("mail", "send", `{"to":"x"}`)
		a.Session = policies.SessionFacts{Known: true, Calls: 3, ThisTool: 2, Labels: []string{"a"}}
		a.Scores, a.Approved, a.Approvals = []policies.Score{{Name: "pii", Value: 4}}, true, 2
		return a
	}
	for name, change := range map[string]func(*policies.Ask){
		"known": func(a *policies.Ask) { a.Session.Known = false }, "calls": func(a *policies.Ask) { a.Session.Calls++ },
		"this tool": func(a *policies.Ask) { a.Session.ThisTool++ }, "labels": func(a *policies.Ask) { a.Session.Labels[0] = "b" },
		"score": func(a *policies.Ask) { a.Scores[0].Value++ }, "its name": func(a *policies.Ask) { a.Scores[0].Name = "pij" },
		"approvals": func(a *policies.Ask) { a.Approvals++ }, "approved": func(a *policies.Ask) { a.Approved = false },
	} {
		a := full()
		d := e.Decide(a)
		if !d.Covers(full()) {
			t.Fatal("does not cover an equal Ask")
		}
		if change(a); d.Covers(a) {
			t.Errorf("%s changed and the decision still covers", name)
		}
	}
}
