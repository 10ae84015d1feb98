package connector

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

const (
	serviceName = "gatewright.connector.v1.Connector"
	streamName  = "Exchange"
)

var exchangeDesc = grpc.StreamDesc{
	StreamName: streamName, ServerStreams: true, ClientStreams: true,
	Handler: func(srv any, stream grpc.ServerStream) error { return srv.(*service).exchange(stream) },
}

var serviceDesc = grpc.ServiceDesc{
	ServiceName: serviceName, HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{exchangeDesc},
}

// message is one gRPC message of the stream, its bytes as they are.
type message struct{ data mem.Buffer }

// bytes returns what was received; free gives it back.
func (m *message) bytes() []byte { return m.data.ReadOnlyData() }
func (m *message) free()         { m.data.Free() }

// codec carries messages of our stream as they are and leaves those of go-plugin's own services, which share the
// connection, to protobuf. It is given to each stream and server and never registered with gRPC.
type codec struct{}

// Marshal hands m's bytes to gRPC, which frees them.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(*message); ok {
		return mem.BufferSlice{m.data}, nil
	}
	return protobuf().Marshal(v)
}

// Unmarshal keeps the received bytes, in one piece, until they are freed.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*message)
	if !ok {
		return protobuf().Unmarshal(data, v)
	}
	m.data = data.MaterializeToBuffer(batches{})
	return nil
}

// Name is protobuf's, so that peers of every language accept the content type.
func (codec) Name() string { return proto.Name }

func protobuf() encoding.CodecV2 {
	c := encoding.GetCodecV2(proto.Name)
	if c == nil {
		panic(fmt.Sprintf("gRPC has no codec %q", proto.Name)) // registered by the import above
	}
	return c
}

func sendHello(stream interface{ SendMsg(m any) error }, h hello) error {
	b := newBatch()
	*b = appendHello(*b, h)
	return stream.SendMsg(&message{mem.NewBuffer(b, batches{})})
}

func recvHello(stream interface{ RecvMsg(m any) error }) (h hello, err error) {
	var m message
	if err := stream.RecvMsg(&m); err != nil {
		return h, fmt.Errorf("no hello: %w", err)
	}
	defer m.free()
	return parseHello(m.bytes())
}

// breach is an error of the peer's, not of the stream.
type breach struct{ error }

// receive hands on the frames of a stream until it or a frame fails. The error is a breach when it was a frame.
func receive(stream interface{ RecvMsg(m any) error }, handle func(frame) error) error {
	var m message
	for {
		if err := stream.RecvMsg(&m); err != nil {
			return err
		}
		err := eachFrame(m.bytes(), handle)
		m.free()
		if err != nil {
			return breach{err}
		}
	}
}

// eachFrame hands on the frames of one message, at least one.
func eachFrame(message []byte, handle func(frame) error) error {
	for first := true; first || len(message) > 0; first = false {
		f, rest, err := nextFrame(message)
		if err != nil {
			return err
		}
		if err := handle(f); err != nil {
			return err
		}
		message = rest
	}
	return nil
}
