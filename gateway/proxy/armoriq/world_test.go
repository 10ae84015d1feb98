package armoriq_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mcpsdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/gatewright/gatewright/gateway/config"
	"github.com/gatewright/gatewright/gateway/server"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/plugins/builtin"
)

// What follows is a whole gateway in this process with two organisations and a server behind it, asked over its ports.

// TestMain is also the built-in connectors: the gateway starts its own binary again, which in a test is the test binary.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == builtin.Verb {
		os.Exit(builtin.Serve(os.Args[2], server.Connectors(), os.Getenv, os.Stderr))
	}
	os.Exit(m.Run())
}

// own are policies beside the default ones: a tool that nobody runs, one that is held by its amount, and one whatever its
// arguments.
const own = `@id("denied") @reason("Nobody runs this tool.")
forbid (principal, action == Action::"bank___denied", resource);

@id("large") @hold("Payments above 1000 need an approval.")
forbid (principal, action == Action::"bank___pay", resource)
when { context.input.amount.greaterThan(decimal("1000.0")) };

@id("wire") @hold("Each wire needs an approval.")
forbid (principal, action == Action::"bank___wire", resource);
`

const anything = `{"type":"object"}`

// offered are the tools of the server "bank".
var offered = map[string]string{
	"pay":    `{"type":"object","properties":{"amount":{"type":"number"},"to":{"type":"string"}},"required":["amount"],"additionalProperties":false}`,
	"mail":   `{"type":"object","properties":{"user_email":{"type":"string"},"text":{"type":"string"}},"additionalProperties":false}`,
	"echo":   anything,
	"denied": anything,
	"wire":   anything,
}

// behind starts an MCP server whose tools answer with the arguments that reached them.
func behind(t testing.TB) string {
	t.Helper()
	s := mcpsdk.NewServer(&mcpsdk.Implementation{Name: "bank", Version: "1"}, nil)
	for name, schema := range offered {
		s.AddTool(&mcpsdk.Tool{Name: name, InputSchema: json.RawMessage(schema)}, func(_ context.Context, r *mcpsdk.CallToolRequest) (*mcpsdk.CallToolResult, error) {
			return &mcpsdk.CallToolResult{Content: []mcpsdk.Content{&mcpsdk.TextContent{Text: "got " + string(r.Params.Arguments)}}}, nil
		})
	}
	h := mcpsdk.NewStreamableHTTPHandler(func(*http.Request) *mcpsdk.Server { return s }, &mcpsdk.StreamableHTTPOptions{Stateless: true, JSONResponse: true})
	web := httptest.NewServer(h)
	t.Cleanup(func() { web.CloseClientConnections(); web.Close() })
	return web.URL
}

// world is a gateway that serves.
type world struct {
	g          *server.Gateway
	dir        string
	client     *http.Client
	end        func(t testing.TB)
	admin      string // of the organisation "demo"
	otherAdmin string // of the organisation "other", which has a server of the same name
	later      *atomic.Int64
	log        *logged
	n          atomic.Int64
}

