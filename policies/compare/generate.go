package compare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	cedar "github.com/cedar-policy/cedar-go"
	publicast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/policies"
)

// Requests says which requests to make up. The same seed, engines and tools make the same ones.
type Requests struct {
	N      int
	Seed   uint64
	Tenant string
	Tools  []policies.ToolDef
}

// Generate puts made-up requests to both engines, to find differences that no traffic has shown. They are made of the tools'
// schemas and of the constants that the policies compare with, values on both sides of each; more than half of them are
// about the policies that only one bundle has. That none differs proves nothing but that: Report.Requests says how many
// there were.
func Generate(ctx context.Context, old, next *policies.Engine, q Requests, o Options) (*Report, error) {
	if old == nil || next == nil {
		return nil, errors.New("make up requests: a bundle is missing")
	}
	m := newMaker(old, next, q)
	batches := func(yield func(Batch, error) bool) {
		for from := 0; from < q.N; from += generatedBatch {
			if !yield(generated{m, from, min(generatedBatch, q.N-from)}, nil) {
				return
			}
		}
	}
	r, err := Diff(ctx, old, next, batches, o)
	if err == nil {
		r.Requests, r.Seed = q.N, q.Seed
	}
	return r, err
}

const generatedBatch = 256

// generated is a Batch of made-up requests.
type generated struct {
	*maker
	from, n int
}

// Len implements Batch.
func (g generated) Len() int { return g.n }

// Read implements Batch.
func (g generated) Read(i int, _ *Parser) (RecordedAsk, error) { return g.request(g.from + i), nil }

// maker makes up requests.
type maker struct {
	q       Requests
	all     *literals
	changed []*literals       // of each policy that only one bundle has
	args    []*schema         // of the tools
	actions []policies.Action // that are no tool's
}

func newMaker(old, next *policies.Engine, q Requests) *maker {
	a, b := old.Trees(), next.Trees()
	m := &maker{q: q, all: newLiterals(slices.Concat(a, b))}
	for _, p := range slices.Concat(without(a, b), without(b, a)) {
		m.changed = append(m.changed, newLiterals([]*ast.Policy{p}))
	}
	for _, x := range next.Actions() {
		if !x.Tool && len(x.Resources) > 0 && x.Resources[0] != "Tool" {
			m.actions = append(m.actions, x)
		}
	}
	for _, t := range q.Tools {
		s := &schema{}
		if json.Unmarshal(t.InputSchema, s) != nil {
			s = &schema{}
		}
		m.args = append(m.args, s)
	}
	return m
}

// without gives the policies of a that are not in b, wherever they stand.
func without(a, b []*ast.Policy) (out []*ast.Policy) {
	text := func(p *ast.Policy) string {
		return string(cedar.NewPolicyFromAST((*publicast.Policy)(p)).MarshalCedar())
	}
	have := map[string]bool{}
	for _, p := range b {
		have[text(p)] = true
	}
	for _, p := range a {
		if !have[text(p)] {
			out = append(out, p)
		}
	}
	return out
}

// making is one request being made.
type making struct {
	*maker
	*rand.Rand
	focus *literals          // the policy that it is about; nil is none
	defs  map[string]*schema // of the tool
}

// request makes the i-th request.
func (m *maker) request(i int) RecordedAsk {
	g := making{maker: m, Rand: rand.New(rand.NewPCG(m.q.Seed, uint64(i)))} //nolint:gosec // reproducible on purpose
	if len(m.changed) > 0 && g.chance(65) {
		g.focus = m.changed[g.IntN(len(m.changed))]
	}
	r := RecordedAsk{
		Record: fmt.Sprintf("request %d", i), made: true, Principal: g.principal(), TLS: g.chance(70), Labels: g.labels(20), Addr: g.addr(), Time: g.time(),
	}
	r.Agent, r.User = r.Principal.ID, g.one(g.ids("User"), "usr_made_up")
	g.target(&r)
	g.plan(&r)
	if g.chance(80) {
		r.Session = policies.SessionFacts{Known: true, Calls: g.long("calls", 20), ThisTool: g.long("callsThisTool", 5), Labels: g.labels(20)}
	}
	for _, name := range g.all.scores {
		if g.chance(70) {
			r.Scores = append(r.Scores, policies.Score{Name: name, Value: min(max(g.long(name, 1000), 0), 1000)})
		}
	}
	slices.SortFunc(r.Scores, func(a, b policies.Score) int { return strings.Compare(a.Name, b.Name) })
	if g.chance(10) {
		r.Approved, r.Approvals = true, 1+g.IntN(3)
	}
	return r
}

