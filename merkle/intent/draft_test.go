package intent_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
)

func TestDraftsThatBreakARuleAreRefusedWithTheirPlace(t *testing.T) {
	pattern := func(p string) string { return `"where":{"a":{"pattern":` + p + `}}` }
	for _, c := range []struct{ draft, at, msg string }{
		{``, "", "strict JSON"},
		{`{`, "", "strict JSON"},
		{`[]`, "", "object"},
		{`{"steps":[]}{}`, "", "strict JSON"},
		{`{"steps":[],"steps":[]}`, "", "strict JSON"},
		{`{"goal":"x"}`, "/steps", "at least one"},
		{`{"steps":[]}`, "/steps", "at least one"},
		{`{"steps":{}}`, "/steps", "array"},
		{`{"steps":[1]}`, "/steps/0", "object"},
		{`{"steps":[{"server":"files","tool":"t"}],"Goal":"x"}`, "/Goal", "unknown member"},
		{`{"steps":[{"server":"files","tool":"t"}],"goal":1}`, "/goal", "string"},
		{`{"steps":[{"server":"files","tool":"t"}],"metadata":[]}`, "/metadata", "object"},
		{`{"steps":[{"tool":"t"}]}`, "/steps/0", "server and tool"},
		{`{"steps":[{"server":"files","tool":""}]}`, "/steps/0", "server and tool"},
		{`{"steps":[{"server":"fi\u0000les","tool":"t"}]}`, "/steps/0/server", "control"},
		{`{"steps":[{"server":"` + strings.Repeat("s", 129) + `","tool":"t"}]}`, "/steps/0/server", "longer"},
		{one(`"op":"Tools Call"`), "/steps/0/op", "operation"},
		{one(`"op":""`), "/steps/0/op", "operation"},
		{one(`"argz":{}`), "/steps/0/argz", "unknown member"},
		{one(`"args":[]`), "/steps/0/args", "object"},
		{one(`"args":null`), "/steps/0/args", "object"},
		{one(`"uses":-1`), "/steps/0/uses", "whole number"},
		{one(`"uses":1.5`), "/steps/0/uses", "whole number"},
		{one(`"uses":1e2`), "/steps/0/uses", "whole number"},
		{one(`"uses":4294967296`), "/steps/0/uses", "whole number"},
		{one(`"uses":"1"`), "/steps/0/uses", "whole number"},
		{one(`"after":[0]`), "/steps/0/after/0", "earlier"},
		{one(`"after":[1]`), "/steps/0/after/0", "earlier"},
		{one(`"after":0`), "/steps/0/after", "array"},
		{`{"steps":[{"server":"f","tool":"t"},{"server":"f","tool":"t","after":[0,0]}]}`, "/steps/1/after/1", "ascend"},
		{`{"steps":[{"server":"f","tool":"t"},{"server":"f","tool":"t","after":[1]}]}`, "/steps/1/after/0", "earlier"},
		{`{"steps":[{"server":"f","tool":"t"},{"server":"f","tool":"t","after":[-1]}]}`, "/steps/1/after/0", "whole number"},
		{one(`"additional":"yes"`), "/steps/0/additional", "true or false"},
		{one(`"args":{"a":1},"where":{"a":{"open":true}}`), "/steps/0/where/a", "both"},
		{one(`"where":{"a":{}}`), "/steps/0/where/a", "exactly one"},
		{one(`"where":{"a":1}`), "/steps/0/where/a", "object"},
		{one(`"where":{"a":{"const":1,"open":true}}`), "/steps/0/where/a", "exactly one"},
		{one(`"where":{"a":{"min":1,"enum":[1]}}`), "/steps/0/where/a", "exactly one"},
		{one(`"where":{"a":{"optional":true}}`), "/steps/0/where/a", "exactly one"},
		{one(`"where":{"a":{"open":false}}`), "/steps/0/where/a/open", "true"},
		{one(`"where":{"a":{"enum":[]}}`), "/steps/0/where/a/enum", "at least one"},
		{one(`"where":{"a":{"enum":1}}`), "/steps/0/where/a/enum", "array"},
		{one(`"where":{"a":{"min":"1"}}`), "/steps/0/where/a/min", "number"},
		{one(`"where":{"a":{"min":2,"max":1}}`), "/steps/0/where/a", "greater"},
		{one(`"where":{"a":{"minimum":2}}`), "/steps/0/where/a/minimum", "unknown"},
		{one(`"where":{"a/b~c":{"min":"1"}}`), "/steps/0/where/a~1b~0c/min", "number"},
		{one(pattern(`"("`)), "/steps/0/where/a/pattern", "RE2"},
		{one(pattern(`"a)|(b"`)), "/steps/0/where/a/pattern", "RE2"},
		{one(pattern(`"(?=x)"`)), "/steps/0/where/a/pattern", "RE2"},
		{one(pattern(`""`)), "/steps/0/where/a/pattern", "empty"},
		{one(pattern(`"(a{900}){900}"`)), "/steps/0/where/a/pattern", ""},
		{one(pattern(`"(((a{30}){30}){30})"`)), "/steps/0/where/a/pattern", ""},
		{one(pattern(`"[a-z]{1000}[a-z]{1000}"`)), "/steps/0/where/a/pattern", "large"},
		{one(pattern(`"` + strings.Repeat("a", 513) + `"`)), "/steps/0/where/a/pattern", "longer"},
		{one(`"where":{"a":{"schema":true}}`), "/steps/0/where/a/schema", "schema object"},
		{one(`"where":{"a":{"schema":{"$ref":"http://evil.example"}}}`), "/steps/0/where/a/schema/$ref", "unknown"},
		{one(`"where":{"a":{"schema":{"type":"strnig"}}}`), "/steps/0/where/a/schema/type", "unknown type"},
		{one(`"where":{"a":{"schema":{"const":1,"enum":[2]}}}`), "/steps/0/where/a/schema/enum", "together"},
		{one(`"where":{"a":{"schema":{"items":{"items":{"items":{"items":{"items":{"items":{"items":{"items":{"items":{}}}}}}}}}}}}`), "", "deeper"},
		{one(`"redactable":["a"]`), "/steps/0/redactable", "JSON pointer"},
		{one(`"redactable":["/a"]`), "/steps/0/redactable", "no parameter"},
		{one(`"redactable":["/a~2"],"args":{"a":1}`), "/steps/0/redactable", "JSON pointer"},
		{one(`"args":{"a":{"b":1}},"redactable":["/a/c"]`), "/steps/0/redactable", "nothing"},
		{one(`"where":{"a":{"prefix":"x"}},"redactable":["/a/c"]`), "/steps/0/redactable", "neither const"},
		{one(`"args":{"a":1e400}`), "", "strict JSON"},
		{one(`"args":{"a":9007199254740993}`), "", "strict JSON"},
		{one(`"args":{"a":"\ud800"}`), "", "strict JSON"},
		{one("\"args\":{\"a\":\"\xff\"}"), "", "strict JSON"},
		{one(`"args":{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`), "", "strict JSON"},
		{draftOf(1025, ""), "/steps", "more than 1024"},
		{one(`"args":{"a":"` + strings.Repeat("x", 1<<20) + `"}`), "", "strict JSON"},
	} {
		_, err := intent.ParseDraft([]byte(c.draft), intent.DefaultLimits())
		var e *intent.Error
		if !errors.As(err, &e) || e.Reason != intent.PlanInvalid {
			t.Errorf("%.80s: %v, want plan_invalid", c.draft, err)
			continue
		}
		if c.at != "" && e.Pointer != c.at || !strings.Contains(e.Error(), c.msg) {
			t.Errorf("%.80s: %v, want %q at %s", c.draft, err, c.msg, c.at)
		}
	}
}

