package stdio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/plugins/connector"
)

// session is one run of the server and the conversation with it. Its goroutines:
// run reads, write writes, watch looks for silence, and the child's own waits
// for its end. All are over when finished is closed.
type session struct {
	config Config
	log    io.Writer
	limits canon.Limits
	child  *child
	modern atomic.Bool // the server speaks the modern era; false until found out
	// declares is what the server said of itself when it was greeted, raw; nil when it said nothing that is understood.
	declares []byte
	slots    chan struct{} // one for each call under way
	out      chan *outgoing
	// quit is closed when the conversation has ended, finished when the process
	// and all that it started are gone too.
	quit     chan struct{}
	finished chan struct{}
	wg       sync.WaitGroup // write, watch, drain

	mu    sync.Mutex // guards what follows
	calls map[uint64]*call
	given given                // calls that nobody waits for any more
	open  map[string]*question // of the server, by its id
	tasks map[string]uint64    // that an older server works on, to the calls that began them
	ears  map[uint64]*ear      // who listens, by the id of the request that says so, or would
	subs  map[string]*watched  // resources that an older server was asked to tell of
	last  uint64               // the last id given out
	owed  time.Time            // since when the server owes an answer and is silent; zero when not
	said  bool                 // pinged in that time
	err   error                // why the conversation ended; nil while it goes on
	grace time.Duration        // what the process is given to end by itself

	noise, unasked tally // of run's goroutine alone
}

// call is a request that waits for its answer.
type call struct {
	id   uint64
	done chan outcome // holds one
	// method and name are the request's.
	method, name string
	out          outgoing
	// binding means that its cancellation is not told to the server: it is part
	// of the greeting.
	binding bool
	notify  func(method string, params []byte) error // nil when its caller hears nothing
	// principal is for whom the call is; ask has that one asked, until ctx ends, and is nil when that cannot be.
	principal string
	ask       func(ctx context.Context, method string, params []byte) (connector.Reply, error)
	ctx       context.Context //nolint:containedctx // ends with the call
}

type outcome struct {
	reply connector.Reply
	fail  *connector.Failure
}

// outgoing is a line on its way to the server. Whoever takes it out of the
// queue first decides: the writer, who sends it, or the caller, who gave up.
type outgoing struct {
	text  []byte
	taken atomic.Bool
}

// take reports whether the caller is the first to take it.
func (o *outgoing) take() bool { return o.taken.CompareAndSwap(false, true) }

// begin starts the program.
func begin(c Config, log io.Writer) (*session, error) {
	p, err := launch(c, log)
	if err != nil {
		return nil, err
	}
	s := &session{
		config: c, log: log, child: p,
		limits: canon.Limits{Bytes: c.MaxMessage, Depth: c.JSONDepth, Values: c.JSONValues},
		slots:  make(chan struct{}, c.InFlight), out: make(chan *outgoing, 2*c.InFlight+queueSpare),
		quit: make(chan struct{}), finished: make(chan struct{}), calls: map[uint64]*call{}, open: map[string]*question{},
		tasks: map[string]uint64{}, ears: map[uint64]*ear{}, subs: map[string]*watched{},
		noise: tally{max: c.MaxNoise}, unasked: tally{max: c.MaxUnasked},
	}
	s.wg.Go(s.write)
	s.wg.Go(s.watch)
	s.wg.Go(s.drain)
	go s.run()
	return s, nil
}

var errStopping = errors.New("the connector is stopping")

// queueSpare is room in the queue for what is not a call: cancellations and
// answers to the server. What finds no room is dropped; it is a courtesy.
const queueSpare = 64

// run reads until the conversation ends and then clears up.
func (s *session) run() {
	s.end(s.read(), 0)
	s.mu.Lock()
	grace := s.grace
	s.mu.Unlock()
	s.child.stop(grace)
	s.wg.Wait()
	close(s.finished)
}

// read takes the server's lines one by one and returns why there are no more.
func (s *session) read() error {
	in := newLines(s.child.stdout, s.config.MaxMessage)
	for {
		line, cut, err := in.next()
		switch {
		case errors.Is(err, errEndless):
			return err
		case err != nil:
			return s.whyOver()
		}
		if err := s.take(line, cut); err != nil {
			return err
		}
	}
}

// settleTime is how long to wait for the other half of an ending: for the exit
// of a process that closed its output, and for the rest of the output of one
// that has exited.
const settleTime = 250 * time.Millisecond

// whyOver says why the server's output ended.
func (s *session) whyOver() error {
	if err := s.over(); err != nil {
		return err
	}
	if s.child.await(settleTime) {
		return s.child.exit()
	}
	return errors.New("the server closed its output")
}

// drain ends the reading: at once when the conversation is over, and soon after
// the process's end, when something else keeps its output open.
func (s *session) drain() {
	var rest time.Duration
	select {
	case <-s.child.exited:
		rest = settleTime
	case <-s.quit:
	}
	_ = s.child.stdout.SetReadDeadline(time.Now().Add(rest)) // closed already is as good
}

// end gives every call under way its failure, once, refuses later ones, and has
// the process ended within grace. The first cause stands.
func (s *session) end(cause error, grace time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	s.err, s.grace = cause, grace
	for id, c := range s.calls {
		delete(s.calls, id)
		c.done <- outcome{fail: &connector.Failure{Kind: connector.Unreachable, Detail: cause.Error(), Sent: true}}
	}
	close(s.quit)
}

// close ends the conversation and returns when the process and all that it
// started are gone.
func (s *session) close(grace time.Duration) {
	s.end(errStopping, grace)
	<-s.finished
}

// over returns why the conversation ended.
func (s *session) over() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// maxBatch is how many bytes of lines are written at once; a pipe of Linux holds
// as many.
const maxBatch = 64 << 10

