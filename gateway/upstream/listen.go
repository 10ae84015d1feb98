package upstream

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Subscription is on whose behalf a server is listened to.
type Subscription struct {
	Principal string
	// Peer hears the notifications and, from older servers, answers the questions. Its Notify may block: the server then
	// waits, and nothing is kept for it.
	Peer Peer
	// Filter is the raw object of notifications that a modern server is asked for ("notifications" of
	// subscriptions/listen); what it agreed to is the first notification, notifications/subscriptions/acknowledged.
	// Older servers send what they have.
	Filter []byte
	// Resources are URIs to watch in the principal's session: a modern server is asked for them and nothing else, an older one
	// subscribes the session to them, and lets go of those that it was subscribed to before. What is agreed is told to Peer as
	// by a modern server. A list without any is for what else an older server says in that session; a modern one says nothing.
	Resources []string
}

// Bounds of reconnecting. A server that drops every stream at once is asked maxBarren times, about two minutes, and then
// left to the caller; one whose streams live is asked again for ever.
const (
	firstPause = 250 * time.Millisecond // Client.firstPause, but for tests
	lastPause  = 30 * time.Second
	maxBarren  = 10
	// aliveAfter is how long a stream must live, if nothing came on it, to count as one that works.
	aliveAfter = 10 * time.Second
)

// errDropped ends a stream that may be opened again.
var errDropped = errors.New("the stream ended")

// Listen hears what a server says on its own until ctx ends: the GET stream of an older server's session, or
// subscriptions/listen of a modern one. A stream that breaks is opened again, an older server's from where it broke if it
// can. One whose credential is renewed is opened anew with the new one. It runs in the caller's goroutine, holds one connection of
// Config.MaxStreams, and t must stay as it is meanwhile.
// The error is an *Error: Canceled when ctx ended, Status with Code 405 when the server has no such stream.
func (c *Client) Listen(ctx context.Context, t *Target, s *Subscription) error {
	if s.Principal == "" || s.Peer == nil || s.Filter != nil && canon.KindOf(s.Filter) != '{' {
		return fault(Invalid, "listening needs a principal, somebody who hears, and an object for a filter").named(t.Name, false)
	}
	if fail := checkPeer(s.Peer); fail != nil {
		return fail.named(t.Name, false)
	}
	if t.Carrier != nil {
		return c.listenCarried(ctx, t, s).named(t.Name, true)
	}
	p, fail := c.peer(t)
	if fail != nil {
		return fail.named(t.Name, false)
	}
	return c.listen(ctx, p, t, s).named(t.Name, true)
}

// listen opens the stream again and again until that is of no use.
func (c *Client) listen(ctx context.Context, p *peer, t *Target, s *Subscription) *Error {
	caller := ctx
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(p.life, stop)()
	ear := &ear{c: c, p: p, t: t, sub: s}
	for barren := 0; ; {
		began := c.now()
		err := ear.once(ctx)
		fail, final := errors.AsType[*Error](err)
		switch {
		case caller.Err() != nil:
			return canceled(caller)
		case ctx.Err() != nil:
			return fault(Unreachable, "the server was changed or removed, or the gateway is shutting down")
		case final && !fail.passing():
			return fail
		case errors.Is(err, errRenewed):
			barren = 0
			continue
		case ear.heard || c.now().Sub(began) > aliveAfter:
			barren = 0
		}
		if barren++; barren > maxBarren {
			if final {
				return fail
			}
			return fault(Unreachable, "the server drops every stream at once")
		}
		_ = sleep(ctx, ear.pause(barren)) // once says what ended it
	}
}

