package conformance_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// What the seed's clients and servers do badly, one test each: a server of a few lines that does as they do and falls for
// an attack, and then the same request to the gateway, which refuses it and has it on record.

// asFlawed hands a request to a server that does as the flawed one, and returns what that one says.
func asFlawed(t testing.TB, server http.HandlerFunc, path string, headers []string, body any) answer {
	t.Helper()
	req := httptest.NewRequest("POST", path, strings.NewReader(marshal(t, body)))
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	server(w, req)
	return read(w.Code, w.Header(), w.Body.Bytes())
}

// flawed makes such a server of what it believes about a request.
func flawed(believes func(r *http.Request, body map[string]json.RawMessage) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body map[string]json.RawMessage
		if json.NewDecoder(r.Body).Decode(&body) != nil || !believes(r, body) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = w.Write([]byte(`{"success":true,"result":{"content":[{"type":"text","text":"done"}]}}`))
	}
}

// member is a member of an object, deep, as text or number without its quotes.
func member(raw json.RawMessage, path ...string) string {
	for _, name := range path {
		var o map[string]json.RawMessage
		if json.Unmarshal(raw, &o) != nil {
			return ""
		}
		raw = o[name]
	}
	return strings.Trim(string(raw), `"`)
}

// attack is a request that works on the flawed server.
type attack struct {
	path    string
	headers []string // beside the credential
	body    map[string]any
}

// works fails the test unless the flawed server falls for it: an attack that fails anyway shows nothing.
func (k attack) works(t testing.TB, server http.HandlerFunc) attack {
	t.Helper()
	if ans := asFlawed(t, server, k.path, k.headers, k.body); ans.Result == nil {
		t.Fatalf("the attack does not work on the flawed server: %s", ans)
	}
	return k
}

// fails makes the same request to the gateway, which refuses it under a code, and has it on record under that.
func (k attack) fails(t testing.TB, a *armored, key string, status int, code string) answer {
	t.Helper()
	ans := a.says(t, "POST", k.path, append([]string{"X-API-Key: " + key}, k.headers...), k.body)
	if m := ans.members(t); ans.Status != status || ans.Code != code || ans.Result != nil || m["allowed"] != false {
		t.Errorf("want %d %s, got %s", status, code, ans)
		return ans
	}
	a.onLedger(t, ans, code)
	return ans
}

// provesAction is what the flawed servers check: the digest is that of the action, and the proof leads from anything to
// the root that the request names. strict wants headers; without it their absence passes.
func provesAction(r *http.Request, body map[string]json.RawMessage, strict bool) bool {
	proof := r.Header.Get("X-CSRG-Proof")
	if proof == "" {
		return !strict
	}
	sum := sha256.Sum256(body["action"])
	return r.Header.Get("X-CSRG-Value-Digest") == hex.EncodeToString(sum[:]) && json.Valid([]byte(proof))
}

func digestOf(action string) string {
	sum := sha256.Sum256([]byte(strconv.Quote(action)))
	return "X-CSRG-Value-Digest: " + hex.EncodeToString(sum[:])
}

func TestFlaw01TheKeyInsideTheTokenIsTrusted(t *testing.T) {
	a := requestFlow(t)
	who := a.newAgent(t)
	naive := flawed(func(_ *http.Request, body map[string]json.RawMessage) bool {
		key, err := hex.DecodeString(member(body["token"], "public_key"))
		signature, err2 := hex.DecodeString(member(body["token"], "signature"))
		return err == nil && err2 == nil && len(key) == ed25519.PublicKeySize && ed25519.Verify(key, signedText(t, body["token"]), signature)
	})
	g := a.asked(t, "/iap/sdk/token", []string{"X-API-Key: " + who.key}, usual())
	_, own, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	forged := changedToken(t, changedToken(t, g.Token, "expires_at", 4102444800), "plan_hash", strings.Repeat("ab", 32))
	for name, token := range map[string]json.RawMessage{
		"with a token of ours inside": selfSigned(t, forged, own), "without": selfSigned(t, changedToken(t, forged, "jwt", nil), own), "of a plan of ours": selfSigned(t, g.Token, own),
	} {
		for path, body := range map[string]map[string]any{
			"/invoke": called("e2e", "noop", map[string]any{}, map[string]any{"token": token}), "/iap/sdk/enforce": called("e2e", "noop", map[string]any{}, map[string]any{"intent_token": token, "token": token}),
			"/iap/verify-step": {"token": token, "tool_name": "noop"},
		} {
			t.Run(name+path, func(t *testing.T) {
				attack{path: path, body: body}.works(t, naive).fails(t, a, who.key, http.StatusUnauthorized, "token_signature")
			})
		}
	}
}

