package upstream_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/gateway/upstream"
)

// The SDK keeps a goroutine for each session that nobody ended; servers of the
// tests have no session timeout.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() != "" {
		os.Exit(m.Run()) // fasthttp's client, measured beside ours, keeps goroutines
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/modelcontextprotocol/go-sdk/mcp.(*streamableServerConn).Read"))
}

// script is a raw upstream: for each request it writes what reply returns, in
// which $ID stands for the request's id, and closes the connection when told.
type script struct {
	ln       net.Listener
	requests atomic.Int64
	mu       sync.Mutex
	heads    []http.Header
	bodies   []string
	conns    sync.WaitGroup
}

func serveRaw(t *testing.T, reply func(n int64, c net.Conn, id string) (keep bool)) *script {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &script{ln: ln}
	var open sync.Map
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			open.Store(c, nil)
			s.conns.Go(func() { ; defer c.Close(); s.serve(c, reply) })
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		s.conns.Wait()
	})
	return s
}

func (s *script) serve(c net.Conn, reply func(n int64, c net.Conn, id string) bool) {
	in := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		var m struct{ ID json.Number }
		_ = json.Unmarshal(body, &m)
		s.mu.Lock()
		s.heads, s.bodies = append(s.heads, req.Header), append(s.bodies, string(body))
		s.mu.Unlock()
		if !reply(s.requests.Add(1), c, m.ID.String()) {
			return
		}
	}
}

func (s *script) target() *upstream.Target {
	return &upstream.Target{Tenant: "demo", Name: "raw", URL: "http://" + s.ln.Addr().String() + "/mcp", Era: "modern", AllowPrivate: true}
}

// say returns a reply that writes text for every request.
func say(text string, keep bool) func(int64, net.Conn, string) bool {
	return func(_ int64, c net.Conn, id string) bool {
		_, _ = io.WriteString(c, strings.ReplaceAll(text, "$ID", id))
		return keep
	}
}

