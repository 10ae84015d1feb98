package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// probeAfter is how long a connection may have been idle before it is looked
// at: in a busy pool the look would cost more than it finds.
const probeAfter = 100 * time.Millisecond

// pool holds one upstream's connections, newest first.
type pool struct {
	slots chan struct{} // one for each connection in use

	mu     sync.Mutex // guards what follows
	idle   []*conn
	closed bool
}

func newPool(size int) *pool { return &pool{slots: make(chan struct{}, size)} }

// slot takes the right to use one connection.
func (p *pool) slot(ctx context.Context, wait time.Duration) *Error {
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return canceled(ctx)
	case <-timer.C:
		return fault(Busy, "all connections are in use")
	}
}

// try takes the right to use one connection if there is one at once.
func (p *pool) try() bool {
	select {
	case p.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

// take returns an idle connection that is fit for use, or nil.
func (p *pool) take(now time.Time, idle time.Duration) *conn {
	for {
		c := p.pop()
		if c == nil {
			return nil
		}
		age := now.Sub(c.used)
		if age <= idle && (age < probeAfter || c.probe.quiet()) {
			return c
		}
		_ = c.net.Close()
	}
}

func (p *pool) pop() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return nil
	}
	last := len(p.idle) - 1
	c := p.idle[last]
	p.idle[last] = nil
	p.idle = p.idle[:last]
	return c
}

// give returns a connection's slot and keeps the connection if it is fit.
func (p *pool) give(c *conn, fit bool, now time.Time) {
	p.mu.Lock()
	if fit = fit && !p.closed; fit {
		c.used = now
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if !fit && c != nil {
		_ = c.net.Close()
	}
	<-p.slots
}

// expire closes connections that were idle for too long; all of them when
// final, and later ones as they come back.
func (p *pool) expire(now time.Time, idle time.Duration, final bool) {
	p.mu.Lock()
	old := 0
	for old < len(p.idle) && (final || now.Sub(p.idle[old].used) > idle) {
		old++
	}
	dead := append([]*conn(nil), p.idle[:old]...)
	p.idle = append(p.idle[:0], p.idle[old:]...)
	p.closed = p.closed || final
	p.mu.Unlock()
	for _, c := range dead {
		_ = c.net.Close()
	}
}

func (p *pool) counts() (inUse, idle int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.slots), len(p.idle)
}

// open connects to an upstream through the guard, with TLS when its URL says so.
func (c *Client) open(ctx context.Context, p *peer) (*conn, *Error) {
	a := &p.address
	ctx, cancel := context.WithTimeout(ctx, c.config.ConnectTimeout)
	defer cancel()
	raw, err := c.guard.dial(ctx, a.host, a.port, p.allowPrivate)
	if err != nil {
		return nil, asFault(err)
	}
	if !a.tls {
		return newConn(raw), nil
	}
	config := c.tlsConfig(a.host)
	if len(p.pins) > 0 {
		config.VerifyConnection = p.pinned
	}
	secured := tls.Client(raw, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, tlsFault(ctx, err)
	}
	return newConn(secured), nil
}

func (c *Client) tlsConfig(host string) *tls.Config {
	return &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, RootCAs: c.roots, NextProtos: []string{"http/1.1"}}
}

// tlsFault tells a certificate we do not accept from a connection that broke.
func tlsFault(ctx context.Context, err error) *Error {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fault(Unreachable, "the server's certificate is not accepted")
	}
	if fail, ok := errors.AsType[*Error](err); ok {
		return fail
	}
	return dialFault(ctx, "the TLS handshake failed")
}

// asFault returns err as an *Error.
func asFault(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return fault(Unreachable, "the connection broke")
}

// loadRoots returns the system's authorities and those of file, or nil for
// the system's alone.
func loadRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // crypto/tls reads nil as "the system's"
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read root CA file: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("root CA file %s holds no certificate", file)
	}
	return roots, nil
}

var _ Resolver = (*net.Resolver)(nil)
