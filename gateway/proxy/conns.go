package proxy

import (
	"net"
	"net/netip"
	"sync"
)

// boundedListener bounds how many connections one address may have open; further ones are closed at once. fasthttp has
// such a bound too, and a data race between a connection's reader and Shutdown with it.
type boundedListener struct {
	net.Listener
	most int

	mu   sync.Mutex // guards open
	open map[netip.Addr]int
}

func bounded(ln net.Listener, most int) net.Listener {
	if most <= 0 {
		return ln
	}
	return &boundedListener{Listener: ln, most: most, open: map[netip.Addr]int{}}
}

// Accept gives the next connection of an address that is below its bound.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
		if !ok {
			return conn, nil
		}
		addr := tcp.AddrPort().Addr().Unmap()
		if l.enter(addr) {
			return &countedConn{Conn: conn, leave: sync.OnceFunc(func() { l.leave(addr) })}, nil
		}
		_ = conn.Close() // nothing was said on it
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

// countedConn gives its place back when it closes.
type countedConn struct {
	net.Conn
	leave func()
}

// Close closes the connection and frees its place.
func (c *countedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
