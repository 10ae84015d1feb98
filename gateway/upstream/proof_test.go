package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/gatewright/gatewright/gateway/upstream"
)

// strict takes one token and refuses all others as servers do, with a JSON-RPC error in the body.
func strict(token string, status int, sent *atomic.Int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent.Add(1)
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Authorization") != "Bearer "+token {
			for range 6 {
				w.Header().Add("WWW-Authenticate", `Bearer scope="read"`)
			}
			w.Header().Add("WWW-Authenticate", "Bearer "+strings.Repeat("x", 5000))
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+idOf(b)+`,"error":{"code":-32001,"message":"no"}}`)
			return
		}
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+idOf(b)+`,"result":{"resultType":"complete","content":[]}}`)
	})
}

func idOf(body []byte) string {
	_, rest, _ := strings.Cut(string(body), `"id":`)
	return rest[:strings.IndexAny(rest, ",}")]
}

func TestARequestThatWasRefusedIsSentAgainWithAnotherCredential(t *testing.T) {
	for _, status := range []int{401, 403} {
		var sent atomic.Int64
		_, target := serve(t, strict("good", status, &sent))
		target.Era = "modern"
		token := "bad"
		target.Headers = func(add func(name, value string)) { add("Authorization", "Bearer "+token) }
		var heard upstream.Refusal
		target.Refused = func(_ context.Context, r upstream.Refusal) (bool, error) {
			heard, token = r, "good"
			return true, nil
		}
		var reply upstream.Reply
		if err := newClient(t, nil).Call(t.Context(), target, callTool("x", nil), &reply); err != nil || reply.Result == nil || sent.Load() != 2 {
			t.Errorf("%d: %v %s after %d requests", status, err, reply.Error, sent.Load())
		}
		if heard.Status != status || len(heard.Challenges) != 4 || heard.Challenges[0] != `Bearer scope="read"` {
			t.Errorf("heard %+v", heard)
		}
	}
}

func TestARefusedRequestIsNotSentForEver(t *testing.T) {
	var sent, asked atomic.Int64
	_, target := serve(t, strict("good", 401, &sent))
	target.Era = "modern"
	again, worse := true, error(nil)
	target.Refused = func(context.Context, upstream.Refusal) (bool, error) {
		asked.Add(1)
		return again, worse
	}
	call := func() *upstream.Error {
		sent.Store(0)
		var e *upstream.Error
		if err := newClient(t, nil).Call(t.Context(), target, callTool("x", nil), new(upstream.Reply)); !errors.As(err, &e) {
			t.Fatal(err)
		}
		return e
	}
	if e := call(); e.Kind != upstream.Status || e.Code != 401 || sent.Load() != 3 {
		t.Errorf("%v after %d requests", e, sent.Load())
	}
	again = false
	if e := call(); e.Kind != upstream.Status || sent.Load() != 1 {
		t.Errorf("%v after %d requests", e, sent.Load())
	}
	worse = upstream.NoCredential("log in")
	if e := call(); e.Kind != upstream.Unproved || e.Detail != "log in" || e.Sent || sent.Load() != 1 {
		t.Errorf("%+v after %d requests", e, sent.Load())
	}
	worse = errors.New("sekret")
	if e := call(); e.Kind != upstream.Unreachable || strings.Contains(e.Error(), "sekret") {
		t.Errorf("%v", e)
	}
	target.Refused = nil
	var reply upstream.Reply
	if err := newClient(t, nil).Call(t.Context(), target, callTool("x", nil), &reply); err != nil || reply.Error == nil {
		t.Errorf("without credentials to look for the server's error is its answer: %v", err)
	}
}

// A server may refuse the version of a request and name that very one: it is asked again, once, and not taken for an older one.
func TestAServerThatNamesOurVersionIsAskedAgain(t *testing.T) {
	for what, refusals := range map[string]int64{"once": 1, "always": 100} {
		var n atomic.Int64
		rec, target := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			w.Header().Set("Content-Type", "application/json")
			if n.Add(1) <= refusals {
				w.WriteHeader(400)
				fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32022,"message":"no","data":{"supported":["2026-07-28"]}}}`, idOf(b))
				return
			}
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"content":[]}}`, idOf(b))
		}))
		err := newClient(t, nil).Call(t.Context(), target, callTool("x", nil), new(upstream.Reply))
		all := strings.Join(rec.bodies, "\n")
		if asked := strings.Count(all, "server/discover"); (err == nil) != (what == "once") || asked != 2 || (what == "once") == strings.Contains(all, "initialize") {
			t.Errorf("%s: %v, asked %d times:\n%s", what, err, asked, all)
		}
	}
}

