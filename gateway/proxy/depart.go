package proxy

import (
	"context"
	"time"
)

// fasthttp reads a connection only between requests, so it cannot see a client leave while a call is under way, and
// Go's own poller tells nobody who is not reading. On Linux an epoll of our own is asked for one event a connection: the
// peer has shut down its side or the connection has broken. The kernel tells that also behind bytes that nobody has read
// yet, pipelined or encrypted. Elsewhere (depart_other.go) nothing is noticed before the connection is written to.
//
// A client that shuts down only its sending side counts as gone too: on the wire it looks the same.

// silentPeer and the write timeout are how long what was sent may stay unacknowledged before the kernel gives the
// connection up: a peer whose machine or network is gone says nothing, and would otherwise be waited for some 15 minutes.
// The kernel counts a reader that takes nothing too, so it must not be shorter than a write may take.
const silentPeer = 15 * time.Second

// Context ends when the client leaves, and when its connection is closed. It is the connection's: what is begun under it
// is ended by whoever began it, with the request.
func (x *Exchange) Context() context.Context {
	if x.RequestCtx != nil {
		if c := connOf(x.Conn()); c != nil {
			return c.ctx
		}
	}
	return context.Background()
}

// Stoppable is Context with a way to end the work of this request alone. The context is the connection's, and later requests have
// it too until it is stopped; so it must not be stopped when the request is over.
func (x *Exchange) Stoppable() (context.Context, context.CancelFunc) {
	if x.RequestCtx != nil {
		if c := connOf(x.Conn()); c != nil {
			if c.calls == nil || c.calls.Err() != nil {
				c.calls, c.stop = context.WithCancel(c.ctx)
			}
			return c.calls, c.stop
		}
	}
	return context.WithCancel(context.Background())
}