func TestFlaw02RootProofsAndPolicyOutsideTheSignatureAreBelieved(t *testing.T) {
	a := requestFlow(t)
	who := a.newAgent(t)
	g := a.asked(t, "/iap/sdk/token", []string{"X-API-Key: " + who.key}, steps{of("e2e", "noop", map[string]any{}), of("e2e", "denied", map[string]any{})})
	naive := flawed(func(r *http.Request, body map[string]json.RawMessage) bool { // it even verifies the signature, as the gateway would
		leaf := sha256.Sum256(body["action"])
		root := folded(t, hex.EncodeToString(leaf[:]), json.RawMessage(r.Header.Get("X-CSRG-Proof")))
		in := body["intent_token"]
		return member(in, "token", "plan_hash") == g.PlanHash && root == member(in, "merkle_root") && !strings.Contains(member(in, "policy_validation", "denied_tools"), member(body["action"]))
	})
	own := func(action string) (proof string, root string) { // a tree of the attacker's
		leaf := sha256.Sum256([]byte(strconv.Quote(action)))
		proof = `[{"position":"left","sibling_hash":"` + strings.Repeat("ab", 32) + `"}]`
		return proof, folded(t, hex.EncodeToString(leaf[:]), json.RawMessage(proof))
	}
	for _, c := range []struct {
		action string
		status int
		code   string
	}{{"pay", http.StatusConflict, "tool_mismatch"}, {"denied", http.StatusForbidden, "policy_denied"}} {
		proof, root := own(c.action)
		params := map[string]any{}
		if c.action == "pay" {
			params = payment(10, "mallory@b.example")
		}
		claims := map[string]any{
			"token": g.Token, "plan_id": g.PlanID, "plan_hash": g.PlanHash, "merkle_root": root, "step_proofs": []any{json.RawMessage(proof)}, "plan": steps{of("e2e", c.action, params)}.plan(),
			"policy_validation": map[string]any{"allowed_tools": []string{"*"}, "denied_tools": []string{}},
		}
		body := called("e2e", c.action, params, map[string]any{"intent_token": claims, "plan": claims["plan"], "merkle_proof": json.RawMessage(proof), "policy_snapshot": []any{map[string]any{"policyName": "mine", "rules": map[string]any{"allowedTools": []string{"*"}}}}})
		k := attack{path: "/invoke", headers: []string{"X-CSRG-Path: /steps/[0]/action", "X-CSRG-Proof: " + proof, digestOf(c.action)}, body: body}
		k.works(t, naive)
		k.headers = nil // what it says of itself is not even looked at
		k.fails(t, a, who.key, c.status, c.code)
		k.headers = []string{"X-CSRG-Path: /steps/[0]/action", "X-CSRG-Proof: " + proof}
		if ans := a.says(t, "POST", k.path, append(k.headers, "X-API-Key: "+who.key), k.body); ans.Status != http.StatusConflict || ans.Code != "proof_mismatch" {
			t.Errorf("%s with a proof of a tree of its own: %s", c.action, ans)
		}
	}
	if !slices.Contains(g.Validation.Denied, "denied") {
		t.Errorf("the client is not told that policy denies: %+v", g.Validation)
	}
}

func TestFlaw03TheProofBindsTheActionsNameOnly(t *testing.T) {
	a := requestFlow(t)
	who := a.newAgent(t)
	g := a.asked(t, "/iap/sdk/token", []string{"X-API-Key: " + who.key}, steps{of("e2e", "noop", map[string]any{}), of("e2e", "pay", payment(10, "a@b.example"))})
	naive := flawed(func(r *http.Request, body map[string]json.RawMessage) bool { return provesAction(r, body, true) })
	proof := append(g.proving(1, "action"), digestOf("pay"))
	for name, c := range map[string]struct {
		mcp    string
		params map[string]any
		code   string
	}{
		"another amount": {"e2e", payment(999, "a@b.example"), "args_mismatch"}, "another recipient": {"e2e", payment(10, "mallory@b.example"), "args_mismatch"}, "no arguments": {"e2e", map[string]any{}, "args_mismatch"},
		"one more": {"e2e", map[string]any{"amount": 10, "recipient": "a@b.example", "cc": "mallory@b.example"}, "args_mismatch"}, "another server": {"twin", payment(10, "a@b.example"), "tool_mismatch"},
	} {
		t.Run(name, func(t *testing.T) {
			attack{"/invoke", proof, called(c.mcp, "pay", c.params, map[string]any{"token": g.Token})}.works(t, naive).fails(t, a, who.key, http.StatusConflict, c.code)
		})
	}
	a.says(t, "POST", "/invoke", append(proof, "X-API-Key: "+who.key), called("e2e", "pay", payment(10, "a@b.example"), map[string]any{"token": g.Token})).ok(t)
}

func TestFlaw04TheFirstEqualActionIsTheStep(t *testing.T) {
	a := requestFlow(t)
	who := a.newAgent(t)
	key := "X-API-Key: " + who.key
	plan := steps{of("e2e", "pay", payment(10, "a@b.example")), of("twin", "pay", payment(20, "b@b.example")), of("e2e", "noop", map[string]any{})}
	g := a.asked(t, "/iap/sdk/token", []string{key}, plan)
	naive := flawed(func(r *http.Request, body map[string]json.RawMessage) bool { // the first step with this action, whatever its server
		first := plan[slices.IndexFunc(plan, func(s map[string]any) bool { return s["action"] == member(body["action"]) })]
		var params map[string]any
		return provesAction(r, body, true) && json.Unmarshal(body["params"], &params) == nil && fmt.Sprint(params) == fmt.Sprint(first["params"])
	})
	proof := append(g.proving(0, "action"), digestOf("pay"))
	attack{"/invoke", proof, called("twin", "pay", payment(10, "a@b.example"), map[string]any{"token": g.Token})}.works(t, naive).fails(t, a, who.key, http.StatusConflict, "args_mismatch")
	attack{"/iap/sdk/enforce", proof, called("twin", "pay", payment(10, "a@b.example"), map[string]any{"token": g.Token})}.works(t, naive).fails(t, a, who.key, http.StatusOK, "args_mismatch")

	// Their clients prove the first equal action when they mean another server's: the gateway takes the step that is meant.
	for i, s := range plan[:2] {
		ans := a.says(t, "POST", "/invoke", append(proof, key), called(s["mcp"].(string), "pay", s["params"].(map[string]any), map[string]any{"token": g.Token})).ok(t)
		if _, r := a.recorded(t, ans); r.Server != s["mcp"] || !strings.Contains(r.Raw, fmt.Sprintf(`"step":%d`, i)) {
			t.Errorf("step %d is on record %s", i, r.Raw)
		}
	}
	for name, h := range map[string][]string{
		"a path of another tool": {g.proving(2, "action")[0], g.proving(0, "action")[1]}, "path and proof of another tool": g.proving(2, "action"), "the digest of another tool": append(g.proving(0, "action"), digestOf("noop")), "a digest without a path": {digestOf("pay")}, "a proof without a path": g.proving(0, "action")[1:],
	} {
		if ans := a.says(t, "POST", "/invoke", append(h, key), called("e2e", "pay", payment(10, "a@b.example"), map[string]any{"token": g.Token})); ans.Result != nil || ans.Status < 400 || ans.Status > 499 {
			t.Errorf("%s: %s", name, ans)
		}
	}
	ambiguous := a.says(t, "POST", "/iap/sdk/token", []string{key}, map[string]any{"plan": steps{of("", "pay", payment(10, "a@b.example"))}.plan()})
	var local granted
	ambiguous.into(t, &local)
	if ans := a.says(t, "POST", "/invoke", []string{key}, called("", "pay", payment(10, "a@b.example"), map[string]any{"token": local.Token})); ans.Code != "step_local" {
		t.Errorf("a tool of two servers, and none named: %s", ans)
	}
}

