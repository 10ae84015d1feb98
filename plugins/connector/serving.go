package connector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// service is the connector's side: it takes one stream in its life.
type service struct {
	info   Info
	server Server
	taken  atomic.Bool
	began  chan struct{} // closed when the stream has come
	ended  chan struct{} // closed when it is over
	onOpen func()

	mu   sync.Mutex // guards what follows
	host *host
	stop bool
}

func newService(i Info, s Server) *service {
	return &service{info: i, server: s, began: make(chan struct{}), ended: make(chan struct{})}
}

// host is the gateway as the connector sees it: one stream.
type host struct {
	stream grpc.ServerStream
	server Server
	out    *outbox
	max    int
	limit  int // calls at once, cancelled ones included
	ctx    context.Context
	cancel context.CancelFunc
	ears   context.Context // of calls that listen; ends when we drain
	deafen context.CancelFunc

	mu       sync.Mutex                    // guards what follows
	calls    map[uint64]context.CancelFunc // those not answered
	asking   map[uint64]*noter             // those of them whose callers can be asked
	running  int                           // those whose answers are not in the outbox
	draining bool
	told     bool          // the gateway knows that we are draining
	idle     chan struct{} // closed when draining and nothing runs
}

// exchange serves the stream to its end.
func (v *service) exchange(stream grpc.ServerStream) error {
	if v.taken.Swap(true) {
		return status.Error(codes.FailedPrecondition, "a connector serves one stream")
	}
	defer close(v.ended)
	theirs, err := v.greet(stream)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	h := newHost(stream, v.server, theirs)
	defer h.cancel()
	if v.onOpen != nil {
		v.onOpen()
	}
	v.mu.Lock()
	v.host = h
	if v.stop {
		h.drain(true)
	}
	v.mu.Unlock()
	close(v.began)
	go func() { _ = h.out.run() }() // when it fails the stream is over, which read sees
	return h.serve()
}

func (v *service) greet(stream grpc.ServerStream) (theirs hello, err error) {
	if theirs, err = recvHello(stream); err != nil {
		return theirs, err
	}
	if err := sendHello(stream, hello{ProtocolVersion, maxFrame, 0, v.info}); err != nil {
		return theirs, err
	}
	return theirs, theirs.check()
}

// wind lets no new call in, now or when a stream comes, and returns the stream's host, nil while none has come.
func (v *service) wind() *host {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stop = true
	return v.host
}

func newHost(stream grpc.ServerStream, server Server, theirs hello) *host {
	h := &host{
		stream: stream, server: server, max: int(min(maxFrame, theirs.max)),
		limit: 2 * int(max(1, min(theirs.calls, maxCalls))),
		calls: make(map[uint64]context.CancelFunc), asking: make(map[uint64]*noter), idle: make(chan struct{}),
	}
	h.ctx, h.cancel = context.WithCancel(stream.Context())
	h.ears, h.deafen = context.WithCancel(h.ctx)
	h.out = newOutbox(h.max, func(m *message) error { return stream.SendMsg(m) })
	return h
}

// serve reads frames until the gateway closes its side, then lets what runs finish and sends what is left.
func (h *host) serve() error {
	err := h.read()
	if err == nil {
		select {
		case <-h.drain(false):
		case <-h.ctx.Done():
		}
		h.out.close()
		<-h.out.gone
		return nil
	}
	h.cancel()
	h.out.stop()
	<-h.out.gone
	return err
}

