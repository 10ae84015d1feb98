package proxy_test

import (
	"net"
	"testing"

	"github.com/gatewright/gatewright/gateway/proxy"
)

// comer is a listener whose connections come from where the test says.
type comer struct {
	net.Listener
	from []string
}

type coming struct {
	net.Conn
	from net.Addr
}

func (c coming) RemoteAddr() net.Addr { return c.from }
func (c coming) Close() error         { return nil }

func (l *comer) Accept() (net.Conn, error) {
	if len(l.from) == 0 {
		return nil, net.ErrClosed
	}
	a, err := net.ResolveTCPAddr("tcp", l.from[0])
	l.from = l.from[1:]
	return coming{from: a}, err
}

func TestASourceIsBoundedWhateverItsProtocol(t *testing.T) {
	l := proxy.Bounded(&comer{from: []string{
		"10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3", "[::ffff:10.0.0.1]:4", "10.0.0.2:1",
		"[2001:db8::1]:1", "[2001:db8::1]:2", "[2001:db8::1]:3", "[2001:db8:0:1::1]:1",
	}}, 2)
	var got []net.Conn
	for {
		c, err := l.Accept()
		if err != nil {
			break
		}
		got = append(got, c)
	}
	want := []string{"10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1", "[2001:db8::1]:1", "[2001:db8::1]:2", "[2001:db8:0:1::1]:1"}
	if len(got) != len(want) {
		t.Fatalf("%d connections, want %d", len(got), len(want))
	}
	for i, c := range got {
		if c.RemoteAddr().String() != want[i] {
			t.Errorf("%s, want %s", c.RemoteAddr(), want[i])
		}
	}
}

func TestAClosedConnectionFreesItsPlaceOnce(t *testing.T) {
	from := &comer{from: []string{"10.0.0.1:1"}}
	l := proxy.Bounded(from, 1)
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	_ = c.Close()
	from.from = []string{"10.0.0.1:2", "10.0.0.1:3"}
	if _, err := l.Accept(); err != nil {
		t.Fatalf("the place was not freed: %v", err)
	}
	if _, err := l.Accept(); err == nil {
		t.Error("a second Close freed a second place")
	}
}
