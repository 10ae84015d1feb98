package stages

import (
	"context"
	"fmt"
	"hash/maphash"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
)

// Limiter is a bounded set of GCRA rate limits (generic cell rate algorithm, ITU-T I.371), one per key. A nil Limiter
// limits nothing.
type Limiter struct {
	emission time.Duration // time between two calls at the sustained rate
	burst    time.Duration // how far ahead of the rate a key may run
	seed     maphash.Seed
	shards   [64]limiterShard
}

type limiterShard struct {
	mu  sync.Mutex
	tat map[uint64]int64 // theoretical arrival time, unix nanoseconds
	_   [40]byte         // keeps shards on cache lines of their own
}

// maxKeysPerShard bounds memory: 64 x 4,096 keys. A full shard first drops keys that are idle; when none is, it drops
// them all, which for a moment is as if each had just come.
const maxKeysPerShard = 4096

// NewLimiter allows rate calls a second with bursts of up to burst calls. A rate of 0 or less gives nil: no limit.
func NewLimiter(rate float64, burst int) *Limiter {
	if rate <= 0 || math.IsNaN(rate) {
		return nil
	}
	e := min(max(float64(time.Second)/rate, 1), longest)
	ahead := min(e*float64(max(burst, 1)-1), longest)
	return &Limiter{emission: time.Duration(e), burst: time.Duration(ahead), seed: maphash.MakeSeed()}
}

// longest bounds the time between two calls and what a burst may run ahead, in nanoseconds: ten years, far above any
// real limit, and far below where times in nanoseconds overflow.
const longest = float64(10 * 365 * 24 * time.Hour)

// Allow counts one call of the key. When the limit is reached it counts nothing and says how long to wait. A clock that
// is set back costs a key no more than its burst: an arrival time further ahead than that was counted by the old clock.
func (l *Limiter) Allow(key string, now time.Time) (wait time.Duration, ok bool) {
	if l == nil {
		return 0, true
	}
	return l.allow(maphash.String(l.seed, key), now)
}

func (l *Limiter) allow(h uint64, now time.Time) (wait time.Duration, ok bool) {
	s := &l.shards[h%uint64(len(l.shards))]
	t := now.UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	tat := max(s.tat[h], t)
	if furthest := t + int64(l.burst+l.emission); tat > furthest {
		tat = furthest
		s.tat[h] = tat
	}
	if ahead := time.Duration(tat - t); ahead > l.burst {
		return ahead - l.burst, false
	}
	if s.tat == nil || len(s.tat) >= maxKeysPerShard {
		s.makeRoom(t)
	}
	s.tat[h] = tat + int64(l.emission)
	return 0, true
}

func (s *limiterShard) makeRoom(now int64) {
	if s.tat == nil {
		s.tat = map[uint64]int64{}
		return
	}
	for k, tat := range s.tat {
		if tat <= now {
			delete(s.tat, k)
		}
	}
	if len(s.tat) >= maxKeysPerShard {
		clear(s.tat)
	}
}

// Quota bounds how fast a tenant and an agent may call.
type Quota struct {
	Tenants, Agents *Limiter
}

// Name is "quota".
func (Quota) Name() string { return "quota" }

// Check counts the call against its agent, whatever its keys, and then its tenant, so that one agent over its limit does
// not use up the tenant's.
func (q Quota) Check(_ context.Context, c *pipeline.Call) error {
	if wait, ok := q.Agents.Allow(c.Caller.Agent(), c.Started); !ok {
		return limited("agent", wait)
	}
	if wait, ok := q.Tenants.Allow(c.Caller.Tenant(), c.Started); !ok {
		return limited("tenant", wait)
	}
	return nil
}

func limited(what string, wait time.Duration) error {
	d := pipeline.Deny(pipeline.RateLimited, fmt.Sprintf("rate limit of this %s reached", what))
	d.RetryAfter = max(wait, time.Second)
	return d.WithReason("rate_limited " + what)
}

// Sources limits source addresses where there is no call yet to be identified.
type Sources struct{ Limiter *Limiter }

// Allow counts one request of the address.
func (s Sources) Allow(source netip.Addr, now time.Time) (wait time.Duration, ok bool) {
	if s.Limiter == nil {
		return 0, true
	}
	of := sourceOf(source).As16()
	return s.Limiter.allow(maphash.Bytes(s.Limiter.seed, of[:]), now)
}

// sourceOf counts an IPv6 client by its /64, since that is what one client is given.
func sourceOf(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if a.Is6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			a = p.Addr()
		}
	}
	return a
}
