package mcp

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gatewright/gatewright/gateway/upstream"
)

// Servers is what the hub needs of servers.
type Servers interface {
	// Listen hears a server until ctx ends, on somebody's behalf; the zero Subject is the gateway itself. See
	// upstream.Client.Listen.
	Listen(ctx context.Context, tenant, server string, by upstream.Subject, s *upstream.Subscription) error
	// Refresh lists what a server offers anew.
	Refresh(ctx context.Context, tenant, server string) error
}

// An ear listens to one server for all who are shown its lists, on the gateway's own behalf: what comes of it is one more
// listing of the catalogue, never a word of the server's own.
type ear struct {
	users  int // audiences
	cancel context.CancelFunc
}

type earKey struct{ tenant, server string }

// own is the principal of the gateway's own sessions with servers. Callers' have a line break in them.
const own = "gatewright"

// hear counts one more audience of a server. h.mu is held.
func (h *Hub) hear(k earKey) {
	e := h.ears[k]
	if e == nil {
		ctx, cancel := context.WithCancel(context.Background())
		e = &ear{cancel: cancel}
		h.ears[k] = e
		go h.listen(ctx, k)
	}
	e.users++
}

// deafen counts the servers' audiences one less. h.mu is held.
func (h *Hub) deafen(keys []earKey) {
	for _, k := range keys {
		if e := h.ears[k]; e != nil {
			if e.users--; e.users == 0 {
				delete(h.ears, k)
				e.cancel()
			}
		}
	}
}

// heard notes which lists a server says have changed.
func (h *Hub) heard(k earKey, which [len(changes)]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, yes := range which {
		if yes {
			h.said.mark(k, i)
		}
	}
	h.kick(k.tenant)
}

// again is how long a server is left alone that could not be listened to.
const again = 30 * time.Second

// listen hears a server again and again. One that has nothing to say on its own is left alone.
func (h *Hub) listen(ctx context.Context, k earKey) {
	peer := &lists2refresh{ctx: ctx, hub: h, key: k}
	for ctx.Err() == nil {
		err := h.Servers.Listen(ctx, k.tenant, k.server, upstream.Subject{}, &upstream.Subscription{
			Principal: own, Peer: peer, Filter: []byte(`{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}`),
		})
		if fail, ok := errors.AsType[*upstream.Error](err); ok && fail.Kind == upstream.Status && fail.Code == http.StatusMethodNotAllowed {
			return
		}
		pause(ctx, again)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// lists2refresh hears that a server's lists have changed, and has them listed: at once, and then at most once in a while.
type lists2refresh struct {
	ctx context.Context //nolint:containedctx // of the listening
	hub *Hub
	key earKey

	mu   sync.Mutex // guards what follows
	busy bool
	more [len(changes)]bool
}

// rest is the time between two listings that a server asks for.
const rest = time.Second

// Capabilities are none: the gateway itself answers no questions.
func (*lists2refresh) Capabilities() []byte { return nil }

// Answer is never asked, since nothing can be.
func (*lists2refresh) Answer(context.Context, string, []byte) (result, failure []byte) {
	return nil, []byte(`{"code":-32601,"message":"Method not found"}`)
}

// Notify hears of a change.
func (r *lists2refresh) Notify(method string, _ []byte) error {
	i := slices.IndexFunc(changes[:], func(c change) bool { return c.told == method })
	if i < 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.more[i] = true
	if !r.busy {
		r.busy = true
		go r.run()
	}
	return nil
}

func (r *lists2refresh) run() {
	for {
		r.mu.Lock()
		more := r.more
		if !slices.Contains(more[:], true) || r.ctx.Err() != nil {
			r.busy = false
			r.mu.Unlock()
			return
		}
		r.more = [len(changes)]bool{}
		r.mu.Unlock()
		_ = r.hub.Servers.Refresh(r.ctx, r.key.tenant, r.key.server) // the catalogue keeps and shows why it failed
		r.hub.heard(r.key, more)
		pause(r.ctx, rest)
	}
}