// write sends queued lines, several at once if they wait.
func (s *session) write() {
	var batch []byte
	for {
		select {
		case <-s.quit:
			return
		case o := <-s.out:
			batch = o.append(batch[:0])
		}
		for more := true; more && len(batch) < maxBatch; {
			select {
			case o := <-s.out:
				batch = o.append(batch)
			default:
				more = false
			}
		}
		if _, err := s.child.stdin.Write(batch); err != nil {
			if !s.child.await(settleTime) { // else run knows better
				s.end(fmt.Errorf("write to the server: %w", err), 0)
			}
			return
		}
		if cap(batch) > keepLine {
			batch = nil
		}
	}
}

func (o *outgoing) append(batch []byte) []byte {
	if o.take() {
		return append(batch, o.text...)
	}
	return batch
}

// courtesy queues a line that nobody waits for, if there is room.
func (s *session) courtesy(text []byte) {
	select {
	case s.out <- &outgoing{text: text}:
	default:
	}
}

// watch ends a server that owes an answer and is silent for too long. It asks
// for a sign of life first.
func (s *session) watch() {
	ticker := time.NewTicker(max(s.config.Silence/8, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-s.quit:
			return
		case now := <-ticker.C:
			silent, ask := s.silence(now)
			switch {
			case silent > s.config.Silence:
				s.end(fmt.Errorf("the server owes an answer and was silent for %s", s.config.Silence), 0)
				return
			case ask:
				s.ping()
			}
		}
	}
}

// silence says how long the server has been silent while it owed an answer, and
// whether to ask it for a sign of life.
func (s *session) silence(now time.Time) (d time.Duration, ask bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owed.IsZero() || len(s.open) > 0 { // it may wait for its answers
		return 0, false
	}
	d = now.Sub(s.owed)
	ask = !s.said && d > s.config.Silence/2
	s.said = s.said || ask
	return d, ask
}

// ping asks something that every server of the era answers at once. The answer
// is to nobody; that it comes is enough.
func (s *session) ping() {
	s.mu.Lock()
	s.last++
	id := s.last
	s.mu.Unlock()
	r := connector.Request{Method: "ping"}
	if s.modern.Load() {
		r.Method = "server/discover"
	}
	if text, fail := appendRequest(nil, id, &r, s.modern.Load()); fail == nil {
		s.courtesy(text)
	}
}

// exchange sends one request and waits for its answer, for the server's end or
// for ctx.
func (s *session) exchange(ctx context.Context, r *connector.Request) (connector.Reply, *connector.Failure) {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return connector.Reply{}, &connector.Failure{Kind: connector.Busy, Detail: "too many calls are under way"}
	}
	defer func() { <-s.slots }()
	own, over := ctx, func() {}
	if r.Ask != nil {
		own, over = context.WithCancel(ctx)
	}
	defer over()
	c, fail := s.enter(own, r)
	if fail != nil {
		return connector.Reply{}, fail
	}
	select {
	case s.out <- &c.out:
	case <-ctx.Done():
		return s.leave(ctx, c)
	case o := <-c.done: // the conversation ended
		return o.reply, c.ended(o.fail)
	}
	select {
	case o := <-c.done:
		return o.reply, c.ended(o.fail)
	case <-ctx.Done():
		return s.leave(ctx, c)
	}
}

// enter makes the call and registers it.
func (s *session) enter(ctx context.Context, r *connector.Request) (*call, *connector.Failure) {
	s.mu.Lock()
	s.last++
	c := &call{id: s.last, done: make(chan outcome, 1), method: r.Method, name: r.Name, binding: ours(r.Method), notify: r.Notify, principal: r.Principal, ask: r.Ask, ctx: ctx}
	s.mu.Unlock()
	var fail *connector.Failure
	c.out.text, fail = appendRequest(make([]byte, 0, sizeOf(r)), c.id, r, s.modern.Load())
	switch {
	case fail != nil:
		return nil, fail
	case len(c.out.text)-1 > s.config.MaxMessage:
		return nil, &connector.Failure{Kind: connector.TooLarge, Detail: fmt.Sprintf("the request is longer than %d bytes", s.config.MaxMessage)}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, &connector.Failure{Kind: connector.Unreachable, Detail: s.err.Error()}
	}
	s.calls[c.id] = c
	if s.owed.IsZero() {
		s.owed, s.said = time.Now(), false
	}
	return c, nil
}

// sizeOf is about what a request is long.
func sizeOf(r *connector.Request) int {
	return 512 + len(r.Method) + len(r.Name) + len(r.Params) + len(r.Arguments) + len(r.Meta)
}

// ended tells a failure whether the request was sent.
func (c *call) ended(fail *connector.Failure) *connector.Failure {
	if fail != nil && c.out.take() {
		fail.Sent = false
	}
	return fail
}

// leave gives a call up because ctx ended, unless its answer is there.
func (s *session) leave(ctx context.Context, c *call) (connector.Reply, *connector.Failure) {
	s.mu.Lock()
	_, waiting := s.calls[c.id]
	delete(s.calls, c.id)
	sent := waiting && !c.out.take()
	if sent && !c.binding {
		s.given.add(c.id, c.principal)
	}
	s.mu.Unlock()
	if !waiting {
		o := <-c.done
		return o.reply, c.ended(o.fail)
	}
	fail := &connector.Failure{Kind: connector.Canceled, Detail: "the caller left"}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		fail = &connector.Failure{Kind: connector.Timeout, Detail: "the server did not answer in time"}
	}
	if fail.Sent = sent; sent && !c.binding {
		s.courtesy(cancelled(c.id))
	}
	return connector.Reply{}, fail
}
