package plans_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/plans"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/storetest"
)

var errLedger = errors.New("ledger is down")

// book is a ledger in memory. It refuses while fail is positive.
type book struct {
	mu      sync.Mutex
	records []ledger.Record
	events  []wal.Event
	sizes   map[string]uint64
	fail    int
	steps   map[merkle.Hash][]wal.StepState
	onWrite func(*ledger.Record)
	// onAppend tells whether the next record fails.
	onAppend func() bool
}

func (b *book) Append(_ context.Context, r *ledger.Record) (wal.Mark, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail > 0 {
		b.fail--
		return wal.Mark{}, errLedger
	}
	if b.onAppend != nil && b.onAppend() {
		return wal.Mark{}, errLedger
	}
	if b.onWrite != nil {
		b.onWrite(r)
	}
	r.ID = fmt.Sprintf("rec_%026d", len(b.records))
	if err := r.Normalize(); err != nil {
		return wal.Mark{}, err
	}
	i := b.sizes[r.Tenant]
	b.sizes[r.Tenant]++
	b.records = append(b.records, *r)
	b.events = append(b.events, wal.Event{Tenant: r.Tenant, Index: i, ID: r.ID, Time: r.Time, Kind: r.Kind, Plan: r.Plan, PlanID: r.PlanID, Step: r.Step, Token: r.Token, Agent: r.Agent, Of: r.Of, Code: r.Code, Outcome: r.Outcome})
	return wal.Mark{Tenant: r.Tenant, Index: i}, nil
}

func (b *book) Steps(plan merkle.Hash) []wal.StepState { return b.steps[plan] }

// acts lists what was recorded, "kind code", in order.
func (b *book) acts() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for i := range b.records {
		out = append(out, b.records[i].Kind.String()+" "+b.records[i].Code)
	}
	return strings.Join(out, ", ")
}

// clock stands still until it is moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// noise is endless, reproducible and safe for concurrent use.
type noise struct {
	mu sync.Mutex
	n  uint64
}

func (s *noise) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range p {
		s.n = s.n*6364136223846793005 + 1442695040888963407
		p[i] = byte(s.n >> 56)
	}
	return len(p), nil
}

// tools has read and write on server files, of tenant acme only. write wants a string "text" and nothing else.
type tools struct{}

var readSchema, writeSchema = merkle.Hash{1}, merkle.Hash{2}

func (tools) Lookup(tenant, _, server, tool string) (merkle.Hash, func([]byte) error, bool) {
	if tenant != "acme" || server != "files" {
		return merkle.Hash{}, nil, false
	}
	switch tool {
	case "read":
		return readSchema, nil, true
	case "write":
		return writeSchema, func(args []byte) error {
			if v, ok := canon.Get(args, "text"); !ok || canon.KindOf(v) != '"' {
				return errors.New("/text: must be a string")
			}
			return nil
		}, true
	}
	return merkle.Hash{}, nil, false
}

var alice = plans.Owner{Tenant: "acme", User: "usr_a", Agent: "agt_a", KeyID: "key_a"}

func admin(tenant string) plans.Actor {
	return plans.Actor{Owner: plans.Owner{Tenant: tenant, User: "usr_admin", KeyID: "key_admin"}, Admin: true}
}

func mine(o plans.Owner) plans.Actor { return plans.Actor{Owner: o} }

// world is a register over a store that can be broken, and what it needs.
type world struct {
	*plans.Register
	t        testing.TB
	cfg      plans.Config
	inner    store.Store
	store    *storetest.Faulty
	book     *book
	clock    *clock
	noise    *noise
	verifier *intent.Verifier
	signer   intent.Signer
	issuer   string // id of the issuing key
}

func newWorld(t testing.TB, change func(*plans.Config)) *world {
	t.Helper()
	w := &world{t: t, cfg: plans.DefaultConfig(), inner: storetest.NewMemory(), clock: &clock{at: time.Unix(1_800_000_000, 0)}, noise: &noise{n: 3}, issuer: "k1"}
	w.cfg.PlanTTL = time.Hour
	w.book = &book{sizes: map[string]uint64{}, steps: map[merkle.Hash][]wal.StepState{}}
	if change != nil {
		change(&w.cfg)
	}
	w.open()
	return w
}

// open starts the register over what the store holds, with a verifier that knows nothing yet.
func (w *world) open() {
	w.t.Helper()
	seed := sha256.Sum256([]byte(w.issuer))
	key := ed25519.NewKeyFromSeed(seed[:])
	keys := intent.NewKeys()
	if err := keys.Add("iss", w.issuer, key.Public().(ed25519.PublicKey), time.Time{}); err != nil {
		w.t.Fatal(err)
	}
	w.verifier = intent.NewVerifier(intent.VerifierConfig{Audience: w.cfg.Audience, Keys: keys, CacheEntries: 64, MaxLifetime: w.cfg.MaxTokenTTL})
	w.store = storetest.NewFaulty(w.inner)
	w.signer = intent.Signer{Issuer: "iss", KeyID: w.issuer, Key: key}
	r, err := plans.Open(w.t.Context(), w.cfg, w.deps())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(r.Close)
	w.Register = r
}

