package policies_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/policies"
)

func TestAnOutlookSaysWhatIsCertainOnly(t *testing.T) {
	const (
		never, sometimes, always, held = policies.Never, policies.Sometimes, policies.Always, policies.Held
		send                           = `(principal, action == Action::"mail___send", resource)`
		work                           = `(principal, action in Action::"call_tool", resource)`
		overflow                       = `principal.trust + 9223372036854775807 > 0`
	)
	cases := []struct {
		bundle, overlay string
		want            policies.Outlook
	}{
		{allowAll, "", always},
		{`permit ` + send + ` when { context.plan.inPlan };`, "", always},
		{`permit ` + send + ` when { !context.plan.inPlan };`, "", never},
		{`permit ` + send + ` when { context.input.to == "boss" };`, "", sometimes},
		{`permit ` + send + ` when { context.input.to == "boss" && principal.trust > 900 };`, "", never},
		{`permit ` + send + ` when { principal.trust > 900 && context.input.to == "boss" };`, "", never},
		{`permit ` + send + ` when { context.plan.step == 0 };`, "", sometimes},
		{allowAll + `permit ` + send + ` when { context.input.to == "boss" };`, "", sometimes}, // arguments that cannot be shown refuse
		{allowAll + `forbid ` + send + `;`, "", never},
		{allowAll + `forbid ` + send + ` when { context.input.to == "boss" };`, "", sometimes},
		{allowAll + `forbid ` + send + ` when { context.input.to == "boss" || principal.trust > 1 };`, "", never},
		{allowAll + `forbid ` + send + ` when { context.now > datetime("2000-01-01") };`, "", sometimes}, // another day
		{allowAll + `forbid ` + send + ` when { context.net.tls };`, "", sometimes},
		{allowAll + `forbid ` + send + ` when { context.filters.labels.contains("pii") };`, "", sometimes},
		{allowAll + `forbid ` + send + ` when { ` + overflow + ` };`, "", never},
		{allowAll + `forbid ` + send + ` when { context.input.to == "x" && ` + overflow + ` };`, "", sometimes},
		{allowAll + `forbid ` + send + ` when { if context.input.to == "x" then ` + overflow + ` else principal.trust > 900 };`, "", sometimes},
		{allowAll + `forbid ` + send + ` when { ` + overflow + ` }; forbid ` + send + ` when { context.input.to == "x" };`, "", never},
		{allowAll + `forbid ` + send + ` when { context.now > datetime("2000-01-01") || principal.trust > 1 };`, "", never},
		{`permit ` + send + ` when { ` + overflow + ` };`, "", never},
		{allowAll + holdAll, "", held},
		{holdAll, "", never},
		{allowAll + holdSend, "", sometimes},
		{allowAll + holdAll + holdSend, "", sometimes},
		{allowAll + holdAll + `forbid ` + send + `;`, "", never},
		{`permit (principal, action == Action::"db___drop", resource);`, "", never},
		{allowAll, `forbid ` + work + ` when { resource.name == "send" };`, never},
		{allowAll, `forbid ` + work + ` when { resource.name == "drop" };`, always},
		{allowAll, `@hold("why") forbid ` + work + `;`, held},
		{allowAll, `forbid ` + work + ` when { context.input has to };`, sometimes},
		{allowAll, `forbid ` + work + ` unless { context.now.toTime() < duration("17h") };`, sometimes},
		{allowAll, `forbid (principal, action in Action::"call_tool", resource in Server::"db") when { context.input has to };`, always},
		{allowAll, `@hold("why") forbid ` + work + ` when { ` + overflow + ` };`, never},
	}
	for _, c := range cases {
		e := compile(t, c.bundle)
		a := listing("mail", "send")
		if c.overlay != "" {
			a.Overlays = []*policies.Overlay{overlay(t, c.overlay)}
		}
		if got := e.Outlook(a); got != c.want {
			t.Errorf("%s %s\n  %v, want %v", c.bundle, c.overlay, got, c.want)
		}
	}
	e := compile(t, allowAll)
	for name, a := range map[string]*policies.Ask{
		"no Ask": nil, "no principal": {Action: "call_tool"}, "no tool": listing("mail", "sent"), "no overlay": laid(listing("mail", "send"), nil),
	} {
		if got := e.Outlook(a); got != never {
			t.Errorf("%s: %v", name, got)
		}
	}
	var none *policies.Engine
	if none.Outlook(listing("mail", "send")) != never || policies.Outlook(9).String() != "Never" || held.String() != "Held" {
		t.Error("not Never")
	}
	a := listing("mail", "review")
	if a.Action = "get_prompt"; e.Outlook(a) != sometimes {
		t.Error("a prompt that nobody knows may have arguments")
	}
	a = listing("laptop", "run")
	if a.Local = true; e.Outlook(a) != always {
		t.Error("a local tool")
	}
}

// No call goes against its outlook.
func TestNoCallGoesAgainstItsOutlook(t *testing.T) {
	g := generator{rand.New(rand.NewPCG(5, 9))}
	seen := map[policies.Outlook]int{}
	for range 100 {
		var text []string
		for i := range 1 + g.IntN(10) {
			text = append(text, g.policy(i))
		}
		e := compile(t, strings.Join(text, "\n"))
		for range 30 {
			a := g.ask()
			if a.Overlays = nil; g.IntN(2) == 0 {
				a.Overlays = []*policies.Overlay{overlay(t, g.overlay(0))}
			}
			unknown := *a
			unknown.Args, unknown.ArgsKnown = nil, false
			outlook := e.Outlook(&unknown)
			seen[outlook]++
			for range 12 {
				b := *a
				b.ArgsKnown, b.TLS, b.Labels = true, g.IntN(2) == 0, [][]string{nil, {"pii"}}[g.IntN(2)]
				b.Now, b.IP = time.Unix(int64(g.IntN(4))*1_000_000_000+1, 0), netip.MustParseAddr(g.pick("192.0.2.7", "::1"))
				b.Plan.Step, b.Plan.Done = g.IntN(2), g.IntN(2)
				b.Args = []byte(g.pick(`{}`, `{"to":"bob"}`, `{"to":"bob","copies":9}`, `{"to":3,"table":[]}`, `{"table":"t"}`, `{"zz":1}`))
				d := e.Decide(&b)
				bad := outlook == policies.Never && (d.Allowed() || d.Held()) || outlook == policies.Always && !d.Allowed() || outlook == policies.Held && !d.Held()
				if bad {
					t.Fatalf("%s\n%+v %+v\n%v, but allowed %v, held %v, %q", strings.Join(text, "\n"), b, b.Principal, outlook, d.Allowed(), d.Held(), d.Errors())
				}
			}
		}
	}
	if t.Log(fmt.Sprint(seen)); min(seen[policies.Never], seen[policies.Sometimes], seen[policies.Always], seen[policies.Held]) < 20 {
		t.Errorf("the cases are lopsided: %v", seen)
	}
}
