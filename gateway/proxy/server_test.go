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
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/proxy"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/merkle/canon"
)

// noise collects what is logged.
type noise struct {
	mu sync.Mutex
	b  strings.Builder
}

func (n *noise) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.b.Write(p)
}

func (n *noise) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.b.String()
}

// open serves routes and gives the address and what is logged.
func open(t *testing.T, ready func() error, routes map[string]proxy.Route, c proxy.Config) (*proxy.Server, string, *noise) {
	t.Helper()
	logged := &noise{}
	log := slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	line := &pipeline.Line{Stages: []pipeline.Stage{stages.Identify{Directory: nobody{}}}, Now: time.Now, Rand: rand.Reader, Log: log, Strangers: &pipeline.Strangers{}}
	c.MaxBody, c.MaxHeader, c.ReadTimeout, c.WriteTimeout, c.IdleTimeout, c.MaxConns = 4096, 4096, 5*time.Second, time.Second, 30*time.Second, 100
	s := proxy.New(c, line, routes, ready, log)
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
	return s, ln.Addr().String(), logged
}

func TestHealthSaysOnlyWhetherItServes(t *testing.T) {
	var fault error
	_, addr, _ := open(t, func() error { return fault }, nil, proxy.Config{})
	ask := func() (int, string) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "GET /health HTTP/1.1\r\n"+host+"Connection: close\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		if resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("headers %v", resp.Header)
		}
		return resp.StatusCode, string(b)
	}
	if code, body := ask(); code != 200 || body != `{"status":"ok"}` {
		t.Errorf("%d %s", code, body)
	}
	fault = errors.New("disk full at /secret")
	if code, body := ask(); code != 503 || strings.Contains(body, "secret") {
		t.Errorf("%d %s", code, body)
	}
}

func TestNoPieceOfARequestReachesTheLog(t *testing.T) {
	_, addr, logged := open(t, func() error { return nil }, nil, proxy.Config{})
	for _, raw := range []string{
		"POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer canary-1\r\nX: a\x00b\r\n\r\n", "canary-2\r\n\r\n", "POST /canary-3 HTTP/1.1\r\n" + host + "Authorization: Bearer canary-4\r\nContent-Length: x\r\n\r\n",
		"POST /mcp HTTP/1.1\r\n" + host + "X: " + strings.Repeat("canary-5", 1000) + "\r\n\r\n", "POST /mcp HTTP/1.1\r\n" + host + "Authorization: Bearer canary-6\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		speak(t, addr, raw, 1)
	}
	if s := logged.String(); strings.Contains(s, "canary") {
		t.Errorf("logged %s", s)
	}
}

func TestRefusalsBeforeTheLineAreStrictJSONWithACode(t *testing.T) {
	_, addr, _ := open(t, func() error { return nil }, nil, proxy.Config{Origins: []string{"https://app.example"}})
	for raw, want := range map[string]string{
		"GET /x HTTP/1.1\r\nHost: evil.example\r\n\r\n": "host_refused", "GET /x HTTP/1.1\r\n" + host + "Origin: https://app.example.evil\r\n\r\n": "origin_refused",
		"GET /x HTTP/1.1\r\n" + host + "Origin: HTTPS://app.example\r\n\r\n": "origin_refused", "GET /x HTTP/1.1\r\n" + host + "Origin: https://app.example\r\n\r\n": "unauthenticated",
		"GET /x HTTP/1.1\r\n" + host + host + "\r\n": "malformed", "nonsense\r\n\r\n": "malformed", "GET /x HTTP/1.1\r\n" + host + "X: " + strings.Repeat("a", 9000) + "\r\n\r\n": "header_too_large",
		"POST /x HTTP/1.1\r\n" + host + "Content-Length: 9000\r\n\r\n" + strings.Repeat("a", 9000): "too_large",
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, raw)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%.60q: %v", raw, err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		_ = conn.Close()
		code, _ := canon.Get(body, "code")
		if err := canon.Check(body, canon.DefaultLimits()); err != nil || string(code) != `"`+want+`"` {
			t.Errorf("%.60q: %s (%v), want %s", raw, body, err, want)
		}
	}
}

// TestAScriptOfAKnownOriginMayCallAndRead: a browser asks first, without a credential, and shows the script no answer that does not
// name its origin. Pages of this very address need none of it, and others get nothing.
func TestAScriptOfAKnownOriginMayCallAndRead(t *testing.T) {
	_, addr, _ := open(t, func() error { return nil }, nil, proxy.Config{Origins: []string{"https://app.example"}})
	ask := "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization,gatewright-intent\r\n\r\n"
	for _, c := range []struct {
		raw    string
		status int
		origin string
	}{
		{"OPTIONS /mcp HTTP/1.1\r\n" + host + "Origin: https://app.example\r\n" + ask, 204, "https://app.example"},
		{"OPTIONS /mcp HTTP/1.1\r\n" + host + "Origin: https://app.example\r\n\r\n", 401, "https://app.example"}, // no preflight
		{"OPTIONS /mcp HTTP/1.1\r\n" + host + "Origin: https://evil.example\r\n" + ask, 403, ""},
		{"OPTIONS /mcp HTTP/1.1\r\nHost: evil.example\r\nOrigin: https://app.example\r\n" + ask, 421, ""},
		{"OPTIONS /mcp HTTP/1.1\r\n" + host + "Origin: http://localhost\r\n" + ask, 401, ""}, // its own page asks nothing
		{"OPTIONS /mcp HTTP/1.1\r\n" + host + ask, 401, ""},
		{"GET /health HTTP/1.1\r\n" + host + "Origin: https://app.example\r\n\r\n", 200, "https://app.example"},
		{"GET /x HTTP/1.1\r\n" + host + "Origin: https://app.example\r\n\r\n", 401, "https://app.example"},
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, c.raw)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%.60q: %v", c.raw, err)
		}
		_ = resp.Body.Close()
		_ = conn.Close()
		h := resp.Header
		if resp.StatusCode != c.status || h.Get("Access-Control-Allow-Origin") != c.origin || h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%.90q: %d %v, want %d for %q", c.raw, resp.StatusCode, h, c.status, c.origin)
		}
		if (h.Get("Vary") == "Origin") != (c.origin != "") {
			t.Errorf("%.90q: Vary %q", c.raw, h.Get("Vary"))
		}
		if allowed := h.Get("Access-Control-Allow-Headers") == "Authorization, *" && strings.Contains(h.Get("Access-Control-Allow-Methods"), "POST"); allowed != (c.status == 204) {
			t.Errorf("%.90q: %v", c.raw, h)
		}
		if exposed := h.Get("Access-Control-Expose-Headers") == "*"; exposed != (c.origin != "" && c.status != 204) {
			t.Errorf("%.90q: %v", c.raw, h)
		}
	}
}

func TestConnectionsOfOneAddressAreBounded(t *testing.T) {
	s, addr, _ := open(t, func() error { return nil }, nil, proxy.Config{MaxConnsPerIP: 2})
	var held []net.Conn
	defer func() {
		for _, c := range held {
			_ = c.Close()
		}
	}()
	ok := 0
	for range 5 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
		_, _ = io.WriteString(c, "GET /health HTTP/1.1\r\n"+host+"\r\n")
		_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
		if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil && resp.StatusCode == 200 {
			ok++
		}
	}
	if ok != 2 || s.Connections() > 3 {
		t.Errorf("%d of 5 connections were served, %d open, want 2", ok, s.Connections())
	}
}
