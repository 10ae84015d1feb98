// Package upstream carries MCP requests to HTTP servers and brings back one
// checked answer or one clear error.
//
// An upstream is not trusted. Where it may be reached is decided after name
// resolution, on the address that is then dialed; redirects are not followed;
// what it sends is bounded in size, depth, count and time; HTTP framing, JSON
// and JSON-RPC are read strictly; and it learns nothing about the caller but
// the request itself and the credential the operator keeps for it.
//
// Both eras of MCP are spoken: the stateless one (2026-07-28) and the one with
// initialize and sessions (2025-11-25 and before). Sessions belong to one
// principal each.
//
// HTTP/1.1 is written and read here rather than by a client library: a library
// retries requests on its own, cannot be cancelled, waits for the end of an
// endless stream, or accepts an answer with two lengths. A tool call must not
// be sent twice, and must end when its caller has gone.
package upstream

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Target says which server to reach and how. It is read, never kept.
type Target struct {
	Tenant, Name string
	URL          string
	// Era is "modern" (2026-07-28), "legacy" (before), "sse" (the same over
	// HTTP+SSE, the transport of 2024-11-05), or "auto": it is found out. "" is
	// the same as "auto".
	Era string
	// AllowPrivate permits loopback and private addresses. Link-local, metadata
	// and multicast addresses stay refused. Danger: the server's owner can then
	// reach what the gateway's own network trusts.
	AllowPrivate bool
	// Pins, if any, are public keys as sha256/BASE64 of their SubjectPublicKeyInfo
	// (RFC 7469): beside a valid chain, the server's must hold one of them.
	Pins []string
	// Headers, if set, adds the operator's headers for this server, credentials
	// among them. It is called once for each request; the values are wiped from
	// the request buffer once sent.
	Headers func(add func(name, value string))
	// TakesCallers lets a caller's own credential stand in the place of Headers.
	TakesCallers bool
	// Refused, if set, is told when the server refused a request with HTTP 401 or
	// 403, and says whether Headers now adds another credential, so that the
	// request is to be sent again. Its error takes the refusal's place.
	Refused func(ctx context.Context, r Refusal) (again bool, err error)
	// Renew, if set, sees to it that what Headers adds is good, says whether that is another credential than when it was asked
	// before, and when it is to be asked again: zero is never. Who listens for long asks.
	Renew func(ctx context.Context) (another bool, next time.Time, err error)
	// As, if set, returns the target as it is for one subject: its credentials are
	// of users or agents, and this Target shows none.
	As func(ctx context.Context, s Subject) (*Target, error)
	// Carrier, if set, reaches the server instead of HTTP; URL may then be empty.
	Carrier Carrier
}

// Request is one JSON-RPC request. Its raw JSON must have passed canon.Check.
type Request struct {
	Method string
	// Name is the tool, prompt or resource; for modern servers a header repeats
	// it. With Params it must be the same as there.
	Name string
	// Params is the whole params object. Without it params are built from Name
	// and Arguments, which saves reading it again.
	Params    []byte
	Arguments []byte
	// Meta is the _meta object to pass on; reserved members are dropped.
	Meta []byte
	// InputResponses (an object) and RequestState (a string) repeat a request
	// that was answered with input_required. Only modern servers take them.
	InputResponses, RequestState []byte
	// Principal is on whose behalf; it keys sessions and must not be empty.
	Principal string
	// Mirror, if set, adds the Mcp-Param-* headers that a tool's schema asks for
	// (x-mcp-header); only modern servers get them.
	Mirror func(add func(name, value string))
	// Capabilities is the raw object of client capabilities that a modern server
	// is told instead of the Peer's: what it asks comes back as a result.
	Capabilities []byte
	// Peer, if set, hears what the server says before its answer. Without one
	// the server is told that the caller can do nothing, its questions are
	// refused, and the rest is skipped.
	Peer Peer
}

// Reply is a checked answer: Result or Error is set, and aliases memory that
// the next use of the same Reply overwrites.
type Reply struct {
	Status int    // of HTTP
	Result []byte // the raw result object
	Error  []byte // the raw JSON-RPC error object
	buf    []byte
}

// InputRequired tells that the server asks for input before it goes on: the
// result is to be handed to the caller as it is, and the request repeated with
// what it asks for.
func (r *Reply) InputRequired() bool {
	kind, ok := canon.Get(r.Result, "resultType")
	return ok && string(kind) == `"input_required"`
}

func (r *Reply) done() bool { return r.Result != nil || r.Error != nil }

// keepReply is the largest buffer a Reply keeps from call to call.
const keepReply = 256 << 10

func (r *Reply) reset() {
	if cap(r.buf) > keepReply {
		r.buf = nil
	}
	*r = Reply{buf: r.buf[:0]}
}

// Options is what New needs. Now is required; Resolver defaults to the
// system's.
type Options struct {
	Config   Config
	Now      func() time.Time
	Resolver Resolver
	// Reach, if set, finds a server again when no call is there to say how it is
	// reached: to end a session of the older era with its credential. Without it
	// sessions are ended without one.
	Reach func(ctx context.Context, tenant, name string) (*Target, error)
}

