package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"sync"

	"github.com/gatewright/gatewright/gateway/control"
)

// loadCertificates makes the TLS configurations of the two ports; a port without a certificate is plaintext. The
// configuration has refused plaintext beyond loopback in production mode already.
func (g *Gateway) loadCertificates(context.Context) error {
	p, c := g.o.Config.Proxy, g.o.Config.Control
	var err error
	if g.dataTLS, err = g.certificate(p.TLSCert, p.TLSKey, p.TLSMin); err != nil {
		return fmt.Errorf("data port: %w", err)
	}
	if g.dataTLS != nil {
		g.dataTLS.NextProtos = []string{"http/1.1"} // fasthttp speaks no other
		if err := takeClients(g.dataTLS, p.ClientCA); err != nil {
			return g.misconfigured(err)
		}
	}
	if g.adminTLS, err = g.certificate(c.TLSCert, c.TLSKey, c.TLSMin); err != nil {
		return fmt.Errorf("control port: %w", err)
	}
	return nil
}

// takeClients has clients asked for a certificate; one that is shown must be of these authorities, or there is no connection.
func takeClients(c *tls.Config, file string) error {
	if file == "" {
		return nil
	}
	b, err := readSetting("client_ca", file)
	if err != nil {
		return err
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(b) {
		return fmt.Errorf("client_ca: %s holds no certificate in PEM", file)
	}
	c.ClientAuth = tls.VerifyClientCertIfGiven
	return nil
}

func (g *Gateway) certificate(cert, key, lowest string) (*tls.Config, error) {
	if cert == "" {
		return nil, nil
	}
	version := uint16(tls.VersionTLS13)
	if lowest == "1.2" {
		version = tls.VersionTLS12
	}
	conf, c, err := control.TLSConfig(cert, key, version)
	if err != nil {
		return nil, err
	}
	g.certs = append(g.certs, c)
	return conf, nil
}

// reloadCertificates reads the certificate files again, as SIGHUP asks. Those in use stay where the new ones cannot be
// read.
func (g *Gateway) reloadCertificates() {
	for _, c := range g.certs {
		if err := c.Reload(); err != nil {
			g.o.Log.Error("certificate not reloaded, the one in use stays", "error", err)
		}
	}
}

// limit bounds how many connections are open at once: further ones wait in the listen queue.
func limit(ln net.Listener, n int) net.Listener {
	return &limited{Listener: ln, slots: make(chan struct{}, n), closed: make(chan struct{})}
}

type limited struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

// Accept waits for a slot and then for a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &slot{Conn: conn, free: sync.OnceFunc(func() { <-l.slots })}, nil
}

// Close ends a waiting Accept too.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// slot gives its place back when the connection closes.
type slot struct {
	net.Conn
	free func()
}

// Close closes the connection and frees its place.
func (s *slot) Close() error {
	defer s.free()
	return s.Conn.Close()
}
