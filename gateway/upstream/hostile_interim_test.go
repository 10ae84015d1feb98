package upstream_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/upstream"
)

// liar is a server of the older era that says what it likes before its answer, and writes down what it is told.
type liar struct {
	say func(w *stream, id string)

	mu   sync.Mutex
	told []string
}

// stream writes events and sends each on its way.
type stream struct {
	http.ResponseWriter
	told func() string
}

func (s *stream) event(text string) { s.raw("data: " + text + "\n\n") }

func (s *stream) raw(text string) {
	_, _ = io.WriteString(s, text)
	s.ResponseWriter.(http.Flusher).Flush()
}

// until waits for the server to be told something.
func (s *stream) until(what string) {
	for range 200 {
		if strings.Contains(s.told(), what) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (l *liar) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.told, "\n")
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var m struct {
		ID     json.RawMessage
		Method string
	}
	_ = json.Unmarshal(body, &m)
	switch m.Method {
	case "initialize":
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Mcp-Session-Id", "s-1")
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{}}}`, m.ID)
	case "tools/call":
		w.Header().Set("Content-Type", "text/event-stream")
		l.say(&stream{w, l.all}, string(m.ID))
	default:
		l.mu.Lock()
		l.told = append(l.told, r.Method+" "+r.Header.Get("Mcp-Session-Id")+" "+string(body))
		l.mu.Unlock()
		w.Header().Set("Mcp-Session-Id", "another")
		w.WriteHeader(202)
	}
}

func ended(w *stream, id string) {
	w.event(`{"jsonrpc":"2.0","id":` + id + `,"result":{"content":[]}}`)
}

// lie calls a tool of such a server.
func lie(t *testing.T, p upstream.Peer, say func(w *stream, id string)) (l *liar, reply *upstream.Reply, err error) {
	t.Helper()
	l, reply = &liar{say: say}, new(upstream.Reply)
	_, target := serve(t, l)
	target.Era = "legacy"
	client := newClient(t, func(o *upstream.Options) {
		o.Config.MaxInterim, o.Config.MaxInterimBytes, o.Config.MaxAsks, o.Config.MaxResponse = 50, 64<<10, 3, 256<<10
	})
	err = client.Call(t.Context(), target, callTool("echo", p), reply)
	client.Close() // what it has to say to the server is said
	return l, reply, err
}

func TestAServerThatSaysTooMuchIsCutAndTold(t *testing.T) {
	note := `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}`
	for name, say := range map[string]func(w *stream, id string){
		"many notifications": func(w *stream, _ string) {
			for range 100 {
				w.event(note)
			}
			w.until("cancelled")
		},
		"many pings": func(w *stream, _ string) {
			for i := range 100 {
				w.event(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"ping"}`, i))
			}
			w.until("cancelled")
		},
		"many questions": func(w *stream, _ string) {
			for i := range 100 {
				w.event(fmt.Sprintf(`{"jsonrpc":"2.0","id":"%d","method":"elicitation/create","params":{}}`, i))
			}
			w.until("cancelled")
		},
		"much": func(w *stream, _ string) {
			for range 20 {
				w.event(strings.Replace(note, `"x"`, `"`+strings.Repeat("x", 8<<10)+`"`, 1))
			}
			w.until("cancelled")
		},
		"one event without an end": func(w *stream, _ string) {
			w.raw("data: ")
			for range 200 {
				w.raw(strings.Repeat("x", 64<<10))
			}
		},
		"one event of 10 MB": func(w *stream, _ string) {
			w.event(strings.Replace(note, `"x"`, `"`+strings.Repeat("x", 10<<20)+`"`, 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := hearing()
			l, _, err := lie(t, h, say)
			wantKind(t, err, upstream.TooLarge)
			if len(h.heard) > 50 {
				t.Errorf("%d messages went through", len(h.heard))
			}
			if strings.HasPrefix(name, "many") && !strings.Contains(l.all(), `POST s-1 {"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":`) {
				t.Errorf("told %s", l.all())
			}
			if !strings.Contains(l.all(), "DELETE s-1 ") {
				t.Errorf("told %s", l.all())
			}
		})
	}
}

