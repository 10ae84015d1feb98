package upstream

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
)

type peerKey struct{ tenant, name string }

// peer is what is known of one upstream. A changed URL or permission makes a
// new peer, so that no connection or session outlives what allowed it.
type peer struct {
	tenant, name string
	url          string
	allowPrivate bool
	pinTexts     []string
	pins         [][sha256.Size]byte
	address      address
	static       []byte // see staticHead
	pool         *pool
	side         *pool // for messages that have no answer: they must not wait for calls
	streams      *pool // counts the streams that are listened to; their connections are used once
	parting      *pool // of nothing: it counts the farewells
	health       health
	sessions     sessions

	era     atomic.Uint32 // era; unknownEra until found out
	finding chan struct{} // holds one: who finds out the era

	life   context.Context //nolint:containedctx // ends when another takes this one's place
	retire context.CancelFunc

	mu    sync.Mutex // guards what follows
	wires map[*wire]struct{}
}

// peer returns the peer for t, made new when t says something else than before.
func (c *Client) peer(t *Target) (*peer, *Error) {
	key := peerKey{t.Tenant, t.Name}
	c.mu.RLock()
	p, closed := c.peers[key], c.closed
	c.mu.RUnlock()
	if p != nil && p.is(t) && !closed {
		return p, nil
	}
	return c.newPeer(key, t)
}

// is tells whether t means this peer.
func (p *peer) is(t *Target) bool {
	return p.url == t.URL && p.allowPrivate == t.AllowPrivate && slices.Equal(p.pinTexts, t.Pins)
}

func (c *Client) newPeer(key peerKey, t *Target) (*peer, *Error) {
	a, fail := parseAddress(t.URL)
	if fail != nil {
		return nil, fail
	}
	pins, fail := parsePins(t.Pins, a)
	if fail != nil {
		return nil, fail
	}
	p := &peer{
		tenant: t.Tenant, name: t.Name, url: t.URL, allowPrivate: t.AllowPrivate, pinTexts: slices.Clone(t.Pins), pins: pins, address: a, static: staticHead("POST", a),
		pool: newPool(c.config.MaxConnections), side: newPool(max(4, c.config.MaxConnections/8)),
		parting: newPool(maxPartings), streams: newPool(c.config.MaxStreams), finding: make(chan struct{}, 1), wires: map[*wire]struct{}{},
	}
	p.life, p.retire = context.WithCancel(c.life)
	p.health.failures, p.health.openFor = c.config.Failures, c.config.OpenFor
	p.sessions.max, p.sessions.all = c.config.MaxSessions, map[who]*session{}
	old, p, fail := c.replace(key, t, p)
	if old != nil {
		c.retire(old)
	}
	return p, fail
}

// replace puts a peer in the place of the one that t no longer means, which it
// returns.
func (c *Client) replace(key peerKey, t *Target, p *peer) (old, now *peer, _ *Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old = c.peers[key]
	switch {
	case c.closed:
		return nil, nil, fault(Busy, "the gateway is shutting down")
	case old != nil && old.is(t):
		return nil, old, nil // another call was faster
	case old == nil && len(c.peers) >= c.config.MaxUpstreams:
		return nil, nil, fault(Busy, "too many upstreams are known")
	}
	c.peers[key] = p
	return old, p, nil
}

// expire closes connections that were idle for too long; all of them when final.
func (p *peer) expire(now time.Time, idle time.Duration, final bool) {
	p.pool.expire(now, idle, final)
	p.side.expire(now, idle, final)
	p.hangUp(final)
}

// health is a circuit breaker. Closed it admits all; after a number of failures
// in a row it opens and refuses for a while; then it admits one probe at a
// time until one succeeds.
type health struct {
	failures int
	openFor  time.Duration

	mu      sync.Mutex // guards what follows
	inRow   int
	until   time.Time // the circuit is open until then
	probing bool
	calls   uint64
	failed  uint64
	last    Kind
}

func (h *health) admit(now time.Time) *Error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls++
	if h.inRow < h.failures {
		return nil
	}
	if now.Before(h.until) || h.probing {
		return fault(CircuitOpen, "it failed too often lately; not tried")
	}
	h.probing = true
	return nil
}

// record counts an exchange. Only what tells about the upstream counts: a
// caller that leaves, or a queue of our own, does not.
func (h *health) record(fail *Error, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probing = false
	if fail == nil {
		h.inRow = 0
		return
	}
	h.failed++
	h.last = fail.Kind
	if !fail.blamesUpstream() {
		return
	}
	if h.inRow++; h.inRow >= h.failures {
		h.until = now.Add(h.openFor)
	}
}

