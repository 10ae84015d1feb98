package foreign_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/gatewright/gatewright/policies/foreign"
)

// TestTranslationsNeverAllowMore evaluates random policies as the other gateway does and, translated, as this one does,
// for every caller and tool of a small world: a permit allows nothing more, a forbid denies nothing less.
func TestTranslationsNeverAllowMore(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	translated, refused, compared, met := 0, 0, 0, 0
	for range 600 {
		kind := []string{"toolhive", "agentcore"}[rng.IntN(2)]
		theirs := (&policyMaker{rng, kind == "toolhive"}).policy()
		out, _, err := foreign.Translate(kind, []byte(theirs), foreign.Names{Server: "s"})
		if err != nil {
			refused++
			continue
		}
		translated++
		original, ours := policySet(t, []byte(theirs)), policySet(t, out)
		for _, w := range worlds() {
			there, here := w.theirs(kind == "toolhive"), w.ours()
			did, _ := cedar.Authorize(original, there.entities, there.request)
			does, diag := cedar.Authorize(ours, here.entities, here.request)
			compared++
			if theirs[0] == 'p' {
				if met += count(did); does == cedar.Allow && did == cedar.Deny {
					t.Fatalf("allows more: %+v\n%s\n%s", w, theirs, out)
				}
				continue
			}
			// A second policy that permits makes a forbid visible.
			if met += count(!did); did == cedar.Deny && does == cedar.Allow && len(diag.Errors) == 0 {
				t.Fatalf("denies less: %+v\n%s\n%s", w, theirs, out)
			}
		}
	}
	t.Logf("%d policies translated, %d refused, %d requests compared, %d times the original applied", translated, refused, compared, met)
	if translated < 100 || refused < 100 || met < 1000 {
		t.Error("the random policies are too much alike")
	}
}

func count(b cedar.Decision) int {
	if b == cedar.Allow {
		return 1
	}
	return 0
}

func policySet(t *testing.T, text []byte) *cedar.PolicySet {
	t.Helper()
	set, err := cedar.NewPolicySetFromBytes("", text)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range set.All() {
		if p.Effect() == cedar.Forbid {
			var all cedar.Policy
			if err := all.UnmarshalCedar([]byte("permit(principal, action, resource);")); err != nil {
				t.Fatal(err)
			}
			set.Add("all", &all)
		}
		break
	}
	return set
}

// policyMaker writes conditions about claims, hints and arguments.
type policyMaker struct {
	rng      *rand.Rand
	toolhive bool
}

func (m *policyMaker) one(of ...string) string { return of[m.rng.IntN(len(of))] }

func (m *policyMaker) policy() string {
	head := `(principal, action == AgentCore::Action::"s___x", resource)`
	if m.toolhive {
		head = `(principal, action == Action::"call_tool", resource == Tool::"x")`
	}
	return fmt.Sprintf("%s%s %s { %s };", m.one("permit", "forbid"), head, m.one("when", "when", "unless"), m.logic(3))
}

func (m *policyMaker) logic(depth int) string {
	if depth == 0 || m.rng.IntN(4) == 0 {
		return m.atom()
	}
	switch m.rng.IntN(5) {
	case 0:
		return "!(" + m.logic(depth-1) + ")"
	case 1, 2:
		return "(" + m.logic(depth-1) + " || " + m.logic(depth-1) + ")"
	default:
		return "(" + m.logic(depth-1) + " && " + m.logic(depth-1) + ")"
	}
}

func (m *policyMaker) atom() string {
	if m.toolhive {
		return m.one(`principal has claim_roles`, `principal.claim_roles.contains("a")`, `principal.claim_roles.contains("b")`,
			`principal has claim_roles && principal.claim_roles.contains("a")`, `resource.arg_n == 1`, `context has arg_n`,
			`resource has readOnlyHint`, `resource.readOnlyHint == true`, `resource.openWorldHint`, `resource has openWorldHint && resource.openWorldHint == false`,
			`principal in THVGroup::"g"`, `resource.destructiveHint == false`, `resource has destructiveHint && resource.destructiveHint == true`)
	}
	return m.one(`principal.hasTag("role")`, `principal.getTag("role") == "a"`, `principal.getTag("role") == "b"`,
		`principal.hasTag("role") && principal.getTag("role") == "a"`, `context.input.n == 1`, `context.input has n`)
}