// passing tells a failure that a further try may not meet.
func (e *Error) passing() bool {
	switch e.Kind {
	case Unreachable, Timeout, CircuitOpen, Busy:
		return true
	case Status:
		return e.Code >= 500 || e.Code == 429 || e.Code == conflict
	}
	return false
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// ear is one subscription's state from stream to stream.
type ear struct {
	c   *Client
	p   *peer
	t   *Target
	sub *Subscription

	heard bool                  // the stream at hand brought something
	last  []byte                // the id of the last event of an older server's stream
	of    *session              // whose events they were
	retry time.Duration         // what the server asked for; 0 when it did not
	aside atomic.Pointer[aside] // of the stream at hand
	open  func()                // if set, is told when the stream is open
}

// pause doubles from firstPause, or from what the server asked for, and is spread so that many do not come at once.
func (e *ear) pause(barren int) time.Duration {
	d := e.c.firstPause
	if e.retry > 0 {
		d = max(e.retry, e.c.firstPause/2)
	}
	d = min(d, lastPause) << min(barren-1, 10)
	d = min(d, lastPause)
	return d - d/4 + rand.N(d/2) //nolint:gosec // spreads load, hides nothing
}

// once opens the stream and hears it to its end.
func (e *ear) once(ctx context.Context) error {
	c, w := e.c, identify(e.sub.Principal, e.sub.Peer)
	e.heard = false
	next, fail := e.renew(ctx)
	if fail != nil {
		return fail
	}
	kind, fail := c.era(ctx, e.p, e.t, w)
	if fail != nil {
		return fail
	}
	if kind == modernEra && e.sub.Resources != nil && len(e.sub.Resources) == 0 {
		return coded(Status, "a server of this era says nothing outside of calls but what it is asked for", 405)
	}
	s := &modernSession
	if kind != modernEra {
		if s, fail = c.session(ctx, e.p, e.t, w, kind); fail != nil {
			return fail
		}
		s.busy.Add(1)
		defer s.busy.Add(-1)
		s.listened.Add(1)
		defer s.listened.Add(-1)
		s.beside.yield()
	}
	if s != e.of {
		e.of, e.last = s, nil
	}
	if s.wire != nil {
		if err := e.subscribe(ctx, s); err != nil {
			return err
		}
		return e.hearWired(ctx, s)
	}
	err := e.proved(ctx, s, next)
	if fail, ok := errors.AsType[*Error](err); ok && fail.Code == 404 && s.id != "" {
		e.p.sessions.drop(s)
		return errDropped
	}
	return err
}

// stream is one connection's time.
func (e *ear) stream(ctx context.Context, s *session) error {
	c := e.c
	if !e.p.streams.try() {
		return fault(Busy, "too many streams are open")
	}
	defer e.p.streams.give(nil, false, c.now())
	cn, fail := c.open(ctx, e.p)
	if fail != nil {
		return fail
	}
	defer cn.net.Close() //nolint:errcheck // nothing is to be done
	defer context.AfterFunc(ctx, func() { _ = cn.net.SetDeadline(longAgo) })()
	id, fail := e.ask(cn, s)
	if fail != nil {
		return fail
	}
	_ = cn.net.SetDeadline(time.Now().Add(c.config.Timeout)) // for the head alone
	if ctx.Err() != nil {
		return canceled(ctx)
	}
	if err := cn.send(); err != nil {
		return fault(Unreachable, "the connection broke while sending")
	}
	if fail := cn.readHead(); fail != nil {
		return fail
	}
	cn.reader = cn.bodyReader(c.config.MaxResponse)
	h := &cn.answer
	if fail := h.fit(); fail != nil {
		return fail
	}
	if h.status != 200 || h.media != eventMedia {
		return e.refused(cn, id)
	}
	_ = cn.net.SetDeadline(time.Time{})
	if ctx.Err() != nil { // it ended between the deadlines
		return canceled(ctx)
	}
	if e.open != nil {
		e.open()
	}
	if !s.modern {
		if err := e.subscribe(ctx, s); err != nil {
			return err
		}
	}
	return e.hear(ctx, cn, s, id)
}

// ask composes the request for a stream: GET for a session, or subscriptions/listen.
func (e *ear) ask(cn *conn, s *session) (id uint64, _ *Error) {
	if s.modern {
		id = e.c.ids.Add(1)
		filter := e.sub.Filter
		if filter == nil {
			filter = []byte("{}")
		}
		if e.sub.Resources != nil {
			filter = agreement(e.sub.Resources)
		}
		params := append(append([]byte(`{"notifications":`), filter...), '}')
		cn.job = job{id: id, p: e.p, t: e.t, s: s, r: &Request{Method: "subscriptions/listen", Params: params, Principal: e.sub.Principal, Peer: e.sub.Peer}}
		return id, cn.compose(e.p.static)
	}
	cn.body = cn.body[:0]
	cn.head.reset(staticHead("GET", e.p.address))
	cn.head.session(s)
	if len(e.last) > 0 {
		cn.head.set("Last-Event-ID", string(e.last))
	}
	return 0, cn.head.finish(e.t, -1)
}

// refused says why there is no stream.
func (e *ear) refused(cn *conn, id uint64) error {
	h := &cn.answer
	if id != 0 && h.media == jsonMedia && (h.status == 200 || h.status >= 400) {
		cn.job.reply = new(Reply)
		if e.c.readJSON(cn) == nil && cn.job.reply.Error != nil {
			return coded(Status, "the server refuses to be listened to", 405)
		}
	}
	if h.status == 200 || h.status < 400 {
		return malformed("the answer is no event stream")
	}
	return h.refused()
}

// hear reads events until the stream ends. One event may be as large as Config.MaxInterimBytes, and in one minute no more
// than Config.MaxInterim may come; beyond, the listening ends.
func (e *ear) hear(ctx context.Context, cn *conn, s *session, id uint64) error {
	a := e.c.newAside(ctx, e.p, e.t, s, e.sub.Peer)
	if _, calls := e.sub.Peer.(*beside); !calls && !s.modern {
		a.peer = callsFirst{e.sub.Peer, &s.beside}
	}
	defer a.close()
	e.aside.Store(a)
	events := eventReader{body: &cn.reader, id: e.last}
	a.minutely = true
	for {
		cn.reader.room = int64(e.c.config.MaxInterimBytes)
		data, err := events.event()
		e.last, e.retry = events.id, events.retry
		if fail, ok := errors.AsType[*Error](err); errors.Is(err, io.EOF) || ok && fail.Kind == Unreachable {
			return errDropped
		}
		if err != nil {
			return err
		}
		if len(data) == 0 {
			continue
		}
		a.bytes = 0 // of one at a time
		if err := e.take(a, data, s, id); err != nil {
			return err
		}
	}
}

// take hands one event on.
func (e *ear) take(a *aside, data []byte, s *session, id uint64) error {
	var m message
	if err := e.c.parse(data, &m); err != nil {
		return err
	}
	switch {
	case m.method == nil && s.modern && m.failure != nil:
		return coded(Status, "the server refuses to be listened to", 405)
	case m.method == nil && s.modern:
		return errDropped // its own end, such as before a restart
	case m.method == nil, s.modern && m.id != nil, s.modern && !tagged(m.params, id):
		return nil // for nobody
	}
	if string(m.method) != `"notifications/subscriptions/acknowledged"` {
		e.heard = true
	}
	return a.hear(&m, len(data))
}

// tagged tells whether a notification belongs to the subscription that the request with this id made.
func tagged(params []byte, id uint64) bool {
	meta, _ := canon.Get(params, "_meta")
	tag, _ := canon.Get(meta, metaReserved+"subscriptionId")
	ours := strconv.FormatUint(id, 10)
	return string(tag) == ours || string(tag) == `"`+ours+`"`
}