func TestFlaw05AProofWorksAnyNumberOfTimes(t *testing.T) {
	t.Parallel()
	g := &armored{Gateway: behindArmorIQ(t, "GATEWRIGHT_CFG_ARMORIQ__USES=1")}
	who := g.newAgent(t)
	key := "X-API-Key: " + who.key
	plan := steps{of("e2e", "noop", map[string]any{}), of("e2e", "pay", payment(10, "a@b.example"))}
	tok := g.asked(t, "/intent", []string{key}, plan)
	naive := flawed(func(r *http.Request, body map[string]json.RawMessage) bool { return provesAction(r, body, true) })
	k := attack{"/invoke", append(tok.proving(1, "action"), digestOf("pay")), called("e2e", "pay", payment(10, "a@b.example"), map[string]any{"token": tok.Token})}
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]int{}
	for range 10 {
		k.works(t, naive)
		wg.Go(func() {
			h := bearer(who.key, "").with(head{"X-CSRG-Path": "/steps/[1]/action", "X-CSRG-Proof": string(tok.Proofs[1])})
			ans, err := trySend("POST", g.URL+"/invoke", h, marshal(t, k.body))
			mu.Lock()
			defer mu.Unlock()
			if err == nil && ans.Result != nil {
				ans.Code = "paid"
			}
			seen[ans.Code]++
		})
	}
	wg.Wait()
	if seen["paid"] != 1 || seen["step_used"] != 9 {
		t.Fatalf("ten calls at once with one proof: %v", seen)
	}
	k.fails(t, g, who.key, http.StatusConflict, "step_used")
	k.headers = tok.proving(1, "tool")
	for _, path := range []string{"/invoke", "/tool"} { // the step has two paths and one use
		k.path = path
		k.fails(t, g, who.key, http.StatusConflict, "step_used")
	}
	if ans := g.says(t, "POST", "/tool", tok.proving(1, "tool"), k.body); ans.Code != "step_used" {
		t.Errorf("shown alone: %s", ans)
	}
	again := send(t, "POST", g.URL+"/api/v1/plans/"+tok.PlanID+"/tokens", bearer(who.key, ""), "{}")
	second := attack{"/invoke", nil, called("e2e", "pay", payment(10, "a@b.example"), map[string]any{"token": member(json.RawMessage(again.Body), "token")})}
	second.fails(t, g, who.key, http.StatusConflict, "step_used") // uses are the plan's
	g.says(t, "POST", "/iap/sdk/enforce", []string{key}, called("e2e", "noop", map[string]any{}, map[string]any{"token": tok.Token})).into(t, &struct{}{})
	g.says(t, "POST", "/invoke", []string{key}, called("e2e", "noop", map[string]any{}, map[string]any{"token": tok.Token})).ok(t) // asking did not take it
	admitted := 0
	for _, r := range g.ledger(t, g.Admin()) {
		if r.Kind == "admitted" && r.Tool == "pay" && r.Op == "tools/call" {
			admitted++
		}
	}
	if admitted != 1 {
		t.Errorf("%d payments were let out", admitted)
	}
}

func TestFlaw06ADelegateHasTheParentsToken(t *testing.T) {
	a := requestFlow(t)
	who := a.newAgent(t)
	key := "X-API-Key: " + who.key
	g := a.asked(t, "/iap/sdk/token", []string{key}, usual())
	public, _, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	var delegate struct{ Key, ID string }
	must(t, json.Unmarshal([]byte(secondAgent(t, a.Gateway, hex.EncodeToString(public))), &delegate))
	ans := a.says(t, "POST", "/iap/trust/delegate", []string{key}, map[string]any{"parentToken": g.Token, "delegatePublicKey": hex.EncodeToString(public), "subtreePath": "/steps/[0]", "validitySeconds": 600})
	var child struct {
		Delegation json.RawMessage
		JWT        string `json:"jwt_token"`
		Delta      struct {
			Payload struct {
				Proof  json.RawMessage `json:"inclusion_proof"`
				Node   string          `json:"subtree_node_hash"`
				Parent string          `json:"parent_plan_hash"`
			}
		}
	}
	ans.into(t, &child)
	d := child.Delta.Payload
	if folded(t, d.Node, d.Proof) != g.Root || d.Parent != g.PlanHash {
		t.Errorf("the subtree's proof is not of the parent's plan: %+v", d)
	}
	if strings.Contains(ans.Body, g.JWT) || strings.Contains(ans.Body, "\"jti\"") {
		t.Error("the delegate is given the parent's token")
	}
	naive := flawed(func(r *http.Request, body map[string]json.RawMessage) bool { // the envelope confines only who shows it
		if path := r.Header.Get("X-CSRG-Subtree-Path"); path != "" {
			return member(body["action"]) == "noop"
		}
		return member(body["token"], "plan_hash") == g.PlanHash
	})
	outside := attack{"/invoke", nil, called("e2e", "pay", payment(10, "a@b.example"), map[string]any{"token": child.Delegation})}
	outside.works(t, naive).fails(t, a, delegate.Key, http.StatusConflict, "tool_mismatch")
	inside := attack{"/invoke", nil, called("e2e", "noop", map[string]any{}, map[string]any{"token": child.Delegation})}
	a.says(t, "POST", "/invoke", []string{"X-API-Key: " + delegate.Key}, inside.body).ok(t)
	envelope := []string{"X-CSRG-Subtree-Path: /steps/[0]", "X-CSRG-Subtree-Root: " + d.Node, "X-CSRG-Parent-Root: " + d.Parent, "X-CSRG-Subtree-Proof: " + base64.StdEncoding.EncodeToString(d.Proof)}
	a.says(t, "POST", "/invoke", append(envelope, "X-API-Key: "+delegate.Key), inside.body).ok(t)
	parent := attack{"/invoke", envelope, called("e2e", "noop", map[string]any{}, map[string]any{"token": g.Token})}
	parent.fails(t, a, delegate.Key, http.StatusForbidden, "bearer_mismatch") // theirs is for its own agent, with the envelope too
	parent.headers = nil
	parent.works(t, naive).fails(t, a, delegate.Key, http.StatusForbidden, "bearer_mismatch")
	inside.works(t, naive).fails(t, a, who.key, http.StatusForbidden, "bearer_mismatch") // and the child is for the delegate's key only
	confined := attack{"/invoke", envelope, called("e2e", "pay", payment(10, "a@b.example"), map[string]any{"token": g.Token})}
	if ans := a.says(t, "POST", "/invoke", append(envelope, key), confined.body); ans.Result != nil || ans.Status != http.StatusConflict {
		t.Errorf("the parent's own agent, confined to the subtree: %s", ans)
	}
	a.says(t, "POST", "/iap/trust/revoke", []string{key}, map[string]any{"token": g.Token, "reason": "test", "cascade": false}).into(t, &struct{}{})
	gone := inside.works(t, naive).fails(t, a, delegate.Key, http.StatusUnauthorized, "token_revoked")
	if gone.Header.Get("X-Armoriq-Revoked") != "true" {
		t.Errorf("the client is not told: %v", gone.Header)
	}
}

