package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/identity/vault"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/plans"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/store/storetest"
	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/filters"
)

// What there is: one tenant with one agent, and one server with two tools of which the plan has one.
const (
	tenant     = "acme"
	serverName = "files"
	issuer     = "gatewright"
	credential = "files-token"
	secret     = "s3cret-of-the-server"
	readTool   = `{"name":"read","inputSchema":{"type":"object","properties":{"path":{"type":"string","maxLength":200}},"required":["path"],"additionalProperties":false}}`
	sendTool   = `{"name":"send","inputSchema":{"type":"object","properties":{"path":{"type":"string"}}}}`
	draft      = `{"steps":[{"server":"files","tool":"read","where":{"path":{"open":true}},"uses":1000000}]}`
)

// limit is how long a call may be judged, by the clock that faults move.
const limit = 10 * time.Second

// timeout is how long an upstream may take.
const timeout = 400 * time.Millisecond

// mutation breaks the line on purpose, so that tests see what the program then finds.
type mutation struct {
	stage  func(pipeline.Stage) pipeline.Stage
	ledger func(*world, pipeline.Ledger) pipeline.Ledger
}

// world is a gateway without its ports: the real parts wired as gateway/server wires them, with seams between them.
type world struct {
	in  *injector
	dir string
	log *slog.Logger

	store    *storetest.Faulty
	people   *identity.Directory
	vault    atomic.Pointer[vault.Vault]
	tools    *catalogue.Catalogue
	client   *upstream.Client
	verifier *intent.Verifier
	signer   ed25519.PrivateKey // of the ledger
	engines  policies.Set
	runtime  *wasm.Runtime
	filter   *filterSeam
	main     *wal.Log
	standing chan struct{} // closed when the register of plans stands
	followed chan struct{} // closed when nobody follows main
	book     *book
	plans    *plans.Register
	line     *pipeline.Line

	seeded  identity.Seeded
	caller  identity.Caller
	planID  string
	token   []byte
	upward  atomic.Pointer[upstream.Target] // where the one server is
	witness *witness
	known   map[string]ledger.Kind // records that were seen in the log
	calls   int
	closers []func(context.Context) error

	groupEnd []func()
}

// nowhere is where the log goes. It is written in full, so that what formats its values is at work.
type nowhere struct{}

func (nowhere) Write(b []byte) (int, error) { return len(b), nil }

// open builds it. What was opened is closed by close, also after an error.
func open(ctx context.Context, dir string, m mutation) (w *world, err error) {
	w = &world{in: &injector{clock: &clock{}, ctx: newPatience()}, dir: dir, log: slog.New(slog.NewTextHandler(nowhere{}, nil))}
	w.book, w.known = &book{in: w.in}, map[string]ledger.Kind{}
	w.witness = &witness{w: w}
	for _, step := range []func(context.Context) error{
		w.openIdentity, w.openCatalogue, w.openPolicies, w.openFilter, w.openLedger, w.openPlans,
	} {
		if err := step(ctx); err != nil {
			return w, err
		}
	}
	w.openLine(m)
	return w, nil
}

func (w *world) close(ctx context.Context) error {
	var all []error
	for _, end := range slices.Backward(w.closers) {
		all = append(all, end(ctx))
	}
	return errors.Join(all...)
}

func (w *world) atGroupEnd(f func()) { w.groupEnd = append(w.groupEnd, f) }

func (w *world) atEnd(f func(context.Context) error) { w.closers = append(w.closers, f) }

func (w *world) now() time.Time { return w.in.clock.now() }

func (w *world) openIdentity(ctx context.Context) error {
	w.store = storetest.NewFaulty(storeSeam{storetest.NewMemory(), w.in})
	var err error
	if w.people, err = identity.Open(ctx, identity.DefaultConfig(), w.store, make([]byte, 32), w.now, rand.Reader); err != nil {
		return err
	}
	w.seeded, err = w.people.Bootstrap(ctx, tenant, identity.Seed{OrgName: "Acme", Admin: "admin", Agent: "agent", Mode: identity.Test})
	if err != nil {
		return err
	}
	if w.caller, err = w.people.Authenticate([]byte(w.seeded.RuntimeKey), w.now()); err != nil {
		return err
	}
	v, err := vault.Open(ctx, w.store, make([]byte, 32), rand.Reader)
	if err != nil {
		return err
	}
	w.vault.Store(v)
	return v.Put(ctx, tenant, credential, []byte(secret))
}

type lister struct{}

// List offers nothing beside tools.
func (lister) List(_ context.Context, _ catalogue.Server, method string) ([]json.RawMessage, error) {
	if method != catalogue.ListTools {
		return nil, catalogue.ErrNotOffered
	}
	return []json.RawMessage{json.RawMessage(readTool), json.RawMessage(sendTool)}, nil
}

