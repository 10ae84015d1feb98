package mcp_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/identity/ring"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/proxy"
	"github.com/gatewright/gatewright/gateway/proxy/mcp"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/store/storetest"
)

const (
	modern   = "2026-07-28"
	readTool = `{"name":"read","title":"Read","description":"reads","inputSchema":{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]},"annotations":{"readOnlyHint":true},"_meta":{"secret":1},"x-own":2}`
	sendTool = `{"name":"send","inputSchema":{"type":"object","properties":{"to":{"type":"string","x-mcp-header":"To"},"n":{"type":"integer","x-mcp-header":"Count"}}}}`
)

// book is a ledger in memory that counts uses.
type book struct {
	mu      sync.Mutex
	records []ledger.Record
	used    map[int32]uint32
	fail    bool
}

func (b *book) Append(_ context.Context, r *ledger.Record) (wal.Mark, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail {
		return wal.Mark{}, errors.New("disk full")
	}
	c := *r
	c.Policies = append([]string(nil), r.Policies...)
	b.records = append(b.records, c)
	return wal.Mark{Tenant: r.Tenant}, nil
}

func (b *book) Admit(ctx context.Context, r *ledger.Record, u wal.Use) (wal.Mark, error) {
	b.mu.Lock()
	if u.Max > 0 && b.used[u.Step] >= u.Max {
		b.mu.Unlock()
		return wal.Mark{}, wal.ErrUsed
	}
	b.used[u.Step]++
	b.mu.Unlock()
	return b.Append(ctx, r)
}

func (b *book) Settle(ctx context.Context, r *ledger.Record, receipt []byte) (wal.Mark, []byte, error) {
	m, err := b.Append(ctx, r)
	if err != nil {
		return m, receipt, err
	}
	return m, append(receipt, "receipt-"+r.ID...), nil
}

func (b *book) last() ledger.Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.records[len(b.records)-1]
}

// admitted is the record that a settled one is of.
func (b *book) admitted(settled ledger.Record) ledger.Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.records, func(r ledger.Record) bool { return r.ID == settled.Of })
	return b.records[i]
}

type lister map[string][]string

// List gives what is kept under the server's name, and beside tools the method.
func (l lister) List(_ context.Context, s catalogue.Server, method string) ([]json.RawMessage, error) {
	key := s.Tenant + "/" + s.Name
	if method != catalogue.ListTools {
		key += " " + method
	}
	list, ok := l[key]
	if !ok && method != catalogue.ListTools {
		return nil, catalogue.ErrNotOffered
	}
	out := []json.RawMessage{}
	for _, d := range list {
		out = append(out, json.RawMessage(d))
	}
	return out, nil
}

// shelf holds the plans.
type shelf map[merkle.Hash]*intent.Held

func (s shelf) Held(tenant string, root merkle.Hash) (*intent.Held, string, bool) {
	h, ok := s[root]
	if !ok || h.Plan().Tenant != tenant {
		return nil, "", false
	}
	return h, "active", true
}

// world is a data port with the MCP dialect over the whole row of stages; only what is behind the gateway is played.
type world struct {
	t       testing.TB
	people  *identity.Directory
	tools   *catalogue.Catalogue
	offers  lister
	signer  intent.Signer
	plans   shelf
	engines policies.Set
	book    *book
	line    *pipeline.Line
	dialect *mcp.Dialect
	seals   *ring.Ring
	base    string
	mu      sync.Mutex
	sent    []pipeline.Call                                // what was forwarded: Server, Name, Args and Meta
	reply   func(c *pipeline.Call) (pipeline.Reply, error) // what the upstream answers
	during  func(ctx context.Context)                      // what comes before its answer; nil: nothing

	key, evesKey string // runtime keys of acme and rival
	admin        string
	plan         *intent.Plan // the last one captured
	alice        identity.Caller
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		t: t, plans: shelf{}, book: &book{used: map[int32]uint32{}},
		offers: lister{"acme/files": {readTool, sendTool}, "rival/files": {readTool}},
		reply: func(*pipeline.Call) (pipeline.Reply, error) {
			return pipeline.Reply{Status: 200, Result: []byte(`{"content":[{"type":"text","text":"hi"}]}`)}, nil
		},
	}
	kept := storetest.NewMemory()
	w.seals = ring.New(kept, time.Hour, time.Now, rand.Reader)
	var err error
	w.people, err = identity.Open(t.Context(), identity.DefaultConfig(), kept, make([]byte, 32), time.Now, rand.Reader)
	w.must(err)
	config := catalogue.DefaultConfig()
	config.AllowPrivate = true
	w.tools, err = catalogue.Open(t.Context(), config, kept, w.offers, time.Now)
	w.must(err)
	for _, tenant := range []string{"acme", "rival"} {
		s, err := w.people.Bootstrap(t.Context(), tenant, identity.Seed{OrgName: tenant, Admin: "admin", Agent: "agent", Mode: identity.Test})
		w.must(err)
		w.addServer(tenant, "files")
		if tenant == "acme" {
			w.key, w.admin = s.RuntimeKey, s.AdminKey
			w.alice = w.caller(s.RuntimeKey)
		} else {
			w.evesKey = s.RuntimeKey
		}
	}
	w.build()
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) caller(key string) identity.Caller {
	w.t.Helper()
	c, err := w.people.Authenticate([]byte(key), time.Now())
	w.must(err)
	return c
}

