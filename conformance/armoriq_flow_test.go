package conformance_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// ArmorIQ's request flow, step by step as its page has it, with every header spelled as there.

func TestTheRequestFlowWithAPersonsLogin(t *testing.T) {
	a := requestFlow(t)
	for _, alg := range []string{"EdDSA", "RS256", "HS256"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			v := a.visitor(t)
			who := []string{"Authorization: Bearer " + v.login(t, alg, nil), "X-Organization-Id: demo"}
			g := a.asked(t, "/iap/process", who, usual()) // 1 to 4
			p := a.content(t, g)
			if org := p["metadata"].(map[string]any)["orgId"]; org != "demo" || p["tenant"] != "demo" || p["user"] != v.user || p["agent"] != v.agent.id {
				t.Errorf("the plan says %v", p)
			}
			var last answer
			for i, s := range usual() { // 5 to 7
				h := append([]string{"Authorization: Bearer " + g.ProxyToken}, g.proving(i, "tool")...)
				last = a.says(t, "POST", "/tool", h, map[string]any{"mcp": s["mcp"], "tool": s["tool"], "params": s["params"]}).ok(t)
			}
			if !strings.Contains(last.text(), "paid 20 to a@b.example") {
				t.Errorf("answered %s", last)
			}
			standsInTheLedger(t, a.Gateway, last.Receipt, "settled", "") // 8
			_, r := a.recorded(t, last)
			if r.User != v.user || r.Agent != v.agent.id || r.Key != "login:"+strings.ToLower(alg) || r.Server != "twin" || r.Tool != "pay" || r.Token != g.Reference || !strings.Contains(r.Raw, g.PlanID) {
				t.Errorf("on record %s", r.Raw)
			}
		})
	}
}

func TestTheRequestFlowWithAnAPIKey(t *testing.T) {
	a := requestFlow(t)
	who := a.newAgent(t)
	key := []string{"X-API-Key: " + who.key}
	g := a.asked(t, "/iap/sdk/token", key, usual())
	for i, s := range usual() {
		body := map[string]any{"mcp": s["mcp"], "action": s["action"], "params": s["params"], "intent_token": map[string]any{"token": g.Token, "plan_id": g.PlanID}}
		ans := a.says(t, "POST", "/invoke", append(g.proving(i, "action"), key...), body).ok(t)
		if ans.Receipt == "" || ans.members(t)["verified"] != true {
			t.Errorf("step %d: %s", i, ans)
		}
	}
	if ans := a.says(t, "POST", "/invoke", g.proving(0, "action"), called("e2e", "noop", nil, map[string]any{"token": g.Token})); ans.Status != http.StatusUnauthorized {
		t.Errorf("a token that is not made to be shown alone: %s", ans)
	}
}

func TestTheRequestFlowWithAProofAlone(t *testing.T) {
	a := requestFlow(t)
	who := a.newAgent(t)
	g := a.asked(t, "/intent", []string{"X-API-Key: " + who.key}, usual())
	p := a.content(t, g)
	if p["metadata"].(map[string]any)["orgId"] != "demo" {
		t.Errorf("the plan says %v", p["metadata"])
	}
	if len(g.Graph.Nodes) != 3 || fmt.Sprint(g.Graph.Edges) != "[{step-0 step-1} {step-0 step-2} {step-1 step-2}]" {
		t.Errorf("the graph is %+v", g.Graph)
	}
	for i, n := range g.Graph.Nodes {
		if s := usual()[i]; n.Index != i || n.MCP != s["mcp"] || n.Action != s["action"] || n.Path != fmt.Sprintf("/steps/[%d]", i) || folded(t, n.Leaf, g.Proofs[i]) != g.Root {
			t.Errorf("node %+v", n)
		}
	}
	for i, s := range usual() {
		for name, body := range map[string]map[string]any{"the object": {"token": g.Token}, "the compact token": {"token": g.compact(t)}, "csrg_token": {"csrg_token": g.Token}} {
			ans := a.says(t, "POST", "/tool", g.proving(i, "tool"), called(s["mcp"].(string), s["action"].(string), s["params"].(map[string]any), body)).ok(t)
			if _, r := a.recorded(t, ans); r.Agent != who.id || r.Key != who.keyID {
				t.Errorf("%s: on record %s", name, r.Raw)
			}
		}
	}
	pay := called("e2e", "pay", payment(10, "a@b.example"), map[string]any{"token": g.Token})
	for name, h := range map[string][]string{
		"without a path": g.proving(1, "tool")[1:], "without a proof": g.proving(1, "tool")[:1], "without either": nil,
	} {
		for _, path := range []string{"/tool", "/invoke"} {
			if ans := a.says(t, "POST", path, h, pay); ans.Status != http.StatusUnauthorized || ans.Record != "" {
				t.Errorf("%s at %s: %s", name, path, ans)
			}
		}
	}
	a.manage(t, a.Admin(), "DELETE", "/api/v1/keys/"+who.keyID, nil, nil) // it stands for that key
	if ans := a.says(t, "POST", "/tool", g.proving(1, "tool"), pay); ans.Status != http.StatusUnauthorized {
		t.Errorf("after its key was revoked: %s", ans)
	}
}

