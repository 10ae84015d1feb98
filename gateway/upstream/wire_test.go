package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/gatewright/gatewright/gateway/upstream"
)

func sseHandler(s *mcp.Server) http.Handler {
	return mcp.NewSSEHandler(func(*http.Request) *mcp.Server { return s }, nil)
}

func TestAServerOfTheOldestTransportIsFoundAndUsed(t *testing.T) {
	for _, era := range []string{"auto", "sse"} {
		t.Run(era, func(t *testing.T) {
			gone := make(chan error, 2)
			rec, target := serve(t, sseHandler(talkative(gone)))
			target.Era = era
			client := newClient(t, nil)
			tools, err := client.List(t.Context(), target, &upstream.Request{Method: "tools/list"})
			if err != nil || len(tools) != 5 {
				t.Fatalf("%d tools, %v", len(tools), err)
			}
			l := hearing()
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					var reply upstream.Reply
					if err := client.Call(t.Context(), target, callTool("steps", l), &reply); err != nil || !strings.Contains(string(reply.Result), "done") {
						t.Error(err, string(reply.Result))
					}
					if err := client.Call(t.Context(), target, callTool("ask", l), &reply); err != nil || !strings.Contains(string(reply.Result), "accept Oslo") {
						t.Error(err, string(reply.Result))
					}
					if err := client.Call(t.Context(), target, callTool("ping", nil), &reply); err != nil || !strings.Contains(string(reply.Result), "pong") {
						t.Error(err, string(reply.Result))
					}
				})
			}
			all.Wait()
			if n := strings.Count(l.said(), `notifications/progress {"progressToken":"mine/1"`); n != 12 {
				t.Errorf("heard %s", l.said())
			}
			ctx, cancel := context.WithCancel(t.Context())
			var left time.Time
			go func() { <-gone; left = time.Now(); cancel() }()
			wantKind(t, client.Call(ctx, target, callTool("wait", l), new(upstream.Reply)), upstream.Canceled)
			if err := <-gone; err == nil || time.Since(left) > 250*time.Millisecond {
				t.Errorf("the handler's context: %v after %v", err, time.Since(left))
			}
			if h, _ := client.Health("demo", "srv"); h.Sessions != 3 || h.Era != map[string]string{"auto": "sse", "sse": "unknown"}[era] {
				t.Errorf("%+v", h)
			}
			gets := 0
			for i := range rec.bodies {
				if rec.bodies[i] == "" {
					gets++
				}
			}
			if gets != 3 {
				t.Errorf("%d streams for three principals", gets)
			}
		})
	}
}

