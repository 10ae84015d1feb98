package mcp_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/proxy/mcp"
)

// sealed is a world whose sessions are sealed, and a ping in one of them.
func sealed(t *testing.T) (w *world, ping func(session, key string) int) {
	w, _ = conversing(t)
	w.dialect.Sessions = &mcp.Sessions{Seals: w.seals}
	return w, func(session, key string) int {
		return w.post("POST", "/mcp", session, `{"jsonrpc":"2.0","id":1,"method":"ping"}`, key, "").StatusCode
	}
}

func TestASessionOutlivesARotationUntilItsKeyEnds(t *testing.T) {
	w, ping := sealed(t)
	before := w.initialize("/mcp", w.key)
	if _, err := w.seals.Rotate(t.Context(), "acme", false); err != nil {
		t.Fatal(err)
	}
	after := w.initialize("/mcp", w.key)
	if a, b := ping(before, w.key), ping(after, w.key); a != http.StatusOK || b != http.StatusOK {
		t.Fatalf("under two live keys: %d, %d", a, b)
	}
	if got := ping(after, w.evesKey); got != http.StatusNotFound {
		t.Errorf("another caller: %d", got)
	}
	if _, err := w.seals.Rotate(t.Context(), "acme", true); err != nil {
		t.Fatal(err)
	}
	if a, b := ping(before, w.key), ping(after, w.key); a != http.StatusNotFound || b != http.StatusNotFound {
		t.Errorf("after a rotation at once: %d, %d", a, b)
	}
	if got := ping(w.initialize("/mcp", w.key), w.key); got != http.StatusOK {
		t.Errorf("a new one: %d", got)
	}
}

func TestAnAdminEndsAnAgentsSessions(t *testing.T) {
	w, ping := sealed(t)
	first, second, eves := w.initialize("/mcp", w.key), w.initialize("/mcp", w.key), w.initialize("/mcp", w.evesKey)
	agent, sessions := w.alice.Agent(), w.dialect.Sessions
	list := sessions.List("acme", agent, time.Now())
	if len(list) != 2 || list[0].Path != "/mcp" || list[0].Key != w.alice.KeyID() || strings.Contains(first+second, list[0].Name) {
		t.Fatalf("%+v", list)
	}
	if n := sessions.Revoke("rival", agent, "") + sessions.Revoke("acme", agent, "0000000000000000"); n != 0 || len(sessions.List("rival", agent, time.Now())) != 0 {
		t.Fatalf("%d of another tenant's agent, or of no name", n)
	}
	if n := sessions.Revoke("acme", agent, list[0].Name); n != 1 || ping(first, w.key) != http.StatusNotFound || ping(second, w.key) != http.StatusOK {
		t.Fatal("one of two")
	}
	if n := sessions.Revoke("acme", agent, ""); n != 1 || ping(second, w.key) != http.StatusNotFound || ping(eves, w.evesKey) != http.StatusOK {
		t.Fatal("all of one agent")
	}
}

func TestWhatIsBeingAskedEndsWithItsSession(t *testing.T) {
	w, _ := sealed(t)
	session := w.initialize("/mcp", w.key)
	resp := w.post("POST", "/mcp", session, callMore, w.key, w.anything("files"))
	stream := bufio.NewReader(resp.Body)
	event(t, stream) // the question
	w.dialect.Sessions.Revoke("acme", w.alice.Agent(), "")
	if last := event(t, stream); !strings.Contains(string(last["result"]), "the session has ended") {
		t.Errorf("the server heard %s", last["result"])
	}
}

func TestASessionEndsAfterItsLifeHoweverMuchItIsUsed(t *testing.T) {
	w, ping := sealed(t)
	session := w.initialize("/mcp", w.key)
	w.dialect.Sessions.Life = 200 * time.Millisecond
	if got := ping(session, w.key); got != http.StatusOK {
		t.Fatalf("at first: %d", got)
	}
	time.Sleep(250 * time.Millisecond)
	if got := ping(session, w.key); got != http.StatusNotFound {
		t.Errorf("after its life: %d", got)
	}
	if list := w.dialect.Sessions.List("acme", w.alice.Agent(), time.Now()); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}
