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
)

// Bounds are what one session may cost.
type Bounds struct {
	// MaxFrame is the largest frame either way in bytes, and so the largest request or reply (0: 8 MiB, at least 4
	// KiB, at most 64 MiB).
	MaxFrame int
	// InFlight is how many calls the connector works on at once (0: 256, at most 65,536). More wait in Call until
	// their context ends.
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

// Session is the gateway's end of one connector's stream. Its methods may be used by several goroutines at once.
type Session struct {
	info   Info
	max    int // bytes of a frame
	stream grpc.ClientStream
	cancel context.CancelFunc // ends the stream
	out    *outbox
	slots  []*slot    // twice as many as calls at once
	free   chan *slot // for calls
	done   chan struct{}
	reader chan struct{} // closed when read has returned

	entered  atomic.Int64 // calls between their beginning and end
	draining atomic.Bool
	idle     chan struct{} // closed when draining and no call is left
	idleOnce sync.Once
	strays   atomic.Uint64
	givenUp  atomic.Uint64 // pings whose answers may still come
	leaving  atomic.Bool   // the connector asked to end

	mu    sync.Mutex // guards what follows
	err   *Failure
	pings map[uint64]chan struct{}
	pingN uint64
	spare []*slot     // take the place of those whose calls were given up and are not answered
	owed  int         // such calls beyond the spare slots
	stuck *time.Timer // runs while no slot is left for a call
	limit time.Duration
}

// stuckFor is how long all calls may be ones that were given up and that the connector does not answer; then it has
// hung, whatever it says to pings.
const stuckFor = 10 * time.Second

// Open opens the stream of a connector's process and exchanges hellos. The context bounds only that; the session
// lives until Close or until the connector ends it.
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
		info: theirs.info, max: int(min(ours.max, theirs.max)), stream: stream,
		slots: make([]*slot, 2*b.InFlight), free: make(chan *slot, b.InFlight), limit: stuckFor,
		done: make(chan struct{}), reader: make(chan struct{}), idle: make(chan struct{}),
		pings: make(map[uint64]chan struct{}),
	}
	s.out = newOutbox(s.max, func(m *message) error { return stream.SendMsg(m) })
	for i := range s.slots {
		s.slots[i] = &slot{ready: make(chan struct{}, 1), last: uint64(i)}
	}
	for _, sl := range s.slots[:b.InFlight] {
		s.free <- sl
	}
	s.spare = append(s.spare, s.slots[b.InFlight:]...)
	return s, nil
}

// greet says hello and hears the connector's.
func greet(stream grpc.ClientStream, ours hello) (theirs hello, err error) {
	if err := sendHello(stream, ours); err != nil && !errors.Is(err, io.EOF) {
		return theirs, err // io.EOF means that RecvMsg knows why
	}
	if theirs, err = recvHello(stream); err != nil {
		return theirs, err
	}
	return theirs, theirs.check()
}

// Info names the connector, as it said itself.
func (s *Session) Info() Info { return s.info }

// InFlight returns how many calls the connector works on: those that were given up are among them until it answers.
func (s *Session) InFlight() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.slots) - len(s.free) - len(s.spare)
}

// Strays returns how many answers came for calls that were answered already or never made.
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

// Call sends one request and waits for its answer. The error is a *Failure. The reply's bytes are the caller's own;
// the part that the connector sent is appended to the capacity it already has, the other is nil. The end of ctx
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
	return s.carry(ctx, sl, r, reply, size)
}

// leave notes the end of a call.
func (s *Session) leave() {
	s.entered.Add(-1)
	s.rest()
}

