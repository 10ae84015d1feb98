package upstream

import (
	"context"
	"errors"
	"strconv"
	"time"
)

// job is one exchange on a connection.
type job struct {
	ctx   context.Context //nolint:containedctx // held only while the exchange runs
	p     *peer
	t     *Target
	r     *Request
	s     *session
	reply *Reply // nil for a notification
	id    uint64 // 0 for a notification
	aside *aside // what the server says before its answer; nil until it does
	// last and retry are the id of the last event, and what the server asked for as a pause, for resume.
	last  []byte
	retry time.Duration
}

// exchangeOnce is exchange without another credential. It never sends twice.
func (c *Client) exchangeOnce(ctx context.Context, p *peer, t *Target, r *Request, s *session, reply *Reply) *Error {
	if s.wire != nil {
		return c.exchangeWired(ctx, p, t, r, s, reply)
	}
	cn, fail := c.connect(ctx, p, p.pool)
	if fail != nil {
		return fail
	}
	cn.job = job{ctx: ctx, p: p, t: t, r: r, s: s, reply: reply}
	if reply != nil {
		cn.job.id = c.ids.Add(1)
	}
	composed := false
	defer func() { // also when Headers or Mirror panics
		if !composed {
			cn.job = job{}
			p.pool.give(cn, false, c.now())
		}
	}()
	if fail := cn.compose(p.static); fail != nil {
		return fail
	}
	composed = true
	if !s.modern {
		s.busy.Add(1)
		defer s.busy.Add(-1)
	}
	return c.carry(cn)
}

// connect returns a connection of a pool, or a new one for which the pool has room.
func (c *Client) connect(ctx context.Context, p *peer, from *pool) (*conn, *Error) {
	if ctx.Err() != nil {
		return nil, canceled(ctx)
	}
	if fail := from.slot(ctx, c.config.QueueTimeout); fail != nil {
		return nil, fail
	}
	if cn := from.take(c.now(), c.config.IdleTimeout); cn != nil {
		return cn, nil
	}
	cn, fail := c.open(ctx, p)
	if fail != nil {
		from.give(nil, false, c.now())
		return nil, fail
	}
	return cn, nil
}

// compose builds the message and its head in the connection's buffers.
func (cn *conn) compose(static []byte) *Error {
	j := &cn.job
	var fail *Error
	if cn.body, fail = appendMessage(cn.body[:0], j.id, j.r, j.s.modern); fail != nil {
		return fail
	}
	h := cn.head
	h.reset(static)
	switch {
	case j.s.modern:
		h.set("MCP-Protocol-Version", modernVersion)
		h.set("Mcp-Method", j.r.Method)
		if j.r.Name != "" && headed(j.r.Method) {
			h.set("Mcp-Name", headerText(j.r.Name))
		}
		if j.r.Mirror != nil {
			j.r.Mirror(h.mirr)
		}
	default:
		h.session(j.s)
	}
	return h.finish(j.t, len(cn.body))
}

// carry sends what was composed, reads the answer under the watcher's eyes and
// returns the connection.
func (c *Client) carry(cn *conn) *Error {
	j := &cn.job
	p := j.p
	c.watch.add(j.ctx, cn, c.now().Add(c.config.Timeout))
	cn.reader = bodyReader{}
	fail := c.converse(cn)
	if j.aside != nil {
		j.aside.close()
	}
	cause := c.watch.remove(cn)
	switch {
	case cause != nil && fail != nil:
		fail = cause
		c.abandon(cn)
	case fail != nil && fail.gaveUp:
		c.abandon(cn)
	case fail == nil && cause == nil && cn.answer.media == eventMedia && !cn.reader.done:
		cn.job = job{}
		go c.finish(p, cn) // the answer is whole; the stream's end is still to come
	default:
		cn.job = job{}
		p.pool.give(cn, fail == nil && cause == nil && cn.reusable(), c.now())
	}
	if fail != nil {
		fail.Sent = true
	}
	return fail
}

