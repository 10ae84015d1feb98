package connector

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
)

// The frames that tests write by hand.
const (
	KindHello   = byte(kindHello)
	KindCall    = byte(kindCall)
	KindReply   = byte(kindReply)
	KindFailure = byte(kindFailure)
	KindCancel  = byte(kindCancel)
	KindPing    = byte(kindPing)
	KindPong    = byte(kindPong)
	KindDrain   = byte(kindDrain)
	KindNote    = byte(kindNote)
	KindAsk     = byte(kindAsk)
	KindAnswer  = byte(kindAnswer)
	KindUnask   = byte(kindUnask)
)

// NewTestServer serves s without go-plugin.
func NewTestServer(i Info, s Server, opts ...grpc.ServerOption) *grpc.Server {
	g := grpc.NewServer(append(opts, grpc.ForceServerCodecV2(codec{}), grpc.MaxRecvMsgSize(maxFrame))...)
	if err := (&Plugin{service: newService(i, s)}).GRPCServer(nil, g); err != nil {
		panic(err)
	}
	return g
}

// Frame writes a frame as it is told to.
func Frame(kind byte, id uint64, body ...byte) []byte {
	return append(appendHead(nil, frameKind(kind), id, len(body)), body...)
}

// Hello writes a hello.
func Hello(protocol, limit, calls uint32, i Info) []byte {
	return appendHello(nil, hello{protocol, limit, calls, i})
}

// CallFrame writes a call.
func CallFrame(id uint64, r *Request, timeoutMS uint32) []byte {
	return appendCall(nil, id, r, timeoutMS, callSize(r))
}

// ReadFrames splits a message into frames.
func ReadFrames(message []byte) (kinds []byte, ids []uint64, bodies [][]byte, err error) {
	for len(message) > 0 {
		f, rest, err := nextFrame(message)
		if err != nil {
			return nil, nil, nil, err
		}
		kinds, ids, bodies = append(kinds, byte(f.kind)), append(ids, f.id), append(bodies, f.body)
		message = rest
	}
	return kinds, ids, bodies, nil
}

// ParseCall reads a call's body.
var ParseCall = parseCall

// ParseFailure reads a failure's body.
var ParseFailure = parseFailure

// Raw is one end of a stream that says whatever a test wants.
type Raw struct {
	stream interface {
		SendMsg(m any) error
		RecvMsg(m any) error
		Context() context.Context
	}
}

// Done is closed when the stream has ended.
func (r Raw) Done() <-chan struct{} { return r.stream.Context().Done() }

// Send sends one message.
func (r Raw) Send(b []byte) error { return r.stream.SendMsg(&message{mem.SliceBuffer(b)}) }

// Recv receives one message.
func (r Raw) Recv() ([]byte, error) {
	var m message
	if err := r.stream.RecvMsg(&m); err != nil {
		return nil, err
	}
	defer m.free()
	return append([]byte{}, m.bytes()...), nil
}

// RawServer is a connector's end in a test's hands.
func RawServer(serve func(Raw) error) *grpc.Server {
	g := grpc.NewServer(grpc.ForceServerCodecV2(codec{}))
	desc := serviceDesc
	desc.Streams = []grpc.StreamDesc{exchangeDesc}
	desc.Streams[0].Handler = func(_ any, stream grpc.ServerStream) error { return serve(Raw{stream}) }
	g.RegisterService(&desc, nil)
	return g
}

// RawClient is the gateway's end in a test's hands.
func RawClient(ctx context.Context, conn grpc.ClientConnInterface) (Raw, func() error, error) {
	stream, err := conn.NewStream(ctx, &exchangeDesc, "/"+serviceName+"/"+streamName, grpc.ForceCodecV2(codec{}))
	if err != nil {
		return Raw{}, nil, err
	}
	return Raw{stream}, stream.CloseSend, nil
}

// Sent returns the bytes of a message that a stream was given, and frees it.
func Sent(v any) []byte {
	m := v.(*message)
	b := append([]byte(nil), m.bytes()[:headSize]...)
	m.free()
	return b
}

// Receive fills a message that a stream was asked for.
func Receive(v any, b []byte) { v.(*message).data = mem.SliceBuffer(b) }

// SetStuck changes how long a session bears a connector that answers nothing.
func SetStuck(s *Session, d time.Duration) { s.limit = d }

// ReleaseBatch ends the use of b as a batch; it is too large to be kept.
func ReleaseBatch(b []byte) { batches{}.Put(&b) }

// ReleaseCall ends the use of b as a call's memory; it is too large to be kept.
func ReleaseCall(b []byte) { (&call{buf: b}).release() }
