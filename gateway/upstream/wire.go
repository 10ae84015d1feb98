package upstream

import (
	"bytes"
	"context"
	"net/url"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
)

// wire is a session over HTTP+SSE, the transport of MCP 2024-11-05: one GET stream brings all that the server says, and
// what it is told is POSTed to an address that the stream names first. It ends with its stream.
type wire struct {
	c      *Client
	p      *peer
	s      *session
	cn     *conn
	static []byte // the head of POSTs to the server's endpoint

	mu      sync.Mutex // guards what follows
	waiting map[uint64]*waiter
	newest  *waiter
	ear     *waiter // who listens, if somebody does
	ended   chan struct{}
	over    bool
}

// waiter is a call that waits for its answer, or somebody who listens.
type waiter struct {
	answer chan heard // takes one

	mu    sync.Mutex // held while the server is heard, guards what follows
	aside *aside
	gone  bool
}

// heard is what a call waits for.
type heard struct {
	m    message // shares memory with data
	data []byte
	err  error
}

// endpointWithin bounds the wait for the address that the stream names first: it is there at once or never.
const endpointWithin = 10 * time.Second

// openWire opens the stream and waits for its endpoint. It runs until the stream ends or close.
func (c *Client) openWire(ctx context.Context, p *peer, t *Target, s *session) (*wire, *Error) {
	if !p.streams.try() {
		return nil, fault(Busy, "too many streams are open")
	}
	w := &wire{c: c, p: p, s: s, waiting: map[uint64]*waiter{}, ended: make(chan struct{})}
	events, fail := w.openProved(ctx, t)
	if fail == nil && !p.hold(w) {
		fail = fault(Busy, "the gateway is shutting down")
	}
	if fail != nil {
		if w.cn != nil {
			_ = w.cn.net.Close()
		}
		p.streams.give(nil, false, c.now())
		return nil, fail
	}
	go w.run(events)
	return w, nil
}

// openProved opens the stream, with another credential where the one at hand is refused.
func (w *wire) openProved(ctx context.Context, t *Target) (*eventReader, *Error) {
	for tries := 0; ; tries++ {
		events, fail := w.open(ctx, t)
		if fail == nil {
			return events, nil
		}
		if fail = t.another(ctx, fail, tries); fail != nil {
			return nil, fail
		}
		_ = w.cn.net.Close() // it was answered on it
	}
}

func (w *wire) open(ctx context.Context, t *Target) (*eventReader, *Error) {
	c := w.c
	cn, fail := c.open(ctx, w.p)
	if fail != nil {
		return nil, fail
	}
	w.cn = cn
	defer context.AfterFunc(ctx, func() { _ = cn.net.SetDeadline(longAgo) })()
	_ = cn.net.SetDeadline(time.Now().Add(min(endpointWithin, c.config.Timeout)))
	if ctx.Err() != nil {
		return nil, canceled(ctx)
	}
	cn.body = cn.body[:0]
	cn.head.reset(staticHead("GET", w.p.address))
	if fail := cn.head.finish(t, -1); fail != nil {
		return nil, fail
	}
	if err := cn.send(); err != nil {
		return nil, fault(Unreachable, "the connection broke while sending")
	}
	if fail := cn.readHead(); fail != nil {
		return nil, fail
	}
	cn.reader = cn.bodyReader(maxURL + 1024)
	if fail := cn.answer.fit(); fail != nil {
		return nil, fail
	}
	if cn.answer.status != 200 {
		return nil, cn.answer.refused()
	}
	if cn.answer.media != eventMedia {
		return nil, malformed("the answer is no event stream")
	}
	events := &eventReader{body: &cn.reader, all: true}
	data, err := events.event()
	switch {
	case ctx.Err() != nil:
		return nil, canceled(ctx)
	case err != nil || !events.isKind("endpoint"):
		return nil, malformed("the stream does not begin with an endpoint")
	}
	post, fail := w.p.address.within(data)
	if fail != nil {
		return nil, fail
	}
	w.static = staticHead("POST", post)
	_ = cn.net.SetDeadline(time.Time{})
	if ctx.Err() != nil {
		return nil, canceled(ctx)
	}
	return events, nil
}

// within resolves what a server names as its endpoint. It must be of the same origin: what the operator allowed is one
// place, and its credential is for that place.
func (a address) within(ref []byte) (address, *Error) {
	bad := malformed("the endpoint that the server names is not at the server's own address")
	if len(ref) == 0 || len(ref) > maxURL || !cleanValue(ref) {
		return address{}, bad
	}
	base := url.URL{Scheme: map[bool]string{false: "http", true: "https"}[a.tls], Host: a.auth}
	at, err := base.Parse(a.path)
	if err == nil {
		at, err = at.Parse(string(ref))
	}
	if err != nil {
		return address{}, bad
	}
	post, fail := parseAddress(at.String())
	if fail != nil || post.tls != a.tls || post.host != a.host || post.port != a.port {
		return address{}, bad
	}
	post.auth = a.auth
	return post, nil
}

