package armoriq

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/plans"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
	armoriqpolicy "github.com/gatewright/gatewright/policies/armoriq"
)

// asked is a plan that a token is asked for.
type asked struct {
	plan, policy []byte
	context      string
	ttl          time.Duration
	alone        bool // the token is to be a credential too
}

// readToken reads POST /iap/sdk/token of the client libraries. user_id, agent_id and user_email are read past.
func readToken(r *request) error {
	var a asked
	var life json.Number
	err := readObject(r.body, "", fields{"plan": object(&a.plan), "policy": value(&a.policy), "context_id": text(&a.context, 256), "expires_in": number(&life)})
	if err == nil {
		a.ttl, err = seconds(life, "/expires_in")
	}
	if err != nil {
		return err
	}
	return r.issue(&a, func(t *ticket) any { return t.sdk() })
}

// readProcess reads POST /iap/process of the request flow: a person's client asks for a proxy token, which is the bearer
// at /tool.
func readProcess(r *request) error {
	a := asked{alone: true}
	var life, valid json.Number
	err := readObject(r.body, "", fields{
		"plan": object(&a.plan), "policy": value(&a.policy), "context_id": text(&a.context, 256), "expires_in": number(&life), "validity_seconds": number(&valid),
	})
	if life == "" {
		life = valid
	}
	if err == nil {
		a.ttl, err = seconds(life, "/expires_in")
	}
	if err != nil {
		return err
	}
	return r.issue(&a, func(t *ticket) any { return t.process() })
}

// readIntent reads POST /intent: the plan's reasoning graph with a token that may be shown in the body alone.
func readIntent(r *request) error {
	a := asked{alone: true}
	var life json.Number
	var identity []byte
	err := readObject(r.body, "", fields{"plan": object(&a.plan), "policy": value(&a.policy), "validity_seconds": number(&life), "identity": object(&identity)})
	if err == nil && identity != nil {
		err = readObject(identity, "/identity", fields{"context_id": text(&a.context, 256)})
	}
	if err == nil {
		a.ttl, err = seconds(life, "/validity_seconds")
	}
	if err != nil {
		return err
	}
	return r.issue(&a, func(t *ticket) any { return t.intent() })
}

// seconds reads a lifetime; clients write 60.0 for 60. None takes the configured one, and what is longer than allowed is
// cut there.
func seconds(n json.Number, at string) (time.Duration, error) {
	if n == "" {
		return 0, nil
	}
	f, err := strconv.ParseFloat(string(n), 64)
	if err != nil || math.IsNaN(f) || f < 1 || f > 10*365*24*3600 {
		return 0, malformed(at, "must be a number of seconds, at least 1")
	}
	return time.Duration(f) * time.Second, nil
}

// issue captures the plan and takes a token for it. What the client's policy says must be understood whole, or there is
// no token: a limit that is passed over is no limit.
func (r *request) issue(a *asked, answer func(t *ticket) any) error {
	if a.plan == nil {
		return malformed("/plan", "a plan is needed")
	}
	if string(a.policy) == "{}" {
		a.policy = nil
	}
	if _, err := armoriqpolicy.Policy(a.policy); err != nil {
		d := pipeline.Deny(pipeline.InvalidPlan, "the policy cannot be enforced as it stands: "+err.Error()).Because(err)
		d.Hint = "change or leave out what the message names; a policy is enforced whole or not at all"
		return d
	}
	if a.policy != nil { // its clients sign and check it in Python's form
		if _, err := canon.AppendPython(nil, a.policy, r.JSON); err != nil {
			return malformed("/policy", err.Error())
		}
	}
	p, err := r.planOf(a.plan, "/plan", metadata{Policy: a.policy, Context: a.context})
	if err != nil {
		return err
	}
	r.own("tokens/issue", "capture_plan", func(ctx context.Context) (any, error) {
		if err := r.permitted("issue_token"); err != nil {
			return nil, err
		}
		captured, err := r.Plans.CapturePlan(ctx, r.owner(), plans.Draft{Plan: p, AllowLocal: true, TTL: r.planLife(a.ttl)})
		if err != nil {
			return nil, err
		}
		issued, err := r.Plans.Token(ctx, r.owner(), captured.ID, plans.TokenOptions{TTL: a.ttl, Alone: a.alone})
		if err != nil {
			return nil, err
		}
		t, err := r.ticket(captured.ID, issued, a.policy)
		if err != nil {
			return nil, err
		}
		r.c.Keep = t.life() / 2 // a retry gets the same token while most of its life is left
		return answer(t), nil
	})
	return nil
}

