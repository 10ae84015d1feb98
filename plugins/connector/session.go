package connector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Bounds are what one session may cost.
type Bounds struct {
	// MaxFrame is the largest frame either way in bytes, and so the largest
	// request or reply (0: 8 MiB, at least 4 KiB, at most 64 MiB).
	MaxFrame int
	// InFlight is how many calls the connector works on at once (0: 256, at most
	// 65,536). More wait in Call until their context ends.
	InFlight int
}

const (
	minFrame     = 4 << 10
	maxFrame     = 64 << 20
	defaultFrame = 8 << 20
	defaultCalls = 256
	maxCalls     = 1 << 16
)

// settled fills in defaults and refuses what is outside the bounds.
func (b Bounds) settled() (Bounds, error) {
	if b.MaxFrame == 0 {
		b.MaxFrame = defaultFrame
	}
	if b.InFlight == 0 {
		b.InFlight = defaultCalls
	}
	if b.MaxFrame < minFrame || b.MaxFrame > maxFrame {
		return b, fmt.Errorf("connector: a largest frame of %d bytes is outside %d to %d", b.MaxFrame, minFrame, maxFrame)
	}
	if b.InFlight < 1 || b.InFlight > maxCalls {
		return b, fmt.Errorf("connector: %d calls at once are outside 1 to %d", b.InFlight, maxCalls)
	}
	return b, nil
}

// Session is the gateway's end of one connector's stream. Its methods may be
// used by several goroutines at once.
type Session struct {
	info   Info
	max    int // bytes of a frame
	stream grpc.ClientStream
	cancel context.CancelFunc // ends the stream
	out    *outbox
	slots  []*slot
	free   chan *slot
	done   chan struct{}
	reader chan struct{} // closed when read has returned

	entered  atomic.Int64 // calls between their beginning and end
	draining atomic.Bool
	idle     chan struct{} // closed when draining and no call is left
	idleOnce sync.Once
	strays   atomic.Uint64
	leaving  atomic.Bool // the connector asked to end

	mu    sync.Mutex // guards what follows
	err   *Failure
	pings map[uint64]chan struct{}
	pingN uint64
}

// slot is the place of one call in flight. Slots are used again; each use has
// an id of its own, which leads back to the slot by its remainder.
type slot struct {
	ready chan struct{} // holds one; filled by whoever settles the call

	mu    sync.Mutex // guards what follows
	id    uint64     // of the call that waits; 0 when none does
	last  uint64     // the id given last
	reply *Reply
	fail  *Failure
}

