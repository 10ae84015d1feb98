package proxy_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/proxy"
	"github.com/gatewright/gatewright/gateway/stages"
)

// soon is how late a departure may be noticed.
const soon = 250 * time.Millisecond

// patience bounds every wait for what happens at once on an idle machine.
const patience = 10 * time.Second

// routeFunc is a route made of a function.
type routeFunc func(x *proxy.Exchange)

func (f routeFunc) Serve(x *proxy.Exchange) { f(x) }

// harbour is a data port of a test, plain or under TLS.
type harbour struct {
	t    testing.TB
	s    *proxy.Server
	addr string
	tls  bool
	stop func() error // shuts down, once
}

// both runs a test over a plain port and over one under TLS.
func both(t *testing.T, test func(t *testing.T, secured bool)) {
	t.Run("plain", func(t *testing.T) { test(t, false) })
	t.Run("TLS", func(t *testing.T) { test(t, true) })
}

// moor serves one route at /r, and /health.
func moor(t testing.TB, secured bool, change func(*proxy.Config), route func(x *proxy.Exchange)) *harbour {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	line := &pipeline.Line{Stages: []pipeline.Stage{stages.Identify{Directory: nobody{}}}, Now: time.Now, Rand: rand.Reader, Log: log, Strangers: &pipeline.Strangers{}}
	c := proxy.Config{
		MaxBody: 1 << 16, MaxHeader: 4096, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, IdleTimeout: 30 * time.Second, MaxConns: 10_000,
	}
	if change != nil {
		change(&c)
	}
	h := &harbour{t: t, tls: secured, s: proxy.New(c, line, map[string]proxy.Route{"r": routeFunc(route)}, func() error { return nil }, log)}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = ln.Addr().String()
	var config *tls.Config
	if secured {
		config = &tls.Config{Certificates: []tls.Certificate{certificate(t)}, MinVersion: tls.VersionTLS13}
	}
	done := make(chan error, 1)
	go func() { done <- h.s.Serve(ln, config) }()
	var once bool
	h.stop = func() error {
		if once {
			return nil
		}
		once = true
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return errors.Join(h.s.Shutdown(ctx), <-done)
	}
	t.Cleanup(func() {
		if err := h.stop(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// client is one connection to the port.
type client struct {
	net.Conn
	raw *net.TCPConn
	*bufio.Reader
}

func (c *client) Read(p []byte) (int, error) { return c.Reader.Read(p) }

func (h *harbour) dial() *client {
	h.t.Helper()
	raw, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	c := &client{Conn: raw, raw: raw.(*net.TCPConn)}
	if h.tls {
		c.Conn = tls.Client(raw, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a test's own certificate
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	c.Reader = bufio.NewReader(c.Conn)
	h.t.Cleanup(func() { _ = raw.Close() })
	return c
}

// say sends bytes as they are.
func (c *client) say(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(c.Conn, text); err != nil {
		t.Fatal(err)
	}
}

// response reads one answer with its body.
func (c *client) response(t testing.TB) (*http.Response, string) {
	t.Helper()
	resp, err := http.ReadResponse(c.Reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%v after %q", err, b)
	}
	return resp, string(b)
}

// ways are how a client may leave.
var ways = map[string]func(c *client){
	"FIN":        func(c *client) { _ = c.Close() },
	"RST":        func(c *client) { _ = c.raw.SetLinger(0); _ = c.raw.Close() },
	"half-close": func(c *client) { _ = c.raw.CloseWrite() },
}

const unary = "POST /r HTTP/1.1\r\n" + host + "Content-Length: 2\r\n\r\n{}"

// TestAClientThatLeavesAUnaryCallIsNoticed also when it sent more before it left, which nobody has read.
func TestAClientThatLeavesAUnaryCallIsNoticed(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells")
	}
	both(t, func(t *testing.T, secured bool) {
		began, ended := make(chan struct{}, 1), make(chan time.Time, 1)
		h := moor(t, secured, nil, func(x *proxy.Exchange) {
			ctx := x.Context()
			if ctx.Err() != nil {
				t.Error("the client left before it came")
			}
			began <- struct{}{}
			select {
			case <-ctx.Done():
			case <-time.After(4 * soon):
			}
			ended <- time.Now()
		})
		for name, leave := range ways {
			for more, extra := range map[string]string{"": "", " behind pipelined bytes": "GET /health HTTP/1.1\r\n" + host + "\r\n"} {
				c := h.dial()
				c.say(t, unary+extra)
				<-began
				at := time.Now()
				leave(c)
				if took := (<-ended).Sub(at); took > soon {
					t.Errorf("%s%s was noticed after %s", name, more, took)
				}
			}
		}
		for until := time.Now().Add(patience); h.s.Departed() < 6 && time.Now().Before(until); {
			time.Sleep(time.Millisecond)
		}
		if n := h.s.Departed(); n < 6 {
			t.Errorf("%d departures counted, want 6", n)
		}
	})
}

// TestAClientThatStaysIsNotTakenForGone over many calls of one connection, nor is another one's departure its own.
func TestAClientThatStaysIsNotTakenForGone(t *testing.T) {
	both(t, func(t *testing.T, secured bool) {
		h := moor(t, secured, nil, func(x *proxy.Exchange) {
			time.Sleep(2 * time.Millisecond)
			if x.Context().Err() != nil {
				t.Error("a client that waits is taken for gone")
			}
			x.JSON(200, []byte(`{}`))
		})
		stays := h.dial()
		for range 50 {
			goes := h.dial()
			goes.say(t, unary)
			stays.say(t, unary)
			_ = goes.raw.SetLinger(0)
			if resp, body := stays.response(t); resp.StatusCode != 200 || body != "{}" {
				t.Fatalf("%d %s", resp.StatusCode, body)
			}
			goes.response(t)
			_ = goes.raw.Close()
		}
	})
}

// BenchmarkContext is what a call pays for knowing when its client leaves.
func BenchmarkContext(b *testing.B) {
	x := make(chan *proxy.Exchange)
	release := make(chan struct{})
	h := moor(b, true, nil, func(e *proxy.Exchange) { x <- e; <-release })
	c := h.dial()
	c.say(b, unary)
	e := <-x
	b.ReportAllocs()
	for b.Loop() {
		if e.Context().Err() != nil {
			b.Fatal("gone")
		}
	}
	close(release)
	c.response(b)
	_ = c.Close()
}
