package proxy_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/gatewright/gatewright/gateway/proxy"
)

// read parses raw bytes as fasthttp would on a connection, and then as the gateway does.
func read(raw string) (proxy.Head, error) {
	var r fasthttp.RequestHeader
	var h proxy.Head
	if err := r.Read(bufio.NewReaderSize(strings.NewReader(raw), 16384)); err != nil {
		return h, err
	}
	return h, proxy.ParseHead(&r, &h)
}

func TestEachHeaderOfOursMayComeOnce(t *testing.T) {
	for _, name := range []string{
		"Host", "Origin", "Content-Type", "Content-Encoding", "Accept", "Authorization", "X-API-Key", "X-Forwarded-For", "Gatewright-Intent", "Gatewright-Step",
		"Gatewright-Proof", "Idempotency-Key", "MCP-Protocol-Version", "Mcp-Method", "Mcp-Name", "Mcp-Session-Id", "X-Organization-Id", "Content-Length",
	} {
		for _, twice := range []string{name + ": 1\r\n" + name + ": 1\r\n", name + ": 1\r\n" + strings.ToUpper(name) + ": 2\r\n", name + ":\r\n" + strings.ToLower(name) + ":\r\n"} {
			_, err := read("POST /mcp HTTP/1.1\r\n" + strings.Replace("Host: localhost\r\n"+twice, "Host: localhost\r\nHost", "Host", 1) + "\r\n")
			if err == nil {
				t.Errorf("%q is taken", twice)
			}
		}
	}
}

func TestHeadersAreReadWithoutCaseAndTrimmed(t *testing.T) {
	h, err := read("POST /mcp HTTP/1.1\r\nhOST:localhost\r\nORIGIN: \t o \r\ngatewright-INTENT: tok\r\nMCP-PARAM-A: 1\r\nmcp-param-b:\r\nGatewright-Step:\r\nIdempotency-Key:  k \r\n" +
		"x-organization-id: acme\r\nX-Api-Key: a\r\nMcp-Name: n\r\nMcp-Method: m\r\nMcp-Session-Id: s\r\nGatewright-Proof: p\r\nMCP-Protocol-Version: v\r\nX-Forwarded-For: f\r\nAccept: */*\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[*[]byte]string{
		&h.Host: "localhost", &h.Origin: "o", &h.Intent: "tok", &h.Retry: "k", &h.Organization: "acme", &h.APIKey: "a", &h.Name: "n", &h.Method: "m",
		&h.Session: "s", &h.Proof: "p", &h.ProtocolVersion: "v", &h.ForwardedFor: "f", &h.Accept: "*/*", &h.Step: "",
	} {
		if string(*got) != want {
			t.Errorf("%q, want %q", *got, want)
		}
	}
	if h.Step == nil || h.Authorization != nil {
		t.Error("an empty header and a missing one are told alike")
	}
	if len(h.Params) != 2 || string(h.Params[0].Name) != "A" && string(h.Params[0].Name) != "a" || string(h.Params[0].Value) != "1" || string(h.Params[1].Value) != "" {
		t.Errorf("params %q", h.Params)
	}
}

func TestHeadersLikeOursAreNotOurs(t *testing.T) {
	h, err := read("POST /mcp HTTP/1.1\r\nHost: localhost\r\nX_API_KEY: a\r\nAuthorization2: b\r\nGatewright-Intents: c\r\nXX-API-Key: d\r\nMcp-Params-A: e\r\nMcp-Param: f\r\n\r\n")
	if err != nil || h.APIKey != nil || h.Authorization != nil || h.Intent != nil || len(h.Params) != 0 {
		t.Errorf("%v, %+v", err, h)
	}
}

func TestMcpParamHeadersAreBounded(t *testing.T) {
	head := "POST /mcp HTTP/1.1\r\nHost: localhost\r\n"
	if h, err := read(head + strings.Repeat("Mcp-Param-A: y\r\n", 64) + "\r\n"); err != nil || len(h.Params) != 64 {
		t.Errorf("64: %v", err)
	}
	if _, err := read(head + strings.Repeat("Mcp-Param-A: y\r\n", 65) + "\r\n"); !errors.Is(err, proxy.ErrFraming) {
		t.Errorf("65: %v", err)
	}
}