// TestATokenShownAloneOpensItsPlanOnly: who has a proxy token may take the steps of its plan, and get no other plan or
// token with it.
func TestATokenShownAloneOpensItsPlanOnly(t *testing.T) {
	a := requestFlow(t)
	v := a.visitor(t)
	g := a.asked(t, "/iap/process", []string{"Authorization: Bearer " + v.login(t, "EdDSA", nil)}, usual())
	more := a.asked(t, "/iap/process", []string{"Authorization: Bearer " + v.login(t, "EdDSA", nil)}, usual())
	alone := []string{"Authorization: Bearer " + g.ProxyToken}
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	plan := steps{of("e2e", "pay", payment(999, "mallory@b.example"))}.plan()
	for path, body := range map[string]any{
		"/iap/process": map[string]any{"plan": plan}, "/iap/sdk/token": map[string]any{"plan": plan}, "/intent": map[string]any{"plan": plan},
		"/iap/trust/reanchor":                   map[string]any{"newPlan": plan, "planId": g.PlanID},
		"/iap/trust/delegate":                   map[string]any{"token": g.Token, "delegate_public_key": hex.EncodeToString(pub)},
		"/api/v1/plans":                         map[string]any{"steps": []any{map[string]any{"server": "e2e", "tool": "pay", "args": payment(999, "m@b.example")}}},
		"/api/v1/plans/" + g.PlanID + "/tokens": map[string]any{},
	} {
		for _, h := range [][]string{alone, append(alone, g.proving(0, "tool")...)} {
			ans := a.says(t, "POST", path, h, body)
			if ans.Status != http.StatusForbidden || ans.Code != "wrong_key_kind" {
				t.Errorf("%s: %s", path, ans)
				continue
			}
			a.onLedger(t, ans, "wrong_key_kind")
		}
	}
	other := append(slices.Clone(alone), more.proving(0, "tool")...)
	if ans := a.says(t, "POST", "/tool", other, called("e2e", "noop", nil, map[string]any{"token": more.Token})); ans.Result != nil || ans.Status < 400 {
		t.Errorf("another token beside it: %s", ans)
	}
	a.says(t, "POST", "/tool", append(alone, g.proving(0, "tool")...), called("e2e", "noop", map[string]any{})).ok(t)
}

