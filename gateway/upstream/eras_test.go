package upstream_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/plugins/demo/demotest"
)

// recorder keeps what a real server was asked.
type recorder struct {
	next   http.Handler
	mu     sync.Mutex
	heads  []http.Header
	bodies []string
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	req.Body = io.NopCloser(strings.NewReader(string(body)))
	r.mu.Lock()
	r.heads, r.bodies = append(r.heads, req.Header.Clone()), append(r.bodies, string(body))
	r.mu.Unlock()
	r.next.ServeHTTP(w, req)
}

// methods returns the methods asked for, in order.
func (r *recorder) methods() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, b := range r.bodies {
		var m struct{ Method string }
		_ = json.Unmarshal([]byte(b), &m)
		out = append(out, m.Method)
	}
	return strings.Join(out, " ")
}

// inSession counts the requests that named a session.
func (r *recorder) inSession() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.heads {
		if h.Get("Mcp-Session-Id") != "" {
			n++
		}
	}
	return n
}

func (r *recorder) sessions() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]bool{}
	for _, h := range r.heads {
		if id := h.Get("Mcp-Session-Id"); id != "" {
			out[id] = true
		}
	}
	return out
}

// sdkServer is a server made with the SDK alone, in one of its modes.
func sdkServer(o *mcp.StreamableHTTPOptions, pageSize int) http.Handler {
	s := mcp.NewServer(&mcp.Implementation{Name: "sdk", Version: "1"}, &mcp.ServerOptions{PageSize: pageSize})
	type in struct {
		Text string `json:"text"`
	}
	for i := range 25 {
		mcp.AddTool(s, &mcp.Tool{Name: fmt.Sprintf("echo_%02d", i)}, func(ctx context.Context, req *mcp.CallToolRequest, a in) (*mcp.CallToolResult, any, error) {
			if token := req.Params.GetProgressToken(); token != nil {
				return nil, nil, fmt.Errorf("a progress token came through")
			}
			_ = req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: "t", Progress: 1})
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: a.Text}}}, nil, nil
		})
	}
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, o)
}

func serve(t testing.TB, h http.Handler) (*recorder, *upstream.Target) {
	t.Helper()
	r := &recorder{next: h}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	return r, &upstream.Target{Tenant: "demo", Name: "srv", URL: s.URL + demotest.Path, AllowPrivate: true}
}

func callText(t *testing.T, c *upstream.Client, target *upstream.Target, principal, tool, args string) string {
	t.Helper()
	var reply upstream.Reply
	err := c.Call(t.Context(), target, &upstream.Request{Method: "tools/call", Name: tool, Arguments: []byte(args), Principal: principal}, &reply)
	if err != nil {
		t.Fatal(err)
	}
	return string(reply.Result) + string(reply.Error)
}

func TestRealServersOfEveryKindAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.Handler
		era     string
		want    string
	}{
		"demo, auto":                {demotest.Handler(), "auto", "modern"},
		"demo, legacy":              {demotest.Handler(), "legacy", "unknown"},
		"demo, modern":              {demotest.Handler(), "modern", "unknown"},
		"sdk stateful, JSON":        {sdkServer(&mcp.StreamableHTTPOptions{JSONResponse: true}, 0), "", "legacy"},
		"sdk stateful, events":      {sdkServer(&mcp.StreamableHTTPOptions{}, 0), "auto", "legacy"},
		"sdk stateless, JSON":       {sdkServer(&mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true}, 0), "auto", "modern"},
		"sdk stateless, events":     {sdkServer(&mcp.StreamableHTTPOptions{Stateless: true}, 0), "auto", "modern"},
		"sdk stateless, as legacy":  {sdkServer(&mcp.StreamableHTTPOptions{Stateless: true}, 0), "legacy", "unknown"},
		"sdk stateful, small pages": {sdkServer(&mcp.StreamableHTTPOptions{}, 4), "auto", "legacy"},
	} {
		t.Run(name, func(t *testing.T) {
			rec, target := serve(t, c.handler)
			target.Era = c.era
			client := newClient(t, nil)
			tools, err := client.List(t.Context(), target, &upstream.Request{Method: "tools/list"})
			if err != nil {
				t.Fatal(err)
			}
			tool, args, want := "echo_07", `{"text":"hällo"}`, "hällo"
			if strings.HasPrefix(name, "demo") {
				tool, args, want = "calculate", `{"expression":"6*7"}`, `{"value":42}`
				if len(tools) != 9 {
					t.Errorf("%d tools", len(tools))
				}
			} else if len(tools) != 25 {
				t.Errorf("%d tools", len(tools))
			}
			for range 3 {
				if got := callText(t, client, target, "agt_1", tool, args); !strings.Contains(got, want) {
					t.Errorf("got %s", got)
				}
			}
			if got := callText(t, client, target, "agt_1", "no_such_tool", `{}`); !strings.Contains(got, `"code":-32602`) {
				t.Errorf("an unknown tool: %s", got)
			}
			if h, _ := client.Health("demo", "srv"); h.Era != c.want || h.Failed != 0 {
				t.Errorf("health %+v after %s", h, rec.methods())
			}
		})
	}
}

