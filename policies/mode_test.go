package policies_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/policies"
)

const overflows = `context.trust + 9223372036854775807 > 0`

func TestAPolicyInShadowIsToldAndNotEnforced(t *testing.T) {
	e := compile(t, `@id("all") `+allowAll+"\n"+`@id("no") @mode("shadow") forbid (principal, action == Action::"mail___send", resource) when { context.input.to == "boss" };`)
	d := e.Decide(call("mail", "send", `{"to":"boss"}`))
	would, differs := d.WouldBe()
	if !d.Allowed() || would || !differs || d.WouldBeHeld() {
		t.Errorf("allowed %v, would be %v, differs %v", d.Allowed(), would, differs)
	}
	if got := []string{strings.Join(d.Policies(), "|"), strings.Join(d.Shadowed(), "|"), strings.Join(d.WouldPolicies(), "|")}; !slices.Equal(got, []string{"p.cedar:1 all", "p.cedar:2 no", "p.cedar:2 no"}) {
		t.Errorf("%q", got)
	}
	d = e.Decide(call("mail", "send", `{"to":"x"}`))
	if would, differs := d.WouldBe(); !d.Allowed() || !would || differs || d.Shadowed() != nil || strings.Join(d.WouldPolicies(), "|") != "p.cedar:1 all" {
		t.Errorf("another call: allowed %v, would be %v, differs %v, %q", d.Allowed(), would, differs, d.Shadowed())
	}
	if e.Len() != 1 || strings.Join(e.Shadows(), "|") != "p.cedar:2 no" || compile(t, allowAll).Shadows() != nil {
		t.Errorf("%d policies, in shadow %q", e.Len(), e.Shadows())
	}
}

func TestAPermitInShadowOpensNothing(t *testing.T) {
	e := compile(t, `@id("all") @mode("shadow") `+allowAll)
	a := call("mail", "send", `{"to":"x"}`)
	d := e.Decide(a)
	if would, differs := d.WouldBe(); d.Allowed() || !would || !differs || d.Policies() != nil || strings.Join(d.Shadowed(), "|") != "p.cedar:1 all" {
		t.Errorf("allowed %v, would be %v, differs %v by %q", d.Allowed(), would, differs, d.Shadowed())
	}
	if o := e.Outlook(listing("mail", "send")); o != policies.Never || e.Permits() {
		t.Errorf("outlook %v, permits %v", o, e.Permits())
	}
}

func TestAForbidInShadowThatFailsNeverDenies(t *testing.T) {
	for _, when := range []string{overflows, `context.now > datetime("2000-01-01") && ` + overflows} {
		d := compile(t, allowAll+`@id("no") @mode("shadow") forbid (principal, action, resource) when { `+when+` };`).Decide(call("mail", "send", `{"to":"x"}`))
		if would, differs := d.WouldBe(); !d.Allowed() || d.Errors() != nil || would || !differs || strings.Join(d.Shadowed(), "|") != "p.cedar:1 no" {
			t.Errorf("%s: allowed %v, would be %v, errors %q, shadowed %q", when, d.Allowed(), would, d.Errors(), d.Shadowed())
		}
	}
	// An argument that policy cannot see refuses the enforced policies that read it, and only tells of those in shadow.
	hidden := `forbid (principal, action == Action::"mail___send", resource) when { context.input has price && context.input.price == decimal("1.0") };`
	a := call("mail", "send", `{"to":"x","price":0.00001}`)
	if compile(t, allowAll+hidden).Decide(a).Allowed() {
		t.Fatal("the enforced policy does not refuse what it cannot see")
	}
	d := compile(t, allowAll+`@mode("shadow") `+hidden).Decide(a)
	if would, differs := d.WouldBe(); !d.Allowed() || would || !differs {
		t.Errorf("allowed %v, would be %v, differs %v", d.Allowed(), would, differs)
	}
}

func TestAHoldInShadowHoldsNothing(t *testing.T) {
	e := compile(t, allowAll+`@id("ask") @hold("why") @mode("shadow") forbid (principal, action, resource);`)
	d := e.Decide(call("mail", "send", `{"to":"x"}`))
	if would, differs := d.WouldBe(); !d.Allowed() || d.Held() || would || !differs || !d.WouldBeHeld() || d.Holds() != nil {
		t.Errorf("allowed %v, held %v, would be %v, would be held %v", d.Allowed(), d.Held(), would, d.WouldBeHeld())
	}
	a := call("mail", "send", `{"to":"x"}`)
	a.Approved = true
	if would, differs := e.Decide(a).WouldBe(); !would || differs {
		t.Errorf("approved: would be %v, differs %v", would, differs)
	}
}

