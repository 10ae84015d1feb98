package armoriq

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/canon"
)

// wanted is a call as a client asks for it.
type wanted struct {
	mcp, action, tool string
	params, arguments []byte
	judgeOnly         bool
	token             shown
	planID            string
}

// readCall reads what /invoke, /tool and the routes that only judge have in common. Everything else in the body is the
// client's word about itself: its copy of the plan, its policy snapshot, its user, its approvals.
func (r *request) readCall(w *wanted) error {
	w.token.d = r.Dialect
	err := readObject(r.body, "", fields{
		"mcp": text(&w.mcp, 128), "action": text(&w.action, 1024), "tool": text(&w.tool, 1024), "enforce_only": boolean(&w.judgeOnly),
		"params": object(&w.params), "arguments": object(&w.arguments),
		"token": w.token.at, "csrg_token": w.token.at, "intent_token": w.intentToken, "jwt_token": w.token.at,
	})
	if err != nil {
		return err
	}
	if h := r.x.Head.Intent; h != nil {
		if w.token.jwt != "" && w.token.jwt != string(h) {
			return pipeline.Deny(pipeline.HeaderMismatch, "Gatewright-Intent shows another token than the body")
		}
		w.token.jwt = string(h)
	}
	if w.token.jwt == "" && r.c.Alone {
		w.token.jwt = string(r.c.Credential) // a token shown alone is credential and intent in one
	}
	if w.token.jwt != "" {
		r.c.Shown.Token = []byte(w.token.jwt)
	}
	return nil
}

// intentToken reads {jwt_token, plan_id} or the older whole answer {token, plan, ...}.
func (w *wanted) intentToken(raw []byte, at string) error {
	if canon.KindOf(raw) != '{' {
		return w.token.at(raw, at)
	}
	return readObject(raw, at, fields{"jwt_token": w.token.at, "token": w.token.at, "jwt": func(_ []byte, at string) error { return w.token.at(raw, at) }, "plan_id": text(&w.planID, 256)})
}

// call makes the pipeline's call of it.
func (r *request) call(w *wanted) error {
	server, tool, err := r.toolOf("", w.mcp, w.action, w.tool)
	if err != nil {
		return err
	}
	if server == unnamed && w.mcp == "" {
		server = r.plannedServer(tool)
	}
	args := w.params
	switch {
	case args == nil:
		args = w.arguments
	case w.arguments != nil && !r.same(args, w.arguments):
		return malformed("/arguments", "differ from params")
	}
	if args == nil {
		args = []byte("{}")
	}
	if args, err = r.strip(server, tool, args); err != nil {
		return err
	}
	if p, ok := peekClaims(w.token.jwt); ok && w.planID != "" && p.plan != w.planID {
		return malformed("/intent_token/plan_id", "is not the plan of the token")
	}
	c := r.c
	c.Op, c.Action, c.Server, c.Name, c.Args, c.Plan = "tools/call", "call_tool", server, tool, args, true
	return r.proof(tool)
}

// plannedServer is the server of the first step of the token's plan that takes the tool, for clients that name none.
func (r *request) plannedServer(tool string) string {
	t, err := r.Verifier.Token(r.c.Shown.Token, r.Now())
	if err != nil {
		return unnamed // the line says what is wrong with it
	}
	root := t.PlanRoot()
	if chain := r.Plans.Anchors(r.c.Caller.Tenant(), root); len(chain) > 0 {
		root = chain[len(chain)-1].Claims().To.Root
	}
	held, _, ok := r.Plans.Held(r.c.Caller.Tenant(), root)
	if !ok || held == nil {
		return unnamed
	}
	for i := range held.Size() {
		if op, server, name, _, _ := held.Step(i); op == "tools/call" && name == tool {
			return server
		}
	}
	return unnamed
}

// readInvoke reads POST /invoke.
func readInvoke(r *request) error {
	var w wanted
	if err := r.readCall(&w); err != nil {
		return err
	}
	if err := r.call(&w); err != nil {
		return err
	}
	if w.judgeOnly {
		r.trial()
		return nil
	}
	r.write = writeResult
	return r.lend()
}

// readTool reads POST /tool of the request flow: a proxy token as the bearer, X-CSRG-Path and X-CSRG-Proof beside it.
func readTool(r *request) error {
	var w wanted
	if err := r.readCall(&w); err != nil {
		return err
	}
	if !shownProof(&r.x.Head.CSRG) {
		d := pipeline.Deny(pipeline.IntentInvalid, "the step and its proof are missing").WithReason("proof_missing")
		d.Hint = "send X-CSRG-Path: /steps/[i]/tool and X-CSRG-Proof: step_proofs[i]"
		return d
	}
	if err := r.call(&w); err != nil {
		return err
	}
	r.write = writeResult
	return r.lend()
}

