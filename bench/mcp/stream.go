package mcp

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gatewright/gatewright/bench/rig"
)

// The bare stream is what one would write first: one bidirectional stream of google.protobuf.BytesValue, each of which
// begins with an id, no more around it than ids need. It has no bounds, no deadlines, no cancellation, no fields, and no
// goroutine for a call at the far end.

// idSize is the size of an id in bytes.
const idSize = 8

const streamMethod = "/bench.Peer/Exchange"

// peer is the far end.
type peer struct{ reply []byte }

func (p *peer) desc() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{ServiceName: "bench.Peer", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
		StreamName: "Exchange", ServerStreams: true, ClientStreams: true,
		Handler: func(_ any, s grpc.ServerStream) error { return p.serve(s) },
	}}}
}

func (p *peer) serve(s grpc.ServerStream) error {
	for {
		var in wrapperspb.BytesValue
		if err := s.RecvMsg(&in); err != nil {
			return err
		}
		request := in.GetValue()
		if len(request) < idSize {
			return errors.New("a message without an id")
		}
		reply := p.reply
		if bytes.HasPrefix(request[idSize:], []byte(probePrefix)) {
			reply = digest(request[idSize:])
		}
		out := make([]byte, 0, idSize+len(reply))
		out = append(append(out, request[:idSize]...), reply...)
		if err := s.SendMsg(&wrapperspb.BytesValue{Value: out}); err != nil {
			return err
		}
	}
}

// peerSettings are those of the far end.
type peerSettings struct {
	Dir  string `json:"dir"`
	Host []byte `json:"host"` // its certificate
}

// peerDetail is what it says of itself.
type peerDetail struct {
	Certificate []byte `json:"certificate"`
}

// servePeer is its role.
func servePeer(_ context.Context, settings json.RawMessage) (rig.Serving, error) {
	var s peerSettings
	if err := json.Unmarshal(settings, &s); err != nil {
		return rig.Serving{}, fmt.Errorf("read settings: %w", err)
	}
	own, err := newCertificate()
	if err != nil {
		return rig.Serving{}, err
	}
	hosts, err := pool(s.Host)
	if err != nil {
		return rig.Serving{}, err
	}
	ln, err := net.Listen("unix", filepath.Join(s.Dir, "peer"))
	if err != nil {
		return rig.Serving{}, fmt.Errorf("open a socket: %w", err)
	}
	g := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: hosts, MinVersion: tls.VersionTLS13,
	})))
	p := &peer{reply: newReply()}
	g.RegisterService(p.desc(), p)
	done := make(chan error, 1)
	go func() { done <- g.Serve(ln) }()
	return rig.Serving{Addr: ln.Addr().String(), Detail: peerDetail{own.Certificate[0]}, Stop: func() error {
		g.Stop()
		return <-done
	}}, nil
}

// caller is the near end.
type caller struct {
	request []byte
	want    []byte
	stream  grpc.ClientStream
	waits   sync.Pool // of chan []byte that hold one

	mu      sync.Mutex // taken to send, and guards what follows
	last    uint64
	waiting map[uint64]chan []byte // closed when the stream is over
	err     error                  // why it is over
}

// serveStream is the role of a process that calls its peer.
func serveStream(ctx context.Context, settings json.RawMessage) (_ rig.Serving, err error) {
	var s hostSettings
	if err := json.Unmarshal(settings, &s); err != nil {
		return rig.Serving{}, fmt.Errorf("read settings: %w", err)
	}
	own, err := newCertificate()
	if err != nil {
		return rig.Serving{}, err
	}
	// The peer ends when we tell it to or are gone, and not with ctx, which would kill it.
	child, err := rig.Start(context.WithoutCancel(ctx), s.Self, peerRole, peerSettings{Dir: s.Dir, Host: own.Certificate[0]})
	if err != nil {
		return rig.Serving{}, err
	}
	conn, err := dial(child, own)
	if err != nil {
		return rig.Serving{}, errors.Join(err, child.Stop())
	}
	stop := func() error { return errors.Join(conn.Close(), child.Stop()) }
	c, err := open(ctx, conn)
	if err != nil {
		return rig.Serving{}, errors.Join(err, stop())
	}
	return rig.Serving{Stop: stop, Probe: c.probe, Call: c.call}, nil
}

func dial(child *rig.Child, own tls.Certificate) (*grpc.ClientConn, error) {
	var d peerDetail
	if err := json.Unmarshal(child.Detail, &d); err != nil {
		return nil, fmt.Errorf("read the peer's certificate: %w", err)
	}
	peers, err := pool(d.Certificate)
	if err != nil {
		return nil, err
	}
	return grpc.NewClient("unix:"+child.Addr, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{own}, RootCAs: peers, ServerName: certificateName, MinVersion: tls.VersionTLS13,
	})))
}

func open(ctx context.Context, conn *grpc.ClientConn) (*caller, error) {
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{StreamName: "Exchange", ServerStreams: true, ClientStreams: true}, streamMethod)
	if err != nil {
		return nil, fmt.Errorf("open the stream: %w", err)
	}
	c := &caller{stream: s, request: payload(newRequest(callName)), want: newReply(), waiting: map[uint64]chan []byte{}}
	c.waits.New = func() any { return make(chan []byte, 1) }
	go c.read()
	return c, nil
}

// read gives each reply to who waits for it, until the stream is over.
func (c *caller) read() {
	for {
		var in wrapperspb.BytesValue
		err := c.stream.RecvMsg(&in)
		if err == nil && len(in.GetValue()) < idSize {
			err = errors.New("a message without an id")
		}
		if err != nil {
			c.end(err)
			return
		}
		id := binary.LittleEndian.Uint64(in.GetValue())
		c.mu.Lock()
		wait := c.waiting[id]
		delete(c.waiting, id)
		c.mu.Unlock()
		if wait != nil {
			wait <- in.GetValue()[idSize:]
		}
	}
}

func (c *caller) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	for id, wait := range c.waiting {
		close(wait)
		delete(c.waiting, id)
	}
}

func (c *caller) ask(payload []byte) ([]byte, error) {
	wait := c.waits.Get().(chan []byte)
	message := append(make([]byte, idSize, idSize+len(payload)), payload...)
	if err := c.send(message, wait); err != nil {
		return nil, err
	}
	reply, ok := <-wait
	if !ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		return nil, fmt.Errorf("the stream is over: %w", c.err)
	}
	c.waits.Put(wait)
	return reply, nil
}

func (c *caller) send(message []byte, wait chan []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return fmt.Errorf("the stream is over: %w", c.err)
	}
	c.last++
	binary.LittleEndian.PutUint64(message, c.last)
	c.waiting[c.last] = wait
	return c.stream.SendMsg(&wrapperspb.BytesValue{Value: message})
}

func (c *caller) call(context.Context) error {
	got, err := c.ask(c.request)
	if err == nil && !bytes.Equal(got, c.want) {
		err = fmt.Errorf("answered %.80q", got)
	}
	return err
}

// probePrefix begins the payload of a request whose answer is its digest.
const probePrefix = "tools/call" + probeName

func (c *caller) probe(ctx context.Context) error {
	p := payload(newRequest(probeName))
	got, err := c.ask(p)
	if err != nil {
		return err
	}
	if want := digest(p); !bytes.Equal(got, want) {
		return fmt.Errorf("the probe is answered %q, want %q", got, want)
	}
	return c.call(ctx)
}