// answer frames a JSON body properly.
func answer(status, body string) func(int64, net.Conn, string) bool {
	return func(n int64, c net.Conn, id string) bool {
		b := strings.ReplaceAll(body, "$ID", id)
		return say(fmt.Sprintf("HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, len(b), b), true)(n, c, id)
	}
}

func newClient(t testing.TB, change func(*upstream.Options)) *upstream.Client {
	t.Helper()
	o := upstream.Options{Config: upstream.DefaultConfig(), Now: time.Now}
	o.Config.Timeout = 5 * time.Second
	if change != nil {
		change(&o)
	}
	c, err := upstream.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func toolCall() *upstream.Request {
	return &upstream.Request{Method: "tools/call", Name: "echo", Arguments: []byte(`{"a":1}`), Principal: "agt_1"}
}

func wantKind(t *testing.T, err error, want upstream.Kind) *upstream.Error {
	t.Helper()
	var e *upstream.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want kind %s", err, want)
	}
	if e.Kind != want {
		t.Fatalf("got %v, want kind %s", err, want)
	}
	return e
}

func TestHostileAnswersEndInOneClearError(t *testing.T) {
	const ok = `{"jsonrpc":"2.0","id":$ID,"result":{}}`
	json := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	sse := "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
	for _, c := range []struct {
		name  string
		reply func(int64, net.Conn, string) bool
		want  upstream.Kind
	}{
		{"closes at once", say("", false), upstream.Unreachable},
		{"closes in the head", say("HTTP/1.1 200 OK\r\nContent-", false), upstream.Unreachable},
		{"closes in the body", say(json+"Content-Length: 100\r\n\r\n{\"jsonrpc\":", false), upstream.Unreachable},
		{"closes in a chunk", say(json+"Transfer-Encoding: chunked\r\n\r\n40\r\n{\"jsonrpc\":", false), upstream.Unreachable},
		{"closes between chunks", say(json+"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", false), upstream.Unreachable},
		{"length too short", say(json+"Content-Length: 10\r\n\r\n"+ok, true), upstream.Malformed},
		{"length not a number", say(json+"Content-Length: +10\r\n\r\n"+ok, true), upstream.Malformed},
		{"length negative", say(json+"Content-Length: -1\r\n\r\n"+ok, true), upstream.Malformed},
		{"length huge", say(json+"Content-Length: 999999999999999999\r\n\r\n", true), upstream.TooLarge},
		{"length beyond 64 bit", say(json+"Content-Length: 99999999999999999999\r\n\r\n", true), upstream.Malformed},
		{"length twice", say(json+"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", true), upstream.Malformed},
		{"length list", say(json+"Content-Length: 2, 2\r\n\r\n{}", true), upstream.Malformed},
		{"length and chunked", say(json+"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", true), upstream.Malformed},
		{"chunked and length", say(json+"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n", true), upstream.Malformed},
		{"gzip, chunked", say(json+"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", true), upstream.Malformed},
		{"chunked on 1.0", say("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false), upstream.Malformed},
		{"chunk size not hex", say(json+"Transfer-Encoding: chunked\r\n\r\nzz\r\n", true), upstream.Malformed},
		{"chunk size signed", say(json+"Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n", true), upstream.Malformed},
		{"chunk size huge", say(json+"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n", true), upstream.TooLarge},
		{"chunk size overflows", say(json+"Transfer-Encoding: chunked\r\n\r\n10000000000000002\r\n", true), upstream.Malformed},
		{"chunk longer than said", say(json+"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n", true), upstream.Malformed},
		{"chunk line with bare LF", say(json+"Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n", true), upstream.Malformed},
		{"chunk line with a CR inside", say(json+"Transfer-Encoding: chunked\r\n\r\n2;x=\ry\r\n{}\r\n0\r\n\r\n", true), upstream.Malformed},
		{"chunk extensions outweigh the data", say(json+"Transfer-Encoding: chunked\r\n\r\n"+strings.Repeat("1;"+strings.Repeat("a", 200)+"\r\n \r\n", 100)+"2\r\n{}\r\n0\r\n\r\n", true), upstream.Malformed},
		{"chunk extension endless", say(json+"Transfer-Encoding: chunked\r\n\r\n2;"+strings.Repeat("a", 1000)+"\r\n{}\r\n0\r\n\r\n", true), upstream.Malformed},
		{"trailers endless", say(json+"Transfer-Encoding: chunked\r\n\r\n0\r\n"+strings.Repeat("A: b\r\n", 100)+"\r\n", true), upstream.Malformed},
		{"folded header", say(json+"X: a\r\n b\r\nContent-Length: 2\r\n\r\n{}", true), upstream.Malformed},
		{"space before colon", say("HTTP/1.1 200 OK\r\nContent-Type : application/json\r\nContent-Length: 2\r\n\r\n{}", true), upstream.Malformed},
		{"bare LF head", say("HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\n{}", true), upstream.Malformed},
		{"bare CR in a header", say(json+"X: a\rb\r\nContent-Length: 2\r\n\r\n{}", true), upstream.Malformed},
		{"NUL in a header", say(json+"X: a\x00\r\nContent-Length: 2\r\n\r\n{}", true), upstream.Malformed},
		{"header without colon", say(json+"nonsense\r\nContent-Length: 2\r\n\r\n{}", true), upstream.Malformed},
		{"empty header name", say(json+": a\r\nContent-Length: 2\r\n\r\n{}", true), upstream.Malformed},
		{"HTTP/2", say("HTTP/2 200 OK\r\n\r\n", true), upstream.Malformed},
		{"HTTP/0.9", say("{}\r\n\r\n", false), upstream.Malformed},
		{"SSH", say("SSH-2.0-OpenSSH_9\r\n\r\n", false), upstream.Malformed},
		{"status of two digits", say("HTTP/1.1 20 OK\r\n\r\n", true), upstream.Malformed},
		{"status of four digits", say("HTTP/1.1 2000 OK\r\n\r\n", true), upstream.Malformed},
		{"switches protocols", say("HTTP/1.1 101 Switching Protocols\r\n\r\n", true), upstream.Malformed},
		{"interim without end", say(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 50), true), upstream.Malformed},
		{"huge header", say(json+"X: "+strings.Repeat("a", 64<<10)+"\r\n\r\n", true), upstream.TooLarge},
		{"endless header", say(strings.Repeat("a", 1<<20), true), upstream.TooLarge},
		{"many headers", say(json+strings.Repeat("A: b\r\n", 200)+"\r\n", true), upstream.TooLarge},
		{"redirect out", say("HTTP/1.1 302 Found\r\nLocation: https://example.com/\r\nContent-Length: 0\r\n\r\n", true), upstream.Redirect},
		{"not modified", say("HTTP/1.1 304 Not Modified\r\n\r\n", true), upstream.Redirect},
		{"compressed", say(json+"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", true), upstream.Malformed},
		{"HTML", say("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n{}", true), upstream.Malformed},
		{"no content type", say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", true), upstream.Malformed},
		{"two content types", say(json+"Content-Type: text/html\r\nContent-Length: 2\r\n\r\n{}", true), upstream.Malformed},
		{"accepted without answer", say("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", true), upstream.Malformed},
		{"no content", say("HTTP/1.1 204 No Content\r\n\r\n", true), upstream.Malformed},
		{"server error", say("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", true), upstream.Status},
		{"unauthorized", say("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", true), upstream.Status},
		{"error page with JSON", answer("503 Busy", `{"error":"later"}`), upstream.Status},
		{"error page with a result", answer("500 Oops", ok), upstream.Status},
		{"empty body", answer("200 OK", ``), upstream.Malformed},
		{"not JSON", answer("200 OK", `hello`), upstream.Malformed},
		{"cut JSON", answer("200 OK", `{"jsonrpc":"2.0","id":$ID,"result":{`), upstream.Malformed},
		{"two answers", answer("200 OK", ok+ok), upstream.Malformed},
		{"a batch", answer("200 OK", `[`+ok+`]`), upstream.Malformed},
		{"byte order mark", answer("200 OK", "\xef\xbb\xbf"+ok), upstream.Malformed},
		{"not UTF-8", answer("200 OK", `{"jsonrpc":"2.0","id":$ID,"result":{"a":"`+"\xff"+`"}}`), upstream.Malformed},
		{"lone surrogate", answer("200 OK", `{"jsonrpc":"2.0","id":$ID,"result":{"a":"\ud800"}}`), upstream.Malformed},
		{"duplicate keys", answer("200 OK", `{"jsonrpc":"2.0","id":$ID,"result":{},"result":{"a":1}}`), upstream.Malformed},
		{"duplicate keys by escape", answer("200 OK", `{"jsonrpc":"2.0","id":$ID,"result":{"a":1,"\u0061":2}}`), upstream.Malformed},
		{"too deep", answer("200 OK", `{"jsonrpc":"2.0","id":$ID,"result":{"a":`+strings.Repeat("[", 200)+strings.Repeat("]", 200)+`}}`), upstream.TooLarge},
		{"wrong id", answer("200 OK", `{"jsonrpc":"2.0","id":987654321,"result":{}}`), upstream.Malformed},
		{"id as a string", answer("200 OK", `{"jsonrpc":"2.0","id":"$ID","result":{}}`), upstream.Malformed},
		{"id as a fraction", answer("200 OK", `{"jsonrpc":"2.0","id":$ID.0,"result":{}}`), upstream.Malformed},
		{"no id", answer("200 OK", `{"jsonrpc":"2.0","result":{}}`), upstream.Malformed},
		{"JSON-RPC 1", answer("200 OK", `{"jsonrpc":"1.0","id":$ID,"result":{}}`), upstream.Malformed},
		{"no version", answer("200 OK", `{"id":$ID,"result":{}}`), upstream.Malformed},
		{"key in other case", answer("200 OK", `{"jsonrpc":"2.0","id":$ID,"Result":{}}`), upstream.Malformed},
		{"result and error", answer("200 OK", `{"jsonrpc":"2.0","id":$ID,"result":{},"error":{"code":1,"message":"x"}}`), upstream.Malformed},
		{"neither", answer("200 OK", `{"jsonrpc":"2.0","id":$ID}`), upstream.Malformed},
		{"result is a string", answer("200 OK", `{"jsonrpc":"2.0","id":$ID,"result":"x"}`), upstream.Malformed},
		{"result is null", answer("200 OK", `{"jsonrpc":"2.0","id":$ID,"result":null}`), upstream.Malformed},
		{"a request instead", answer("200 OK", `{"jsonrpc":"2.0","id":$ID,"method":"sampling/createMessage"}`), upstream.Malformed},
		{"stream ends early", say(sse+"data: {\"jsonrpc\":\"2.0\",\"method\":\"x\"}\n\n", false), upstream.Unreachable},
		{"stream without blank line", say(sse+"data: "+ok+"\n", false), upstream.Unreachable},
		{"stream of garbage", say(sse+"data: garbage\n\n", false), upstream.Malformed},
		{"stream of another event type", say(sse+"event: other\ndata: "+ok+"\n\n", false), upstream.Unreachable},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serveRaw(t, c.reply)
			client := newClient(t, nil)
			var reply upstream.Reply
			e := wantKind(t, client.Call(t.Context(), s.target(), toolCall(), &reply), c.want)
			if !e.Sent || e.Upstream != "raw" {
				t.Errorf("got %+v", e)
			}
			if reply.Result != nil || reply.Error != nil {
				t.Error("a failed call left an answer behind")
			}
			if n := s.requests.Load(); n != 1 {
				t.Errorf("the request was sent %d times", n)
			}
		})
	}
}

func TestAnEndlessBodyIsCutAtTheLimit(t *testing.T) {
	for name, head := range map[string]string{
		"until close": "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n",
		"stream":      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := serveRaw(t, func(_ int64, c net.Conn, _ string) bool {
				_, _ = io.WriteString(c, head)
				for {
					if _, err := io.WriteString(c, ": ping "+strings.Repeat("x", 4096)+"\n\n"); err != nil {
						return false
					}
				}
			})
			client := newClient(t, func(o *upstream.Options) { o.Config.MaxResponse = 1 << 20 })
			wantKind(t, client.Call(t.Context(), s.target(), toolCall(), new(upstream.Reply)), upstream.TooLarge)
		})
	}
}