func TestAnInterimMessageIsReadAsStrictlyAsAnAnswer(t *testing.T) {
	for name, event := range map[string]string{
		"duplicate keys":         `{"jsonrpc":"2.0","method":"notifications/message","params":{"a":1,"a":2}}`,
		"duplicate method":       `{"jsonrpc":"2.0","method":"notifications/message","method":"x"}`,
		"not UTF-8":              "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"a\":\"\xff\"}}",
		"no JSON":                `notifications/message`,
		"no version":             `{"method":"notifications/message"}`,
		"a batch":                `[{"jsonrpc":"2.0","method":"notifications/message"}]`,
		"a method that is none":  `{"jsonrpc":"2.0","method":7}`,
		"params a list":          `{"jsonrpc":"2.0","method":"notifications/message","params":[1]}`,
		"an id that is none":     `{"jsonrpc":"2.0","id":{},"method":"ping"}`,
		"an id null":             `{"jsonrpc":"2.0","id":null,"method":"ping"}`,
		"an id without a bound":  `{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 300) + `","method":"ping"}`,
		"a method without bound": `{"jsonrpc":"2.0","method":"` + strings.Repeat("x", 300) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			h := hearing()
			_, _, err := lie(t, h, func(w *stream, id string) { w.event(event); ended(w, id) })
			wantKind(t, err, upstream.Malformed)
			if h.said() != "" {
				t.Errorf("heard %s", h.said())
			}
		})
	}
}

func TestWhatIsForNobodyIsNotHeard(t *testing.T) {
	h := hearing()
	l, reply, err := lie(t, h, func(w *stream, id string) {
		w.event(`{"jsonrpc":"2.0","id":999999,"result":{"for":"another"}}`)
		w.event(`{"jsonrpc":"2.0","id":"` + id + `","result":{"for":"another"}}`)
		w.event(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"mine/1","progress":1}}`)
		w.event(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":999999,"progress":1}}`)
		w.event(`{"jsonrpc":"2.0","method":"notifications/progress"}`)
		w.event(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1,"progressToken":` + id + `,"message":"h\u00e4"}}`)
		for _, part := range []string{"data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"data\":\"h\xc3", "\xa4\xe2", "\x82", "\xac\"}}\r", "\n\r\n"} {
			w.raw(part)
			time.Sleep(2 * time.Millisecond)
		}
		w.raw("event: other\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n")
		ended(w, id)
		w.event(`{"jsonrpc":"2.0","id":7,"method":"elicitation/create","params":{}}`)
		w.event(`{"jsonrpc":"2.0","method":"notifications/message"}`)
		ended(w, id)
	})
	if err != nil || string(reply.Result) != `{"content":[]}` {
		t.Fatalf("%v %s", err, reply.Result)
	}
	want := `notifications/progress {"progress":1,"progressToken":"mine/1","message":"h\u00e4"}` + "\n" + `notifications/message {"data":"hä€"}`
	if h.said() != want || strings.Contains(l.all(), `"id":7`) {
		t.Errorf("heard %s, told %s", h.said(), l.all())
	}
}

func TestQuestionsThatCannotBeAskedAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ event, want string }{
		"no such request":     {`{"jsonrpc":"2.0","id":"q","method":"secrets/list"}`, "-32601"},
		"not declared":        {`{"jsonrpc":"2.0","id":"q","method":"roots/list"}`, "-32601"},
		"params a list":       {`{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":[]}`, "-32600"},
		"a method of no kind": {`{"jsonrpc":"2.0","id":"q","method":{}}`, "-32600"},
		"too large":           {`{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"a":"` + strings.Repeat("x", 100<<10) + `"}}`, "-32600"},
	} {
		t.Run(name, func(t *testing.T) {
			h := &listener{capabilities: `{"elicitation":{}}`}
			l, _, err := lie(t, h, func(w *stream, id string) {
				w.event(c.event)
				w.until(`"id":"q"`)
				ended(w, id)
			})
			if err != nil || !strings.Contains(l.all(), `POST s-1 {"jsonrpc":"2.0","id":"q","error":{"code":`+c.want) || h.said() != "" {
				t.Errorf("%v, told %s, heard %s", err, l.all(), h.said())
			}
		})
	}
	// Nobody is there to be asked.
	l, _, err := lie(t, nil, func(w *stream, id string) {
		w.event(`{"jsonrpc":"2.0","id":5,"method":"elicitation/create","params":{}}`)
		w.until(`"id":5`)
		ended(w, id)
	})
	if err != nil || !strings.Contains(l.all(), `"id":5,"error":{"code":-32601`) {
		t.Errorf("%v, told %s", err, l.all())
	}
}