// Client reaches any number of upstreams. Its methods may be called
// concurrently.
type Client struct {
	config Config
	now    func() time.Time
	roots  *x509.CertPool
	guard  guard
	watch  *watcher
	reach  func(ctx context.Context, tenant, name string) (*Target, error)
	ids    atomic.Uint64

	life  context.Context //nolint:containedctx // of what runs beside calls; ends with Close
	end   context.CancelFunc
	tasks sync.WaitGroup

	firstPause time.Duration // between two streams that are listened to

	mu     sync.RWMutex // guards what follows
	peers  map[peerKey]*peer
	closed bool
}

// New returns a Client. Close it to end its connections.
func New(o Options) (*Client, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	if o.Now == nil {
		return nil, errors.New("upstream: a clock is required")
	}
	roots, err := loadRoots(o.Config.RootCAFile)
	if err != nil {
		return nil, err
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	c := &Client{config: o.Config, now: o.Now, roots: roots, guard: guard{resolver: o.Resolver}, peers: map[peerKey]*peer{}, reach: o.Reach, firstPause: firstPause}
	c.life, c.end = context.WithCancel(context.Background())
	c.watch = newWatcher(o.Now, c.tidy)
	return c, nil
}

// Close ends all idle connections at once and the others as they come back. Servers are told first which calls were given up,
// then that their sessions are over, for partingWithin at most.
func (c *Client) Close() {
	c.mu.Lock()
	was := c.closed
	c.closed = true
	c.mu.Unlock()
	if was {
		return
	}
	c.settle()
	var leaving sync.WaitGroup
	ctx, stop := context.WithTimeout(context.Background(), partingWithin)
	for _, p := range c.all() {
		leaving.Go(func() { c.goodbye(ctx, p, p.sessions.expire(c.now(), 0, true)) })
	}
	leaving.Wait()
	stop()
	c.end()
	c.tasks.Wait()
	for _, p := range c.all() {
		p.expire(c.now(), 0, true)
	}
	c.watch.stop()
}

// settle waits for the last words of calls that were given up just before, for half as long as the sessions' farewells may
// take: a server that ends a session first would not know the call any more.
func (c *Client) settle() {
	said := make(chan struct{})
	go func() {
		c.tasks.Wait()
		close(said)
	}()
	limit := time.NewTimer(partingWithin / 2)
	defer limit.Stop()
	select {
	case <-said:
	case <-limit.C:
	}
}

// Forget drops what is known of a server: connections, sessions, health.
func (c *Client) Forget(tenant, name string) {
	c.mu.Lock()
	key := peerKey{tenant, name}
	p := c.peers[key]
	delete(c.peers, key)
	c.mu.Unlock()
	if p != nil {
		c.retire(p)
	}
}

// Call sends one request and fills in reply. The error is an *Error. A JSON-RPC
// error of the upstream is an answer, not an error of Call.
func (c *Client) Call(ctx context.Context, t *Target, r *Request, reply *Reply) error {
	reply.reset()
	if r.Principal == "" || r.Method == "" {
		return fault(Invalid, "a request needs a method and a principal").named(t.Name, false)
	}
	if fail := checkPeer(r.Peer); fail != nil {
		return fail.named(t.Name, false)
	}
	if t.Carrier != nil {
		if fail := c.carried(ctx, t, r, reply); fail != nil {
			reply.reset()
			return fail.named(t.Name, false)
		}
		return nil
	}
	p, fail := c.peer(t)
	if fail != nil {
		return fail.named(t.Name, false)
	}
	if fail := p.health.admit(c.now()); fail != nil {
		return fail.named(t.Name, false)
	}
	fail = c.call(ctx, p, t, r, reply)
	p.health.record(fail, c.now())
	if fail != nil {
		reply.reset()
		return fail.named(t.Name, false)
	}
	return nil
}

// call speaks the upstream's era. A request is sent again only when the answer
// says that it was not looked at: the session is gone, or the era is another.
func (c *Client) call(ctx context.Context, p *peer, t *Target, r *Request, reply *Reply) *Error {
	for attempt := 0; ; attempt++ {
		last := attempt == maxAttempts-1
		era, fail := c.era(ctx, p, t, r.who())
		if fail != nil {
			return fail
		}
		if era == modernEra {
			fail = c.exchange(ctx, p, t, r, &modernSession, reply)
			if !last && errorCode(reply.Error) == codeUnsupportedVersion && p.forgetEra(modernEra) {
				continue
			}
			return fail
		}
		s, fail := c.session(ctx, p, t, r.who(), era)
		if fail != nil {
			return fail
		}
		leave := c.hearBeside(ctx, p, t, r, s)
		fail = c.exchange(ctx, p, t, r, s, reply)
		leave()
		gone := fail != nil && fail.Code == 404 || fail == nil && reply.Status == 404
		if last || !gone || s.id == "" && s.wire == nil {
			return fail
		}
		p.sessions.drop(s)
	}
}

// maxAttempts: the first, and one more with a fresh session or era.
const maxAttempts = 2

// tidy drops idle connections and sessions.
func (c *Client) tidy() {
	now := c.now()
	for _, p := range c.all() {
		p.expire(now, c.config.IdleTimeout, false)
		c.part(p, p.sessions.expire(now, c.config.SessionIdle, false)...)
	}
}

func (c *Client) all() []*peer {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := make([]*peer, 0, len(c.peers))
	for _, p := range c.peers {
		out = append(out, p)
	}
	return out
}