// addServer adds a server with the tools the lister offers for it, and compiles the default policies anew.
func (w *world) addServer(tenant, name string) {
	w.t.Helper()
	s := catalogue.Server{Tenant: tenant, Name: name, URL: "http://127.0.0.1:1/mcp", Era: "auto", AllowPrivate: true, Enabled: true}
	w.must(w.tools.AddServer(w.t.Context(), tenant, s))
	w.refresh(tenant, name)
}

func (w *world) refresh(tenant, name string) {
	w.t.Helper()
	w.must(w.tools.Refresh(w.t.Context(), tenant, name))
	w.rule(tenant, policies.Default())
}

func (w *world) rule(tenant string, b *policies.Bundle) {
	w.t.Helper()
	e, err := policies.Compile(b, w.tools.Defs(tenant))
	w.must(err)
	w.engines.Swap(tenant, e)
}

func (w *world) build() {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	w.must(err)
	keys := intent.NewKeys()
	w.must(keys.Add("gatewright", "k1", public, time.Time{}))
	w.signer = intent.Signer{Issuer: "gatewright", KeyID: "k1", Key: private}
	verifier := intent.NewVerifier(intent.VerifierConfig{Audience: "gatewright", Keys: keys, CacheEntries: 16, MaxLifetime: time.Hour})
	used := func(_ merkle.Hash, step int32) uint32 {
		w.book.mu.Lock()
		defer w.book.mu.Unlock()
		return w.book.used[step]
	}
	w.line = &pipeline.Line{
		Stages: []pipeline.Stage{
			stages.Identify{Directory: w.people}, stages.Quota{}, stages.Read{}, stages.Retry{Answers: &pipeline.Answers{}, Verifier: verifier},
			stages.Intent{Verifier: verifier, Plans: w.plans, Tools: w.tools, Used: used}, stages.Decide{Policies: &w.engines},
		},
		Ledger: w.book, Upstream: w, Strangers: &pipeline.Strangers{}, Instance: "main", Receipts: true,
		Now: time.Now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
	}
	w.dialect = &mcp.Dialect{Line: w.line, Catalogue: w.tools, Policies: &w.engines, Version: "1.2.3", JSON: canon.DefaultLimits(), Cursors: w.seals}
}

// Forward plays the server behind the gateway.
func (w *world) Forward(ctx context.Context, c *pipeline.Call) error {
	if !c.Decision.Allowed() || c.Plan && !c.Grant.Valid() {
		w.t.Errorf("%s %s/%s was forwarded without being judged", c.Op, c.Server, c.Name)
	}
	w.mu.Lock()
	w.sent = append(w.sent, pipeline.Call{Op: c.Op, Action: c.Action, Server: c.Server, Name: c.Name, Args: bytes.Clone(c.Args), Meta: bytes.Clone(c.Meta), Extra: bytes.Clone(c.Extra)})
	w.mu.Unlock()
	if w.during != nil {
		w.during(ctx)
	}
	var err error
	c.Reply, err = w.reply(c)
	return err
}

func (w *world) forwarded() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.sent)
}

// listen serves the dialect on a data port.
func (w *world) listen() {
	w.t.Helper()
	log := slog.New(slog.DiscardHandler)
	s := proxy.New(proxy.Config{
		MaxBody: 1 << 20, MaxHeader: 16384, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxConns: 100,
	}, w.line, map[string]proxy.Route{"mcp": w.dialect}, func() error { return nil }, log)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln, nil) }()
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		http.DefaultClient.CloseIdleConnections()
		if err := errors.Join(s.Shutdown(ctx), <-done); err != nil {
			w.t.Error(err)
		}
	})
	w.base = "http://" + ln.Addr().String()
}

// answer is what came back, read strictly.
type answer struct {
	status int
	header http.Header
	raw    []byte

	id, result []byte
	code       int
	message    string
	data       map[string]any
}

