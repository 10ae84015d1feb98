package upstream_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/gatewright/gatewright/gateway/upstream"
)

// listener is a caller's side that writes down what it hears.
type listener struct {
	capabilities string
	answer       func(ctx context.Context, method string, params []byte) (result, failure []byte)
	hear         func(method string) error

	mu    sync.Mutex
	heard []string
	asked []string
}

func (l *listener) Capabilities() []byte { return []byte(l.capabilities) }

func (l *listener) Notify(method string, params []byte) error {
	l.mu.Lock()
	l.heard = append(l.heard, method+" "+string(params))
	l.mu.Unlock()
	if l.hear != nil {
		return l.hear(method)
	}
	return nil
}

func (l *listener) Answer(ctx context.Context, method string, params []byte) (result, failure []byte) {
	l.mu.Lock()
	l.asked = append(l.asked, method+" "+string(params))
	l.mu.Unlock()
	if l.answer == nil {
		return []byte(`{"action":"accept","content":{"city":"Oslo"}}`), nil
	}
	return l.answer(ctx, method, params)
}

func (l *listener) said() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(append(append([]string(nil), l.heard...), l.asked...), "\n")
}

const canAll = `{"elicitation":{},"sampling":{},"roots":{}}`

func hearing() *listener { return &listener{capabilities: canAll} }

// talkative is an SDK server whose tools speak before they answer.
func talkative(gone chan<- error) *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "sdk", Version: "1"}, nil)
	type in struct{}
	say := func(text string) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}, nil, nil
	}
	mcp.AddTool(s, &mcp.Tool{Name: "steps"}, func(ctx context.Context, req *mcp.CallToolRequest, _ in) (*mcp.CallToolResult, any, error) {
		for i := range 3 {
			err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: req.Params.GetProgressToken(), Progress: float64(i + 1), Total: 3})
			if err != nil {
				return nil, nil, err
			}
		}
		return say("done")
	})
	mcp.AddTool(s, &mcp.Tool{Name: "ask"}, func(ctx context.Context, req *mcp.CallToolRequest, _ in) (*mcp.CallToolResult, any, error) {
		r, err := req.Session.Elicit(ctx, &mcp.ElicitParams{Message: "where?", RequestedSchema: json.RawMessage(`{"type":"object","properties":{"city":{"type":"string"}}}`)})
		if err != nil {
			return say("refused: " + err.Error())
		}
		return say(fmt.Sprint(r.Action, " ", r.Content["city"]))
	})
	mcp.AddTool(s, &mcp.Tool{Name: "roots"}, func(ctx context.Context, req *mcp.CallToolRequest, _ in) (*mcp.CallToolResult, any, error) {
		r, err := req.Session.ListRoots(ctx, nil) //nolint:staticcheck // older clients have it
		if err != nil {
			return say("refused: " + err.Error())
		}
		return say(r.Roots[0].URI)
	})
	mcp.AddTool(s, &mcp.Tool{Name: "ping"}, func(ctx context.Context, req *mcp.CallToolRequest, _ in) (*mcp.CallToolResult, any, error) {
		if err := req.Session.Ping(ctx, nil); err != nil {
			return say("refused: " + err.Error())
		}
		return say("pong")
	})
	mcp.AddTool(s, &mcp.Tool{Name: "wait"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ in) (*mcp.CallToolResult, any, error) {
		gone <- nil
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Second):
		}
		gone <- ctx.Err()
		return say("late")
	})
	return s
}

func streamable(s *mcp.Server, o *mcp.StreamableHTTPOptions) http.Handler {
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, o)
}

func callTool(name string, p upstream.Peer) *upstream.Request {
	return &upstream.Request{Method: "tools/call", Name: name, Arguments: []byte(`{}`), Meta: []byte(`{"progressToken":"mine/1"}`), Principal: "agt_1", Peer: p}
}