func (w *world) openCatalogue(ctx context.Context) error {
	c := catalogue.DefaultConfig()
	c.Servers = []catalogue.Fixed{{Tenant: tenant, Name: serverName, Process: true, Credential: credential, Header: "Authorization", Prefix: "Bearer "}}
	var err error
	if w.tools, err = catalogue.Open(ctx, c, w.store, lister{}, w.now); err != nil {
		return err
	}
	if err := w.tools.Refresh(ctx, tenant, serverName); err != nil {
		return err
	}
	u := upstream.DefaultConfig()
	u.Timeout, u.ConnectTimeout, u.MaxResponse, u.Failures = timeout, timeout, 64<<10, 1<<20
	if w.client, err = upstream.New(upstream.Options{Config: u, Now: w.now}); err != nil {
		return err
	}
	w.atEnd(func(context.Context) error { w.client.Close(); return nil })
	w.upward.Store(&upstream.Target{Carrier: w.witness})
	return nil
}

func (w *world) openPolicies(context.Context) error {
	e, err := policies.Compile(policies.Default(), w.tools.Defs(tenant))
	w.engines.Swap(tenant, e)
	return err
}

func (w *world) openFilter(ctx context.Context) error {
	module, ok := filters.Module("redact-secrets")
	if !ok {
		return errors.New("the filter that comes along is not there")
	}
	var err error
	if w.runtime, err = wasm.New(ctx, wasm.DefaultConfig()); err != nil {
		return err
	}
	w.atEnd(w.runtime.Close)
	f, err := w.runtime.Load(ctx, "redact-secrets", module, nil)
	w.filter = &filterSeam{Filter: f, in: w.in}
	return err
}

// openLog opens a ledger in a folder of its own.
func (w *world) openLog(ctx context.Context, name string, change func(*wal.Options)) (*wal.Log, error) {
	if w.signer == nil {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		w.signer = key
	}
	c := wal.DefaultConfig()
	c.SegmentBytes, c.Deadline = 4<<20, 20*time.Second
	dir := filepath.Join(w.dir, name)
	o := wal.Options{
		Config: c, Dir: filepath.Join(dir, "ledger"), Instance: "gw-1", Origin: "gate.example", Signer: w.signer,
		ChainKeyFile: filepath.Join(dir, "chain"), RootKeyFile: filepath.Join(dir, "k0"), Now: w.now, Rand: rand.Reader,
	}
	if change != nil {
		change(&o)
	}
	return wal.Open(ctx, o)
}

// startMain opens the ledger that is in force where no disk is at fault.
func (w *world) startMain(ctx context.Context) (err error) {
	w.main, err = w.openLog(ctx, "main", func(o *wal.Options) {
		o.Sync = wal.SyncWrite // a slow disk is the concern of the disk's faults
	})
	if err == nil {
		w.book.log.Store(w.main)
		w.followed = make(chan struct{})
		go w.follow(w.main, w.followed)
	}
	return err
}

// restart ends the ledger and opens it again, as a gateway that is started anew does.
func (w *world) restart(ctx context.Context) error {
	if err := w.closeMain(ctx); err != nil {
		return err
	}
	return w.startMain(ctx)
}

// closeMain ends the ledger, and whoever follows it after the last event.
func (w *world) closeMain(ctx context.Context) error {
	err := w.main.Close(ctx)
	if err == nil {
		<-w.followed
	}
	return err
}

// follow tells the register of plans, once it stands, what is in the ledger.
func (w *world) follow(log *wal.Log, ended chan<- struct{}) {
	defer close(ended)
	_ = log.Follow(context.Background(), wal.Cursor{}, func(_ context.Context, events []wal.Event, _ wal.Cursor) error {
		<-w.standing
		if w.plans != nil {
			w.plans.Follow(events)
		}
		return nil
	}) // it ends with the ledger
}

func (w *world) openLedger(ctx context.Context) (err error) {
	w.standing = make(chan struct{})
	defer close(w.standing)
	if err := w.startMain(ctx); err != nil {
		return err
	}
	w.atEnd(w.closeMain)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	keys := intent.NewKeys()
	if err := keys.Add(issuer, "k1", public, time.Time{}); err != nil {
		return err
	}
	w.verifier = intent.NewVerifier(intent.VerifierConfig{Audience: issuer, Keys: keys, CacheEntries: 64, MaxLifetime: 24 * time.Hour})
	c := plans.DefaultConfig()
	c.Audience, c.PlanTTL = issuer, 7*24*time.Hour
	w.plans, err = plans.Open(ctx, c, plans.Deps{
		Store: w.store, Ledger: w.book, Verifier: w.verifier, Signer: intent.Signer{Issuer: issuer, KeyID: "k1", Key: private},
		Tools: planTools{w.tools}, Now: w.now, Rand: rand.Reader,
	})
	if err == nil {
		w.atEnd(func(context.Context) error { w.plans.Close(); return nil })
	}
	return err
}

