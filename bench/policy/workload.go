package policy

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// workload is what a gateway of some size is asked: policies in Cedar and the same in Rego, tools, agents, and requests.
//
// A few forbids are for everybody; five in a hundred forbid a pattern in an argument on one server; a fifth permits an
// agent on a server up to an amount; a fifth permits a team on a server by trust and sensitivity; the rest permits a team
// one tool within hours of the day and a range of addresses. Teams, servers and agents grow with the policies.
type workload struct {
	policies int
	cedar    strings.Builder
	rego     strings.Builder
	servers  int
	tools    []tool
	agents   []agent
	requests []request
	grants   []grant // of the policies that permit, to draw requests from
}

type tool struct {
	server, name string
	sensitivity  int64
}

func (t *tool) id() string { return t.server + "/" + t.name }

type agent struct {
	index int // among all
	id    string
	teams []string
	trust int64
}

// request is one call. What a subject is given is made of it before anything is measured.
type request struct {
	agent  *agent
	tool   *tool
	params []byte // of tools/call, as they arrive: {"name":...,"arguments":{...}}
	args   []byte // the arguments alone
	path   string
	amount int64
	dry    bool
	now    time.Time
	ip     netip.Addr
}

// grant is what one policy permits, as far as a request can aim at it.
type grant struct {
	team, agent int // an index, or -1
	tool        int
}

const (
	toolsAServer = 20
	requests     = 512
	teamsAnAgent = 2
	note         = "quarterly figures for the board, second draft"
)

// inputSchema is every tool's: what policies read, and what they do not.
const inputSchema = `{"type":"object","properties":{"path":{"type":"string"},"amount":{"type":"integer"},"note":{"type":"string"},` +
	`"options":{"type":"object","properties":{"dry":{"type":"boolean"}}}},"required":["path","amount"]}`

// newWorkload makes the same workload for the same number of policies, over so many servers.
func newWorkload(n, servers int) *workload {
	g := rand.New(rand.NewPCG(uint64(n), 6)) //nolint:gosec // a workload, and the same one every time
	w := &workload{policies: n, servers: servers}
	teams := max(1, n/10)
	for i := range w.servers * toolsAServer {
		server, name := fmt.Sprintf("s%d", i/toolsAServer), fmt.Sprintf("tool%d", i%toolsAServer)
		w.tools = append(w.tools, tool{server, name, int64(g.IntN(5))})
	}
	for i := range max(teamsAnAgent, n/5) {
		a := agent{index: i, id: fmt.Sprintf("agt_%d", i), trust: int64(g.IntN(1001))}
		for range teamsAnAgent {
			a.teams = append(a.teams, fmt.Sprintf("t%d", g.IntN(teams)))
		}
		w.agents = append(w.agents, a)
	}
	w.rego.WriteString("package gate\n\ndefault allow := false\n\nallow if {\n\tnot deny\n\tpermit\n}\n\n")
	for i := range n {
		w.policy(g, i, teams)
	}
	for range requests {
		w.requests = append(w.requests, w.request(g))
	}
	return w
}