func TestProgressIsHeardUnderTheCallersOwnToken(t *testing.T) {
	for name, stateless := range map[string]bool{"legacy": false, "modern": true} {
		t.Run(name, func(t *testing.T) {
			rec, target := serve(t, streamable(talkative(nil), &mcp.StreamableHTTPOptions{Stateless: stateless}))
			target.Era = name
			l := hearing()
			var reply upstream.Reply
			if err := newClient(t, nil).Call(t.Context(), target, callTool("steps", l), &reply); err != nil || !strings.Contains(string(reply.Result), "done") {
				t.Fatal(err, string(reply.Result), string(reply.Error))
			}
			if len(l.heard) != 3 {
				t.Fatalf("heard %q", l.heard)
			}
			for i, h := range l.heard {
				var p struct {
					ProgressToken string
					Progress      int
				}
				_, raw, _ := strings.Cut(h, " ")
				if json.Unmarshal([]byte(raw), &p) != nil || p.ProgressToken != "mine/1" || p.Progress != i+1 || !strings.HasPrefix(h, "notifications/progress") {
					t.Errorf("heard %s", h)
				}
			}
			if got := strings.Join(rec.bodies, "\n"); strings.Contains(got, "mine/1") {
				t.Errorf("the caller's token went out: %s", got)
			}
		})
	}
}

func TestAServersQuestionsAreAnsweredByTheCaller(t *testing.T) {
	rec, target := serve(t, streamable(talkative(nil), &mcp.StreamableHTTPOptions{}))
	target.Era = "legacy"
	client := newClient(t, nil)
	call := func(tool string, p upstream.Peer) string {
		t.Helper()
		var reply upstream.Reply
		if err := client.Call(t.Context(), target, callTool(tool, p), &reply); err != nil {
			t.Fatal(err)
		}
		return string(reply.Result)
	}
	l := hearing()
	if got := call("ask", l); !strings.Contains(got, "accept Oslo") || !strings.Contains(l.said(), "where?") {
		t.Errorf("got %s, heard %s", got, l.said())
	}
	l = hearing()
	l.answer = func(context.Context, string, []byte) (result, failure []byte) {
		return []byte(`{"roots":[{"uri":"file:///home"}]}`), nil
	}
	if got := call("roots", l); !strings.Contains(got, "file:///home") {
		t.Errorf("got %s", got)
	}
	for name, answer := range map[string]func(ctx context.Context, method string, params []byte) (result, failure []byte){
		"its own error": func(context.Context, string, []byte) (result, failure []byte) {
			return nil, []byte(`{"code":-1,"message":"its own error"}`)
		},
		"no answer": func(context.Context, string, []byte) (result, failure []byte) { return []byte(`[]`), nil },
		"has no":    func(context.Context, string, []byte) (result, failure []byte) { panic("peer") },
	} {
		l = hearing()
		l.answer = answer
		if got := call("ask", l); !strings.Contains(got, "refused") || !strings.Contains(got, name) {
			t.Errorf("%s: got %s", name, got)
		}
	}
	if got := call("ping", hearing()); !strings.Contains(got, "pong") {
		t.Errorf("got %s", got)
	}
	if got := call("ping", nil); !strings.Contains(got, "pong") {
		t.Errorf("without a peer: %s", got)
	}
	answers := 0
	for i, b := range rec.bodies {
		if b != "" && !strings.Contains(b, `"method"`) { // the session's stream is asked for without a body
			answers++
			if rec.heads[i].Get("Mcp-Session-Id") == "" || rec.heads[i].Get("Mcp-Protocol-Version") != "2025-11-25" {
				t.Errorf("an answer went out as %v", rec.heads[i])
			}
		}
	}
	if answers != 7 {
		t.Errorf("%d answers", answers)
	}
}