// finishWithin bounds the wait for the end of a stream whose answer is read.
const finishWithin = 100 * time.Millisecond

// finish waits shortly for the end of a stream, so that its connection can be
// used again.
func (c *Client) finish(p *peer, cn *conn) {
	fit := cn.net.SetReadDeadline(time.Now().Add(finishWithin)) == nil && cn.reader.drain(4<<10) &&
		cn.reusable() && cn.net.SetReadDeadline(time.Time{}) == nil
	p.pool.give(cn, fit, c.now())
}

// converse is one request and its answer on a connection.
func (c *Client) converse(cn *conn) *Error {
	if err := cn.send(); err != nil {
		return fault(Unreachable, "the connection broke while sending")
	}
	if fail := cn.readHead(); fail != nil {
		return fail
	}
	j, body, h := &cn.job, &cn.reader, &cn.answer
	*body = cn.bodyReader(c.config.MaxResponse)
	if fail := h.fit(); fail != nil {
		return fail
	}
	if j.reply == nil {
		return c.acknowledged(h, body)
	}
	fail := c.readAnswer(cn)
	if fail != nil && fail.brokeOff {
		fail = c.resume(cn, fail)
	}
	if fail != nil {
		return fail
	}
	if j.r.Method == "initialize" && !j.s.modern && h.session != nil {
		return j.s.accept(h.session)
	}
	return nil
}

// fit refuses answers of a kind that is never taken.
func (h *responseHead) fit() *Error {
	switch {
	case h.status >= 300 && h.status < 400:
		return coded(Redirect, "the server answers with a redirect, and none is followed", h.status)
	case h.encoded:
		return malformed("the answer is compressed, which was not asked for")
	}
	return nil
}

// acknowledged checks the answer to a notification: any success will do, as
// servers differ on which.
func (c *Client) acknowledged(h *responseHead, body *bodyReader) *Error {
	if h.status >= 300 {
		return h.refused()
	}
	if h.media != eventMedia {
		body.drain(4 << 10)
	}
	return nil
}

// readAnswer reads the JSON-RPC answer from a body of either kind. An HTTP
// error that carries a proper JSON-RPC error for our id is an answer too.
func (c *Client) readAnswer(cn *conn) *Error {
	j, h := &cn.job, &cn.answer
	j.reply.Status = h.status
	if h.status >= 400 {
		// Whoever can show another credential looks at the refusal itself, whatever stands in its body.
		proving := j.t.Refused != nil && h.refused().unproved()
		if !proving && h.media == jsonMedia && c.readJSON(cn) == nil && j.reply.Error != nil {
			return nil
		}
		j.reply.Result, j.reply.Error = nil, nil
		return h.refused()
	}
	var err error
	switch {
	case h.status != 200:
		return malformed("HTTP " + strconv.Itoa(h.status) + " is no answer to a request")
	case h.media == jsonMedia:
		err = c.readJSON(cn)
	case h.media == eventMedia:
		err = c.readEvents(cn)
	default:
		return malformed("the answer is neither JSON nor an event stream")
	}
	if err != nil {
		return asFault(err)
	}
	return nil
}

func (c *Client) readJSON(cn *conn) error {
	body, reply := &cn.reader, cn.job.reply
	if body.mode == 0 && body.left > body.room {
		return fault(TooLarge, "the answer is larger than allowed")
	}
	var err error
	if reply.buf, err = body.appendBody(reply.buf[:0]); err != nil {
		return err
	}
	var m message
	if err = c.parse(reply.buf, &m); err == nil {
		err = m.answer(cn.job.id, reply)
	}
	if errors.Is(err, errForeign) {
		return malformed("the answer is for another request")
	}
	return err
}

func statusFault(code int) *Error {
	return coded(Status, "HTTP "+strconv.Itoa(code), code)
}

func coded(kind Kind, detail string, code int) *Error {
	return &Error{Kind: kind, Detail: detail, Code: code}
}