// world is one caller and one tool. A hint of 0 is absent, 1 false, 2 true.
type world struct {
	role, group            string
	arg                    int
	readOnly, open, break_ int
}

type asked struct {
	entities types.EntityMap
	request  cedar.Request
}

func worlds() (all []world) {
	for _, role := range []string{"", "a", "b", "c"} {
		for _, group := range []string{"", "g"} {
			for arg := range 3 {
				for hints := range 27 {
					w := world{role, group, arg, hints % 3, hints / 3 % 3, hints / 9}
					if w.readOnly != 2 || w.break_ != 2 { // what calls itself both counts as read-only here, as a note says
						all = append(all, w)
					}
				}
			}
		}
	}
	return all
}

func (w world) input(prefix string) types.RecordMap {
	if w.arg == 0 {
		return types.RecordMap{}
	}
	return types.RecordMap{types.String(prefix + "n"): types.Long(w.arg)}
}

func (w world) theirs(toolhive bool) asked {
	p := types.Entity{UID: types.NewEntityUID("AgentCore::OAuthUser", "u")}
	r := types.Entity{UID: types.NewEntityUID("AgentCore::Gateway", "g")}
	req := cedar.Request{Action: types.NewEntityUID("AgentCore::Action", "s___x"), Context: types.NewRecord(types.RecordMap{"input": types.NewRecord(w.input(""))})}
	if w.role != "" {
		p.Tags = types.NewRecord(types.RecordMap{"role": types.String(w.role)})
	}
	if toolhive {
		p.UID, r.UID, req.Action = types.NewEntityUID("Client", "u"), types.NewEntityUID("Tool", "x"), types.NewEntityUID("Action", "call_tool")
		req.Context = types.NewRecord(w.input("arg_"))
		if w.role != "" {
			p.Attributes = types.NewRecord(types.RecordMap{"claim_roles": types.NewSet(types.String(w.role))})
		}
		if w.group != "" {
			p.Parents = types.NewEntityUIDSet(types.NewEntityUID("THVGroup", types.String(w.group)))
		}
		attrs := w.input("arg_")
		for name, v := range map[types.String]int{"readOnlyHint": w.readOnly, "openWorldHint": w.open, "destructiveHint": w.break_} {
			if v > 0 {
				attrs[name] = types.Boolean(v == 2)
			}
		}
		r.Attributes = types.NewRecord(attrs)
	}
	req.Principal, req.Resource = p.UID, r.UID
	return asked{types.EntityMap{p.UID: p, r.UID: r}, req}
}

// ours has the defaults that the catalogue fills in.
func (w world) ours() asked {
	p := types.Entity{UID: types.NewEntityUID("User", "u")}
	r := types.Entity{UID: types.NewEntityUID("Tool", "s/x"), Attributes: types.NewRecord(types.RecordMap{
		"readOnly": types.Boolean(w.readOnly == 2), "openWorld": types.Boolean(w.open != 1), "destructive": types.Boolean(w.readOnly != 2 && w.break_ != 1),
	})}
	var groups []types.EntityUID
	if w.role != "" {
		groups = append(groups, types.NewEntityUID("Role", types.String(w.role)))
	}
	if w.group != "" {
		groups = append(groups, types.NewEntityUID("Team", types.String(w.group)))
	}
	p.Parents = types.NewEntityUIDSet(groups...)
	return asked{types.EntityMap{p.UID: p, r.UID: r}, cedar.Request{
		Principal: p.UID, Action: types.NewEntityUID("Action", "s___x"), Resource: r.UID,
		Context: types.NewRecord(types.RecordMap{"input": types.NewRecord(w.input(""))}),
	}}
}