func TestTheEraIsFoundOutOnce(t *testing.T) {
	rec, target := serve(t, sdkServer(&mcp.StreamableHTTPOptions{JSONResponse: true}, 0))
	client := newClient(t, nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { callText(t, client, target, "agt_1", "echo_01", `{"text":"x"}`) })
	}
	wg.Wait()
	if got := rec.methods(); strings.Count(got, "server/discover") != 1 || strings.Count(got, " initialize") != 1 || strings.Count(got, "notifications/initialized") != 1 {
		t.Errorf("asked %s", got)
	}
}

func TestSessionsAreNeverSharedBetweenPrincipals(t *testing.T) {
	rec, target := serve(t, sdkServer(&mcp.StreamableHTTPOptions{JSONResponse: true}, 0))
	target.Era = "legacy"
	client := newClient(t, nil)
	for _, p := range []string{"agt_1", "agt_2", "agt_1", "agt_2"} {
		callText(t, client, target, p, "echo_01", `{"text":"x"}`)
	}
	if n := len(rec.sessions()); n != 2 {
		t.Errorf("%d sessions for two principals", n)
	}
	other := *target
	other.Tenant = "other"
	callText(t, client, &other, "agt_1", "echo_01", `{"text":"x"}`)
	if n := len(rec.sessions()); n != 3 {
		t.Errorf("two tenants share a session")
	}
	err := client.Call(t.Context(), target, &upstream.Request{Method: "tools/list"}, new(upstream.Reply))
	wantKind(t, err, upstream.Invalid)
}

func TestSessionsAreBounded(t *testing.T) {
	_, target := serve(t, sdkServer(&mcp.StreamableHTTPOptions{JSONResponse: true}, 0))
	target.Era = "legacy"
	client := newClient(t, func(o *upstream.Options) { o.Config.MaxSessions = 3 })
	for i := range 10 {
		callText(t, client, target, fmt.Sprintf("agt_%d", i), "echo_01", `{"text":"x"}`)
	}
	if h, _ := client.Health("demo", "srv"); h.Sessions != 3 {
		t.Errorf("%d sessions", h.Sessions)
	}
}

func TestALostSessionIsMadeAgainOnce(t *testing.T) {
	live := httptest.NewServer(nil)
	t.Cleanup(live.Close)
	rec := &recorder{next: sdkServer(&mcp.StreamableHTTPOptions{JSONResponse: true}, 0)}
	live.Config.Handler = rec
	target := &upstream.Target{Tenant: "demo", Name: "srv", URL: live.URL + "/", Era: "legacy", AllowPrivate: true}
	client := newClient(t, nil)
	callText(t, client, target, "agt_1", "echo_01", `{"text":"x"}`)
	rec.next = sdkServer(&mcp.StreamableHTTPOptions{JSONResponse: true}, 0) // as after a restart
	if got := callText(t, client, target, "agt_1", "echo_01", `{"text":"again"}`); !strings.Contains(got, "again") {
		t.Errorf("got %s", got)
	}
	if got := rec.methods(); strings.Count(got, "tools/call") != 3 || strings.Count(got, "notifications/initialized") != 2 {
		t.Errorf("asked %s", got)
	}
}

