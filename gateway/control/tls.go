package control

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// Certificate is a TLS certificate on disk that can be read again without a restart.
type Certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
}

// TLSConfig loads the pair and returns a server configuration with the given lowest version (tls.VersionTLS13, or 1.2 by
// setting; lower is refused), and the Certificate whose Reload serves SIGHUP.
func TLSConfig(certFile, keyFile string, lowest uint16) (*tls.Config, *Certificate, error) {
	if lowest != tls.VersionTLS12 && lowest != tls.VersionTLS13 {
		return nil, nil, errors.New("tls: the lowest version must be 1.2 or 1.3")
	}
	c := &Certificate{certFile: certFile, keyFile: keyFile}
	if err := c.Reload(); err != nil {
		return nil, nil, err
	}
	return &tls.Config{
		MinVersion:     lowest,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}, c, nil
}

// Reload reads the pair again. On error the certificate in use stays.
func (c *Certificate) Reload() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("load certificate: %w", err)
	}
	c.current.Store(&pair)
	return nil
}

// Server wraps a handler with the bounds that only a server can keep: times and the size of the header block. The write
// timeout leaves room for a 30 s profile. It speaks HTTP/1.1 only: management gains nothing from streams in parallel, and
// each protocol is one more way in.
func Server(h http.Handler) *http.Server {
	var one http.Protocols
	one.SetHTTP1(true)
	return &http.Server{
		Protocols:         &one,
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      75 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    32 << 10,
	}
}
