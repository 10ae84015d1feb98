package suite

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/gatewright/gatewright/policies"
)

// ask is the case as a question.
func (t *Test) ask(c *Case) *policies.Ask {
	a := &policies.Ask{
		Principal: t.principal(c.Principal), User: c.As, Action: or(c.Action, "call_tool"), Server: c.Server, Tool: c.Tool, Local: c.Local,
		Args: c.Args, ArgsKnown: true, IP: netip.MustParseAddr("192.0.2.1"), TLS: c.TLS == nil || *c.TLS, Now: c.Now,
		Labels: c.Labels, Approved: c.Approved, Approvals: c.Approvals, Session: policies.SessionFacts{Known: true},
	}
	if len(a.Args) == 0 {
		a.Args = []byte("{}")
	}
	if c.Approved && c.Approvals == 0 {
		a.Approvals = 1
	}
	if c.IP != "" {
		a.IP = netip.MustParseAddr(c.IP) // checked
	}
	if a.Now.IsZero() {
		a.Now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Scores)) {
		a.Scores = append(a.Scores, policies.Score{Name: name, Value: c.Scores[name]})
	}
	if s := c.Session; s != nil {
		a.Session = policies.SessionFacts{Known: true, Calls: s.Calls, ThisTool: s.ThisTool, Labels: slices.Sorted(slices.Values(s.Labels))}
	}
	if c.Plan != nil {
		a.Plan = c.Plan.facts()
	}
	return a
}

// principal gives one that is described, the same to every case: the engine keeps what it knows of one by its pointer.
func (t *Test) principal(name string) *policies.Principal {
	if t.made == nil {
		t.made = map[string]*policies.Principal{}
	}
	if t.made[name] == nil {
		p := t.Principals[name]
		t.made[name] = p.value(name)
	}
	return t.made[name]
}

func (p *Principal) value(name string) *policies.Principal {
	out := &policies.Principal{
		Kind: or(p.Kind, "Agent"), ID: or(p.ID, name), Tenant: or(p.Tenant, "acme"), Owner: p.Owner, Teams: p.Teams, Roles: p.Roles,
		Labels: p.Labels, TalksTo: p.TalksTo, Trust: 500, Status: or(p.Status, "active"),
	}
	if p.Trust != nil {
		out.Trust = *p.Trust
	}
	return out
}

func (l *Plan) facts() policies.PlanFacts {
	return policies.PlanFacts{
		InPlan: l.InPlan == nil || *l.InPlan, ID: l.ID, Step: l.Step, Steps: l.Steps, Done: l.Done, Expires: l.Expires,
		BundleAtIssue: l.BundleAtIssue,
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func (x *Tool) def() policies.ToolDef {
	a := &x.Annotations
	d := policies.ToolDef{Server: x.Server, Name: x.Name, Op: x.Op, InputSchema: x.InputSchema, Sensitivity: x.Sensitivity, Labels: x.Labels}
	if x.Op == "" || x.Op == "call_tool" {
		d.ReadOnly, d.Idempotent = a.ReadOnly, a.Idempotent
		d.Destructive, d.OpenWorld = !a.ReadOnly && orTrue(a.Destructive), orTrue(a.OpenWorld)
	}
	return d
}

// orTrue is a hint that MCP takes for true when it is left out.
func orTrue(b *bool) bool { return b == nil || *b }
