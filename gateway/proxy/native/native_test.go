package native_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/plans"
	"github.com/gatewright/gatewright/gateway/proxy"
	"github.com/gatewright/gatewright/gateway/proxy/native"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/store/storetest"
)

// world is a data port with the native dialect over the real register and a real ledger.
type world struct {
	t        testing.TB
	people   *identity.Directory
	register *plans.Register
	verifier *intent.Verifier
	log      *wal.Log
	line     *pipeline.Line
	base     string

	alice, second, bob, eve, admin string // keys: acme's agent, its second key, another agent, another tenant's, an admin
}

const draft = `{"goal":"g","steps":[{"server":"files","tool":"read","args":{"path":"/a"}}]}`

// tools has the tool files/read for every tenant.
type tools struct{}

func (tools) Lookup(_, _, server, tool string) (merkle.Hash, func([]byte) error, bool) {
	ok := server == "files" && tool == "read"
	return merkle.LeafHash([]byte("schema")), func(args []byte) error {
		if _, ok := canon.Get(args, "path"); !ok {
			return errors.New("path is required")
		}
		return nil
	}, ok
}

type noTools struct{}

func (noTools) Quarantined(string, string, string) bool { return false }

func (noTools) Find(string, string, string, string) (*catalogue.Tool, bool) { return nil, false }

type noPlans struct{}

func (noPlans) Held(string, merkle.Hash) (*intent.Held, string, bool) { return nil, "", false }

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t}
	kept := storetest.NewMemory()
	var err error
	w.people, err = identity.Open(t.Context(), identity.DefaultConfig(), kept, make([]byte, 32), time.Now, rand.Reader)
	w.must(err)
	var engines policies.Set
	for _, tenant := range []string{"acme", "rival"} {
		s, err := w.people.Bootstrap(t.Context(), tenant, identity.Seed{OrgName: tenant, Admin: "admin", Agent: "agent", Mode: identity.Test})
		w.must(err)
		e, err := policies.Compile(policies.Default(), nil)
		w.must(err)
		engines.Swap(tenant, e)
		if tenant == "rival" {
			w.eve = s.RuntimeKey
			continue
		}
		w.alice, w.admin = s.RuntimeKey, s.AdminKey
		bob, err := w.people.CreateAgent(t.Context(), "acme", identity.NewAgent{Name: "bob", Owner: s.User.ID})
		w.must(err)
		w.second, w.bob = w.newKey(s.Agent.ID), w.newKey(bob.ID)
	}
	w.open(kept, &engines)
	return w
}

func (w *world) newKey(agent string) string {
	w.t.Helper()
	_, text, err := w.people.CreateKey(w.t.Context(), "acme", identity.NewKey{Kind: identity.Runtime, Agent: agent, Name: "k"})
	w.must(err)
	return text
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) open(kept *storetest.Memory, engines *policies.Set) {
	w.t.Helper()
	dir := w.t.TempDir()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	w.must(err)
	config := wal.DefaultConfig()
	config.Sync, config.SegmentBytes = wal.SyncWrite, 1<<20
	w.log, err = wal.Open(w.t.Context(), wal.Options{
		Config: config, Dir: filepath.Join(dir, "ledger"), Instance: "main", Origin: "gatewright.local", Signer: private,
		ChainKeyFile: filepath.Join(dir, "chain"), RootKeyFile: filepath.Join(dir, "root"), Now: time.Now, Rand: rand.Reader,
	})
	w.must(err)
	w.t.Cleanup(func() { w.must(w.log.Close(context.Background())) })
	keys := intent.NewKeys()
	w.must(keys.Add("gatewright", "k1", public, time.Time{}))
	w.verifier = intent.NewVerifier(intent.VerifierConfig{Audience: "gatewright", Keys: keys, MaxLifetime: 24 * time.Hour})
	pc := plans.DefaultConfig()
	pc.PlansPerAgent = 3
	w.register, err = plans.Open(w.t.Context(), pc, plans.Deps{
		Store: kept, Ledger: w.log, Verifier: w.verifier, Signer: intent.Signer{Issuer: "gatewright", KeyID: "k1", Key: private},
		Tools: tools{}, Now: time.Now, Rand: rand.Reader,
	})
	w.must(err)
	w.t.Cleanup(w.register.Close)
	log := slog.New(slog.DiscardHandler)
	w.line = &pipeline.Line{
		Stages: []pipeline.Stage{
			stages.Identify{Directory: w.people}, stages.Quota{}, stages.Read{}, stages.Retry{Answers: &pipeline.Answers{}, Verifier: w.verifier},
			stages.Intent{Verifier: w.verifier, Plans: noPlans{}, Tools: noTools{}, Used: w.log.Used}, stages.Decide{Policies: engines},
		},
		Ledger: w.log, Strangers: &pipeline.Strangers{}, Instance: "main", Receipts: true, Now: time.Now, Rand: rand.Reader, Log: log,
	}
	w.serve(map[string]proxy.Route{
		"api":         &native.Dialect{Line: w.line, Plans: w.register, JSON: canon.Limits{Bytes: 1 << 16, Depth: 16, Values: 1000}},
		".well-known": &native.Keys{Version: "1.2.3", LedgerKeys: []string{w.log.VerifierKey().String()}, JWKS: func() []byte { return keys.JWKS("gatewright") }},
	}, log)
}