func TestManyLargePatternsAreRefusedTogether(t *testing.T) {
	var b strings.Builder
	for i := range 40 {
		fmt.Fprintf(&b, `,{"server":"f","tool":"t","where":{"a":{"pattern":"%d[a-z]{250}"}}}`, i)
	}
	draft := `{"steps":[` + b.String()[1:] + `]}`
	_, err := intent.ParseDraft([]byte(draft), intent.DefaultLimits())
	refused(t, err, intent.PlanInvalid)
	same := strings.Repeat(`,{"server":"f","tool":"t","where":{"a":{"pattern":"[a-z]{250}"}}}`, 500)
	if _, err := intent.ParseDraft([]byte(`{"steps":[`+same[1:]+`]}`), intent.DefaultLimits()); err != nil {
		t.Fatalf("one pattern used often costs once: %v", err)
	}
}

func TestNoPlanIsLargerThanItsProofsAllow(t *testing.T) {
	lim := intent.DefaultLimits()
	lim.Steps, lim.Bytes, lim.Values = 1<<20, 64<<20, 1<<22
	_, err := intent.ParseDraft([]byte(draftOf(intent.MaxSteps+1, "")), lim)
	refused(t, err, intent.PlanInvalid)
	w := newWorld(t, draftOf(1024, ""))
	if proof := w.held.AppendProof(nil, 700); len(proof) != 10 {
		t.Fatalf("%d hashes, want 10", len(proof))
	}
	if _, err := w.verifier.GrantLeaf(w.token(t), who, w.request("t700", ""), w.leaf(t, 700), w.held.AppendProof(nil, 700), now); err != nil {
		t.Fatal(err)
	}
}