// Open opens the stream of a connector's process and exchanges hellos. The
// context bounds only that; the session lives until Close or until the
// connector ends it.
func Open(ctx context.Context, conn grpc.ClientConnInterface, b Bounds) (*Session, error) {
	b, err := b.settled()
	if err != nil {
		return nil, err
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	unhook := context.AfterFunc(ctx, cancel)
	s, err := open(own, conn, b)
	if err == nil && unhook() {
		s.cancel = cancel
		go s.read()
		go s.write()
		return s, nil
	}
	cancel()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return nil, fmt.Errorf("open session: %w", err)
}

func open(ctx context.Context, conn grpc.ClientConnInterface, b Bounds) (*Session, error) {
	stream, err := conn.NewStream(ctx, &exchangeDesc, "/"+serviceName+"/"+streamName,
		grpc.ForceCodecV2(codec{}), grpc.MaxCallRecvMsgSize(b.MaxFrame), grpc.MaxCallSendMsgSize(b.MaxFrame))
	if err != nil {
		return nil, err
	}
	ours := hello{ProtocolVersion, uint32(b.MaxFrame), uint32(b.InFlight), Info{Name: "gatewright"}}
	theirs, err := greet(stream, ours)
	if err != nil {
		return nil, err
	}
	s := &Session{
		info: theirs.info, max: min(b.MaxFrame, int(theirs.max)), stream: stream,
		slots: make([]*slot, b.InFlight), free: make(chan *slot, b.InFlight),
		done: make(chan struct{}), reader: make(chan struct{}), idle: make(chan struct{}),
		pings: make(map[uint64]chan struct{}),
	}
	s.out = newOutbox(s.max, func(m *message) error { return stream.SendMsg(m) })
	for i := range s.slots {
		s.slots[i] = &slot{ready: make(chan struct{}, 1), last: uint64(i)}
		s.free <- s.slots[i]
	}
	return s, nil
}

// greet says hello and hears the connector's.
func greet(stream grpc.ClientStream, ours hello) (theirs hello, err error) {
	out := newBatch()
	*out = appendHello(*out, ours)
	if err := stream.SendMsg(newMessage(out)); err != nil && !errors.Is(err, io.EOF) {
		return theirs, err // io.EOF means that RecvMsg knows why
	}
	var m message
	if err := stream.RecvMsg(&m); err != nil {
		return theirs, fmt.Errorf("no hello: %w", err)
	}
	defer m.free()
	if theirs, err = parseHello(m.bytes()); err != nil {
		return theirs, err
	}
	return theirs, theirs.check()
}

// check refuses a peer whom we cannot speak with.
func (h hello) check() error {
	switch {
	case h.protocol != ProtocolVersion:
		return fmt.Errorf("the peer speaks protocol %d, this side %d", h.protocol, ProtocolVersion)
	case h.max < minFrame:
		return fmt.Errorf("the peer takes frames of only %d bytes, %d is the least", h.max, minFrame)
	}
	return nil
}

// Info names the connector, as it said itself.
func (s *Session) Info() Info { return s.info }

// InFlight returns how many calls the connector works on.
func (s *Session) InFlight() int { return len(s.slots) - len(s.free) }

// Strays returns how many answers came for calls that nobody waits for: given
// up, answered already, or never made.
func (s *Session) Strays() uint64 { return s.strays.Load() }

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err returns why the session has ended, nil before that.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		return nil
	}
	return s.err
}

// Call sends one request and waits for its answer. The error is a *Failure.
// The reply's bytes are the caller's own; the part that the connector sent is
// appended to the capacity it already has, the other is nil. The end of ctx
// cancels the call and returns at once.
func (s *Session) Call(ctx context.Context, r *Request, reply *Reply) error {
	if f := s.call(ctx, r, reply); f != nil {
		return f
	}
	return nil
}

func (s *Session) call(ctx context.Context, r *Request, reply *Reply) *Failure {
	if ctx.Err() != nil {
		return gaveUp(ctx, false)
	}
	size := callSize(r)
	if size > s.max {
		return &Failure{Kind: TooLarge, Detail: fmt.Sprintf("a request of %d bytes is over the bound of %d", size, s.max)}
	}
	if len(r.Headers) > maxHeaders {
		return &Failure{Kind: TooLarge, Detail: fmt.Sprintf("a request has over %d headers", maxHeaders)}
	}
	s.entered.Add(1)
	defer s.leave()
	sl, f := s.take(ctx)
	if f != nil {
		return f
	}
	f = s.carry(ctx, sl, r, reply, size)
	s.free <- sl
	return f
}

// leave notes the end of a call.
func (s *Session) leave() {
	if s.entered.Add(-1) == 0 && s.draining.Load() {
		s.idleOnce.Do(func() { close(s.idle) })
	}
}

// take waits for a free slot.
func (s *Session) take(ctx context.Context) (*slot, *Failure) {
	var sl *slot
	select {
	case sl = <-s.free:
	default:
		select {
		case sl = <-s.free:
		case <-s.done:
			return nil, s.ended(false)
		case <-ctx.Done():
			return nil, &Failure{Kind: Busy, Detail: "the connector was busy with other calls", err: ctx.Err()}
		}
	}
	if s.draining.Load() {
		s.free <- sl
		return nil, s.ended(false)
	}
	return sl, nil
}