func (w *world) serve(routes map[string]proxy.Route, log *slog.Logger) {
	w.t.Helper()
	s := proxy.New(proxy.Config{MaxBody: 1 << 17, MaxHeader: 16384, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxConns: 100},
		w.line, routes, func() error { return nil }, log)
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

type answer struct {
	status int
	header http.Header
	body   []byte
	code   string // of a refusal
	record string
}

// ask makes one request; every answer must be strict JSON, and a refusal says code, message and hint.
func (w *world) ask(method, path, key, body string, headers ...string) answer {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.base+path, strings.NewReader(body))
	w.must(err)
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	w.must(err)
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header, record: resp.Header.Get("Gatewright-Record")}
	a.body, err = io.ReadAll(resp.Body)
	w.must(err)
	if method == http.MethodHead {
		return a
	}
	w.must(canon.Check(a.body, canon.DefaultLimits()))
	if a.status >= 400 {
		var e struct{ Code, Message, Hint, Record string }
		w.must(json.Unmarshal(a.body, &e))
		if e.Code == "" || e.Message == "" || e.Hint == "" || e.Record != a.record {
			w.t.Errorf("%s %s: %s", method, path, a.body)
		}
		a.code = e.Code
	}
	return a
}

// capture captures a plan and returns its id.
func (w *world) capture(key string) string {
	w.t.Helper()
	a := w.ask("POST", "/api/v1/plans", key, draft)
	var p struct{ ID string }
	if err := json.Unmarshal(a.body, &p); err != nil || a.status != 201 || p.ID == "" {
		w.t.Fatalf("%d %s", a.status, a.body)
	}
	return p.ID
}

// last is the newest record of a tenant.
func (w *world) last(tenant string) ledger.Record {
	w.t.Helper()
	entries, err := w.log.Scan(w.t.Context(), tenant, w.log.Size(tenant)-1, 1)
	w.must(err)
	r, err := entries[0].Record()
	w.must(err)
	return r
}

func TestNobodyWithoutARuntimeKeyIsToldAnything(t *testing.T) {
	w := newWorld(t)
	id := w.capture(w.alice)
	for _, path := range []string{"/api/v1/plans", "/api/v1/plans/" + id, "/api/v1/plans/" + id + "/tokens", "/api/v1/nothing", "/api", "/api/v1/organisations"} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			if a := w.ask(method, path, "", draft); a.status != 401 || a.record != "" {
				t.Errorf("%s %s without a key: %d %s", method, path, a.status, a.body)
			}
			if a := w.ask(method, path, w.admin, draft); a.status != 403 || a.code != "wrong_key_kind" {
				t.Errorf("%s %s with an admin key: %d %s", method, path, a.status, a.body)
			}
		}
	}
	if n := w.register.Stats().Plans; n != 1 {
		t.Errorf("%d plans", n)
	}
}

