package control_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/gatewright/gatewright/gateway/bundles"
	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/catalogue/pins"
	"github.com/gatewright/gatewright/gateway/identity/vault"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/plans"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/store"
)

// memoryLog is a ledger that can be told to fail.
type memoryLog struct {
	mu      sync.Mutex
	records map[string][]ledger.Record
	left    int  // appends that still succeed; negative: all
	once    bool // only one fails then
}

func newMemoryLog() *memoryLog { return &memoryLog{records: map[string][]ledger.Record{}, left: -1} }

func (l *memoryLog) failAfter(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = n
}

func (l *memoryLog) Append(ctx context.Context, r *ledger.Record) (wal.Mark, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return wal.Mark{}, err
	}
	if l.left == 0 {
		if l.once {
			l.left = -1
		}
		return wal.Mark{}, errBroken
	}
	l.left--
	if r.ID == "" { // as the real log does
		r.ID, _ = ledger.NewID(time.Now(), rand.Reader)
	}
	if err := r.Normalize(); err != nil {
		return wal.Mark{}, err
	}
	l.records[r.Tenant] = append(l.records[r.Tenant], *r)
	return wal.Mark{Tenant: r.Tenant, Index: uint64(len(l.records[r.Tenant]) - 1)}, nil
}

func (l *memoryLog) Scan(_ context.Context, tenant string, from uint64, n int) ([]wal.Entry, error) {
	var out []wal.Entry
	for i, r := range l.of(tenant) {
		if uint64(i) >= from && len(out) < n {
			out = append(out, wal.Entry{Index: uint64(i), Data: r.AppendJSON(nil), Leaf: merkle.LeafHash(r.AppendJSON(nil)), Side: r.Side})
		}
	}
	return out, nil
}

// Find looks at every record.
func (l *memoryLog) Find(ctx context.Context, tenant, id string) (wal.Entry, bool, error) {
	return l.first(ctx, tenant, 0, func(r *ledger.Record) bool { return r.ID == id })
}

// FindAfter looks at every record from an index on.
func (l *memoryLog) FindAfter(ctx context.Context, tenant, of string, from uint64) (wal.Entry, bool, error) {
	return l.first(ctx, tenant, from, func(r *ledger.Record) bool { return r.Of == of })
}

func (l *memoryLog) first(ctx context.Context, tenant string, from uint64, is func(*ledger.Record) bool) (wal.Entry, bool, error) {
	all, err := l.Scan(ctx, tenant, from, math.MaxInt)
	for i := range all {
		if r, _ := all[i].Record(); is(&r) {
			return all[i], true, nil
		}
	}
	return wal.Entry{}, false, err
}

// Steps makes it the ledger of a register of plans too; nothing is ever taken here.
func (l *memoryLog) Steps(merkle.Hash) []wal.StepState { return nil }

func (l *memoryLog) Size(tenant string) uint64 { return uint64(len(l.of(tenant))) }

func (l *memoryLog) Checkpoint(tenant string) ([]byte, error) {
	return []byte("note of " + tenant), nil
}

func (l *memoryLog) of(tenant string) []ledger.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.records[tenant])
}

func (l *memoryLog) last(tenant string) ledger.Record {
	all := l.of(tenant)
	if len(all) == 0 {
		return ledger.Record{}
	}
	return all[len(all)-1]
}

// faultyVault is the real one, until it is told to fail.
type faultyVault struct {
	*vault.Vault
	fail error
}

func (v *faultyVault) Put(ctx context.Context, tenant, name string, secret []byte) error {
	if v.fail != nil {
		return v.fail
	}
	return v.Vault.Put(ctx, tenant, name, secret)
}

type oneBundle struct {
	fail   error
	panics bool
	none   bool          // nothing is in force
	by     bundles.Actor // of the last Reload
}

func (b *oneBundle) Current(string) (*policies.Bundle, bool) {
	if b.panics {
		panic("kaboom")
	}
	return policies.Default(), !b.none
}

func (b *oneBundle) Reload(_ context.Context, _ string, by bundles.Actor) (*policies.Bundle, error) {
	b.by = by
	return policies.Default(), b.fail
}

type counter struct {
	mu    sync.Mutex
	count int
}

