package approvals_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/gateway/approvals"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errLedger    = errors.New("ledger is down")
	errDirectory = errors.New("directory is down")
)

// book is a ledger in memory. It refuses the next appends that fail counts, and writes them all the same when kept is set.
type book struct {
	mu      sync.Mutex
	records []ledger.Record
	appends int
	failAt  int // which append fails, from 1
	kept    bool
	before  func() // the next append, once
}

func (b *book) Append(_ context.Context, r *ledger.Record) (wal.Mark, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.before != nil {
		b.before()
		b.before = nil
	}
	b.appends++
	fails := b.appends == b.failAt
	if fails && !b.kept {
		return wal.Mark{}, errLedger
	}
	r.ID = fmt.Sprintf("rec_%026d", len(b.records))
	if err := r.Normalize(); err != nil {
		return wal.Mark{}, err
	}
	b.records = append(b.records, *r)
	if fails {
		return wal.Mark{}, errLedger
	}
	return wal.Mark{Tenant: r.Tenant, Index: uint64(len(b.records) - 1)}, nil
}

// next makes the append after that many others fail.
func (b *book) next(n int, kept bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failAt, b.kept = b.appends+n, kept
}

// acts lists what was recorded about an approval, or about all.
func (b *book) acts(id string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for i := range b.records {
		if strings.Contains(string(b.records[i].Body), id) {
			out = append(out, b.records[i].Code)
		}
	}
	return strings.Join(out, " ")
}

func (b *book) last() ledger.Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.records[len(b.records)-1]
}

// people is a directory: roles by user and owners by agent, of tenant acme.
type people struct {
	mu     sync.Mutex
	roles  map[string]string
	owners map[string]string
	fail   error
}

func (p *people) Role(_ context.Context, tenant, user string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if tenant != "acme" {
		return "", p.fail
	}
	return p.roles[user], p.fail
}

func (p *people) Owner(_ context.Context, tenant, agent string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if tenant != "acme" {
		return "", p.fail
	}
	return p.owners[agent], p.fail
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

// world is a register over a store that can be broken, and what it needs.
type world struct {
	*approvals.Register
	t      testing.TB
	cfg    approvals.Config
	inner  store.Store
	store  *storetest.Faulty
	book   *book
	people *people
	clock  *clock
	noise  *noise
}

func newWorld(t testing.TB, change func(*approvals.Config)) *world {
	t.Helper()
	w := &world{
		t: t, cfg: approvals.DefaultConfig(), inner: storetest.NewMemory(), book: &book{}, clock: &clock{at: time.Unix(1_800_000_000, 0)}, noise: &noise{n: 3},
		people: &people{
			roles:  map[string]string{"usr_ada": "Admin", "usr_max": "Manager", "usr_mia": "Manager", "usr_mo": "Member", "usr_vi": "Viewer"},
			owners: map[string]string{"agt_a": "usr_max", "agt_b": "usr_mo"},
		},
	}
	w.store = storetest.NewFaulty(w.inner)
	if change != nil {
		change(&w.cfg)
	}
	w.open()
	return w
}

// open starts the register over what the store holds.
func (w *world) open() {
	w.t.Helper()
	r, err := approvals.Open(w.t.Context(), w.cfg, approvals.Deps{Store: w.store, Ledger: w.book, Directory: w.people, Now: w.clock.now, Rand: w.noise})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(r.Close)
	w.Register = r
}

// reopen is a restart.
func (w *world) reopen() {
	w.t.Helper()
	w.Close()
	w.open()
}

func pay() approvals.Request {
	return approvals.Request{
		Call: approvals.Call{Tenant: "acme", User: "usr_u", Agent: "agt_a", PlanID: "pln_1", Op: "tools/call", Server: "bank", Tool: "pay", Args: []byte(`{"to":"canary-41", "amount":5000}`)},
		Key:  "key_a", Reason: "above 1000", Policies: []string{"pay-hold"},
	}
}

func (w *world) request(q approvals.Request) approvals.View {
	w.t.Helper()
	v, err := w.Request(w.t.Context(), q)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func person(user string) approvals.Approver {
	return approvals.Approver{Tenant: "acme", User: user, Key: "key_" + user}
}

func (w *world) decide(user, id string, approve bool) error {
	_, err := w.Decide(w.t.Context(), person(user), id, approve, "because")
	return err
}

func (w *world) approved(q approvals.Request) bool {
	w.t.Helper()
	_, ok := w.Approved(q.Tenant, digest(w.t, q))
	return ok
}

func (w *world) state(id string) approvals.State {
	w.t.Helper()
	v, err := w.Look("acme", id)
	if err != nil {
		w.t.Fatal(err)
	}
	return v.State
}

func digest(t testing.TB, q approvals.Request) merkle.Hash {
	t.Helper()
	d, err := q.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func wants(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v, want %v", err, want)
	}
}
