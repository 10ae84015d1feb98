package mcp_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/policies"
)

// logging is a session that has set a level, "" is none, and its stream.
func (w *world) logging(key, level string) (session string, stream *http.Response) {
	w.t.Helper()
	session = w.initialize("/mcp/files", key)
	if level != "" {
		w.setLevel(session, key, level)
	}
	return session, w.post("GET", "/mcp/files", session, "", key, "")
}

func (w *world) setLevel(session, key, level string) string {
	w.t.Helper()
	resp := w.post("POST", "/mcp/files", session, `{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"`+level+`"}}`, key, "")
	b, err := io.ReadAll(resp.Body)
	w.must(err)
	return string(b)
}

// TestALogOutsideACallIsForWhoAskedForIt and for nobody else: each session by its own level, and what the filters leave of it.
func TestALogOutsideACallIsForWhoAskedForIt(t *testing.T) {
	w, s := listened(t)
	streams := map[string]*bufio.Reader{}
	for name, c := range map[string][2]string{
		"loud": {w.key, "debug"}, "grave": {w.key, "error"}, "silent": {w.key, ""}, "eve": {w.evesKey, "debug"},
	} {
		_, resp := w.logging(c[0], c[1])
		streams[name] = bufio.NewReader(resp.Body)
	}
	principal := w.alice.Session()
	for _, params := range []string{
		`{"level":"loud","data":1}`, `{"data":1}`, `{"level":7}`, `{"level":"info","data":"` + strings.Repeat("x", 33<<10) + `"}`,
		`{"level":"info","data":"secret"}`, `{ "level":"info", "data":{"name": 1.0} }`, `{"level":"alert","data":"2"}`,
	} {
		s.say(t, principal, "notifications/message", params)
	}
	if m := event(t, streams["loud"]); string(m["method"]) != `"notifications/message"` || string(m["params"]) != `{"level":"info", "data":{"****": 1.0}}` {
		t.Errorf("loud heard %s %s", m["method"], m["params"])
	}
	for _, name := range []string{"loud", "grave"} {
		if m := event(t, streams[name]); string(m["params"]) != `{"level":"alert","data":"2"}` {
			t.Errorf("%s heard %s %s", name, m["method"], m["params"])
		}
	}
	w.offers["acme/files"], w.offers["rival/files"] = []string{readTool}, nil
	w.refresh("acme", "files")
	w.refresh("rival", "files")
	for _, name := range []string{"silent", "eve"} {
		if got := next(streams[name]); got != "notifications/tools/list_changed" {
			t.Errorf("%s heard %q", name, got)
		}
	}
}

// TestALogOutsideACallIsJudged when it is told: the caller may have lost what it had when it set the level.
func TestALogOutsideACallIsJudged(t *testing.T) {
	w, s := listened(t)
	_, resp := w.logging(w.key, "debug")
	stream := bufio.NewReader(resp.Body)
	s.say(t, w.alice.Session(), "notifications/message", `{"level":"info","data":1}`)
	if got := next(stream); got != "notifications/message" {
		t.Fatalf("heard %q", got)
	}
	b, err := policies.LoadBundle(fstest.MapFS{"a.cedar": &fstest.MapFile{Data: []byte(`permit (principal, action, resource);
forbid (principal, action == Action::"set_log_level", resource);`)}})
	w.must(err)
	w.rule("acme", b)
	time.Sleep(1100 * time.Millisecond) // the pause between two times
	s.say(t, w.alice.Session(), "notifications/message", `{"level":"info","data":2}`)
	time.Sleep(200 * time.Millisecond)
	w.offers["acme/files"] = []string{readTool}
	w.refresh("acme", "files")
	if got := next(stream); got != "notifications/tools/list_changed" {
		t.Errorf("heard %q", got)
	}
}

func TestLogsOutsideACallAreRated(t *testing.T) {
	w, s := listened(t)
	_, resp := w.logging(w.key, "debug")
	began := time.Now()
	for i := range 2000 {
		s.say(t, w.alice.Session(), "notifications/message", fmt.Sprintf(`{"level":"info","data":%d}`, i))
	}
	heard, over := 0, time.AfterFunc(1500*time.Millisecond, func() { _ = resp.Body.Close() })
	defer over.Stop()
	for stream := bufio.NewReader(resp.Body); next(stream) == "notifications/message"; {
		heard++
	}
	if most := 20 * (2 + int(time.Since(began)/time.Second)); heard == 0 || heard > most {
		t.Errorf("%d were heard, at most %d", heard, most)
	}
}

// TestAServersLogsAreHeardForAsLongAsSomebodyWants.
func TestAServersLogsAreHeardForAsLongAsSomebodyWants(t *testing.T) {
	w, s := listened(t)
	first := w.initialize("/mcp/files", w.key)
	w.setLevel(first, w.key, "info")
	s.left(t, 0) // it has no stream to be told on
	one := w.post("GET", "/mcp/files", first, "", w.key, "")
	s.left(t, 2) // one for the lists, and one in the principal's session
	second, two := w.logging(w.key, "")
	s.left(t, 2)
	w.setLevel(second, w.key, "info")
	s.left(t, 2) // they share the session
	_ = one.Body.Close()
	s.left(t, 2)
	if got := w.post("DELETE", "/mcp/files", second, "", w.key, "").StatusCode; got >= 300 {
		t.Fatalf("DELETE: %d", got)
	}
	_, _ = io.Copy(io.Discard, two.Body)
	s.left(t, 0)
	again := w.post("GET", "/mcp/files", first, "", w.key, "")
	s.left(t, 2) // its level stands
	_ = again.Body.Close()
	s.left(t, 0)
	w.reply = func(*pipeline.Call) (pipeline.Reply, error) {
		return pipeline.Reply{Error: []byte(`{"code":-32601,"message":"no"}`)}, nil
	}
	_, third := w.logging(w.key, "info")
	s.left(t, 1) // the server has no logs: it is listened to for its lists alone
	_ = third.Body.Close()
}
