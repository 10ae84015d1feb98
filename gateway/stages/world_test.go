package stages_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/store/storetest"
)

const (
	issuer   = "gatewright"
	audience = "gatewright"
	readTool = `{"name":"read","inputSchema":{"type":"object","properties":{"path":{"type":"string","maxLength":64},"limit":{"type":"integer","minimum":1}},"required":["path"],"additionalProperties":false}}`
	sendTool = `{"name":"send","inputSchema":{"type":"object","properties":{"to":{"type":"string"}}},"annotations":{"destructiveHint":true}}`
)

// lister offers the tools it is told, by server.
type lister map[string][]string

func (l lister) List(_ context.Context, s catalogue.Server, method string) ([]json.RawMessage, error) {
	if method != catalogue.ListTools {
		return nil, catalogue.ErrNotOffered
	}
	var out []json.RawMessage
	for _, t := range l[s.Name] {
		out = append(out, json.RawMessage(t))
	}
	return out, nil
}

// shelf holds plans as the register does.
type shelf map[string]map[merkle.Hash]onShelf

type onShelf struct {
	held  *intent.Held
	state string
}

func (s shelf) Held(tenant string, root merkle.Hash) (*intent.Held, string, bool) {
	p, ok := s[tenant][root]
	return p.held, p.state, ok
}

// world has two tenants with the same server, three agents of the first and one of the second.
type world struct {
	t        testing.TB
	people   *identity.Directory
	tools    *catalogue.Catalogue
	offers   lister
	keys     *intent.Keys
	signer   intent.Signer
	verifier *intent.Verifier
	plans    shelf
	used     map[int32]uint32
	engines  policies.Set
	now      time.Time

	alice, second, bob, eve    identity.Caller // alice's agent with its two keys, another agent, another tenant's agent
	aliceKey, adminKey, eveKey string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, offers: lister{"files": {readTool, sendTool}}, plans: shelf{}, used: map[int32]uint32{}, now: time.Now()}
	kept := storetest.NewMemory()
	var err error
	w.people, err = identity.Open(t.Context(), identity.DefaultConfig(), kept, make([]byte, 32), time.Now, rand.Reader)
	w.must(err)
	w.populate()
	config := catalogue.DefaultConfig()
	config.AllowPrivate = true
	w.tools, err = catalogue.Open(t.Context(), config, kept, w.offers, time.Now)
	w.must(err)
	for _, tenant := range []string{"acme", "rival"} {
		s := catalogue.Server{Tenant: tenant, Name: "files", URL: "http://127.0.0.1:1/mcp", Era: "auto", AllowPrivate: true, Enabled: true}
		w.must(w.tools.AddServer(t.Context(), tenant, s))
		w.must(w.tools.Refresh(t.Context(), tenant, "files"))
		e, err := policies.Compile(policies.Default(), w.tools.Defs(tenant))
		w.must(err)
		w.engines.Swap(tenant, e)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	w.must(err)
	w.keys = intent.NewKeys()
	w.must(w.keys.Add(issuer, "k1", public, time.Time{}))
	w.signer = intent.Signer{Issuer: issuer, KeyID: "k1", Key: private}
	w.verifier = intent.NewVerifier(intent.VerifierConfig{Audience: audience, Keys: w.keys, CacheEntries: 16, MaxLifetime: time.Hour})
	return w
}

func (w *world) populate() {
	seeded := w.seed("acme")
	w.aliceKey, w.adminKey = seeded.RuntimeKey, seeded.AdminKey
	w.alice = w.caller(seeded.RuntimeKey)
	w.second = w.caller(w.newKey("acme", seeded.Agent.ID))
	bob, err := w.people.CreateAgent(w.t.Context(), "acme", identity.NewAgent{Name: "bob", Owner: seeded.User.ID, TalksTo: []string{"elsewhere"}})
	w.must(err)
	w.bob = w.caller(w.newKey("acme", bob.ID))
	w.eveKey = w.seed("rival").RuntimeKey
	w.eve = w.caller(w.eveKey)
}

func (w *world) seed(tenant string) identity.Seeded {
	w.t.Helper()
	s, err := w.people.Bootstrap(w.t.Context(), tenant, identity.Seed{OrgName: tenant, Admin: "admin", Agent: "agent", Mode: identity.Test})
	w.must(err)
	return s
}

func (w *world) newKey(tenant, agent string) string {
	w.t.Helper()
	_, text, err := w.people.CreateKey(w.t.Context(), tenant, identity.NewKey{Kind: identity.Runtime, Agent: agent, Name: "k", Mode: identity.Test})
	w.must(err)
	return text
}