func TestEitherPathOfAStepProvesIt(t *testing.T) {
	a := requestFlow(t)
	who := a.newAgent(t)
	key := "X-API-Key: " + who.key
	g := a.asked(t, "/iap/sdk/token", []string{key}, usual())
	body := func(i int) map[string]any {
		s := usual()[i]
		return called(s["mcp"].(string), s["action"].(string), s["params"].(map[string]any), map[string]any{"token": g.Token})
	}
	for _, path := range []string{"/invoke", "/tool"} {
		for i := range usual() {
			for _, leaf := range []string{"action", "tool"} {
				a.says(t, "POST", path, append(g.proving(i, leaf), key), body(i)).ok(t)
				for j := range usual() {
					if i == j {
						continue
					}
					h := []string{key, g.proving(j, leaf)[0], g.proving(i, leaf)[1]}
					ans := a.says(t, "POST", path, h, body(i))
					if ans.Result != nil || ans.Status != http.StatusConflict {
						t.Errorf("%s: the proof of step %d under the %s path of step %d: %s", path, i, leaf, j, ans)
					}
				}
			}
		}
	}
	for _, path := range []string{
		"/steps/[00]/tool", "/steps/[0]/tool/", "/steps/[0]", "/steps/[0]/params", "/steps/0/tool", "/steps/[-0]/tool", "/steps/[+0]/tool", "/steps/[0 ]/tool", "/steps/[٠]/tool", "//steps/[0]/tool",
		"/steps/[0]/Tool", "/steps/[]/tool", "/steps/[4294967296]/tool", "/steps/[0]/tool/steps/[1]/tool", "steps/[0]/tool", "/steps/[0x0]/tool", "/steps/%5B0%5D/tool", "",
	} {
		ans := a.says(t, "POST", "/tool", []string{key, "X-CSRG-Path: " + path, "X-CSRG-Proof: " + string(g.Proofs[0])}, body(0))
		if ans.Code != "malformed" || ans.Status != http.StatusBadRequest {
			t.Errorf("the path %q: %s", path, ans)
		}
	}
	for name, proof := range map[string]string{
		"none": "[]", "null": "null", "empty": "", "cut": strings.Replace(string(g.Proofs[0]), "},{", "}],[{", 1), "longer": strings.Replace(string(g.Proofs[0]), "[", `[{"position":"left","sibling_hash":"`+g.Root+`"},`, 1),
		"sides changed": strings.NewReplacer("left", "right", "right", "left").Replace(string(g.Proofs[0])), "an object": "{}", "a text": `"x"`, "hash in capitals": strings.Replace(string(g.Proofs[0]), g.siblings(t, 0)[0], strings.ToUpper(g.siblings(t, 0)[0]), 1),
		"a hash changed": strings.Replace(string(g.Proofs[0]), g.siblings(t, 0)[0], g.Root, 1), "not JSON": "x", "huge": "[" + strings.Repeat("[],", 5000) + "[]]",
	} {
		for _, path := range []string{"/tool", "/invoke"} {
			ans := a.says(t, "POST", path, []string{key, "X-CSRG-Path: /steps/[0]/tool", "X-CSRG-Proof: " + proof}, body(0))
			if path == "/invoke" && (name == "null" || name == "empty") { // how some clients of /invoke write none
				ans.ok(t)
				continue
			}
			if ans.Result != nil || ans.Status < 400 || ans.Status > 499 {
				t.Errorf("%s with a proof that is %s: %s", path, name, ans)
			}
		}
	}
}