// carry sends a call and waits until it is settled. When it returns nobody else
// refers to reply.
func (s *Session) carry(ctx context.Context, sl *slot, r *Request, reply *Reply, size int) *Failure {
	id := sl.claim(reply, uint64(len(s.slots)))
	if f := s.post(ctx, id, r, size); f != nil {
		if !sl.give(id) {
			<-sl.ready // the end of the session came in between
		}
		return f
	}
	select {
	case <-sl.ready:
		return sl.outcome()
	case <-ctx.Done():
	}
	if sl.give(id) {
		_ = s.out.signal(kindCancel, id) // fails when the session ends, and then nothing is left to cancel
		return gaveUp(ctx, true)
	}
	<-sl.ready // settled meanwhile
	return sl.outcome()
}

// post hands a call to the outbox.
func (s *Session) post(ctx context.Context, id uint64, r *Request, size int) *Failure {
	var timeout uint32
	if deadline, ok := ctx.Deadline(); ok {
		timeout = timeoutField(time.Until(deadline))
	}
	b, err := s.out.begin(ctx, size)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return &Failure{Kind: Busy, Detail: "the connector did not take the request", err: err}
	default:
		return s.ended(false)
	}
	*b = appendCall(*b, id, r, timeout, size)
	s.out.commit()
	return nil
}

// claim gives the slot a new id, under which the answer goes to reply.
func (sl *slot) claim(reply *Reply, slots uint64) uint64 {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	sl.last += slots
	sl.id, sl.reply, sl.fail = sl.last, reply, nil
	return sl.id
}

// give takes the call back unless it has been settled.
func (sl *slot) give(id uint64) bool {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if sl.id != id {
		return false
	}
	sl.id, sl.reply = 0, nil
	return true
}

func (sl *slot) outcome() *Failure {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	return sl.fail
}

// settle ends the call with id, or any call when id is 0. It returns false when
// no such call waits.
func (sl *slot) settle(id uint64, object []byte, isError bool, f *Failure) bool {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if sl.id == 0 || id != 0 && sl.id != id {
		return false
	}
	switch {
	case f != nil:
		own := *f // several calls may fail of one cause
		sl.fail = &own
	case isError:
		*sl.reply = Reply{Error: append(sl.reply.Error[:0], object...)}
	default:
		*sl.reply = Reply{Result: append(sl.reply.Result[:0], object...)}
	}
	sl.id, sl.reply = 0, nil
	sl.ready <- struct{}{}
	return true
}

func gaveUp(ctx context.Context, sent bool) *Failure {
	err := ctx.Err()
	if errors.Is(err, context.DeadlineExceeded) {
		return &Failure{Kind: Timeout, Detail: "the caller's deadline passed", Sent: sent, err: err}
	}
	return &Failure{Kind: Canceled, Detail: "canceled by the caller", Sent: sent, err: err}
}

// ended is the failure of calls that came too late, or were under way at the end.
func (s *Session) ended(sent bool) *Failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		return &Failure{Kind: Unreachable, Detail: "the connector is stopping", Sent: sent}
	}
	return &Failure{Kind: s.err.Kind, Detail: s.err.Detail, Sent: sent}
}

// end ends the session once: the stream, every wait, and every call under way.
func (s *Session) end(f *Failure) {
	s.mu.Lock()
	first := s.err == nil
	if first {
		s.err = f
	}
	s.mu.Unlock()
	if !first {
		return
	}
	s.draining.Store(true)
	close(s.done)
	s.cancel()
	s.out.stop()
	lost := s.ended(true)
	for _, sl := range s.slots {
		sl.settle(0, nil, false, lost)
	}
}

// Ping waits until the connector answers a ping. The error is a *Failure.
func (s *Session) Ping(ctx context.Context) error {
	pong := make(chan struct{})
	s.mu.Lock()
	s.pingN++
	id := s.pingN
	s.pings[id] = pong
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.pings, id)
		s.mu.Unlock()
	}()
	if s.out.signal(kindPing, id) != nil {
		return s.ended(false)
	}
	select {
	case <-pong:
		return nil
	case <-s.done:
		return s.ended(false)
	case <-ctx.Done():
		return gaveUp(ctx, false)
	}
}