// read takes frames until the gateway closes its side.
func (h *host) read() error {
	err := receive(h.stream, h.handle)
	if broken, ok := errors.AsType[breach](err); ok {
		return status.Error(codes.InvalidArgument, broken.Error())
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (h *host) handle(f frame) error {
	switch f.kind {
	case kindCall:
		return h.begin(f)
	case kindAnswer:
		return h.answered(f)
	}
	if len(f.body) != 0 {
		return fmt.Errorf("a frame of kind %d has a body", f.kind)
	}
	switch f.kind {
	case kindCancel:
		h.mu.Lock()
		cancel := h.calls[f.id]
		h.mu.Unlock()
		if cancel != nil {
			cancel()
		}
	case kindPing:
		_ = h.out.signal(kindPong, f.id) // fails when the stream is over
	case kindDrain:
		h.drain(false)
	default:
		return fmt.Errorf("a frame of kind %d is not the gateway's to send", f.kind)
	}
	return nil
}

// drain lets no new call in and, if tell is set, asks the gateway to close its side when the calls have ended. The
// channel is closed when nothing runs any more.
func (h *host) drain(tell bool) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if tell && !h.told {
		h.told = true
		_ = h.out.signal(kindDrain, 0) // fails when the stream is over
	}
	if !h.draining {
		h.draining = true
		h.deafen()
		h.rest()
	}
	return h.idle
}

// rest notes, under the lock, that nothing runs any more, if so.
func (h *host) rest() {
	if h.draining && h.running == 0 {
		close(h.idle)
	}
}

// call is one call's memory, used again.
type call struct {
	h      *host
	id     uint64
	buf    []byte // the frame's body, which request aliases
	req    Request
	ctx    context.Context
	cancel context.CancelFunc
	reply  Reply
	fail   *Failure // why there is no reply
	notes  *noter   // nil when nobody hears
}

// keepCall is the largest buffer kept for another call.
const keepCall = 64 << 10

var callPool = sync.Pool{New: func() any { return new(call) }}

// begin starts a call in a goroutine of its own.
func (h *host) begin(f frame) error {
	c := callPool.Get().(*call)
	c.h, c.id, c.buf = h, f.id, append(c.buf[:0], f.body...)
	timeout, err := parseCall(c.buf, &c.req)
	if err != nil {
		return err
	}
	parent := h.ctx
	if c.req.Method == MethodListen {
		parent = h.ears
	}
	if timeout > 0 {
		c.ctx, c.cancel = context.WithTimeout(parent, timeout)
	} else {
		c.ctx, c.cancel = context.WithCancel(parent)
	}
	refusal, err := h.enter(c)
	if err != nil {
		return err
	}
	if refusal != nil {
		c.cancel()
		h.refuse(f.id, refusal)
		return nil
	}
	c.attach()
	go c.run()
	return nil
}

// attach lets the server speak to a caller who hears, before its answer.
func (c *call) attach() {
	notes, asks := hears(&c.req)
	if !notes {
		return
	}
	c.notes = &noter{h: c.h, id: c.id, ctx: c.ctx, listens: c.req.Method == MethodListen}
	c.req.Notify = c.notes.say
	if asks {
		c.req.Ask = c.notes.ask
		c.h.mu.Lock()
		defer c.h.mu.Unlock()
		c.h.asking[c.id] = c.notes
	}
}

// enter registers a call, or says why it is not begun. An id in use is an error of the gateway's.
func (h *host) enter(c *call) (*Failure, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, used := h.calls[c.id]
	switch {
	case used || c.id == 0:
		return nil, errors.New("a call's id is in use")
	case h.draining:
		return &Failure{Kind: Unreachable, Detail: "the connector is stopping"}, nil
	case len(h.calls) >= h.limit:
		return &Failure{Kind: Busy, Detail: "too many calls are running"}, nil
	}
	h.calls[c.id] = c.cancel
	h.running++
	return nil, nil
}

// refuse answers a call that was not begun. It must not wait: the reader calls it.
func (h *host) refuse(id uint64, f *Failure) {
	b, err := h.out.urgent()
	if err != nil {
		return // the stream is over
	}
	*b = appendFailure(*b, id, f)
	h.out.commit()
}

var (
	errNoAnswer = &Failure{Kind: Internal, Detail: "the connector's goroutine ended without an answer", Sent: true}
	errPanicked = &Failure{Kind: Internal, Detail: "the connector panicked; its log has the stack", Sent: true}
)

// run answers one call, whatever becomes of the author's code.
func (c *call) run() {
	c.fail = errNoAnswer
	defer c.finish()
	c.serve()
}

// finish sends the outcome and forgets the call.
func (c *call) finish() {
	h := c.h
	c.notes.end()
	h.mu.Lock()
	delete(h.calls, c.id)
	delete(h.asking, c.id)
	h.mu.Unlock()
	h.answer(c.id, c.reply, c.fail)
	h.mu.Lock()
	h.running--
	h.rest()
	h.mu.Unlock()
	c.cancel()
	c.release()
}

// release forgets the call, which may hold credentials.
func (c *call) release() {
	clear(c.buf)
	clear(c.req.Headers)
	if cap(c.buf) > keepCall {
		return
	}
	*c = call{buf: c.buf[:0], req: Request{Headers: c.req.Headers[:0]}}
	callPool.Put(c)
}

// serve calls the author's server. A panic, of an error's own methods too, costs only this call.
func (c *call) serve() {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(os.Stderr, "connector: panic in a call of %q: %v\n%s", c.req.Method, p, debug.Stack())
			c.fail = errPanicked
		}
	}()
	reply, err := c.h.server.Call(c.ctx, &c.req)
	c.reply, c.fail = reply, failureOf(reply, err)
}

// answer sends a call's outcome.
func (h *host) answer(id uint64, reply Reply, f *Failure) {
	if size := replySize(reply); f == nil && size > h.max {
		f = &Failure{Kind: TooLarge, Detail: fmt.Sprintf("a reply of %d bytes is over the bound of %d", size, h.max), Sent: true}
	}
	b, err := h.out.begin(h.stream.Context())
	if err != nil {
		return // the stream is over
	}
	if f != nil {
		*b = appendFailure(*b, id, f)
	} else {
		*b = appendReply(*b, id, reply)
	}
	h.out.commit()
}

// failureOf says what to send instead of a reply, nil if there is one.
func failureOf(reply Reply, err error) *Failure {
	switch {
	case err != nil:
		return failureFrom(err)
	case (len(reply.Result) == 0) == (len(reply.Error) == 0):
		return &Failure{Kind: Internal, Detail: "the connector gave not exactly one of result and error", Sent: true}
	}
	return nil
}

func failureFrom(err error) *Failure {
	f, ok := errors.AsType[*Failure](err)
	if ok && f != nil {
		return f
	}
	kind := Internal
	switch {
	case ok:
		return &Failure{Kind: Internal, Detail: "the connector gave a failure that says nothing", Sent: true}
	case errors.Is(err, context.Canceled):
		kind = Canceled
	case errors.Is(err, context.DeadlineExceeded):
		kind = Timeout
	}
	return &Failure{Kind: kind, Detail: err.Error(), Sent: true}
}
