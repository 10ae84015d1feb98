// Package approvals is the register of calls that wait for a person's word.
//
// A policy may hold a call instead of denying it. The agent then asks here; people with the right role decide; and what
// they approve is one call, by the digest of all that it is: tenant, user, agent, plan, operation, server, tool and
// arguments. It can be used once, until it expires. Nothing an agent says about itself or about an approval counts: who
// may decide is looked up in the directory at the moment of the decision, and the line asks this register by digest.
//
// Every request, decision, expiry and use is one ledger record, with the digest of the call and never its arguments.
// What grants (a request that can be approved, an approval) is recorded before it is kept and kept before it is in force.
// What takes away (a rejection, an expiry) works in memory at once, is then kept, then recorded, and is recorded after a
// restart when the record was cut off. A use is both: it is gone at once, then kept and recorded, and only then may the
// call go on; whatever fails in between, it stays used. So after any crash nothing is allowed that was not recorded, and
// no approval is used twice.
package approvals

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/store"
)

// Errors a caller branches on.
var (
	// ErrNotFound: the tenant has no such approval; what belongs to others is not found in the same words.
	ErrNotFound = errors.New("not found")
	// ErrInvalid: the request or the reason breaks a bound.
	ErrInvalid = errors.New("invalid")
	// ErrLimit: the agent or the gateway has as many open requests as it may.
	ErrLimit = errors.New("limit reached")
	// ErrForbidden: this person may not decide this: unknown or suspended, the role is too low, the amount is above the
	// role's limit, or the agent is the person's own and Config.Separate is set.
	ErrForbidden = errors.New("forbidden")
	// ErrOwn is under the ErrForbidden of Config.Separate: somebody else has to decide.
	ErrOwn = fmt.Errorf("somebody other than the agent's owner and the user it acts for must decide: %w", ErrForbidden)
	// ErrDecided: this person has decided already. Who approved can still reject.
	ErrDecided = errors.New("decided already")
	// ErrEnough is an ErrDecided: as many people have approved as it takes.
	ErrEnough = fmt.Errorf("enough people have approved: %w", ErrDecided)
	// ErrPending: not enough people have approved yet.
	ErrPending = errors.New("not approved yet")
	// ErrRejected, ErrExpired and ErrSpent say how it ended.
	ErrRejected = errors.New("rejected")
	ErrExpired  = errors.New("expired")
	ErrSpent    = errors.New("used already")
)

// Config bounds the register and says who may decide. All but arguments is kept in memory, about 2 KiB an approval.
type Config struct {
	// Required is how many different people must approve, 1 to 16; the policy that held the call may ask for more, not for
	// fewer. Default 1.
	Required int `koanf:"required"`
	// TTL is how long a request may be decided and used, from when it was made. Default 30m, as long as ArmorIQ's clients
	// wait. Danger: an approval that was given can be used that long.
	TTL time.Duration `koanf:"ttl"`
	// MaxOpen bounds one agent's requests that are pending, or approved and not used. Default 100.
	MaxOpen int `koanf:"max_open"`
	// MaxAll bounds the approvals of all tenants together, ended ones included; those make room for new ones, the oldest
	// first. Default 10000.
	MaxAll int `koanf:"max_all"`
	// Keep is how long an approval stays listed after its end; the ledger has it for good. Default 168h.
	Keep time.Duration `koanf:"keep"`
	// Separate keeps the agent's owner, and the user the call is made for, from deciding. Default false. Danger: without
	// it a person who may approve at all may approve what their own agent asks.
	Separate bool `koanf:"separate"`
	// Limits is the largest amount each role (member, manager, admin) may approve, as a decimal number; "" and a role
	// that is not there are without limit. The amount of a call is what Amount finds. Default none.
	Limits map[string]string `koanf:"limits"`
	// Approver is the lowest role that may decide: member, manager or admin; the policy may ask for a higher one, not for a
	// lower. Default manager.
	Approver string `koanf:"approver"`
}

// DefaultConfig is what an empty configuration means.
func DefaultConfig() Config {
	return Config{Required: 1, TTL: 30 * time.Minute, MaxOpen: 100, MaxAll: 10_000, Keep: 7 * 24 * time.Hour, Approver: "manager"}
}

// Bounds of a configuration.
const (
	maxRequired = 16
	maxTTL      = 30 * 24 * time.Hour
	maxKept     = 1 << 20
	maxKeep     = 10 * 365 * 24 * time.Hour
)

