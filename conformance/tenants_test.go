package conformance_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/plugins/demo/demotest"
)

func TestWithoutACredentialEverythingIs401(t *testing.T) {
	t.Parallel()
	g := shared(t)
	a := g.newAgent(t)
	good := rpc("tools/list", "{}")
	var first string
	for _, method := range []string{"POST", "GET", "DELETE", "PUT", "OPTIONS"} {
		for _, path := range []string{
			"/mcp", "/mcp/demo", "/mcp/nothing", "/api/v1/plans", "/api/v1/plans/pln_x", "/api/v1/plans/pln_x/tokens", "/api/v1/agents", "/nothing", "/", "/v1/chat/completions",
			"/invoke", "/ledger/demo/main/checkpoint", "/mcp/%2e%2e/x", "/api/v1/servers",
		} {
			for _, h := range []head{
				{}, {"Content-Type": "application/json", "MCP-Protocol-Version": "1999-01-01"}, {"Mcp-Session-Id": "x", "Mcp-Method": "y"}, {"Authorization": "Bearer " + a.key + "x"},
				{"Authorization": "Bearer ak_test_x"}, {"Authorization": "Basic " + a.key}, {"Authorization": "Bearer"}, {"X-API-Key": "ak_live_x"},
				{"Authorization": "Bearer " + a.key, "X-API-Key": a.key + "x"}, {"Content-Encoding": "gzip"}, {"Cookie": "key=" + a.key}, {"Authorization": a.key},
			} {
				body := ""
				if method == "POST" || method == "PUT" {
					body = good[:len(good)-len(path)%3]
				}
				ans := send(t, method, g.URL+path+"?api_key="+a.key, h, body)
				if ans.Status != http.StatusUnauthorized || !strings.HasPrefix(ans.Header.Get("WWW-Authenticate"), "Bearer") || ans.Record != "" {
					t.Fatalf("%s %s %v: %s", method, path, h, ans)
				}
				if strings.HasPrefix(path, "/mcp") {
					continue // answered as JSON-RPC
				}
				if first == "" {
					first = ans.Body
				}
				if ans.Body != first {
					t.Fatalf("%s %s %v: %s, elsewhere %s", method, path, h, ans, first)
				}
			}
		}
	}
	for _, path := range []string{"/health", "/.well-known/gatewright", "/.well-known/jwks.json"} {
		if ans := send(t, "GET", g.URL+path, nil, ""); ans.Status != http.StatusOK {
			t.Errorf("%s: %s", path, ans)
		}
	}
	if ans := send(t, "POST", g.URL+"/mcp/demo", head{"X-API-Key": a.key, "Content-Type": "application/json"}, good); ans.Result == nil {
		t.Errorf("the key in X-API-Key: %s", ans)
	}
}

func TestEachKindOfKeyOpensItsOwnPortOnly(t *testing.T) {
	t.Parallel()
	g := shared(t)
	a := g.newAgent(t)
	for _, path := range []string{"/mcp", "/mcp/demo", "/api/v1/plans"} {
		if ans := send(t, "POST", g.URL+path, bearer(g.Admin(), ""), rpc("tools/list", "{}")); ans.Code != "wrong_key_kind" || ans.Status != http.StatusForbidden || ans.Result != nil {
			t.Errorf("an admin key on %s: %s", path, ans)
		}
	}
	for _, path := range []string{"/api/v1/whoami", "/api/v1/agents", "/api/v1/keys", "/api/v1/ledger/records", "/api/v1/organisations", "/api/v1/secrets"} {
		if ans := g.control(t, a.key, "GET", path, nil); ans.Status != http.StatusForbidden && ans.Status != http.StatusUnauthorized || strings.Contains(ans.Body, "items") {
			t.Errorf("a runtime key on %s: %s", path, ans)
		}
		if ans := g.control(t, "", "GET", path, nil); ans.Status != http.StatusUnauthorized {
			t.Errorf("no key on %s: %s", path, ans)
		}
	}
	if ans := g.control(t, a.key, "POST", "/api/v1/keys", map[string]any{"agent": a.id, "name": "more"}); ans.Status < 400 || strings.Contains(ans.Body, "secret\"") {
		t.Errorf("a runtime key makes keys: %s", ans)
	}
}

// neighbours is a gateway with two tenants that share nothing: demo, and "other" with the same server under another name.
type neighbours struct {
	*Gateway
	otherAdmin string
}

