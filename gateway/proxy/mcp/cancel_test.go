package mcp_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
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

// TestACallIsGivenUpAlone: its connection's next call runs, and one that is given up too late is not the next one.
func TestACallIsGivenUpAlone(t *testing.T) {
	w, _ := conversing(t)
	begun, ended, givenUp := make(chan struct{}, 1), make(chan error, 1), make(chan bool, 1)
	w.during = func(ctx context.Context) {
		begun <- struct{}{}
		patience := time.Millisecond
		if <-givenUp {
			patience = 5 * time.Second
		}
		select {
		case <-ctx.Done():
		case <-time.After(patience):
		}
		ended <- ctx.Err()
	}
	w.reply = func(*pipeline.Call) (pipeline.Reply, error) {
		return pipeline.Reply{Status: 200, Result: []byte(`{"content":[]}`)}, nil
	}
	token, session := w.anything("files"), w.initialize("/mcp", w.key)
	one := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	t.Cleanup(one.CloseIdleConnections)
	used := map[string]bool{}
	call := func(i int, give bool) {
		t.Helper()
		givenUp <- give
		q, err := http.NewRequestWithContext(t.Context(), "POST", w.base+"/mcp", strings.NewReader(strings.Replace(callMore, `"id":1`, fmt.Sprintf(`"id":%d`, i), 1)))
		w.must(err)
		q = q.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { used[c.Conn.LocalAddr().String()] = true }}))
		for name, value := range map[string]string{"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Authorization": "Bearer " + w.key, "Mcp-Session-Id": session, "Gatewright-Intent": token} {
			q.Header.Set(name, value)
		}
		resp, err := one.Do(q)
		w.must(err)
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	giveUp := func(i int) {
		w.post("POST", "/mcp", session, fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}`, i), w.key, "")
	}
	for i := range 40 {
		give := i%4 == 0
		var wg sync.WaitGroup
		wg.Go(func() {
			<-begun
			if give {
				giveUp(i)
			} else {
				giveUp(i - 1) // late
			}
		})
		call(i, give)
		wg.Wait()
		if err := <-ended; give != (err != nil) {
			t.Fatalf("call %d, given up %v: %v", i, give, err)
		}
	}
	if len(used) != 1 {
		t.Errorf("%d connections were used", len(used))
	}
}