// Validate refuses a configuration that cannot work or is without bounds.
func (c Config) Validate() error {
	switch {
	case c.Required < 1 || c.Required > maxRequired:
		return fmt.Errorf("required %d: want 1 to %d", c.Required, maxRequired)
	case c.TTL < time.Second || c.TTL > maxTTL:
		return fmt.Errorf("ttl %v: want 1s to %v", c.TTL, maxTTL)
	case c.MaxOpen < 1 || c.MaxAll < c.MaxOpen || c.MaxAll > maxKept:
		return fmt.Errorf("max_open %d, max_all %d: want at least 1, the first not above the second, at most %d", c.MaxOpen, c.MaxAll, maxKept)
	case c.Keep < 0 || c.Keep > maxKeep:
		return fmt.Errorf("keep %v: want 0 to ten years", c.Keep)
	case rank(c.Approver) == 0:
		return fmt.Errorf("approver %q: want member, manager or admin", c.Approver)
	}
	_, err := c.limits()
	return err
}

// limits reads Limits, which then has exactly the roles that have one.
func (c Config) limits() (map[string]*big.Rat, error) {
	out := map[string]*big.Rat{}
	for role, text := range c.Limits {
		if rank(role) == 0 || role != lower(role) {
			return nil, fmt.Errorf("limits: role %q: want member, manager or admin", role)
		}
		if text == "" {
			continue
		}
		n, ok := number(text)
		if !ok || n.Sign() < 0 {
			return nil, fmt.Errorf("limits: %s %q: want a decimal number that is not negative", role, text)
		}
		out[role] = n
	}
	return out, nil
}

// Ledger is what the register writes to. Append returns when the record is durable.
type Ledger interface {
	Append(ctx context.Context, r *ledger.Record) (wal.Mark, error)
}

// Directory knows people and agents as they are now. An error is a fault; who is not there has no role and owns nothing.
type Directory interface {
	// Role returns the role of an active user of the tenant, in any case of letters; "" when there is no such user.
	Role(ctx context.Context, tenant, user string) (string, error)
	// Owner returns the user who answers for an agent of the tenant; "" when there is no such agent.
	Owner(ctx context.Context, tenant, agent string) (string, error)
}

// Deps are what a register works with. All are required.
type Deps struct {
	Store     store.Store
	Ledger    Ledger
	Directory Directory
	Now       func() time.Time
	Rand      io.Reader // safe for concurrent use
}

// Register is the register of all tenants' approvals. It is safe for concurrent use.
type Register struct {
	cfg    Config
	limits map[string]*big.Rat
	deps   Deps

	mu       sync.RWMutex          // guards all below and the entries' fields marked so; never held over a disk
	byID     map[idKey]*entry      // all that are kept, and those being made
	byDigest map[digestKey]*entry  // the one of each call that is open, or being made
	open     map[agentKey][]*entry // the same by agent, oldest first
	tenants  map[string]bool       // noted in the store
	faults   atomic.Uint64         // background work that failed and will be tried again
	stop     context.CancelFunc
	done     chan struct{}
}

type (
	idKey     struct{ tenant, id string }
	digestKey struct {
		tenant string
		digest merkle.Hash
	}
	agentKey struct{ tenant, agent string }
)

// entry is one approval. change serializes what is done to it over disk and ledger; it is taken before Register.mu,
// never after, but for an entry that nobody else has yet.
type entry struct {
	change sync.Mutex
	tenant string

	row   row  // written under Register.mu and change, so either suffices to read it
	ready bool // recorded and kept; guarded by Register.mu
}

// Stats are plain counts.
type Stats struct {
	Kept, Pending, Approved int
	Faults                  uint64
}

// sweepEvery is how often what has expired is put down and unfinished records are tried again.
const sweepEvery = time.Minute

// Open loads every tenant's approvals and starts sweeping. Deps.Ledger must be ready to append.
func Open(ctx context.Context, cfg Config, deps Deps) (*Register, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("open approvals: %w", err)
	}
	if deps.Store == nil || deps.Ledger == nil || deps.Directory == nil || deps.Now == nil || deps.Rand == nil {
		return nil, errors.New("open approvals: a dependency is missing")
	}
	r := &Register{
		cfg: cfg, deps: deps, byID: map[idKey]*entry{}, byDigest: map[digestKey]*entry{}, open: map[agentKey][]*entry{},
		tenants: map[string]bool{}, done: make(chan struct{}),
	}
	r.limits, _ = cfg.limits() // Validate has read them
	if err := r.load(ctx); err != nil {
		return nil, fmt.Errorf("open approvals: %w", err)
	}
	ctx, r.stop = context.WithCancel(context.WithoutCancel(ctx))
	go r.run(ctx)
	return r, nil
}

// Close stops sweeping. Approvals stay as they are.
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
		}
	}
}

// Stats counts what is kept.
func (r *Register) Stats() Stats {
	now := r.deps.Now().Unix()
	r.mu.RLock()
	defer r.mu.RUnlock()
	s := Stats{Faults: r.faults.Load()}
	for _, e := range r.byID {
		if !e.ready {
			continue
		}
		s.Kept++
		switch e.row.state(now) {
		case Pending:
			s.Pending++
		case Approved:
			s.Approved++
		default:
		}
	}
	return s
}
