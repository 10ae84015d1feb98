package mcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/proxy"
	"github.com/gatewright/gatewright/merkle/canon"
)

// gossip is a stage that looks at notifications: it forbids those that hold "secret" and hides "name".
type gossip struct {
	mu  sync.Mutex
	saw []string
}

func (g *gossip) see(what string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.saw = append(g.saw, what)
}

func (*gossip) Name() string { return "gossip" }

func (*gossip) Check(context.Context, *pipeline.Call) error { return nil }

func (g *gossip) CheckInterim(_ context.Context, _ *pipeline.Call, method string, params []byte) ([]byte, error) {
	g.see(method + " " + string(params))
	if strings.Contains(string(params), "secret") {
		return nil, errors.New("no")
	}
	return []byte(strings.ReplaceAll(string(params), "name", "****")), nil
}

func (g *gossip) CheckInput(_ context.Context, _ *pipeline.Call, input []byte) error {
	g.see("input " + string(input))
	if strings.Contains(string(input), "secret") {
		return errors.New("no")
	}
	return nil
}

// streaming is a world whose data port opens streams, and whose server says this before its answer.
func streaming(t *testing.T, says ...string) (*world, *gossip) {
	w, g := newWorld(t), &gossip{}
	w.line.Stages = append(w.line.Stages, g)
	w.reply = func(c *pipeline.Call) (pipeline.Reply, error) {
		for _, s := range says {
			method, params, _ := strings.Cut(s, " ")
			if c.Peer != nil {
				if err := c.Peer.Notify(method, []byte(params)); err != nil {
					return pipeline.Reply{}, err
				}
			}
		}
		return pipeline.Reply{Status: 200, Result: []byte(`{"content":[]}`)}, nil
	}
	w.listenWithStreams()
	return w, g
}

// listenWithStreams serves the dialect on a data port that opens streams.
func (w *world) listenWithStreams() {
	t := w.t
	s := proxy.New(proxy.Config{
		MaxBody: 1 << 20, MaxHeader: 16384, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxConns: 100,
		MaxStreams: 10, MaxStreamsPerIP: 10, MaxStreamsPerAgent: 10, StreamQueue: 1 << 20, StreamKeepAlive: time.Minute,
	}, w.line, map[string]proxy.Route{"mcp": w.dialect}, func() error { return nil }, slog.New(slog.DiscardHandler))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln, nil) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := errors.Join(s.Shutdown(ctx), <-done); err != nil {
			t.Error(err)
		}
	})
	w.base = "http://" + ln.Addr().String()
}

// events posts a call and returns the messages of its answer, and its head.
func (w *world) events(accept, body, token string) ([]map[string]json.RawMessage, *http.Response) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.base+"/mcp", strings.NewReader(body))
	w.must(err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", accept)
	r.Header.Set("Authorization", "Bearer "+w.key)
	r.Header.Set("Gatewright-Intent", token)
	resp, err := http.DefaultClient.Do(r)
	w.must(err)
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	w.must(err)
	lines := []string{string(b)}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		lines = nil
		for event := range strings.SplitSeq(strings.TrimSpace(string(b)), "\n\n") {
			if data, ok := strings.CutPrefix(event, "data: "); ok {
				lines = append(lines, data)
			}
		}
	}
	var out []map[string]json.RawMessage
	for _, l := range lines {
		var m map[string]json.RawMessage
		w.must(json.Unmarshal([]byte(l), &m))
		out = append(out, m)
	}
	return out, resp
}

const (
	both     = "application/json, text/event-stream"
	callMore = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"path":"/a"},"_meta":{"progressToken":"my-token"}}}`
)

func TestWhatAServerSaysBeforeItsAnswerComesAsEvents(t *testing.T) {
	w, g := streaming(t, `notifications/progress {"progressToken":"my-token","progress":1,"message":"name"}`, `notifications/message {"level":"info","data":"secret"}`,
		`notifications/message {"level":"info","data":"ok"}`, `notifications/tools/list_changed {}`, `notifications/progress `)
	token := w.anything("files")
	got, resp := w.events(both, callMore, token)
	if len(got) != 3 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s: %v", resp.Header.Get("Content-Type"), got)
	}
	if string(got[0]["params"]) != `{"progressToken":"my-token","progress":1,"message":"****"}` || string(got[1]["params"]) != `{"level":"info","data":"ok"}` {
		t.Errorf("%s %s", got[0]["params"], got[1]["params"])
	}
	meta, _ := canon.Get(got[2]["result"], "_meta")
	for _, key := range []string{"gatewright/receipt", "gatewright/salt"} {
		if _, ok := canon.Get(meta, key); !ok {
			t.Errorf("the last event has no %s: %s", key, got[2]["result"])
		}
	}
	if string(got[2]["id"]) != "1" || resp.Header.Get("Gatewright-Receipt") != "" {
		t.Errorf("the last event: %s", got[2])
	}
	if strings.Contains(strings.Join(g.saw, " "), "my-token") {
		t.Errorf("filters see the client's token: %v", g.saw)
	}
	if string(w.sent[0].Meta) != `{"progressToken":"my-token"}` {
		t.Errorf("_meta %s", w.sent[0].Meta)
	}
	if got, resp := w.events("application/json", callMore, token); len(got) != 1 || resp.Header.Get("Gatewright-Receipt") == "" || w.sent[1].Meta != nil {
		t.Errorf("a client that reads no streams: %v, sent _meta %s", got, w.sent[1].Meta)
	}
}

func TestACallThatIsRefusedAfterItsStreamBeganEndsInAnError(t *testing.T) {
	w, _ := streaming(t)
	w.reply = func(c *pipeline.Call) (pipeline.Reply, error) {
		if err := c.Peer.Notify("notifications/message", []byte(`{"data":1}`)); err != nil {
			return pipeline.Reply{}, err
		}
		return pipeline.Reply{}, pipeline.Deny(pipeline.UpstreamMalformed, "")
	}
	got, _ := w.events(both, callMore, w.anything("files"))
	if len(got) != 2 || got[1]["error"] == nil || got[1]["result"] != nil {
		t.Errorf("%v", got)
	}
}

func TestAnAnswerWithoutNewsComesInOnePiece(t *testing.T) {
	w, _ := streaming(t)
	got, resp := w.events(both, callMore, w.anything("files"))
	if len(got) != 1 || resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("Gatewright-Receipt") == "" {
		t.Errorf("%s %v", resp.Header, got)
	}
}

func TestTheLevelOfLogsIsSetAtTheServerOfThePath(t *testing.T) {
	w := newWorld(t)
	w.reply = func(*pipeline.Call) (pipeline.Reply, error) { return pipeline.Reply{Result: []byte(`{}`)}, nil }
	set := func(path, level string) *answer {
		return w.send("POST", path, `{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":`+level+`}}`, nil)
	}
	if a := set("/mcp/files", `"info"`); string(a.result) != `{}` || string(w.sent[0].Args) != `{"level":"info"}` || w.sent[0].Server != "files" {
		t.Errorf("%s, sent %+v", a.raw, w.sent)
	}
	for path, level := range map[string]string{"/mcp": `"info"`, "/mcp/none": `"info"`, "/mcp/files": `"loud"`, "/mcp/files/": `7`} {
		if a := set(path, level); a.code == 0 {
			t.Errorf("%s %s: %s", path, level, a.raw)
		}
	}
}
