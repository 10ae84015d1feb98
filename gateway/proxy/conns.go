package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// boundedListener accepts connections that know when their client leaves, and bounds how many one address may have open;
// further ones are closed at once. fasthttp has such a bound too, and a data race between a connection's reader and
// Shutdown with it.
type boundedListener struct {
	net.Listener
	most   int           // 0 is no bound
	silent time.Duration // how long a peer may leave what was sent unacknowledged; 0 leaves it to the kernel

	mu   sync.Mutex // guards open
	open map[netip.Addr]int
}

func bounded(ln net.Listener, most int, silent time.Duration) net.Listener {
	return &boundedListener{Listener: ln, most: most, silent: silent, open: map[netip.Addr]int{}}
}

// Accept gives the next connection of an address that is below its bound.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		tcp, ok := raw.RemoteAddr().(*net.TCPAddr)
		if !ok || l.most <= 0 {
			return newConn(raw, l.silent, nil), nil
		}
		addr := tcp.AddrPort().Addr().Unmap()
		if l.enter(addr) {
			return newConn(raw, l.silent, func() { l.leave(addr) }), nil
		}
		_ = raw.Close() // nothing was said on it
	}
}

func (l *boundedListener) enter(a netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[a] >= l.most {
		return false
	}
	l.open[a]++
	return true
}

func (l *boundedListener) leave(a netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[a]--; l.open[a] <= 0 {
		delete(l.open, a)
	}
}

// conn is a client's connection. Its context ends when the client leaves, as far as that can be seen (see departures),
// and when the connection is closed. One context serves all of its calls, which come one after the other, so that none
// of them pays for it.
type conn struct {
	net.Conn
	ctx    context.Context //nolint:containedctx // the connection's own life
	cancel context.CancelFunc
	calls  context.Context    //nolint:containedctx // of its requests that can be stopped; ends before ctx when one of them was
	stop   context.CancelFunc // ends calls
	free   func()             // gives its place back; nil: it has none
	watch  uint64             // its number among the departures; 0: it is not watched
	once   sync.Once
	early
}

func newConn(raw net.Conn, silent time.Duration, free func()) *conn {
	c := &conn{Conn: raw, free: free}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.watch = watchDeparture(raw, silent, c.cancel)
	return c
}

// Read gives first what was read too early.
func (c *conn) Read(p []byte) (int, error) {
	c.read = true
	if n := c.again(p); n > 0 {
		return n, nil
	}
	return c.Conn.Read(p)
}

// SetReadDeadline notes what was read before it.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.turn()
	return c.Conn.SetReadDeadline(t)
}

// Close closes the connection, ends its context and frees its place, once.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		forgetDeparture(c.watch)
		c.cancel()
		if c.free != nil {
			c.free()
		}
	})
	return err
}

// securedListener is tls.NewListener whose connections still know the conn below them.
type securedListener struct {
	net.Listener
	config *tls.Config
}

// Accept gives the next connection; its handshake is made by whoever reads first.
func (l *securedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &secured{Conn: tls.Server(c, l.config), below: c.(*conn)}, nil
}

// secured is a client's connection under TLS.
type secured struct {
	*tls.Conn
	below *conn
	early
}

// Read gives first what was read too early.
func (c *secured) Read(p []byte) (int, error) {
	c.read = true
	if n := c.again(p); n > 0 {
		return n, nil
	}
	return c.Conn.Read(p)
}

// SetReadDeadline notes what was read before it.
func (c *secured) SetReadDeadline(t time.Time) error {
	c.turn()
	return c.Conn.SetReadDeadline(t)
}

// early are bytes of requests to come that were read while a stream took the connection over. They are read again by
// whoever serves the connection after it.
type early struct {
	bytes []byte

	read   bool // since the last deadline for reading was set
	waited bool // there was a read between the two deadlines before
}

func (e *early) turn() { e.waited, e.read = e.read, false }

// awaited says whether the request at hand was waited for, so that every answer before it was sent: fasthttp keeps answers
// back while it has bytes of another request. It sets one deadline to wait for a request's first byte, which it reads only
// when it has none, and another one to read the rest. The first request of a connection has none before it.
func awaited(ctx *fasthttp.RequestCtx) bool {
	if ctx.ConnRequestNum() == 1 {
		return true
	}
	switch c := ctx.Conn().(type) {
	case *conn:
		return c.waited
	case *secured:
		return c.waited
	}
	return false
}

func (e *early) again(p []byte) int {
	if len(e.bytes) == 0 {
		return 0
	}
	n := copy(p, e.bytes)
	if e.bytes = e.bytes[n:]; len(e.bytes) == 0 {
		e.bytes = nil
	}
	return n
}

// putBack has b read again; nothing else may be waiting for that.
func putBack(c net.Conn, b []byte) {
	switch c := c.(type) {
	case *conn:
		c.bytes = b
	case *secured:
		c.bytes = b
	}
}

// connOf is the connection that a request came on; nil when it did not come through this port's listener.
func connOf(c net.Conn) *conn {
	switch c := c.(type) {
	case *conn:
		return c
	case *secured:
		return c.below
	}
	return nil
}