func TestFlaw07WhatClientsSayOfThemselvesIsBelieved(t *testing.T) {
	a := requestFlow(t)
	who, boss := a.newAgent(t), a.visitor(t)
	key := "X-API-Key: " + who.key
	large := payment(5000, "mallory@b.example")
	g := a.asked(t, "/iap/sdk/token", []string{key}, steps{of("e2e", "pay", large), of("e2e", "noop", map[string]any{})})
	said := map[string]any{"_approvals": 999, "_delegation_id": "apr_1", "_policy_context": map[string]any{"role": "admin"}, "_iam_context": map[string]any{"email": boss.email, "user_id": boss.user, "agent_id": boss.agent.id, "allowed_tools": []string{"*"}}, "user_email": boss.email}
	params := payment(5000, "mallory@b.example")
	maps.Copy(params, said)
	naive := flawed(func(r *http.Request, body map[string]json.RawMessage) bool {
		n, _ := strconv.Atoi(member(body["params"], "_approvals"))
		return n >= 1 || r.Header.Get("X-User-Email") == boss.email
	})
	claims := []string{"X-User-Email: " + boss.email, "X-User-Id: " + boss.user, "X-Agent-Id: " + boss.agent.id, "X-Armoriq-Role: admin"}
	more := map[string]any{"token": g.Token, "user_email": boss.email, "agent_id": boss.agent.id, "user_id": boss.user, "role": "admin", "approved": true, "policy_snapshot": []any{}, "requesterRole": "admin"}
	for key, value := range said {
		if key != "user_email" {
			more[key] = value
		}
	}
	k := attack{"/invoke", claims, called("e2e", "pay", params, more)}
	held := k.works(t, naive).fails(t, a, who.key, http.StatusForbidden, "approval_required")
	if r, _ := a.recorded(t, held); r.User == boss.user || r.Agent != who.id || strings.Contains(r.Raw, boss.email) {
		t.Errorf("on record %s", r.Raw)
	}
	k.path = "/iap/sdk/enforce"
	k.works(t, naive).fails(t, a, who.key, http.StatusOK, "approval_required")
	id := held.members(t)["delegation_id"].(string)
	if ans := a.says(t, "POST", "/delegation/mark-executed", append(claims, key), map[string]any{"delegationId": id}); ans.Status < 400 {
		t.Errorf("what nobody approved is executed: %s", ans)
	}
	for _, query := range []string{"tool=pay&amount=5000.0&planId=" + g.PlanID, "tool=pay&amount=5000.0", "tool=pay&approved=true&planId=" + g.PlanID} {
		if ans := a.says(t, "GET", "/delegation/check-approved?"+query, append(claims, key), nil); ans.members(t)["approved"] != false {
			t.Errorf("%s: %s", query, ans)
		}
	}
	if ans := a.says(t, "GET", "/delegation/"+id+"/status", append(claims, "X-API-Key: "+boss.agent.key), nil); ans.Status != http.StatusNotFound {
		t.Errorf("another agent looks at it: %s", ans)
	}
	ans := a.says(t, "POST", "/iap/sdk/token", append(claims, key), map[string]any{"plan": usual().plan(), "user_id": boss.user, "agent_id": boss.agent.id, "user_email": boss.email})
	if info := ans.members(t)["client_info"].(map[string]any); info["userId"] == boss.user || info["agentId"] != who.id {
		t.Errorf("a token for %v", info)
	}
	plain := payment(5000, "mallory@b.example")
	a.manage(t, a.Admin(), "POST", "/api/v1/approvals/"+id+"/approve", nil, nil)
	again := a.says(t, "POST", "/invoke", []string{key}, called("e2e", "pay", plain, map[string]any{"token": g.Token})).ok(t) // what was stripped was no part of the call
	if !strings.Contains(again.text(), "paid 5000 to mallory@b.example") {
		t.Errorf("answered %s", again)
	}
	attack{"/invoke", claims, called("e2e", "pay", params, more)}.works(t, naive).fails(t, a, who.key, http.StatusForbidden, "approval_required") // once
}

