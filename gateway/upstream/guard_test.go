package upstream_test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/upstream"
)

func TestAddressesInsideAreRefused(t *testing.T) {
	always := []string{
		"0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.1", "168.63.129.16", "100.100.100.200", "224.0.0.1", "255.255.255.255",
		"240.0.0.1", "192.0.0.8", "192.0.2.1", "::", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "::ffff:169.254.169.254", "64:ff9b::a00:1",
		"64:ff9b:1::1", "2002:7f00:1::", "2001:0:1::", "2001:db8::1", "::7f00:1", "fd00:ec2::254", "::ffff:0.0.0.0", "::ffff:100.100.100.200",
	}
	private := []string{
		"127.0.0.1", "127.255.0.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.127.255.254",
		"198.18.0.1", "::1", "fc00::1", "fd12:3456::1", "::ffff:127.0.0.1", "::ffff:10.1.2.3",
	}
	public := []string{"1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"}
	for _, a := range always {
		if addr := netip.MustParseAddr(a); upstream.Permitted(addr, false) || upstream.Permitted(addr, true) {
			t.Errorf("%s is permitted", a)
		}
	}
	for _, a := range private {
		if addr := netip.MustParseAddr(a); upstream.Permitted(addr, false) || !upstream.Permitted(addr, true) {
			t.Errorf("%s is not private", a)
		}
	}
	for _, a := range public {
		if addr := netip.MustParseAddr(a); !upstream.Permitted(addr, false) {
			t.Errorf("%s is refused", a)
		}
	}
}

func TestANameThatLeadsInsideIsRefused(t *testing.T) {
	s := serveRaw(t, answer("200 OK", `{"jsonrpc":"2.0","id":$ID,"result":{}}`))
	_, port, _ := net.SplitHostPort(s.ln.Addr().String())
	for host, addrs := range map[string]string{
		"loop.example": "127.0.0.1", "meta.example": "169.254.169.254", "mapped.example": "::ffff:127.0.0.1",
		"mixed.example": "8.8.8.8 127.0.0.1", "nat64.example": "64:ff9b::7f00:1", "many.example": strings.Repeat("8.8.8.8 ", 40),
	} {
		client := newClient(t, func(o *upstream.Options) { o.Resolver = resolver(host, addrs) })
		target := s.target()
		target.URL, target.AllowPrivate = fmt.Sprintf("http://%s:%s/", host, port), false
		if e := wantKind(t, client.Call(t.Context(), target, toolCall(), new(upstream.Reply)), upstream.BlockedAddress); e.Sent || strings.Contains(e.Error(), "127.") {
			t.Errorf("%s: got %+v", host, e)
		}
	}
	if s.requests.Load() != 0 {
		t.Error("a blocked address was reached")
	}
}

func TestAddressesWrittenOtherwiseAreRefused(t *testing.T) {
	client := newClient(t, func(o *upstream.Options) { o.Resolver = resolver() })
	for _, host := range []string{
		"127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "127.0.0.1.", "10.0.0.1:80",
	} {
		target := &upstream.Target{Tenant: "demo", Name: host, URL: "http://" + host + "/", Era: "modern"}
		wantKind(t, client.Call(t.Context(), target, toolCall(), new(upstream.Reply)), upstream.BlockedAddress)
	}
}

func TestARebindingNameIsJudgedOnTheAddressThatIsDialed(t *testing.T) {
	s := serveRaw(t, answer("200 OK", `{"jsonrpc":"2.0","id":$ID,"result":{}}`))
	_, port, _ := net.SplitHostPort(s.ln.Addr().String())
	// Good at first, inside at the second look: there must be no second look.
	names := resolver("rebind.example", "127.0.0.1", "rebind.example", "169.254.169.254")
	client := newClient(t, func(o *upstream.Options) { o.Resolver = names })
	target := s.target()
	target.URL = "http://rebind.example:" + port + "/"
	if err := client.Call(t.Context(), target, toolCall(), new(upstream.Reply)); err != nil {
		t.Fatal(err)
	}
}

func TestURLsThatAreNoUpstreamAreRefused(t *testing.T) {
	for _, url := range []string{
		"", "mcp", "ftp://a/", "file:///etc/passwd", "http://", "http:///x", "http://u:p@a.example/", "http://a.example/#f", "http://a.example:0/",
		"http://a.example:99999/", "http://a.example:x/", "http://a b/", "http://a.example/\r\nX: y", "http://[fe80::1%25eth0]/", "http:a.example",
		"http://bücher.example/", "http://a.example/" + strings.Repeat("a", 3000), "unix:///run/x.sock",
	} {
		if upstream.CheckURL(url) == nil {
			t.Errorf("%q was accepted", url)
		}
	}
	for _, url := range []string{"https://a.example/mcp", "http://127.0.0.1:8080/mcp?x=1", "https://[2606:4700::1]/"} {
		if err := upstream.CheckURL(url); err != nil {
			t.Errorf("%q: %v", url, err)
		}
	}
}