func TestAStepIsVerifiedByHand(t *testing.T) {
	a := requestFlow(t)
	who := a.newAgent(t)
	key := []string{"X-API-Key: " + who.key}
	g := a.asked(t, "/iap/sdk/token", key, usual())
	other := a.asked(t, "/iap/sdk/token", key, usual())
	sum := sha256.Sum256([]byte(`"pay"`))
	digest := hex.EncodeToString(sum[:])
	token, compact := any(g.Token), any(g.JWT)
	for name, c := range map[string]struct {
		path string
		body map[string]any
		ok   bool
	}{
		"6c the step alone": {"/iap/verify-step", map[string]any{"token": compact, "step_index": 1}, true},
		"6c by its tool":    {"/iap/verify-step", map[string]any{"token": token, "tool_name": "pay"}, true},
		"6c all of it":      {"/iap/verify-step", map[string]any{"token": token, "path": "/steps/[1]/tool", "step_index": 1, "tool_name": "pay", "proof": g.Proofs[1], "context": map[string]any{"csrg_value_digest": digest, "proof_source": "client"}}, true},
		"6d by action":      {"/verify/action", map[string]any{"token": token, "path": "/steps/[1]/action", "value": "pay", "proof": g.Proofs[1]}, true},
		"6d by tool":        {"/verify/action", map[string]any{"token": compact, "path": "/steps/[2]/tool", "value": "pay", "proof": g.Proofs[2]}, true},

		"another tool":            {"/iap/verify-step", map[string]any{"token": token, "step_index": 1, "tool_name": "noop"}, false},
		"a tool of no step":       {"/iap/verify-step", map[string]any{"token": token, "tool_name": "denied"}, false},
		"a step that is none":     {"/iap/verify-step", map[string]any{"token": token, "step_index": 3}, false},
		"path against index":      {"/iap/verify-step", map[string]any{"token": token, "path": "/steps/[1]/tool", "step_index": 2}, false},
		"another step's proof":    {"/iap/verify-step", map[string]any{"token": token, "step_index": 1, "proof": g.Proofs[2]}, false},
		"another plan's proof":    {"/verify/action", map[string]any{"token": token, "path": "/steps/[1]/action", "value": "pay", "proof": other.Proofs[1]}, false},
		"another plan's token":    {"/verify/action", map[string]any{"token": other.Token, "path": "/steps/[1]/action", "value": "pay", "proof": g.Proofs[1]}, false},
		"another value":           {"/verify/action", map[string]any{"token": token, "path": "/steps/[1]/action", "value": "denied", "proof": g.Proofs[1]}, false},
		"no proof":                {"/verify/action", map[string]any{"token": token, "path": "/steps/[1]/action", "value": "pay", "proof": []any{}}, false},
		"another digest":          {"/iap/verify-step", map[string]any{"token": token, "step_index": 1, "context": map[string]any{"csrg_value_digest": g.Root}}, false},
		"a tree's node as a leaf": {"/verify/action", map[string]any{"token": token, "path": "/steps/[1]/action", "value": "pay", "proof": json.RawMessage(`[{"position":"right","sibling_hash":"` + g.siblings(t, 1)[1] + `"}]`)}, false},
	} {
		ans := a.says(t, "POST", c.path, key, c.body)
		if ans.Status != http.StatusOK || ans.members(t)["allowed"] != c.ok || ans.Record == "" {
			t.Errorf("%s: %s", name, ans)
		}
		if alone := a.says(t, "POST", c.path, nil, c.body); alone.Status != http.StatusUnauthorized {
			t.Errorf("%s without a credential: %s", name, alone)
		}
		if stolen := a.says(t, "POST", c.path, []string{"X-API-Key: " + a.newAgent(t).key}, c.body); stolen.members(t)["allowed"] != false {
			t.Errorf("%s by another agent: %s", name, stolen)
		}
	}
	a.says(t, "POST", "/iap/plans/"+g.PlanID+"/status", key, map[string]any{"status": "completed"})
	if ans := a.says(t, "POST", "/iap/verify-step", key, map[string]any{"token": token, "step_index": 1}); ans.members(t)["allowed"] != false || !strings.Contains(ans.Body, "plan") {
		t.Errorf("6c of a plan that ended: %s", ans)
	}
}