func TestFlaw08NumbersAndNamesAreReadInTwoWays(t *testing.T) {
	a := requestFlow(t)
	who := a.newAgent(t)
	key := "X-API-Key: " + who.key
	plan := steps{of("e2e", "noop", map[string]any{}), of("bureau", "lire_café", map[string]any{"n": 1.5})}
	g := a.asked(t, "/iap/sdk/token", []string{key}, plan)
	naive := flawed(func(_ *http.Request, body map[string]json.RawMessage) bool { // as JavaScript reads numbers; then the text is forwarded
		var p struct{ Amount float64 }
		return json.Unmarshal(body["params"], &p) == nil && p.Amount <= 9007199254740992
	})
	for name, params := range map[string]string{
		"beyond 2^53": `{"amount":9007199254740993,"recipient":"a@b.example"}`, "the last of two": `{"amount":99999999,"amount":10,"recipient":"a@b.example"}`, "the last of two, escaped": `{"amount":99999999,"\u0061mount":10,"recipient":"a@b.example"}`,
		"what no double holds": `{"amount":10.0000000000000000000001,"recipient":"a@b.example"}`,
	} {
		t.Run(name, func(t *testing.T) {
			body := `{"mcp":"e2e","action":"pay","params":` + params + `,"token":` + string(g.Token) + `}`
			if ans := asFlawedText(naive, "/invoke", body); ans.Result == nil {
				t.Fatalf("the attack does not work on the flawed server: %s", ans)
			}
			ans := a.says(t, "POST", "/invoke", []string{key}, body)
			if ans.Status != http.StatusBadRequest || ans.Code != "malformed" {
				t.Fatalf("answered %s", ans)
			}
			a.onLedger(t, ans, "malformed")
			if ans := a.says(t, "POST", "/iap/sdk/token", []string{key}, `{"plan":{"steps":[{"mcp":"e2e","action":"pay","params":`+params+`}]}}`); ans.Status != http.StatusBadRequest {
				t.Errorf("a plan with it: %s", ans)
			}
		})
	}
	// The two clients write one name's digest in two ways, and one number in two: each is the same here.
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"JavaScript": {`"lire_café"`, true}, "Python": {`"lire_caf\u00e9"`, true}, "another normal form": {`"lire_cafe` + "\u0301" + `"`, false}, "capitals": {`"lire_caf\u00E9"`, false},
	} {
		sum := sha256.Sum256([]byte(c.text))
		h := append(g.proving(1, "action"), key, "X-CSRG-Value-Digest: "+hex.EncodeToString(sum[:]))
		for _, n := range []string{"1.5", "1.50", "15e-1"} {
			ans := a.says(t, "POST", "/iap/sdk/enforce", h, `{"mcp":"bureau","action":"lire_café","params":{"n":`+n+`},"token":`+string(g.Token)+`}`)
			if ans.members(t)["allowed"] != c.ok {
				t.Errorf("the digest as %s, the number as %s: %s", name, n, ans)
			}
		}
	}
	for _, policy := range []string{`{"rate_limit":1e2}`, `{"rate_limit":9007199254740993}`, `{"rate_limit":1.0}`} { // signed for clients that would print it in two ways
		if ans := a.says(t, "POST", "/iap/sdk/token", []string{key}, `{"plan":{"steps":[{"mcp":"e2e","action":"noop"}]},"policy":`+policy+`}`); ans.Status < 400 || ans.Status > 499 {
			t.Errorf("the policy %s: %s", policy, ans)
		}
	}
}

func asFlawedText(server http.HandlerFunc, path, body string) answer {
	w := httptest.NewRecorder()
	server(w, httptest.NewRequest("POST", path, strings.NewReader(body)))
	return read(w.Code, w.Header(), w.Body.Bytes())
}

