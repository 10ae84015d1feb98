// Package terms keeps the conditions that stand beside a tenant's bundle: the tenant's active profile, and the policy
// that a plan carries in its own signed metadata as {"armoriq":{"policy":...}}. Terms only ever narrow: they become
// overlays of forbids, and rates.
//
// A profile comes into force in two steps. An agent proposes one, an admin approves it; approving translates and compiles
// it as a whole, and until that has succeeded the one before stays in force. The register of proposals also takes
// proposals for servers. Those are notes for an admin: approving one makes no server.
//
// What changes something is one ledger record, of kind bundle: "profile" when what is enforced changed, "proposal" for
// everything else. It is recorded before it is kept, and kept before it is in force and answered. When a commit's outcome
// is not known, the tenant's rows are read again before anything else of it is changed.
package terms

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/store"
)

// Errors a caller branches on.
var (
	// ErrNotFound: there is no such draft, proposal or profile in this tenant.
	ErrNotFound = errors.New("not found")
	// ErrDecided: the proposal was approved, rejected or withdrawn before.
	ErrDecided = errors.New("proposal is decided")
	// ErrLimit: one of the bounds of Config is reached.
	ErrLimit = errors.New("limit reached")
	// ErrInvalid: what was sent is not JSON within its bounds, or an argument is not well-formed.
	ErrInvalid = errors.New("invalid argument")
	// ErrPolicy: a profile or policy that cannot be read as terms. It comes with an armoriq.Problem or
	// policies.Problems that says where.
	ErrPolicy = errors.New("policy cannot be put in force")
	// ErrForbidden: who asks is nobody that a proposal can be from.
	ErrForbidden = errors.New("forbidden")
)

// unread is an ErrPolicy in the words of the problem alone: whoever wrote the policy reads them.
type unread struct{ problem error }

func (u unread) Error() string   { return u.problem.Error() }
func (u unread) Unwrap() []error { return []error{ErrPolicy, u.problem} }

// Config bounds the keeper.
type Config struct {
	// Bytes bounds a profile, a plan's policy and a proposal for a server. Default 32 KiB, at most 48 KiB: an approved
	// profile stands whole in its ledger record.
	Bytes int `koanf:"bytes"`
	// PendingPerAgent bounds an agent's proposals that nobody has decided. Default 20.
	PendingPerAgent int `koanf:"pending_per_agent"`
	// Proposals bounds a tenant's proposals, decided ones included while they are kept. Default 1000.
	Proposals int `koanf:"proposals"`
	// All bounds all tenants' proposals together; each takes about 1 KiB of memory. Default 20000.
	All int `koanf:"all"`
	// Keep is how long a decided proposal stays listed. Default 2160h, 90 days.
	Keep time.Duration `koanf:"keep"`
	// Plans is how many plans' terms are kept compiled, the least recently used go first. Default 4096.
	Plans int `koanf:"plans"`
	// Counters bounds how many keys calls are counted for at a time, about 400 bytes each. Default 32768. Danger: when
	// all are in use, calls under a rate that would need one more are refused until one is idle.
	Counters int `koanf:"counters"`
}

// DefaultConfig is what an empty configuration means.
func DefaultConfig() Config {
	return Config{Bytes: 32 << 10, PendingPerAgent: 20, Proposals: 1000, All: 20_000, Keep: 90 * 24 * time.Hour, Plans: 4096, Counters: 32_768}
}

// Validate refuses a configuration that cannot work or is without bounds.
func (c Config) Validate() error {
	switch {
	case c.Bytes < 1<<10 || c.Bytes > maxBytes:
		return fmt.Errorf("bytes %d: want 1 KiB to %d", c.Bytes, maxBytes)
	case c.PendingPerAgent < 1 || c.Proposals < c.PendingPerAgent || c.All < c.Proposals || c.All > 1<<20:
		return fmt.Errorf("pending_per_agent %d, proposals %d, all %d: want at least 1, none above the next, at most %d", c.PendingPerAgent, c.Proposals, c.All, 1<<20)
	case c.Keep < 0 || c.Keep > 10*365*24*time.Hour:
		return fmt.Errorf("keep %v: want 0 to ten years", c.Keep)
	case c.Plans < 1 || c.Plans > 1<<20:
		return fmt.Errorf("plans %d: want 1 to %d", c.Plans, 1<<20)
	case c.Counters < 1 || c.Counters > 1<<22:
		return fmt.Errorf("counters %d: want 1 to %d", c.Counters, 1<<22)
	}
	return nil
}

// maxBytes leaves room in a ledger leaf for the rest of the record.
const maxBytes = 48 << 10

// Terms are conditions in force, shared by all calls and never changed.
type Terms struct {
	Overlays []*policies.Overlay
	Rates    []Rate
	Lines    []string // one plain sentence each, for people
}

// Rate is at most Max calls in any span of Per.
type Rate struct {
	Max int
	Per time.Duration
}

// Ledger is what the keeper writes to. Append returns when the record is durable.
type Ledger interface {
	Append(ctx context.Context, r *ledger.Record) (wal.Mark, error)
}

// Deps are what a keeper works with; all are required.
type Deps struct {
	Store  store.Store
	Ledger Ledger
	Now    func() time.Time
	Rand   io.Reader // safe for concurrent use
}

// Keeper keeps all tenants' terms. It is safe for concurrent use and owns no goroutine.
type Keeper struct {
	cfg      Config
	deps     Deps
	plans    plans
	counters counters
	total    atomic.Int64 // proposals of all tenants

	mu      sync.RWMutex // guards tenants; never held over a disk
	tenants map[string]*tenant
}

// tenant is what one tenant has.
type tenant struct {
	name   string
	active atomic.Pointer[profile] // nil: none in force

	// change serializes what is done over disk and ledger; it is taken before mu, never after.
	change sync.Mutex
	stale  bool // guarded by change: the rows may say more than the memory

	mu        sync.RWMutex // guards all below; never held over a disk
	proposals map[string]proposalRow
	version   int // of the last profile in force
}

// Stats are plain counts. Broken counts tenants whose profile cannot be read any more: all their calls that have terms
// are refused until an admin removes it or approves another.
type Stats struct {
	Proposals, Profiles, Broken, Plans, Counters int
}

// Open loads every tenant's proposals and profile.
func Open(ctx context.Context, cfg Config, deps Deps) (*Keeper, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("open terms: %w", err)
	}
	if deps.Store == nil || deps.Ledger == nil || deps.Now == nil || deps.Rand == nil {
		return nil, errors.New("open terms: a dependency is missing")
	}
	k := &Keeper{cfg: cfg, deps: deps, tenants: map[string]*tenant{}, plans: newPlans(cfg.Plans), counters: newCounters(cfg.Counters)}
	if err := k.load(ctx); err != nil {
		return nil, fmt.Errorf("open terms: %w", err)
	}
	return k, nil
}

// Stats counts what is kept.
func (k *Keeper) Stats() Stats {
	s := Stats{Proposals: int(k.total.Load()), Plans: k.plans.len(), Counters: k.counters.len()}
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, t := range k.tenants {
		p := t.active.Load()
		if p == nil {
			continue
		}
		s.Profiles++
		if p.err != nil {
			s.Broken++
		}
	}
	return s
}

// of returns a tenant that has anything here, or nil.
func (k *Keeper) of(name string) *tenant {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.tenants[name]
}
