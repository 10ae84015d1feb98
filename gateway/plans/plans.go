// Package plans is the register of intent plans and of the tokens that stand for them.
//
// A plan is captured once, from the agent's draft: its tools must exist, its literal arguments must fit
// their schemas, and it is sealed, hashed and kept. It is active until it is completed, failed, expired
// or revoked. Tokens are issued for active plans only, to the plan's own agent and user, each bound to
// the key that asked.
//
// A plan that grows is re-anchored: the new plan is captured and chained to the one before by a signed delta, and the
// tokens of the plans before stand for the last of the chain. Ending any plan of a chain ends all of it. A token can be
// derived from another, for the holder of a key and for some steps; revoking one revokes what was derived from it.
//
// Every capture, re-anchoring, change of state, issue and revocation is one ledger record. What grants (a capture, a
// re-anchoring, a token) is recorded before it is kept and kept before it is answered; what takes away (an end, a
// revocation) works in memory at once, is then kept, then recorded, and is recorded after a restart when
// the record was cut off. So after any crash nothing is allowed that was not recorded, and nothing that
// was answered as taken away is allowed again.
//
// Ended plans stay listed for a time, and make room for new ones before that when the register is full: only such whose
// tokens have all expired, and whose revocation nothing depends on. What happened under them is in the ledger.
package plans

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/store"
)

// Errors a caller branches on. A draft's faults are *intent.Error.
var (
	// ErrNotFound: no such plan or token for this caller; what belongs to others is not found in the same words.
	ErrNotFound = errors.New("not found")
	// ErrInactive: the plan is completed, failed, expired or revoked.
	ErrInactive = errors.New("plan is not active")
	// ErrLimit: one of the bounds of Config is reached. It comes with an *intent.Error that says which.
	ErrLimit = errors.New("limit reached")
	// ErrForbidden: the caller may see the plan but not do this to it.
	ErrForbidden = errors.New("forbidden")
)

// Config bounds the register. Everything but ended plans' content is kept in memory.
type Config struct {
	// Audience is the aud of tokens; it must be what the verifier demands. Default "gatewright".
	Audience string `koanf:"audience"`
	// DraftBytes bounds a draft, in bytes. Default 256 KiB; at most 2 MiB, since the stored plan is larger.
	DraftBytes int `koanf:"draft_bytes"`
	// Steps bounds a plan's steps. Default 256, a proof of 8 hashes. Danger: each step costs about 1 KiB of memory.
	Steps int `koanf:"steps"`
	// PlansPerAgent bounds one agent's active plans; a plan counts no more from the moment it ends. Default 1000.
	PlansPerAgent int `koanf:"plans_per_agent"`
	// Plans bounds all tenants' plans together, ended ones included while they are kept. When it is reached, ended plans
	// make room, those first that could have for the longest time: all records are written, no token for them can be
	// shown any more, and of revoked ones the plan has expired. Active plans never do. Of ended plans that must be kept
	// one agent may have a quarter of this, or PlansPerAgent where that is more. Default 20000.
	Plans int `koanf:"plans"`
	// PlanTTL is a plan's life from its capture. Default 24h. Danger: use counts are kept that long.
	PlanTTL time.Duration `koanf:"plan_ttl"`
	// TokenTTL is a token's life when none is asked for. Default 15m.
	TokenTTL time.Duration `koanf:"token_ttl"`
	// MaxTokenTTL is the longest life given; longer wishes are cut to it. Default 24h. It must not exceed
	// the verifier's. Danger: a stolen token works that long unless revoked.
	MaxTokenTTL time.Duration `koanf:"max_token_ttl"`
	// TokensPerPlan bounds a plan's tokens that have not expired. Default 100.
	TokensPerPlan int `koanf:"tokens_per_plan"`
	// History bounds the events remembered per plan; the ledger has them all. Default 100.
	History int `koanf:"history"`
	// Keep is how long an expired plan stays listed at the most; it goes earlier when Plans is reached. Default 168h.
	Keep time.Duration `koanf:"keep"`
}