func TestFlaw09EnforcementIsReadInThreeWays(t *testing.T) {
	a := requestFlow(t)
	who := a.newAgent(t)
	key := "X-API-Key: " + who.key
	plan := steps{
		of("e2e", "noop", map[string]any{}), of("e2e", "denied", map[string]any{}), of("e2e", "pay", payment(5000, "a@b.example")), of("demo", "calculate", map[string]any{"expression": "1/0"}), of("desk", "write", map[string]any{"n": 1}),
	}
	g := a.asked(t, "/iap/sdk/token", []string{key}, plan) // also with a denied tool: only then do all clients see who blocks
	if fmt.Sprint(g.Validation.Denied) != "[denied]" {
		t.Errorf("denied_tools %v", g.Validation.Denied)
	}
	do := func(path string, i int, more ...map[string]any) map[string]any {
		s := plan[i]
		ans := a.says(t, "POST", path, []string{key}, called(s["mcp"].(string), s["action"].(string), s["params"].(map[string]any), append(more, map[string]any{"token": g.Token})...))
		m := ans.members(t)
		if ans.Record == "" {
			t.Errorf("no record: %s", ans)
		}
		m["status"] = ans.Status
		return m
	}
	only := map[string]any{"enforce_only": true}
	for _, i := range []int{0, 3} { // a tool that fails was allowed all the same
		m := do("/invoke", i)
		for _, name := range []string{"enforcement", "enforcementAction", "action", "error", "policy_validation", "requiresApproval"} {
			if v, there := m[name]; there {
				t.Errorf("an allowed call of %s is answered with %s %v", plan[i]["action"], name, v)
			}
		}
		if failed := m["result"].(map[string]any)["isError"] == true; m["status"] != http.StatusOK || m["success"] != true || failed != (i == 3) {
			t.Errorf("answered %v", m)
		}
	}
	for name, ask := range map[string]func(i int) map[string]any{
		"enforce_only": func(i int) map[string]any { return do("/invoke", i, only) }, "enforce": func(i int) map[string]any { return do("/iap/sdk/enforce", i) },
	} {
		for i, word := range []string{"allow", "block", "hold", "allow", "allow"} {
			m := ask(i)
			if m["status"] != http.StatusOK || m["allowed"] != (word == "allow") || m["action"] != word || m["enforcementAction"] != word {
				t.Errorf("%s of step %d: %v", name, i, m)
			}
			if _, there := m["enforcement"]; there == (word == "allow") {
				t.Errorf("%s of step %d: %v", name, i, m)
			}
		}
	}
	block, hold := do("/invoke", 1), do("/invoke", 2)
	for word, m := range map[string]map[string]any{"block": block, "hold": hold} {
		details, _ := m["enforcement"].(map[string]any)
		meta, _ := details["metadata"].(map[string]any)
		if m["status"] != http.StatusForbidden || m["success"] != false || m["allowed"] != false || m["enforcementAction"] != word || details["action"] != word || m["message"] == "" || m["reason"] == "" {
			t.Errorf("%s: %v", word, m)
		}
		if waits := word == "hold"; details["requiresApproval"] != waits || (meta["requiresApproval"] == true) != waits || (m["delegation_context"] != nil) != waits {
			t.Errorf("%s: %v", word, m)
		}
		want := map[string]string{"block": "e2e-denied", "hold": "e2e-large-payment"}[word]
		for _, place := range []string{"matched_policy", "matchedPolicy"} {
			if p, _ := m[place].(map[string]any); p["name"] != want {
				t.Errorf("%s: %s is %v", word, place, m[place])
			}
		}
	}
	about := hold["delegation_context"].(map[string]any)
	if about["delegationId"] == "" || about["planId"] != g.PlanID || about["intentReference"] != g.Reference || about["merkleRoot"] != g.Root || about["domain"] != "e2e" {
		t.Errorf("delegation_context %v", about)
	}
	for name, c := range map[string]struct {
		headers []string
		body    any
		status  int
	}{
		"no credential": {nil, called("e2e", "noop", nil), http.StatusUnauthorized}, "no plan": {[]string{key}, called("e2e", "noop", map[string]any{}), http.StatusForbidden}, "not the plan's": {[]string{key}, called("e2e", "pay", payment(1, "a@b.example"), map[string]any{"token": g.Token}), http.StatusConflict},
		"local": {[]string{key}, called("desk", "write", map[string]any{"n": 1}, map[string]any{"token": g.Token}), http.StatusConflict}, "not JSON": {[]string{key}, "{", http.StatusBadRequest}, "an array": {[]string{key}, "[]", http.StatusBadRequest}, "no tool": {[]string{key}, map[string]any{"token": g.Token}, http.StatusBadRequest},
		"params that are a list": {[]string{key}, `{"mcp":"e2e","action":"noop","params":[]}`, http.StatusBadRequest}, "two tools": {[]string{key}, `{"mcp":"e2e","action":"noop","tool":"pay"}`, http.StatusBadRequest}, "two arguments": {[]string{key}, `{"mcp":"e2e","action":"noop","params":{},"arguments":{"a":1}}`, http.StatusBadRequest},
	} {
		for _, path := range []string{"/invoke", "/iap/sdk/enforce"} {
			ans := a.says(t, "POST", path, c.headers, c.body)
			m := ans.members(t)
			_, told := m["policy_validation"]
			status := c.status
			if path != "/invoke" && (name == "no plan" || c.status == http.StatusConflict) {
				status = http.StatusOK // the question was answered
			}
			if local := name == "local" && path != "/invoke"; !local && (ans.Status != status || m["allowed"] != false || m["enforcement"] != nil || told) {
				t.Errorf("%s at %s: %s", name, path, ans)
			}
		}
	}
	a.manage(t, a.Admin(), "DELETE", "/api/v1/tokens/"+g.Reference, nil, nil)
	if m := do("/invoke", 0); m["status"] != http.StatusUnauthorized || m["code"] != "token_revoked" {
		t.Errorf("revoked: %v", m)
	}
	if m := do("/iap/sdk/enforce", 0); m["allowed"] != false || m["enforcementAction"] != "block" {
		t.Errorf("revoked: %v", m)
	}
}