func (w *world) deps() plans.Deps {
	return plans.Deps{
		Store: w.store, Ledger: w.book, Signer: w.signer, Verifier: w.verifier, Tools: tools{},
		Policy: func(string) merkle.Hash { return merkle.Hash{9} }, Now: w.clock.now, Rand: w.noise,
	}
}

// reopen is a restart: the follower tells the new register the whole history again.
func (w *world) reopen() {
	w.t.Helper()
	w.Close()
	w.open()
	w.follow()
}

// follow delivers all events so far, also those delivered before.
func (w *world) follow() {
	w.book.mu.Lock()
	events := append([]wal.Event(nil), w.book.events...)
	w.book.mu.Unlock()
	w.Follow(events)
}

const draft = `{"goal":"tidy","steps":[{"server":"files","tool":"read","args":{"path":"/a"}},{"server":"files","tool":"write","args":{"text":"x"},"after":[0]}]}`

func (w *world) capture(o plans.Owner) plans.Captured {
	w.t.Helper()
	p, err := w.Capture(w.t.Context(), o, []byte(draft))
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// plan makes an unsealed plan of a draft, as a dialect does.
func (w *world) plan(text string) *intent.Plan {
	w.t.Helper()
	p, err := intent.ParseDraft([]byte(text), intent.DefaultLimits())
	if err != nil {
		w.t.Fatal(err)
	}
	return &p
}

// draft is a plan of reads of these paths, each as often as wanted.
func (w *world) draft(paths ...string) plans.Draft {
	var steps []string
	for _, p := range paths {
		steps = append(steps, fmt.Sprintf(`{"server":"files","tool":"read","args":{"path":%q},"uses":0}`, p))
	}
	return plans.Draft{Plan: w.plan(`{"goal":"read","steps":[` + strings.Join(steps, ",") + `]}`)}
}

func (w *world) captured(paths ...string) plans.Captured {
	w.t.Helper()
	w.clock.move(time.Millisecond) // ids sort by it
	p, err := w.CapturePlan(w.t.Context(), alice, w.draft(paths...))
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// grow re-anchors a plan to reads of these paths.
func (w *world) grow(plan string, paths ...string) (plans.Captured, string) {
	w.t.Helper()
	w.clock.move(time.Millisecond)
	p, delta, err := w.Reanchor(w.t.Context(), alice, plan, w.draft(paths...), "plan grew")
	if err != nil {
		w.t.Fatal(err)
	}
	return p, delta
}

func (w *world) token(o plans.Owner, plan string) plans.Issued {
	w.t.Helper()
	t, err := w.Token(w.t.Context(), o, plan, plans.TokenOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return t
}

// call asks the way the line does: token, plan, grant.
func (w *world) call(o plans.Owner, token, args string) error {
	now := w.clock.now()
	t, err := w.stand(o.Tenant, token)
	if err != nil {
		return err
	}
	h, state, ok := w.Held(o.Tenant, t.PlanRoot())
	if !ok {
		return plans.ErrNotFound
	}
	if !state.Active() {
		return fmt.Errorf("%s: %w", state, plans.ErrInactive)
	}
	who := intent.Bearer{Tenant: o.Tenant, User: o.User, Agent: o.Agent, KeyID: o.KeyID}
	req := intent.Request{Op: "tools/call", Server: "files", Tool: "read", Schema: readSchema, Args: []byte(args)}
	_, err = w.verifier.GrantHeld(t, who, req, h, nil, now)
	return err
}

// stand reads a token as it stands for the last plan of its chain; one for some steps stays with its plan.
func (w *world) stand(tenant, token string) (*intent.Token, error) {
	t, err := w.verifier.Token([]byte(token), w.clock.now())
	if err != nil || t.Claims().Steps != nil {
		return t, err
	}
	return w.verifier.Reanchor(t, w.Anchors(tenant, t.PlanRoot()))
}

// take writes the two records of a step that was taken, as the line does.
func (w *world) take(p plans.Captured, step int32, outcome string) {
	w.t.Helper()
	r := &ledger.Record{Kind: ledger.Admitted, Tenant: "acme", Agent: "agt_a", Plan: p.Root, PlanID: p.ID, Step: step}
	if _, err := w.book.Append(w.t.Context(), r); err != nil {
		w.t.Fatal(err)
	}
	s := &ledger.Record{Kind: ledger.Settled, Tenant: "acme", Agent: "agt_a", Of: r.ID, Outcome: outcome, Step: -1}
	if _, err := w.book.Append(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
}

func wants(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v, want %v", err, want)
	}
}