func TestATokenChangedAnywhereIsRefused(t *testing.T) {
	a := requestFlow(t)
	who := a.newAgent(t)
	key := "X-API-Key: " + who.key
	g, other := a.asked(t, "/iap/sdk/token", []string{key}, usual()), a.asked(t, "/iap/sdk/token", []string{key}, usual())
	_, own, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	jwt := strings.Split(g.JWT, ".")
	var claims map[string]any
	claimsOf(t, g.JWT, &claims)
	head := map[string]any{"alg": "EdDSA", "kid": "intent-1", "typ": "intent+jwt"}
	sign := func(header map[string]any, by func([]byte) []byte) string {
		h := maps.Clone(head)
		maps.Copy(h, header)
		return jws(t, h, claims, by)
	}
	var outer struct {
		PublicKey string `json:"public_key"`
	}
	must(t, json.Unmarshal(g.Token, &outer))
	jwk := map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(own.Public().(ed25519.PublicKey))}
	bad := map[string]any{
		"signed by its own key": selfSigned(t, g.Token, own), "its own key, longer life": selfSigned(t, changedToken(t, g.Token, "expires_at", 4102444800), own), "no signature": changedToken(t, g.Token, "signature", nil),
		"a signature of nothing": changedToken(t, g.Token, "signature", strings.Repeat("0", 128)), "another version": changedToken(t, g.Token, "version", "2.0"), "another policy": changedToken(t, g.Token, "policy", map[string]any{"allow": []string{"*"}}),
		"another identity": changedToken(t, g.Token, "identity", "usr_x|agt_x"), "another time": changedToken(t, g.Token, "issued_at", 1), "a longer life": changedToken(t, g.Token, "expires_at", 4102444800),
		"another plan": changedToken(t, g.Token, "plan_hash", other.PlanHash), "another plan's token inside": changedToken(t, g.Token, "jwt", other.JWT), "no token inside": changedToken(t, g.Token, "jwt", nil),
		"another token beside": changedToken(t, g.Token, "jwt_token", other.JWT), "wrapped with another": map[string]any{"token": g.Token, "jwt_token": other.JWT},
		"inside signed by its own key": changedToken(t, g.Token, "jwt", sign(nil, byEdDSA(own))), "key in the header": sign(map[string]any{"jwk": jwk}, byEdDSA(own)), "key of its own name": sign(map[string]any{"kid": "mine"}, byEdDSA(own)),
		"alg none": sign(map[string]any{"alg": "none"}, func([]byte) []byte { return nil }), "alg None with a signature": sign(map[string]any{"alg": "None"}, byEdDSA(own)),
		"HS256 with the public key": sign(map[string]any{"alg": "HS256"}, byHMAC(unhex(t, outer.PublicKey))), "HS256 with the public key in hex": sign(map[string]any{"alg": "HS256"}, byHMAC([]byte(outer.PublicKey))),
		"RS256": sign(map[string]any{"alg": "RS256"}, byRSA(a.rsa)), "as an ordinary JWT": sign(map[string]any{"typ": "JWT"}, byEdDSA(own)), "payload of another": jwt[0] + "." + strings.Split(other.JWT, ".")[1] + "." + jwt[2],
		"cut": g.JWT[:len(g.JWT)-1], "a number": 7, "an array": []any{g.JWT}, "the login's": "a.b.c",
	}
	noop := func(token any) map[string]any {
		return called("e2e", "noop", map[string]any{}, map[string]any{"token": token})
	}
	a.says(t, "POST", "/invoke", []string{key}, noop(g.Token)).ok(t)
	var refused []answer
	for name, token := range bad {
		for path, body := range map[string]map[string]any{
			"/invoke": noop(token), "/tool": noop(token), "/iap/sdk/enforce": noop(token), "/iap/verify-step": {"token": token, "step_index": 0},
			"/verify/action": {"token": token, "path": "/steps/[0]/action", "value": "noop", "proof": g.Proofs[0]}, "/iap/trust/delegate": {"token": token, "delegate_public_key": strings.Repeat("ab", 32)},
		} {
			ans := a.says(t, "POST", path, append(g.proving(0, "tool"), key), body)
			m := ans.members(t)
			if ans.Result != nil || m["allowed"] != false || ans.Status < 400 || ans.Status > 499 {
				t.Errorf("%s at %s: %s", name, path, ans)
			}
			refused = append(refused, ans)
		}
		for _, h := range [][]string{{"Authorization: Bearer " + strings.Trim(marshal(t, token), `"`)}, nil} { // as the only credential
			if ans := a.says(t, "POST", "/tool", append(g.proving(0, "tool"), h...), noop(token)); ans.Status != http.StatusUnauthorized || ans.Record != "" {
				t.Errorf("%s alone: %s", name, ans)
			}
		}
	}
	for _, ans := range refused {
		if r, _ := a.recorded(t, ans); r.Kind != "refused" || r.Agent != who.id || r.Code != ans.Code {
			t.Errorf("%s, on record %s", ans, r.Raw)
		}
	}
	for _, more := range []map[string]any{{"csrg_token": other.Token}, {"jwt_token": other.JWT}, {"intent_token": map[string]any{"jwt_token": other.JWT}}, {"intent_token": map[string]any{"plan_id": other.PlanID}}} {
		if ans := a.says(t, "POST", "/invoke", []string{key}, called("e2e", "noop", map[string]any{}, map[string]any{"token": g.Token}, more)); ans.Code != "malformed" {
			t.Errorf("two tokens, %v: %s", more, ans)
		}
	}
}

