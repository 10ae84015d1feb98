package connector_test

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatewright/gatewright/plugins/connector"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// serverFunc is a Server of one function.
type serverFunc func(ctx context.Context, r *connector.Request) (connector.Reply, error)

func (f serverFunc) Call(ctx context.Context, r *connector.Request) (connector.Reply, error) {
	return f(ctx, r)
}

// echo answers with what it was sent.
func echo(_ context.Context, r *connector.Request) (connector.Reply, error) {
	return connector.Reply{Result: r.Arguments}, nil
}

// listen serves g on a unix socket of its own and returns a connection to it.
func listen(t testing.TB, g *grpc.Server) *grpc.ClientConn {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); _ = g.Serve(l) }()
	conn, err := grpc.NewClient("unix:"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(); g.Stop(); <-served })
	return conn
}

// pair opens a session with s.
func pair(t testing.TB, s connector.Server, b connector.Bounds) *connector.Session {
	t.Helper()
	conn := listen(t, connector.NewTestServer(connector.Info{Name: "under test", Version: "7"}, s))
	session, err := connector.Open(soon(t), conn, b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}

// soon is a context for what must not hang.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestACallIsAnsweredOverTheStream(t *testing.T) {
	var got connector.Request
	s := pair(t, serverFunc(func(_ context.Context, r *connector.Request) (connector.Reply, error) {
		got = connector.Request{Method: r.Method, Name: r.Name, Principal: r.Principal, Headers: r.Headers}
		got.Params, got.Arguments, got.Meta = clone(r.Params), clone(r.Arguments), clone(r.Meta)
		got.Headers = append([][2]string(nil), r.Headers...)
		return connector.Reply{Result: []byte(`{"ok":true}`)}, nil
	}), connector.Bounds{})
	if s.Info() != (connector.Info{Name: "under test", Version: "7"}) {
		t.Errorf("info is %+v", s.Info())
	}
	var reply connector.Reply
	err := s.Call(soon(t), &connector.Request{
		Method: "tools/call", Name: "add", Principal: "p", Arguments: []byte(`{"a":1}`), Meta: []byte(`{"m":2}`),
		Headers: [][2]string{{"Authorization", "Bearer x"}, {"X-Empty", ""}},
	}, &reply)
	if err != nil || string(reply.Result) != `{"ok":true}` || reply.Error != nil {
		t.Fatalf("reply %q %q, %v", reply.Result, reply.Error, err)
	}
	if got.Method != "tools/call" || got.Name != "add" || got.Principal != "p" || got.Params != nil ||
		string(got.Arguments) != `{"a":1}` || string(got.Meta) != `{"m":2}` ||
		len(got.Headers) != 2 || got.Headers[0] != [2]string{"Authorization", "Bearer x"} || got.Headers[1] != [2]string{"X-Empty", ""} {
		t.Errorf("the server saw %+v", got)
	}
	if err := s.Ping(soon(t)); err != nil {
		t.Errorf("ping: %v", err)
	}
	if err := s.Drain(soon(t)); err != nil {
		t.Errorf("drain: %v", err)
	}
}

func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}
