package connector_test

import (
	"context"
	"io"
	"testing"

	"github.com/gatewright/gatewright/plugins/connector"
	"google.golang.org/grpc"
)

// mirror is a connection whose connector answers each call at once, without
// gRPC, goroutines or allocations of its own.
type mirror struct{ grpc.ClientConnInterface }

func (mirror) NewStream(ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	answers := make(chan []byte, 1)
	answers <- hello
	return &mirrored{ctx: ctx, answers: answers}, nil
}

type mirrored struct {
	grpc.ClientStream
	ctx     context.Context
	answers chan []byte
	said    bool
	reply   []byte
}

func (m *mirrored) SendMsg(v any) error {
	sent := connector.Sent(v)
	if !m.said { // the hello
		m.said = true
		return nil
	}
	m.reply = append(m.reply[:0], reply...)
	copy(m.reply[5:13], sent[5:13])
	m.answers <- m.reply
	return nil
}

var reply = connector.Frame(connector.KindReply, 0, append([]byte{0}, benchResult...)...)

func (m *mirrored) RecvMsg(v any) error {
	select {
	case b := <-m.answers:
		connector.Receive(v, b)
		return nil
	case <-m.ctx.Done():
		return io.EOF
	}
}

// TestACallAllocatesNothingOfItsOwn: the mirror makes two allocations.
func TestACallAllocatesNothingOfItsOwn(t *testing.T) {
	s, err := connector.Open(soon(t), mirror{}, connector.Bounds{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx := soon(t)
	var reply connector.Reply
	r := connector.Request{Method: "tools/call", Name: "echo", Principal: "p", Arguments: benchArgs, Headers: [][2]string{{"a", "b"}}}
	n := testing.AllocsPerRun(1000, func() {
		if err := s.Call(ctx, &r, &reply); err != nil {
			t.Error(err)
		}
	})
	if n > 2 {
		t.Errorf("a call makes %v allocations", n-2)
	}
}