const full = `{"goal":"Tidy \u00fcp \"now\"","metadata":{"orgId":"o1","z":[1,2.50]},"steps":[
 {"server":"files","tool":"list","args":{"path":"/a","deep":{"b":1.0,"a":null}},"uses":0},
 {"op":"resources/read","server":"files","tool":"file:///x","where":{
   "n":{"min":1,"max":1e2,"optional":true},"e":{"enum":[1,"1",null,{"x":[]}]},"p":{"prefix":"/tmp/"},"r":{"pattern":"[a-z]+"},
   "s":{"schema":{"type":"object","properties":{"k":{"type":"integer","minimum":0}},"required":["k"]}},"o":{"open":true},"c":{"const":{"t":"x","u":2}}},
   "additional":true,"uses":3,"after":[0],"redactable":["/o","/c/t","/elsewhere"]}]}`

func TestPlansRoundTripAndHashTheirWholeContent(t *testing.T) {
	w := newWorld(t, full)
	stored := w.plan.AppendJSON(nil)
	again, err := intent.ParsePlan(stored)
	if err != nil {
		t.Fatal(err)
	}
	if string(again.AppendJSON(nil)) != string(stored) || again.Hash() != w.plan.Hash() || again.Tree().Root() != w.held.Root() {
		t.Fatal("a stored plan reads back differently")
	}
	canonical, err := canon.AppendCanonical(nil, stored, canon.DefaultLimits())
	if err != nil || string(canonical) != string(stored) {
		t.Fatalf("not canonical: %v", err)
	}
	for i := range w.plan.Steps {
		leaf := w.plan.LeafData(i)
		canonical, err := canon.AppendCanonical(nil, leaf, canon.DefaultLimits())
		if err != nil || string(canonical) != string(leaf) {
			t.Fatalf("leaf %d is not canonical: %v\n%s", i, err, leaf)
		}
		s, index, count, nonce, err := intent.ParseLeaf(leaf)
		if err != nil || index != i || count != 2 || nonce != w.plan.Nonce || s.Tool != w.plan.Steps[i].Tool {
			t.Fatalf("leaf %d reads back as %+v %d %d %s %v", i, s, index, count, nonce, err)
		}
	}
	for name, change := range map[string]func(*intent.Plan){
		"goal": func(p *intent.Plan) { p.Goal += "!" }, "metadata": func(p *intent.Plan) { p.Metadata = []byte(`{}`) }, "tenant": func(p *intent.Plan) { p.Tenant = "b" },
		"agent": func(p *intent.Plan) { p.Agent = "b" }, "user": func(p *intent.Plan) { p.User = "b" }, "local": func(p *intent.Plan) { p.Steps[0].Local = true },
		"salt": func(p *intent.Plan) { p.Steps[0].Salt = "x" }, "uses": func(p *intent.Plan) { p.Steps[0].Uses = 9 }, "order": func(p *intent.Plan) { p.Steps[1].After = nil },
		"additional": func(p *intent.Plan) { p.Steps[0].Args.Additional = true }, "redactable": func(p *intent.Plan) { p.Steps[0].Args.Redactable = []string{"/path"} },
	} {
		p, err := intent.ParsePlan(stored)
		if err != nil {
			t.Fatal(err)
		}
		change(p)
		if p.Hash() == w.plan.Hash() {
			t.Errorf("changed %s, same plan_hash", name)
		}
	}
}