// DefaultConfig is what an empty configuration means.
func DefaultConfig() Config {
	return Config{
		Audience: "gatewright", DraftBytes: 256 << 10, Steps: 256, PlansPerAgent: 1000, Plans: 20_000, PlanTTL: 24 * time.Hour,
		TokenTTL: 15 * time.Minute, MaxTokenTTL: 24 * time.Hour, TokensPerPlan: 100, History: 100, Keep: 7 * 24 * time.Hour,
	}
}

// Validate refuses a configuration that cannot work or is without bounds.
func (c Config) Validate() error {
	const year = 365 * 24 * time.Hour
	switch {
	case c.Audience == "" || len(c.Audience) > 512:
		return errors.New("audience: want 1 to 512 bytes")
	case c.DraftBytes < 1<<10 || c.DraftBytes > 2<<20:
		return fmt.Errorf("draft_bytes %d: want 1 KiB to 2 MiB", c.DraftBytes)
	case c.Steps < 1 || c.Steps > intent.MaxSteps:
		return fmt.Errorf("steps %d: want 1 to %d", c.Steps, intent.MaxSteps)
	case c.PlansPerAgent < 1 || c.Plans < 1 || c.Plans > 1<<20:
		return fmt.Errorf("plans_per_agent %d, plans %d: want at least 1, at most %d plans", c.PlansPerAgent, c.Plans, 1<<20)
	case c.TokensPerPlan < 1 || c.TokensPerPlan > 1<<16:
		return fmt.Errorf("tokens_per_plan %d: want 1 to %d", c.TokensPerPlan, 1<<16)
	case c.History < 8 || c.History > 1<<16:
		return fmt.Errorf("history %d: want 8 to %d", c.History, 1<<16)
	case c.PlanTTL < time.Second || c.PlanTTL > year:
		return fmt.Errorf("plan_ttl %v: want 1s to a year", c.PlanTTL)
	case c.TokenTTL < time.Second || c.MaxTokenTTL < c.TokenTTL || c.MaxTokenTTL > year:
		return fmt.Errorf("token_ttl %v, max_token_ttl %v: want 1s to a year, the first not above the second", c.TokenTTL, c.MaxTokenTTL)
	case c.Keep < 0 || c.Keep > 10*year:
		return fmt.Errorf("keep %v: want 0 to ten years", c.Keep)
	}
	return nil
}

// Ledger is what the register writes to and asks about uses. Append returns when the record is durable.
type Ledger interface {
	Append(ctx context.Context, r *ledger.Record) (wal.Mark, error)
	Steps(plan merkle.Hash) []wal.StepState
}

// ToolSource knows what the tenant's servers offer: for tools/call their tools, for prompts/get and resources/read their
// prompts and resources. ok is false for what the tenant does not have. check refuses arguments that break its input
// schema; they have passed the strict JSON gate.
type ToolSource interface {
	Lookup(tenant, op, server, tool string) (schema merkle.Hash, check func(args []byte) error, ok bool)
}

// Deps are what a register works with. All but Policy are required.
type Deps struct {
	Store    store.Store
	Ledger   Ledger
	Signer   intent.Signer
	Verifier *intent.Verifier
	Tools    ToolSource
	Policy   func(tenant string) merkle.Hash // digest of the tenant's bundle in force; nil = none
	Now      func() time.Time
	Rand     io.Reader // safe for concurrent use
}

func (d *Deps) check() error {
	if d.Store == nil || d.Ledger == nil || d.Verifier == nil || d.Tools == nil || d.Now == nil || d.Rand == nil {
		return errors.New("a dependency is missing")
	}
	return nil
}

// Register is the register of all tenants' plans. It is safe for concurrent use.
type Register struct {
	cfg  Config
	deps Deps

	mu       sync.RWMutex        // guards all below and the entries' fields marked so; never held over a disk
	byID     map[planKey]*entry  // all that are kept, and those being captured
	byRoot   map[rootKey]*entry  // ready ones only
	owned    map[Owner][]*entry  // ready ones by owner without key, oldest first
	tokens   map[planKey]*token  // not expired
	agents   map[agentKey]*share // of those that have any
	queue    queue               // all chains
	tenants  map[string]bool     // noted in the store
	next     map[string]uint64   // first ledger index not followed yet
	open     map[string]admitted // steps taken whose outcome is not known, by record id
	faults   atomic.Uint64       // background work that failed and will be tried again
	finished chan *entry         // plans with nothing left to do; when full, Sweep finds them
	stop     context.CancelFunc
	done     chan struct{}
}