func TestAStreamOfEndlessNotificationsIsCut(t *testing.T) {
	s := serveRaw(t, func(_ int64, c net.Conn, _ string) bool {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
		for {
			if _, err := io.WriteString(c, "data: {\"jsonrpc\":\"2.0\",\"method\":\"n\"}\n\n"); err != nil {
				return false
			}
		}
	})
	client := newClient(t, func(o *upstream.Options) { o.Config.MaxEvents = 100 })
	wantKind(t, client.Call(t.Context(), s.target(), toolCall(), new(upstream.Reply)), upstream.TooLarge)
}

func TestASilentUpstreamTimesOut(t *testing.T) {
	silent := func(_ int64, c net.Conn, _ string) bool { _, _ = c.Read(make([]byte, 1)); return false }
	drip := func(_ int64, c net.Conn, _ string) bool {
		for {
			if _, err := io.WriteString(c, "H"); err != nil {
				return false
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	for name, reply := range map[string]func(int64, net.Conn, string) bool{"silent": silent, "one byte at a time": drip} {
		t.Run(name, func(t *testing.T) {
			s := serveRaw(t, reply)
			client := newClient(t, func(o *upstream.Options) { o.Config.Timeout = 60 * time.Millisecond })
			wantKind(t, client.Call(t.Context(), s.target(), toolCall(), new(upstream.Reply)), upstream.Timeout)
		})
	}
}

func TestACallEndsWhenItsCallerLeaves(t *testing.T) {
	asked := make(chan struct{})
	s := serveRaw(t, func(_ int64, c net.Conn, _ string) bool {
		close(asked)
		_, _ = c.Read(make([]byte, 1))
		return false
	})
	client := newClient(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	err := client.Call(ctx, s.target(), toolCall(), new(upstream.Reply))
	if e := wantKind(t, err, upstream.Canceled); !e.Sent || !errors.Is(err, context.Canceled) {
		t.Errorf("got %+v", e)
	}
	if err := client.Call(ctx, s.target(), toolCall(), new(upstream.Reply)); !errors.Is(err, context.Canceled) {
		t.Errorf("a call with an ended context: %v", err)
	}
}

func TestARedirectInwardIsNotFollowed(t *testing.T) {
	var hit atomic.Bool
	inner := serveRaw(t, func(_ int64, c net.Conn, id string) bool { hit.Store(true); return false })
	for _, code := range []int{301, 302, 303, 307, 308} {
		outer := serveRaw(t, say(fmt.Sprintf("HTTP/1.1 %d Go\r\nLocation: http://%s/secret?k=v\r\nContent-Length: 0\r\n\r\n", code, inner.ln.Addr()), true))
		client := newClient(t, nil)
		e := wantKind(t, client.Call(t.Context(), outer.target(), toolCall(), new(upstream.Reply)), upstream.Redirect)
		if e.Code != code || strings.Contains(e.Error(), "secret") || hit.Load() {
			t.Errorf("%d: got %v, followed %v", code, e, hit.Load())
		}
	}
}

func TestASecondAnswerOnAConnectionReachesNobody(t *testing.T) {
	// The upstream appends an answer for the next id to each answer.
	s := serveRaw(t, func(n int64, c net.Conn, id string) bool {
		one := func(id string) string {
			b := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"n":%d}}`, id, n)
			return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(b), b)
		}
		var next json.Number
		_ = json.Unmarshal([]byte(id), &next)
		i, _ := next.Int64()
		_, _ = io.WriteString(c, one(id)+one(fmt.Sprint(i+1)))
		return true
	})
	client := newClient(t, nil)
	for n := 1; n <= 3; n++ {
		var reply upstream.Reply
		if err := client.Call(t.Context(), s.target(), toolCall(), &reply); err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf(`{"n":%d}`, n); string(reply.Result) != want {
			t.Fatalf("call %d got %s", n, reply.Result)
		}
	}
}

func TestADeadUpstreamOpensItsCircuitAndAProbeClosesIt(t *testing.T) {
	var healthy atomic.Bool
	s := serveRaw(t, func(n int64, c net.Conn, id string) bool {
		if !healthy.Load() {
			return false
		}
		return answer("200 OK", `{"jsonrpc":"2.0","id":$ID,"result":{}}`)(n, c, id)
	})
	var clock atomic.Int64
	client := newClient(t, func(o *upstream.Options) {
		o.Config.Failures = 3
		o.Now = func() time.Time { return time.Unix(1_000_000, clock.Load()) }
	})
	call := func() error { return client.Call(t.Context(), s.target(), toolCall(), new(upstream.Reply)) }
	for range 3 {
		wantKind(t, call(), upstream.Unreachable)
	}
	if e := wantKind(t, call(), upstream.CircuitOpen); e.Sent || s.requests.Load() != 3 {
		t.Errorf("an open circuit let a request through: %+v", e)
	}
	clock.Add(int64(6 * time.Second))
	wantKind(t, call(), upstream.Unreachable) // the probe fails
	wantKind(t, call(), upstream.CircuitOpen)
	clock.Add(int64(6 * time.Second))
	healthy.Store(true)
	if err := call(); err != nil {
		t.Fatal(err)
	}
	if h, ok := client.Health("demo", "raw"); !ok || h.Open || h.InRow != 0 || h.Failed != 4 {
		t.Errorf("got %+v", h)
	}
}

func TestABusyUpstreamRefusesFurtherCalls(t *testing.T) {
	hold := make(chan struct{})
	asked := make(chan struct{}, 1)
	s := serveRaw(t, func(n int64, c net.Conn, id string) bool {
		asked <- struct{}{}
		<-hold
		return answer("200 OK", `{"jsonrpc":"2.0","id":$ID,"result":{}}`)(n, c, id)
	})
	client := newClient(t, func(o *upstream.Options) { o.Config.MaxConnections, o.Config.QueueTimeout = 1, time.Millisecond })
	first := make(chan error, 1)
	go func() { first <- client.Call(t.Context(), s.target(), toolCall(), new(upstream.Reply)) }()
	<-asked
	if e := wantKind(t, client.Call(t.Context(), s.target(), toolCall(), new(upstream.Reply)), upstream.Busy); e.Sent {
		t.Errorf("got %+v", e)
	}
	close(hold)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

func TestNothingListensIsUnreachable(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	client := newClient(t, nil)
	target := &upstream.Target{Tenant: "demo", Name: "down", URL: "http://" + ln.Addr().String() + "/", AllowPrivate: true}
	if e := wantKind(t, client.Call(t.Context(), target, toolCall(), new(upstream.Reply)), upstream.Unreachable); e.Sent {
		t.Errorf("got %+v", e)
	}
}

// names is a resolver with fixed answers; each lookup may give the next one.
type names struct {
	mu      sync.Mutex
	answers map[string][][]netip.Addr
}

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.answers[host]
	if len(list) == 0 {
		return nil, errors.New("no such host")
	}
	if len(list) > 1 {
		n.answers[host] = list[1:]
	}
	return list[0], nil
}

func resolver(pairs ...string) *names {
	n := &names{answers: map[string][][]netip.Addr{}}
	for i := 0; i < len(pairs); i += 2 {
		var addrs []netip.Addr
		for a := range strings.FieldsSeq(pairs[i+1]) {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		n.answers[pairs[i]] = append(n.answers[pairs[i]], addrs)
	}
	return n
}