// What a server does not know that the caller can do, it cannot use; sessions tell callers apart by it.
func TestCapabilitiesTravelAndPartSessions(t *testing.T) {
	rec, target := serve(t, streamable(talkative(nil), &mcp.StreamableHTTPOptions{}))
	target.Era = "legacy"
	client := newClient(t, nil)
	for _, p := range []upstream.Peer{nil, &listener{capabilities: `{}`}, hearing(), &listener{capabilities: canAll}, &listener{capabilities: `{"roots":{}}`}} {
		var reply upstream.Reply
		if err := client.Call(t.Context(), target, callTool("ask", p), &reply); err != nil {
			t.Fatal(err)
		}
		if l, ok := p.(*listener); ok && strings.Contains(string(reply.Result), "Oslo") != (l.capabilities == canAll) {
			t.Errorf("%s: got %s", l.capabilities, reply.Result)
		}
	}
	if n := len(rec.sessions()); n != 3 {
		t.Errorf("%d sessions for three sets of capabilities", n)
	}
	if got := strings.Join(rec.bodies, "\n"); strings.Count(got, `"capabilities":`+canAll) != 1 || strings.Count(got, `"capabilities":{}`) != 1 {
		t.Errorf("sent %s", got)
	}
	for i := range 40 {
		_ = client.Call(t.Context(), target, callTool("steps", &listener{capabilities: fmt.Sprintf(`{"experimental":{"n":%d}}`, i)}), new(upstream.Reply))
	}
	if h, _ := client.Health("demo", "srv"); h.Sessions != 8 {
		t.Errorf("one principal holds %d sessions", h.Sessions)
	}
	for _, caps := range []string{`[]`, `7`, `{"a":"` + strings.Repeat("x", 9000) + `"}`} {
		wantKind(t, client.Call(t.Context(), target, callTool("steps", &listener{capabilities: caps}), new(upstream.Reply)), upstream.Invalid)
	}
	rec, target = serve(t, streamable(talkative(nil), &mcp.StreamableHTTPOptions{Stateless: true}))
	target.Era = "modern"
	if err := client.Call(t.Context(), target, callTool("steps", hearing()), new(upstream.Reply)); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(rec.bodies, "\n"); !strings.Contains(got, `"io.modelcontextprotocol/clientCapabilities":`+canAll) {
		t.Errorf("sent %s", got)
	}
}

// A server of the newer era asks by an answer; the request is then repeated.
func TestInputThatIsRequiredGoesBackWithTheRequest(t *testing.T) {
	s := serveRaw(t, answer("200 OK", `{"jsonrpc":"2.0","id":$ID,"result":{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create"}},"requestState":"s\u0031"}}`))
	client := newClient(t, nil)
	var reply upstream.Reply
	if err := client.Call(t.Context(), s.target(), toolCall(), &reply); err != nil || !reply.InputRequired() {
		t.Fatalf("%v, %s", err, reply.Result)
	}
	again := toolCall()
	again.InputResponses, again.RequestState = []byte(`{"a":{"action":"accept"}}`), []byte(`"s\u0031"`)
	if err := client.Call(t.Context(), s.target(), again, &reply); err != nil {
		t.Fatal(err)
	}
	if want := `"arguments":{"a":1},"inputResponses":{"a":{"action":"accept"}},"requestState":"s\u0031","_meta"`; !strings.Contains(s.bodies[1], want) {
		t.Errorf("sent %s", s.bodies[1])
	}
	again.Arguments, again.Params = nil, []byte(`{"name":"echo","arguments":{}}`)
	if err := client.Call(t.Context(), s.target(), again, &reply); err != nil || !strings.Contains(s.bodies[2], `"arguments":{},"inputResponses":{`) {
		t.Errorf("%v, sent %s", err, s.bodies[2])
	}
	again.Params = []byte(`{"name":"echo","requestState":"other"}`)
	wantKind(t, client.Call(t.Context(), s.target(), again, &reply), upstream.Invalid)
	again.Params, again.RequestState = nil, []byte(`{}`)
	wantKind(t, client.Call(t.Context(), s.target(), again, &reply), upstream.Invalid)
	legacy := s.target()
	legacy.Name, legacy.Era = "old", "legacy"
	again.RequestState = []byte(`"s"`)
	wantKind(t, client.Call(t.Context(), legacy, again, &reply), upstream.Malformed) // the handshake of this script is none
	if reply.InputRequired() {
		t.Error("no reply asks for input")
	}
}