func TestAddressesAndMethodsThatAreNotThereAreRefusedAndRecorded(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/api", 404, ""}, {"GET", "/api/", 404, ""}, {"GET", "/api/v1", 404, ""}, {"GET", "/api/v2/plans", 404, ""}, {"POST", "/api/v1/plans/", 405, "GET"},
		{"POST", "/api/v1/plan", 404, ""}, {"POST", "/api/v1/plans/x/tokens/y", 404, ""}, {"POST", "/api/v1/plans/x/steps", 404, ""}, {"POST", "/api/v1/agents", 404, ""},
		{"GET", "/api/v1/plans", 405, "POST"}, {"PUT", "/api/v1/plans", 405, "POST"}, {"DELETE", "/api/v1/plans/x", 405, "GET"}, {"HEAD", "/api/v1/plans/x", 405, "GET"},
		{"GET", "/api/v1/plans/x/tokens", 405, "POST"}, {"POST", "/api/v1/plans/x", 405, "GET"},
	} {
		a := w.ask(c.method, c.path, w.alice, draft)
		if a.status != c.status || a.header.Get("Allow") != c.allow || a.record == "" || a.header.Get("Gatewright-Receipt") == "" {
			t.Errorf("%s %s: %d, Allow %q, want %d: %s", c.method, c.path, a.status, a.header.Get("Allow"), c.status, a.body)
		}
	}
}

func TestDraftsThatAreNotOneAreRefused(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		body    string
		headers []string
		status  int
		code    string
	}{
		"empty":               {"", nil, 400, "malformed"},
		"not JSON":            {"{", nil, 400, "malformed"},
		"array":               {"[]", nil, 400, "malformed"},
		"null":                {"null", nil, 400, "malformed"},
		"duplicate goal":      {`{"goal":"a","goal":"b","steps":[]}`, nil, 400, "malformed"},
		"not UTF-8":           {"{\"goal\":\"\xff\"}", nil, 400, "malformed"},
		"deep":                {`{"goal":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}`, nil, 400, "malformed"},
		"larger than a plan":  {`{"goal":"` + strings.Repeat("a", 1<<16) + `"}`, nil, 400, "malformed"},
		"larger than a body":  {`{"goal":"` + strings.Repeat("a", 1<<17) + `"}`, nil, 413, "too_large"},
		"unknown member":      {`{"goal":"g","tenant":"rival","steps":[{"server":"files","tool":"read"}]}`, nil, 422, "invalid_plan"},
		"no steps":            {`{"goal":"g"}`, nil, 422, "invalid_plan"},
		"empty steps":         {`{"goal":"g","steps":[]}`, nil, 422, "invalid_plan"},
		"unknown tool":        {`{"steps":[{"server":"files","tool":"none"}]}`, nil, 422, "invalid_plan"},
		"unknown server":      {`{"steps":[{"server":"none","tool":"read"}]}`, nil, 422, "invalid_plan"},
		"breaks the schema":   {`{"steps":[{"server":"files","tool":"read","args":{"other":1}}]}`, nil, 422, "invalid_plan"},
		"unknown constraint":  {`{"steps":[{"server":"files","tool":"read","where":{"path":{"glob":"*"}}}]}`, nil, 422, "invalid_plan"},
		"text, not JSON":      {draft, []string{"Content-Type", "text/plain"}, 400, "unsupported"},
		"no type":             {draft, []string{"Content-Type", ""}, 400, "unsupported"},
		"another tenant":      {draft, []string{"X-Organization-Id", "rival"}, 404, "not_found"},
		"huge retry key":      {draft, []string{"Idempotency-Key", strings.Repeat("k", 256)}, 400, "malformed"},
		"compressed, it says": {draft, []string{"Content-Encoding", "gzip"}, 400, "unsupported"},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.ask("POST", "/api/v1/plans", w.alice, c.body, c.headers...)
			if a.status != c.status || a.code != c.code {
				t.Errorf("%d %s, want %d %s: %s", a.status, a.code, c.status, c.code, a.body)
			}
		})
	}
	if s := w.register.Stats(); s.Plans != 0 {
		t.Errorf("%d plans were captured", s.Plans)
	}
}

