package terms_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/terms"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/storetest"
)

var (
	errLedger = errors.New("ledger is down")

	alice = terms.Who{Tenant: "acme", User: "usr_a", Agent: "agt_a", Key: "key_a"}
	bob   = terms.Who{Tenant: "acme", User: "usr_b", Agent: "agt_b", Key: "key_b"}
	mal   = terms.Who{Tenant: "evil", User: "usr_m", Agent: "agt_m", Key: "key_m"}
	root  = terms.Actor{Tenant: "acme", User: "usr_root", Key: "key_root"}
)

// book is a ledger in memory. It refuses while fail is positive.
type book struct {
	mu      sync.Mutex
	records []ledger.Record
	fail    int
}

func (b *book) Append(_ context.Context, r *ledger.Record) (wal.Mark, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail > 0 {
		b.fail--
		return wal.Mark{}, errLedger
	}
	if err := r.Normalize(); err != nil {
		return wal.Mark{}, err
	}
	b.records = append(b.records, *r)
	return wal.Mark{}, nil
}

// acts lists what was recorded, "code act", in order.
func (b *book) acts() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for i := range b.records {
		out = append(out, b.records[i].Code+" "+fact(&b.records[i], "act"))
	}
	return strings.Join(out, ", ")
}

func (b *book) last() *ledger.Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &b.records[len(b.records)-1]
}

// fact is one member of a record's body.
func fact(r *ledger.Record, name string) string {
	var body map[string]json.RawMessage
	_ = json.Unmarshal(r.Body, &body)
	return strings.Trim(string(body[name]), `"`)
}

// world is a keeper over a store that can be broken, at a time that is set by hand.
type world struct {
	*terms.Keeper
	t     testing.TB
	cfg   terms.Config
	inner store.Store
	store *storetest.Faulty
	book  *book
	at    time.Time
}

func newWorld(t testing.TB, change func(*terms.Config)) *world {
	t.Helper()
	w := &world{t: t, cfg: terms.DefaultConfig(), inner: storetest.NewMemory(), book: &book{}, at: time.Unix(1_800_000_000, 0)}
	if change != nil {
		change(&w.cfg)
	}
	w.open()
	return w
}

// open starts a keeper over what the store holds.
func (w *world) open() {
	w.t.Helper()
	w.store = storetest.NewFaulty(w.inner)
	k, err := terms.Open(w.t.Context(), w.cfg, terms.Deps{Store: w.store, Ledger: w.book, Now: func() time.Time { return w.at }, Rand: rand.Reader})
	if err != nil {
		w.t.Fatal(err)
	}
	w.Keeper = k
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// propose drafts and proposes a profile and returns its id.
func (w *world) propose(who terms.Who, profile string) string {
	w.t.Helper()
	w.at = w.at.Add(time.Second) // ids sort by time
	w.must(w.Draft(w.t.Context(), who, []byte(profile)))
	p, err := w.Propose(w.t.Context(), who, "why not")
	w.must(err)
	return p.ID
}

// approve puts a profile in force.
func (w *world) approve(profile string) {
	w.t.Helper()
	_, err := w.Decide(w.t.Context(), root, w.propose(alice, profile), true, "fine")
	w.must(err)
}

// active is the profile in force, "" when there is none.
func (w *world) active() string {
	raw, _, _ := w.Active("acme")
	return string(raw)
}

// states is "ID state" of the tenant's proposals, with ids by their place.
func (w *world) states() string {
	var out []string
	for i, p := range w.Proposals("acme", terms.Filter{}) {
		out = append(out, fmt.Sprintf("%d %s %s", i, p.Kind, p.State))
	}
	return strings.Join(out, ", ")
}

// A profile that forbids tool N, in two spellings of the same.
func profile(tool string) string {
	return `{ "schemaVersion":"armor.policy.v1","kind":"PolicyProfile","metadata":{"name":"p"},"defaults":{"decision":"allow","conflictResolution":"deny_overrides"},` +
		`"statements":[{"id":"s1","effect":"forbid","principal":{"type":"agent"},"action":{"type":"mcp_tool","eq":"` + tool + `"},"conditions":[]}]}`
}

// spoiled is a profile that cannot be said exactly.
const spoiled = `{"schemaVersion":"armor.policy.v1","kind":"PolicyProfile","defaults":{"decision":"allow"},"statements":[{"id":"s1","effect":"forbid","conditions":[{"field":"bash.raw","op":"matches","value":"^rm"}]}]}`

// plan is a held plan of the tenant with that metadata, "" for none.
func (w *world) plan(tenant, metadata string) *intent.Held {
	w.t.Helper()
	draft := `{"steps":[{"server":"files","tool":"read"}]}`
	if metadata != "" {
		draft = `{"metadata":` + metadata + `,"steps":[{"server":"files","tool":"read"}]}`
	}
	p, err := intent.ParseDraft([]byte(draft), intent.DefaultLimits())
	w.must(err)
	p.Tenant, p.User, p.Agent = tenant, "usr_a", "agt_a"
	w.must(p.Seal(rand.Reader))
	h, err := intent.NewHeld(&p)
	w.must(err)
	return h
}

func wants(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v, want %v", err, want)
	}
}

func same(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
