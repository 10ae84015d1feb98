package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/gatewright/gatewright/gateway/upstream"
)

// listening runs Listen until the test's end or stop, which returns its error.
func listening(t *testing.T, c *upstream.Client, target *upstream.Target, s *upstream.Subscription) (stop func() error) {
	t.Helper()
	upstream.Hasten(c)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Listen(ctx, target, s) }()
	t.Cleanup(cancel)
	return func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(3 * time.Second):
			t.Error("it listens on")
			return nil
		}
	}
}

// hears waits until the peer heard something.
func (l *listener) hears(t *testing.T, what string) {
	t.Helper()
	for range 400 {
		if strings.Contains(l.said(), what) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%s was not heard: %s", what, l.said())
}

func TestAServerIsHeardOnItsOwn(t *testing.T) {
	for era, stateless := range map[string]bool{"legacy": false, "modern": true} {
		t.Run(era, func(t *testing.T) {
			s := library(0)
			rec, target := serve(t, streamable(s, &mcp.StreamableHTTPOptions{Stateless: stateless}))
			target.Era = era
			client, l := newClient(t, nil), hearing()
			call := func(method string) {
				t.Helper()
				r := &upstream.Request{Method: method, Name: "file:///r1/a", Principal: "agt_1", Peer: l}
				if err := client.Call(t.Context(), target, r, new(upstream.Reply)); err != nil {
					t.Fatal(err)
				}
			}
			stop := listening(t, client, target, &upstream.Subscription{
				Principal: "agt_1", Peer: l, Filter: []byte(`{"promptsListChanged":true,"resourceSubscriptions":["file:///r1/a"]}`),
			})
			if era == "modern" {
				l.hears(t, `notifications/subscriptions/acknowledged`)
			} else {
				call("resources/subscribe")
				for rec.inSession() < 3 {
					time.Sleep(5 * time.Millisecond)
				}
			}
			s.RemovePrompts("p1")
			l.hears(t, "notifications/prompts/list_changed")
			if err := s.ResourceUpdated(t.Context(), &mcp.ResourceUpdatedNotificationParams{URI: "file:///r1/a"}); err != nil {
				t.Fatal(err)
			}
			l.hears(t, `notifications/resources/updated {`)
			if era == "legacy" {
				for ss := range s.Sessions() { // asked outside of any call
					r, err := ss.Elicit(t.Context(), &mcp.ElicitParams{Message: "out of the blue", RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}}})
					if err != nil || r.Content["city"] != "Oslo" {
						t.Errorf("%v, %v", r, err)
					}
				}
			}
			if err := stop(); !errors.Is(err, context.Canceled) {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

// dropper serves streams that break.
type dropper struct {
	modern bool
	stream func(n int64, w *stream, r *http.Request, id string)
	n      atomic.Int64
}

func (d *dropper) handler() http.Handler {
	l := &liar{}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := ""
		if d.modern {
			b, _ := io.ReadAll(r.Body)
			_, id, _ = strings.Cut(string(b), `"id":`)
			id, _, _ = strings.Cut(id, ",")
		} else if r.Method != http.MethodGet {
			l.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		d.stream(d.n.Add(1), &stream{w, l.all}, r, id)
	})
}

func listenTo(t *testing.T, d *dropper, l *listener, change func(*upstream.Options)) (stop func() error) {
	t.Helper()
	_, target := serve(t, d.handler())
	target.Era = map[bool]string{false: "legacy", true: "modern"}[d.modern]
	return listening(t, newClient(t, change), target, &upstream.Subscription{Principal: "agt_1", Peer: l})
}

func TestAStreamThatBreaksIsOpenedAgain(t *testing.T) {
	l := hearing()
	stop := listenTo(t, &dropper{stream: func(n int64, w *stream, r *http.Request, _ string) {
		w.raw(fmt.Sprintf("id: e-%d\nretry: 1\ndata:\n\n", n))
		w.event(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/n%d","params":{"after":"%s","session":"%s"}}`, n, r.Header.Get("Last-Event-ID"), r.Header.Get("Mcp-Session-Id")))
	}}, l, nil)
	l.hears(t, `notifications/n1 {"after":"","session":"s-1"}`)
	l.hears(t, `notifications/n25 {"after":"e-24","session":"s-1"}`)
	_ = stop()
	l = hearing()
	stop = listenTo(t, &dropper{modern: true, stream: func(n int64, w *stream, r *http.Request, id string) {
		tag := func(id string) string {
			return `"_meta":{"io.modelcontextprotocol/subscriptionId":` + id + `}`
		}
		w.raw(": keep\n\nid: x\n")
		w.event(`{"jsonrpc":"2.0","method":"notifications/a","params":{"of":"another",` + tag("999999") + `}}`)
		w.event(`{"jsonrpc":"2.0","method":"notifications/a","params":{"of":"nobody"}}`)
		w.event(`{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{` + tag(id) + `}}`)
		w.event(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/n%d","params":{"after":"%s",%s}}`, n, r.Header.Get("Last-Event-ID"), tag(id)))
		if n%2 == 0 {
			w.event(`{"jsonrpc":"2.0","id":` + id + `,"result":{"resultType":"complete"}}`)
			<-r.Context().Done()
		}
	}}, l, nil)
	l.hears(t, `notifications/n25 {"after":"",`)
	_ = stop()
	if got := l.said(); strings.Contains(got, "another") || strings.Contains(got, "nobody") || strings.Contains(got, "elicitation") {
		t.Errorf("heard %s", got)
	}
}

func TestListeningEndsWhereItIsOfNoUse(t *testing.T) {
	status := func(code int) func(int64, *stream, *http.Request, string) {
		return func(_ int64, w *stream, _ *http.Request, _ string) { w.WriteHeader(code) }
	}
	event := func(text string) func(int64, *stream, *http.Request, string) {
		return func(_ int64, w *stream, r *http.Request, id string) {
			w.event(strings.ReplaceAll(text, "$ID", id))
			<-r.Context().Done()
		}
	}
	for name, c := range map[string]struct {
		d     *dropper
		want  upstream.Kind
		code  int
		tries int64
	}{
		"no stream":              {&dropper{stream: status(405)}, upstream.Status, 405, 1},
		"no stream, modern":      {&dropper{modern: true, stream: status(404)}, upstream.Status, 404, 1},
		"refused by an event":    {&dropper{modern: true, stream: event(`{"jsonrpc":"2.0","id":$ID,"error":{"code":-32601,"message":""}}`)}, upstream.Status, 405, 1},
		"the credential refused": {&dropper{stream: status(401)}, upstream.Status, 401, 1},
		"a session always lost":  {&dropper{stream: status(404)}, upstream.Unreachable, 0, 11},
		"a server in trouble":    {&dropper{stream: status(503)}, upstream.Status, 503, 11},
		"dropped at once":        {&dropper{stream: func(int64, *stream, *http.Request, string) {}}, upstream.Unreachable, 0, 11},
		"dropped when agreed": {&dropper{modern: true, stream: func(_ int64, w *stream, _ *http.Request, id string) {
			w.event(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":` + id + `}}}`)
		}}, upstream.Unreachable, 0, 11},
		"redirected":  {&dropper{stream: status(307)}, upstream.Redirect, 307, 1},
		"duplicates":  {&dropper{stream: event(`{"jsonrpc":"2.0","method":"notifications/a","params":{"a":1,"a":2}}`)}, upstream.Malformed, 0, 1},
		"a large one": {&dropper{stream: event(`{"jsonrpc":"2.0","method":"notifications/a","params":{"a":"` + strings.Repeat("x", 2<<20) + `"}}`)}, upstream.TooLarge, 0, 1},
		"without data": {&dropper{stream: func(_ int64, w *stream, _ *http.Request, _ string) {
			w.Header().Set("Content-Type", "text/plain")
			w.raw("hello")
		}}, upstream.Malformed, 0, 1},
		"a flood": {&dropper{stream: func(_ int64, w *stream, _ *http.Request, _ string) {
			for range 2000 {
				w.event(`{"jsonrpc":"2.0","method":"notifications/a"}`)
			}
		}}, upstream.TooLarge, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			_, target := serve(t, c.d.handler())
			target.Era = map[bool]string{false: "legacy", true: "modern"}[c.d.modern]
			client := newClient(t, nil)
			upstream.Hasten(client)
			l := hearing()
			e := wantKind(t, client.Listen(t.Context(), target, &upstream.Subscription{Principal: "agt_1", Peer: l}), c.want)
			if e.Code != c.code || c.d.n.Load() != c.tries || len(l.heard) > 1000 {
				t.Errorf("got %+v after %d tries, heard %d", e, c.d.n.Load(), len(l.heard))
			}
		})
	}
	client := newClient(t, nil)
	for _, s := range []upstream.Subscription{{Principal: "a"}, {Peer: hearing()}, {Principal: "a", Peer: hearing(), Filter: []byte(`[]`)}} {
		wantKind(t, client.Listen(t.Context(), &upstream.Target{}, &s), upstream.Invalid)
	}
}

// A session that is listened to is in use.
func TestASessionThatIsListenedToStays(t *testing.T) {
	l, now := hearing(), atomic.Int64{}
	began := time.Now()
	s := library(0)
	rec, target := serve(t, streamable(s, &mcp.StreamableHTTPOptions{}))
	target.Era = "legacy"
	client := newClient(t, func(o *upstream.Options) {
		o.Now = func() time.Time { return began.Add(time.Duration(now.Load())) }
	})
	stop := listening(t, client, target, &upstream.Subscription{Principal: "agt_1", Peer: l})
	for len(rec.sessions()) == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond)
	now.Store(int64(time.Hour))
	if err := client.Call(t.Context(), target, &upstream.Request{Method: "prompts/list", Principal: "agt_1", Peer: l}, new(upstream.Reply)); err != nil {
		t.Fatal(err)
	}
	if n := len(rec.sessions()); n != 1 {
		t.Errorf("%d sessions", n)
	}
	_ = stop()
}

// What was allowed before a change is not allowed after it.
func TestListeningEndsWhenTheServerIsChanged(t *testing.T) {
	for era, h := range map[string]http.Handler{
		"legacy": streamable(library(0), &mcp.StreamableHTTPOptions{}), "modern": streamable(library(0), &mcp.StreamableHTTPOptions{Stateless: true}), "sse": sseHandler(library(0)),
	} {
		rec, target := serve(t, h)
		target.Era = era
		client, ended := newClient(t, nil), make(chan error, 1)
		go func() {
			ended <- client.Listen(t.Context(), target, &upstream.Subscription{Principal: "agt_1", Peer: hearing(), Filter: []byte(`{"promptsListChanged":true}`)})
		}()
		for want := map[string]int{"legacy": 3, "modern": 1, "sse": 3}[era]; len(strings.Fields(rec.methods())) < want-1; {
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(50 * time.Millisecond)
		client.Forget("demo", "srv")
		select {
		case err := <-ended:
			if e := wantKind(t, err, upstream.Unreachable); !strings.Contains(e.Detail, "changed or removed") {
				t.Errorf("%s: %v", era, e)
			}
		case <-time.After(3 * time.Second):
			t.Errorf("%s: it listens on", era)
		}
	}
}