func TestTheClockWaitsForAPersonAndNotForever(t *testing.T) {
	_, target := serve(t, streamable(talkative(nil), &mcp.StreamableHTTPOptions{}))
	target.Era = "legacy"
	client := newClient(t, func(o *upstream.Options) {
		o.Config.Timeout, o.Config.AnswerTimeout = 150*time.Millisecond, 600*time.Millisecond
	})
	l := hearing()
	l.answer = func(context.Context, string, []byte) (result, failure []byte) {
		time.Sleep(300 * time.Millisecond)
		return []byte(`{"action":"decline"}`), nil
	}
	var reply upstream.Reply
	if err := client.Call(t.Context(), target, callTool("ask", l), &reply); err != nil || !strings.Contains(string(reply.Result), "decline") {
		t.Errorf("%v, %s", err, reply.Result)
	}
	l.answer = func(ctx context.Context, _ string, _ []byte) (result, failure []byte) { <-ctx.Done(); return nil, nil }
	began := time.Now()
	if err := client.Call(t.Context(), target, callTool("ask", l), &reply); err != nil || !strings.Contains(string(reply.Result), "nobody answered in time") {
		t.Errorf("%v, %s", err, reply.Result)
	}
	if took := time.Since(began); took < 550*time.Millisecond || took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestARefusedNotificationEndsTheCall(t *testing.T) {
	gone := make(chan error, 2)
	rec, target := serve(t, streamable(talkative(gone), &mcp.StreamableHTTPOptions{}))
	target.Era = "legacy"
	client := newClient(t, nil)
	l, refusal := hearing(), errors.New("not for this caller")
	l.hear = func(string) error { return refusal }
	if e := wantKind(t, client.Call(t.Context(), target, callTool("steps", l), new(upstream.Reply)), upstream.Canceled); !errors.Is(e, refusal) || !e.Sent {
		t.Errorf("got %+v", e)
	}
	l.hear = func(string) error { panic("peer") }
	wantKind(t, client.Call(t.Context(), target, callTool("steps", l), new(upstream.Reply)), upstream.Canceled)
	client.Close()
	if got := rec.methods(); !strings.Contains(got, "notifications/cancelled") {
		t.Errorf("asked %s", got)
	}
}

func TestTheServerLearnsWithin250msThatItsCallerIsGone(t *testing.T) {
	for name, c := range map[string]struct {
		stateless, json bool
	}{"legacy": {}, "modern": {stateless: true}, "legacy JSON": {json: true}, "modern JSON": {stateless: true, json: true}} {
		t.Run(name, func(t *testing.T) {
			gone := make(chan error, 2)
			_, target := serve(t, streamable(talkative(gone), &mcp.StreamableHTTPOptions{Stateless: c.stateless, JSONResponse: c.json, PropagateRequestCancellation: true}))
			target.Era, _, _ = strings.Cut(name, " ")
			client := newClient(t, nil)
			for _, p := range []upstream.Peer{nil, hearing()} {
				ctx, cancel := context.WithCancel(t.Context())
				var left time.Time
				go func() { <-gone; left = time.Now(); cancel() }()
				wantKind(t, client.Call(ctx, target, callTool("wait", p), new(upstream.Reply)), upstream.Canceled)
				if err := <-gone; err == nil || time.Since(left) > 250*time.Millisecond {
					t.Errorf("the handler's context: %v after %v", err, time.Since(left))
				}
			}
		})
	}
}