// planLife is how long a plan is kept: its clients make one for each token and can take no other for it, so that it ends
// when the token does, and makes room.
func (r *request) planLife(token time.Duration) time.Duration {
	if token == 0 {
		token = r.Settings.TokenTTL
	}
	return token + time.Second
}

// permitted asks policy about one more operation of the gateway that the request stands for.
func (r *request) permitted(action string) error {
	ask := r.c.BuildAsk(0)
	ask.Action = action
	if r.decide(&ask).Allowed() {
		return nil
	}
	return pipeline.Deny(pipeline.PolicyDenied, "policy does not permit "+action)
}

// ticket is a token that was just issued, with all that an answer may say about it.
type ticket struct {
	r      *request
	held   *intent.Held
	claims intent.Claims
	outer  outer
	policy []byte
}

func (r *request) ticket(planID string, issued plans.Issued, policy []byte) (*ticket, error) {
	_, held, ok := r.Plans.Head(r.owner(), planID)
	if !ok {
		return nil, pipeline.Deny(pipeline.PlanInactive, "the plan ended while its token was made")
	}
	t, err := r.Verifier.Token([]byte(issued.Token), r.Now())
	if err != nil {
		return nil, err
	}
	o, err := r.sealOuter(issued.Token, t.Claims(), r.identity(), policy)
	return &ticket{r: r, held: held, claims: t.Claims(), outer: o, policy: policy}, err
}

func (t *ticket) life() time.Duration {
	return time.Duration(t.claims.Expires-t.claims.IssuedAt) * time.Second
}

// proofs are bare arrays, one a step.
func (t *ticket) proofs() [][]sibling {
	out := make([][]sibling, t.held.Size())
	for i := range out {
		out[i] = proofOf(t.held, i)
	}
	return out
}

// common is what every answer about a token says.
func (t *ticket) common() map[string]any {
	return map[string]any{
		"success": true, "plan_id": t.claims.PlanID, "plan_hash": t.claims.PlanHash.String(), "merkle_root": t.claims.PlanRoot.String(),
		"intent_reference": t.claims.ID, "token": t.outer, "composite_identity": t.outer.Identity, "step_proofs": t.proofs(),
		"issued_at": t.claims.IssuedAt, "expires_at": t.claims.Expires,
	}
}

func (t *ticket) sdk() any {
	a := t.common()
	a["jwt_token"] = t.outer.JWT
	a["client_info"] = map[string]any{
		"organizationId": t.claims.Tenant, "userId": t.claims.Subject, "agentId": t.claims.Agent, "keyId": t.claims.KeyID,
	}
	a["policy_validation"] = t.r.validation(t.held)
	a["policy_snapshot"] = []any{} // unsigned, and so worth nothing here: policy is asked at each call
	return a
}

func (t *ticket) process() any {
	a := t.common()
	a["proxy_token"], a["token_type"], a["jwt_token"] = t.outer.JWT, "Bearer", t.outer.JWT
	a["policy_validation"] = t.r.validation(t.held)
	return a
}

func (t *ticket) intent() any {
	a := t.common()
	a["reasoning_graph"] = graphOf(t.held)
	return a
}

// graph is a plan as a graph: its steps, and which must come first.
type graph struct {
	Nodes []node `json:"nodes"`
	Edges []edge `json:"edges"`
}

type node struct {
	ID     string `json:"id"`
	Path   string `json:"path"`
	Index  int    `json:"index"`
	MCP    string `json:"mcp"`
	Action string `json:"action"`
	Leaf   string `json:"leaf_hash"`
	Local  bool   `json:"local,omitempty"`
}

type edge struct {
	From string `json:"from"`
	To   string `json:"to"`
}

