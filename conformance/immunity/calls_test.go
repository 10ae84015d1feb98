package immunity_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestB3TheSameIDOfTwoClientsIsTwoCalls: JSON-RPC ids are the client's own. A gateway that keys what is under way by them
// hands one agent the other's answer, as ContextForge did with one upstream session for everybody (its pull request 4205).
func TestB3TheSameIDOfTwoClientsIsTwoCalls(t *testing.T) {
	t.Parallel()
	g := shared(t)
	r := g.record(t, "same-id")
	var all sync.WaitGroup
	for range 2 {
		a := g.agent(t)
		token := a.planned(t, anything("same-id", "act"))
		for i := range 20 {
			all.Go(func() {
				mine := fmt.Sprintf(`{"n":%d,"s":"%s"}`, i, a.id)
				if ans := a.call(t, "same-id", "act", mine, token); !strings.Contains(ans.body, strings.ReplaceAll(mine, `"`, `\"`)) {
					t.Errorf("asked %s: %s", mine, ans)
				}
			})
		}
	}
	all.Wait()
	if seen := r.calls(); len(seen) != 40 {
		t.Errorf("the server saw %d calls, want 40", len(seen))
	}
}

// TestB5ASessionIsItsCallersAlone: a session id is no proof of who calls (CVE-2026-52869: the Python SDK took it for one,
// and whoever learned it was somebody else). Another agent's, another address's or nobody's is as unknown as the next.
func TestB5ASessionIsItsCallersAlone(t *testing.T) {
	t.Parallel()
	g := shared(t)
	g.record(t, "sessions")
	a, b := g.agent(t), g.agent(t)
	begin := send(t, "POST", g.url+"/mcp/sessions", a.headers(""), message("initialize", `{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}`))
	id := begin.head.Get("Mcp-Session-Id")
	if id == "" {
		t.Fatalf("no session: %s", begin)
	}
	list := func(who agent, session string) answer {
		return send(t, "POST", g.url+"/mcp/sessions", who.headers("", map[string]string{"Mcp-Session-Id": session}), message("tools/list", "{}"))
	}
	if ans := list(a, id); ans.result() == "" {
		t.Errorf("its own: %s", ans)
	}
	for name, ans := range map[string]answer{"another agent": list(b, id), "nobody's": list(b, strings.Repeat("A", len(id))), "cut off": list(a, id[:len(id)-1]), "in capitals": list(a, strings.ToUpper(id)+"x")} {
		if ans.status != http.StatusNotFound || ans.result() != "" {
			t.Errorf("%s: %s", name, ans)
		}
	}
	if ans := send(t, "DELETE", g.url+"/mcp/sessions", b.headers("", map[string]string{"Mcp-Session-Id": id}), ""); ans.status < 400 {
		t.Errorf("another agent ends it: %s", ans)
	}
	if ans := list(a, id); ans.result() == "" {
		t.Errorf("its own, after all that: %s", ans)
	}
}

