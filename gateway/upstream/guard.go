package upstream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Resolver turns a name into addresses; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// maxAddresses bounds how many addresses of one name are looked at.
const maxAddresses = 32

// forbidden addresses are never dialed: they are no one's server, or they
// translate to an address that would hide what is really reached. The blocks
// are those of the IANA special-purpose registries (RFC 6890) that are not
// plainly private.
var forbidden = prefixes(
	"0.0.0.0/8",          // this network; Linux takes it as loopback
	"169.254.0.0/16",     // link-local, and every cloud's metadata service
	"168.63.129.16/32",   // Azure's host agent, outside the special blocks
	"100.100.100.200/32", // Alibaba's metadata service
	"192.0.0.0/24", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "192.88.99.0/24",
	"224.0.0.0/4", "240.0.0.0/4", // multicast, reserved and broadcast
	"::/128", "::/96", // unspecified, IPv4-compatible (but see ::1 below)
	"64:ff9b::/96", "64:ff9b:1::/48", // NAT64
	"100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", // discard, Teredo and kin, documentation, 6to4
	"fe80::/10", "fec0::/10", "ff00::/8", // link-local, site-local, multicast
	"fd00:ec2::254/128", "fd20:ce::254/128", // metadata of AWS and Google over IPv6
)

// private addresses are dialed only for a target that says AllowPrivate.
var private = prefixes(
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // RFC 1918
	"127.0.0.0/8", "100.64.0.0/10", "198.18.0.0/15", // loopback, CGNAT, benchmarking
	"::1/128", "fc00::/7",
)

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		out[i] = netip.MustParsePrefix(t)
	}
	return out
}

func within(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// permitted says whether the gateway may connect to an address. IPv4-mapped
// addresses are judged as what they map to.
func permitted(a netip.Addr, allowPrivate bool) bool {
	a = a.Unmap()
	if !a.IsValid() || a.Zone() != "" {
		return false
	}
	if within(private, a) && !within(forbidden, a) || a == netip.IPv6Loopback() {
		return allowPrivate
	}
	return !within(forbidden, a)
}

// guard connects to names, but only to addresses it has judged itself.
type guard struct {
	resolver Resolver
	dialer   net.Dialer
}

// dial resolves host, judges every address and connects to one of exactly
// those. One bad address among good ones refuses the name: an honest name does
// not mix them, and a rebinding one does.
func (g *guard) dial(ctx context.Context, host string, port uint16, allowPrivate bool) (net.Conn, error) {
	addrs, err := g.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if !permitted(a, allowPrivate) {
			return nil, fault(BlockedAddress, blocked(a))
		}
	}
	for i, a := range addrs {
		conn, err := g.connect(ctx, netip.AddrPortFrom(a.Unmap(), port), len(addrs)-i)
		if err == nil {
			return conn, nil
		}
	}
	return nil, dialFault(ctx, "cannot connect")
}

// blocked says why an address is refused, and what its owner may do where anything helps.
func blocked(a netip.Addr) string {
	if permitted(a, true) {
		return `the server stands on a loopback or private address (allow it: "allow_private": true; in gateway.hcl allow_private = true)`
	}
	return "the server's name leads to an address that is not allowed"
}

// connect tries one address with its share of the time left, so that one dead
// address does not use up the chances of the rest.
func (g *guard) connect(ctx context.Context, to netip.AddrPort, left int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok {
		share, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
		ctx = share
	}
	return g.dialer.DialContext(ctx, "tcp", to.String())
}

func (g *guard) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	if looksNumeric(host) {
		return nil, fault(BlockedAddress, "the server's host is a number but not an address")
	}
	addrs, err := g.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(addrs) == 0 {
		return nil, dialFault(ctx, "cannot resolve the server's name")
	}
	if len(addrs) > maxAddresses {
		return nil, fault(BlockedAddress, "the server's name has more than "+strconv.Itoa(maxAddresses)+" addresses")
	}
	return addrs, nil
}

// looksNumeric finds hosts such as 2130706433, 0x7f.1 or 127.1, which some
// resolvers read as addresses. No real name ends in a numeric label.
func looksNumeric(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	return last == "" || last[0] >= '0' && last[0] <= '9' && onlyHex(last)
}

func onlyHex(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && c != 'x' {
			return false
		}
	}
	return true
}

func dialFault(ctx context.Context, detail string) *Error {
	switch err := ctx.Err(); {
	case errors.Is(err, context.DeadlineExceeded):
		return fault(Timeout, detail+" in time")
	case err != nil:
		return canceled(ctx)
	}
	return fault(Unreachable, detail)
}