func TestOnlyTheCredentialsOwnOrganisationIsServed(t *testing.T) {
	a := requestFlow(t)
	v := a.visitor(t)
	login := "Authorization: Bearer " + v.login(t, "EdDSA", nil)
	g := a.asked(t, "/iap/process", []string{login, "X-Organization-Id: demo"}, usual())
	noop := called("e2e", "noop", map[string]any{})
	for _, org := range []string{"other", "Demo", "demo ", "demo,other", "none", "%64emo", "*"} {
		for path, h := range map[string][]string{
			"/iap/process": {login}, "/iap/sdk/token": {"X-API-Key: " + v.agent.key}, "/intent": {"X-API-Key: " + v.agent.key}, "/tool": append(g.proving(0, "tool"), "Authorization: Bearer "+g.ProxyToken),
		} {
			body := any(map[string]any{"plan": usual().plan()})
			if path == "/tool" {
				body = noop
			}
			ans := a.says(t, "POST", path, append(h, "X-Organization-Id: "+org), body)
			if strings.TrimSpace(org) == "demo" {
				if ans.Status != http.StatusOK { // blanks around a header's value are not part of it
					t.Errorf("%q: %s", org, ans)
				}
				continue
			}
			if ans.Status != http.StatusNotFound || ans.Code != "not_found" {
				t.Errorf("%s for %q: %s", path, org, ans)
				continue
			}
			a.onLedger(t, ans, "not_found")
		}
	}
	if ans := a.says(t, "POST", "/iap/process", []string{login, "X-Organization-Id: demo", "X-Organization-Id: other"}, map[string]any{"plan": usual().plan()}); ans.Status != http.StatusBadRequest {
		t.Errorf("two organisations: %s", ans)
	}
	if ans := a.says(t, "POST", "/iap/process", []string{"Authorization: Bearer x", "X-Organization-Id: other"}, nil); ans.Status != http.StatusUnauthorized {
		t.Errorf("a stranger who names one: %s", ans)
	}
}