// gets counts the streams that are asked for.
func gets(h http.Handler, n *atomic.Int64, none bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			n.Add(1)
			if none {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}

// telling says when a stream is open.
func telling(h http.Handler, open chan struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w = &teller{w, open}
		}
		h.ServeHTTP(w, r)
	})
}

type teller struct {
	http.ResponseWriter
	open chan struct{}
}

func (t *teller) WriteHeader(status int) {
	t.ResponseWriter.WriteHeader(status)
	if status == http.StatusOK {
		t.open <- struct{}{}
	}
}

func (t *teller) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// asideServer is an SDK server whose tool puts its question on the session's stream, not on the call's own.
func asideServer() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "sdk", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "ask"}, func(_ context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		answer, err := r.Session.Elicit(context.Background(), &mcp.ElicitParams{Message: "where?", RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}}})
		if err != nil {
			return nil, nil, err
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint(answer.Content["city"])}}}, nil, nil
	})
	return s
}

func TestAQuestionOnTheSessionsStreamReachesTheCallItBelongsTo(t *testing.T) {
	var n atomic.Int64
	open := make(chan struct{}, 100)
	_, target := serve(t, telling(gets(streamable(asideServer(), &mcp.StreamableHTTPOptions{}), &n, false), open))
	target.Era = "legacy"
	client, l := newClient(t, nil), hearing()
	ask := func() {
		t.Helper()
		var reply upstream.Reply
		if err := client.Call(t.Context(), target, callTool("ask", l), &reply); err != nil || !strings.Contains(string(reply.Result), "Oslo") {
			t.Errorf("%v %s", err, reply.Result)
		}
	}
	for range 20 { // the server may not have noticed yet that the stream before is closed
		ask()
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(ask)
	}
	all.Wait()
	for len(open) > 0 {
		<-open
	}
	stop := listening(t, client, target, &upstream.Subscription{Principal: "agt_1", Peer: mute{l}})
	<-open
	before := n.Load()
	ask()
	if n.Load() != before {
		t.Error("a call opens a stream beside one who listens")
	}
	_ = stop()
}

// mute listens, and answers nothing: a question is the call's.
type mute struct{ *listener }

func (mute) Answer(context.Context, string, []byte) (result, failure []byte) {
	return nil, []byte(`{"code":-1,"message":"not mine"}`)
}

func TestAStreamThatTheServerThinksIsOpenIsAskedForAgain(t *testing.T) {
	h := streamable(asideServer(), &mcp.StreamableHTTPOptions{})
	var n atomic.Int64
	_, target := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			if i := n.Add(1); i == 2 || i == 3 {
				w.WriteHeader(http.StatusConflict)
				return
			}
		}
		h.ServeHTTP(w, r)
	}))
	target.Era = "legacy"
	client := newClient(t, nil)
	for range 2 {
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
		var reply upstream.Reply
		if err := client.Call(ctx, target, callTool("ask", hearing()), &reply); err != nil || !strings.Contains(string(reply.Result), "Oslo") {
			t.Errorf("%v %s", err, reply.Result)
		}
		stop()
	}
}

// A server that says nothing on its stream until there is something to say holds up one call of a session, and no other.
func TestAStreamThatDoesNotOpenIsWaitedForOnce(t *testing.T) {
	h := streamable(talkative(nil), &mcp.StreamableHTTPOptions{})
	_, target := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			<-r.Context().Done()
			return
		}
		h.ServeHTTP(w, r)
	}))
	target.Era = "legacy"
	client := newClient(t, nil)
	began := time.Now()
	for range 4 {
		if err := client.Call(t.Context(), target, callTool("steps", hearing()), new(upstream.Reply)); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("four calls took %s", took)
	}
}

func TestOnlyWhoCanBeAskedHearsASessionsStream(t *testing.T) {
	var n atomic.Int64
	_, target := serve(t, gets(streamable(talkative(nil), &mcp.StreamableHTTPOptions{}), &n, true))
	target.Era = "legacy"
	client := newClient(t, nil)
	for _, p := range []upstream.Peer{nil, &listener{capabilities: "{}"}} {
		if err := client.Call(t.Context(), target, callTool("steps", p), new(upstream.Reply)); err != nil || n.Load() != 0 {
			t.Errorf("%v, %d streams", err, n.Load())
		}
	}
	for range 3 { // a server without the stream is asked for it once
		if err := client.Call(t.Context(), target, callTool("steps", hearing()), new(upstream.Reply)); err != nil || n.Load() != 1 {
			t.Errorf("%v, %d streams", err, n.Load())
		}
	}
}
