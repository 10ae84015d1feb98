package proxy_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/proxy"
	"github.com/gatewright/gatewright/gateway/stages"
)

// nobody knows no credential, so that every request that is framed well is answered 401 and nothing else is.
type nobody struct{}

func (nobody) Authenticate([]byte, time.Time) (identity.Caller, error) {
	return identity.Caller{}, errors.New("unknown key")
}

// route is a dialect that walks the line and answers as the line says.
type route struct{ line *pipeline.Line }

func (r route) Serve(x *proxy.Exchange) {
	c := &pipeline.Call{Route: "/mcp", Remote: x.Remote, Credential: x.Head.Credential()}
	r.line.Run(context.Background(), c)
	x.Refuse(c.Denial, c.Record)
}

// port opens a data port that knows nobody.
func port(t *testing.T, change func(*proxy.Config)) string {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	line := &pipeline.Line{
		Stages: []pipeline.Stage{stages.Identify{Directory: nobody{}}}, Now: time.Now, Rand: rand.Reader, Log: log,
		Strangers: &pipeline.Strangers{},
	}
	c := proxy.Config{
		MaxBody: 4096, MaxHeader: 4096, ReadTimeout: 500 * time.Millisecond, WriteTimeout: time.Second, IdleTimeout: 30 * time.Second,
		MaxConns: 100,
	}
	if change != nil {
		change(&c)
	}
	s := proxy.New(c, line, map[string]proxy.Route{"mcp": route{line}}, func() error { return nil }, log)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln, nil) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := errors.Join(s.Shutdown(ctx), <-done); err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// speak sends raw bytes and reads answers, at most so many, until the server closes or is silent for a while.
func speak(t *testing.T, addr, raw string, most int) (statuses []int, closed bool) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, raw); err != nil {
		return nil, true
	}
	br := bufio.NewReader(conn)
	for len(statuses) < most {
		if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			var ne net.Error
			return statuses, !(errors.As(err, &ne) && ne.Timeout())
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		statuses = append(statuses, resp.StatusCode)
	}
	return statuses, false
}

const (
	host   = "Host: localhost\r\n"
	second = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n" // must never be answered after a bad frame
)