func TestALoginThatWasRefreshedKeepsItsPlans(t *testing.T) {
	a := requestFlow(t)
	v, w := a.visitor(t), a.visitor(t)
	as := func(login string) []string { return []string{"Authorization: Bearer " + login} }
	first := v.login(t, "EdDSA", map[string]any{"exp": time.Now().Unix() + 2})
	g := a.asked(t, "/iap/process", as(first), usual())
	noop := called("e2e", "noop", map[string]any{}, map[string]any{"token": g.Token})
	a.says(t, "POST", "/invoke", append(g.proving(0, "action"), as(first)...), noop).ok(t)
	waitFor(t, "the first login's end", func() bool {
		return a.says(t, "POST", "/invoke", append(g.proving(0, "action"), as(first)...), noop).Status == http.StatusUnauthorized
	})
	second := as(v.login(t, "EdDSA", map[string]any{"jti": "second"}))
	a.says(t, "POST", "/invoke", append(g.proving(0, "action"), second...), noop).ok(t)
	a.says(t, "POST", "/tool", append(g.proving(0, "tool"), as(g.ProxyToken)...), called("e2e", "noop", map[string]any{})).ok(t) // the token has its own end
	for name, login := range map[string]string{
		"another person by the same agent": w.login(t, "EdDSA", map[string]any{"azp": v.agent.id}), "the person by another agent": v.login(t, "EdDSA", map[string]any{"azp": w.agent.id}),
		"the person by another login": v.login(t, "RS256", nil),
	} {
		ans := a.says(t, "POST", "/invoke", append(g.proving(0, "action"), as(login)...), noop)
		if ans.Result != nil || ans.Code != "bearer_mismatch" {
			t.Errorf("%s: %s", name, ans)
			continue
		}
		a.onLedger(t, ans, "bearer_mismatch")
	}
	a.manage(t, a.Admin(), "PUT", "/api/v1/users/"+v.user+"/status", map[string]any{"status": "suspended"}, nil)
	for name, h := range map[string][]string{"the login": second, "the proxy token": as(g.ProxyToken)} {
		if ans := a.says(t, "POST", "/tool", append(g.proving(0, "tool"), h...), noop); ans.Status != http.StatusUnauthorized {
			t.Errorf("%s of a person who was suspended: %s", name, ans)
		}
	}
	a.manage(t, a.Admin(), "PUT", "/api/v1/users/"+v.user+"/status", map[string]any{"status": "active"}, nil)
	a.says(t, "POST", "/tool", append(g.proving(0, "tool"), second...), noop).ok(t)
	a.manage(t, a.Admin(), "PUT", "/api/v1/agents/"+v.agent.id+"/status", map[string]any{"status": "revoked"}, nil)
	for name, h := range map[string][]string{"the login": second, "the proxy token": as(g.ProxyToken)} {
		if ans := a.says(t, "POST", "/tool", append(g.proving(0, "tool"), h...), noop); ans.Status != http.StatusUnauthorized {
			t.Errorf("%s of an agent that was revoked: %s", name, ans)
		}
	}
}