func TestTheKeyIsOneOrNone(t *testing.T) {
	for raw, want := range map[string]string{
		"": "", "Authorization: Bearer ak_1\r\n": "ak_1", "authorization: bEARER   ak_1\r\n": "ak_1", "X-API-Key: ak_1\r\n": "ak_1",
		"Authorization: Bearer ak_1\r\nX-API-Key: ak_1\r\n": "ak_1", "Authorization: Bearer ak_1\r\nX-API-Key: ak_2\r\n": "", "Authorization: Bearer ak_1\r\nX-API-Key:\r\n": "",
		"Authorization: Basic ak_1\r\nX-API-Key: ak_2\r\n": "", "Authorization: Bearer\r\nX-API-Key: ak_2\r\n": "", "Authorization:\r\nX-API-Key: ak_2\r\n": "",
		"Authorization: ak_1\r\n": "", "Authorization: Bearerak_1\r\n": "", "Authorization: Bearer\tak_1\r\n": "", "Proxy-Authorization: Bearer ak_1\r\n": "", "Cookie: key=ak_1\r\n": "",
	} {
		h, err := read("POST /mcp?api_key=ak_9 HTTP/1.1\r\nHost: localhost\r\n" + raw + "\r\n")
		if err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		if got := string(h.Credential()); got != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}

func TestForwardedForIsBelievedFromTrustedProxiesAlone(t *testing.T) {
	prefix := func(s ...string) (out []netip.Prefix) {
		for _, p := range s {
			out = append(out, netip.MustParsePrefix(p))
		}
		return out
	}
	proxies := prefix("10.0.0.0/8", "fd00::/8")
	for _, c := range []struct {
		trusted               []netip.Prefix
		peer, forwarded, want string
	}{
		{nil, "10.0.0.1", "1.2.3.4", "10.0.0.1"},
		{proxies, "192.0.2.1", "1.2.3.4", "192.0.2.1"},
		{proxies, "10.0.0.1", "", "10.0.0.1"},
		{proxies, "10.0.0.1", "1.2.3.4", "1.2.3.4"},
		{proxies, "::ffff:10.0.0.1", "1.2.3.4", "1.2.3.4"},
		{proxies, "10.0.0.1", "::ffff:1.2.3.4", "1.2.3.4"},
		{proxies, "10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"},
		{proxies, "10.0.0.1", "6.6.6.6, 1.2.3.4, 10.9.9.9", "1.2.3.4"},
		{proxies, "10.0.0.1", "10.1.1.1,10.2.2.2", "10.1.1.1"},
		{proxies, "10.0.0.1", "garbage", "10.0.0.1"},
		{proxies, "10.0.0.1", "6.6.6.6, garbage", "10.0.0.1"},
		{proxies, "10.0.0.1", "6.6.6.6,,10.2.2.2", "10.2.2.2"},
		{proxies, "10.0.0.1", "1.2.3.4:5678", "10.0.0.1"},
		{proxies, "10.0.0.1", "1.2.3.04", "10.0.0.1"},
		{proxies, "fd00::1", "2001:db8::1", "2001:db8::1"},
		{prefix("::ffff:10.0.0.0/104"), "10.0.0.1", "1.2.3.4", "10.0.0.1"},
	} {
		got := proxy.RemoteOf(c.trusted, net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(c.peer), 1)), c.forwarded)
		if got != netip.MustParseAddr(c.want) {
			t.Errorf("%s with %q: %s, want %s", c.peer, c.forwarded, got, c.want)
		}
	}
	if got := proxy.RemoteOf(proxies, &net.UnixAddr{Name: "x"}, "1.2.3.4"); got.IsValid() {
		t.Errorf("a peer without an address is %s", got)
	}
}

