package mcp_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/proxy/mcp"
	"github.com/gatewright/gatewright/merkle/canon"
)

// conversing is a world whose server asks its client for its roots, and answers with what it was told.
func conversing(t *testing.T) (*world, *gossip) {
	w, g := streaming(t)
	w.dialect.Sessions = &mcp.Sessions{}
	w.reply = func(c *pipeline.Call) (pipeline.Reply, error) {
		if c.Peer == nil {
			return pipeline.Reply{Result: []byte(`{"content":[],"asked":"nobody"}`)}, nil
		}
		result, failure := c.Peer.Answer(t.Context(), "roots/list", []byte(`{"why":"name"}`))
		if result == nil {
			result = failure
		}
		return pipeline.Reply{Result: []byte(`{"content":[],"asked":` + string(result) + `}`)}, nil
	}
	return w, g
}

// post makes a request of a client that reads streams, in a session.
func (w *world) post(method, path, session, body, key, token string) *http.Response {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.base+path, strings.NewReader(body))
	w.must(err)
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Accept": both, "Authorization": "Bearer " + key, "Gatewright-Intent": token, "Mcp-Session-Id": session,
	} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	resp, err := http.DefaultClient.Do(r)
	w.must(err)
	w.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func (w *world) initialize(path, key string) string {
	w.t.Helper()
	resp := w.post("POST", path, "", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"roots":{"listChanged":true},"experimental":{"x":{}}},"clientInfo":{"name":"c","version":"1"}}}`, key, "")
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.Header.Get("Mcp-Session-Id")
}

// event reads the next message of a stream.
func event(t *testing.T, r *bufio.Reader) map[string]json.RawMessage {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			var m map[string]json.RawMessage
			if err := json.Unmarshal([]byte(data), &m); err != nil {
				t.Fatal(err)
			}
			return m
		}
	}
}

func TestAServerAsksAnOlderClientInTheMiddleOfItsCall(t *testing.T) {
	w, g := conversing(t)
	token := w.anything("files")
	session := w.initialize("/mcp", w.key)
	if len(session) < 20 {
		t.Fatalf("session %q", session)
	}
	resp := w.post("POST", "/mcp", session, callMore, w.key, token)
	stream := bufio.NewReader(resp.Body)
	question := event(t, stream)
	if string(question["method"]) != `"roots/list"` || string(question["params"]) != `{"why":"****"}` {
		t.Fatalf("asked %v", question)
	}
	answer := `{"jsonrpc":"2.0","id":` + string(question["id"]) + `,"result":{"roots":[{"uri":"file:///x"}]}}`
	for name, ask := range map[string]func() *http.Response{
		"another caller":  func() *http.Response { return w.post("POST", "/mcp", session, answer, w.evesKey, "") },
		"no session":      func() *http.Response { return w.post("POST", "/mcp", "", answer, w.key, "") },
		"another path":    func() *http.Response { return w.post("POST", "/mcp/files", session, answer, w.key, "") },
		"another session": func() *http.Response { return w.post("POST", "/mcp", w.initialize("/mcp", w.key), answer, w.key, "") },
		"another question": func() *http.Response {
			return w.post("POST", "/mcp", session, `{"jsonrpc":"2.0","id":"gatewright-99","result":{}}`, w.key, "")
		},
		"both": func() *http.Response {
			return w.post("POST", "/mcp", session, strings.Replace(answer, `"result"`, `"error":{},"result"`, 1), w.key, "")
		},
	} {
		if r := ask(); r.StatusCode < 400 {
			t.Errorf("%s: %d", name, r.StatusCode)
		}
	}
	if r := w.post("POST", "/mcp", session, answer, w.key, ""); r.StatusCode != http.StatusAccepted {
		t.Errorf("the answer: %d", r.StatusCode)
	}
	last := event(t, stream)
	if asked, _ := canon.Get(last["result"], "asked"); string(asked) != `{"roots":[{"uri":"file:///x"}]}` {
		t.Errorf("the server heard %s", last["result"])
	}
	if r := w.post("POST", "/mcp", session, answer, w.key, ""); r.StatusCode < 400 {
		t.Errorf("a second answer: %d", r.StatusCode)
	}
	if !strings.Contains(strings.Join(g.saw, "\n"), "input {\"roots\"") {
		t.Errorf("the stages saw %v", g.saw)
	}
	var details string
	for _, r := range w.book.records {
		details += r.Detail + "\n"
	}
	if !strings.Contains(details, "answered roots/list with ") {
		t.Errorf("the records say %q", details)
	}
}

func TestAnAnswerThatTheFiltersRefuseReachesNoServer(t *testing.T) {
	w, _ := conversing(t)
	session := w.initialize("/mcp", w.key)
	resp := w.post("POST", "/mcp", session, callMore, w.key, w.anything("files"))
	stream := bufio.NewReader(resp.Body)
	question := event(t, stream)
	w.post("POST", "/mcp", session, `{"jsonrpc":"2.0","id":`+string(question["id"])+`,"result":{"roots":["secret"]}}`, w.key, "")
	if last := event(t, stream); strings.Contains(string(last["result"]), "secret") || !strings.Contains(string(last["result"]), "-32603") {
		t.Errorf("the server heard %s", last["result"])
	}
}

func TestASessionEndsAndIsItsCallersOwn(t *testing.T) {
	w, _ := conversing(t)
	sessions := w.dialect.Sessions
	ping := func(path, session, key string) int {
		return w.post("POST", path, session, `{"jsonrpc":"2.0","id":1,"method":"ping"}`, key, "").StatusCode
	}
	session := w.initialize("/mcp", w.key)
	for name, got := range map[string]int{
		"another caller": ping("/mcp", session, w.evesKey), "another path": ping("/mcp/files", session, w.key), "invented": ping("/mcp", "invented", w.key),
		"DELETE by another": w.post("DELETE", "/mcp", session, "", w.evesKey, "").StatusCode,
	} {
		if got != http.StatusNotFound {
			t.Errorf("%s: %d", name, got)
		}
	}
	if got := ping("/mcp", session, w.key); got != http.StatusOK {
		t.Errorf("its own: %d", got)
	}
	if got := w.post("DELETE", "/mcp", "", "", w.key, "").StatusCode; got != http.StatusBadRequest {
		t.Errorf("DELETE of nothing: %d", got)
	}
	if got := w.post("DELETE", "/mcp", session, "", w.key, "").StatusCode; got >= 300 {
		t.Errorf("DELETE: %d", got)
	}
	if got := ping("/mcp", session, w.key); got != http.StatusNotFound {
		t.Errorf("after its end: %d", got)
	}
	sessions.MostOf = 2
	first := w.initialize("/mcp", w.key)
	second := w.initialize("/mcp", w.key)
	ping("/mcp", first, w.key) // used since
	w.initialize("/mcp", w.key)
	if a, b := ping("/mcp", first, w.key), ping("/mcp", second, w.key); a != http.StatusOK || b != http.StatusNotFound {
		t.Errorf("of more than a caller may have: the used %d, the unused %d", a, b)
	}
	sessions.Idle = time.Nanosecond
	idle := w.initialize("/mcp", w.key)
	if got := ping("/mcp", idle, w.key); got != http.StatusNotFound {
		t.Errorf("an idle one: %d", got)
	}
}

func TestAClientWithoutAStreamIsAskedNothing(t *testing.T) {
	w, _ := conversing(t)
	a := w.old(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"roots":{}}}}`, nil)
	if a.header.Get("Mcp-Session-Id") != "" {
		t.Error("a session for who reads no streams")
	}
	if a := w.old(callRead, map[string]string{"Gatewright-Intent": w.anything("files")}); !strings.Contains(string(a.raw), "nobody") {
		t.Errorf("%s", a.raw)
	}
	got, _ := w.events(both, callMore, w.anything("files"))
	if len(got) != 1 || !strings.Contains(string(got[0]["result"]), "-32601") {
		t.Errorf("without a session: %s", got)
	}
}