func TestAServerThatAlwaysLosesSessionsIsNotAskedForever(t *testing.T) {
	var calls int
	_, target := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		var m struct {
			ID     json.RawMessage
			Method string
		}
		_ = json.Unmarshal(b, &m)
		switch m.Method {
		case "initialize":
			w.Header().Set("Mcp-Session-Id", "s")
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{}}}`, m.ID)
		case "tools/call":
			calls++
			w.WriteHeader(404)
		}
	}))
	target.Era = "legacy"
	err := newClient(t, nil).Call(t.Context(), target, toolCall(), new(upstream.Reply))
	if e := wantKind(t, err, upstream.Status); e.Code != 404 || calls != 2 {
		t.Errorf("got %v after %d calls", e, calls)
	}
}

func TestAHandshakeThatIsNotOneIsRefused(t *testing.T) {
	for name, reply := range map[string]func(w http.ResponseWriter, id json.RawMessage){
		"unknown version": func(w http.ResponseWriter, id json.RawMessage) {
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"1999-01-01"}}`, id)
		},
		"no version": func(w http.ResponseWriter, id json.RawMessage) {
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{}}`, id)
		},
		"an error": func(w http.ResponseWriter, id json.RawMessage) {
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":1,"message":"no"}}`, id)
		},
		"a session id with spaces": func(w http.ResponseWriter, id json.RawMessage) {
			w.Header().Set("Mcp-Session-Id", "a b")
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25"}}`, id)
		},
		"a huge session id": func(w http.ResponseWriter, id json.RawMessage) {
			w.Header().Set("Mcp-Session-Id", strings.Repeat("a", 4000))
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25"}}`, id)
		},
	} {
		t.Run(name, func(t *testing.T) {
			rec, target := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var m struct{ ID json.RawMessage }
				_ = json.NewDecoder(r.Body).Decode(&m)
				w.Header().Set("Content-Type", "application/json")
				reply(w, m.ID)
			}))
			target.Era = "legacy"
			if e := wantKind(t, newClient(t, nil).Call(t.Context(), target, toolCall(), new(upstream.Reply)), upstream.Malformed); e.Sent {
				t.Error("the call itself counts as sent")
			}
			if strings.Contains(rec.methods(), "tools/call") {
				t.Error("the call was made without a session")
			}
		})
	}
}

func TestAServerThatRefusesTheCredentialIsNotTriedTheOldWay(t *testing.T) {
	rec, target := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }))
	if e := wantKind(t, newClient(t, nil).Call(t.Context(), target, toolCall(), new(upstream.Reply)), upstream.Status); e.Code != 401 {
		t.Errorf("got %v", e)
	}
	if got := rec.methods(); got != "server/discover" {
		t.Errorf("asked %s", got)
	}
}