// Drain lets no new call in and waits for those under way. It tells the
// connector, which after that takes no call either.
func (s *Session) Drain(ctx context.Context) error {
	if !s.draining.Swap(true) {
		_ = s.out.signal(kindDrain, 0) // fails when the session has ended, which the wait sees
	}
	if s.entered.Load() == 0 {
		s.idleOnce.Do(func() { close(s.idle) })
	}
	select {
	case <-s.idle:
		return nil
	case <-s.done:
	case <-ctx.Done():
	}
	select {
	case <-s.idle: // that the session has ended as well is no matter
		return nil
	default:
	}
	if ctx.Err() != nil {
		return gaveUp(ctx, false)
	}
	return s.ended(false)
}

// Close ends the session; calls under way fail. It returns when nothing of the
// session is left running.
func (s *Session) Close() error {
	s.end(&Failure{Kind: Unreachable, Detail: "the session was closed"})
	<-s.reader
	<-s.out.gone
	return nil
}

// write runs the outbox to its end. After a drain the stream's sending side is
// closed, which lets the connector end.
func (s *Session) write() {
	if s.out.run() == nil && s.Err() == nil {
		_ = s.stream.CloseSend() // the reader sees the end, whatever comes of this
	}
	// An error to send means that the stream is over; RecvMsg says why.
}

// read takes messages until the stream or the session ends.
func (s *Session) read() {
	defer close(s.reader)
	var m message
	for {
		if err := s.stream.RecvMsg(&m); err != nil {
			s.end(s.lost(err))
			return
		}
		err := s.accept(m.bytes())
		m.free()
		if err != nil {
			s.end(&Failure{Kind: Malformed, Detail: "the connector broke the protocol: " + err.Error()})
			return
		}
	}
}

// lost says why a stream is over.
func (s *Session) lost(err error) *Failure {
	switch {
	case errors.Is(err, io.EOF) || s.leaving.Load():
		return &Failure{Kind: Unreachable, Detail: "the connector ended"}
	case status.Code(err) == codes.ResourceExhausted:
		return &Failure{Kind: TooLarge, Detail: "the connector sent a message over the bound"}
	}
	return &Failure{Kind: Unreachable, Detail: cleanText("the connector was lost: "+status.Convert(err).Message(), maxDetail)}
}

// accept handles the frames of one message.
func (s *Session) accept(message []byte) error {
	if len(message) == 0 {
		return errCut
	}
	for len(message) > 0 {
		f, rest, err := nextFrame(message)
		if err != nil {
			return err
		}
		if err := s.handle(f); err != nil {
			return err
		}
		message = rest
	}
	return nil
}

func (s *Session) handle(f frame) error {
	switch f.kind {
	case kindReply:
		object, isError, err := parseReply(f.body)
		if err != nil {
			return err
		}
		s.settle(f.id, object, isError, nil)
	case kindFailure:
		fail, err := parseFailure(f.body)
		if err != nil {
			return err
		}
		s.settle(f.id, nil, false, fail)
	case kindPong:
		return s.pong(f)
	case kindDrain:
		return s.drained(f)
	default:
		return fmt.Errorf("a frame of kind %d is not the connector's to send", f.kind)
	}
	return nil
}

func (s *Session) settle(id uint64, object []byte, isError bool, f *Failure) {
	sl := s.slots[id%uint64(len(s.slots))]
	if id == 0 || !sl.settle(id, object, isError, f) {
		s.strays.Add(1)
	}
}

func (s *Session) pong(f frame) error {
	if len(f.body) != 0 {
		return errors.New("a pong frame has a body")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	pong, ok := s.pings[f.id]
	if !ok {
		s.strays.Add(1)
		return nil
	}
	delete(s.pings, f.id)
	close(pong)
	return nil
}

// drained handles the connector's wish to end: no new call, and once none is
// left our side of the stream is closed.
func (s *Session) drained(f frame) error {
	if len(f.body) != 0 || f.id != 0 || s.leaving.Swap(true) {
		return errors.New("a drain frame is malformed, or one too many")
	}
	s.draining.Store(true)
	if s.entered.Load() == 0 {
		s.idleOnce.Do(func() { close(s.idle) })
	}
	go func() {
		select {
		case <-s.idle:
			s.out.close()
		case <-s.done:
		}
	}()
	return nil
}