type (
	planKey struct{ tenant, id string } // id of a plan or token
	rootKey struct {
		tenant string
		root   merkle.Hash
	}
	agentKey struct{ tenant, agent string }
	admitted struct {
		plan planKey
		step int
	}
)

// entry is one plan.
type entry struct {
	tenant string
	nonce  string // of the plan
	chain  *chain // the plan stands in it once it is ready

	// Written under Register.mu, row, held, place, until and owed also under the chain's change lock, so either suffices to read those.
	row   planRow
	held  *intent.Held // nil once the plan has ended
	place int          // in the chain
	until int64        // unix seconds; when the last of its tokens expires, 0 = there was none
	owed  int          // tokens whose revocation is still to be recorded
	ready bool         // captured in full, and not about to be dropped
	live  int          // tokens not expired

	events sync.Mutex // guards all below
	past   []Event
	lost   int      // events dropped from past
	uses   []uint32 // per step, 0 = without limit; nil once the plan has ended
	ok     []uint32 // settled ok, per step
}

// token is one issued token that has not expired.
type token struct {
	plan *entry
	key  string   // of its row
	row  tokenRow // written under Register.mu and the plan's change lock, read under either
}

// Stats are plain counts.
type Stats struct {
	Plans, Active, Tokens int
	Faults                uint64
}

// sweepEvery is how often expired plans are put down and unfinished records are tried again.
const sweepEvery = time.Minute

// Open loads every tenant's plans and tokens, revokes in the verifier what was revoked, and starts
// sweeping. Deps.Ledger must be ready to append.
func Open(ctx context.Context, cfg Config, deps Deps) (*Register, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("open plans: %w", err)
	}
	if err := deps.check(); err != nil {
		return nil, fmt.Errorf("open plans: %w", err)
	}
	r := &Register{
		cfg: cfg, deps: deps, byID: map[planKey]*entry{}, byRoot: map[rootKey]*entry{}, owned: map[Owner][]*entry{}, tokens: map[planKey]*token{},
		agents: map[agentKey]*share{}, tenants: map[string]bool{}, next: map[string]uint64{}, open: map[string]admitted{}, done: make(chan struct{}), finished: make(chan *entry, 256),
	}
	if err := r.load(ctx); err != nil {
		return nil, fmt.Errorf("open plans: %w", err)
	}
	ctx, r.stop = context.WithCancel(context.WithoutCancel(ctx))
	go r.run(ctx)
	return r, nil
}

// Close stops sweeping. Plans and tokens stay as they are.
func (r *Register) Close() {
	r.stop()
	<-r.done
}

func (r *Register) run(ctx context.Context) {
	defer close(r.done)
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.Sweep(ctx)
		case e := <-r.finished:
			r.finish(ctx, e, r.deps.Now().Unix())
		}
	}
}

// Stats counts what is kept.
func (r *Register) Stats() Stats {
	now := r.deps.Now().Unix()
	r.mu.RLock()
	defer r.mu.RUnlock()
	s := Stats{Plans: len(r.byRoot), Tokens: len(r.tokens), Faults: r.faults.Load()}
	for _, e := range r.byRoot {
		if e.row.state(now).Active() {
			s.Active++
		}
	}
	return s
}

// UsedUp tells whether the plan was completed because every step was done as often as it may be, and not by somebody's
// word.
func (r *Register) UsedUp(tenant string, root merkle.Hash) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e := r.byRoot[rootKey{tenant, root}]
	return e != nil && e.row.State == Completed && e.row.By == ""
}

// Held returns the plan a token's root names, for the tenant that asks. held is nil when the plan is not
// active. It answers from memory and allocates nothing.
func (r *Register) Held(tenant string, root merkle.Hash) (held *intent.Held, state State, ok bool) {
	now := r.deps.Now().Unix()
	r.mu.RLock()
	defer r.mu.RUnlock()
	e := r.byRoot[rootKey{tenant, root}]
	if e == nil {
		return nil, "", false
	}
	if state = e.row.state(now); !state.Active() {
		return nil, state, true
	}
	return e.held, state, true
}