// TestB8ARemoteReferenceIsNotFollowedAndABombKeepsNobodyBusy: a tool's schema is the server's text. A gateway that follows
// its $ref makes requests for it (SSRF); one that evaluates any schema can be kept busy by one tool.
func TestB8ARemoteReferenceIsNotFollowedAndABombKeepsNobodyBusy(t *testing.T) {
	t.Parallel()
	g := shared(t)
	r := g.record(t, "schemas")
	bomb := `{"type":"object"}`
	for range 40 {
		bomb = `{"anyOf":[` + bomb + `,` + `{"type":"object"}]}`
	}
	defs := ""
	for i := range 30 {
		defs += fmt.Sprintf(`"d%d":{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]},`, i, i+1, i+1)
	}
	r.tools = `[` + strings.Join([]string{
		`{"name":"remote","inputSchema":{"type":"object","properties":{"x":{"$ref":"` + r.url + `/schema"}}}}`,
		`{"name":"deep","inputSchema":{"type":"object","properties":{"x":` + bomb + `}}}`,
		`{"name":"wide","inputSchema":{"type":"object","properties":{"x":{"$ref":"#/$defs/d0"}},"$defs":{` + defs + `"d30":{"type":"object"}}}}`,
		`{"name":"good","inputSchema":{"type":"object"}}`,
	}, ",") + `]`
	r.calls()
	began := time.Now()
	g.ask(t, g.admin, "POST", "/api/v1/servers/schemas/refresh", nil)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("reading the tools took %s", took)
	}
	if seen := r.calls(); len(seen) > 0 {
		t.Errorf("the reference was followed:\n%s", sent(seen))
	}
	a := g.agent(t)
	for _, tool := range []string{"remote", "deep", "wide"} {
		h := map[string]string{"Authorization": "Bearer " + a.key, "Content-Type": "application/json"}
		if ans := send(t, "POST", g.url+"/api/v1/plans", h, `{"steps":[`+anything("schemas", tool)+`]}`); ans.status == 201 {
			ans = a.call(t, "schemas", tool, `{"x":{"a":{"b":1}}}`, a.planned(t, anything("schemas", tool)))
			if tool == "remote" && ans.result() != "" {
				t.Errorf("a tool whose schema is elsewhere is called: %s", ans)
			}
		}
	}
}

