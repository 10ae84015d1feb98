package proxy

import (
	"encoding/base64"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/canon"
)

// JSON answers with a JSON body.
func (x *Exchange) JSON(status int, body []byte) {
	x.SetStatusCode(status)
	x.Response.Header.SetContentType("application/json")
	x.Response.Header.Set("X-Content-Type-Options", "nosniff")
	x.Response.Header.Set("Cache-Control", "no-store")
	x.SetBody(body)
}

// JSONSwap is JSON without copying: the body becomes the answer's, and the answer's old buffer is given back.
func (x *Exchange) JSONSwap(status int, body []byte) []byte {
	x.SetStatusCode(status)
	x.Response.Header.SetContentType("application/json")
	x.Response.Header.SetCanonical(nosniffName, nosniff)
	x.Response.Header.SetCanonical(cacheName, noStore)
	return x.Response.SwapBody(body)
}

var (
	nosniffName, nosniff              = []byte("X-Content-Type-Options"), []byte("nosniff")
	cacheName, noStore                = []byte("Cache-Control"), []byte("no-store")
	recordName, receiptName, saltName = []byte("Gatewright-Record"), []byte("Gatewright-Receipt"), []byte("Gatewright-Salt")
)

// Refuse answers with a refusal in the gateway's own form: {"code","message","hint","record"}.
func (x *Exchange) Refuse(d *pipeline.Denial, record string) {
	x.RefusalHead(d, record)
	x.JSON(d.Status(), AppendRefusal(nil, d, record))
}

// RefusalHead sets the headers that go with a refusal whatever the form of its body.
func (x *Exchange) RefusalHead(d *pipeline.Denial, record string) {
	if record != "" {
		x.Response.Header.Set("Gatewright-Record", record)
	}
	if challenged(d) {
		var p *Protected
		if x.server != nil {
			p = x.server.config.Protected
		}
		x.Response.Header.Set("WWW-Authenticate", p.challenge(d, x.Path, x.Head.Authorization != nil))
	}
	if d.RetryAfter > 0 {
		x.Response.Header.Set("Retry-After", strconv.FormatInt(int64((d.RetryAfter.Seconds())+0.999), 10))
	}
}

// AppendRefusal writes a refusal as JSON.
func AppendRefusal(b []byte, d *pipeline.Denial, record string) []byte {
	b = append(b, `{"code":`...)
	b = canon.AppendString(b, string(d.Code))
	b = append(b, `,"message":`...)
	b = canon.AppendString(b, d.Message)
	b = append(b, `,"hint":`...)
	b = canon.AppendString(b, d.Hint)
	if record != "" {
		b = append(b, `,"record":`...)
		b = canon.AppendString(b, record)
	}
	if d.Code == pipeline.Unauthenticated { // some clients take what does not say so for allowed
		b = append(b, `,"allowed":false`...)
	}
	return append(b, '}')
}

// SetRecord sets the headers that name the record of an answered call and carry its receipt. Gatewright-Salt opens the
// request and reply digests of the receipt to whoever holds the request and the reply.
func (x *Exchange) SetRecord(c *pipeline.Call) {
	h := &x.Response.Header
	if c.Record != "" {
		h.SetCanonical(recordName, []byte(c.Record))
	}
	if len(c.Receipt) > 0 {
		h.SetCanonical(receiptName, c.Receipt)
		var salt [22]byte
		base64.RawURLEncoding.Encode(salt[:], c.Salt[:])
		h.SetCanonical(saltName, salt[:])
	}
}

// knownHost refuses names that a page on the web could have pointed here (DNS rebinding).
func (s *Server) knownHost(host []byte, local net.Addr) bool {
	if s.hosts[string(host)] || equal(host, "localhost") {
		return true
	}
	if last := s.loopback.Load(); last != nil && *last == string(host) {
		return true
	}
	name := strings.ToLower(string(host))
	if h, _, err := net.SplitHostPort(name); err == nil {
		name = h
	}
	name = strings.Trim(name, "[]")
	if name == "localhost" || s.hosts[name] {
		return true
	}
	ip, err := netip.ParseAddr(name)
	if err != nil {
		return false
	}
	if ip.IsLoopback() {
		spelled := string(host)
		s.loopback.Store(&spelled)
		return true
	}
	tcp, ok := local.(*net.TCPAddr)
	return ok && tcp.AddrPort().Addr().Unmap() == ip.Unmap()
}

func (s *Server) knownOrigin(origin string) bool {
	return slices.Contains(s.config.Origins, origin)
}

// remote is the client's address. What X-Forwarded-For says is believed only from a trusted proxy: the last address in
// it that is not itself one.
func (s *Server) remote(peer net.Addr, forwarded []byte) netip.Addr {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr := tcp.AddrPort().Addr().Unmap()
	if len(forwarded) == 0 || !s.trusted(addr) {
		return addr
	}
	hops := strings.Split(string(forwarded), ",")
	for _, hop := range slices.Backward(hops) {
		hop, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			return addr
		}
		addr = hop.Unmap()
		if !s.trusted(addr) {
			return addr
		}
	}
	return addr
}

func (s *Server) trusted(a netip.Addr) bool {
	for _, p := range s.config.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
