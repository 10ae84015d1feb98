package policies_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/policies"
)

// generator writes random policy sets and asks over a small world, so that scopes meet often. What it writes is valid by
// construction: conditions fit the scopes they stand under.
type generator struct{ *rand.Rand }

func (g generator) pick(from ...string) string { return from[g.IntN(len(from))] }

func (g generator) principal() string {
	return g.pick("principal", "principal", `principal == Agent::"agt_1"`, `principal == User::"agt_1"`, `principal in Team::"ops"`, `principal in Team::"dev"`,
		`principal in Role::"Admin"`, `principal in Organization::"acme"`, `principal is Agent`, `principal is User`,
		`principal is Agent in Team::"ops"`, `principal in Agent::"agt_2"`)
}

func (g generator) policy(i int) string {
	action := g.pick("action", `action in Action::"call_tool"`, `action in Action::"mcp"`, `action in Action::"work"`, `action == Action::"mail___send"`,
		`action == Action::"db___drop"`, `action in [Action::"mail___send", Action::"call_tool"]`, `action in [Action::"db___query", Action::"list_tools"]`,
		`action == Action::"list_tools"`, `action in Action::"discovery"`, `action == Action::"call_tool"`)
	resources := []string{"resource", "resource", `resource in Server::"mail"`, `resource in Server::"db"`}
	conditions := []string{`true`, `false`, `principal.trust > 400`, `principal.trust + 9223372036854775407 > 0`, `context.plan.inPlan`,
		`context.trust + 9223372036854775407 > 0`, `context.net.tls && principal.labels.contains("blue")`, `context.filters.labels.contains("pii")`,
		`principal.labels.contains("blue") && context.now > datetime("2030-01-01")`, `principal.trust > 400 && context.plan.step == 1`,
		`context.plan.stepsDone > 0 && principal.trust > 900`, `context has onBehalfOf && context.onBehalfOf == User::"usr_1"`,
		`principal.talksTo.contains(Server::"mail")`, `(principal.trust > 400 && context.net.tls) && context.plan.id == "pln_1"`,
		`if context.net.tls then principal.trust > 600 else principal.trust + 9223372036854775407 > 0`}
	switch action {
	case `action == Action::"mail___send"`:
		resources = append(resources, `resource == Tool::"mail/send"`, `resource is Tool`)
		conditions = append(conditions, `context.input.to == "bob"`, `context.input has copies && context.input.copies > 3`, `resource.name like "s*" && context.input has tags && context.input.tags.contains("a")`,
			`if context.input.to == "bob" then principal.trust + 9223372036854775407 > 0 else principal.trust > 300`, `principal.trust > 400 && (context.input.to like "b*" || context.net.tls)`, `context.input has copies && context.input.copies + 9223372036854775804 > 0`, `context.undeclared.names.contains("zz")`, `context.inputNulls.contains("/note")`)
	case `action == Action::"db___drop"`:
		resources = append(resources, `resource == Tool::"db/drop"`, `resource is Tool in Server::"db"`)
		conditions = append(conditions, `context.input.table == "t"`, `resource.sensitivity > 2 && !(context.input.table like "t*")`)
	case `action in Action::"call_tool"`, `action in Action::"work"`:
		conditions = append(conditions, `context.input has to && context.input.to == "bob"`, `!(context.input has table)`)
	}
	effect := g.pick("permit", "permit", "permit", "forbid", `@hold("ask") forbid`)
	text := fmt.Sprintf("@id(\"p%d\") %s (%s, %s, %s)", i, effect, g.principal(), action, g.pick(resources...))
	for range g.IntN(3) {
		text += fmt.Sprintf(" %s { %s }", g.pick("when", "when", "unless"), g.pick(conditions...))
	}
	return text + ";"
}

// overlay writes a random policy for an overlay.
func (g generator) overlay(i int) string {
	conditions := []string{`true`, `false`, `principal.trust > 400`, `principal.trust + 9223372036854775407 > 0`, `context.net.tls && principal.trust > 400`,
		`context.plan.step == 1`, `context.filters.labels.contains("pii")`}
	action := g.pick("action", `action in Action::"call_tool"`, `action in Action::"work"`, `action == Action::"mail___send"`, `action == Action::"list_tools"`,
		`action == Action::"call_tool"`)
	if strings.Contains(action, "work") || strings.Contains(action, "call") || strings.Contains(action, "___") {
		conditions = append(conditions, `context.input has to && context.input.to has string && context.input.to.string like "b*"`, `context.input.copies.long > 3`,
			`context.input has copies && context.input.copies has decimal && context.input.copies.decimal.greaterThan(decimal("3.0"))`, `!(context.input has table) || context.net.tls`)
	}
	text := fmt.Sprintf("@id(\"o%d\") %s (%s, %s, %s)", i, g.pick("forbid", "forbid", `@hold("ask") forbid`), g.principal(), action,
		g.pick("resource", "resource", `resource in Server::"mail"`, `resource in Server::"ext"`))
	for range 1 + g.IntN(2) {
		text += fmt.Sprintf(" %s { %s }", g.pick("when", "when", "when", "unless"), g.pick(conditions...))
	}
	return text + ";"
}