// readEnforce reads POST /iap/sdk/enforce: may this call be made? Nothing is forwarded.
func readEnforce(r *request) error {
	var w wanted
	if err := r.readCall(&w); err != nil {
		return err
	}
	if w.tool == "" && w.action == "" {
		return malformed("/tool", "a tool is needed")
	}
	if err := r.call(&w); err != nil {
		return err
	}
	r.trial()
	return nil
}

// trial makes the call one that is judged like the real one, and spends nothing.
func (r *request) trial() {
	r.judge = true
	r.c.Op, r.c.Trial = "tools/check", true
	r.c.Answer = func(_ context.Context, c *pipeline.Call) error {
		answer := map[string]any{
			"success": true, "allowed": true, "action": "allow", "enforcementAction": "allow", "reason": "allowed", "obligations": []any{},
			"planId": c.Grant.PlanID(), "stepIndex": c.Grant.Step(),
		}
		if c.Approval != "" {
			answer["delegation_id"], answer["reason"] = c.Approval, "approved"
		}
		if names := c.Decision.Annotations(); len(names) > 0 && names[0]["id"] != "" {
			answer["matchedPolicy"] = policy{names[0]["id"]}
		}
		b, err := json.Marshal(answer)
		c.Reply.Result = b
		return err
	}
}

// writeResult writes what the tool answered. No word in it may look like a decision of policy: see refusal.
func writeResult(r *request) {
	var b []byte
	if e := r.c.Reply.Error; e != nil {
		b = append(append(append(b, `{"success":false,"error":`...), e...), `,"record":`...)
	} else {
		b = append(append(append(b, `{"success":true,"verified":true,"result":`...), r.c.Reply.Result...), `,"record":`...)
	}
	b = canon.AppendString(b, r.c.Record)
	if len(r.c.Receipt) > 0 {
		b = canon.AppendString(append(b, `,"receipt":`...), string(r.c.Receipt))
	}
	r.send(http.StatusOK, append(b, '}'))
}

// lend reads X-Armoriq-MCP-Auth: the caller's own credential for the server, which only some servers' settings allow.
func (r *request) lend() error {
	raw := r.x.Head.ServerAuth
	if raw == nil {
		return nil
	}
	if s, ok := r.Catalogue.Server(r.c.Caller.Tenant(), r.c.Server); !ok || !s.TakesCallers {
		return pipeline.Deny(pipeline.CredentialRefused, "")
	}
	lent, err := credentialOf(raw, r.JSON)
	if err != nil {
		return err
	}
	r.c.Lent = lent
	return nil
}

// credentialOf reads base64 of {authType: bearer|api_key|basic|none, ...}. Errors hold nothing of it.
func credentialOf(raw []byte, lim canon.Limits) (pipeline.Credential, error) {
	refuse := func(text string) (pipeline.Credential, error) {
		return pipeline.Credential{}, malformed("", "X-Armoriq-MCP-Auth "+text)
	}
	body, err := base64.StdEncoding.DecodeString(string(raw))
	if err != nil || canon.Check(body, lim) != nil {
		return refuse("is not base64 of a JSON object")
	}
	var kind, token, key, header, user, password string
	err = readObject(body, "", fields{
		"authType": text(&kind, 16), "token": text(&token, 4096), "apiKey": text(&key, 4096), "headerName": text(&header, 128),
		"username": text(&user, 512), "password": text(&password, 4096),
	})
	if err != nil {
		return refuse("holds what is not a text")
	}
	var out pipeline.Credential
	switch {
	case kind == "none":
		return out, nil
	case kind == "bearer" && token != "":
		out = pipeline.Credential{Header: "Authorization", Value: "Bearer " + token}
	case kind == "api_key" && key != "":
		if header == "" {
			header = "X-API-Key"
		}
		out = pipeline.Credential{Header: header, Value: key}
	case kind == "basic" && user != "" && !strings.Contains(user, ":"):
		out = pipeline.Credential{Header: "Authorization", Value: "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}
	default:
		return refuse("wants authType bearer with token, api_key with apiKey, basic with username and password, or none")
	}
	if !plainHeader(out) {
		return refuse("holds what cannot stand in a header")
	}
	return out, nil
}

// telling begin the names of X- headers that say to servers what a request is, or whose.
var telling = []string{"forwarded", "real-ip", "client-ip", "original-", "rewrite-", "http-method", "method-override", "csrg-", "organization-id", "user-email"}

// plainHeader says whether a caller's credential may stand in the header: in none that says what the request is.
func plainHeader(c pipeline.Credential) bool {
	for i := range len(c.Value) {
		if c.Value[i] < 0x20 || c.Value[i] > 0x7e {
			return false
		}
	}
	name := strings.ToLower(c.Header)
	switch name {
	case "authorization", "api-key", "apikey":
		return true
	}
	rest, ok := strings.CutPrefix(name, "x-")
	for i := range len(rest) {
		if c := rest[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return ok && rest != "" && !slices.ContainsFunc(telling, func(word string) bool { return strings.HasPrefix(rest, word) })
}