func graphOf(h *intent.Held) graph {
	g := graph{Nodes: []node{}, Edges: []edge{}}
	id := func(i int) string { return "step-" + strconv.Itoa(i) }
	for i, s := range h.Plan().Steps {
		g.Nodes = append(g.Nodes, node{
			ID: id(i), Path: "/steps/[" + strconv.Itoa(i) + "]", Index: i, MCP: s.Server, Action: s.Tool, Leaf: h.LeafHash(i).String(), Local: s.Local,
		})
		for _, before := range s.After {
			g.Edges = append(g.Edges, edge{id(before), id(i)})
		}
	}
	return g
}

// validation is what policy would say to each step if it were called now: advice to the client, asked again at each call.
type validation struct {
	Allowed []string `json:"allowed_tools"`
	Denied  []string `json:"denied_tools"`
	Reasons []string `json:"denied_reasons"`
	Default string   `json:"default_enforcement_action"`
	Terms   []string `json:"terms"`           // what the tenant's profile and the plan's own policy add, in plain words
	Cedar   string   `json:"cedar,omitempty"` // the plan's own policy as it is enforced
}

func (r *request) validation(h *intent.Held) validation {
	v := validation{Allowed: []string{}, Denied: []string{}, Reasons: []string{}, Default: "block", Terms: []string{}}
	own := policyIn(h)
	if p, err := armoriqpolicy.Policy(own); err == nil {
		v.Cedar = string(p.Cedar)
	}
	t, err := r.Terms.Of(r.c.Caller.Tenant(), h)
	if err != nil {
		v.Reasons = append(v.Reasons, "*: "+err.Error())
		return v
	}
	if t != nil {
		v.Terms = append(v.Terms, t.Lines...)
	}
	v.Terms = append(v.Terms, r.strangersIn(own, h)...)
	for i := range h.Plan().Steps {
		s := &h.Plan().Steps[i]
		at := target{server: s.Server, tool: s.Tool, local: s.Local}
		at.args, at.known = fixedArgs(&s.Args)
		verdict, why := verdictOf(r.decide(r.ifCalled(at, h, "", i, t)))
		if s.Local {
			v.Terms = append(v.Terms, fmt.Sprintf("Step %d: there is no server %q here; the step is judged and never forwarded.", i, s.Server))
		}
		switch verdict {
		case "hold":
			v.Terms = append(v.Terms, fmt.Sprintf("Step %d (%s): held until people approve the call.", i, s.Tool))
			fallthrough
		case "allow":
			v.Allowed = append(v.Allowed, s.Tool)
		default:
			v.Denied, v.Reasons = append(v.Denied, s.Tool), append(v.Reasons, s.Tool+": "+why)
		}
	}
	return v
}

// strangersIn names what a policy denies that nobody here knows: a name misspelt there denies nothing.
func (r *request) strangersIn(policy []byte, h *intent.Held) (lines []string) {
	denied, ok := canon.Get(policy, "deny")
	if !ok || canon.KindOf(denied) != '[' {
		return nil
	}
	known := map[string]bool{}
	for _, s := range h.Plan().Steps {
		known[s.Tool] = true
	}
	for _, s := range r.Catalogue.Servers(r.c.Caller.Tenant()) {
		for _, t := range r.Catalogue.Tools(s.Tenant, s.Name) {
			known[t.Name] = true
		}
	}
	_ = canon.EachElement(denied, func(_ int, v []byte) error { // of a policy that was understood
		name, err := canon.Unquote(v)
		if err != nil || strings.ContainsAny(name, "*/.") || strings.Contains(name, "__") || known[name] {
			return nil
		}
		lines = append(lines, fmt.Sprintf("%q in deny is the name of no tool that is known here.", name))
		return nil
	})
	return lines
}

// fixedArgs are the arguments that a step is fixed to; known is false when it leaves some open.
func fixedArgs(a *intent.Args) (args []byte, known bool) {
	if a.Additional {
		return nil, false
	}
	values := map[string]json.RawMessage{}
	for name, c := range a.Params {
		if c.Const == nil {
			return nil, false
		}
		values[name] = c.Const
	}
	args, err := json.Marshal(values)
	return args, err == nil
}