func (c *counter) Note(netip.Addr, pipeline.Code, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
}

// oneTool is an upstream with one tool, one that cannot be used, and one whose description changes.
type oneTool struct {
	fail error
	text string
}

// List offers nothing beside tools.
func (o *oneTool) List(_ context.Context, _ catalogue.Server, method string) ([]json.RawMessage, error) {
	if method != catalogue.ListTools {
		return nil, catalogue.ErrNotOffered
	}
	return []json.RawMessage{
		json.RawMessage(`{"name":"read","inputSchema":{"type":"object"}}`),
		json.RawMessage(`{"name":"broken","inputSchema":{"type":"object","$ref":"https://evil.example/schema"}}`),
		json.RawMessage(`{"name":"pinned","description":"` + o.text + `","inputSchema":{"type":"object"}}`),
	}, o.fail
}

// newCatalogue gives each tenant one server.
func (w *world) newCatalogue(kept store.Store) {
	var err error
	w.upstream = &oneTool{}
	w.catalogue, err = catalogue.Open(w.t.Context(), catalogue.DefaultConfig(), kept, w.upstream, w.clock.now)
	w.must(err)
	for _, tenant := range []string{demo, other} {
		name := w.ids[tenant].server
		w.must(w.catalogue.AddServer(w.t.Context(), tenant, catalogue.Server{Name: name, URL: "https://" + name + ".example/mcp", Enabled: true}))
		for _, text := range []string{"first", "second", "third"} { // two were approved, one waits
			w.upstream.text = text
			w.must(w.catalogue.Refresh(w.t.Context(), tenant, name))
			if p := w.pinOf(tenant); text == "second" {
				w.must(w.catalogue.DecidePin(w.t.Context(), tenant, name, "pinned", catalogue.PinDecision{Action: pins.Approve, Digest: p.Digest}))
			}
		}
	}
}

// pinOf is what stands about the tool that changes.
func (w *world) pinOf(tenant string) *catalogue.PinDetail {
	p, err := w.catalogue.Pin(w.t.Context(), tenant, w.ids[tenant].server, "pinned", merkle.Hash{})
	if err != nil {
		return &catalogue.PinDetail{Kept: []merkle.Hash{{}}} // that of no tenant
	}
	return p
}

// toolSource shows the catalogue to the register of plans.
type toolSource struct{ c *catalogue.Catalogue }

func (s toolSource) Lookup(tenant, op, server, tool string) (merkle.Hash, func([]byte) error, bool) {
	t, ok := s.c.Find(tenant, op, server, tool)
	if !ok {
		return merkle.Hash{}, nil, false
	}
	return t.SchemaHash, t.CheckArgs, true
}

// canary is an argument of every plan: only those who may see a plan's content may see it.
const canary = "argument-7c1e"

// newPlans gives each tenant one plan with one token. The register writes to a ledger of its own, so that tests can
// count the records of control calls.
func (w *world) newPlans(kept store.Store) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	w.must(err)
	w.planLog = newMemoryLog()
	w.plans, err = plans.Open(w.t.Context(), plans.DefaultConfig(), plans.Deps{
		Store: kept, Ledger: w.planLog, Signer: intent.Signer{Issuer: "https://gateway.example", KeyID: "k1", Key: key},
		Verifier: intent.NewVerifier(intent.VerifierConfig{Audience: "gatewright", MaxLifetime: 24 * time.Hour}),
		Tools:    toolSource{w.catalogue}, Now: w.clock.now, Rand: rand.Reader,
	})
	w.must(err)
	w.t.Cleanup(w.plans.Close)
	for _, tenant := range []string{demo, other} {
		i, owner := w.ids[tenant], w.owners[tenant]
		owner.KeyID = i.key
		captured, err := w.plans.Capture(w.t.Context(), owner, []byte(`{"goal":"read","steps":[{"server":"`+i.server+`","tool":"read","args":{"path":"`+canary+`"}}]}`))
		w.must(err)
		issued, err := w.plans.Token(w.t.Context(), owner, captured.ID, plans.TokenOptions{})
		w.must(err)
		i.plan, i.token = captured.ID, issued.ID
		w.ids[tenant] = i
	}
}
