package control

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// Bounds of what the guard reads. net/http bounds the header block as a whole; these bound single values.
const (
	maxPath  = 512 // bytes; the longest route with the longest id is below 200
	maxQuery = 1024
	maxHops  = 16 // entries of X-Forwarded-For looked at
)

// guard judges what can be judged without knowing who calls.
type guard struct {
	hosts   map[string]bool
	origins map[string]bool
	proxies []netip.Prefix
}

// check returns the refusal, or nil.
func (g *guard) check(r *http.Request) *problem {
	if !g.hostAllowed(r.Host) {
		return refuse(http.StatusMisdirectedRequest, "host_refused", "the Host header names no host this port answers to",
			"add the name to control.hosts")
	}
	if !g.originAllowed(r) {
		return refuse(http.StatusForbidden, "origin_refused", "a page of another origin may not call this port",
			"add the origin to control.origins")
	}
	if p := checkPath(r.URL); p != nil {
		return p
	}
	return checkQuery(r.URL)
}

// hostAllowed accepts loopback names on any port and the configured hosts. A configured name without a port allows
// every port of it. Names compare exactly (a trailing dot is another name), so a rebound browser has nothing to guess.
func (g *guard) hostAllowed(host string) bool {
	host = strings.ToLower(host)
	if g.hosts[host] {
		return true
	}
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if name == "localhost" || g.hosts[name] {
		return true
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(name, "["), "]"))
	return err == nil && addr.Zone() == "" && addr.Unmap().IsLoopback()
}

// originAllowed is the browser's side of the same question: no Origin and no Sec-Fetch-Site means no browser.
func (g *guard) originAllowed(r *http.Request) bool {
	origins := r.Header.Values("Origin")
	if len(origins) > 1 {
		return false
	}
	if len(origins) == 1 {
		own := "http://" + r.Host
		if r.TLS != nil {
			own = "https://" + r.Host
		}
		return strings.EqualFold(origins[0], own) || g.origins[strings.ToLower(origins[0])]
	}
	for _, site := range r.Header.Values("Sec-Fetch-Site") {
		if site != "none" && site != "same-origin" {
			return false
		}
	}
	return true
}

// checkPath accepts one spelling of a path only, so that no two layers can read it differently: no escapes (no id needs
// one), no empty, "." or ".." segment, no trailing slash but on the root.
func checkPath(u *url.URL) *problem {
	bad := func(why string) *problem {
		return refuse(http.StatusBadRequest, "path_invalid", why, "spell the path as /openapi.json does")
	}
	if u.Scheme != "" || u.Host != "" || u.Opaque != "" {
		return bad("the request target must be a path")
	}
	p := u.EscapedPath()
	if len(p) > maxPath {
		return bad("the path is too long")
	}
	if p == "/" {
		return nil
	}
	if !strings.HasPrefix(p, "/") {
		return bad("the request target must be a path")
	}
	for i := range len(p) {
		if !pathByte(p[i]) {
			return bad("the path holds a character that no route has")
		}
	}
	for segment := range strings.SplitSeq(p[1:], "/") {
		if segment == "" || segment == "." || segment == ".." {
			return bad("the path has an empty or relative segment")
		}
	}
	return nil
}

func pathByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("/-._~", c) >= 0
}

// checkQuery refuses a parameter given twice: which of the two counts is a matter of taste, and taste is not a law.
func checkQuery(u *url.URL) *problem {
	if u.RawQuery == "" {
		return nil
	}
	bad := func(why string) *problem {
		return refuse(http.StatusBadRequest, "query_invalid", why, "give each query parameter once, properly escaped")
	}
	if len(u.RawQuery) > maxQuery {
		return bad("the query is too long")
	}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad("the query does not parse")
	}
	for _, v := range values {
		if len(v) > 1 {
			return bad("a query parameter is given twice")
		}
	}
	return nil
}

// client is the address a record names: the peer's, or, when the peer is a listed proxy, the rightmost address in
// X-Forwarded-For that is not one. Anything unreadable on the way ends the walk at the last address believed.
func (g *guard) client(r *http.Request) netip.Addr {
	addr := peer(r)
	if !g.trusted(addr) {
		return addr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for n := 0; len(hops) > 0 && n < maxHops; n++ {
		next, err := netip.ParseAddr(strings.TrimSpace(hops[len(hops)-1]))
		if err != nil || next.Zone() != "" {
			return addr
		}
		addr, hops = next.Unmap(), hops[:len(hops)-1]
		if !g.trusted(addr) {
			return addr
		}
	}
	return addr
}

func (g *guard) trusted(a netip.Addr) bool {
	for _, p := range g.proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// peer is the address at the other end of the connection; the zero Addr when it is not an IP connection.
func peer(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// direct reports whether the caller itself is on this machine: a loopback peer that forwards for nobody. A reverse
// proxy on this machine has a loopback peer too, and gives itself away by the header it adds.
func direct(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if len(r.Header.Values(name)) > 0 {
			return false
		}
	}
	return peer(r).IsLoopback()
}