func TestALoginThatIsNotAsConfiguredIsRefused(t *testing.T) {
	a := requestFlow(t)
	v := a.visitor(t)
	_, own, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	rsaKey, err := os.ReadFile(filepath.Join(a.base, "rsa.json"))
	must(t, err)
	der, err := x509.MarshalPKIXPublicKey(&a.rsa.PublicKey)
	must(t, err)
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	now := time.Now().Unix()
	signed := func(alg string, header map[string]any, by func([]byte) []byte) string {
		h := map[string]any{"alg": alg, "typ": "JWT", "kid": "k1"}
		maps.Copy(h, header)
		maps.DeleteFunc(h, func(_ string, value any) bool { return value == nil })
		return jws(t, h, v.claims(alg, nil), by)
	}
	as := func(issuer, alg string, by func([]byte) []byte) string {
		return jws(t, map[string]any{"alg": alg, "typ": "JWT", "kid": "k1"}, v.claims(issuer, nil), by)
	}
	with := func(more map[string]any) string { return v.login(t, "EdDSA", more) }
	good := with(nil)
	parts := strings.Split(good, ".")
	twice := b64([]byte(strings.Replace(marshal(t, v.claims("EdDSA", nil)), "{", `{"email":"`+a.visitor(t).email+`",`, 1)))
	bad := map[string]string{
		"expired": with(map[string]any{"exp": now - 1}), "no exp": with(map[string]any{"exp": nil}), "exp a text": with(map[string]any{"exp": "4102444800"}), "not yet": with(map[string]any{"nbf": now + 600}), "issued tomorrow": with(map[string]any{"iat": now + 86400}),
		"too old": with(map[string]any{"iat": now - 7200, "exp": now + 600}), "no iat": with(map[string]any{"iat": nil}),
		"another audience": with(map[string]any{"aud": "other"}), "no audience": with(map[string]any{"aud": nil}), "audience as a prefix": with(map[string]any{"aud": audience + "/x"}), "another issuer": with(map[string]any{"iss": "https://evil.example"}),
		"another login's issuer": with(map[string]any{"iss": idp + "/RS256"}), "nobody's email": with(map[string]any{"email": "nobody@acme.example"}), "no email": with(map[string]any{"email": nil}), "email a list": with(map[string]any{"email": []string{v.email}}),
		"email not verified": with(map[string]any{"email_verified": false}), "the admin's role": with(map[string]any{"email": "", "role": "Admin"}), "an agent that is none": with(map[string]any{"azp": "agt_01m8109sk6wkqwnjyj756ba09d"}), "no agent": with(map[string]any{"azp": nil}),
		"alg none": signed("none", nil, func([]byte) []byte { return nil }), "none for EdDSA": as("EdDSA", "none", func([]byte) []byte { return nil }), "NONE": as("EdDSA", "NONE", byEdDSA(own)), "another key": signed("EdDSA", nil, byEdDSA(own)),
		"another key, in the header": signed("EdDSA", map[string]any{"jwk": map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(own.Public().(ed25519.PublicKey))}}, byEdDSA(own)),
		"an address for its key":     signed("EdDSA", map[string]any{"jku": "https://evil.example/jwks", "kid": "evil"}, byEdDSA(own)), "no kid": signed("EdDSA", map[string]any{"kid": nil}, byEdDSA(a.eddsa)), "another kid": signed("EdDSA", map[string]any{"kid": "../k1"}, byEdDSA(a.eddsa)),
		"crit": signed("EdDSA", map[string]any{"crit": []string{"exp"}}, byEdDSA(a.eddsa)), "b64 false": signed("EdDSA", map[string]any{"b64": false, "crit": []string{"b64"}}, byEdDSA(a.eddsa)), "an intent token by its type": signed("EdDSA", map[string]any{"typ": "intent+jwt"}, byEdDSA(a.eddsa)),
		"a DPoP proof by its type": signed("EdDSA", map[string]any{"typ": "dpop+jwt"}, byEdDSA(a.eddsa)), "RS256 as HS256, PEM": as("RS256", "HS256", byHMAC(pemKey)), "RS256 as HS256, DER": as("RS256", "HS256", byHMAC(der)), "RS256 as HS256, JWKS": as("RS256", "HS256", byHMAC(rsaKey)),
		"RS256 as HS256, modulus": as("RS256", "HS256", byHMAC(a.rsa.N.Bytes())), "EdDSA as HS256": as("EdDSA", "HS256", byHMAC(a.eddsa.Public().(ed25519.PublicKey))), "HS256 for EdDSA by the other's secret": as("EdDSA", "HS256", byHMAC(a.mac)),
		"RS256 for EdDSA": as("EdDSA", "RS256", byRSA(a.rsa)), "HS512": as("HS256", "HS512", byHMAC(a.mac)), "an empty secret": signed("HS256", nil, byHMAC(nil)), "claims of another": parts[0] + "." + strings.Split(with(map[string]any{"sub": "x"}), ".")[1] + "." + parts[2],
		"a claim twice": parts[0] + "." + twice + "." + b64(ed25519.Sign(a.eddsa, []byte(parts[0]+"."+twice))), "cut": good[:len(good)-2], "padded": good + "=", "two": good + "," + good, "four parts": good + ".x", "an API key's look": "ak_live_x.y.z",
	}
	plan := map[string]any{"plan": usual().plan()}
	var first answer
	for name, login := range bad {
		for _, h := range []string{"Authorization: Bearer ", "X-API-Key: "} {
			ans := a.says(t, "POST", "/iap/process", []string{h + login}, plan)
			if ans.Status != http.StatusUnauthorized || ans.Record != "" || !strings.HasPrefix(ans.Header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s: %s", name, ans)
			}
			if first.Body == "" {
				first = ans
			}
			if ans.Body != first.Body {
				t.Errorf("%s is told %s, others %s", name, ans.Body, first.Body)
			}
		}
	}
	a.asked(t, "/iap/process", []string{"Authorization: Bearer " + good}, usual())
	a.asked(t, "/iap/process", []string{"Authorization: bearer " + with(map[string]any{"aud": []string{"x", audience}, "email": strings.ToUpper(v.email)})}, usual())
}
