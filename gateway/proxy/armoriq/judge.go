package armoriq

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/gateway/terms"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/policies"
)

// The routes here answer what policy would say, without a call being made: advice. The call is judged when it comes.

// readDecision reads POST /v1/data/armoriq/authz/decision, the data API of an Open Policy Agent as its client calls it. The
// client's own policies and subject are read past. A tool is judged as a step of the caller's newest plan that has it.
func readDecision(r *request) error {
	var input, resource, params []byte
	var tool, kind string
	err := readObject(r.body, "", fields{"input": object(&input)})
	if err == nil && input != nil {
		err = readObject(input, "/input", fields{"resource": object(&resource)})
	}
	if err == nil && resource != nil {
		err = readObject(resource, "/input/resource", fields{"toolName": text(&tool, 1024), "resourceType": text(&kind, 128), "params": object(&params)})
	}
	if err != nil {
		return err
	}
	if tool == "" {
		return malformed("/input/resource/toolName", "is needed")
	}
	server, name, err := r.toolOf("/input/resource", "", tool, "")
	if err != nil {
		return err
	}
	if server == unnamed {
		server = "claude-code" // the client that asks here runs such tools itself
	}
	if params == nil {
		params = []byte("{}")
	}
	if params, err = r.strip(server, name, params); err != nil {
		return err
	}
	r.own("policy/ask", "check_policy", func(context.Context) (any, error) {
		verdict, why, plan := r.judged(server, name, params)
		word := map[string]string{"allow": "allow", "hold": "hold", "block": "deny"}[verdict]
		return map[string]any{"result": map[string]any{
			"allow": verdict == "allow", "decision": word, "reason": why, "hold": verdict == "hold", "ask": verdict == "hold",
			"require_approval": verdict == "hold", "plan_id": plan,
		}}, nil
	})
	return nil
}

// judged asks policy about a tool with these arguments, as a step of the caller's newest active plan that has the tool.
// What no plan has is blocked, whatever policy says: so is the call.
func (r *request) judged(server, tool string, args []byte) (verdict, why, plan string) {
	id, _, ok := r.Plans.Find(r.owner(), "tools/call", server, tool)
	if !ok {
		return "block", "no active plan of this caller has the tool", ""
	}
	_, h, ok := r.Plans.Head(r.owner(), id)
	if !ok {
		return "block", "the plan has just ended", id
	}
	step, ok := r.stepFor(h, server, tool, args)
	if !ok {
		return "block", "the arguments are not those of the plan", id
	}
	t, err := r.Terms.Of(r.c.Caller.Tenant(), h)
	if err != nil {
		return "block", "the plan's own policy cannot be read", id
	}
	at := target{server: server, tool: tool, local: h.Plan().Steps[step].Local, args: args, known: true}
	verdict, why = verdictOf(r.decide(r.ifCalled(at, h, id, step, t)))
	return verdict, why, id
}

// stepFor finds a step of the plan that takes the tool with these arguments.
func (r *request) stepFor(h *intent.Held, server, tool string, args []byte) (int, bool) {
	for i, s := range h.Plan().Steps {
		if s.Op == "tools/call" && s.Server == server && s.Tool == tool && r.fitting(&s.Args, args) {
			return i, true
		}
	}
	return 0, false
}

// fitting holds arguments against those of a step. Only plans captured elsewhere hold one to more than a value; what such
// a step takes is not told here, but when the call is made.
func (r *request) fitting(a *intent.Args, args []byte) bool {
	named := 0
	for name, c := range a.Params {
		v, given := canon.Get(args, name)
		switch {
		case !given && c.Optional:
			continue
		case !given, !c.Open && (c.Const == nil || !r.same(v, c.Const)):
			return false
		}
		named++
	}
	all := 0
	err := canon.Each(args, func(_, _ []byte) error { all++; return nil })
	return err == nil && (a.Additional || all == named)
}

// preflight is a tool call that a model means to make.
type preflight struct {
	name, tool string
	args       []byte
}