// refused are frames that two parsers could read differently, or that break RFC 9112. Each must be answered with one
// error at most, and the connection closed: whatever follows on it is not a request.
var refused = map[string]string{
	"content-length and chunked":          "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"chunked and content-length":          "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
	"two different content-lengths":       "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
	"two equal content-lengths":           "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
	"content-length list":                 "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: 3, 3\r\n\r\nabc",
	"negative content-length":             "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n",
	"signed content-length":               "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: +3\r\n\r\nabc",
	"hex content-length":                  "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: 0x3\r\n\r\nabc",
	"content-length with space inside":    "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: 1 0\r\n\r\nabcdefghij",
	"huge content-length":                 "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999\r\n\r\n",
	"content-length over 64 bits":         "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: 18446744073709551619\r\n\r\nabc",
	"fraction content-length":             "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: 3.0\r\n\r\nabc",
	"empty content-length":                "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: \r\n\r\n",
	"transfer-encoding twice":             "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"transfer-encoding identity":          "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: identity\r\n\r\n",
	"transfer-encoding gzip, chunked":     "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	"transfer-encoding chunked, identity": "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
	"transfer-encoding xchunked":          "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
	"transfer-encoding with vertical tab": "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n",
	"transfer-encoding quoted":            "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
	"transfer-encoding on HTTP/1.0":       "POST /mcp HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"space before colon":                  "POST /mcp HTTP/1.1\r\n" + host + "Content-Length : 0\r\n\r\n",
	"tab before colon":                    "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
	"folded header":                       "POST /mcp HTTP/1.1\r\n" + host + "X-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
	"folded header with tab":              "POST /mcp HTTP/1.1\r\n" + host + "X-A: b\r\n\tc\r\nContent-Length: 0\r\n\r\n",
	"folded transfer-encoding":            "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
	"first header folded":                 "POST /mcp HTTP/1.1\r\n X: y\r\n" + host + "\r\n",
	"header without colon":                "POST /mcp HTTP/1.1\r\n" + host + "nonsense\r\n\r\n",
	"header with empty name":              "POST /mcp HTTP/1.1\r\n" + host + ": x\r\n\r\n",
	"header name with space":              "POST /mcp HTTP/1.1\r\n" + host + "X Y: z\r\n\r\n",
	"header name with control byte":       "POST /mcp HTTP/1.1\r\n" + host + "X\x01: z\r\n\r\n",
	"header name with high byte":          "POST /mcp HTTP/1.1\r\n" + host + "X\xff: z\r\n\r\n",
	"NUL in a header value":               "POST /mcp HTTP/1.1\r\n" + host + "X: a\x00b\r\n\r\n",
	"bare CR in a header value":           "POST /mcp HTTP/1.1\r\n" + host + "X: a\rTransfer-Encoding: chunked\r\n\r\n",
	"header line ended by LF":             "POST /mcp HTTP/1.1\r\n" + host + "X: y\nContent-Length: 0\r\n\r\n",
	"every line ended by LF":              "POST /mcp HTTP/1.1\nHost: localhost\nContent-Length: 0\n\n",
	"head ended by LF":                    "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: 0\r\n\n",
	"chunked behind a bare LF":            "POST /mcp HTTP/1.1\r\n" + host + "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"another expectation":                 "POST /mcp HTTP/1.1\r\n" + host + "Expect: y 100-continue\r\nContent-Length: 0\r\n\r\n",
	"two hosts":                           "POST /mcp HTTP/1.1\r\n" + host + host + "\r\n",
	"no host":                             "POST /mcp HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
	"two authorizations":                  "POST /mcp HTTP/1.1\r\n" + host + "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
	"two content-types":                   "POST /mcp HTTP/1.1\r\n" + host + "Content-Type: application/json\r\nContent-Type: text/plain\r\n\r\n",
	"two intents":                         "POST /mcp HTTP/1.1\r\n" + host + "Gatewright-Intent: a\r\ngatewright-intent: b\r\n\r\n",
	"two organisations":                   "POST /mcp HTTP/1.1\r\n" + host + "X-Organization-Id: a\r\nX-Organization-Id: b\r\n\r\n",
	"two protocol versions":               "POST /mcp HTTP/1.1\r\n" + host + "MCP-Protocol-Version: a\r\nMCP-Protocol-Version: b\r\n\r\n",
	"HTTP/2.0 request line":               "POST /mcp HTTP/2.0\r\n" + host + "\r\n",
	"HTTP/1.2 request line":               "POST /mcp HTTP/1.2\r\n" + host + "\r\n",
	"HTTP/0.9 request line":               "GET /mcp\r\n\r\n",
	"lower-case version":                  "POST /mcp http/1.1\r\n" + host + "\r\n",
	"version with a suffix":               "POST /mcp HTTP/1.1x\r\n" + host + "\r\n",
	"HTTP/2 preface":                      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"no request target":                   "POST  HTTP/1.1\r\n" + host + "\r\n",
	"space in the target":                 "POST /m cp HTTP/1.1\r\n" + host + "\r\n",
	"TLS hello on a plain port":           "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
	"chunk size with a sign":              "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
	"chunk size negative":                 "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n",
	"chunk size with 0x":                  "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
	"chunk size over 64 bits":             "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n",
	"chunk longer than its size":          "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
	"chunk shorter than its size":         "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n5\r\nabc\r\n0\r\n\r\n",
	"chunk without CRLF after its data":   "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc0\r\n\r\n",
	"chunk size empty":                    "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n",
	"content-length in a trailer":         "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 50\r\n\r\n",
	"authorization in a trailer":          "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: Bearer x\r\n\r\n",
	"host in a trailer":                   "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\nHost: evil\r\n\r\n",
	"body larger than the bound":          "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: 5000\r\n\r\n" + strings.Repeat("a", 5000),
	"chunked body larger than the bound":  "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1388\r\n" + strings.Repeat("a", 5000) + "\r\n0\r\n\r\n",
	"header larger than the bound":        "POST /mcp HTTP/1.1\r\n" + host + "X: " + strings.Repeat("a", 5000) + "\r\n\r\n",
	"too many headers for the bound":      "POST /mcp HTTP/1.1\r\n" + host + strings.Repeat("X: y\r\n", 1000) + "\r\n",
	"more Mcp-Param headers than a tool":  "POST /mcp HTTP/1.1\r\n" + host + strings.Repeat("Mcp-Param-A: y\r\n", 65) + "\r\n",
	"request that never ends":             "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: 10\r\n\r\nabc",
	"head that never ends":                "POST /mcp HTTP/1.1\r\n" + host + "X: y\r\n",
}

