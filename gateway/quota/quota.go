// Package quota keeps the counters that policies read or set: how many calls a session has seen, of which tools, with
// which labels, and how many calls a rate has let pass.
//
// A call takes its place in a counter before it is judged, so calls in flight count and two calls never see the same
// count; a call that is refused gives its place back. What goes out is durable before it does (Place.Keep), so neither a
// restart nor a killed process sets a counter back; a call that was kept and then did not go out counts all the same.
// Counters of one tenant are never seen by another. One process keeps a tenant's counters: when another has written one,
// the call is refused and the counter is read anew.
package quota

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gatewright/gatewright/store"
)

// Errors a caller branches on. Each is a refusal.
var (
	// ErrFull: every counter that may be held in memory is in use, or a session has too many tools or labels.
	ErrFull = errors.New("too much to count")
	// ErrLost: the counter could not be kept, or another process keeps it too.
	ErrLost = errors.New("the counter is lost and will be read anew")
)

// Config bounds the keeper.
type Config struct {
	// Window is how long calls without a plan stay in their agent's session. Default 1h. Danger: what a policy forbids
	// after a label was seen is allowed again when the call has left the window.
	Window time.Duration
	// Counters bounds those held in memory, of all tenants; the others wait in the store. Default 100000, about 1 KiB each.
	Counters int
}

// DefaultConfig is what an empty configuration means.
func DefaultConfig() Config { return Config{Window: time.Hour, Counters: 100_000} }

// Validate refuses a configuration that cannot work or is without bounds.
func (c Config) Validate() error {
	switch {
	case c.Window < time.Second || c.Window > 31*24*time.Hour:
		return fmt.Errorf("window %v: want 1s to 31 days", c.Window)
	case c.Counters < 1 || c.Counters > 1<<22:
		return fmt.Errorf("counters %d: want 1 to %d", c.Counters, 1<<22)
	}
	return nil
}

// Keeper keeps all tenants' counters. It is safe for concurrent use and owns no goroutine.
type Keeper struct {
	cfg   Config
	store store.Store

	mu     sync.Mutex // guards the maps
	open   map[name]*account
	pruned map[string]int64 // tenant: when rows that count nothing any more were last removed, unix seconds
}

// name is a counter's.
type name struct{ tenant, key string }

// New makes a keeper over a store.
func New(cfg Config, s store.Store) (*Keeper, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("quota: %w", err)
	}
	if s == nil {
		return nil, errors.New("quota: no store")
	}
	return &Keeper{cfg: cfg, store: s, open: map[name]*account{}, pruned: map[string]int64{}}, nil
}

// Slots of a span of time: a call counts until the slot it fell into has left the span for good, so that no rate is ever
// exceeded and room comes back at most one slot late.
const (
	rateSlots    = 64
	sessionSlots = 16
)

// Session names a session: that of a plan, or of an agent without one.
type Session struct {
	Tenant string
	Plan   string    // "" for calls without a plan
	Ends   time.Time // of the plan
	Agent  string
}

// Seen is what was counted of a session before a call.
type Seen struct {
	Calls, Tool int64
	Labels      []string // sorted
}

// Rate is one rate to be counted. Key names what is counted together.
type Rate struct {
	Key string
	Max int64
	Per time.Duration
}

// key makes a counter's name of texts that may hold anything.
func key(kind string, parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		h.Write([]byte(p))
	}
	return kind + "/" + hex.EncodeToString(h.Sum(nil)[:16])
}

// session opens the account of a session.
func (k *Keeper) session(ctx context.Context, s Session, now time.Time) (*account, error) {
	if s.Plan != "" {
		a, err := k.account(ctx, name{s.Tenant, key("plan", s.Plan)}, 0, 0, now)
		if a != nil {
			a.lasts(s.Ends)
		}
		return a, err
	}
	return k.account(ctx, name{s.Tenant, key("agent", s.Agent, k.cfg.Window.String())}, k.cfg.Window, sessionSlots, now)
}

// Enter takes a place in a session for a call of a tool and says what was counted before it.
func (k *Keeper) Enter(ctx context.Context, s Session, tool string, now time.Time) (*Place, Seen, error) {
	a, err := k.session(ctx, s, now)
	if err != nil {
		return nil, Seen{}, fmt.Errorf("enter session: %w", err)
	}
	seen, slot, err := a.enter(tool, now)
	if err != nil {
		a.leave()
		return nil, Seen{}, fmt.Errorf("enter session: %w", err)
	}
	return &Place{keeper: k, session: true, taken: []taken{{a, place{allCalls, slot}}, {a, place{toolCalls + tool, slot}}}, now: now}, seen, nil
}

// Look says what is counted of a session and takes nothing.
func (k *Keeper) Look(ctx context.Context, s Session, tool string, now time.Time) (Seen, error) {
	a, err := k.session(ctx, s, now)
	if err != nil {
		return Seen{}, fmt.Errorf("look at session: %w", err)
	}
	defer a.leave()
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen(tool, now), nil
}

// Take counts a call against every rate of all and against one of some, the first with room, or against nothing when
// there is no room; then wait is how long until there may be. Either may be empty.
func (k *Keeper) Take(ctx context.Context, tenant string, all, some []Rate, now time.Time) (p *Place, wait time.Duration, err error) {
	p = &Place{keeper: k, now: now}
	for _, r := range all {
		w, err := p.take(ctx, tenant, r)
		if err != nil || w > 0 {
			p.End(false)
			return nil, w, err
		}
	}
	for i, r := range some {
		w, err := p.take(ctx, tenant, r)
		if err != nil {
			p.End(false)
			return nil, 0, err
		}
		if w == 0 {
			return p, 0, nil
		}
		if i == 0 || w < wait {
			wait = w
		}
	}
	if wait > 0 {
		p.End(false)
		return nil, wait, nil
	}
	return p, 0, nil
}

// take counts one rate; wait is 0 when it had room.
func (p *Place) take(ctx context.Context, tenant string, r Rate) (wait time.Duration, err error) {
	a, err := p.keeper.rate(ctx, tenant, r, p.now)
	if err != nil {
		return 0, err
	}
	slot, wait := a.take(r.Max, p.now)
	if wait > 0 {
		a.leave()
		return wait, nil
	}
	p.taken = append(p.taken, taken{a, place{allCalls, slot}})
	return 0, nil
}

// Room is Take that counts nothing.
func (k *Keeper) Room(ctx context.Context, tenant string, all, some []Rate, now time.Time) (wait time.Duration, err error) {
	for _, r := range all {
		if w, err := k.room(ctx, tenant, r, now); err != nil || w > 0 {
			return w, err
		}
	}
	for i, r := range some {
		w, err := k.room(ctx, tenant, r, now)
		if err != nil || w == 0 {
			return 0, err
		}
		if i == 0 || w < wait {
			wait = w
		}
	}
	return wait, nil
}

func (k *Keeper) room(ctx context.Context, tenant string, r Rate, now time.Time) (wait time.Duration, err error) {
	a, err := k.rate(ctx, tenant, r, now)
	if err != nil {
		return 0, err
	}
	defer a.leave()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at(now)
	return a.wait(r.Max, now), nil
}

// rate opens the account of a rate.
func (k *Keeper) rate(ctx context.Context, tenant string, r Rate, now time.Time) (*account, error) {
	a, err := k.account(ctx, name{tenant, key("rate", r.Key, r.Per.String())}, r.Per, rateSlots, now)
	if err != nil {
		return nil, fmt.Errorf("count a rate: %w", err)
	}
	return a, nil
}