// readPreflight reads POST /iap/sdk/preflight: would these calls pass as steps of a plan?
func readPreflight(r *request) error {
	var raw []byte
	if err := readObject(r.body, "", fields{"tool_calls": value(&raw)}); err != nil {
		return err
	}
	if raw == nil {
		return malformed("/tool_calls", "is needed")
	}
	var list []preflight
	err := elements(raw, "/tool_calls", maxSteps, func(v []byte, at string) error {
		var p preflight
		err := readObject(v, at, fields{
			"name": text(&p.name, 1024), "tool": text(&p.tool, 1024), "args": object(&p.args), "arguments": object(&p.args), "params": object(&p.args),
		})
		if err == nil && p.name == "" && p.tool == "" {
			err = malformed(at+"/name", "is needed")
		}
		list = append(list, p)
		return err
	})
	if err != nil {
		return err
	}
	r.own("policy/preflight", "check_policy", func(context.Context) (any, error) { return r.foreseen(list) })
	r.write = func(r *request) {
		var answer map[string]any
		if json.Unmarshal(r.c.Reply.Result, &answer) == nil {
			answer["intent_id"] = r.c.Record
			r.encode(answer)
		}
	}
	return nil
}

func (r *request) foreseen(list []preflight) (any, error) {
	violations, offending, decision := []any{}, []string{}, "allow"
	for i, p := range list {
		server, tool, err := r.toolOf("/tool_calls/"+strconv.Itoa(i), "", p.name, p.tool)
		if err != nil {
			return nil, err
		}
		if p.args == nil {
			p.args = []byte("{}")
		}
		verdict, why := r.foreseeCall(server, tool, p.args)
		if verdict == "allow" {
			continue
		}
		violations = append(violations, map[string]any{"index": i, "tool": tool, "mcp": server, "action": verdict, "reason": why})
		offending = append(offending, server+"/"+tool)
		if decision != "deny" {
			decision = map[string]string{"hold": "hold", "block": "deny"}[verdict]
		}
	}
	return map[string]any{
		"success": true, "decision": decision, "violations": violations, "offending_interfaces": offending, "predicate_fails": []any{}, "meta": map[string]any{"calls": len(list)},
	}, nil
}

// foreseeCall judges a call as if it were a step of a plan.
func (r *request) foreseeCall(server, tool string, args []byte) (verdict, why string) {
	tenant := r.c.Caller.Tenant()
	_, known := r.Catalogue.Server(tenant, server)
	if known {
		t, ok := r.Catalogue.Lookup(tenant, server, tool)
		if !ok {
			return "block", "the server has no such tool"
		}
		if err := t.CheckArgs(args); err != nil {
			return "block", "the arguments break the tool's schema: " + err.Error()
		}
	}
	t, err := r.Terms.Of(tenant, nil)
	if err != nil {
		return "block", "the organisation's profile cannot be read"
	}
	return verdictOf(r.decide(r.ifCalled(target{server: server, tool: tool, local: !known, args: args, known: true}, nil, "", 0, t)))
}

// readPolicyBundle reads GET /policy/bundles/current?agent=: what a client that decides for itself may decide by the
// tool's name. Where policy looks at more than the name, the tool is held, and a client in that mode refuses what is held.
// What it does not see is the plan: fixed arguments, uses, order, revocation, filters. Calls through the gateway are held
// to those.
func readPolicyBundle(r *request) error {
	agent, err := r.query("agent")
	if err != nil {
		return err
	}
	r.own("policy/bundle", "read_account", func(ctx context.Context) (any, error) {
		a, err := r.People.Agent(ctx, r.c.Caller.Tenant(), r.c.Caller.Agent())
		if err != nil {
			return nil, err
		}
		if agent != "" && agent != a.ID && agent != a.Name {
			return map[string]any{"agents": []any{}}, nil // others' are not shown; the client then blocks
		}
		return map[string]any{"agents": []any{r.localAgent(a.ID, a.Name)}}, nil
	})
	r.write = writeBundle
	return nil
}

// writeBundle answers 304 when the client has what it would be told. Times of expiry do not count.
func writeBundle(r *request) {
	var b struct {
		Agents []localAgent `json:"agents"`
	}
	tag := `""`
	if json.Unmarshal(r.c.Reply.Result, &b) == nil {
		for i := range b.Agents {
			b.Agents[i].Policy.Document.Expires = ""
		}
		if same, err := json.Marshal(b); err == nil {
			sum := sha256.Sum256(same)
			tag = `"` + hex.EncodeToString(sum[:16]) + `"`
		}
	}
	r.x.Response.Header.Set("ETag", tag)
	if tag == string(r.x.Head.IfNoneMatch) {
		r.x.JSON(http.StatusNotModified, nil)
		return
	}
	r.x.JSON(http.StatusOK, r.c.Reply.Result)
}

type localAgent struct {
	ID      string      `json:"agentId"`
	Name    string      `json:"name"`
	Tools   []localTool `json:"tools"`
	Members []any       `json:"members"`
	Policy  localPolicy `json:"policy"`
}