func (g *making) chance(percent int) bool { return g.IntN(100) < percent }

// one picks from a list, or now and then the other.
func (g *making) one(list []string, other string) string {
	if len(list) == 0 || g.chance(15) {
		return other
	}
	return list[g.IntN(len(list))]
}

// ids are the entities of a type that the policy of the request names or, in want of that, any policy.
func (g *making) ids(kind string) []string {
	if g.focus != nil && g.chance(80) {
		for t, ids := range g.focus.entities {
			if string(t) == kind {
				return ids
			}
		}
	}
	for t, ids := range g.all.entities {
		if string(t) == kind {
			return ids
		}
	}
	return nil
}

// some picks a few of a list.
func (g *making) some(list []string, percent int) (out []string) {
	for _, s := range list {
		if g.chance(percent) && len(out) < 8 {
			out = append(out, s)
		}
	}
	return out
}

// constants are what an attribute of this name is compared with.
func (g *making) constants(name string) []any {
	if g.focus != nil && g.chance(85) {
		if v := g.focus.named[name]; len(v) > 0 {
			return v
		}
	}
	return g.all.named[name]
}

// constant picks one of a type that fits.
func constant[T any](g *making, name string) (v T, ok bool) {
	var fits []T
	for _, c := range g.constants(name) {
		if t, is := c.(T); is {
			fits = append(fits, t)
		}
	}
	if len(fits) == 0 {
		return v, false
	}
	return fits[g.IntN(len(fits))], true
}

func (g *making) long(name string, most int64) int64 {
	if v, ok := constant[int64](g, name); ok && g.chance(80) {
		return v
	}
	return g.Int64N(most + 1)
}

func (g *making) text(name string) string {
	if v, ok := constant[string](g, name); ok && g.chance(75) {
		return v
	}
	if v, ok := constant[string](g, ""); ok && g.chance(40) {
		return v
	}
	return []string{"", "a", "Z9", "ä", "../x", "a b"}[g.IntN(6)]
}

// oneOf picks a text that an attribute is compared with, or now and then the other.
func (g *making) oneOf(name, other string) string {
	if v, ok := constant[string](g, name); ok && g.chance(60) {
		return v
	}
	return other
}

func (g *making) labels(percent int) []string {
	var known []string
	for _, c := range g.constants("labels") {
		if s, ok := c.(string); ok && s != "" {
			known = append(known, s)
		}
	}
	out := g.some(known, percent+20)
	slices.Sort(out)
	return slices.Compact(out)
}

func (g *making) principal() *policies.Principal {
	p := &policies.Principal{Kind: "Agent", Tenant: g.q.Tenant, Trust: min(max(g.long("trust", 1000), 0), 1000), Status: "active"}
	p.Teams, p.Roles, p.Labels = g.some(g.ids("Team"), 35), g.some(g.ids("Role"), 35), g.labels(30)
	p.ID, p.Owner = g.one(g.ids("Agent"), "agt_made_up"), g.one(g.ids("User"), "usr_made_up")
	if g.chance(10) {
		p.Kind, p.ID, p.Owner = "User", p.Owner, ""
	}
	if g.chance(10) {
		p.Status = []string{"pending", "suspended", "revoked"}[g.IntN(3)]
	}
	if g.chance(15) {
		for _, t := range g.q.Tools {
			if g.chance(50) && !slices.Contains(p.TalksTo, t.Server) {
				p.TalksTo = append(p.TalksTo, t.Server)
			}
		}
	}
	return p
}

