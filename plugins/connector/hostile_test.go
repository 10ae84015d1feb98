package connector_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/plugins/connector"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var hello = connector.Hello(connector.ProtocolVersion, 1<<20, 0, connector.Info{Name: "hostile", Version: "1"})

// hostile opens a session with a connector that says hello and then does what
// then says with each frame it is sent.
func hostile(t *testing.T, b connector.Bounds, then func(raw connector.Raw, kind byte, id uint64, body []byte) error) *connector.Session {
	t.Helper()
	return rawSession(t, b, func(raw connector.Raw) error {
		for {
			message, err := raw.Recv()
			if err != nil {
				return nil
			}
			kinds, ids, bodies, err := connector.ReadFrames(message)
			if err != nil {
				t.Errorf("the gateway sent a bad message: %v", err)
			}
			for i := range kinds {
				if err := then(raw, kinds[i], ids[i], bodies[i]); err != nil {
					return err
				}
			}
		}
	})
}

// rawSession opens a session with a connector that says hello and then does as
// serve says.
func rawSession(t *testing.T, b connector.Bounds, serve func(connector.Raw) error) *connector.Session {
	t.Helper()
	conn := listen(t, connector.RawServer(func(raw connector.Raw) error {
		if _, err := raw.Recv(); err != nil {
			return err
		}
		if err := raw.Send(hello); err != nil {
			return err
		}
		return serve(raw)
	}))
	s, err := connector.Open(soon(t), conn, b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

var tool = connector.Request{Method: "tools/call", Name: "x", Principal: "p", Arguments: []byte(`{}`)}

// failure makes a call and returns why it failed.
func failure(ctx context.Context, t *testing.T, s *connector.Session, r connector.Request) *connector.Failure {
	t.Helper()
	var reply connector.Reply
	err := s.Call(ctx, &r, &reply)
	var f *connector.Failure
	if !errors.As(err, &f) {
		t.Fatalf("the call gave %q %q, %v", reply.Result, reply.Error, err)
	}
	return f
}

func TestAConnectorThatBreaksTheProtocolLosesItsSession(t *testing.T) {
	reply := func(id uint64) []byte { return connector.Frame(connector.KindReply, id, []byte("\x00{}")...) }
	for name, answer := range map[string]func(id uint64) []byte{
		"unknown kind":       func(id uint64) []byte { return connector.Frame(9, id) },
		"kind zero":          func(id uint64) []byte { return connector.Frame(0, id) },
		"a second hello":     func(uint64) []byte { return hello },
		"a call":             func(id uint64) []byte { return connector.CallFrame(id, &tool, 0) },
		"a cancel":           func(id uint64) []byte { return connector.Frame(connector.KindCancel, id) },
		"a ping":             func(id uint64) []byte { return connector.Frame(connector.KindPing, id) },
		"an empty message":   func(uint64) []byte { return nil },
		"a cut head":         func(id uint64) []byte { return reply(id)[:12] },
		"a cut body":         func(id uint64) []byte { r := reply(id); return r[:len(r)-1] },
		"a cut second frame": func(id uint64) []byte { return append(reply(id+1), reply(id)[:5]...) },
		"a length too small": func(id uint64) []byte { r := reply(id); r[0] = 8; return r },
		"a length of 4 GiB":  func(id uint64) []byte { r := reply(id); copy(r, "\xff\xff\xff\xff"); return r },
		"reply without body": func(id uint64) []byte { return connector.Frame(connector.KindReply, id) },
		"reply of nothing":   func(id uint64) []byte { return connector.Frame(connector.KindReply, id, 0) },
		"reply of a third":   func(id uint64) []byte { return connector.Frame(connector.KindReply, id, 2, '{', '}') },
		"failure cut":        func(id uint64) []byte { return connector.Frame(connector.KindFailure, id, 1) },
		"failure of no kind": func(id uint64) []byte { return connector.Frame(connector.KindFailure, id, 0, 0) },
		"failure kind 9":     func(id uint64) []byte { return connector.Frame(connector.KindFailure, id, 9, 0) },
		"failure half sent":  func(id uint64) []byte { return connector.Frame(connector.KindFailure, id, 1, 2) },
		"failure of a novel": func(id uint64) []byte {
			return connector.Frame(connector.KindFailure, id, append([]byte{1, 0}, make([]byte, 600)...)...)
		},
		"a pong with a body":  func(id uint64) []byte { return connector.Frame(connector.KindPong, id, 0) },
		"a drain with a body": func(uint64) []byte { return connector.Frame(connector.KindDrain, 0, 0) },
		"a drain with an id":  func(id uint64) []byte { return connector.Frame(connector.KindDrain, id) },
		"two drains": func(uint64) []byte {
			return append(connector.Frame(connector.KindDrain, 0), connector.Frame(connector.KindDrain, 0)...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := hostile(t, connector.Bounds{}, func(raw connector.Raw, kind byte, id uint64, _ []byte) error {
				if kind == connector.KindCall {
					return raw.Send(answer(id))
				}
				return nil
			})
			f := failure(soon(t), t, s, tool)
			if f.Kind != connector.Malformed || !f.Sent || !strings.Contains(f.Detail, "broke the protocol") {
				t.Errorf("the call under way failed with %+v", f)
			}
			<-s.Done()
			if f := failure(soon(t), t, s, tool); f.Kind != connector.Malformed || f.Sent {
				t.Errorf("the next call failed with %+v", f)
			}
			if err := s.Ping(soon(t)); err == nil {
				t.Error("a ping was answered")
			}
			if err := s.Err(); err == nil || !strings.Contains(err.Error(), "broke the protocol") {
				t.Errorf("the session ended for %v", err)
			}
		})
	}
}

func TestAnswersToUnknownIdsAreCountedAndDropped(t *testing.T) {
	s := hostile(t, connector.Bounds{InFlight: 4}, func(raw connector.Raw, kind byte, id uint64, _ []byte) error {
		if kind != connector.KindCall {
			return nil
		}
		var m []byte
		for _, wrong := range []uint64{0, id + 1, id + 4, id - 4, 1 << 63, ^uint64(0)} {
			m = append(m, connector.Frame(connector.KindReply, wrong, []byte(`?{"wrong":1}`)...)...)
			m[len(m)-len(`?{"wrong":1}`)] = 0
			m = append(m, connector.Frame(connector.KindFailure, wrong, 1, 0)...)
		}
		m = append(m, connector.Frame(connector.KindPong, 77)...)
		m = append(m, connector.Frame(connector.KindReply, id, []byte("\x01{\"right\":1}")...)...)
		m = append(m, connector.Frame(connector.KindReply, id, []byte("\x00{\"twice\":1}")...)...)
		return raw.Send(m)
	})
	for i := range 3 {
		var reply connector.Reply
		if err := s.Call(soon(t), &tool, &reply); err != nil || string(reply.Error) != `{"right":1}` || reply.Result != nil {
			t.Fatalf("call %d gave %q %q, %v", i, reply.Result, reply.Error, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := s.Strays(); n != 3*14 {
		t.Errorf("%d strays were counted, want %d", n, 3*14)
	}
}

// TestAFloodOfAnswersEndsTheSession: more of them than calls that were given up.
func TestAFloodOfAnswersEndsTheSession(t *testing.T) {
	var flood []byte
	for range 100 {
		flood = append(flood, connector.Frame(connector.KindReply, 1<<40, 0, '{', '}')...)
		flood = append(flood, connector.Frame(connector.KindPong, 1<<40)...)
	}
	s := hostile(t, connector.Bounds{}, func(raw connector.Raw, kind byte, _ uint64, _ []byte) error {
		for kind == connector.KindCall {
			if err := raw.Send(flood); err != nil {
				return err
			}
		}
		return nil
	})
	if f := failure(soon(t), t, s, tool); f.Kind != connector.Malformed || !f.Sent || !strings.Contains(f.Detail, "nobody asked") {
		t.Errorf("the call failed with %+v", f)
	}
}

// TestLateAnswersAreNoFlood: a call that was given up is answered too.
func TestLateAnswersAreNoFlood(t *testing.T) {
	s := hostile(t, connector.Bounds{InFlight: 4}, func(raw connector.Raw, kind byte, id uint64, _ []byte) error {
		if kind == connector.KindCancel {
			return raw.Send(connector.Frame(connector.KindReply, id, 0, '{', '}'))
		}
		return nil
	})
	for range 2000 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Microsecond)
		_ = s.Call(ctx, &tool, new(connector.Reply))
		cancel()
	}
	waitFor(t, func() bool { return s.InFlight() == 0 })
	if err := s.Err(); err != nil || s.Strays() != 0 {
		t.Errorf("%v, strays: %d", err, s.Strays())
	}
}

func TestLatePongsAreNoFlood(t *testing.T) {
	var late []byte
	s := hostile(t, connector.Bounds{}, func(raw connector.Raw, kind byte, id uint64, _ []byte) error {
		if kind == connector.KindPing {
			late = append(late, connector.Frame(connector.KindPong, id)...)
			return nil
		}
		return raw.Send(append(late, connector.Frame(connector.KindReply, id, 0, '{', '}')...))
	})
	ended, end := context.WithCancel(t.Context())
	end()
	const pings = 2000 // more than may come unasked
	for range pings {
		if err := s.Ping(ended); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	var reply connector.Reply
	if err := s.Call(soon(t), &tool, &reply); err != nil || s.Strays() != pings {
		t.Errorf("%v, strays: %d", err, s.Strays())
	}
}

func TestAMessageOverTheBoundEndsTheSession(t *testing.T) {
	const bound = 64 << 10
	s := hostile(t, connector.Bounds{MaxFrame: bound}, func(raw connector.Raw, kind byte, id uint64, _ []byte) error {
		if kind != connector.KindCall {
			return nil
		}
		return raw.Send(connector.Frame(connector.KindReply, id, make([]byte, bound)...))
	})
	if f := failure(soon(t), t, s, tool); f.Kind != connector.TooLarge || !f.Sent {
		t.Errorf("the call failed with %+v", f)
	}
	<-s.Done()
}

func TestAConnectorThatEndsItsStreamFailsEveryCallUnderWay(t *testing.T) {
	for name, end := range map[string]error{"cleanly": nil, "with an error": status.Error(codes.Aborted, "bye\x00")} {
		t.Run(name, func(t *testing.T) {
			const calls = 5
			seen := 0
			gone := errors.New("gone")
			s := hostile(t, connector.Bounds{}, func(_ connector.Raw, kind byte, _ uint64, _ []byte) error {
				if kind == connector.KindCall {
					seen++
				}
				switch {
				case seen < calls:
					return nil
				case end == nil:
					return gone
				}
				return end
			})
			failures := make(chan *connector.Failure, calls)
			for range calls {
				go func() { failures <- failure(soon(t), t, s, tool) }()
			}
			for range calls {
				if f := <-failures; f.Kind != connector.Unreachable || !f.Sent || strings.ContainsRune(f.Detail, 0) {
					t.Errorf("a call under way failed with %+v", f)
				}
			}
		})
	}
}

func TestHellosThatDoNotFitAreRefused(t *testing.T) {
	info := connector.Info{Name: "x"}
	for name, first := range map[string][]byte{
		"a newer protocol":  connector.Hello(2, 1<<20, 0, info),
		"an older protocol": connector.Hello(0, 1<<20, 0, info),
		"tiny frames":       connector.Hello(connector.ProtocolVersion, 100, 0, info),
		"another kind":      connector.Frame(connector.KindPong, 0),
		"an id":             connector.Frame(connector.KindHello, 1, hello[13:]...),
		"cut":               connector.Frame(connector.KindHello, 0, hello[13:len(hello)-1]...),
		"too long":          connector.Frame(connector.KindHello, 0, append(append([]byte{}, hello[13:]...), 0)...),
		"a byte behind it":  append(append([]byte{}, hello...), 0),
		"a second frame":    append(append([]byte{}, hello...), connector.Frame(connector.KindPong, 1)...),
		"nothing":           {},
	} {
		t.Run(name, func(t *testing.T) {
			conn := listen(t, connector.RawServer(func(raw connector.Raw) error {
				if err := raw.Send(first); err != nil {
					return err
				}
				_, err := raw.Recv()
				<-raw.Done()
				return err
			}))
			if s, err := connector.Open(soon(t), conn, connector.Bounds{}); err == nil {
				t.Errorf("opened with %+v", s.Info())
				_ = s.Close()
			}
		})
	}
}

func TestOpenEndsWithItsContextWhenNoHelloComes(t *testing.T) {
	conn := listen(t, connector.RawServer(func(raw connector.Raw) error {
		<-raw.Done()
		return nil
	}))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := connector.Open(ctx, conn, connector.Bounds{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Open gave %v", err)
	}
}

func TestTheContextOfOpenDoesNotBoundTheSession(t *testing.T) {
	conn := listen(t, connector.NewTestServer(connector.Info{}, serverFunc(echo)))
	ctx, cancel := context.WithCancel(t.Context())
	s, err := connector.Open(ctx, conn, connector.Bounds{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cancel()
	var reply connector.Reply
	if err := s.Call(soon(t), &tool, &reply); err != nil {
		t.Error(err)
	}
}

func TestBoundsOutsideTheirRangeAreRefused(t *testing.T) {
	conn := listen(t, connector.NewTestServer(connector.Info{}, serverFunc(echo)))
	for _, b := range []connector.Bounds{{MaxFrame: 100}, {MaxFrame: 1 << 30}, {MaxFrame: -1}, {InFlight: -1}, {InFlight: 1 << 20}} {
		if _, err := connector.Open(soon(t), conn, b); err == nil {
			t.Errorf("%+v was taken", b)
		}
	}
}

func TestTextOfAConnectorIsMadeFitToBeShown(t *testing.T) {
	s := hostile(t, connector.Bounds{}, func(raw connector.Raw, kind byte, id uint64, _ []byte) error {
		if kind != connector.KindCall {
			return nil
		}
		return raw.Send(connector.Frame(connector.KindFailure, id, []byte("\x05\x01a\x1b[31m\xff\nb\u0085c\u202e")...))
	})
	f := failure(soon(t), t, s, tool)
	if f.Kind != connector.Refused || !f.Sent || f.Detail != "a [31m? b c " {
		t.Errorf("the failure is %+v", f)
	}
}

// TestAConnectorThatNeverReads: callers wait no longer than they want to, and
// what waits is bounded.
func TestAConnectorThatNeverReads(t *testing.T) {
	s := rawSession(t, connector.Bounds{InFlight: 1000}, func(raw connector.Raw) error {
		<-raw.Done()
		return nil
	})
	large := tool
	large.Arguments = []byte(`{"a":"` + strings.Repeat("a", 60<<10) + `"}`)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	const calls = 50
	failures := make(chan *connector.Failure, calls)
	for range calls {
		go func() { failures <- failure(ctx, t, s, large) }()
	}
	kinds := map[connector.Kind]int{}
	for range calls {
		f := <-failures
		kinds[f.Kind]++
		if f.Sent != (f.Kind == connector.Timeout) || !errors.Is(f, context.DeadlineExceeded) {
			t.Errorf("a call failed with %+v", f)
		}
	}
	if kinds[connector.Busy] < calls/2 || kinds[connector.Busy]+kinds[connector.Timeout] != calls {
		t.Errorf("calls failed as %v", kinds)
	}
	if n := s.InFlight(); n != kinds[connector.Timeout] {
		t.Errorf("%d in flight, want those that were sent", n)
	}
	late, cancelLate := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancelLate()
	if err := s.Ping(late); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ping gave %v", err)
	}
	began := time.Now()
	_ = s.Close()
	if took := time.Since(began); took > time.Second {
		t.Errorf("Close took %v", took)
	}
}

// TestCloseEndsCallsThatCouldNotBeSent: their contexts have no end.
func TestCloseEndsCallsThatCouldNotBeSent(t *testing.T) {
	s := rawSession(t, connector.Bounds{}, func(raw connector.Raw) error {
		<-raw.Done()
		return nil
	})
	large := tool
	large.Arguments = []byte(`{"a":"` + strings.Repeat("a", 60<<10) + `"}`)
	const calls = 20
	failures := make(chan *connector.Failure, calls)
	for range calls {
		go func() { failures <- failure(context.Background(), t, s, large) }()
	}
	waitFor(t, func() bool { return s.InFlight() == calls })
	_ = s.Close()
	unsent := 0
	for range calls {
		f := <-failures
		if f.Kind != connector.Unreachable {
			t.Errorf("a call failed with %+v", f)
		}
		if !f.Sent {
			unsent++
		}
	}
	if unsent < calls/2 {
		t.Errorf("only %d of %d calls were not sent", unsent, calls)
	}
}

func TestAConnectorThatAsksToEndIsLetGo(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	s := rawSession(t, connector.Bounds{}, func(raw connector.Raw) error {
		message, err := raw.Recv()
		if err != nil {
			return err
		}
		_, ids, _, _ := connector.ReadFrames(message)
		if err := raw.Send(connector.Frame(connector.KindDrain, 0)); err != nil {
			return err
		}
		close(asked)
		<-answer
		if err := raw.Send(connector.Frame(connector.KindReply, ids[0], []byte("\x00{}")...)); err != nil {
			return err
		}
		for err == nil {
			_, err = raw.Recv()
		}
		ended <- err
		return nil
	})
	first := make(chan error, 1)
	go func() {
		var reply connector.Reply
		first <- s.Call(soon(t), &tool, &reply)
	}()
	<-asked
	waitFor(t, func() bool {
		var f *connector.Failure
		var reply connector.Reply
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		return errors.As(s.Call(ctx, &tool, &reply), &f) && f.Kind == connector.Unreachable && !f.Sent
	})
	close(answer)
	if err := <-first; err != nil {
		t.Errorf("the call under way gave %v", err)
	}
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the connector saw %v instead of the end of the gateway's side", err)
	}
	<-s.Done()
	if err := s.Err(); err == nil || err.Error() != "unreachable: the connector ended" {
		t.Errorf("the session ended for %v", err)
	}
}

// waitFor polls a condition that another goroutine brings about.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come about within 5 s")
		}
	}
}
