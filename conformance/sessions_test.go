package conformance_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Sessions of older clients end when an admin says so, and the key that seals their ids is replaced while the gateway works.

func TestSessionsAndTheirKeyAreLookedAfterByCommand(t *testing.T) {
	g := start(t, Setup{})
	a, eve := g.newAgent(t), g.newAgent(t)
	open := func(who agent) string {
		ans := send(t, "POST", g.URL+"/mcp", bearer(who.key, ""), `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`)
		return ans.ok(t).Header.Get("Mcp-Session-Id")
	}
	ping := func(who agent, session string) int {
		return send(t, "POST", g.URL+"/mcp", bearer(who.key, "").with(head{"Mcp-Session-Id": session}), `{"jsonrpc":"2.0","id":1,"method":"ping"}`).Status
	}
	run := func(args ...string) string {
		t.Helper()
		r := g.run(t, "", nil, args...)
		if r.code != 0 {
			t.Fatalf("%v: %d %s %s", args, r.code, r.out, r.err)
		}
		return r.out
	}
	session := open(a)
	if mine, eves, others := ping(a, session), ping(eve, session), ping(a.another(t), session); session == "" || mine != http.StatusOK || eves != http.StatusNotFound || others != http.StatusNotFound {
		t.Fatalf("session %q: its own %d, another agent's %d, another key's of the same agent %d", session, mine, eves, others)
	}
	if out := run("seal", "rotate"); strings.Count(out, "\n") != 3 || ping(a, session) != http.StatusOK {
		t.Fatalf("a rotation ended what the key before sealed:\n%s", out)
	}
	if r := g.run(t, "", nil, "seal", "rotate"); r.code == 0 || !strings.Contains(r.err, "two keys are live") {
		t.Errorf("a third key: %d %s", r.code, r.err)
	}
	list := run("agent", "sessions", a.id)
	if strings.Count(list, "\n") != 2 || strings.Contains(list, session) {
		t.Fatalf("sessions:\n%s", list)
	}
	if out := run("agent", "end", a.id); out != "1 ended\n" || ping(a, session) != http.StatusNotFound {
		t.Errorf("end: %s", out)
	}
	session = open(a)
	if out := run("seal", "rotate", "--at-once"); strings.Count(out, "\n") != 2 || ping(a, session) != http.StatusNotFound {
		t.Errorf("at once:\n%s", out)
	}
	g.Stop(t)
	g.Restart(t)
	if out := run("seal", "list"); !strings.HasPrefix(strings.Split(out, "\n")[1], "3  ") {
		t.Errorf("after a restart:\n%s", out)
	}
	if n := strings.Count(fmt.Sprint(g.ledger(t, g.Admin())), "rotate-seals"); n < 2 {
		t.Errorf("%d records of rotations", n)
	}
}