type localTool struct {
	Name         string   `json:"name"`
	Qualified    string   `json:"qualifiedName"`
	Server       string   `json:"server"`
	SchemaHash   string   `json:"schemaHash"`
	Capabilities []string `json:"capabilities"`
}

type localPolicy struct {
	ID       string        `json:"policyId"`
	Name     string        `json:"name"`
	Document localDocument `json:"document"`
}

type localDocument struct {
	ID         string            `json:"policyId"`
	Layer      string            `json:"layer"`
	Expires    string            `json:"expiresAt"`
	Defaults   map[string]string `json:"defaults"`
	Statements []localStatement  `json:"statements"`
}

type localStatement struct {
	ID         string         `json:"id"`
	Effect     string         `json:"effect"`
	Match      map[string]any `json:"match"`
	Conditions []any          `json:"conditions"`
	Provenance map[string]any `json:"provenance"`
	Expires    string         `json:"expiresAt"`
}

// localFor is how long a client may decide by one answer.
const localFor = 5 * time.Minute

// maxLocalPlans bounds how many plans one such answer looks at for tools of servers that are not here. The tools of others
// are blocked.
const maxLocalPlans = 1024

func (r *request) localAgent(id, name string) localAgent {
	tools, effects := []localTool{}, map[string]string{}
	tenant := r.c.Caller.Tenant()
	o := outlooks{r: r, known: map[outlookKey]string{}}
	note := func(tool, effect string) {
		if old := effects[tool]; old == "" || rank[effect] > rank[old] {
			effects[tool] = effect // one name on two servers cannot be told apart there: the stricter
		}
	}
	for _, s := range r.Catalogue.Servers(tenant) {
		for _, t := range r.Catalogue.Tools(tenant, s.Name) {
			if !t.Callable() { // also one that waits for a person's approval, which policies may know already
				note(t.Name, "block")
				continue
			}
			note(t.Name, o.of(s.Name, t.Name, false))
			tools = append(tools, localTool{t.Name, s.Name + "__" + t.Name, s.Name, t.SchemaHash.String(), []string{}})
		}
	}
	for _, held := range r.Plans.Active(r.owner(), maxLocalPlans) {
		for _, s := range held.Plan().Steps {
			if s.Local {
				note(s.Tool, o.of(s.Server, s.Tool, true))
			}
		}
	}
	digest := r.engine().Digest().String()
	doc := localDocument{
		ID: digest[:32], Layer: "agent", Expires: r.Now().Add(localFor).UTC().Format(time.RFC3339), Defaults: map[string]string{"tools": "block"}, Statements: []localStatement{},
	}
	names := []string{}
	for tool := range effects {
		names = append(names, tool)
	}
	slices.Sort(names)
	for i, tool := range names {
		if strings.ContainsAny(tool, "*?[{") {
			continue // would be read as a pattern; the default blocks it
		}
		doc.Statements = append(doc.Statements, localStatement{
			ID: "s" + strconv.Itoa(i), Effect: effects[tool], Match: map[string]any{"tool": tool, "order": i}, Conditions: []any{},
			Provenance: map[string]any{"ruleKey": tool, "variant": 0}, Expires: "never",
		})
	}
	return localAgent{ID: id, Name: name, Tools: tools, Members: []any{}, Policy: localPolicy{ID: digest[:32], Name: "gatewright", Document: doc}}
}

var rank = map[string]int{"allow": 1, "hold": 2, "block": 3}

// outlooks are what may be said about tools whatever their arguments, under the bundle and the tenant's profile. A token's
// own policy is not among it: the client asks before it has a plan, and its sessions give their plans none.
type outlooks struct {
	r     *request
	known map[outlookKey]string
}

type outlookKey struct {
	server, tool string
	local        bool
}

// of is the outlook of a tool.
func (o *outlooks) of(server, tool string, local bool) string {
	k := outlookKey{server, tool, local}
	if effect, ok := o.known[k]; ok {
		return effect
	}
	t, err := o.r.Terms.Of(o.r.c.Caller.Tenant(), nil)
	if err != nil {
		return "block"
	}
	effect := o.r.outlook(t, server, tool, local)
	if effect == "allow" && t != nil && len(t.Rates) > 0 {
		effect = "hold" // calls are counted here, and there by nobody
	}
	o.known[k] = effect
	return effect
}

func (r *request) outlook(t *terms.Terms, server, tool string, local bool) string {
	ask := r.ifCalled(target{server: server, tool: tool, local: local}, nil, "", 0, t)
	switch r.engine().Outlook(ask) {
	case policies.Always:
		return "allow"
	case policies.Sometimes, policies.Held:
		return "hold"
	default:
		return "block"
	}
}