func (w *world) caller(key string) identity.Caller {
	w.t.Helper()
	c, err := w.people.Authenticate([]byte(key), time.Now())
	w.must(err)
	return c
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// plan seals what a caller drafts, with the schemas that the tools have now.
func (w *world) plan(who identity.Caller, draft string) *intent.Plan {
	w.t.Helper()
	p, err := intent.ParseDraft([]byte(draft), intent.DefaultLimits())
	w.must(err)
	p.Tenant, p.User, p.Agent = who.Tenant(), who.User(), who.Agent()
	for i := range p.Steps {
		if tool, ok := w.tools.Lookup(p.Tenant, p.Steps[i].Server, p.Steps[i].Tool); ok {
			p.Steps[i].Schema = tool.SchemaHash
		}
	}
	w.must(p.Seal(rand.Reader))
	return &p
}

// hold puts the plan on the shelf.
func (w *world) hold(p *intent.Plan, state string) {
	w.t.Helper()
	h, err := intent.NewHeld(p)
	w.must(err)
	if w.plans[p.Tenant] == nil {
		w.plans[p.Tenant] = map[merkle.Hash]onShelf{}
	}
	w.plans[p.Tenant][h.Root()] = onShelf{h, state}
}

// token is a token of the plan for its own agent and the given key, changed as the test says.
func (w *world) token(p *intent.Plan, who identity.Caller, change func(*intent.Claims)) []byte {
	w.t.Helper()
	at := w.now.Unix()
	c := intent.Claims{
		Subject: who.User(), Audience: audience, ID: "tok_1", Tenant: who.Tenant(), Agent: who.Agent(), KeyID: who.KeyID(),
		PlanID: "pln_1", PlanNonce: p.Nonce, PlanHash: p.Hash(), PlanRoot: p.Tree().Root(), PlanSize: uint32(len(p.Steps)),
		IssuedAt: at, NotBefore: at, Expires: at + 600, PlanExpires: at + 3600,
	}
	if change != nil {
		change(&c)
	}
	text, err := w.signer.Mint(c)
	w.must(err)
	return []byte(text)
}

// intent is the stage over what the world holds.
func (w *world) intent() stages.Intent {
	return stages.Intent{Verifier: w.verifier, Plans: w.plans, Tools: w.tools, Used: func(_ merkle.Hash, step int32) uint32 { return w.used[step] }}
}

// call is a tools/call as the dialect would leave it.
func (w *world) call(who identity.Caller, tool, args string, token []byte) *pipeline.Call {
	return &pipeline.Call{
		Started: w.now, Caller: who, Route: "/mcp", Remote: netip.MustParseAddr("127.0.0.1"),
		Op: "tools/call", Action: "call_tool", Plan: true, Server: "files", Name: tool, Args: []byte(args), Shown: pipeline.Shown{Token: token},
	}
}

// line is the whole row over a real ledger.
func (w *world) line(up pipeline.Forwarder) (*pipeline.Line, *wal.Log) {
	w.t.Helper()
	dir := w.t.TempDir()
	_, signer, err := ed25519.GenerateKey(rand.Reader)
	w.must(err)
	config := wal.DefaultConfig()
	config.Sync, config.SegmentBytes = wal.SyncWrite, 1<<20
	log, err := wal.Open(w.t.Context(), wal.Options{
		Config: config, Dir: filepath.Join(dir, "ledger"), Instance: "main", Origin: "gatewright.local", Signer: signer,
		ChainKeyFile: filepath.Join(dir, "chain"), RootKeyFile: filepath.Join(dir, "root"), Now: time.Now, Rand: rand.Reader,
	})
	w.must(err)
	w.t.Cleanup(func() { w.must(log.Close(context.Background())) })
	in := w.intent()
	in.Used = log.Used
	return &pipeline.Line{
		Stages: []pipeline.Stage{
			stages.Identify{Directory: w.people}, stages.Quota{}, stages.Read{}, stages.Retry{Answers: &pipeline.Answers{}, Verifier: w.verifier}, in,
			stages.Decide{Policies: &w.engines, Done: log.Done},
		},
		Ledger: log, Upstream: up, Strangers: &pipeline.Strangers{}, Instance: "main", Receipts: true,
		Now: time.Now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
	}, log
}

// wantDenial checks a refusal's code and, where given, what the ledger is told.
func wantDenial(t *testing.T, err error, code pipeline.Code, reason string) *pipeline.Denial {
	t.Helper()
	var d *pipeline.Denial
	if !errors.As(err, &d) {
		t.Fatalf("%v is no refusal, want %s", err, code)
	}
	if d.Code != code {
		t.Fatalf("refused with %v, want %s", d, code)
	}
	if reason != "" && d.Reason != reason {
		t.Errorf("the ledger is told %q, want %q", d.Reason, reason)
	}
	return d
}