func TestAModeIsAWordOfTwo(t *testing.T) {
	for _, mode := range []string{`@mode`, `@mode("")`, `@mode("Shadow")`, `@mode("shadow ")`, `@mode("off")`} {
		if _, err := policies.Compile(bundle(t, mode+` forbid (principal, action, resource);`), demoTools()); err == nil || !strings.Contains(err.Error(), "p.cedar:1:2") || !strings.Contains(err.Error(), `@mode("shadow") evaluates`) {
			t.Errorf("%s: %v", mode, err)
		}
	}
	d := compile(t, allowAll+`@mode("enforce") forbid (principal, action, resource);`).Decide(call("mail", "send", `{"to":"x"}`))
	if d.Allowed() {
		t.Error(`@mode("enforce") is not enforced`)
	}
}

// A bundle decides as if its policies in shadow were not there, and WouldBe is what it decides without their @mode.
func TestShadowPoliciesNeverChangeAnOutcome(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 1))
	flips := 0
	for range 150 {
		with, without, enforced := randomModes(random)
		engines := [3]*policies.Engine{compile(t, with), compile(t, without), compile(t, enforced)}
		for range 12 {
			a := randomAsk(t, random)
			d, plain, all := engines[0].Decide(a), engines[1].Decide(a), engines[2].Decide(a)
			if d.Allowed() != plain.Allowed() || d.Held() != plain.Held() || !reflect.DeepEqual(ids(d.Policies()), ids(plain.Policies())) || len(d.Errors()) != len(plain.Errors()) {
				t.Fatalf("with %s\n%v %q %q\nwithout %v %q %q", with, d.Allowed(), d.Policies(), d.Errors(), plain.Allowed(), plain.Policies(), plain.Errors())
			}
			if !d.Covers(a) || engines[0].Outlook(listing(a.Server, a.Tool)) != engines[1].Outlook(listing(a.Server, a.Tool)) {
				t.Fatalf("with %s: outlooks differ, or the decision covers nothing", with)
			}
			would, differs := d.WouldBe()
			if would != all.Allowed() || d.WouldBeHeld() != all.Held() || differs != (all.Allowed() != d.Allowed() || all.Held() != d.Held()) {
				t.Fatalf("with %s\nwould be %v, held %v; enforced it is %v, held %v by %q", with, would, d.WouldBeHeld(), all.Allowed(), all.Held(), all.Policies())
			}
			if !slices.Equal(ids(d.WouldPolicies()), ids(all.Policies())) {
				t.Fatalf("with %s\nwould be by %q; enforced it is by %q", with, d.WouldPolicies(), all.Policies())
			}
			if differs {
				flips++
			}
		}
	}
	if flips < 100 {
		t.Errorf("only %d answers would differ: the property is about nothing", flips)
	}
}

// ids are the policies without their places.
func ids(labels []string) (out []string) {
	for _, l := range labels {
		_, id, _ := strings.Cut(l, " ")
		out = append(out, id)
	}
	return out
}

func randomModes(random *rand.Rand) (with, without, enforced string) {
	conditions := []string{
		"", `when { context.input.to == "boss" }`, `when { context.trust > 400 }`, `when { context.plan.inPlan }`, `unless { context.filters.labels.contains("pii") }`,
		`when { ` + overflows + ` }`, `when { context.now > datetime("2031-01-01") }`, `when { context.input has copies && context.input.copies > 3 }`,
	}
	for i := range 6 {
		effect, notes := "permit", ""
		if random.IntN(2) == 0 {
			effect = "forbid"
			if random.IntN(3) == 0 {
				notes = `@hold("why") `
			}
		}
		body := fmt.Sprintf("@id(\"p%d\") %s%s (principal, action == Action::\"mail___send\", resource) %s;\n", i, notes, effect, conditions[random.IntN(len(conditions))])
		enforced += body
		if random.IntN(2) == 0 {
			with += `@mode("shadow") ` + body
			continue
		}
		with, without = with+body, without+body
	}
	if without == "" {
		without = "@id(\"none\") permit (principal, action, resource) when { false };"
	}
	return with, without, enforced
}

func randomAsk(t *testing.T, random *rand.Rand) *policies.Ask {
	a := call("mail", "send", []string{`{"to":"boss"}`, `{"to":"x"}`, `{"to":"boss","copies":4}`, `{"to":"x","copies":2}`, `{}`}[random.IntN(5)])
	a.Approved = random.IntN(3) == 0
	if random.IntN(2) == 0 {
		a.Labels = []string{"pii"}
	}
	if random.IntN(3) == 0 {
		a.Principal.Trust = 100
	}
	if random.IntN(4) == 0 {
		a.Overlays = []*policies.Overlay{overlay(t, []string{`@hold("terms") forbid (principal, action, resource);`, `forbid (principal, action, resource) when { context.trust < 300 };`}[random.IntN(2)])}
	}
	return a
}
