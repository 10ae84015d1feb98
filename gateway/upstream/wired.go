package upstream

import (
	"context"
	"errors"
	"time"
)

// exchangeWired is exchange over HTTP+SSE: the message is POSTed, and its answer comes on the session's stream.
func (c *Client) exchangeWired(ctx context.Context, p *peer, t *Target, r *Request, s *session, reply *Reply) *Error {
	w := s.wire
	if ctx.Err() != nil {
		return canceled(ctx)
	}
	s.busy.Add(1)
	defer s.busy.Add(-1)
	if reply == nil {
		return c.postWired(ctx, p, t, r, s, 0)
	}
	id := c.ids.Add(1)
	timer := time.NewTimer(c.config.Timeout)
	defer timer.Stop()
	to := &waiter{answer: make(chan heard, 1), aside: c.newAside(ctx, p, t, s, r.Peer)}
	defer to.leave()
	to.aside.id, to.aside.progress = id, r.progressToken()
	to.aside.base = c.now().Add(c.config.Timeout)
	to.aside.postpone = func(at time.Time) { timer.Reset(at.Sub(c.now())) }
	if fail := w.join(id, to); fail != nil {
		return fail
	}
	defer w.part(id, to)
	if fail := c.postWired(ctx, p, t, r, s, id); fail != nil {
		return fail
	}
	fail := to.wait(ctx, w, timer, id, reply)
	if fail != nil {
		fail.Sent = true
		if fail.gaveUp {
			c.abandonWired(&job{p: p, t: t, s: s, id: id})
		}
	}
	return fail
}

// wait waits for the answer, the stream's end, the time limit or the caller's leaving, whichever comes first.
func (to *waiter) wait(ctx context.Context, w *wire, timer *time.Timer, id uint64, reply *Reply) *Error {
	var got heard
	select {
	case got = <-to.answer:
	case <-ctx.Done():
		fail := canceled(ctx)
		fail.gaveUp = true
		return fail
	case <-timer.C:
		return &Error{Kind: Timeout, Detail: "no complete answer in time", gaveUp: true}
	case <-w.ended:
		select { // the answer may have been the last that came
		case got = <-to.answer:
		default:
			return fault(Unreachable, "the stream ended before the answer")
		}
	}
	if got.err != nil {
		return asFault(got.err)
	}
	reply.buf, reply.Status = got.data, 200
	if err := got.m.answer(id, reply); errors.Is(err, errForeign) {
		return malformed("the answer is for another request")
	} else if err != nil {
		return asFault(err)
	}
	return nil
}

// postWired sends one message to the server's endpoint, which accepts it and no more.
func (c *Client) postWired(ctx context.Context, p *peer, t *Target, r *Request, s *session, id uint64) *Error {
	cn, fail := c.connect(ctx, p, p.pool)
	if fail != nil {
		return fail
	}
	cn.job = job{ctx: ctx, p: p, t: t, r: r, s: s, id: id}
	composed := false
	defer func() { // also when Headers panics
		if !composed {
			cn.job = job{}
			p.pool.give(cn, false, c.now())
		}
	}()
	if fail := cn.compose(s.wire.static); fail != nil {
		return fail
	}
	composed = true
	cn.job = job{}
	fail = c.deliver(ctx, p.pool, cn)
	if fail != nil {
		fail.Sent = true
	}
	return fail
}

// abandonWired tells the server that a call was given up; see abandon.
func (c *Client) abandonWired(j *job) {
	from := &conn{head: newRequestHead()}
	if !from.composeCancel(j) || !j.p.side.try() {
		return
	}
	sent := c.background(func(ctx context.Context) {
		ctx, stop := context.WithTimeout(ctx, partingWithin)
		defer stop()
		c.forward(ctx, j.p, from)
	})
	if !sent {
		j.p.side.give(nil, false, c.now())
	}
}

// hearWired is stream for a session over HTTP+SSE: its one stream brings what the server says on its own, too.
func (e *ear) hearWired(ctx context.Context, s *session) error {
	to := &waiter{answer: make(chan heard, 1), aside: e.c.newAside(ctx, e.p, e.t, s, e.sub.Peer)}
	defer to.leave()
	to.aside.minutely = true
	if fail := s.wire.join(0, to); fail != nil {
		return fail
	}
	defer s.wire.part(0, to)
	defer func() {
		to.mu.Lock()
		defer to.mu.Unlock()
		e.heard = to.aside.count > 0
	}()
	select {
	case got := <-to.answer:
		return asFault(got.err)
	case <-ctx.Done():
		return canceled(ctx)
	case <-s.wire.ended:
		return errDropped
	}
}

// hold keeps a wire with its server; false when the server is retired.
func (p *peer) hold(w *wire) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life.Err() != nil {
		return false
	}
	p.wires[w] = struct{}{}
	return true
}

func (p *peer) release(w *wire) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.wires, w)
}

// hangUp ends the wires of sessions that are no more and that nobody uses; all when final, and such as come later.
func (p *peer) hangUp(final bool) {
	if final {
		p.retire()
	}
	p.mu.Lock()
	var idle []*wire
	for w := range p.wires {
		if final || !p.sessions.has(w.s) && w.s.busy.Load() == 0 {
			idle = append(idle, w)
		}
	}
	p.mu.Unlock()
	for _, w := range idle {
		w.close()
	}
}

// has tells whether a session is still to be used.
func (s *sessions) has(have *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[have.who] == have
}