func (g generator) ask() *policies.Ask {
	a := call("mail", "send", g.pick(`{"to":"bob"}`, `{"to":"bill","copies":4,"tags":["a"]}`, `{"to":"x","copies":1,"zz":2,"note":null}`))
	switch g.IntN(5) {
	case 4:
		a.Local, a.Server, a.Tool = true, "ext", "run"
	case 0:
		a.Server, a.Tool, a.Args = "db", "drop", []byte(g.pick(`{"table":"t"}`, `{"table":"u"}`))
	case 1:
		a.Action, a.Server, a.Tool, a.Args = "list_tools", g.pick("", "mail", "db"), "", nil
	}
	p := a.Principal
	p.Kind, p.ID = g.pick("Agent", "Agent", "User"), g.pick("agt_1", "agt_2")
	p.Teams, p.Roles = [][]string{nil, {"ops"}, {"ops", "dev"}}[g.IntN(3)], []string{g.pick("Admin", "Member")}
	p.Trust, p.Labels = int64(g.IntN(3))*400, [][]string{nil, {"blue"}}[g.IntN(2)]
	p.Status, p.Tenant = g.pick("active", "suspended"), g.pick("acme", "other")
	p.TalksTo = [][]string{nil, {"mail"}, {"db"}}[g.IntN(3)]
	a.User, a.TLS, a.Plan.InPlan = g.pick("", "usr_1"), g.IntN(2) == 0, g.IntN(2) == 0
	a.Plan.Step, a.Plan.Done = g.IntN(2), g.IntN(2)
	if g.IntN(2) == 0 {
		a.Labels = []string{"pii"}
	}
	a.Approved = g.IntN(4) == 0
	if g.IntN(4) == 0 {
		a.ArgsKnown, a.Args = false, nil
	}
	return a
}

func sorted(s []string) string {
	s = slices.Clone(s)
	slices.Sort(s)
	return strings.Join(s, "\n")
}

// The index, the guards, the lazy context and the caches must not change a single decision, reason or error.
func TestTheEngineAgreesWithAFullScan(t *testing.T) {
	g := generator{rand.New(rand.NewPCG(7, 11))}
	asked, allowed, failed, held := 0, 0, 0, 0
	for range 80 {
		var text []string
		for i := range 1 + g.IntN(40) {
			text = append(text, g.policy(i))
		}
		e := compile(t, strings.Join(text, "\n"))
		var overlays []*policies.Overlay
		for i := range 4 {
			overlays = append(overlays, overlay(t, g.overlay(i)+g.overlay(i+4)))
		}
		for range 80 {
			a := g.ask()
			if g.IntN(2) == 0 {
				a.Overlays = overlays[g.IntN(4):]
			}
			want, err := policies.Scan(e, a)
			if err != nil {
				t.Fatalf("scan: %v", err)
			}
			for range 2 {
				got := e.Decide(a)
				if got.Allowed() != want.Allowed || got.Held() != want.Held || sorted(got.Policies()) != sorted(want.Policies) || sorted(got.Errors()) != sorted(want.Errors) {
					t.Fatalf("%s\n%+v %+v\nengine %v %v %q %q\nscan   %+v", strings.Join(text, "\n"), a, a.Principal,
						got.Allowed(), got.Held(), got.Policies(), got.Errors(), want)
				}
				if own := slices.DeleteFunc(slices.Clone(got.Policies()), overlaid); !slices.IsSortedFunc(own, func(x, y string) int { return line(x) - line(y) }) {
					t.Fatalf("not in the order of the bundle: %q", got.Policies())
				}
			}
			asked++
			if want.Allowed {
				allowed++
			}
			if want.Held {
				held++
			}
			if len(want.Errors) > 0 {
				failed++
			}
		}
	}
	t.Logf("%d asked, %d allowed, %d held, %d with errors", asked, allowed, held, failed)
	if allowed < asked/20 || allowed > asked*19/20 || failed < asked/20 || held < asked/50 {
		t.Errorf("the cases are lopsided: %d asked, %d allowed, %d held, %d with errors", asked, allowed, held, failed)
	}
}

func overlaid(label string) bool { return strings.HasPrefix(label, "terms:") }

func line(label string) (n int) {
	_, _ = fmt.Sscanf(label, "p.cedar:%d", &n) // labels are ours
	return n
}

func TestTheIndexKeepsCandidatesFew(t *testing.T) {
	for _, n := range []int{100, 5_000} {
		e, err := policies.Compile(bundle(t, manyPolicies(n, true)), manyTools(200))
		if err != nil {
			t.Fatal(err)
		}
		a := call("s1", "tool1", `{"amount":1}`)
		a.Principal.Teams = []string{"t0", "t1", "t2"}
		if c := policies.Candidates(e, a); c > 12 {
			t.Errorf("%d policies: %d candidates", n, c)
		}
	}
}

// A list is never emptier than what can be called: what is hidden is refused for every argument tried.
func TestWhatAListHidesCannotBeCalled(t *testing.T) {
	g := generator{rand.New(rand.NewPCG(3, 5))}
	hidden := 0
	for range 100 {
		var text []string
		for i := range 1 + g.IntN(12) {
			text = append(text, g.policy(i))
		}
		e := compile(t, strings.Join(text, "\n"))
		for range 40 {
			a := g.ask()
			if a.Action != "call_tool" || !a.ArgsKnown {
				continue
			}
			list := *a
			list.Args, list.ArgsKnown = nil, false
			if shown := e.Decide(&list); shown.Allowed() || shown.Held() {
				continue
			}
			hidden++
			if d := e.Decide(a); d.Allowed() || d.Held() {
				t.Fatalf("%s\n%+v %+v\nis hidden and allowed", strings.Join(text, "\n"), a, a.Principal)
			}
		}
	}
	if hidden < 100 {
		t.Errorf("only %d hidden tools", hidden)
	}
}
