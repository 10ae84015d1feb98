package proxy

import (
	"net"
	"net/netip"

	"github.com/valyala/fasthttp"
)

// ParseHead reads a parsed header as a request's is read.
func ParseHead(r *fasthttp.RequestHeader, h *Head) error { return parseHead(r, h) }

// PlainPath says whether a path is one that routes may see.
func PlainPath(p string) bool { return plainPath(p) }

// RemoteOf is the client's address as seen from a peer with an X-Forwarded-For.
func RemoteOf(trusted []netip.Prefix, peer net.Addr, forwarded string) netip.Addr {
	s := &Server{config: Config{TrustedProxies: trusted}}
	return s.remote(peer, []byte(forwarded))
}

// KnownHost says whether a Host is served on a listening address.
func KnownHost(hosts []string, host string, local net.Addr) bool {
	s := New(Config{Hosts: hosts}, nil, nil, nil, nil)
	return s.knownHost([]byte(host), local)
}

// Bounded bounds the connections of one address.
func Bounded(ln net.Listener, most int) net.Listener { return bounded(ln, most, 0) }