func TestFlaw10CredentialsGoWhereverTheClientIsTold(t *testing.T) {
	t.Parallel()
	hcl, servers := "log {\n  level = \"debug\"\n}\n", map[string]*hostile{}
	for name, more := range map[string]string{"takes": "  caller_credentials = true\n", "keeps": ""} {
		servers[name] = newHostile(t, func(w http.ResponseWriter, _ *http.Request, id string) { answerRPC(w, id, goodResult) })
		hcl += fmt.Sprintf("server %q {\n  tenant = \"demo\"\n  url = %q\n  allow_private = true\n  era = \"modern\"\n%s}\n", name, servers[name].url, more)
	}
	a := &armored{Gateway: start(t, Setup{HCL: hcl})}
	for name := range servers {
		a.manage(t, a.Admin(), "POST", "/api/v1/servers/"+name+"/refresh", nil, nil)
	}
	who := a.newAgent(t)
	key := "X-API-Key: " + who.key
	act := map[string]any{"n": 1}
	g := a.asked(t, "/iap/sdk/token", []string{key}, steps{of("takes", "act", act), of("keeps", "act", act)})
	const canary = "CANARY-caller-5e1f"
	lent := func(o string) string { return "X-Armoriq-MCP-Auth: " + base64.StdEncoding.EncodeToString([]byte(o)) }
	do := func(server, header string) answer {
		return a.says(t, "POST", "/invoke", []string{key, header}, called(server, "act", act, map[string]any{"token": g.Token, "mcp_url": servers["takes"].url, "proxy_endpoints": map[string]string{server: servers["takes"].url}}))
	}
	for o, want := range map[string]string{
		`{"authType":"bearer","token":"` + canary + `"}`: "Authorization: Bearer " + canary, `{"authType":"api_key","apiKey":"` + canary + `","headerName":"X-Their-Key"}`: "X-Their-Key: " + canary,
		`{"authType":"basic","username":"u","password":"` + canary + `"}`: "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("u:"+canary)),
	} {
		if ans := do("keeps", lent(o)); ans.Status != http.StatusForbidden || ans.Code != "credential_refused" {
			t.Errorf("a server that takes none: %s", ans)
		} else {
			a.onLedger(t, ans, "credential_refused")
		}
		do("takes", lent(o)).ok(t)
		if sent := servers["takes"].requests(); !strings.Contains(sent, want+"\r\n") {
			t.Errorf("want %s, the server was sent\n%s", want, sent)
		}
	}
	do("takes", "X-Unknown: "+canary).ok(t) // and a call without one sends none
	if n := strings.Count(servers["takes"].requests(), canary); n != 2 {
		t.Errorf("the credential was sent %d times, want 2 in clear", n)
	}
	calls := servers["takes"].calls()
	for _, name := range []string{"Host", "Content-Length", "Transfer-Encoding", "Mcp-Session-Id", "MCP-Protocol-Version", "Cookie", "Forwarded", "X-Forwarded-For", "X-Real-IP", "Traceparent", "X-Bad Name", "X-\u000aEvil", "", "Connection"} {
		o := marshal(t, map[string]string{"authType": "api_key", "apiKey": canary, "headerName": strings.ReplaceAll(name, "\\u000a", "\n")})
		ans := do("takes", lent(o))
		if name == "" { // theirs is X-API-Key then
			ans.ok(t)
			calls++
			continue
		}
		if ans.Code != "malformed" || strings.Contains(ans.Body, canary) {
			t.Errorf("the header %q: %s", name, ans)
		}
	}
	for name, o := range map[string]string{
		"a line break": `{"authType":"bearer","token":"` + canary + `\r\nX-Evil: 1"}`, "not ASCII": `{"authType":"bearer","token":"` + canary + `é"}`, "no token": `{"authType":"bearer"}`, "another kind": `{"authType":"oauth","token":"` + canary + `"}`,
		"a colon in the name": `{"authType":"basic","username":"u:` + canary + `","password":"p"}`, "twice": `{"authType":"none","authType":"bearer","token":"` + canary + `"}`, "a list": `["` + canary + `"]`, "not JSON": canary,
	} {
		if ans := do("takes", lent(o)); ans.Code != "malformed" || strings.Contains(ans.Body, canary) {
			t.Errorf("%s: %s", name, ans)
		}
	}
	if ans := do("takes", "X-Armoriq-MCP-Auth: "+canary); ans.Code != "malformed" || strings.Contains(ans.Body, canary) {
		t.Errorf("not base64: %s", ans)
	}
	if servers["takes"].calls() != calls {
		t.Error("a refused call went out")
	}
	if sent := servers["keeps"].requests(); strings.Contains(sent, canary) || strings.Contains(sent, who.key) || servers["keeps"].calls() != 0 {
		t.Errorf("the server that takes none was sent\n%s", sent)
	}
	if sent := servers["takes"].requests(); strings.Contains(sent, who.key) || strings.Contains(sent, g.JWT) || strings.Contains(strings.ToLower(sent), "x-armoriq") {
		t.Errorf("what is the gateway's went on:\n%s", sent)
	}
	for _, r := range a.ledger(t, a.Admin()) {
		if strings.Contains(r.Raw, canary) {
			t.Errorf("on record %s", r.Raw)
		}
	}
	a.Stop(t)
	if strings.Contains(a.Log()+a.Out(), canary) {
		t.Error("the credential stands in the log")
	}
	for _, file := range filesWith(t, a.Dir, canary) {
		t.Errorf("the credential stands in %s", file)
	}
}

