package sinks_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/sinks"
)

// rfc5424 is the form of a whole message with one element of structured data.
var rfc5424 = regexp.MustCompile(`^<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) \[([!-~]+?)((?: [!-~]{1,32}="(?:[^"\\\]]|\\["\\\]])*")*)\] \x{FEFF}(.*)$`)

var param = regexp.MustCompile(` ([!-~]{1,32})="((?:[^"\\\]]|\\["\\\]])*)"`)

// parse reads a message and its parameters.
func parse(t *testing.T, message string) map[string]string {
	m := rfc5424.FindStringSubmatch(message)
	if m == nil {
		t.Errorf("it is no RFC 5424 message: %q", message)
		return nil
	}
	if _, err := time.Parse(time.RFC3339Nano, m[2]); err != nil {
		t.Error(err)
	}
	out := map[string]string{"pri": m[1], "host": m[3], "app": m[4], "proc": m[5], "msgid": m[6], "sd": m[7], "msg": m[9]}
	for _, p := range param.FindAllStringSubmatch(m[8], -1) {
		out[p[1]] = regexp.MustCompile(`\\(.)`).ReplaceAllString(p[2], "$1")
	}
	return out
}

// syslogServer takes octet-counted messages over streams.
type syslogServer struct {
	net.Listener
	inbox
	t     *testing.T
	wg    sync.WaitGroup
	mu    sync.Mutex
	drops int // connections to reset after the first message
	last  map[string]string
}

func newSyslogServer(t *testing.T, c *tls.Config) *syslogServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if c != nil {
		l = tls.NewListener(l, c)
	}
	s := &syslogServer{Listener: l, t: t}
	s.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.wg.Wait()
	})
	return s
}

func (s *syslogServer) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		length, err := r.ReadString(' ')
		if errors.Is(err, io.EOF) && length == "" {
			return
		}
		n, bad := strconv.Atoi(strings.TrimSuffix(length, " "))
		if err != nil || bad != nil || length[0] == '0' {
			var broken *net.OpError
			if !errors.As(err, &broken) && !strings.Contains(fmt.Sprint(err), "tls") {
				s.t.Errorf("length %q: %v", length, err)
			}
			return
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return
		}
		m := parse(s.t, string(b))
		s.mu.Lock()
		s.last = m
		drop := s.drops > 0
		if drop {
			s.drops--
		}
		s.mu.Unlock()
		if drop {
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // a reset: what was not read is lost
			}
			return
		}
		s.add(m["id"])
	}
}

func TestSyslogOverTCP(t *testing.T) {
	w := newWorld(t)
	s := newSyslogServer(t, nil)
	s.drops = 3
	want := w.fill("acme", 300)
	w.start(config(sinks.Syslog, "tcp://"+s.Addr().String()))
	want = append(want, w.fill("acme", 50)...)
	s.await(t, want)
	s.inOrder(t, want)
	w.caughtUp()
	for name, value := range map[string]string{
		"pri": "108", "host": "gate.example", "app": "gatewright", "proc": "gw-1", "msgid": "admin", "sd": "gatewright@32473",
		"tenant": "acme", "index": "349", "agent": "agt_one", "user": "usr_\"]\\\ufffd", "op": "tools/call", "server": "files",
		"tool": "read", "verdict": "deny", "code": "not_in_plan", "status": "403", "micros": "77",
		"msg": "admin files/read deny not_in_plan",
	} {
		if s.last[name] != value {
			t.Errorf("%s is %q, want %q", name, s.last[name], value)
		}
	}
	if st := w.state(); st.Failed == 0 || st.Sent < 350 || st.LastSuccess.IsZero() || st.Address != "tcp://"+s.Addr().String() {
		t.Errorf("%+v", st)
	}
}

func TestSyslogOverTLSVerifiesTheReceiver(t *testing.T) {
	w := newWorld(t)
	site := httptest.NewTLSServer(nil) // for its certificate
	defer site.Close()
	s := newSyslogServer(t, &tls.Config{Certificates: site.TLS.Certificates, MinVersion: tls.VersionTLS12})
	want := w.fill("acme", 100)
	stranger := config(sinks.Syslog, "tls://"+s.Addr().String())
	w.start(stranger)
	eventually(t, func() bool { return strings.Contains(w.state().LastError, "certificate") }, "a certificate error")
	if len(s.list()) > 0 || w.state().Lag != 100 {
		t.Fatal("sent to a receiver that nobody vouches for")
	}
	if err := w.set.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	known := stranger
	known.Roots = x509.NewCertPool()
	known.Roots.AddCert(site.Certificate())
	w.start(known)
	s.await(t, want)
	w.caughtUp()
}

func TestSyslogOverUDP(t *testing.T) {
	w := newWorld(t)
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var in inbox
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 64<<10)
		for {
			n, _, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			in.add(parse(t, string(b[:n]))["id"])
		}
	}()
	w.start(config(sinks.Syslog, "udp://"+conn.LocalAddr().String()))
	in.await(t, w.fill("acme", 40))
	_ = conn.Close()
	<-done
}

// A receiver that takes a connection and never reads, or never ends its side, has confirmed nothing.
func TestSyslogCountsNothingWithoutConfirmation(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var conns []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
		}
	}()
	w.fill("acme", 10)
	c := config(sinks.Syslog, "tcp://"+l.Addr().String())
	c.Timeout = 50 * time.Millisecond
	w.start(c)
	eventually(t, func() bool { return w.state().Failed > 3 }, "failures")
	if st := w.state(); st.Sent != 0 || st.Lag != 10 || !strings.Contains(st.LastError, "confirm") {
		t.Fatalf("%+v", st)
	}
	_ = l.Close()
	<-done
	for _, c := range conns {
		_ = c.Close()
	}
}