// policy writes the i-th policy in both languages.
func (w *workload) policy(g *rand.Rand, i, teams int) {
	at := g.IntN(len(w.tools))
	t, team, who := &w.tools[at], g.IntN(teams), g.IntN(len(w.agents))
	switch {
	case i < min(5, max(1, w.policies/20)):
		w.write(i, `forbid (principal, action in Action::"call_tool", resource) when { context.trust < %[1]d && resource.sensitivity > %[2]d };`,
			`deny if { input.trust < %[1]d; input.sensitivity > %[2]d }`, 20+40*i, 4-i%3)
	case i%20 == 7:
		w.write(i, `forbid (principal, action in Action::"call_tool", resource in Server::"%[1]s") when { context.input has path && context.input.path like "*..*" };`,
			`deny if { input.server == "%[1]s"; contains(input.args.path, "..") }`, t.server)
	case i%5 == 3:
		w.grants = append(w.grants, grant{-1, who, at})
		w.write(i, `permit (principal == Agent::"agt_%[1]d", action in Action::"call_tool", resource in Server::"%[2]s") when { context.input has amount && context.input.amount < %[3]d };`,
			`permit if { input.agent == "agt_%[1]d"; input.server == "%[2]s"; input.args.amount < %[3]d }`, who, t.server, 100*(1+i%9))
	case i%5 == 4:
		w.grants = append(w.grants, grant{team, -1, at})
		w.write(i, `permit (principal in Team::"t%[1]d", action in Action::"call_tool", resource in Server::"%[2]s") unless { context.trust < 50 || resource.sensitivity > 2 };`,
			`permit if { "t%[1]d" in input.teams; input.server == "%[2]s"; input.trust >= 50; input.sensitivity <= 2 }`, team, t.server)
	default:
		w.grants = append(w.grants, grant{team, -1, at})
		w.write(i, `permit (principal in Team::"t%[1]d", action == Action::"%[2]s___%[3]s", resource == Tool::"%[2]s/%[3]s") `+
			`when { context.now.toTime() >= duration("%[4]dh") && context.now.toTime() < duration("20h") && context.net.ip.isInRange(ip("10.%[5]d.0.0/14")) };`,
			`permit if { "t%[1]d" in input.teams; input.tool == "%[2]s/%[3]s"; input.time >= %[4]d * 3600000; input.time < 72000000; net.cidr_contains("10.%[5]d.0.0/14", input.ip) }`,
			team, t.server, t.name, 5+i%4, 4*(i%4))
	}
}

func (w *workload) write(i int, cedar, rego string, args ...any) {
	fmt.Fprintf(&w.cedar, "@id(\"p%d\") ", i)
	fmt.Fprintf(&w.cedar, cedar+"\n", args...)
	fmt.Fprintf(&w.rego, rego+"\n", args...)
}

// request draws one call: three of four aim at what some policy permits.
func (w *workload) request(g *rand.Rand) request {
	r := request{agent: &w.agents[g.IntN(len(w.agents))], tool: &w.tools[g.IntN(len(w.tools))]}
	if len(w.grants) > 0 && g.IntN(4) > 0 {
		to := w.grants[g.IntN(len(w.grants))]
		r.tool = &w.tools[to.tool]
		if to.agent >= 0 {
			r.agent = &w.agents[to.agent]
		} else if a := w.member(to.team); a != nil {
			r.agent = a
		}
	}
	r.path, r.amount, r.dry = fmt.Sprintf("/srv/data/%d.csv", g.IntN(1000)), g.Int64N(1000), g.IntN(2) == 0
	if g.IntN(8) == 0 {
		r.path = "/srv/../etc/passwd"
	}
	r.args = fmt.Appendf(nil, `{"path":%q,"amount":%d,"note":%q,"options":{"dry":%t}}`, r.path, r.amount, note, r.dry)
	r.params = fmt.Appendf(nil, `{"name":%q,"arguments":%s}`, r.tool.name, r.args)
	r.now = time.Date(2026, 11, 2, g.IntN(24), 1+g.IntN(58), 0, 0, time.UTC)
	r.ip = netip.AddrFrom4([4]byte{10, byte(g.IntN(20)), byte(g.IntN(256)), 7}) //nolint:gosec // below 256
	return r
}

func (w *workload) member(team int) *agent {
	name := fmt.Sprintf("t%d", team)
	for i := range w.agents {
		if slices.Contains(w.agents[i].teams, name) {
			return &w.agents[i]
		}
	}
	return nil
}

// inputs are the requests as OPA takes them. What Cedar has to derive is given: the time of day is a number already.
func (w *workload) inputs() ([]json.RawMessage, error) {
	var out []json.RawMessage
	for i := range w.requests {
		r := &w.requests[i]
		text, err := json.Marshal(map[string]any{
			"agent": r.agent.id, "teams": r.agent.teams, "trust": r.agent.trust,
			"server": r.tool.server, "tool": r.tool.id(), "sensitivity": r.tool.sensitivity,
			"time": r.now.Sub(r.now.Truncate(24 * time.Hour)).Milliseconds(), "ip": r.ip.String(), "args": json.RawMessage(r.args),
		})
		if err != nil {
			return nil, fmt.Errorf("write an input: %w", err)
		}
		out = append(out, text)
	}
	return out, nil
}