func TestQuestionsEndWithWhoAskedThem(t *testing.T) {
	waits := func(ended chan<- struct{}) func(ctx context.Context, _ string, _ []byte) (result, failure []byte) {
		return func(ctx context.Context, _ string, _ []byte) (result, failure []byte) {
			<-ctx.Done()
			ended <- struct{}{}
			return []byte(`{"action":"accept"}`), nil
		}
	}
	ask := func(n int) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"elicitation/create","params":{}}`, n)
	}
	t.Run("answered meanwhile", func(t *testing.T) {
		done, h := make(chan struct{}, 9), hearing()
		h.answer = waits(done)
		l, _, err := lie(t, h, func(w *stream, id string) {
			for n := range 4 {
				w.event(ask(n + 1))
			}
			w.event(ask(1))
			w.until(`"id":1,`)
			ended(w, id)
		})
		if err != nil || len(done) != 3 {
			t.Errorf("%v, %d ended", err, len(done))
		}
		if got := l.all(); strings.Contains(got, "accept") || strings.Count(got, `"id":4,"error"`) != 1 || strings.Count(got, `"id":1,"error"`) != 1 {
			t.Errorf("told %s", got)
		}
	})
	t.Run("taken back", func(t *testing.T) {
		done, h := make(chan struct{}, 9), hearing()
		h.answer = waits(done)
		l, _, err := lie(t, h, func(w *stream, id string) {
			w.event(ask(1))
			w.event(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}`)
			w.event(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
			<-done
			time.Sleep(50 * time.Millisecond) // an answer would be there by now
			ended(w, id)
		})
		if err != nil || strings.Contains(l.all(), "accept") || len(h.heard) != 0 {
			t.Errorf("%v, told %s, heard %s", err, l.all(), h.said())
		}
	})
	t.Run("a modern server must not ask", func(t *testing.T) {
		s := serveRaw(t, say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: "+ask(1)+"\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{}}\n\n", false))
		h := hearing()
		if err := newClient(t, nil).Call(t.Context(), s.target(), callTool("echo", h), new(upstream.Reply)); err != nil || h.said() != "" || s.requests.Load() != 1 {
			t.Errorf("%v, heard %s", err, h.said())
		}
	})
}

// What was read already is not worked off after the time is up, however slow the server takes what it is told.
func TestAServerThatTakesNoAnswersCannotStretchTheTime(t *testing.T) {
	hang := make(chan struct{})
	l := &liar{say: func(w *stream, _ string) {
		var all strings.Builder
		for i := range 40 {
			fmt.Fprintf(&all, "data: {\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"ping\"}\n\n", i)
		}
		w.raw(all.String())
		<-hang
	}}
	_, target := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), `"result"`) {
			<-hang
			return
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		l.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { close(hang) }) // before the server is closed
	target.Era = "legacy"
	client := newClient(t, func(o *upstream.Options) { o.Config.Timeout = 300 * time.Millisecond })
	began := time.Now()
	wantKind(t, client.Call(t.Context(), target, callTool("echo", hearing()), new(upstream.Reply)), upstream.Timeout)
	if took := time.Since(began); took > time.Second {
		t.Errorf("took %v", took)
	}
	slow := hearing()
	slow.hear = func(string) error { time.Sleep(100 * time.Millisecond); return nil }
	l.say = func(w *stream, _ string) {
		w.raw(strings.Repeat("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n", 40))
		<-hang
	}
	began = time.Now()
	wantKind(t, client.Call(t.Context(), target, callTool("echo", slow), new(upstream.Reply)), upstream.Timeout)
	if took := time.Since(began); took > time.Second {
		t.Errorf("took %v", took)
	}
}
