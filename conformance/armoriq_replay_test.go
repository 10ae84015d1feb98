package conformance_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// What was shown once, what was handed on, and what is somebody else's.

func TestARetriedTokenRequestGetsTheSameTokenWhileItIsYoung(t *testing.T) {
	a := requestFlow(t)
	who, neighbour := a.newAgent(t), a.newAgent(t)
	ask := func(key, retry string, plan steps) answer {
		return a.says(t, "POST", "/iap/sdk/token", []string{"X-API-Key: " + key, "Idempotency-Key: " + retry}, map[string]any{"plan": plan.plan(), "expires_in": 4.0})
	}
	token := func(ans answer) string {
		var g granted
		ans.into(t, &g)
		return g.JWT
	}
	began := time.Now()
	first := ask(who.key, "k1", usual())
	for range 3 {
		if again := ask(who.key, "k1", usual()); again.Body != first.Body || again.Record != first.Record {
			t.Fatalf("a retry got %s, the first %s", again, first)
		}
	}
	ask(who.key, "k1", usual()[:2]).refused(t, "retry_mismatch")
	if token(ask(neighbour.key, "k1", usual())) == token(first) {
		t.Error("another agent with the same key gets the token")
	}
	if token(ask(who.key, "k2", usual())) == token(first) {
		t.Error("another key gets the same token")
	}
	waitFor(t, "another token", func() bool {
		sent := time.Now()
		got := token(ask(who.key, "k1", usual()))
		var claims struct{ Exp int64 }
		if claimsOf(t, got, &claims); time.Unix(claims.Exp, 0).Sub(sent) < time.Second { // half of it, and it counts in whole seconds
			t.Fatalf("a token was given again that ends in %s", time.Unix(claims.Exp, 0).Sub(sent))
		}
		return got != token(first)
	})
	if took := time.Since(began); took < 1500*time.Millisecond {
		t.Errorf("the token was kept for %s of its 4 seconds", took)
	}
	issued := 0
	for _, r := range a.ledger(t, a.Admin()) {
		if r.Agent == who.id && r.Kind == "token" && strings.Contains(r.Raw, `"issued"`) {
			issued++
		}
	}
	if issued != 3 {
		t.Errorf("%d tokens were issued, want 3", issued)
	}
	if ans := ask(who.key, strings.Repeat("k", 256), usual()); ans.Code != "malformed" {
		t.Errorf("a key of 256 bytes: %s", ans)
	}
}

// handed is a token that was derived for the holder of a key.
type handed struct {
	a     *armored
	token string
	id    string
	key   ed25519.PrivateKey
}

func (a *armored) hand(t testing.TB, apiKey string, parent any, more map[string]any) handed {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	body := map[string]any{"token": parent, "delegate_public_key": hex.EncodeToString(public), "validity_seconds": 300}
	maps.Copy(body, more)
	var out struct {
		JWT string `json:"jwt_token"`
		ID  string `json:"delegation_id"`
	}
	a.says(t, "POST", "/iap/trust/delegate", []string{"X-API-Key: " + apiKey}, body).into(t, &out)
	return handed{a, out.JWT, out.ID, private}
}