// twoTenants makes the second tenant as an operator does, in production mode, and goes on in development mode.
func twoTenants(t testing.TB) neighbours {
	t.Helper()
	g := start(t, Setup{Env: []string{"GATEWRIGHT_CFG_MODE=production"}})
	operator := regexp.MustCompile(`ak_live_\S{40,}`).FindString(g.Out())
	var made struct{ Key struct{ Secret string } }
	g.manage(t, operator, "POST", "/api/v1/organisations", map[string]any{"id": "other", "name": "Other", "admin": map[string]any{"name": "Other admin"}}, &made)
	g.Stop(t)
	g.Setup.Env = nil
	g.Restart(t)
	private := httptest.NewServer(demotest.Handler())
	t.Cleanup(private.Close)
	g.manage(t, made.Key.Secret, "POST", "/api/v1/servers", map[string]any{"name": "private", "url": private.URL + demotest.Path, "allow_private": true}, nil)
	g.manage(t, made.Key.Secret, "POST", "/api/v1/servers/private/refresh", nil, nil)
	return neighbours{g, made.Key.Secret}
}

// same compares two refusals as a caller sees them, but for what names the call itself.
func same(a, b answer) bool {
	return a.Status == b.Status && a.Code == b.Code && a.RPC == b.RPC && strings.ReplaceAll(a.Message, a.Record, "") == strings.ReplaceAll(b.Message, b.Record, "")
}

