package upstream

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
)

// maxAnswerHead is the largest head of an answer that a Transport reads.
const maxAnswerHead = 64 << 10

// Transport is the way to a server that speaks HTTP, but not MCP. It judges addresses after DNS and dials the ones it judged, uses no
// proxy, asks for no compression and speaks HTTP/1.1 alone; whoever uses it by RoundTrip follows no redirect. A request of a safe
// method may be sent once more when the server closed the connection that it was to go over (RFC 9110, 9.2.2); no other is, unless
// nothing of it was written.
//
// Its errors may hold an *Error, which says what is wrong with the address. It has no bound on bodies: that is its user's.
func Transport(c Config, resolver Resolver, allowPrivate bool) (*http.Transport, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	roots, err := loadRoots(c.RootCAFile)
	if err != nil {
		return nil, err
	}
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	g := guard{resolver: resolver}
	return &http.Transport{
		Proxy: nil, // the environment's would see every request, and would look addresses up itself
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			host, text, err := net.SplitHostPort(address)
			if err != nil {
				return nil, fault(Invalid, "the server's address cannot be read")
			}
			port, err := strconv.ParseUint(text, 10, 16)
			if err != nil || port == 0 {
				return nil, fault(Invalid, "the server's URL has a bad port")
			}
			ctx, cancel := context.WithTimeout(ctx, c.ConnectTimeout)
			defer cancel()
			return g.dial(ctx, host, uint16(port), allowPrivate)
		},
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, NextProtos: []string{"http/1.1"}},
		TLSHandshakeTimeout: c.ConnectTimeout, ResponseHeaderTimeout: c.Timeout, IdleConnTimeout: c.IdleTimeout,
		MaxConnsPerHost: c.MaxConnections, MaxIdleConnsPerHost: c.MaxConnections, MaxResponseHeaderBytes: maxAnswerHead,
		DisableCompression: true, ForceAttemptHTTP2: false,
	}, nil
}
