package server_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	mcpsdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/gatewright/gatewright/gateway/config"
	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/gateway/server"
	"github.com/gatewright/gatewright/plugins/builtin"
	"github.com/gatewright/gatewright/wasm/build"
)

// TestMain is also the built-in connectors, and what compiles filters: the gateway starts its own binary again, which in a test
// is the test binary.
func TestMain(m *testing.M) {
	build.Hook()
	if len(os.Args) == 3 && os.Args[1] == builtin.Verb {
		os.Exit(builtin.Serve(os.Args[2], server.Connectors(), os.Getenv, os.Stderr))
	}
	os.Exit(m.Run())
}

// client is how tests ask. No answer takes this long; a test that hangs should say where.
var client = &http.Client{Timeout: 20 * time.Second}

// text is a buffer that may be read while it is written.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (x *text) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.Write(p)
}

func (x *text) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.String()
}

// options are those of a gateway of its own on free ports, without the demo server.
func options(t *testing.T, change func(*config.Config)) (server.Options, *text, *text) {
	t.Helper()
	c, err := server.Load("", t.TempDir(), "127.0.0.1:0", "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Ledger.Sync, c.Ledger.Segment, c.Demo.Server = "write", 1<<20, false
	if change != nil {
		change(&c)
	}
	out, log := &text{}, &text{}
	return server.Options{
		Config: c, Version: "1.2.3", Self: []string{os.Args[0]}, Out: out, Log: slog.New(slog.NewTextHandler(log, nil)), Now: time.Now, Rand: rand.Reader,
	}, out, log
}

// running is a gateway that serves.
type running struct {
	t        *testing.T
	g        *server.Gateway
	options  server.Options
	out, log *text
	end      context.CancelFunc
	done     chan error
	env      map[string]string
	agents   sync.Map // *gatewright.Client by key and address
}

// run starts a gateway and stops it with the test.
func run(t *testing.T, o server.Options, out, log *text) *running {
	t.Helper()
	g, err := server.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, g: g, options: o, out: out, log: log, end: cancel, done: make(chan error, 1), env: map[string]string{}}
	go func() { r.done <- g.Serve(ctx) }()
	t.Cleanup(func() { r.stop() })
	if b, err := os.ReadFile(filepath.Join(o.Config.Data.Dir, "demo.env")); err == nil {
		for line := range strings.Lines(string(b)) {
			name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
			r.env[name] = value
		}
	}
	return r
}

// stop drains and closes; a second stop does nothing.
func (r *running) stop() {
	r.t.Helper()
	if r.end == nil {
		return
	}
	r.end()
	r.end = nil
	client.CloseIdleConnections()
	if err := <-r.done; err != nil {
		r.t.Errorf("serve: %v", err)
	}
	if err := r.g.Close(); err != nil {
		r.t.Errorf("close: %v", err)
	}
}

// control asks the control port and decodes the answer into v, which may be nil.
func (r *running) control(method, path, key, body string, want int, v any) string {
	r.t.Helper()
	q, err := http.NewRequestWithContext(r.t.Context(), method, r.g.ControlURL()+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+key)
	q.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		r.t.Fatalf("%s %s: %d, want %d: %s (%v)", method, path, resp.StatusCode, want, b, err)
	}
	if v != nil {
		if err := json.Unmarshal(b, v); err != nil {
			r.t.Fatal(err)
		}
	}
	return string(b)
}

// agent is a client of the data port.
func (r *running) agent(key string) *gatewright.Client {
	r.t.Helper()
	at := key + " " + r.g.URL()
	if c, ok := r.agents.Load(at); ok {
		return c.(*gatewright.Client) // one for each call would leave as many connections, and there is a bound
	}
	var roots *x509.CertPool
	if file := r.options.Config.Proxy.TLSCert; file != "" {
		roots = x509.NewCertPool()
		if b, err := os.ReadFile(file); err != nil || !roots.AppendCertsFromPEM(b) {
			r.t.Fatalf("certificate: %v", err)
		}
	}
	c, err := gatewright.New(gatewright.Config{URL: r.g.URL(), Key: key, Roots: roots})
	if err != nil {
		r.t.Fatal(err)
	}
	r.agents.Store(at, c)
	return c
}

// tools lists what an agent sees.
func (r *running) tools(key string) string {
	r.t.Helper()
	list, err := r.agent(key).ListTools(r.t.Context(), "")
	if err != nil {
		return err.Error()
	}
	var names []string
	for _, tool := range list {
		names = append(names, tool.Name)
	}
	return strings.Join(names, " ")
}

// planned captures a plan of one step, takes a token, and makes the call.
func (r *running) planned(ctx context.Context, key, server, tool, args string) (*gatewright.Result, error) {
	r.t.Helper()
	c := r.agent(key)
	p, err := c.Plan(ctx, fmt.Appendf(nil, `{"goal":"test","steps":[{"server":%q,"tool":%q,"args":%s}]}`, server, tool, args))
	if err != nil {
		return nil, err
	}
	token, err := c.Token(ctx, p.ID, 0)
	if err != nil {
		return nil, err
	}
	return c.Call(ctx, gatewright.Call{Server: server, Tool: tool, Args: json.RawMessage(args), Token: token.Token})
}

// behind is an MCP server behind the gateway. slow waits until it is released.
type behind struct {
	*mcpsdk.Server
	url     string
	started chan struct{}
	release chan struct{}
}

func newBehind(t *testing.T) *behind {
	t.Helper()
	b := &behind{Server: mcpsdk.NewServer(&mcpsdk.Implementation{Name: "behind", Version: "1"}, nil), started: make(chan struct{}, 1), release: make(chan struct{})}
	b.offer("echo", func() {})
	over := make(chan struct{})
	b.offer("slow", func() {
		b.started <- struct{}{}
		select {
		case <-b.release:
		case <-over:
		}
	})
	h := mcpsdk.NewStreamableHTTPHandler(func(*http.Request) *mcpsdk.Server { return b.Server }, &mcpsdk.StreamableHTTPOptions{Stateless: true, JSONResponse: true})
	s := httptest.NewServer(h)
	t.Cleanup(func() { close(over); s.CloseClientConnections(); s.Close() })
	b.url = s.URL
	return b
}

// offer adds a tool.
func (b *behind) offer(name string, do func()) {
	b.AddTool(&mcpsdk.Tool{Name: name, InputSchema: json.RawMessage(`{"type":"object"}`)}, func(context.Context, *mcpsdk.CallToolRequest) (*mcpsdk.CallToolResult, error) {
		do()
		return &mcpsdk.CallToolResult{Content: []mcpsdk.Content{&mcpsdk.TextContent{Text: "done"}}}, nil
	})
}

// serving puts the server into a configuration.
func (b *behind) serving(c *config.Config) {
	c.Servers = map[string]config.Server{"files": {Tenant: "demo", URL: b.url, Era: "auto", AllowPrivate: true, Header: "Authorization"}}
}