// proof is a proof of possession for a call of /invoke with the token; more changes what it claims.
func (h handed) proof(t testing.TB, key ed25519.PrivateKey, more map[string]any) string {
	t.Helper()
	sum := sha256.Sum256([]byte(h.token))
	claims := map[string]any{"htm": "POST", "htu": h.a.URL + "/invoke", "iat": time.Now().Unix(), "jti": fmt.Sprintf("proof %d", serial.Add(1)), "ath": b64(sum[:])}
	maps.Copy(claims, more)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	jwk := map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(key.Public().(ed25519.PublicKey))}
	return jws(t, map[string]any{"typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk}, claims, byEdDSA(key))
}

func (h handed) invoke(t testing.TB, apiKey, proof string, s map[string]any) answer {
	t.Helper()
	headers := []string{"X-API-Key: " + apiKey}
	if proof != "" {
		headers = append(headers, "DPoP: "+proof)
	}
	return h.a.says(t, "POST", "/invoke", headers, called(s["mcp"].(string), s["action"].(string), s["params"].(map[string]any), map[string]any{"token": h.token}))
}

func TestADelegatedTokenIsItsKeyHoldersAlone(t *testing.T) {
	a := requestFlow(t)
	who, delegate := a.newAgent(t), a.newAgent(t)
	g := a.asked(t, "/iap/sdk/token", []string{"X-API-Key: " + who.key}, usual())
	h := a.hand(t, who.key, g.Token, map[string]any{"allowed_actions": []string{"noop"}})
	other := a.hand(t, who.key, g.Token, nil)
	noop, pay := usual()[0], usual()[1]
	var refused []answer
	deny := func(name string, ans answer, codes ...string) {
		t.Helper()
		if !slices.Contains(codes, ans.Code) || ans.Result != nil {
			t.Errorf("%s: want %v, got %s", name, codes, ans)
		}
		refused = append(refused, ans)
	}
	good := h.proof(t, h.key, nil)
	h.invoke(t, delegate.key, good, noop).ok(t)
	deny("the same proof again", h.invoke(t, delegate.key, good, noop), "bearer_mismatch")
	deny("no proof", h.invoke(t, delegate.key, "", noop), "bearer_mismatch")
	deny("no proof, by its giver", h.invoke(t, who.key, "", noop), "bearer_mismatch")
	deny("another's proof", h.invoke(t, delegate.key, h.proof(t, other.key, nil), noop), "bearer_mismatch")
	deny("a proof for another token", h.invoke(t, delegate.key, other.proof(t, h.key, nil), noop), "bearer_mismatch")
	deny("a key in the header that did not sign", h.invoke(t, delegate.key, forgedProof(t, h, other.key), noop), "bearer_mismatch")
	for name, more := range map[string]map[string]any{
		"another method": {"htm": "GET"}, "another address": {"htu": h.a.URL + "/tool"}, "another host": {"htu": "http://evil.example/invoke"}, "an old proof": {"iat": time.Now().Unix() - 120}, "a proof of tomorrow": {"iat": time.Now().Unix() + 120},
		"no time": {"iat": nil}, "no id": {"jti": nil}, "no token's hash": {"ath": nil}, "no address": {"htu": nil}, "no method": {"htm": nil},
	} {
		deny(name, h.invoke(t, delegate.key, h.proof(t, h.key, more), noop), "bearer_mismatch")
	}
	deny("a step out of its scope", h.invoke(t, delegate.key, h.proof(t, h.key, nil), pay), "tool_mismatch", "step_unknown")
	deny("other arguments", other.invoke(t, delegate.key, other.proof(t, other.key, nil), of("e2e", "pay", payment(999, "m@b.example"))), "args_mismatch")
	for i, s := range usual() {
		ans := other.invoke(t, delegate.key, other.proof(t, other.key, nil), s).ok(t)
		if _, r := a.recorded(t, ans); r.Agent != delegate.id || r.Token != other.id {
			t.Errorf("step %d is on record %s", i, r.Raw)
		}
	}
	if ans := a.says(t, "POST", "/tool", append(g.proving(0, "tool"), "DPoP: "+h.proof(t, h.key, map[string]any{"htu": a.URL + "/tool"})), called("e2e", "noop", map[string]any{}, map[string]any{"token": h.token})); ans.Status != http.StatusUnauthorized {
		t.Errorf("as the only credential: %s", ans)
	}
	stranger := a.agentOf(t, a.other)
	if ans := other.invoke(t, stranger.key, other.proof(t, other.key, nil), noop); ans.Result != nil || ans.Status < 400 {
		t.Errorf("the key's holder with another organisation's credential: %s", ans)
	}
	for _, ans := range refused {
		if r, _ := a.recorded(t, ans); r.Kind != "refused" || r.Code != ans.Code {
			t.Errorf("%s, on record %s", ans, r.Raw)
		}
	}
	t.Run("is never wider than its parent", func(t *testing.T) {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		must(t, err)
		var second struct{ Key string }
		must(t, json.Unmarshal([]byte(secondAgent(t, a.Gateway, hex.EncodeToString(public))), &second))
		body := map[string]any{"token": g.Token, "delegate_public_key": hex.EncodeToString(public), "allowed_actions": []string{"noop"}, "validity_seconds": 300}
		var child struct {
			JWT     string `json:"jwt_token"`
			Expires int64  `json:"expires_at"`
		}
		a.says(t, "POST", "/delegation/create", []string{"X-API-Key: " + who.key}, body).into(t, &child)
		grand := map[string]any{"token": child.JWT, "delegate_public_key": strings.Repeat("ab", 32), "allowed_actions": []string{"pay"}, "validity_seconds": 86400}
		if ans := a.says(t, "POST", "/delegation/create", []string{"X-API-Key: " + second.Key}, grand); ans.Status < 400 || ans.Status > 499 {
			t.Errorf("a delegate hands on what it does not have: %s", ans)
		}
		of := a.hand(t, second.Key, child.JWT, map[string]any{"validity_seconds": 86400})
		var claims struct {
			Exp   int64
			Steps []int
		}
		claimsOf(t, of.token, &claims)
		if claims.Exp > child.Expires || fmt.Sprint(claims.Steps) != "[0]" {
			t.Errorf("handed on as %+v, the parent ends %d", claims, child.Expires)
		}
		of.invoke(t, delegate.key, of.proof(t, of.key, nil), noop).ok(t)
		a.says(t, "POST", "/iap/trust/revoke", []string{"X-API-Key: " + who.key}, map[string]any{"token": g.Token, "reason": "test", "cascade": true}).into(t, &struct{}{})
		for name, child := range map[string]handed{"a child": h, "its sibling": other, "a grandchild": of} {
			if ans := child.invoke(t, delegate.key, child.proof(t, child.key, nil), noop); ans.Status != http.StatusUnauthorized || ans.Code != "token_revoked" {
				t.Errorf("%s of a token that was revoked: %s", name, ans)
			}
		}
	})
}

// forgedProof names the delegate's key and is signed by another.
func forgedProof(t testing.TB, h handed, by ed25519.PrivateKey) string {
	t.Helper()
	parts := strings.Split(h.proof(t, h.key, nil), ".")
	text := parts[0] + "." + parts[1]
	return text + "." + b64(ed25519.Sign(by, []byte(text)))
}

// claimsOf reads a token's claims without believing them.
func claimsOf(t testing.TB, token string, out any) {
	t.Helper()
	must(t, json.Unmarshal(unb64(t, strings.Split(token, ".")[1]), out))
}

func TestADelegatedTokenStaysWithThePlanAsItWas(t *testing.T) {
	a := requestFlow(t)
	who, delegate := a.newAgent(t), a.newAgent(t)
	key := "X-API-Key: " + who.key
	g := a.asked(t, "/iap/sdk/token", []string{key}, usual()[:2])
	h := a.hand(t, who.key, g.Token, map[string]any{"allowed_actions": []string{"noop"}})
	all := a.hand(t, who.key, g.Token, nil)
	grown := append(slices.Clone(usual()[:1]), of("e2e", "pay", payment(77, "new@b.example")))
	body := map[string]any{"newPlan": grown.plan(), "planId": g.PlanID, "reason": "plan grew"}
	first := a.says(t, "POST", "/iap/trust/reanchor", []string{key}, body)
	if again := a.says(t, "POST", "/iap/trust/reanchor", []string{key}, body); again.members(t)["trustId"] != first.members(t)["trustId"] {
		t.Errorf("the same growth twice: %s and %s", first, again)
	}
	own := func(s map[string]any) answer {
		return a.says(t, "POST", "/invoke", []string{key}, called(s["mcp"].(string), s["action"].(string), s["params"].(map[string]any), map[string]any{"token": g.Token}))
	}
	own(grown[0]).ok(t)
	own(grown[1]).ok(t)
	own(usual()[1]).refused(t, "args_mismatch") // is not in the plan any more
	for name, c := range map[string]handed{"for a step": h, "for all": all} {
		c.invoke(t, delegate.key, c.proof(t, c.key, nil), usual()[0]).ok(t)
		ans := c.invoke(t, delegate.key, c.proof(t, c.key, nil), grown[1])
		if ans.Result != nil || ans.Status != http.StatusConflict {
			t.Errorf("a token handed on before %s takes a new step: %s", name, ans)
		}
	}
	for name, c := range map[string]struct {
		key  string
		body map[string]any
	}{
		"another agent": {delegate.key, body}, "another organisation": {a.agentOf(t, a.other).key, body}, "no steps": {who.key, map[string]any{"newPlan": steps{}.plan(), "planId": g.PlanID}}, "no plan": {who.key, map[string]any{"newPlan": grown.plan()}},
	} {
		if ans := a.says(t, "POST", "/iap/trust/reanchor", []string{"X-API-Key: " + c.key}, c.body); ans.Status < 400 || ans.Status > 499 || strings.Contains(ans.Body, "trustId") {
			t.Errorf("re-anchored by %s: %s", name, ans)
		}
	}
	a.manage(t, a.Admin(), "PUT", "/api/v1/plans/"+g.PlanID+"/state", map[string]any{"state": "revoked"}, nil)
	for name, ans := range map[string]answer{"the old token": own(grown[1]), "for a step": h.invoke(t, delegate.key, h.proof(t, h.key, nil), usual()[0])} {
		if ans.Result != nil || ans.Status != http.StatusUnauthorized && ans.Status != http.StatusForbidden {
			t.Errorf("%s after any plan of the chain was revoked: %s", name, ans)
		}
	}
}

// TestNothingOfAnotherOrganisationCanBeNamed: to another organisation's agent every id of this one is as if it were none.
func TestNothingOfAnotherOrganisationCanBeNamed(t *testing.T) {
	a := requestFlow(t)
	v, theirs := a.visitor(t), a.agentOf(t, a.other)
	mine := v.agent
	key := "X-API-Key: " + mine.key
	large := payment(5000, "a@b.example")
	g := a.asked(t, "/iap/sdk/token", []string{key}, append(usual(), of("e2e", "pay", large)))
	alone := a.asked(t, "/intent", []string{key}, usual())
	held := a.says(t, "POST", "/invoke", []string{key}, called("e2e", "pay", large, map[string]any{"token": g.Token}))
	approval, _ := held.members(t)["delegation_id"].(string)
	if approval == "" {
		t.Fatalf("not held: %s", held)
	}
	child := a.hand(t, mine.key, g.Token, nil)
	ids := map[string]string{ // of this organisation, and one that is nobody's
		g.PlanID: "pln_06h01csb83sq029wbkxc07q4qc", g.Reference: "tok_06h01csb83sq029wbkxc07q4qc", approval: "apr_06h01csb83sq029wbkxc07q4qc", mine.keyID: "key_06h01csb83sq029wbkxc07q4qc",
		mine.id: "agt_06h01csb83sq029wbkxc07q4qc", v.user: "usr_06h01csb83sq029wbkxc07q4qc", v.email: "nobody@acme.example", "twin": "none", "demo": "nowhere",
	}
	do := func(method, path string, body map[string]any) answer {
		h := []string{"X-API-Key: " + theirs.key}
		if method == "GET" {
			return a.says(t, method, path, h, nil)
		}
		return a.says(t, method, path, h, body)
	}
	for _, c := range []struct {
		method, path, id string
		body             string
	}{
		{"POST", "/iap/plans/ID/status", g.PlanID, `{"status":"completed"}`}, {"POST", "/iap/trust/reanchor", g.PlanID, `{"planId":"ID","newPlan":{"steps":[{"action":"x","mcp":"y"}]}}`}, {"POST", "/iap/trust/revoke", g.Reference, `{"intentReference":"ID","reason":"x"}`},
		{"GET", "/delegation/ID/status", approval, ""}, {"POST", "/delegation/mark-executed", approval, `{"delegationId":"ID"}`}, {"GET", "/delegation/check-approved?tool=pay&planId=ID", g.PlanID, ""},
		{"POST", "/delegation/request", g.PlanID, `{"tool":"pay","domain":"e2e","planId":"ID","arguments":{}}`}, {"POST", "/api-keys/ID/revoke", mine.keyID, `{}`}, {"POST", "/iap/sdk/resolve-user", v.email, `{"userEmail":"ID"}`},
		{"GET", "/policy/bundles/current?agent=ID", mine.id, ""}, {"GET", "/mcp/tools/ID", "twin", ""}, {"GET", "/mcp/tool-metadata/ID", "twin", ""}, {"POST", "/iap/sdk/switch-org", "demo", `{"org":"ID"}`},
		{"GET", "/api/v1/plans/ID", g.PlanID, ""}, {"POST", "/api/v1/plans/ID/tokens", g.PlanID, `{}`},
	} {
		at := func(id string) answer {
			var body map[string]any
			if c.body != "" {
				must(t, json.Unmarshal([]byte(strings.ReplaceAll(c.body, "ID", id)), &body))
			}
			return do(c.method, strings.ReplaceAll(c.path, "ID", id), body)
		}
		known, unknown := at(c.id), at(ids[c.id])
		if blank(known, c.id) != blank(unknown, ids[c.id]) {
			t.Errorf("%s %s: another organisation's is answered %s\none that is nobody's %s", c.method, c.path, known, unknown)
		}
	}
	for name, token := range map[string]any{"the object": g.Token, "the compact token": g.JWT, "one that opens alone": alone.Token, "one that was handed on": child.token} {
		for path, body := range map[string]map[string]any{
			"/invoke": called("e2e", "noop", map[string]any{}), "/iap/sdk/enforce": called("e2e", "noop", map[string]any{}), "/iap/verify-step": {"step_index": 0}, "/verify/action": {"path": "/steps/[0]/action", "value": "noop", "proof": g.Proofs[0]},
			"/iap/trust/delegate": {"delegate_public_key": strings.Repeat("ab", 32)}, "/iap/trust/revoke": {"reason": "x"}, "/iap/trust/reanchor": {"newPlan": usual().plan()},
		} {
			body["token"] = token
			ans := do("POST", path, body)
			if m := ans.members(t); ans.Result != nil || m["allowed"] == true || m["success"] == true && m["allowed"] != false || ans.Status >= 500 {
				t.Errorf("%s at %s: %s", name, path, ans)
			}
			if r := a.record(t, a.other, ans.Record); !strings.Contains(r.Raw, `"tenant":"other"`) || strings.Contains(r.Raw, g.PlanID) {
				t.Errorf("%s at %s is on record %s", name, path, r.Raw)
			}
		}
	}
	for _, path := range []string{"/iap/sdk/bootstrap", "/mcp/my-servers", "/mcp/servers", "/iap/sdk/orgs", "/api-keys", "/policies/profiles/active", "/policy/bundles/current"} {
		method := "GET"
		if path == "/iap/sdk/bootstrap" {
			method = "POST"
		}
		ans := do(method, path, map[string]any{})
		for id := range ids {
			if ans.Status != http.StatusOK || strings.Contains(ans.Body, id) {
				t.Errorf("%s: %s", path, ans)
			}
		}
	}
	own := a.asked(t, "/iap/sdk/token", []string{"X-API-Key: " + theirs.key}, usual()) // the same names, which are other servers there
	if ans := do("POST", "/invoke", called("e2e", "noop", map[string]any{}, map[string]any{"token": own.Token})).ok(t); ans.text() != "theirs" {
		t.Errorf("their server of the same name: %s", ans)
	}
	if ans := do("POST", "/invoke", called("twin", "pay", payment(20, "a@b.example"), map[string]any{"token": own.Token})); ans.Result != nil || ans.Status != http.StatusConflict {
		t.Errorf("a server that they do not have: %s", ans)
	}
	a.says(t, "POST", "/invoke", []string{key}, called("e2e", "noop", map[string]any{}, map[string]any{"token": g.Token})).ok(t) // whatever they tried
	child.invoke(t, mine.key, child.proof(t, child.key, nil), usual()[0]).ok(t)
	if ans := a.says(t, "GET", "/delegation/"+approval+"/status", []string{key}, nil); ans.members(t)["status"] != "pending" {
		t.Errorf("the request for approval: %s", ans)
	}
	if v := a.verifyLedger(t); v.code != 0 {
		t.Errorf("ledger verify: %+v", v)
	}
}

// blank is an answer without what names the thing asked for and the call itself.
func blank(ans answer, id string) string {
	return fmt.Sprint(ans.Status, strings.NewReplacer(id, "ID", ans.Record, "REC").Replace(ans.Body))
}