func TestWhatBelongsToAnotherTenantCannotBeNamed(t *testing.T) {
	t.Parallel()
	g := twoTenants(t)
	mine, theirs := g.newAgent(t), g.agentOf(t, g.otherAdmin)
	const args = `{"expression":"1"}`
	myPlan, myToken := mine.planned(t, step("demo", "calculate", args, `"uses":0`))
	theirPlan, theirToken := theirs.planned(t, step("private", "calculate", args, `"uses":0`))
	mine.call(t, "demo", "calculate", args, myToken.Token).ok(t)
	theirs.call(t, "private", "calculate", args, theirToken.Token).ok(t)

	t.Run("tokens", func(t *testing.T) {
		mine.call(t, "demo", "calculate", args, theirToken.Token).refused(t, "bearer_mismatch", "intent_invalid")
		theirs.call(t, "private", "calculate", args, myToken.Token).refused(t, "bearer_mismatch", "intent_invalid")
		theirs.call(t, "demo", "calculate", args, myToken.Token).refused(t, "bearer_mismatch", "intent_invalid")
	})
	t.Run("servers", func(t *testing.T) {
		for _, tool := range []string{"calculate", "no_such_tool"} {
			for _, tok := range []string{"", myToken.Token} {
				known, unknown := mine.call(t, "private", tool, args, tok), mine.call(t, "nowhere", tool, args, tok)
				if known.Result != nil || !same(known, unknown) {
					t.Errorf("another tenant's server: %s\na server that is none: %s", known, unknown)
				}
			}
		}
		list := func(path string) answer {
			return send(t, "POST", g.URL+path, bearer(mine.key, ""), rpc("tools/list", "{}"))
		}
		if known, unknown := list("/mcp/private"), list("/mcp/nowhere"); known.Result != nil || !same(known, unknown) {
			t.Errorf("tools/list of another tenant's server: %s\nof none: %s", known, unknown)
		}
		if all := list("/mcp"); strings.Contains(all.Body, "private") {
			t.Errorf("tools/list shows another tenant's server: %.500s", all)
		}
		draft := func(server string) answer {
			return send(t, "POST", g.URL+"/api/v1/plans", bearer(mine.key, ""), `{"steps":[`+step(server, "calculate", args)+`]}`)
		}
		known, unknown := draft("private"), draft("nowhere")
		known.refused(t, "invalid_plan")
		if strings.ReplaceAll(known.Message, "private", "nowhere") != unknown.Message {
			t.Errorf("a plan for another tenant's server: %s\nfor none: %s", known, unknown)
		}
		send(t, "POST", g.URL+"/mcp", bearer(mine.key, myToken.Token), message("private__calculate", args)).refused(t, "step_unknown", "tool_mismatch", "intent_invalid", "not_available", "args_mismatch")
	})
	t.Run("plans", func(t *testing.T) {
		const none = "pln_06h01csb83sq029wbkxc07q4qc"
		for _, method := range []string{"GET", "POST"} {
			at := func(id string) answer {
				path, body := "/api/v1/plans/"+id, ""
				if method == "POST" {
					path, body = path+"/tokens", "{}"
				}
				return send(t, method, g.URL+path, bearer(mine.key, ""), body)
			}
			known, unknown := at(theirPlan.ID), at(none)
			if known.Status != http.StatusNotFound || !same(known, unknown) {
				t.Errorf("%s of another tenant's plan: %s\nof none: %s", method, known, unknown)
			}
		}
		neighbour := g.newAgent(t) // of the same tenant
		if ans := send(t, "POST", g.URL+"/api/v1/plans/"+myPlan.ID+"/tokens", bearer(neighbour.key, ""), "{}"); ans.Status != http.StatusNotFound {
			t.Errorf("a token for another agent's plan: %s", ans)
		}
	})
	t.Run("control port", func(t *testing.T) {
		for _, c := range []struct {
			method, path string
			in           any
		}{
			{"GET", "/api/v1/agents/" + mine.id, nil}, {"GET", "/api/v1/servers/demo", nil}, {"GET", "/api/v1/plans/" + myPlan.ID, nil}, {"GET", "/api/v1/plans/" + myPlan.ID + "/content", nil},
			{"GET", "/api/v1/organisations/demo", nil}, {"GET", "/api/v1/servers/demo/tools", nil}, {"DELETE", "/api/v1/keys/" + mine.keyID, nil}, {"DELETE", "/api/v1/tokens/" + myToken.ID, nil},
			{"PUT", "/api/v1/agents/" + mine.id + "/status", map[string]any{"status": "revoked"}}, {"PUT", "/api/v1/plans/" + myPlan.ID + "/state", map[string]any{"state": "revoked"}},
			{"POST", "/api/v1/keys", map[string]any{"agent": mine.id, "name": "stolen"}}, {"POST", "/api/v1/revocations", map[string]any{"kind": "plan", "id": myPlan.ID}},
			{"POST", "/api/v1/revocations", map[string]any{"kind": "agent", "id": mine.id}}, {"POST", "/api/v1/revocations", map[string]any{"kind": "key", "id": mine.keyID}},
			{"POST", "/api/v1/revocations", map[string]any{"kind": "token", "id": myToken.ID}}, {"DELETE", "/api/v1/servers/demo", nil}, {"POST", "/api/v1/servers/demo/refresh", nil},
			{"GET", "/api/v1/users/" + g.Env["USER_ID"], nil}, {"DELETE", "/api/v1/users/" + g.Env["USER_ID"], nil},
		} {
			if ans := g.control(t, g.otherAdmin, c.method, c.path, c.in); ans.Status != http.StatusNotFound {
				t.Errorf("%s %s by another tenant's admin: %s", c.method, c.path, ans)
			}
		}
		for _, path := range []string{"agents", "keys", "servers", "plans", "tokens", "users", "organisations", "revocations"} {
			if ans := g.control(t, g.otherAdmin, "GET", "/api/v1/"+path, nil); ans.Status != 200 || strings.Contains(ans.Body, mine.id) || strings.Contains(ans.Body, myPlan.ID) || strings.Contains(ans.Body, `"demo"`) {
				t.Errorf("%s of another tenant: %.1000s", path, ans)
			}
		}
		for _, r := range g.ledger(t, g.otherAdmin) {
			if !strings.Contains(r.Raw, `"tenant":"other"`) || r.Agent == mine.id || r.Key == mine.keyID {
				t.Errorf("the other tenant's ledger has %s", r.Raw)
			}
		}
		if ans := g.control(t, g.otherAdmin, "POST", "/api/v1/organisations", map[string]any{"id": "third", "name": "T", "admin": map[string]any{"name": "x"}}); ans.Status != http.StatusForbidden && ans.Status != http.StatusNotFound {
			t.Errorf("a tenant's admin makes organisations: %s", ans)
		}
	})
	mine.call(t, "demo", "calculate", args, myToken.Token).ok(t) // whatever they tried
}

func TestATokenIsBoundToItsAgentAndKey(t *testing.T) {
	t.Parallel()
	g := shared(t)
	a, b := g.newAgent(t), g.newAgent(t)
	const args = `{"expression":"1"}`
	_, tok := a.planned(t, step("demo", "calculate", args, `"uses":0`))
	a.call(t, "demo", "calculate", args, tok.Token).ok(t)
	b.call(t, "demo", "calculate", args, tok.Token).refused(t, "bearer_mismatch", "intent_invalid")
	a.another(t).call(t, "demo", "calculate", args, tok.Token).refused(t, "bearer_mismatch", "intent_invalid")
	parts := strings.Split(tok.Token, ".")
	for name, bad := range map[string]string{
		"cut off": tok.Token[:len(tok.Token)-2], "no signature": parts[0] + "." + parts[1] + ".", "two parts": parts[0] + "." + parts[1], "parts swapped": parts[1] + "." + parts[0] + "." + parts[2],
		"longer": tok.Token + "A", "another payload": parts[0] + "." + parts[1][:len(parts[1])-4] + "AAAA." + parts[2], "nonsense": "x", "a key": a.key, "dots": "..", "very long": strings.Repeat("A", 9000),
		"alg none": "eyJhbGciOiJub25lIiwidHlwIjoiaW50ZW50K2p3dCJ9." + parts[1] + ".",
	} {
		ans := a.call(t, "demo", "calculate", args, bad)
		if ans.Result != nil || !strings.HasPrefix(ans.Code, "token_") && ans.Code != "intent_invalid" || ans.Record == "" {
			t.Errorf("%s: %s", name, ans)
		}
		if list := send(t, "POST", g.URL+"/mcp/demo", bearer(a.key, bad), rpc("tools/list", "{}")); list.Result != nil {
			t.Errorf("tools/list with a token that is %s: a bad token was ignored", name)
		}
	}
	a.call(t, "demo", "calculate", args, "").refused(t, "intent_required")
}