func TestTheOldestTransportIsListenedToOnItsOneStream(t *testing.T) {
	s := library(0)
	_, target := serve(t, sseHandler(s))
	target.Era = "sse"
	client, l := newClient(t, nil), hearing()
	stop := listening(t, client, target, &upstream.Subscription{Principal: "agt_1", Peer: l})
	if err := client.Call(t.Context(), target, &upstream.Request{Method: "resources/subscribe", Name: "file:///r1/a", Principal: "agt_1", Peer: l}, new(upstream.Reply)); err != nil {
		t.Fatal(err)
	}
	for range 200 { // until somebody listens
		if err := s.ResourceUpdated(t.Context(), &mcp.ResourceUpdatedNotificationParams{URI: "file:///r1/a"}); err != nil {
			t.Fatal(err)
		}
		if l.said() != "" {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	l.hears(t, "notifications/resources/updated {")
	for ss := range s.Sessions() { // the server drops it
		_ = ss.Close()
	}
	for range 400 {
		s.RemovePrompts("p1", "p2")
		s.AddPrompt(&mcp.Prompt{Name: "p1"}, nil)
		if strings.Contains(l.said(), "notifications/prompts/list_changed") {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	l.hears(t, "notifications/prompts/list_changed")
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

// piped lets others write what a handler sends.
type piped struct {
	http.ResponseWriter
	text chan string
	end  <-chan struct{}
}

func (p *piped) Write(b []byte) (int, error) {
	select {
	case p.text <- string(b):
	case <-p.end:
	}
	return len(b), nil
}

func (p *piped) Flush() {}

// old is a hostile server of the oldest transport.
type old struct {
	first string // what its stream begins with
	call  func(w *stream, id string)

	mu     sync.Mutex
	out    *stream
	posted []string
	end    chan struct{}
}

func (o *old) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		w.Header().Set("Content-Type", "text/event-stream")
		end, text := make(chan struct{}), make(chan string)
		out := &stream{w, nil}
		o.mu.Lock()
		o.out, o.end = &stream{&piped{w, text, r.Context().Done()}, nil}, end
		o.mu.Unlock()
		out.raw(o.first)
		for {
			select {
			case <-r.Context().Done():
				return
			case <-end:
				return
			case s := <-text:
				out.raw(s)
			}
		}
	}
	body, _ := io.ReadAll(r.Body)
	_, id, _ := strings.Cut(string(body), `"id":`)
	id, _, _ = strings.Cut(id, ",")
	o.mu.Lock()
	o.posted = append(o.posted, r.URL.String()+" "+string(body))
	out, end, call := o.out, o.end, o.call
	o.mu.Unlock()
	w.WriteHeader(202)
	switch {
	case strings.Contains(string(body), `"initialize"`):
		out.event(`{"jsonrpc":"2.0","id":` + id + `,"result":{"protocolVersion":"2024-11-05","capabilities":{}}}`)
	case strings.Contains(string(body), `"tools/call"`):
		if call == nil {
			close(end)
			return
		}
		call(out, id)
	}
}

func TestTheEndpointStaysWhereTheServerIs(t *testing.T) {
	secret := serveRaw(t, say("HTTP/1.1 202 OK\r\nContent-Length: 0\r\n\r\n", true))
	for first, want := range map[string]upstream.Kind{
		"event: endpoint\ndata: /messages?session=1\n\n":                              "",
		"event: endpoint\ndata: messages?session=1\n\n":                               "",
		"event: endpoint\ndata: ?session=1\n\n":                                       "",
		": hello\n\nid: 1\nevent: endpoint\ndata: BASE/messages\n\n":                  "",
		"event: endpoint\ndata: http://" + secret.ln.Addr().String() + "/mcp\n\n":     upstream.Malformed,
		"event: endpoint\ndata: //" + secret.ln.Addr().String() + "/mcp\n\n":          upstream.Malformed,
		"event: endpoint\ndata: https://HOST/mcp\n\n":                                 upstream.Malformed,
		"event: endpoint\ndata: http://user:pw@HOST/mcp\n\n":                          upstream.Malformed,
		"event: endpoint\ndata: http://other.example:PORT/mcp\n\n":                    upstream.Malformed,
		"event: endpoint\ndata: http://169.254.169.254/latest\n\n":                    upstream.Malformed,
		"event: endpoint\ndata: http://localhost.:80/\n\n":                            upstream.Malformed,
		"event: endpoint\ndata: file:///etc/passwd\n\n":                               upstream.Malformed,
		"event: endpoint\ndata: /a b\n\n":                                             "",
		"event: endpoint\ndata: /a\ndata: X: y\n\n":                                   upstream.Malformed,
		"event: endpoint\ndata: /" + strings.Repeat("a", 3000) + "\n\n":               upstream.Malformed,
		"event: endpoint\ndata:\n\n":                                                  upstream.Malformed,
		"event: message\ndata: {}\n\n":                                                upstream.Malformed,
		"data: /messages\n\n":                                                         upstream.Malformed,
		"event: endpoint\ndata: /" + strings.Repeat("a", 10<<20):                      upstream.Malformed,
		"event: endpoint\ndata: /messages\n\nevent: endpoint\ndata: http://x.y/m\n\n": "",
	} {
		o := &old{call: func(w *stream, id string) { ended(w, id) }}
		_, target := serve(t, o)
		base, _, _ := strings.Cut(strings.TrimPrefix(target.URL, "http://"), "/")
		o.first = strings.NewReplacer("BASE", "http://"+base, "HOST", base, "PORT", base[strings.LastIndexByte(base, ':')+1:]).Replace(first)
		target.Era = "sse"
		client := newClient(t, nil)
		err := client.Call(t.Context(), target, toolCall(), new(upstream.Reply))
		if want == "" && err != nil || want != "" && wantKind(t, err, want).Sent {
			t.Errorf("%.80q: %v", first, err)
		}
	}
	if secret.requests.Load() != 0 {
		t.Error("the endpoint was followed elsewhere")
	}
}

func TestALyingStreamEndsItsCallsAndNoOthers(t *testing.T) {
	const first = "event: endpoint\ndata: /m\n\n"
	one := func(text string) func(w *stream, id string) {
		return func(w *stream, id string) { w.event(strings.ReplaceAll(text, "$ID", id)) }
	}
	for name, c := range map[string]struct {
		call func(w *stream, id string)
		want upstream.Kind
	}{
		"ends":           {nil, upstream.Unreachable},
		"a foreign id":   {one(`{"jsonrpc":"2.0","id":99999,"result":{}}`), upstream.Timeout},
		"another kind":   {one(`{"jsonrpc":"2.0","id":"$ID","result":{}}`), upstream.Timeout},
		"both":           {one(`{"jsonrpc":"2.0","id":$ID,"result":{},"error":{}}`), upstream.Malformed},
		"duplicate keys": {one(`{"jsonrpc":"2.0","id":$ID,"result":{"a":1,"a":2}}`), upstream.Malformed},
		"too large":      {one(`{"jsonrpc":"2.0","id":$ID,"result":{"a":"` + strings.Repeat("x", 1<<20) + `"}}`), upstream.Unreachable},
		"a flood": {func(w *stream, _ string) {
			for range 200 {
				w.event(`{"jsonrpc":"2.0","method":"notifications/message"}`)
			}
		}, upstream.TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			o := &old{first: first, call: c.call}
			_, target := serve(t, o)
			target.Era = "sse"
			client := newClient(t, func(o *upstream.Options) {
				o.Config.Timeout, o.Config.MaxResponse, o.Config.MaxInterim = time.Second, 64<<10, 100
			})
			if e := wantKind(t, client.Call(t.Context(), target, callTool("echo", hearing()), new(upstream.Reply)), c.want); !e.Sent {
				t.Errorf("%+v", e)
			}
			o.mu.Lock()
			o.call = func(w *stream, id string) { ended(w, id); ended(w, id) }
			o.mu.Unlock()
			for range 3 { // on a stream of its own, or the old one
				var reply upstream.Reply
				if err := client.Call(t.Context(), target, callTool("echo", hearing()), &reply); err != nil || string(reply.Result) != `{"content":[]}` {
					t.Error(err)
				}
			}
			if name == "a foreign id" {
				said := func() bool {
					o.mu.Lock()
					defer o.mu.Unlock()
					return strings.Contains(fmt.Sprint(o.posted), `/m {"jsonrpc":"2.0","method":"notifications/cancelled"`)
				}
				for tries := 0; !said(); tries++ { // nobody waits for it, so it may be late
					if tries == 300 {
						t.Fatal("the server was not told")
					}
					time.Sleep(10 * time.Millisecond)
				}
			}
		})
	}
}