func TestFramesThatCanBeReadInTwoWaysAreRefused(t *testing.T) {
	addr := port(t, nil)
	if len(refused) < 60 {
		t.Fatalf("the corpus has %d refused frames, want at least 60", len(refused))
	}
	for name, raw := range refused {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tail := second
			if strings.Contains(name, "never ends") {
				tail = ""
			}
			statuses, closed := speak(t, addr, raw+tail, 5)
			if !closed {
				t.Errorf("the connection stays open after %v", statuses)
			}
			if len(statuses) > 1 {
				t.Errorf("answered %v: what followed the bad frame was read as a request", statuses)
			}
			for _, s := range statuses {
				switch s {
				case 400, 408, 413, 431, 505:
				default:
					t.Errorf("answered %d, want an error about the frame", s)
				}
			}
		})
	}
}

// wellFramed are frames that must be read: each is answered 401, since nobody is known, and the connection stays usable.
var wellFramed = map[string]string{
	"empty post":                   "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: 0\r\n\r\n",
	"body":                         "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: 3\r\n\r\nabc",
	"chunked body":                 "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"chunked in capitals":          "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"chunked with extension":       "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n",
	"header names in any case":     "POST /mcp HTTP/1.1\r\nhOsT: localhost\r\ncontent-LENGTH: 0\r\n\r\n",
	"value without a space":        "POST /mcp HTTP/1.1\r\nHost:localhost\r\nContent-Length:0\r\n\r\n",
	"get":                          "GET /mcp HTTP/1.1\r\n" + host + "\r\n",
	"delete":                       "DELETE /mcp HTTP/1.1\r\n" + host + "\r\n",
	"unknown address":              "GET /nowhere HTTP/1.1\r\n" + host + "\r\n",
	"escaped path":                 "GET /mcp%2f..%2fadmin HTTP/1.1\r\n" + host + "\r\n",
	"dot segments":                 "GET /mcp/../admin HTTP/1.1\r\n" + host + "\r\n",
	"two slashes":                  "GET //mcp HTTP/1.1\r\n" + host + "\r\n",
	"host with a port":             "POST /mcp HTTP/1.1\r\nHost: localhost:8080\r\nContent-Length: 0\r\n\r\n",
	"numeric host":                 "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n",
	"two accepts agree on nothing": "POST /mcp HTTP/1.1\r\n" + host + "X-Thing: a\r\nX-Thing: b\r\nContent-Length: 0\r\n\r\n",
}

func TestWellFramedStrangersAreToldOnlyThatTheyAreUnknown(t *testing.T) {
	addr := port(t, nil)
	for name, raw := range wellFramed {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			statuses, _ := speak(t, addr, raw+raw, 2)
			if len(statuses) != 2 || statuses[0] != 401 || statuses[1] != 401 {
				t.Errorf("answered %v, want 401 twice on one connection", statuses)
			}
		})
	}
}

func TestForeignHostsAndOriginsAreRefused(t *testing.T) {
	addr := port(t, nil)
	for name, c := range map[string]struct {
		raw  string
		want int
	}{
		"rebound name":     {"POST /mcp HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n", 421},
		"loopback suffix":  {"POST /mcp HTTP/1.1\r\nHost: localhost.evil.example\r\nContent-Length: 0\r\n\r\n", 421},
		"another address":  {"POST /mcp HTTP/1.1\r\nHost: 10.0.0.1\r\nContent-Length: 0\r\n\r\n", 421},
		"empty host":       {"POST /mcp HTTP/1.1\r\nHost:\r\nContent-Length: 0\r\n\r\n", 400},
		"foreign origin":   {"POST /mcp HTTP/1.1\r\n" + host + "Origin: https://evil.example\r\nContent-Length: 0\r\n\r\n", 403},
		"null origin":      {"POST /mcp HTTP/1.1\r\n" + host + "Origin: null\r\nContent-Length: 0\r\n\r\n", 403},
		"compressed body":  {"POST /mcp HTTP/1.1\r\n" + host + "Content-Encoding: gzip\r\nContent-Length: 0\r\n\r\n", 401},
		"two keys, apart":  {"POST /mcp HTTP/1.1\r\n" + host + "Authorization: Bearer a\r\nX-API-Key: b\r\nContent-Length: 0\r\n\r\n", 401},
		"health is open":   {"GET /health HTTP/1.1\r\n" + host + "\r\n", 200},
		"health, not post": {"POST /health HTTP/1.1\r\n" + host + "Content-Length: 0\r\n\r\n", 405},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			statuses, _ := speak(t, addr, c.raw, 1)
			if len(statuses) != 1 || statuses[0] != c.want {
				t.Errorf("answered %v, want %d", statuses, c.want)
			}
		})
	}
}