type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// open starts a gateway on a folder of its own. The second organisation is made as an operator makes one.
func open(t testing.TB, change func(*config.Config)) *world {
	t.Helper()
	bundle := t.TempDir()
	if err := os.CopyFS(bundle, os.DirFS(filepath.Join("..", "..", "..", "policies", "default"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bundle, "own.cedar"), []byte(own), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &world{dir: t.TempDir(), client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{}}, later: &atomic.Int64{}, log: &logged{}}
	c, err := server.Load("", w.dir, "127.0.0.1:0", "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Ledger.Sync, c.Ledger.Segment, c.Ledger.Deadline, c.Demo.Server = "write", 1<<20, time.Minute, false
	c.Quota.SourceRate, c.Quota.SourceBurst = 1e6, 1e6
	c.Quota.TenantRate, c.Quota.TenantBurst = 1e6, 1e6
	c.Quota.AgentRate, c.Quota.AgentBurst = 1e6, 1e6
	c.Mode = "production"
	out := w.start(t, c)
	operator := regexp.MustCompile(`ak_live_\S{40,}`).FindString(out.String())
	var made struct{ Key struct{ Secret string } }
	w.manage(t, operator, "POST", "/api/v1/organisations", `{"id":"other","name":"Other","admin":{"name":"Other admin"}}`, &made)
	w.end(t)
	c.Mode, c.Policies.Bundle = "development", bundle
	bank := behind(t)
	c.Servers = map[string]config.Server{"bank": {Tenant: "demo", URL: bank, Era: "auto", Via: "native", AllowPrivate: true, Header: "Authorization"}}
	if change != nil {
		change(&c)
	}
	w.start(t, c)
	w.otherAdmin, w.admin = made.Key.Secret, w.env(t)["GATEWRIGHT_ADMIN_KEY"]
	t.Cleanup(func() { w.end(t) })
	w.manage(t, w.otherAdmin, "POST", "/api/v1/servers", fmt.Sprintf(`{"name":"bank","url":%q,"allow_private":true}`, bank), nil)
	w.manage(t, w.otherAdmin, "POST", "/api/v1/servers/bank/refresh", "", nil)
	return w
}

func (w *world) start(t testing.TB, c config.Config) *logged {
	t.Helper()
	out := &logged{}
	g, err := server.Start(context.Background(), server.Options{
		Config: c, Version: "1.2.3", Self: []string{os.Args[0]}, Out: out, Log: slog.New(slog.NewTextHandler(w.log, nil)), Rand: rand.Reader,
		Now: func() time.Time { return time.Now().Add(time.Duration(w.later.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx) }()
	var once sync.Once
	w.g, w.end = g, func(t testing.TB) {
		once.Do(func() {
			w.client.CloseIdleConnections()
			cancel()
			if err := errors.Join(<-done, g.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	return out
}

func (w *world) env(t testing.TB) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, "demo.env"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		out[name] = value
	}
	return out
}

// manage asks the control port, which must do it, and decodes its answer into v unless that is nil.
func (w *world) manage(t testing.TB, key, method, path, body string, v any) {
	t.Helper()
	ans := w.exchange(t, method, w.g.ControlURL()+path, heads{"Authorization": "Bearer " + key, "Content-Type": "application/json"}, body)
	if ans.status < 200 || ans.status > 299 {
		t.Fatalf("%s %s: %s", method, path, ans)
	}
	if v != nil {
		if err := json.Unmarshal([]byte(ans.body), v); err != nil {
			t.Fatal(err)
		}
	}
}

// heads are the headers of a request.
type heads map[string]string

func (h heads) and(name, value string) heads {
	out := heads{name: value}
	for k, v := range h {
		if k != name {
			out[k] = v
		}
	}
	return out
}

// bearer are the headers that every client sends with a key.
func bearer(key string) heads {
	return heads{"Authorization": "Bearer " + key, "Content-Type": "application/json"}
}

// answer is what came back.
type answer struct {
	status int
	head   http.Header
	body   string
	record string
}

func (a answer) String() string { return fmt.Sprintf("%d %.2000s", a.status, a.body) }

// says finds a member by its path; what is missing is nil.
func (a answer) says(path ...string) any {
	var v any
	if json.Unmarshal([]byte(a.body), &v) != nil {
		return nil
	}
	for _, name := range path {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

func (a answer) text(path ...string) string {
	s, _ := a.says(path...).(string)
	return s
}

func (w *world) exchange(t testing.TB, method, url string, h heads, body string) answer {
	t.Helper()
	ans, err := w.try(method, url, h, body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return ans
}

func (w *world) try(method, url string, h heads, body string) (answer, error) {
	q, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if body == "" {
		q.Body = nil
	}
	for name, value := range h {
		q.Header.Set(name, value)
	}
	resp, err := w.client.Do(q)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(b), resp.Header.Get("Gatewright-Record")}, err
}

// agent is an agent with a key.
type agent struct {
	w                    *world
	id, name, key, keyID string
}

// agent registers one of the organisation whose admin key is given.
func (w *world) agent(t testing.TB, admin string, more string) agent {
	t.Helper()
	a := agent{w: w, name: fmt.Sprintf("agent %d", w.n.Add(1))}
	var made struct{ ID string }
	w.manage(t, admin, "POST", "/api/v1/agents", fmt.Sprintf(`{"name":%q%s}`, a.name, more), &made)
	w.manage(t, admin, "PUT", "/api/v1/agents/"+made.ID+"/status", `{"status":"active"}`, nil)
	a.id = made.ID
	return a.withKey(t, admin, "")
}

// withKey is the same agent with another key.
func (a agent) withKey(t testing.TB, admin, more string) agent {
	t.Helper()
	var key struct {
		Secret string
		Key    struct{ ID string }
	}
	a.w.manage(t, admin, "POST", "/api/v1/keys", fmt.Sprintf(`{"agent":%q,"name":"test"%s}`, a.id, more), &key)
	a.key, a.keyID = key.Secret, key.Key.ID
	return a
}

// post and get ask a route with the agent's key.
func (a agent) post(t testing.TB, path, body string) answer {
	t.Helper()
	return a.w.exchange(t, "POST", a.w.g.URL()+path, bearer(a.key), body)
}

func (a agent) put(t testing.TB, path, body string) answer {
	t.Helper()
	return a.w.exchange(t, "PUT", a.w.g.URL()+path, bearer(a.key), body)
}

func (a agent) get(t testing.TB, path string) answer {
	t.Helper()
	return a.w.exchange(t, "GET", a.w.g.URL()+path, bearer(a.key), "")
}

// ok is an answer that must be a success with a record.
func (a answer) ok(t testing.TB) answer {
	t.Helper()
	if a.status != http.StatusOK || a.record == "" || a.says("success") == false {
		t.Fatalf("not done: %s", a)
	}
	return a
}

// refused is an answer that must be a refusal with this status and code, on record.
func (a answer) refused(t testing.TB, status int, code string) answer {
	t.Helper()
	if a.status != status || a.text("code") != code || a.record == "" || a.says("success") != false || a.says("allowed") != false {
		t.Errorf("not refused with %d %s: %s", status, code, a)
	}
	return a
}

// ticket is a token as it was issued.
type ticket struct {
	plan, id, jwt, object string
	root, hash            string
	proofs                []json.RawMessage
}

// token takes a token for a plan of these steps, as the client libraries do.
func (a agent) token(t testing.TB, steps string, more string) ticket {
	t.Helper()
	ans := a.post(t, "/iap/sdk/token", `{"plan":{"goal":"g","steps":[`+steps+`]}`+more+`}`).ok(t)
	var v struct {
		PlanID string            `json:"plan_id"`
		ID     string            `json:"intent_reference"`
		JWT    string            `json:"jwt_token"`
		Token  json.RawMessage   `json:"token"`
		Root   string            `json:"merkle_root"`
		Hash   string            `json:"plan_hash"`
		Proofs []json.RawMessage `json:"step_proofs"`
	}
	if err := json.Unmarshal([]byte(ans.body), &v); err != nil || v.JWT == "" || v.PlanID == "" {
		t.Fatalf("%v in %s", err, ans)
	}
	return ticket{v.PlanID, v.ID, v.JWT, string(v.Token), v.Root, v.Hash, v.Proofs}
}

// step is a step of one of their plans.
func step(mcp, tool, params string) string {
	return fmt.Sprintf(`{"action":%q,"mcp":%q,"params":%s}`, tool, mcp, params)
}

// invocation is the body of a call.
func invocation(mcp, tool, params, token string) string {
	return fmt.Sprintf(`{"mcp":%q,"action":%q,"tool":%q,"params":%s,"intent_token":{"jwt_token":%q}}`, mcp, tool, tool, params, token)
}

// entry is a record of the ledger, as far as these tests read it.
type entry struct {
	ID, Kind, Of, Code, Detail, Op, Agent string
	Raw                                   string
}

// ledger reads all records of an organisation.
func (w *world) ledger(t testing.TB, admin string) []entry {
	t.Helper()
	var out []entry
	for from := uint64(0); ; {
		var page struct {
			Items []struct{ Record json.RawMessage }
			Next  *uint64
		}
		w.manage(t, admin, "GET", fmt.Sprintf("/api/v1/ledger/records?from=%d&limit=200", from), "", &page)
		for _, item := range page.Items {
			e := entry{Raw: string(item.Record)}
			if err := json.Unmarshal(item.Record, &e); err != nil {
				t.Fatal(err)
			}
			out = append(out, e)
		}
		if page.Next == nil {
			return out
		}
		from = *page.Next
	}
}

// find is the record with an id.
func (w *world) find(t testing.TB, admin, id string) entry {
	t.Helper()
	for _, e := range w.ledger(t, admin) {
		if e.ID == id {
			return e
		}
	}
	t.Fatalf("no record %q", id)
	return entry{}
}

// verified stops the gateway and verifies its ledger as anybody could.
func (w *world) verified(t testing.TB) {
	t.Helper()
	w.end(t)
	b, err := os.ReadFile(filepath.Join(w.dir, "keys", "ledger.pub"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ledger.ParseVerifierKeys(b)
	if err != nil {
		t.Fatal(err)
	}
	report, err := publish.Verify(context.Background(), filepath.Join(w.dir, "ledger"), publish.VerifyOptions{Keys: keys})
	if err != nil || report.Open != 0 || report.Bad != nil {
		t.Errorf("the ledger: %v, %d records open, %v", err, report.Open, report.Bad)
	}
}
