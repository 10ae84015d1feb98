package connector_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/plugins/connector"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestCallsAtOnceGetTheirOwnAnswers(t *testing.T) {
	s := pair(t, serverFunc(func(_ context.Context, r *connector.Request) (connector.Reply, error) {
		if len(r.Arguments)%3 == 0 {
			runtime.Gosched()
		}
		return connector.Reply{Result: r.Arguments}, nil
	}), connector.Bounds{InFlight: 20})
	ctx := soon(t)
	var wg sync.WaitGroup
	for g := range 64 {
		wg.Go(func() {
			var reply connector.Reply
			for i := range 200 {
				args := fmt.Sprintf(`{"who":"%d-%d","pad":"%s"}`, g, i, strings.Repeat("x", (g*i)%5000))
				if err := s.Call(ctx, &connector.Request{Method: "tools/call", Arguments: []byte(args)}, &reply); err != nil || string(reply.Result) != args {
					t.Errorf("call %d-%d gave %.80q, %v", g, i, reply.Result, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if s.InFlight() != 0 || s.Strays() != 0 {
		t.Errorf("%d in flight, %d strays", s.InFlight(), s.Strays())
	}
}

// TestAnswersThatComeAsTheirCallersGiveUp: an answer and the end of a context
// meet at every moment, and no other call gets either.
func TestAnswersThatComeAsTheirCallersGiveUp(t *testing.T) {
	s := pair(t, serverFunc(echo), connector.Bounds{InFlight: 8})
	var wg sync.WaitGroup
	var inTime, late atomic.Int64
	for g := range 16 {
		wg.Go(func() {
			for i := range 500 {
				args := fmt.Sprintf(`{"who":"%d-%d"}`, g, i)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%40)*10*time.Microsecond)
				var reply connector.Reply
				err := s.Call(ctx, &connector.Request{Arguments: []byte(args)}, &reply)
				cancel()
				switch {
				case err == nil && string(reply.Result) == args:
					inTime.Add(1)
				case err != nil && reply.Result == nil && errors.Is(err, context.DeadlineExceeded):
					late.Add(1)
				default:
					t.Errorf("call %s gave %q, %v", args, reply.Result, err)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d in time, %d late", inTime.Load(), late.Load())
	var reply connector.Reply
	for range 20 {
		if err := s.Call(soon(t), &connector.Request{Arguments: []byte(`{"last":1}`)}, &reply); err != nil || string(reply.Result) != `{"last":1}` {
			t.Errorf("a call afterwards gave %q, %v", reply.Result, err)
		}
	}
}

func TestARepliesCapacityIsUsedAgain(t *testing.T) {
	s := pair(t, serverFunc(echo), connector.Bounds{})
	reply := connector.Reply{Result: make([]byte, 0, 100), Error: []byte("stale")}
	first := &reply.Result[:1][0]
	if err := s.Call(soon(t), &connector.Request{Arguments: []byte(`{"a":1}`)}, &reply); err != nil {
		t.Fatal(err)
	}
	if string(reply.Result) != `{"a":1}` || &reply.Result[0] != first || reply.Error != nil {
		t.Errorf("the reply is %q %q", reply.Result, reply.Error)
	}
}

func TestWhatAServerGivesInsteadOfAReply(t *testing.T) {
	var missing *connector.Reply
	answers := map[string]func() (connector.Reply, error){
		"panics":     func() (connector.Reply, error) { panic("secret") },
		"nil panics": func() (connector.Reply, error) { return *missing, nil },
		"goexits":    func() (connector.Reply, error) { runtime.Goexit(); return connector.Reply{}, nil },
		"fails":      func() (connector.Reply, error) { return connector.Reply{}, errors.New("disk full\n") },
		"refuses": func() (connector.Reply, error) {
			return connector.Reply{}, &connector.Failure{Kind: connector.Refused, Detail: "no"}
		},
		"wraps": func() (connector.Reply, error) {
			return connector.Reply{}, fmt.Errorf("x: %w", &connector.Failure{Kind: connector.Busy, Detail: "b", Sent: true})
		},
		"odd kind":    func() (connector.Reply, error) { return connector.Reply{}, &connector.Failure{Kind: 77, Detail: "odd"} },
		"nil failure": func() (connector.Reply, error) { return connector.Reply{}, (*connector.Failure)(nil) },
		"neither":     func() (connector.Reply, error) { return connector.Reply{}, nil },
		"both": func() (connector.Reply, error) {
			return connector.Reply{Result: []byte("{}"), Error: []byte("{}")}, nil
		},
		"novel": func() (connector.Reply, error) { return connector.Reply{}, errors.New(strings.Repeat("ä", 1000)) },
		"huge":  func() (connector.Reply, error) { return connector.Reply{Result: make([]byte, 64<<10)}, nil },
	}
	s := pair(t, serverFunc(func(_ context.Context, r *connector.Request) (connector.Reply, error) { return answers[r.Name]() }), connector.Bounds{MaxFrame: 64 << 10})
	for name, want := range map[string]connector.Failure{
		"panics":     {Kind: connector.Internal, Detail: "the connector panicked; its log has the stack", Sent: true},
		"nil panics": {Kind: connector.Internal, Detail: "the connector panicked; its log has the stack", Sent: true},
		"goexits":    {Kind: connector.Internal, Detail: "the connector's goroutine ended without an answer", Sent: true},
		"fails":      {Kind: connector.Internal, Detail: "disk full ", Sent: true},
		"refuses":    {Kind: connector.Refused, Detail: "no"},
		"wraps":      {Kind: connector.Busy, Detail: "b", Sent: true},
		"odd kind":   {Kind: connector.Internal, Detail: "odd"},
		"neither":    {Kind: connector.Internal, Detail: "the connector gave not exactly one of result and error", Sent: true},
		"both":       {Kind: connector.Internal, Detail: "the connector gave not exactly one of result and error", Sent: true},
		"novel":      {Kind: connector.Internal, Detail: strings.Repeat("ä", 256), Sent: true},
		"huge":       {Kind: connector.TooLarge, Detail: "a reply of 65550 bytes is over the bound of 65536", Sent: true},
	} {
		if f := failure(soon(t), t, s, connector.Request{Name: name}); f.Kind != want.Kind || f.Detail != want.Detail || f.Sent != want.Sent || !f.Told() {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if f := failure(soon(t), t, s, connector.Request{Name: "nil failure"}); f.Kind != connector.Internal || !f.Sent {
		t.Errorf("nil failure: %+v", f)
	}
	if err := s.Ping(soon(t)); err != nil {
		t.Errorf("the process did not live on: %v", err)
	}
}

func TestARequestOverTheBoundIsNotSent(t *testing.T) {
	s := pair(t, serverFunc(echo), connector.Bounds{MaxFrame: 64 << 10})
	for name, r := range map[string]connector.Request{
		"bytes":   {Arguments: make([]byte, 64<<10)},
		"headers": {Headers: make([][2]string, 257)},
	} {
		if f := failure(soon(t), t, s, r); f.Kind != connector.TooLarge || f.Sent {
			t.Errorf("%s: %+v", name, f)
		}
	}
	var reply connector.Reply
	for _, n := range []int{64<<10 - 100, 40 << 10} {
		args := []byte(`{"a":"` + strings.Repeat("a", n-10) + `"}`)
		if err := s.Call(soon(t), &connector.Request{Arguments: args, Headers: make([][2]string, 3)}, &reply); err != nil || string(reply.Result) != string(args) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestManyLargeCallsAtOnce: batches are cut into messages that the peer takes.
func TestManyLargeCallsAtOnce(t *testing.T) {
	s := pair(t, serverFunc(echo), connector.Bounds{MaxFrame: 8 << 10})
	args := []byte(`{"a":"` + strings.Repeat("a", 7<<10) + `"}`)
	ctx := soon(t)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			var reply connector.Reply
			for range 20 {
				if err := s.Call(ctx, &connector.Request{Arguments: args}, &reply); err != nil || string(reply.Result) != string(args) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// waiting is a server whose calls wait for their context's end; "deaf" ones
// wait for let besides.
type waiting struct {
	begun chan string
	ended chan error
	let   chan struct{}
}

func newWaiting() *waiting {
	return &waiting{begun: make(chan string, 100), ended: make(chan error, 100), let: make(chan struct{})}
}

func (w *waiting) Call(ctx context.Context, r *connector.Request) (connector.Reply, error) {
	name := r.Name
	w.begun <- name
	if name == "quick" {
		return connector.Reply{Result: []byte("{}")}, nil
	}
	if name != "held" {
		<-ctx.Done()
		w.ended <- context.Cause(ctx)
	}
	if name != "waits" {
		<-w.let
	}
	return connector.Reply{Result: []byte("{}")}, ctx.Err()
}

func TestTheEndOfAContextCancelsTheCallAndReturnsAtOnce(t *testing.T) {
	w := newWaiting()
	s := pair(t, w, connector.Bounds{InFlight: 1})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-w.begun; cancel() }()
	f := failure(ctx, t, s, connector.Request{Name: "deaf"})
	if f.Kind != connector.Canceled || !f.Sent || !errors.Is(f, context.Canceled) {
		t.Errorf("the call failed with %+v", f)
	}
	if err := <-w.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the server's context ended for %v", err)
	}
	var reply connector.Reply
	if err := s.Call(soon(t), &connector.Request{Name: "quick"}, &reply); err != nil {
		t.Errorf("another call gave %v", err)
	}
	if n := s.InFlight(); n != 1 {
		t.Errorf("%d in flight, while the connector still works on one", n)
	}
	close(w.let)
	waitFor(t, func() bool { return s.InFlight() == 0 })
	ended, end := context.WithCancel(t.Context())
	end()
	if f := failure(ended, t, s, connector.Request{Name: "quick"}); f.Kind != connector.Canceled || f.Sent {
		t.Errorf("a call whose context had ended failed with %+v", f)
	}
}

func TestADeadlineReachesTheServer(t *testing.T) {
	left := make(chan time.Duration, 1)
	s := pair(t, serverFunc(func(ctx context.Context, _ *connector.Request) (connector.Reply, error) {
		deadline, _ := ctx.Deadline()
		left <- time.Until(deadline)
		<-ctx.Done()
		return connector.Reply{}, ctx.Err()
	}), connector.Bounds{})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	f := failure(ctx, t, s, connector.Request{})
	if f.Kind != connector.Timeout || !f.Sent {
		t.Errorf("the call failed with %+v", f)
	}
	if d := <-left; d <= 0 || d > 150*time.Millisecond {
		t.Errorf("the server had %v left", d)
	}
}

func TestCallsOverTheBoundWait(t *testing.T) {
	w := newWaiting()
	s := pair(t, w, connector.Bounds{InFlight: 2})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			var reply connector.Reply
			if err := s.Call(soon(t), &connector.Request{Name: "held"}, &reply); err != nil {
				t.Error(err)
			}
		})
	}
	<-w.begun
	<-w.begun
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if f := failure(ctx, t, s, connector.Request{Name: "quick"}); f.Kind != connector.Busy || f.Sent || !errors.Is(f, context.DeadlineExceeded) {
		t.Errorf("a third call failed with %+v", f)
	}
	if s.InFlight() != 2 {
		t.Errorf("%d in flight", s.InFlight())
	}
	if err := s.Ping(soon(t)); err != nil {
		t.Errorf("a ping waits for calls: %v", err)
	}
	third := make(chan error, 1)
	go func() {
		var reply connector.Reply
		third <- s.Call(soon(t), &connector.Request{Name: "quick"}, &reply)
	}()
	close(w.let)
	if err := <-third; err != nil {
		t.Errorf("a call that could wait gave %v", err)
	}
	wg.Wait()
}

// TestCallsThatIgnoreTheirCancelAreBounded: what the connector is busy with does
// not grow without bound.
func TestCallsThatIgnoreTheirCancelAreBounded(t *testing.T) {
	w := newWaiting()
	s := pair(t, w, connector.Bounds{InFlight: 2})
	for range 4 {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-w.begun; cancel() }()
		failure(ctx, t, s, connector.Request{Name: "deaf"})
		<-w.ended
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if f := failure(short, t, s, connector.Request{Name: "quick"}); f.Kind != connector.Busy || f.Sent {
		t.Errorf("a fifth call failed with %+v", f)
	}
	if s.InFlight() != 4 {
		t.Errorf("%d in flight", s.InFlight())
	}
	close(w.let)
	var reply connector.Reply
	for range 10 {
		if err := s.Call(soon(t), &connector.Request{Name: "quick"}, &reply); err != nil {
			t.Error(err)
		}
	}
	waitFor(t, func() bool { return s.InFlight() == 0 })
	if s.Strays() != 0 {
		t.Errorf("%d strays", s.Strays())
	}
}

func TestAConnectorThatAnswersNoCallIsGivenUp(t *testing.T) {
	w := newWaiting()
	s := pair(t, w, connector.Bounds{InFlight: 2})
	connector.SetStuck(s, 300*time.Millisecond)
	giveUp := func(n int) {
		for range n {
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-w.begun; cancel() }()
			failure(ctx, t, s, connector.Request{Name: "deaf"})
		}
	}
	giveUp(4)
	w.let <- struct{}{} // one is answered in time
	waitFor(t, func() bool { return s.InFlight() == 3 })
	time.Sleep(400 * time.Millisecond)
	if err := s.Err(); err != nil {
		t.Fatalf("the session ended for %v", err)
	}
	giveUp(1)
	waiting := failure(soon(t), t, s, connector.Request{Name: "quick"})
	if waiting.Kind != connector.Timeout || waiting.Sent || !strings.Contains(waiting.Detail, "answers none") {
		t.Errorf("a call that waited failed with %+v", waiting)
	}
	<-s.Done()
	close(w.let)
}

// TestAConnectorBoundsWhatRuns, whatever the gateway does.
func TestAConnectorBoundsWhatRuns(t *testing.T) {
	w := newWaiting()
	raw, _, err := gateway(t, w, connector.Hello(connector.ProtocolVersion, 1<<20, 3, connector.Info{}))
	if err != nil {
		t.Fatal(err)
	}
	for id := range uint64(7) {
		if err := raw.Send(connector.CallFrame(id+1, &connector.Request{Name: "held"}, 0)); err != nil {
			t.Fatal(err)
		}
	}
	answer, err := raw.Recv()
	kinds, ids, bodies, bad := connector.ReadFrames(answer)
	if err != nil || bad != nil || len(kinds) != 1 || kinds[0] != connector.KindFailure || ids[0] != 7 {
		t.Fatalf("the connector sent %q, %v", answer, err)
	}
	if f, err := connector.ParseFailure(bodies[0]); err != nil || f.Kind != connector.Busy || f.Sent {
		t.Errorf("the failure is %+v, %v", f, err)
	}
	if len(w.begun) > 6 {
		t.Errorf("%d calls run", len(w.begun))
	}
	close(w.let)
}

func TestADrainingConnectorTakesNoCall(t *testing.T) {
	raw, _, err := gateway(t, serverFunc(echo), hello)
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Send(append(connector.Frame(connector.KindDrain, 0), connector.CallFrame(1, &tool, 0)...)); err != nil {
		t.Fatal(err)
	}
	answer, err := raw.Recv()
	kinds, _, bodies, bad := connector.ReadFrames(answer)
	if err != nil || bad != nil || len(kinds) != 1 || kinds[0] != connector.KindFailure {
		t.Fatalf("the connector sent %q, %v", answer, err)
	}
	if f, err := connector.ParseFailure(bodies[0]); err != nil || f.Kind != connector.Unreachable || f.Sent {
		t.Errorf("the failure is %+v, %v", f, err)
	}
}

func TestDrainLetsTheCallsUnderWayFinish(t *testing.T) {
	w := newWaiting()
	s := pair(t, w, connector.Bounds{})
	first := make(chan error, 1)
	go func() {
		var reply connector.Reply
		first <- s.Call(soon(t), &connector.Request{Name: "held"}, &reply)
	}()
	<-w.begun
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Drain with a call under way gave %v", err)
	}
	if f := failure(soon(t), t, s, connector.Request{Name: "quick"}); f.Kind != connector.Unreachable || f.Sent {
		t.Errorf("a call after Drain failed with %+v", f)
	}
	if err := s.Ping(soon(t)); err != nil {
		t.Errorf("a draining connector does not answer pings: %v", err)
	}
	close(w.let)
	if err := s.Drain(soon(t)); err != nil {
		t.Errorf("a second Drain gave %v", err)
	}
	if err := <-first; err != nil {
		t.Errorf("the call under way gave %v", err)
	}
	if err := s.Close(); err != nil || s.Drain(soon(t)) != nil {
		t.Error("a drained session does not stay drained")
	}
}

func TestCloseFailsTheCallsUnderWay(t *testing.T) {
	w := newWaiting()
	defer close(w.let)
	s := pair(t, w, connector.Bounds{InFlight: 1})
	failures := make(chan *connector.Failure, 2)
	go func() { failures <- failure(soon(t), t, s, connector.Request{Name: "deaf"}) }()
	<-w.begun
	go func() { failures <- failure(soon(t), t, s, connector.Request{Name: "quick"}) }() // waits for its turn
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { _ = s.Close() })
	}
	wg.Wait()
	sent := 0
	for range 2 {
		f := <-failures
		if f.Kind != connector.Unreachable || !strings.Contains(f.Detail, "closed") {
			t.Errorf("a call failed with %+v", f)
		}
		if f.Sent {
			sent++
		}
	}
	if sent != 1 {
		t.Errorf("%d of two calls were sent, want 1", sent)
	}
	if err := <-w.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the server's context ended for %v", err)
	}
}

// gateway opens a stream as the gateway would and says first.
func gateway(t *testing.T, s connector.Server, first []byte) (raw connector.Raw, closeSend func() error, err error) {
	t.Helper()
	conn := listen(t, connector.NewTestServer(connector.Info{Name: "x"}, s))
	ctx, cancel := context.WithCancel(soon(t))
	t.Cleanup(cancel)
	raw, closeSend, err = connector.RawClient(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Send(first); err != nil {
		t.Fatal(err)
	}
	_, err = raw.Recv()
	return raw, closeSend, err
}

func TestAGatewayThatBreaksTheProtocolLosesItsStream(t *testing.T) {
	call := connector.CallFrame(7, &tool, 0)
	for name, message := range map[string][]byte{
		"nothing":          {},
		"unknown kind":     connector.Frame(99, 1),
		"a second hello":   hello,
		"a reply":          connector.Frame(connector.KindReply, 1, []byte("\x00{}")...),
		"a failure":        connector.Frame(connector.KindFailure, 1, 1, 0),
		"a pong":           connector.Frame(connector.KindPong, 1),
		"a ping with body": connector.Frame(connector.KindPing, 1, 0),
		"call cut":         call[:len(call)-1],
		"call of no id":    connector.CallFrame(0, &tool, 0),
		"an id twice":      append(append([]byte{}, call...), call...),
		"no timeout":       connector.Frame(connector.KindCall, 1, 0, 0),
		"a field too long": connector.Frame(connector.KindCall, 1, append(make([]byte, 4), 0xff, 0xff, 0xff, 0xff)...),
		"an answer cut":    connector.Frame(connector.KindAnswer, 1, 1, 0, 0, 0),
		"no answer":        connector.Frame(connector.KindAnswer, 1, 1, 0, 0, 0, 2, '{', '}'),
		"a question":       askFrame(1, 1),
		"half a header":    connector.Frame(connector.KindCall, 1, make([]byte, 4+6*4+4)...),
		"too many headers": connector.CallFrame(1, &connector.Request{Headers: make([][2]string, 257)}, 0),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWaiting()
			defer close(w.let)
			raw, _, err := gateway(t, w, hello)
			if err != nil {
				t.Fatal(err)
			}
			if err := raw.Send(message); err != nil {
				t.Fatal(err)
			}
			if answer, err := raw.Recv(); status.Code(err) != codes.InvalidArgument {
				t.Errorf("the connector answered %q, %v", answer, err)
			}
		})
	}
}

func TestAGatewayWithoutAProperHelloIsRefused(t *testing.T) {
	for name, first := range map[string][]byte{
		"a call":       connector.CallFrame(1, &tool, 0),
		"a cut hello":  hello[:len(hello)-1],
		"a tiny frame": connector.Hello(connector.ProtocolVersion, 1, 1, connector.Info{}),
	} {
		raw, _, err := gateway(t, serverFunc(echo), first)
		if err == nil { // the connector says hello first, so that the gateway can tell what does not fit
			_, err = raw.Recv()
		}
		if err == nil {
			t.Errorf("%s: served", name)
		}
	}
}

func TestAConnectorServesOneStream(t *testing.T) {
	conn := listen(t, connector.NewTestServer(connector.Info{}, serverFunc(echo)))
	s, err := connector.Open(soon(t), conn, connector.Bounds{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := connector.Open(soon(t), conn, connector.Bounds{}); err == nil || !strings.Contains(err.Error(), "one stream") {
		t.Errorf("a second stream gave %v", err)
	}
	_ = s.Close()
	if _, err := connector.Open(soon(t), conn, connector.Bounds{}); err == nil {
		t.Error("a second stream after the first was served")
	}
}

func TestAGatewayThatClosesItsSideGetsTheAnswersUnderWay(t *testing.T) {
	w := newWaiting()
	raw, closeSend, err := gateway(t, w, hello)
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Send(connector.CallFrame(1, &connector.Request{Name: "held"}, 0)); err != nil {
		t.Fatal(err)
	}
	<-w.begun
	if err := closeSend(); err != nil {
		t.Fatal(err)
	}
	close(w.let)
	answer, err := raw.Recv()
	if kinds, ids, _, bad := connector.ReadFrames(answer); err != nil || bad != nil || len(kinds) != 1 || kinds[0] != connector.KindReply || ids[0] != 1 {
		t.Errorf("the connector sent %q, %v", answer, err)
	}
	if _, err := raw.Recv(); err == nil || err.Error() != "EOF" {
		t.Errorf("the stream ended with %v", err)
	}
}