func TestWithoutAGrantDeniedUnknownAndKnownLookAlike(t *testing.T) {
	t.Parallel()
	g := shared(t)
	var confined struct{ ID string }
	g.manage(t, g.Admin(), "POST", "/api/v1/agents", map[string]any{"name": t.Name(), "talks_to": []string{"elsewhere"}}, &confined)
	g.manage(t, g.Admin(), "PUT", "/api/v1/agents/"+confined.ID+"/status", map[string]any{"status": "active"}, nil)
	denied := agent{g: g, id: confined.ID, admin: g.Admin()}.another(t)
	free := g.newAgent(t)
	_, tok := free.planned(t, step("demo", "calculate", `{"expression":"1"}`, `"uses":0`))

	known := free.call(t, "demo", "mail_send", "{}", "")
	for name, ans := range map[string]answer{
		"unknown tool": free.call(t, "demo", "no_such_tool", "{}", ""), "unknown server": free.call(t, "nowhere", "mail_send", "{}", ""),
		"denied": denied.call(t, "demo", "mail_send", "{}", ""), "arguments that break the schema": free.call(t, "demo", "mail_send", `{"x":1}`, ""),
	} {
		if !same(ans, known) {
			t.Errorf("without a token %s: %s\na known tool: %s", name, ans, known)
		}
	}
	off := free.call(t, "demo", "mail_send", "{}", tok.Token)
	for name, ans := range map[string]answer{
		"unknown tool": free.call(t, "demo", "no_such_tool", "{}", tok.Token), "unknown server": free.call(t, "nowhere", "mail_send", "{}", tok.Token),
	} {
		if !same(ans, off) {
			t.Errorf("with a token for another step %s: %s\na known tool: %s", name, ans, off)
		}
	}
	for _, body := range []string{rpc("tools/list", "{}"), rpc("initialize", `{"protocolVersion":"2025-11-25"}`), rpc("ping", "{}")} {
		there := send(t, "POST", g.URL+"/mcp/demo", bearer(denied.key, ""), body)
		nowhere := send(t, "POST", g.URL+"/mcp/nowhere", bearer(denied.key, ""), body)
		if there.Result != nil || !same(there, nowhere) {
			t.Errorf("an agent confined to another server asks %s: %.400s\nof a server that is none: %.400s", body, there, nowhere)
		}
	}
	if list := send(t, "POST", g.URL+"/mcp", bearer(denied.key, ""), rpc("tools/list", "{}")); list.Result == nil || strings.Contains(list.Body, "mail_send") {
		t.Errorf("tools/list of an agent confined to another server: %.400s", list)
	}
	plan := send(t, "POST", g.URL+"/api/v1/plans", bearer(denied.key, ""), `{"steps":[`+step("demo", "calculate", `{"expression":"1"}`)+`]}`)
	if plan.Status == http.StatusCreated { // what the plan says is judged when it is done
		id := regexp.MustCompile(`pln_[0-9a-z]+`).FindString(plan.Body)
		ans := denied.call(t, "demo", "calculate", `{"expression":"1"}`, denied.token(t, id, 0).Token).refused(t, "policy_denied", "not_available")
		r := g.find(t, ans.Record)
		if r.Kind != "refused" || r.Code != "policy_denied" || !strings.Contains(r.Raw, "principals.cedar") {
			t.Errorf("the ledger says %s", r.Raw)
		}
	}
	if r := g.find(t, known.Record); r.Kind != "refused" || r.Code != "intent_required" {
		t.Errorf("the ledger says %s", r.Raw)
	}
	if a, b := g.find(t, off.Record), fmt.Sprint(off.Code); a.Tool != "mail_send" || a.Code != b {
		t.Errorf("the ledger says %s", a.Raw)
	}
}