func TestTheRequestSaysWhatWasJudgedAndNothingElse(t *testing.T) {
	rec, target := serve(t, demotest.Handler())
	target.Era = "modern"
	target.Headers = func(add func(name, value string)) { add("Authorization", "Bearer up-secret") }
	client := newClient(t, nil)
	args := `{ "title":"\u00e4 <b>", "text" : "1e2" }`
	var reply upstream.Reply
	err := client.Call(t.Context(), target, &upstream.Request{
		Method: "tools/call", Name: "notes_add", Arguments: []byte(args), Principal: "agt_1",
		Meta: []byte(`{"gatewright/intent":"TOKEN","io.modelcontextprotocol/protocolVersion":"1999","progressToken":7,"traceparent":"00-x"}`),
	}, &reply)
	if err != nil || reply.Error != nil {
		t.Fatal(err, string(reply.Error))
	}
	head, body := rec.heads[0], rec.bodies[0]
	if !strings.Contains(body, args) || !strings.Contains(body, `"traceparent":"00-x"`) {
		t.Errorf("the body changed: %s", body)
	}
	if strings.Contains(body, "TOKEN") || strings.Contains(body, "1999") || strings.Contains(body, "progressToken") {
		t.Errorf("reserved members went out: %s", body)
	}
	for name, want := range map[string]string{
		"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "notes_add", "Authorization": "Bearer up-secret",
		"Content-Type": "application/json", "Accept-Encoding": "identity", "Mcp-Session-Id": "",
	} {
		if got := head.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if len(head) != 9 {
		t.Errorf("unexpected headers: %v", head)
	}
}

func TestWholeParamsAreSentAndMustAgreeWithTheName(t *testing.T) {
	rec, target := serve(t, demotest.Handler())
	target.Era = "modern"
	client := newClient(t, nil)
	call := func(name, params string) error {
		return client.Call(t.Context(), target, &upstream.Request{Method: "tools/call", Name: name, Params: []byte(params), Principal: "agt_1"}, new(upstream.Reply))
	}
	if err := call("calculate", `{"name":"calculate","arguments":{"expression":"1"},"_meta":{"x":1,"gatewright/intent":"T"}}`); err != nil {
		t.Fatal(err)
	}
	if body := rec.bodies[0]; !strings.Contains(body, `"x":1`) || strings.Contains(body, `"T"`) {
		t.Errorf("sent %s", body)
	}
	for _, params := range []string{`{"name":"mail_send","arguments":{}}`, `{"arguments":{}}`, `{"Name":"calculate"}`, `{"name":7}`, `[]`, `7`} {
		wantKind(t, call("calculate", params), upstream.Invalid)
	}
	if len(rec.bodies) != 1 {
		t.Error("a request that disagrees with itself was sent")
	}
}

func TestHeadersThatWouldChangeTheRequestAreRefused(t *testing.T) {
	rec, target := serve(t, demotest.Handler())
	target.Era = "modern"
	client := newClient(t, nil)
	for _, h := range [][2]string{
		{"Host", "x"}, {"content-length", "1"}, {"Transfer-Encoding", "chunked"}, {"Connection", "close"}, {"Mcp-Name", "x"}, {"MCP-Session-Id", "x"},
		{"Accept", "x"}, {"", "x"}, {"A B", "x"}, {"A:", "x"}, {"A\r\nB", "x"}, {"A", "x\r\nB: y"}, {"A", "x\ny"}, {"A", "\x00"}, {"A", strings.Repeat("x", 20<<10)},
	} {
		target.Headers = func(add func(name, value string)) { add(h[0], h[1]) }
		e := wantKind(t, client.Call(t.Context(), target, toolCall(), new(upstream.Reply)), upstream.Invalid)
		if e.Sent || strings.Contains(e.Error(), "x\r") {
			t.Errorf("got %+v", e)
		}
	}
	if len(rec.heads) != 0 {
		t.Error("a bad header was sent")
	}
}

func TestAMirroredArgumentIsEncodedAsTheProtocolAsks(t *testing.T) {
	rec, target := serve(t, demotest.Handler())
	target.Era = "modern"
	client := newClient(t, nil)
	for _, c := range [][2]string{{"plain text", "plain text"}, {"é", "=?base64?w6k=?="}, {" a", "=?base64?IGE=?="}, {"a\r\nX: y", "=?base64?YQ0KWDogeQ==?="}, {"=?base64?YQ==?=", "=?base64?PT9iYXNlNjQ/WVE9PT89?="}} {
		r := toolCall()
		r.Mirror = func(add func(name, value string)) { add("Mcp-Param-City", c[0]) }
		if err := client.Call(t.Context(), target, r, new(upstream.Reply)); err != nil {
			t.Fatal(err)
		}
		if got := rec.heads[len(rec.heads)-1].Get("Mcp-Param-City"); got != c[1] {
			t.Errorf("%q went as %q", c[0], got)
		}
	}
	r := toolCall()
	r.Mirror = func(add func(name, value string)) { add("Authorization", "x") }
	wantKind(t, client.Call(t.Context(), target, r, new(upstream.Reply)), upstream.Invalid)
}

func TestAPanicOfTheHeadersLeavesNoConnectionBehind(t *testing.T) {
	_, target := serve(t, demotest.Handler())
	target.Era = "modern"
	client := newClient(t, func(o *upstream.Options) { o.Config.MaxConnections = 1 })
	target.Headers = func(func(name, value string)) { panic("vault") }
	func() {
		defer func() { _ = recover() }()
		_ = client.Call(t.Context(), target, toolCall(), new(upstream.Reply))
	}()
	target.Headers = nil
	if err := client.Call(t.Context(), target, toolCall(), new(upstream.Reply)); err != nil {
		t.Fatal(err)
	}
}

func TestAListThatIsNotOneFailsAsAWhole(t *testing.T) {
	for name, c := range map[string]struct {
		result string
		want   upstream.Kind
	}{
		"no tools":        {`{}`, upstream.Malformed},
		"tools a string":  {`{"tools":"x"}`, upstream.Malformed},
		"a null tool":     {`{"tools":[null]}`, upstream.Malformed},
		"repeated cursor": {`{"tools":[],"nextCursor":"a"}`, upstream.Malformed},
		"cursor a number": {`{"tools":[],"nextCursor":1}`, upstream.Malformed},
		"too many tools":  {`{"tools":[` + strings.Repeat(`{},`, 2000) + `{}]}`, upstream.TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveRaw(t, answer("200 OK", `{"jsonrpc":"2.0","id":$ID,"result":`+c.result+`}`))
			_, err := newClient(t, nil).List(t.Context(), s.target(), &upstream.Request{Method: "tools/list"})
			wantKind(t, err, c.want)
		})
	}
	n := 0
	_, target := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct{ ID json.RawMessage }
		_ = json.NewDecoder(r.Body).Decode(&m)
		n++
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"tools":[],"nextCursor":"%d"}}`, m.ID, n)
	}))
	target.Era = "modern"
	_, err := newClient(t, nil).List(t.Context(), target, &upstream.Request{Method: "tools/list"})
	wantKind(t, err, upstream.TooLarge)
}

func TestCertificatesAreChecked(t *testing.T) {
	s := httptest.NewTLSServer(demotest.Handler())
	t.Cleanup(s.Close)
	target := &upstream.Target{Tenant: "demo", Name: "tls", URL: s.URL + demotest.Path, AllowPrivate: true}
	if e := wantKind(t, newClient(t, nil).Call(t.Context(), target, toolCall(), new(upstream.Reply)), upstream.Unreachable); !strings.Contains(e.Detail, "certificate") {
		t.Errorf("got %v", e)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	client := newClient(t, func(o *upstream.Options) { o.Config.RootCAFile = file })
	for range 2 {
		if got := callText(t, client, target, "agt_1", "calculate", `{"expression":"1+1"}`); !strings.Contains(got, `{"value":2}`) {
			t.Errorf("got %s", got)
		}
		time.Sleep(110 * time.Millisecond) // long enough that the connection is looked at before it is used again
	}
	other := *target
	other.Name, other.URL = "name", strings.Replace(target.URL, "127.0.0.1", "other.invalid", 1)
	named := newClient(t, func(o *upstream.Options) {
		o.Config.RootCAFile, o.Resolver = file, resolver("other.invalid", "127.0.0.1")
	})
	wantKind(t, named.Call(t.Context(), &other, toolCall(), new(upstream.Reply)), upstream.Unreachable)
}

func TestOldTLSIsRefused(t *testing.T) {
	s := httptest.NewUnstartedServer(demotest.Handler())
	s.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10} //nolint:gosec // an old server
	s.StartTLS()
	t.Cleanup(s.Close)
	target := &upstream.Target{Tenant: "demo", Name: "tls", URL: s.URL + demotest.Path, AllowPrivate: true}
	wantKind(t, newClient(t, nil).Call(t.Context(), target, toolCall(), new(upstream.Reply)), upstream.Unreachable)
}

func TestAChangedURLDropsWhatWasKnown(t *testing.T) {
	_, target := serve(t, sdkServer(&mcp.StreamableHTTPOptions{JSONResponse: true}, 0))
	client := newClient(t, nil)
	callText(t, client, target, "agt_1", "echo_01", `{"text":"x"}`)
	_, modern := serve(t, demotest.Handler())
	callText(t, client, modern, "agt_1", "calculate", `{"expression":"1"}`)
	if h, _ := client.Health("demo", "srv"); h.Era != "modern" || h.Sessions != 0 {
		t.Errorf("got %+v", h)
	}
	client.Forget("demo", "srv")
	if _, ok := client.Health("demo", "srv"); ok {
		t.Error("a forgotten server is known")
	}
	client.Close()
	wantKind(t, client.Call(t.Context(), modern, toolCall(), new(upstream.Reply)), upstream.Busy)
}

func TestConfigsWithoutBoundsAreRefused(t *testing.T) {
	for _, spoil := range []func(*upstream.Options){
		func(o *upstream.Options) { o.Config.Timeout = 0 }, func(o *upstream.Options) { o.Config.MaxResponse = 0 },
		func(o *upstream.Options) { o.Now = nil }, func(o *upstream.Options) { o.Config.RootCAFile = "/nonexistent" },
	} {
		o := upstream.Options{Config: upstream.DefaultConfig(), Now: time.Now}
		spoil(&o)
		if _, err := upstream.New(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}