func TestFlaw11UsersShareTheClientsState(t *testing.T) {
	a := requestFlow(t)
	people := []visitor{a.visitor(t), a.visitor(t)}
	one := a.newAgent(t) // through the same agent, as one client works for many
	type done struct {
		who    visitor
		record string
	}
	var mu sync.Mutex
	var all []done
	var wg sync.WaitGroup
	for i, v := range people {
		login := v.login(t, "EdDSA", map[string]any{"azp": one.id})
		other := people[1-i]
		g := a.asked(t, "/iap/process", []string{"Authorization: Bearer " + login}, usual())
		for range 4 {
			wg.Go(func() {
				for j, path := range []string{"/invoke", "/tool", "/invoke", "/iap/sdk/enforce"} {
					credential := login
					if j == 1 {
						credential = g.ProxyToken
					}
					h := head{"Authorization": "Bearer " + credential, "Content-Type": "application/json", "X-Request-ID": "sdk-1795330000000", "X-User-Email": other.email, "X-CSRG-Path": "/steps/[0]/action", "X-CSRG-Proof": string(g.Proofs[0])}
					ans, err := trySend("POST", a.URL+path, h, marshal(t, called("e2e", "noop", map[string]any{}, map[string]any{"token": g.Token, "user_email": other.email})))
					if err != nil || ans.Status != http.StatusOK || ans.Record == "" {
						t.Errorf("%v %s", err, ans)
					}
					mu.Lock()
					all = append(all, done{v, ans.Record})
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, d := range all {
		r, let := a.recorded(t, answer{Record: d.record})
		if r.User != d.who.user || r.Agent != one.id || r.Kind != "settled" || let.User != d.who.user || seen[d.record] {
			t.Errorf("%s's call is on record %s", d.who.user, r.Raw)
		}
		seen[d.record] = true // the same X-Request-ID is another call
	}
	if len(seen) != 32 {
		t.Errorf("%d calls on record", len(seen))
	}
}

func TestFlaw12TokensAreIssuedToAnybodyAndVerifyAnything(t *testing.T) {
	a := requestFlow(t)
	who := a.newAgent(t)
	key := "X-API-Key: " + who.key
	secret := []byte("the backend's own secret, which is in its source code")
	issue := func(planID string) map[string]any { // as it does: of nothing
		hash := sha256.Sum256([]byte(planID))
		root := sha256.Sum256([]byte(hex.EncodeToString(hash[:])))
		jwt := jws(t, map[string]any{"alg": "HS256", "typ": "JWT"}, map[string]any{"type": "intent", "plan_id": planID, "user_id": "anybody", "iat": 1, "exp": 4102444800}, byHMAC(secret))
		return map[string]any{
			"plan_id": planID, "plan_hash": hex.EncodeToString(hash[:]), "merkle_root": hex.EncodeToString(root[:]), "step_proofs": []any{}, "jwt_token": jwt,
			"token": map[string]any{"plan_hash": hex.EncodeToString(hash[:]), "signature": hex.EncodeToString(hash[:])[:16], "issued_at": 1, "expires_at": 4102444800, "policy": map[string]any{}, "identity": "a|b", "public_key": "", "version": "1.0"},
		}
	}
	backend := flawed(func(r *http.Request, body map[string]json.RawMessage) bool {
		if r.URL.Path == "/iap/sdk/token" {
			return true // whatever key it is
		}
		text := member(body["token"])
		if o := member(body["intent_token"], "jwt_token"); o != "" {
			text = o
		}
		i := strings.LastIndex(text, ".")
		return i > 0 && b64(byHMAC(secret)([]byte(text[:i]))) == text[i+1:] // any tool of any live token
	})
	for _, h := range [][]string{nil, {"X-API-Key: ak_live_anything"}, {"Authorization: Bearer ak_test_anything"}, {"X-API-Key: " + who.key[:len(who.key)-1] + "~"}} {
		k := attack{"/iap/sdk/token", h, map[string]any{"plan": usual().plan()}}.works(t, backend)
		if ans := a.says(t, "POST", k.path, h, k.body); ans.Status != http.StatusUnauthorized || ans.Record != "" || strings.Contains(ans.Body, "jwt") {
			t.Errorf("%v: %s", h, ans)
		}
	}
	g := a.asked(t, "/iap/sdk/token", []string{key}, usual())
	forged := issue(g.PlanID)
	attack{"/iap/verify-step", nil, map[string]any{"token": forged["jwt_token"], "tool_name": "delete_everything"}}.works(t, backend).fails(t, a, who.key, http.StatusUnauthorized, "token_alg")
	attack{"/invoke", nil, called("e2e", "noop", map[string]any{}, map[string]any{"intent_token": map[string]any{"jwt_token": forged["jwt_token"], "plan_id": g.PlanID}})}.works(t, backend).fails(t, a, who.key, http.StatusUnauthorized, "token_alg")
	if ans := a.says(t, "POST", "/invoke", []string{key, "X-CSRG-Path: /steps/[0]/action", "X-CSRG-Proof: []"}, called("e2e", "noop", map[string]any{}, map[string]any{"intent_token": forged, "token": forged["token"]})); ans.Result != nil || ans.Status != http.StatusUnauthorized {
		t.Errorf("a token of nothing: %s", ans)
	}
	for name, body := range map[string]map[string]any{
		"a tool that is not in the plan": {"token": g.JWT, "tool_name": "delete_everything"}, "a step that is not in the plan": {"token": g.JWT, "step_index": 9, "tool_name": "noop"},
	} {
		if ans := a.says(t, "POST", "/iap/verify-step", []string{key}, body); ans.members(t)["allowed"] != false {
			t.Errorf("%s: %s", name, ans)
		}
	}
	if ans := a.says(t, "POST", "/iap/verify-step", []string{key}, map[string]any{"token": g.JWT}); ans.members(t)["allowed"] != false || ans.Status != http.StatusBadRequest {
		t.Errorf("nothing but a token: %s", ans)
	}
	opa := func(params map[string]any) map[string]any { // it caches its decisions by the tool's name
		m := a.says(t, "POST", "/v1/data/armoriq/authz/decision", []string{key}, map[string]any{"input": map[string]any{"policies": []any{map[string]any{"allow": "*"}}, "resource": map[string]any{"toolName": "e2e__pay", "params": params}}}).members(t)
		return m["result"].(map[string]any)
	}
	if small, large := opa(payment(10, "a@b.example")), opa(payment(5000, "a@b.example")); small["allow"] != true || large["allow"] != false || large["decision"] != "deny" {
		t.Errorf("the same tool with 10: %v, with 5000: %v", small, large)
	}
	a.says(t, "POST", "/iap/trust/revoke", []string{key}, map[string]any{"token": g.Token, "reason": "test"}).into(t, &struct{}{})
	gone := a.says(t, "POST", "/iap/verify-step", []string{key}, map[string]any{"token": g.JWT, "tool_name": "noop"})
	if gone.members(t)["allowed"] != false || gone.Header.Get("X-Armoriq-Revoked") != "true" {
		t.Errorf("a token that was revoked: %s", gone)
	}
}

func TestFlaw13AnAbsentProofIsTrusted(t *testing.T) {
	a := requestFlow(t)
	who := a.newAgent(t)
	g := a.asked(t, "/iap/sdk/token", []string{"X-API-Key: " + who.key}, steps{of("e2e", "noop", map[string]any{}), of("e2e", "pay", payment(10, "a@b.example"))})
	naive := flawed(func(r *http.Request, body map[string]json.RawMessage) bool { return provesAction(r, body, false) })
	intent := map[string]any{"intent_token": map[string]any{"jwt_token": g.JWT, "plan_id": g.PlanID}}
	for name, c := range map[string]struct {
		action string
		params map[string]any
		code   string
	}{
		"another tool": {"denied", map[string]any{}, "tool_mismatch"}, "other arguments": {"pay", payment(999, "mallory@b.example"), "args_mismatch"},
	} {
		t.Run(name, func(t *testing.T) {
			body := called("e2e", c.action, c.params, intent)
			attack{"/invoke", nil, body}.works(t, naive).fails(t, a, who.key, http.StatusConflict, c.code)
			attack{"/invoke", []string{"X-CSRG-Proof: "}, body}.works(t, naive).fails(t, a, who.key, http.StatusBadRequest, "header_mismatch")
			attack{"/invoke", nil, called("e2e", c.action, c.params, intent, map[string]any{"enforce_only": true})}.works(t, naive).fails(t, a, who.key, http.StatusOK, c.code)
			attack{"/iap/sdk/enforce", nil, body}.works(t, naive).fails(t, a, who.key, http.StatusOK, c.code)
			attack{"/tool", nil, body}.works(t, naive).fails(t, a, who.key, http.StatusForbidden, "intent_invalid")
		})
	}
	// A client that shows no proof shows its token, and the gateway, which holds the plan, finds and proves the step itself.
	a.says(t, "POST", "/invoke", []string{"X-API-Key: " + who.key}, called("e2e", "pay", payment(10, "a@b.example"), intent)).ok(t)
}