func (g *making) addr() netip.Addr {
	if n := len(g.all.addrs); n > 0 && g.chance(70) {
		return g.all.addrs[g.IntN(n)]
	}
	return netip.AddrFrom4([4]byte{byte(g.IntN(223) + 1), byte(g.IntN(256)), byte(g.IntN(256)), byte(g.IntN(256))})
}

// midYear is when requests are made without a time that policies name.
var midYear = time.Date(2026, time.July, 1, 0, 0, 0, 0, time.UTC)

func (g *making) time() time.Time {
	if n := len(g.all.times); n > 0 && g.chance(70) {
		return g.all.times[g.IntN(n)]
	}
	return midYear.Add(time.Duration(g.IntN(7*24*60)) * time.Minute)
}

func (g *making) plan(r *RecordedAsk) {
	if !g.chance(80) {
		return
	}
	r.Plan = policies.PlanFacts{
		InPlan: true, ID: g.oneOf("id", "pln_made_up"), BundleAtIssue: g.oneOf("bundleAtIssue", ""), Step: int(max(g.long("step", 4), 0)), Steps: int(max(g.long("steps", 6), 1)), Done: int(max(g.long("stepsDone", 4), 0)),
		Expires: r.Time.Add(time.Duration(g.IntN(120)) * time.Minute),
	}
}

// target chooses what is called: mostly a tool, and one that the policy of the request is about.
func (g *making) target(r *RecordedAsk) {
	if name := g.action(); name != "" {
		g.other(r, name)
		return
	}
	at := g.tool()
	t := &g.q.Tools[at]
	if r.Action = t.Op; r.Action == "" {
		r.Action = "call_tool"
	}
	r.Server, r.Tool = t.Server, t.Name
	g.defs = g.args[at].Defs
	r.Args = g.arguments(g.args[at])
}

// action chooses one that is no tool's, or "": often where the policy of the request names it.
func (g *making) action() string {
	if g.focus != nil && g.chance(70) {
		for _, a := range g.actions {
			if slices.Contains(g.focus.actions, a.Name) {
				return a.Name
			}
		}
	}
	if len(g.actions) == 0 || len(g.q.Tools) > 0 && !g.chance(12) {
		return ""
	}
	return g.actions[g.IntN(len(g.actions))].Name
}

// other makes a request that is about no tool: a server, all of them, or a prompt, resource or model.
func (g *making) other(r *RecordedAsk, name string) {
	at := slices.IndexFunc(g.actions, func(a policies.Action) bool { return a.Name == name })
	kind := g.actions[at].Resources[0]
	r.Action = name
	switch kind {
	case "Organization", "Server":
		if g.chance(50) {
			r.Server = g.one(g.all.servers, "")
		}
	default:
		r.Server, r.Tool, _ = strings.Cut(g.one(g.ids(kind), g.one(g.all.servers, "made_up")+"/"+g.oneOf("uri", g.oneOf("scheme", "made")+":up")), "/")
	}
}

func (g *making) tool() int {
	if g.focus == nil || g.chance(10) {
		return g.IntN(len(g.q.Tools))
	}
	var fit []int
	for i, t := range g.q.Tools {
		if slices.Contains(g.focus.actions, t.Server+"___"+t.Name) || slices.Contains(g.focus.targets, t.Server+"/"+t.Name) || slices.Contains(g.focus.servers, t.Server) {
			fit = append(fit, i)
		}
	}
	if len(fit) == 0 {
		return g.IntN(len(g.q.Tools))
	}
	return fit[g.IntN(len(fit))]
}

// arguments makes a checked JSON object of a tool's schema.
func (g *making) arguments(s *schema) []byte {
	b, err := json.Marshal(g.object(s, 4))
	if err != nil || canon.Check(b, askLimits) != nil {
		return []byte(`{}`)
	}
	return b
}