func TestLifetimesThatMakeNoSenseAreRefused(t *testing.T) {
	w := newWorld(t)
	path := "/api/v1/plans/" + w.capture(w.alice) + "/tokens"
	for _, body := range []string{
		`{"ttl_seconds":0}`, `{"ttl_seconds":-1}`, `{"ttl_seconds":1.5}`, `{"ttl_seconds":1e3}`, `{"ttl_seconds":"900"}`, `{"ttl_seconds":null}`, `{"ttl_seconds":true}`, `{"ttl_seconds":[1]}`,
		`{"ttl_seconds":9007199254740991}`, `{"ttl_seconds":315360001}`, `{"ttl_seconds":1,"ttl_seconds":2}`, `{"ttl":900}`, `{"TTL_SECONDS":900}`, `{"ttl_seconds":900,"key":"k"}`, `[]`, ``, `900`, `null`,
	} {
		if a := w.ask("POST", path, w.alice, body); a.status != 400 || a.code != "malformed" {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	if n := w.register.Stats().Tokens; n != 0 {
		t.Errorf("%d tokens were issued", n)
	}
}

func TestNobodyElsesPlanIsFound(t *testing.T) {
	w := newWorld(t)
	id := w.capture(w.alice)
	unknown := w.ask("GET", "/api/v1/plans/pln_none", w.alice, "")
	for name, key := range map[string]string{"another agent": w.bob, "another tenant": w.eve} {
		view := w.ask("GET", "/api/v1/plans/"+id, key, "")
		token := w.ask("POST", "/api/v1/plans/"+id+"/tokens", key, "{}")
		if view.status != 404 || token.status != 404 {
			t.Errorf("%s: %d, %d", name, view.status, token.status)
		}
		if got, want := strings.Replace(string(view.body), view.record, "", 1), strings.Replace(string(unknown.body), unknown.record, "", 1); got != want {
			t.Errorf("%s: told %s, of an unknown one %s", name, got, want)
		}
	}
	// The same agent's other key sees the plan, and gets a token bound to itself.
	if a := w.ask("GET", "/api/v1/plans/"+id, w.second, ""); a.status != 200 {
		t.Errorf("the agent's other key: %d", a.status)
	}
	if r := w.last("acme"); r.Op != "plans/get" || r.Tool != id {
		t.Errorf("recorded %s of %q, want the plan %s", r.Op, r.Tool, id)
	}
}

func TestAPlanIsCapturedSeenAndGivenATokenForItsOwnKey(t *testing.T) {
	w := newWorld(t)
	a := w.ask("POST", "/api/v1/plans", w.alice, draft)
	var p plans.Captured
	if err := json.Unmarshal(a.body, &p); err != nil || a.status != 201 || p.Size != 1 || p.State != plans.Active || len(p.Steps) != 1 {
		t.Fatalf("%d %s (%v)", a.status, a.body, err)
	}
	sealed, err := intent.ParsePlan(p.Plan)
	w.must(err)
	if sealed.Hash() != p.Hash || sealed.Tree().Root() != p.Root || sealed.Tenant != "acme" {
		t.Error("the plan given back is not the one captured")
	}
	receipt, err := ledger.ParseReceipt([]byte(a.header.Get("Gatewright-Receipt")))
	w.must(err)
	record, err := receipt.Record()
	w.must(err)
	if record.ID != a.record || record.Op != "plans/capture" || record.Outcome != "ok" {
		t.Errorf("receipt of %+v", record)
	}
	seen := w.ask("GET", "/api/v1/plans/"+p.ID, w.alice, "")
	if !strings.Contains(string(seen.body), p.Root.String()) || seen.status != 200 {
		t.Errorf("%d %s", seen.status, seen.body)
	}
	a = w.ask("POST", "/api/v1/plans/"+p.ID+"/tokens", w.alice, `{"ttl_seconds":60}`)
	var issued plans.Issued
	if err := json.Unmarshal(a.body, &issued); err != nil || a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	tok, err := w.verifier.Token([]byte(issued.Token), time.Now())
	w.must(err)
	if c := tok.Claims(); c.Tenant != "acme" || c.PlanID != p.ID || c.PlanRoot != p.Root || c.Expires-c.IssuedAt > 61 {
		t.Errorf("claims %+v", c)
	}
	if a.header.Get("Cache-Control") != "no-store" {
		t.Error("a token may be kept by a cache")
	}
}

func TestARetryGetsTheSameTokenAndNotAnotherPlans(t *testing.T) {
	w := newWorld(t)
	one, two := w.capture(w.alice), w.capture(w.alice)
	ask := func(id string) answer {
		return w.ask("POST", "/api/v1/plans/"+id+"/tokens", w.alice, "{}", "Idempotency-Key", "k")
	}
	first, again := ask(one), ask(one)
	if string(first.body) != string(again.body) || first.status != 201 || again.status != 201 || w.register.Stats().Tokens != 1 {
		t.Errorf("%s, then %s", first.body, again.body)
	}
	if a := ask(two); a.code != "retry_mismatch" {
		t.Errorf("the key for another plan: %d %s", a.status, a.body)
	}
	see := func(id string) answer {
		return w.ask("GET", "/api/v1/plans/"+id, w.alice, "", "Idempotency-Key", "g")
	}
	see(one)
	if a := see(two); a.code != "retry_mismatch" {
		t.Errorf("looking at another plan: %d %s", a.status, a.body)
	}
}

func TestEndedPlansAndFullRegistersSaySo(t *testing.T) {
	w := newWorld(t)
	id := w.capture(w.alice)
	c, err := w.people.Authenticate([]byte(w.alice), time.Now())
	w.must(err)
	who := plans.Actor{Owner: plans.Owner{Tenant: c.Tenant(), User: c.User(), Agent: c.Agent(), KeyID: c.KeyID()}}
	w.must(w.register.SetState(t.Context(), who, id, plans.Failed, ""))
	if a := w.ask("POST", "/api/v1/plans/"+id+"/tokens", w.alice, "{}"); a.status != 403 || a.code != "plan_inactive" {
		t.Errorf("%d %s", a.status, a.body)
	}
	for range 3 { // the one that failed takes no place
		w.capture(w.alice)
	}
	if a := w.ask("POST", "/api/v1/plans", w.alice, draft); a.code != "invalid_plan" || !strings.Contains(string(a.body), "limit") && !strings.Contains(string(a.body), "plans") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// broken is a register that fails.
type broken struct{}

func (broken) Capture(context.Context, plans.Owner, []byte) (plans.Captured, error) {
	return plans.Captured{}, errors.New("disk on fire at /secret")
}

func (broken) Token(context.Context, plans.Owner, string, plans.TokenOptions) (plans.Issued, error) {
	panic("boom at /secret")
}

func (broken) View(context.Context, plans.Owner, string) (plans.Captured, error) {
	return plans.Captured{Plan: json.RawMessage("{broken")}, nil
}

func TestAFaultIsToldAsAFaultAndNothingElse(t *testing.T) {
	w := newWorld(t)
	w.serve(map[string]proxy.Route{"api": &native.Dialect{Line: w.line, Plans: broken{}, JSON: canon.DefaultLimits()}}, slog.New(slog.DiscardHandler))
	for _, a := range []answer{
		w.ask("POST", "/api/v1/plans", w.alice, draft), w.ask("GET", "/api/v1/plans/x", w.alice, ""), w.ask("POST", "/api/v1/plans/x/tokens", w.alice, "{}"),
	} {
		if a.status != 500 || a.code != "internal" || strings.Contains(string(a.body), "secret") || a.record == "" {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}

func TestTheKeysAreOpenToAnybodyAndVerify(t *testing.T) {
	w := newWorld(t)
	a := w.ask("GET", "/.well-known/gatewright", "", "")
	var k struct {
		Version    string
		LedgerKeys []string `json:"ledger_keys"`
		JWKS       string   `json:"jwks_uri"`
	}
	if err := json.Unmarshal(a.body, &k); err != nil || a.status != 200 || k.Version != "1.2.3" || len(k.LedgerKeys) != 1 || k.JWKS != "/.well-known/jwks.json" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	pinned, err := ledger.ParseVerifierKeys([]byte(k.LedgerKeys[0] + "\n"))
	w.must(err)
	refused := w.ask("GET", "/api/v1/plans/none", w.alice, "")
	receipt, err := ledger.ParseReceipt([]byte(refused.header.Get("Gatewright-Receipt")))
	w.must(err)
	w.must(receipt.Verify(pinned))
	a = w.ask("GET", k.JWKS, "", "")
	if a.status != 200 || intent.NewKeys().AddJWKS("gatewright", a.body) != nil || strings.Contains(string(a.body), `"d"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	for path, want := range map[string]int{"/.well-known/none": 404, "/.well-known": 404, "/.well-known/": 404, "/.well-known/jwks.json/": 404} {
		if a := w.ask("GET", path, "", ""); a.status != want {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	for _, method := range []string{"POST", "DELETE", "PUT"} {
		if a := w.ask(method, "/.well-known/jwks.json", "", ""); a.status != 405 || a.header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d", method, a.status)
		}
	}
	if a := w.ask("HEAD", "/.well-known/jwks.json", "", ""); a.status != 200 || len(a.body) != 0 {
		t.Errorf("HEAD: %d %q", a.status, a.body)
	}
	if n := fmt.Sprint(w.log.Tenants()); n != "[acme]" {
		t.Errorf("open routes left records: %s", n)
	}
}