// run hears the stream to its end. A server may say as much in a minute as in one answer's stream, Config.MaxEvents.
func (w *wire) run(events *eventReader) {
	defer w.p.streams.give(nil, false, w.c.now())
	defer w.close()
	minute, count := w.c.now(), 0
	for {
		w.cn.reader.room = int64(w.c.config.MaxResponse) + 1024
		data, err := events.event()
		if err != nil {
			return
		}
		if now := w.c.now(); now.Sub(minute) > time.Minute {
			minute, count = now, 0
		}
		if count++; count > w.c.config.MaxEvents {
			return
		}
		if len(data) == 0 || !events.isKind("") && !events.isKind("message") {
			continue
		}
		var m message
		data = bytes.Clone(data)
		if err := w.c.parse(data, &m); err != nil {
			w.fail(err) // nobody knows whose message it was to be
			return
		}
		w.take(&m, data)
	}
}

// take hands a message to whom it is for.
func (w *wire) take(m *message, data []byte) {
	if m.method == nil {
		if id, err := strconv.ParseUint(string(m.id), 10, 64); err == nil {
			w.mu.Lock()
			to := w.waiting[id]
			w.mu.Unlock()
			to.get(heard{m: *m, data: data})
		}
		return
	}
	w.hand(m, len(data))
}

// hand has whom a message is for hear it; false when nobody is there. Who leaves at that moment hears nothing more.
func (w *wire) hand(m *message, size int) bool {
	for range 8 {
		to := w.listener(m)
		if to == nil {
			return false
		}
		if to.hear(m, size) {
			return true
		}
		runtime.Gosched() // it is about to be removed
	}
	return false
}

// pass hands on a question that the call which heard it did not answer before its end: in one session nobody can say which
// call a question belongs to.
func (w *wire) pass(a *aside, m *message) {
	if w.hand(m, 0) {
		return
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(a.ctx), respondWithin)
	defer stop()
	_ = a.c.tell(ctx, a.p, a.t, a.s, appendResponse(nil, m.id, nil, rpcError(rpcInternal, "the call has ended")))
}

// listener finds whom the server speaks to: a call by its progress token; who listens for what belongs to no call; and
// else the newest call. All are of one principal.
func (w *wire) listener(m *message) *waiter {
	name, _ := methodName(m.method)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch name {
	case "notifications/progress":
		token, _ := canon.Get(m.params, metaProgress)
		id, err := strconv.ParseUint(string(bytes.Trim(token, `"`)), 10, 64)
		if err != nil {
			return nil
		}
		return w.waiting[id]
	case "notifications/tools/list_changed", "notifications/prompts/list_changed", "notifications/resources/list_changed",
		"notifications/resources/updated":
		if w.ear != nil {
			return w.ear
		}
	}
	if w.newest != nil {
		return w.newest
	}
	return w.ear
}

// get ends a call's wait. What comes twice is for nobody.
func (to *waiter) get(h heard) {
	if to == nil {
		return
	}
	select {
	case to.answer <- h:
	default:
	}
}

// hear has the waiter's side hear a message; false when it is gone.
func (to *waiter) hear(m *message, size int) bool {
	to.mu.Lock()
	defer to.mu.Unlock()
	if to.gone {
		return false
	}
	if err := to.aside.hear(m, size); err != nil {
		to.gone = true
		to.get(heard{err: err})
	}
	return true
}

// leave ends what is heard for a waiter: nothing is after it.
func (to *waiter) leave() {
	to.aside.end() // what is being told to the server ends first
	to.mu.Lock()
	to.gone = true
	to.mu.Unlock()
	to.aside.close()
}

// fail ends all waits for a reason.
func (w *wire) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, to := range w.waiting {
		to.get(heard{err: err})
	}
	if w.ear != nil {
		w.ear.get(heard{err: err})
	}
}

// close ends the stream and with it the session.
func (w *wire) close() {
	w.mu.Lock()
	was := w.over
	w.over = true
	w.mu.Unlock()
	if !was {
		_ = w.cn.net.Close()
		w.p.release(w)
		close(w.ended)
	}
}

func (w *wire) dead() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.over
}

// join adds a call that waits, unless the stream is over or too many wait.
func (w *wire) join(id uint64, to *waiter) *Error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.over:
		return fault(Unreachable, "the server's stream ended")
	case id == 0 && w.ear != nil:
		return fault(Busy, "the session is listened to already")
	case id == 0:
		w.ear = to
	case len(w.waiting) >= w.c.config.MaxConnections:
		return fault(Busy, "too many calls wait in one session")
	default:
		w.waiting[id], w.newest = to, to
	}
	return nil
}

// part removes a waiter.
func (w *wire) part(id uint64, to *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waiting, id)
	if w.ear == to {
		w.ear = nil
	}
	if w.newest == to {
		w.newest = nil
		for _, other := range w.waiting {
			w.newest = other
		}
	}
}