// rest notes that the last call has ended, if it has.
func (s *Session) rest() {
	if s.draining.Load() && s.entered.Load() == 0 {
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

// carry sends a call, waits until it is settled and frees the slot. When it returns nobody else refers to reply.
func (s *Session) carry(ctx context.Context, sl *slot, r *Request, reply *Reply, size int) *Failure {
	h := newHearing(ctx, r)
	defer h.close()
	id := sl.claim(reply, h, uint64(len(s.slots)))
	if f := s.post(ctx, id, r, size); f != nil {
		if !sl.retract(id) {
			<-sl.ready // the end of the session came in between
		}
		s.free <- sl
		return f
	}
	if h != nil {
		return s.carryHeard(ctx, sl, id, h, r)
	}
	select {
	case <-sl.ready:
	case <-ctx.Done():
		if s.giveUp(sl, id) {
			return gaveUp(ctx, true)
		}
		<-sl.ready // settled meanwhile
	}
	f := sl.outcome()
	s.free <- sl
	return f
}

// carryHeard is the rest of carry for a call whose caller hears what is said before the answer.
func (s *Session) carryHeard(ctx context.Context, sl *slot, id uint64, h *hearing, r *Request) *Failure {
	settled, err := s.attend(ctx, sl, h, r)
	unwanted := &Failure{Kind: Canceled, Detail: "the caller wants to hear no more", Sent: true, err: err}
	if !settled {
		if s.giveUp(sl, id) {
			if err != nil {
				return unwanted
			}
			return gaveUp(ctx, true)
		}
		<-sl.ready // settled meanwhile
	}
	f := sl.outcome()
	s.free <- sl
	if err != nil {
		return unwanted
	}
	return f
}

// giveUp leaves a call alone with the connector and tells it so. It returns false when it was settled before.
func (s *Session) giveUp(sl *slot, id uint64) bool {
	if !sl.abandon(id) {
		return false
	}
	_ = s.out.signal(kindCancel, id) // fails when the session ends, and then nothing is left to cancel
	s.replace()
	return true
}

// replace frees another slot instead of one whose call was given up, if one is to spare. Otherwise there is one less
// until the connector answers: what it is busy with does not grow without bound.
func (s *Session) replace() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := len(s.spare) - 1; last >= 0 {
		s.free <- s.spare[last]
		s.spare = s.spare[:last]
		return
	}
	if s.owed++; s.owed == cap(s.free) && s.err == nil {
		s.stuck = time.AfterFunc(s.limit, func() {
			s.end(&Failure{Kind: Timeout, Detail: "the connector works on calls that were all given up, and answers none"})
		})
	}
}

// regain takes back the slot of a call that was given up and is answered now.
func (s *Session) regain(sl *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owed == 0 {
		s.spare = append(s.spare, sl)
		return
	}
	s.owed--
	if s.stuck != nil {
		s.stuck.Stop()
		s.stuck = nil
	}
	s.free <- sl
}

// post hands a call to the outbox.
func (s *Session) post(ctx context.Context, id uint64, r *Request, size int) *Failure {
	var timeout uint32
	if deadline, ok := ctx.Deadline(); ok {
		timeout = timeoutField(time.Until(deadline))
	}
	b, err := s.out.begin(ctx)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return &Failure{Kind: Busy, Detail: "the connector did not take the request", err: err}
	default:
		return s.ended(false)
	}
	if s.draining.Load() { // the connector may be told so before this: it would refuse the call
		s.out.abandon()
		return s.ended(false)
	}
	*b = appendCall(*b, id, r, timeout, size)
	s.out.commit()
	return nil
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
	ended := s.err != nil
	if !ended {
		s.err = f
		if s.stuck != nil {
			s.stuck.Stop()
		}
	}
	s.mu.Unlock()
	if ended {
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
		s.givenUp.Add(1)
		return gaveUp(ctx, false)
	}
}

// Drain lets no new call in and waits for those under way. It tells the connector, which after that takes no call
// either.
func (s *Session) Drain(ctx context.Context) error {
	if !s.draining.Swap(true) {
		_ = s.out.signal(kindDrain, 0) // fails when the session has ended, which the wait sees
	}
	s.rest()
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

// Close ends the session; calls under way fail. It returns when nothing of the session is left running.
func (s *Session) Close() error {
	s.end(&Failure{Kind: Unreachable, Detail: "the session was closed"})
	<-s.reader
	<-s.out.gone
	return nil
}