// planTools tells the register of plans about tools.
type planTools struct{ *catalogue.Catalogue }

func (p planTools) Lookup(tenant, op, server, tool string) (merkle.Hash, func([]byte) error, bool) {
	t, ok := p.Find(tenant, op, server, tool)
	if !ok {
		return merkle.Hash{}, nil, false
	}
	return t.SchemaHash, t.CheckArgs, true
}

func (w *world) owner() plans.Owner {
	return plans.Owner{Tenant: tenant, User: w.caller.User(), Agent: w.caller.Agent(), KeyID: w.caller.KeyID()}
}

func (w *world) openPlans(ctx context.Context) error {
	p, err := w.plans.Capture(ctx, w.owner(), []byte(draft))
	if err != nil {
		return err
	}
	w.planID = p.ID
	t, err := w.plans.Token(ctx, w.owner(), p.ID, plans.TokenOptions{TTL: 23 * time.Hour})
	w.token = []byte(t.Token)
	return err
}

// openLine puts the stages in the gateway's own order, each between its seams.
func (w *world) openLine(m mutation) {
	generous := func() *stages.Limiter { return stages.NewLimiter(1e6, 1e6) }
	row := sewn(w.in,
		stages.Identify{Directory: directorySeam{w.people, w.in}, Sources: generous()},
		stages.Quota{Tenants: generous(), Agents: generous()},
		stages.Read{},
		stages.Retry{Answers: &pipeline.Answers{Keep: 24 * time.Hour}, Verifier: w.verifier},
		stages.Intent{Verifier: w.verifier, Plans: plansSeam{w}, Tools: toolsSeam{w.tools, w.in}, Used: plansSeam{w}.used},
		&stages.Filter{Filters: w.filter, Arguments: canon.DefaultLimits(), Results: canon.DefaultLimits()},
		stages.Decide{Policies: enginesSeam{&w.engines, w.in}, Done: plansSeam{w}.done},
	)
	for i := range row {
		if m.stage != nil {
			row[i] = m.stage(row[i])
		}
	}
	w.line = &pipeline.Line{
		Stages: row, Ledger: w.book, Subjects: subjectsSeam{w},
		Upstream:  forwardSeam{stages.Forward{Client: clientSeam{w.client, w.in}, Servers: w}, w.in},
		Strangers: &pipeline.Strangers{}, Instance: "gw-1", Receipts: true,
		Now: w.lineNow, Rand: randSeam{w.in}, Log: w.log, Limit: limit,
	}
	if m.ledger != nil {
		w.line.Ledger = m.ledger(w, w.book)
	}
}

// Target says how to reach the server, with its credential out of the vault, as the gateway's wiring does.
func (w *world) Target(ctx context.Context, _, name string) (*upstream.Target, error) {
	if done, err := w.in.meet(ctx, "target"); done || err != nil {
		return nil, err
	}
	s, ok := w.tools.Server(tenant, name)
	if !ok || !s.Enabled {
		return nil, catalogue.ErrUnknown
	}
	var value string
	err := w.vault.Load().Use(ctx, tenant, s.Credential, func(secret []byte) error {
		value = s.Prefix + string(secret)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("credential of server %s: %w", name, err)
	}
	t := *w.upward.Load()
	t.Tenant, t.Name = tenant, name
	t.Headers = func(add func(name, value string)) { add(s.Header, value) }
	return &t, nil
}

// next gives arguments and an Idempotency-Key that no other call has.
func (w *world) next(prefix string) (args []byte, retry string) {
	w.calls++
	return fmt.Appendf(nil, `{"path":"/%s/%d"}`, prefix, w.calls), fmt.Sprintf("k-%d", w.calls)
}

// call builds the call on which a fault strikes.
func (w *world) call(f *fault, args []byte, retry string) *pipeline.Call {
	key := f.key
	if key == "" {
		key = w.seeded.RuntimeKey
	}
	c := &pipeline.Call{Route: "/mcp/{server}", Remote: loopback, Credential: []byte(key), Retry: retry}
	c.Read = func(ctx context.Context, c *pipeline.Call) error {
		return w.in.around(ctx, "dialect", func() error {
			c.Op, c.Action, c.Plan, c.Server, c.Name, c.Args, c.Shown.Token = "tools/call", "call_tool", true, serverName, "read", args, w.token
			switch f.call {
			case offPlan:
				c.Name = "send"
			case ownList:
				c.Op, c.Action, c.Plan, c.Server, c.Name, c.Args, c.Shown.Token = "tools/list", "list_tools", false, "", "", nil, nil
				c.Answer = w.list
			default:
			}
			return nil
		})
	}
	return c
}

// list is the gateway's own answer.
func (w *world) list(ctx context.Context, c *pipeline.Call) error {
	return w.in.around(ctx, "own answer", func() error {
		c.Reply = pipeline.Reply{Result: []byte(`{"tools":[]}`)}
		return nil
	})
}
