package mcp_test

import (
	"bufio"
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/proxy/mcp"
)

// subscribe has a resource watched in a session, and fails when it is not.
func (w *world) subscribe(session, uri string) {
	w.t.Helper()
	resp := w.post("POST", "/mcp", session, `{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"`+uri+`"}}`, w.key, "")
	if resp.StatusCode != 200 {
		w.t.Fatalf("subscribe: HTTP %d", resp.StatusCode)
	}
}

func TestOneServerThatLetsNothingBeWatchedSinksNoOther(t *testing.T) {
	w, s := listened(t)
	w.offers["acme/notes resources/list"] = []string{`{"uri":"note:///n","name":"n"}`}
	w.offers["acme/files resources/list"] = []string{`{"uri":"note:///a","name":"a"}`, `{"uri":"note:///b","name":"b"}`}
	w.addServer("acme", "notes")
	w.refresh("acme", "files")
	s.mu.Lock()
	s.deaf = "notes"
	s.mu.Unlock()
	r := bufio.NewReader(w.wish(w.key, `"notifications":{"resourceSubscriptions":["gatewright+notes:note:///n","gatewright+files:note:///a","gatewright+files:note:///b"]},`).Body)
	first := event(t, r)
	if got := string(first["params"]); !strings.Contains(got, `"resourceSubscriptions":["gatewright+files:note:///a","gatewright+files:note:///b"]`) {
		t.Fatalf("agreed: %s", got)
	}
	s.mu.Lock()
	began := s.began["files"]
	s.mu.Unlock()
	if began != 1 {
		t.Errorf("the server was asked to be listened to %d times for what was asked at once", began)
	}
	s.say(t, w.alice.Session(), "notifications/resources/updated", `{"uri":"note:///b"}`)
	if got := soon(t, r); got != "notifications/resources/updated" {
		t.Errorf("heard %q", got)
	}
}

func TestNothingIsWatchedForWhoMayNotListenAnyMore(t *testing.T) {
	w, s := listened(t)
	w.subscribe(w.initialize("/mcp", w.key), "note:///a") // and it does not listen
	s.left(t, 1)
	time.Sleep(300 * time.Millisecond) // it is looked at, and may
	s.left(t, 1)
	w.must(w.people.SetAgentStatus(t.Context(), "acme", w.alice.Agent(), identity.Revoked))
	s.left(t, 0)
}

func TestStreamsAndWatchesEndWithTheirSessionsTime(t *testing.T) {
	w, s := listened(t)
	w.dialect.Sessions = &mcp.Sessions{Hub: w.dialect.Hub, Life: time.Second}
	session := w.initialize("/mcp", w.key)
	w.subscribe(session, "note:///a")
	r := bufio.NewReader(w.post("GET", "/mcp", session, "", w.key, "").Body)
	s.left(t, 2)
	if got := soon(t, r); got != "" {
		t.Errorf("heard %q", got)
	}
	s.left(t, 0)
}

func TestAnUpdateThatMayNotBeToldEndsTheStream(t *testing.T) {
	w, s := listened(t)
	w.dialect.Hub.Every = time.Hour
	r := bufio.NewReader(w.wish(w.key, `"notifications":{"resourceSubscriptions":["note:///a"]},`).Body)
	if got := next(r); got != "notifications/subscriptions/acknowledged" {
		t.Fatal(got)
	}
	w.must(w.people.SetAgentStatus(t.Context(), "acme", w.alice.Agent(), identity.Revoked))
	s.say(t, w.alice.Session(), "notifications/resources/updated", `{"uri":"note:///a"}`)
	if got := soon(t, r); got != "result" {
		t.Errorf("heard %q", got)
	}
}

// soon is next, for what may never come.
func soon(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	heard := make(chan string, 1)
	go func() { heard <- next(r) }()
	select {
	case got := <-heard:
		return got
	case <-time.After(5 * time.Second):
		t.Fatal("nothing comes, and no end")
		return ""
	}
}

// busy refuses whoever is looked at, for as long as it is set.
type busy struct{ atomic.Bool }

func (*busy) Name() string { return "busy" }

func (b *busy) Check(_ context.Context, c *pipeline.Call) error {
	if b.Load() && c.Op == "subscriptions/listen" {
		return pipeline.Deny(pipeline.RateLimited, "")
	}
	return nil
}

func TestWhatIsSaidWhileACallerIsOverItsRateIsToldLater(t *testing.T) {
	w, s := listened(t)
	b := new(busy)
	w.line.Stages = append(w.line.Stages, b)
	r := bufio.NewReader(w.wish(w.key, `"notifications":{"toolsListChanged":true},`).Body)
	if got := next(r); got != "notifications/subscriptions/acknowledged" {
		t.Fatal(got)
	}
	b.Store(true)
	s.say(t, "gatewright", "notifications/tools/list_changed", `{}`) // of what the caller is shown nothing differs
	time.Sleep(300 * time.Millisecond)
	b.Store(false)
	if got := soon(t, r); got != "notifications/tools/list_changed" {
		t.Errorf("heard %q", got)
	}
}

func TestUpdatesWhileACallerIsOverItsRateAreToldOnceLater(t *testing.T) {
	w, s := listened(t)
	w.dialect.Hub.Every = time.Hour
	b := new(busy)
	w.line.Stages = append(w.line.Stages, b)
	r := bufio.NewReader(w.wish(w.key, `"notifications":{"resourceSubscriptions":["note:///a"]},`).Body)
	if got := next(r); got != "notifications/subscriptions/acknowledged" {
		t.Fatal(got)
	}
	b.Store(true)
	for range 3 {
		s.say(t, w.alice.Session(), "notifications/resources/updated", `{"uri":"note:///a"}`)
	}
	time.Sleep(1300 * time.Millisecond) // it is still over it when it is looked at again
	b.Store(false)
	if got := soon(t, r); got != "notifications/resources/updated" {
		t.Errorf("heard %q", got)
	}
	w.must(w.people.SetAgentStatus(t.Context(), "acme", w.alice.Agent(), identity.Revoked))
	s.say(t, w.alice.Session(), "notifications/resources/updated", `{"uri":"note:///a"}`)
	if got := soon(t, r); got != "result" { // and no update more
		t.Errorf("heard %q", got)
	}
}

func TestAServerAgreesToNothingThatItWasNotAskedFor(t *testing.T) {
	w, s := listened(t)
	w.offers["acme/files resources/list"] = []string{`{"uri":"note:///a","name":"a"}`, `{"uri":"note:///b","name":"b"}`}
	w.refresh("acme", "files")
	session := w.initialize("/mcp", w.key)
	w.subscribe(session, "note:///a")
	s.say(t, w.alice.Session(), "notifications/subscriptions/acknowledged", `{"notifications":{"resourceSubscriptions":["note:///a","note:///b"]}}`)
	w.subscribe(session, "note:///b")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began["files"] != 2 {
		t.Errorf("the server was asked %d times to be listened to, want once for each resource", s.began["files"])
	}
}