func TestOnlyNamesOfThisGatewayAreServed(t *testing.T) {
	local := &net.TCPAddr{IP: net.ParseIP("192.0.2.7"), Port: 8080}
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST:1": true, "127.0.0.1:8080": true, "127.9.9.9": true, "[::1]:8080": true, "[::1]": true, "192.0.2.7": true, "192.0.2.7:9": true,
		"gate.example": true, "GATE.example:443": true, "evil.example": false, "gate.example.evil.example": false, "localhost.evil.example": false, "": false,
		"192.0.2.8": false, "2130706433": false, "0x7f.1": false, "127.1": false, "localhost:1:2": false, "user@localhost": false, "localhost/": false, "localhost.": false, "gate.example.": false,
		"0.0.0.0": false, "[::ffff:127.0.0.1]": true, "10.0.0.1, localhost": false,
	} {
		if got := proxy.KnownHost([]string{"Gate.Example"}, host, local); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
}

func TestPathsThatCanBeReadInTwoWaysLeadNowhere(t *testing.T) {
	for p, want := range map[string]bool{
		"/": false, "/mcp": true, "/mcp/": true, "/mcp/a-b_c.d~e": true, "": false, "mcp": false, "//mcp": false, "/mcp//a": false, "/mcp/./a": false, "/mcp/../a": false, "/..": false, "/.": false,
		"/mcp/%61": false, "/mcp%2fa": false, "/mcp;a=b": false, "/mcp\\a": false, "/mcp/é": false, "/mcp/a b": false, "*": false, "http://localhost/mcp": false, "/mcp//": false,
		"/" + strings.Repeat("a", 511): true, "/" + strings.Repeat("a", 512): false, "/mcp\x00": false, "/mcp?": false, "/mcp#a": false, "/.well-known/x": true, "/mcp/...": true,
	} {
		if got := proxy.PlainPath(p); got != want {
			t.Errorf("%q: %v, want %v", p, got, want)
		}
	}
}

// FuzzHead gives arbitrary bytes as a request's head. What is taken must be free of what two parsers could read
// differently, judged here by a plain reading of the bytes.
func FuzzHead(f *testing.F) {
	for _, raw := range refused {
		f.Add([]byte(raw))
	}
	for _, raw := range wellFramed {
		f.Add([]byte(raw))
	}
	once := []string{
		"host", "origin", "content-type", "content-encoding", "accept", "authorization", "x-api-key", "x-forwarded-for", "gatewright-intent", "gatewright-step",
		"gatewright-proof", "idempotency-key", "mcp-protocol-version", "mcp-method", "mcp-name", "mcp-session-id", "x-organization-id", "content-length", "transfer-encoding",
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r fasthttp.RequestHeader
		var h proxy.Head
		if r.Read(bufio.NewReaderSize(bytes.NewReader(raw), 8192)) != nil || proxy.ParseHead(&r, &h) != nil {
			return
		}
		count := map[string]int{}
		// fasthttp skips empty lines before the request line; the head is what stands between it and the next empty line.
		head := bytes.TrimLeft(raw, "\r\n")
		_, head, _ = bytes.Cut(head, []byte("\n"))
		for {
			line, rest, more := bytes.Cut(head, []byte("\n"))
			line = bytes.TrimSuffix(line, []byte("\r"))
			if len(line) == 0 || !more {
				break
			}
			if line[0] == ' ' || line[0] == '\t' {
				t.Fatalf("a folded line is taken: %q", raw)
			}
			name, _, ok := bytes.Cut(line, []byte(":"))
			if !ok || len(name) == 0 || bytes.ContainsAny(name, " \t\r\x00") {
				t.Fatalf("a line without a name is taken: %q", line)
			}
			if bytes.ContainsAny(line, "\r\x00") {
				t.Fatalf("a bare CR or NUL is taken: %q", line)
			}
			count[strings.ToLower(string(name))]++
			head = rest
		}
		for _, name := range once {
			if count[name] > 1 {
				t.Fatalf("%s comes %d times: %q", name, count[name], raw)
			}
		}
		if count["content-length"]+count["transfer-encoding"] > 1 {
			t.Fatalf("two lengths are taken: %q", raw)
		}
		if count["host"] != 1 {
			t.Fatalf("%d hosts are taken: %q", count["host"], raw)
		}
		if p := string(r.Protocol()); p != "HTTP/1.1" && p != "HTTP/1.0" {
			t.Fatalf("%s is taken", p)
		}
		_ = fmt.Sprint(h.Credential())
	})
}
