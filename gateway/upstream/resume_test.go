package upstream_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/gatewright/gatewright/gateway/upstream"
)

// An older server may close the stream while it works; the answer is then fetched, and the call not made again.
func TestAStreamThatAServerBrokeOffIsTakenUp(t *testing.T) {
	s := mcp.NewServer(&mcp.Implementation{Name: "sdk", Version: "1"}, nil)
	runs := 0
	mcp.AddTool(s, &mcp.Tool{Name: "slow"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		runs++
		for i := range 3 {
			note := &mcp.ProgressNotificationParams{ProgressToken: req.Params.GetProgressToken(), Progress: float64(i)}
			if err := req.Session.NotifyProgress(ctx, note); err != nil {
				return nil, nil, err
			}
			req.Extra.CloseSSEStream(mcp.CloseSSEStreamArgs{RetryAfter: 20 * time.Millisecond})
			time.Sleep(50 * time.Millisecond)
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "after all"}}}, nil, nil
	})
	rec, target := serve(t, streamable(s, &mcp.StreamableHTTPOptions{EventStore: mcp.NewMemoryEventStore(nil)}))
	target.Era = "legacy"
	client, l := newClient(t, nil), hearing()
	upstream.Hasten(client)
	for range 2 {
		var reply upstream.Reply
		if err := client.Call(t.Context(), target, callTool("slow", l), &reply); err != nil || !strings.Contains(string(reply.Result), "after all") {
			t.Fatal(err, string(reply.Result))
		}
	}
	if runs != 2 || len(l.heard) != 6 || len(rec.sessions()) != 1 {
		t.Errorf("%d runs, heard %q, %d sessions", runs, l.heard, len(rec.sessions()))
	}
}

func TestAStreamIsNotTakenUpForEver(t *testing.T) {
	serveStream := func(get func(n int64, w *stream, r *http.Request, id string)) (*upstream.Target, *dropper) {
		d := &dropper{stream: get}
		l := &liar{say: func(w *stream, _ string) { w.raw("id: a\nretry: 1\ndata:\n\n") }}
		inner := d.handler()
		_, target := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				inner.ServeHTTP(w, r)
				return
			}
			l.ServeHTTP(w, r)
		}))
		target.Era = "legacy"
		return target, d
	}
	client := newClient(t, func(o *upstream.Options) { o.Config.Timeout = 600 * time.Millisecond })
	upstream.Hasten(client)
	call := func(ctx context.Context, target *upstream.Target) error {
		return client.Call(ctx, target, callTool("echo", nil), new(upstream.Reply))
	}
	target, d := serveStream(func(_ int64, w *stream, _ *http.Request, _ string) { w.WriteHeader(405) })
	if e := wantKind(t, call(t.Context(), target), upstream.Unreachable); d.n.Load() != 1 || !e.Sent {
		t.Errorf("%+v after %d tries", e, d.n.Load())
	}
	target, d = serveStream(func(n int64, w *stream, r *http.Request, _ string) {
		w.raw(fmt.Sprintf("id: %s.%d\n\n", r.Header.Get("Last-Event-ID"), n))
	})
	wantKind(t, call(t.Context(), target), upstream.Unreachable)
	if n := d.n.Load(); n != 100 {
		t.Errorf("asked %d times", n)
	}
	target, _ = serveStream(func(_ int64, w *stream, r *http.Request, _ string) { w.raw(":\n"); <-r.Context().Done() })
	wantKind(t, call(t.Context(), target), upstream.Timeout)
	target, _ = serveStream(func(_ int64, w *stream, _ *http.Request, _ string) { w.raw("retry: 60000\n\n") })
	wantKind(t, call(t.Context(), target), upstream.Timeout)
	target, _ = serveStream(func(_ int64, w *stream, _ *http.Request, _ string) { w.raw("retry: 400\n\n") })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	wantKind(t, call(ctx, target), upstream.Canceled)
}