// TestB9ListsArePrivateAndB10CursorsAreNotForged: what a caller may see is its own. A list that a shared cache may keep
// shows it to others, and a cursor that anybody can write leads past the filter.
func TestB9ListsArePrivateAndB10CursorsAreNotForged(t *testing.T) {
	t.Parallel()
	g := shared(t)
	g.record(t, "lists")
	a := g.agent(t)
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
	ask := func(method, params string) answer {
		h := a.headers("", map[string]string{"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method})
		return send(t, "POST", g.url+"/mcp/lists", h, message(method, "{"+params+meta+"}"))
	}
	for _, method := range []string{"tools/list", "server/discover"} {
		if ans := ask(method, ""); !strings.Contains(ans.result(), `"cacheScope":"private"`) || strings.Contains(ans.head.Get("Cache-Control"), "public") {
			t.Errorf("%s: %s", method, ans)
		}
	}
	for _, cursor := range []string{`"x"`, `"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"`, `""`, `"eyJvZmZzZXQiOjB9"`, `7`, `"` + strings.Repeat("A", 5000) + `"`} {
		if ans := ask("tools/list", `"cursor":`+cursor+`,`); ans.result() != "" {
			t.Errorf("cursor %.40s: %s", cursor, ans)
		}
	}
}

// TestB12ACallIsCancelledByItsCallerAlone: a cancellation names a request by its id, which others can guess. In the
// task lists of CVE-2026-52870 whoever named an id had the thing.
func TestB12ACallIsCancelledByItsCallerAlone(t *testing.T) {
	t.Parallel()
	g := shared(t)
	r := g.record(t, "slow")
	reached, let := make(chan struct{}), make(chan struct{})
	r.act = func(_ http.ResponseWriter, req *http.Request, _ forwarded) bool {
		close(reached)
		select {
		case <-let:
		case <-req.Context().Done():
			t.Error("the call was cut off")
		case <-time.After(patience):
		}
		return false
	}
	a, b := g.agent(t), g.agent(t)
	token := a.planned(t, anything("slow", "act"))
	done := make(chan answer, 1)
	go func() { done <- a.call(t, "slow", "act", `{"n":1}`, token) }()
	select {
	case <-reached:
	case <-time.After(patience):
		t.Fatal("the call did not reach the server")
	}
	for _, path := range []string{"/mcp/slow", "/mcp"} {
		send(t, "POST", g.url+path, b.headers(""), `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":"not mine"}}`)
		send(t, "POST", g.url+path, b.headers(""), `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`)
	}
	time.Sleep(200 * time.Millisecond)
	close(let)
	if ans := <-done; ans.result() == "" {
		t.Errorf("the call after somebody else's cancellation: %s", ans)
	}
}

// TestPeers13OneServerThatIsDownSinksNoOther: with Envoy AI Gateway one unstable backend shook all (its issue 1924), with
// agentgateway a federated session failed with its worst server (962).
func TestPeers13OneServerThatIsDownSinksNoOther(t *testing.T) {
	t.Parallel()
	g := shared(t)
	g.record(t, "stays")
	down := g.record(t, "goes")
	a := g.agent(t)
	token := a.planned(t, anything("stays", "act"), anything("goes", "act"))
	down.stop()
	if ans := a.call(t, "goes", "act", `{"n":1}`, token); ans.result() != "" {
		t.Errorf("a server that is down: %s", ans)
	}
	if ans := a.call(t, "stays", "act", `{"n":1}`, token); ans.result() == "" {
		t.Errorf("the other: %s", ans)
	}
	list := send(t, "POST", g.url+"/mcp", a.headers(""), message("tools/list", "{}"))
	if !strings.Contains(list.result(), `"stays__act"`) {
		t.Errorf("the list of all: %s", list)
	}
}

// TestPeers14WhoMayCallNothingIsToldSoAtTheCall: LiteLLM answered 200 with a model's own words when no tool was permitted
// (issue 32563). The list of such an agent is empty; each call is an error with a record and never an answer.
func TestPeers14WhoMayCallNothingIsToldSoAtTheCall(t *testing.T) {
	t.Parallel()
	g := shared(t)
	r := g.record(t, "nothing")
	var made struct{ ID, Secret string }
	g.manage(t, "POST", "/api/v1/agents", map[string]any{"name": fmt.Sprintf("confined %d", serial.Add(1)), "talks_to": []string{"elsewhere"}}, &made)
	g.manage(t, "PUT", "/api/v1/agents/"+made.ID+"/status", map[string]any{"status": "active"}, nil)
	g.manage(t, "POST", "/api/v1/keys", map[string]any{"agent": made.ID, "name": "test", "mode": "test"}, &made)
	a := agent{g: g, id: made.ID, key: made.Secret}
	list := send(t, "POST", g.url+"/mcp", a.headers(""), message("tools/list", "{}"))
	if !strings.Contains(list.result(), `"tools":[]`) {
		t.Errorf("the list: %s", list)
	}
	if ans := a.call(t, "nothing", "act", `{"n":1}`, ""); ans.result() != "" || ans.code() == "" || !strings.Contains(ans.body, "rec_") {
		t.Errorf("a call: %s", ans)
	}
	if seen := r.calls(); len(seen) > 0 {
		t.Errorf("the server saw\n%s", sent(seen))
	}
}

// TestPeers8AnUpstreamSessionIsOnePrincipalsAndNoTokenGoesThrough: ContextForge shared one upstream session between all
// clients (4205), and whoever forwards the token that it was shown makes the server act as its caller (confused deputy).
func TestPeers8AnUpstreamSessionIsOnePrincipalsAndNoTokenGoesThrough(t *testing.T) {
	t.Parallel()
	g := shared(t)
	r := &recorder{name: "older", older: true}
	g.put(t, r)
	a, b := g.agent(t), g.agent(t)
	of := map[string]string{} // session by agent
	for _, who := range []agent{a, b, a, b} {
		token := who.planned(t, anything("older", "act"))
		r.calls()
		if ans := who.call(t, "older", "act", `{"n":1}`, token); ans.result() == "" {
			t.Fatalf("a call: %s", ans)
		}
		for _, f := range r.calls() {
			if all := sent([]forwarded{f}); strings.Contains(all, who.key) || strings.Contains(all, token) {
				t.Errorf("the server saw the caller's own credential:\n%s", all)
			}
			if f.op != "tools/call" {
				continue
			}
			id := f.head.Get("Mcp-Session-Id")
			if old, ok := of[who.id]; id == "" || ok && old != id {
				t.Errorf("session %q, before it %q", id, old)
			}
			of[who.id] = id
		}
	}
	if len(of) != 2 || of[a.id] == of[b.id] {
		t.Errorf("two agents had the sessions %v", of)
	}
}