func (e *Error) blamesUpstream() bool {
	switch e.Kind {
	case Unreachable, Timeout, Malformed:
		return true
	case Status:
		return e.Code >= 500
	}
	return false
}

// Stats is a snapshot of one upstream's health.
type Stats struct {
	Era         string // "unknown", "modern", "legacy" or "sse"
	Open        bool   // the circuit refuses
	InRow       int    // failures in a row
	Calls       uint64
	Failed      uint64
	LastFailure Kind // "" when there was none
	Connections int  // in use
	Idle        int
	Sessions    int
}

// Health returns what is known of a server; ok is false when it was never
// called.
func (c *Client) Health(tenant, name string) (s Stats, ok bool) {
	c.mu.RLock()
	p := c.peers[peerKey{tenant, name}]
	c.mu.RUnlock()
	if p == nil {
		return Stats{}, false
	}
	s.Era = era(p.era.Load()).String()
	s.Connections, s.Idle = p.pool.counts()
	s.Sessions = p.sessions.len()
	h := &p.health
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Open = h.inRow >= h.failures && c.now().Before(h.until)
	s.InRow, s.Calls, s.Failed, s.LastFailure = h.inRow, h.calls, h.failed, h.last
	return s, true
}

// era is a generation of the protocol.
type era uint32

const (
	unknownEra era = iota
	legacyEra
	modernEra
	wiredEra // the older era's methods over its oldest transport, HTTP+SSE
)

func (e era) String() string { return [...]string{"unknown", "legacy", "modern", "sse"}[e] }

// forgetEra makes the next call find out the era again.
func (p *peer) forgetEra(was era) bool {
	return p.era.CompareAndSwap(uint32(was), uint32(unknownEra))
}

// era returns the upstream's era: as configured, as found out before, or by
// asking. It asks the modern way first (server/discover); an upstream that does
// not know it is initialized the older way, and only success is remembered.
func (c *Client) era(ctx context.Context, p *peer, t *Target, w who) (era, *Error) {
	switch t.Era {
	case "legacy":
		return legacyEra, nil
	case "modern":
		return modernEra, nil
	case "sse":
		return wiredEra, nil
	case "", "auto":
	default:
		return unknownEra, fault(Invalid, "the era is not one of auto, modern, legacy, sse")
	}
	if e := era(p.era.Load()); e != unknownEra {
		return e, nil
	}
	select {
	case p.finding <- struct{}{}:
		defer func() { <-p.finding }()
	case <-ctx.Done():
		return unknownEra, canceled(ctx)
	}
	if e := era(p.era.Load()); e != unknownEra {
		return e, nil
	}
	e, fail := c.findEra(ctx, p, t, w)
	if fail != nil {
		fail.Sent = false // the request itself was not
		return unknownEra, fail
	}
	p.era.Store(uint32(e))
	return e, nil
}

func (c *Client) findEra(ctx context.Context, p *peer, t *Target, w who) (era, *Error) {
	var reply Reply
	discover := &Request{Method: "server/discover", Principal: w.principal}
	fail := c.exchange(ctx, p, t, discover, &modernSession, &reply)
	if fail == nil && errorCode(reply.Error) == codeUnsupportedVersion && offersModern(reply.Error) {
		fail = c.exchange(ctx, p, t, discover, &modernSession, &reply) // it refuses the version, and names the very same
	}
	if fail == nil && reply.Result != nil && offers(reply.Result, "supportedVersions", modernVersion) {
		return modernEra, nil
	}
	if fail != nil && !fail.allowsLegacy() {
		return unknownEra, fail
	}
	_, fail = c.session(ctx, p, t, w, legacyEra)
	if fail == nil {
		return legacyEra, nil
	}
	if fail.Kind == Status && (fail.Code == 400 || fail.Code == 404 || fail.Code == 405) {
		// As a server of 2024-11-05 refuses what it does not know.
		if _, worse := c.session(ctx, p, t, w, wiredEra); worse == nil {
			return wiredEra, nil
		}
	}
	return unknownEra, fail
}

// offersModern tells whether the refusal of a version names ours among those that are spoken.
func offersModern(failure []byte) bool {
	data, _ := canon.Get(failure, "data")
	return offers(data, "supported", modernVersion)
}

// allowsLegacy says whether a failed server/discover may come from a server of
// the older era. One that is down, far away or refuses the credential would not
// answer initialize either.
func (e *Error) allowsLegacy() bool {
	switch e.Kind {
	case Malformed:
		return true
	case Status:
		return e.Code != 401 && e.Code != 403 && e.Code != 429
	}
	return false
}
