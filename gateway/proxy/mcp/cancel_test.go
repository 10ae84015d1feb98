package mcp_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
)

// TestAnOlderClientGivesItsCallUpByNotification: whoever keeps the connection open and says that it gives up is heard, in its
// own session and nowhere else.
func TestAnOlderClientGivesItsCallUpByNotification(t *testing.T) {
	w, _ := conversing(t)
	begun, ended := make(chan struct{}, 1), make(chan error, 1)
	w.during = func(ctx context.Context) {
		begun <- struct{}{}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Second):
		}
		ended <- ctx.Err()
	}
	w.reply = func(*pipeline.Call) (pipeline.Reply, error) { return pipeline.Reply{}, context.Canceled }
	token, session := w.anything("files"), w.initialize("/mcp", w.key)
	answered := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(w.post("POST", "/mcp", session, strings.Replace(callMore, `"id":1`, `"id":"a-1"`, 1), w.key, token).Body)
		answered <- string(b)
	}()
	<-begun
	cancel := func(id string) string {
		return `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + id + `,"reason":"enough"}}`
	}
	for name, send := range map[string]func() *http.Response{
		"no session": func() *http.Response { return w.post("POST", "/mcp", "", cancel(`"a-1"`), w.key, "") },
		"another session": func() *http.Response {
			return w.post("POST", "/mcp", w.initialize("/mcp", w.key), cancel(`"a-1"`), w.key, "")
		},
		"another caller": func() *http.Response { return w.post("POST", "/mcp", session, cancel(`"a-1"`), w.evesKey, "") },
		"another id":     func() *http.Response { return w.post("POST", "/mcp", session, cancel(`1`), w.key, "") },
		"no id":          func() *http.Response { return w.post("POST", "/mcp", session, cancel(`null`), w.key, "") },
	} {
		send()
		select {
		case err := <-ended:
			t.Fatalf("%s: the call ended: %v", name, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	if r := w.post("POST", "/mcp", session, cancel(`"\u0061-1"`), w.key, ""); r.StatusCode != http.StatusAccepted {
		t.Errorf("answered %d", r.StatusCode)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the call was not ended")
		}
	case <-time.After(6 * time.Second):
		t.Error("the call goes on")
	}
	if said := <-answered; !strings.Contains(said, `"error"`) {
		t.Errorf("the call was answered %s", said)
	}
	if r := w.post("POST", "/mcp", session, cancel(`"a-1"`), w.key, ""); r.StatusCode != http.StatusAccepted {
		t.Errorf("too late: %d", r.StatusCode)
	}
}

// TestAModernNotificationSaysItsVersionInTheHeader: only a request must repeat it in its body.
func TestAModernNotificationSaysItsVersionInTheHeader(t *testing.T) {
	w := newWorld(t)
	said := map[string]string{"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "notifications/cancelled"}
	if a := w.send("POST", "/mcp", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`, said); a.status != http.StatusAccepted {
		t.Errorf("a notification: %d %s", a.status, a.raw)
	}
	said["Mcp-Method"] = "tools/list"
	if a := w.send("POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, said); a.status != http.StatusBadRequest {
		t.Errorf("a request: %d %s", a.status, a.raw)
	}
}