// send makes one request and holds the answer to what every answer is: strict JSON, JSON-RPC 2.0, a result or an error.
func (w *world) send(method, path, body string, headers map[string]string) *answer {
	w.t.Helper()
	if w.base == "" {
		w.listen()
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.base+path, strings.NewReader(body))
	w.must(err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+w.key)
	for k, v := range headers {
		if v == "" {
			r.Header.Del(k)
		} else {
			r.Header.Set(k, v)
		}
	}
	resp, err := http.DefaultClient.Do(r)
	w.must(err)
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header}
	a.raw, err = io.ReadAll(resp.Body)
	w.must(err)
	if err := a.read(); err != nil {
		w.t.Errorf("%s: %v", body, err)
	}
	return a
}

func (a *answer) read() error {
	if a.status == http.StatusAccepted {
		if len(a.raw) != 0 {
			return fmt.Errorf("202 with a body %q", a.raw)
		}
		return nil
	}
	if err := canon.Check(a.raw, canon.DefaultLimits()); err != nil {
		return fmt.Errorf("the answer is not strict JSON: %w: %s", err, a.raw)
	}
	version, _ := canon.Get(a.raw, "jsonrpc")
	id, hasID := canon.Get(a.raw, "id")
	result, hasResult := canon.Get(a.raw, "result")
	failure, hasError := canon.Get(a.raw, "error")
	if string(version) != `"2.0"` || !hasID || hasResult == hasError {
		return fmt.Errorf("the answer is no JSON-RPC response: %s", a.raw)
	}
	a.id, a.result = id, result
	if !hasError {
		return nil
	}
	var e struct {
		Code    int
		Message string
		Data    map[string]any
	}
	if err := json.Unmarshal(failure, &e); err != nil || e.Code == 0 || e.Message == "" {
		return fmt.Errorf("the error is misshapen: %w: %s", err, failure)
	}
	a.code, a.message, a.data = e.Code, e.Message, e.Data
	return nil
}

// old posts a message of the handshake era.
func (w *world) old(body string, headers map[string]string) *answer {
	w.t.Helper()
	return w.send("POST", "/mcp", body, headers)
}

// new posts a message of the stateless era, with the headers and the _meta that it asks for. params have no _meta.
func (w *world) new(method, name, params string, headers map[string]string) *answer {
	w.t.Helper()
	h := map[string]string{"MCP-Protocol-Version": modern, "Mcp-Method": method}
	if name != "" {
		h["Mcp-Name"] = name
	}
	maps.Copy(h, headers)
	meta := `"_meta":{"io.modelcontextprotocol/protocolVersion":"` + modern + `","io.modelcontextprotocol/clientCapabilities":{}}`
	if params != "" {
		meta += ","
	}
	return w.send("POST", "/mcp", `{"jsonrpc":"2.0","id":7,"method":"`+method+`","params":{`+meta+params+`}}`, h)
}

// token captures a plan and returns a token for it.
func (w *world) token(draft string) string {
	w.t.Helper()
	p, err := intent.ParseDraft([]byte(draft), intent.DefaultLimits())
	w.must(err)
	p.Tenant, p.User, p.Agent = "acme", w.alice.User(), w.alice.Agent()
	for i := range p.Steps {
		if tool, ok := w.tools.Find("acme", p.Steps[i].Op, p.Steps[i].Server, p.Steps[i].Tool); ok {
			p.Steps[i].Schema = tool.SchemaHash
		}
	}
	w.must(p.Seal(rand.Reader))
	held, err := intent.NewHeld(&p)
	w.must(err)
	w.plans[held.Root()], w.plan = held, &p
	at := time.Now().Unix()
	text, err := w.signer.Mint(intent.Claims{
		Subject: p.User, Audience: "gatewright", ID: "tok_1", Tenant: "acme", Agent: p.Agent, KeyID: w.alice.KeyID(),
		PlanID: "pln_1", PlanNonce: p.Nonce, PlanHash: p.Hash(), PlanRoot: held.Root(), PlanSize: uint32(len(p.Steps)),
		IssuedAt: at, NotBefore: at, Expires: at + 600, PlanExpires: at + 3000,
	})
	w.must(err)
	return text
}

// anything is a token that lets every call of read and send of a server pass, any number of times.
func (w *world) anything(server string) string {
	return w.token(`{"steps":[{"server":"` + server + `","tool":"read","where":{"path":{"open":true}},"uses":0},
		{"server":"` + server + `","tool":"send","additional":true,"uses":0}]}`)
}

const callRead = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"path":"/a"}}}`
