package connector_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gatewright/gatewright/plugins/connector"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// BenchmarkSession compares a session with a bare bidirectional gRPC stream
// with ids, over the same kind of unix socket and TLS, 1.5 KB to 1 KB, both
// ends in this process. ratio_cpu is the session's CPU over the bare stream's
// of interleaved rounds. The bare one does nothing that a connector needs: no
// goroutine a call, no context, no bound, no fields.
func BenchmarkSession(b *testing.B) {
	creds, host := certificates(b)
	session := benchSession(b, creds, host)
	bare := benchBare(b, creds, host)
	for _, c := range []struct {
		name   string
		flight int
	}{{"flight=64", 64}, {"flight=1", 1}} {
		b.Run(c.name, func(b *testing.B) {
			const rounds = 8
			n := max(1, b.N/rounds)
			var ours, theirs, wall time.Duration
			for range rounds {
				cpu, took := drive(b, n, c.flight, session)
				ours, wall = ours+cpu, wall+took
				cpu, _ = drive(b, n, c.flight, bare)
				theirs += cpu
			}
			calls := float64(n * rounds)
			b.ReportMetric(float64(wall.Nanoseconds())/calls, "ns/op")
			b.ReportMetric(float64(ours.Nanoseconds())/calls, "cpu-ns/op")
			b.ReportMetric(float64(theirs.Nanoseconds())/calls, "bare-cpu-ns/op")
			b.ReportMetric(float64(ours)/float64(theirs), "ratio_cpu")
		})
	}
}

// drive makes n calls, flight at once, and returns the CPU time and the time
// they took.
func drive(b *testing.B, n, flight int, call func() error) (cpu, wall time.Duration) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	before, began := cpuTime(), time.Now()
	for range flight {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := call(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return cpuTime() - before, time.Since(began)
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

var (
	benchArgs   = []byte(`{"q":"` + string(bytes.Repeat([]byte("q"), 1400)) + `"}`)
	benchResult = []byte(`{"r":"` + string(bytes.Repeat([]byte("r"), 1016)) + `"}`)
)

func benchSession(b *testing.B, creds credentials.TransportCredentials, host credentials.TransportCredentials) func() error {
	g := connector.NewTestServer(connector.Info{Name: "bench"}, serverFunc(func(context.Context, *connector.Request) (connector.Reply, error) {
		return connector.Reply{Result: benchResult}, nil
	}), grpc.Creds(creds))
	s, err := connector.Open(soon(b), dial(b, g, host), connector.Bounds{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	b.Cleanup(cancel)
	replies := sync.Pool{New: func() any { return new(connector.Reply) }}
	return func() error {
		reply := replies.Get().(*connector.Reply)
		defer replies.Put(reply)
		return s.Call(ctx, &connector.Request{
			Method: "tools/call", Name: "echo", Principal: "agent:7", Arguments: benchArgs,
			Headers: [][2]string{{"Authorization", "Bearer 0123456789abcdef"}},
		}, reply)
	}
}

// bareDesc is the bare stream: BytesValue messages that begin with an id.
var bareDesc = grpc.ServiceDesc{ServiceName: "bare", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
	StreamName: "S", ServerStreams: true, ClientStreams: true,
	Handler: func(_ any, stream grpc.ServerStream) error {
		for {
			var in wrapperspb.BytesValue
			if err := stream.RecvMsg(&in); err != nil {
				return err
			}
			out := append(make([]byte, 0, 8+len(benchResult)), in.GetValue()[:8]...)
			if err := stream.SendMsg(&wrapperspb.BytesValue{Value: append(out, benchResult...)}); err != nil {
				return err
			}
		}
	},
}}}

func benchBare(b *testing.B, creds credentials.TransportCredentials, host credentials.TransportCredentials) func() error {
	g := grpc.NewServer(grpc.Creds(creds))
	g.RegisterService(&bareDesc, nil)
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := dial(b, g, host).NewStream(ctx, &bareDesc.Streams[0], "/bare/S")
	if err != nil {
		b.Fatal(err)
	}
	var mu sync.Mutex
	var id uint64
	waiting := map[uint64]chan []byte{}
	read := make(chan struct{})
	b.Cleanup(func() { cancel(); <-read })
	go func() {
		defer close(read)
		for {
			var in wrapperspb.BytesValue
			if stream.RecvMsg(&in) != nil {
				return
			}
			id := binary.LittleEndian.Uint64(in.GetValue())
			mu.Lock()
			ch := waiting[id]
			delete(waiting, id)
			mu.Unlock()
			ch <- in.GetValue()[8:]
		}
	}()
	chans := sync.Pool{New: func() any { return make(chan []byte, 1) }}
	return func() error {
		ch := chans.Get().(chan []byte)
		defer chans.Put(ch)
		m := append(make([]byte, 8, 8+len(benchArgs)+64), benchArgs...)
		mu.Lock()
		id++
		binary.LittleEndian.PutUint64(m, id)
		waiting[id] = ch
		err := stream.SendMsg(&wrapperspb.BytesValue{Value: m})
		mu.Unlock()
		if err == nil {
			<-ch
		}
		return err
	}
}

// dial is listen with TLS.
func dial(b *testing.B, g *grpc.Server, creds credentials.TransportCredentials) *grpc.ClientConn {
	b.Helper()
	l, err := net.Listen("unix", filepath.Join(b.TempDir(), "s"))
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = g.Serve(l) }()
	conn, err := grpc.NewClient("unix:"+l.Addr().String(), grpc.WithTransportCredentials(creds))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close(); g.Stop() })
	return conn
}

// certificates makes credentials for both ends, like those of AutoMTLS.
func certificates(b *testing.B) (server, client credentials.TransportCredentials) {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		b.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		b.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	own := []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	return credentials.NewTLS(&tls.Config{Certificates: own, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}),
		credentials.NewTLS(&tls.Config{Certificates: own, RootCAs: pool, ServerName: "localhost"})
}