func TestAChangedStoredPlanIsRefused(t *testing.T) {
	w := newWorld(t, full)
	stored := string(w.plan.AppendJSON(nil))
	for _, bad := range []string{
		"", "{}", strings.Replace(stored, `"typ":"intent-plan/v1"`, `"typ":"intent-plan/v2"`, 1),
		strings.Replace(stored, `"goal"`, `"extra":1,"goal"`, 1), strings.Replace(stored, `"after":[0]`, `"after":[1]`, 1), strings.Replace(stored, `"local"`, `"local"`, 1) + "x",
		strings.Replace(stored, `"after":[0]`, `"after":[0,0]`, 1), strings.Replace(stored, `"optional":true`, `"optional":false`, 1), strings.Replace(stored, `"op":"tools/call",`, ``, 1),
	} {
		if _, err := intent.ParsePlan([]byte(bad)); err == nil {
			t.Errorf("accepted %.60s", bad)
		}
	}
}

func TestAStoredPlanInAnotherSpellingIsTheSamePlan(t *testing.T) {
	w := newWorld(t, full)
	stored := string(w.plan.AppendJSON(nil))
	for _, same := range []string{" " + stored + "\n", strings.ReplaceAll(stored, `,"`, ` , "`), strings.Replace(stored, `"b":1`, `"b":1.0`, 1), strings.Replace(stored, "Tidy", `T\u0069dy`, 1)} {
		p, err := intent.ParsePlan([]byte(same))
		if err != nil || p.Hash() != w.plan.Hash() || p.Tree().Root() != w.held.Root() {
			t.Errorf("%v: %.60s", err, same)
		}
	}
}

func TestSealingIsRandomAndHappensOnce(t *testing.T) {
	p, err := intent.ParseDraft([]byte(draftOf(3, "")), intent.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := intent.NewHeld(&p); err == nil {
		t.Fatal("an unsealed plan was held")
	}
	if err := p.Seal(strings.NewReader("too short")); err == nil || p.Nonce != "" {
		t.Fatal("sealed without randomness")
	}
	if err := p.Seal(&stream{}); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{p.Nonce: true}
	for _, s := range p.Steps {
		if len(s.Salt) != 22 || seen[s.Salt] {
			t.Fatalf("salt %q", s.Salt)
		}
		seen[s.Salt] = true
	}
	refused(t, p.Seal(&stream{}), intent.PlanInvalid)
}

func TestAPlanWithoutCanonicalFormHashesToNothingAndIsNotHeld(t *testing.T) {
	p := intent.Plan{Nonce: "n", Steps: []intent.Step{{Op: "tools/call", Server: "s", Tool: "t", Args: intent.Args{Params: map[string]intent.Constraint{"a": {Const: []byte(`{"a":1,"a":2}`)}}}}}}
	if p.LeafData(0) != nil || p.LeafData(1) != nil || p.LeafData(-1) != nil || len(p.AppendJSON(nil)) != 0 || !p.Hash().IsZero() {
		t.Fatal("it has one")
	}
	if _, err := intent.NewHeld(&p); err == nil {
		t.Fatal("it was held")
	}
}
