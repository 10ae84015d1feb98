package upstream

import (
	"context"
	"errors"
	"strconv"
	"time"
)

// exchange sends one message in a session and reads its answer into reply; a
// nil reply makes the message a notification. It never sends twice.
func (c *Client) exchange(ctx context.Context, p *peer, t *Target, r *Request, s *session, reply *Reply) *Error {
	if ctx.Err() != nil {
		return canceled(ctx)
	}
	if fail := p.pool.slot(ctx, c.config.QueueTimeout); fail != nil {
		return fail
	}
	cn := p.pool.take(c.now(), c.config.IdleTimeout)
	if cn == nil {
		var fail *Error
		if cn, fail = c.open(ctx, &p.address, p.allowPrivate); fail != nil {
			p.pool.give(nil, false, c.now())
			return fail
		}
	}
	var id uint64
	if reply != nil {
		id = c.ids.Add(1)
	}
	composed := false
	defer func() { // also when Headers or Mirror panics
		if !composed {
			p.pool.give(cn, false, c.now())
		}
	}()
	if fail := cn.compose(p.static, id, t, r, s); fail != nil {
		return fail
	}
	composed = true
	return c.carry(ctx, p, cn, id, r, s, reply)
}

// compose builds the message and its head in the connection's buffers.
func (cn *conn) compose(static []byte, id uint64, t *Target, r *Request, s *session) *Error {
	var fail *Error
	if cn.body, fail = appendMessage(cn.body[:0], id, r, s.modern); fail != nil {
		return fail
	}
	h := cn.head
	h.reset(static)
	switch {
	case s.modern:
		h.set("MCP-Protocol-Version", modernVersion)
		h.set("Mcp-Method", r.Method)
		if r.Name != "" && nameMember(r.Method) != "" {
			h.set("Mcp-Name", headerText(r.Name))
		}
		if r.Mirror != nil {
			r.Mirror(h.mirr)
		}
	default:
		if s.version >= headerVersion {
			h.set("MCP-Protocol-Version", s.version)
		}
		if s.id != "" {
			h.set("Mcp-Session-Id", s.id)
		}
	}
	if t.Headers != nil {
		t.Headers(h.add)
	}
	if h.err != nil {
		clear(h.buf)
		return h.err
	}
	h.finish(len(cn.body))
	return nil
}

// carry sends what was composed, reads the answer under the watcher's eyes and
// returns the connection.
func (c *Client) carry(ctx context.Context, p *peer, cn *conn, id uint64, r *Request, s *session, reply *Reply) *Error {
	c.watch.add(ctx, cn, c.now().Add(c.config.Timeout))
	body := &cn.reader
	*body = bodyReader{}
	fail := c.converse(cn, body, id, r, s, reply)
	cause := c.watch.remove(cn)
	switch {
	case cause != nil && fail != nil:
		fail = cause
		p.pool.give(cn, false, c.now())
	case fail == nil && cause == nil && cn.answer.media == eventMedia && !body.done:
		go c.finish(p, cn) // the answer is whole; the stream's end is still to come
	default:
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
func (c *Client) converse(cn *conn, body *bodyReader, id uint64, r *Request, s *session, reply *Reply) *Error {
	if err := cn.send(); err != nil {
		return fault(Unreachable, "the connection broke while sending")
	}
	if fail := cn.readHead(); fail != nil {
		return fail
	}
	*body = cn.bodyReader(c.config.MaxResponse)
	h := &cn.answer
	switch {
	case h.status >= 300 && h.status < 400:
		return coded(Redirect, "the server answers with a redirect, and none is followed", h.status)
	case h.encoded:
		return malformed("the answer is compressed, which was not asked for")
	case reply == nil:
		return c.acknowledged(h, body)
	}
	if fail := c.readAnswer(h, body, id, reply); fail != nil {
		return fail
	}
	if r.Method == "initialize" && !s.modern && h.session != nil {
		return s.accept(h.session)
	}
	return nil
}

// acknowledged checks the answer to a notification: any success will do, as
// servers differ on which.
func (c *Client) acknowledged(h *responseHead, body *bodyReader) *Error {
	if h.status >= 300 {
		return statusFault(h.status)
	}
	if h.media != eventMedia {
		body.drain(4 << 10)
	}
	return nil
}

// readAnswer reads the JSON-RPC answer from a body of either kind. An HTTP
// error that carries a proper JSON-RPC error for our id is an answer too.
func (c *Client) readAnswer(h *responseHead, body *bodyReader, id uint64, reply *Reply) *Error {
	reply.Status = h.status
	if h.status >= 400 {
		if h.media == jsonMedia && c.readJSON(body, id, reply) == nil && reply.Error != nil {
			return nil
		}
		reply.Result, reply.Error = nil, nil
		return statusFault(h.status)
	}
	var err error
	switch {
	case h.status != 200:
		return malformed("HTTP " + strconv.Itoa(h.status) + " is no answer to a request")
	case h.media == jsonMedia:
		err = c.readJSON(body, id, reply)
	case h.media == eventMedia:
		err = c.readEvents(body, id, reply)
	default:
		return malformed("the answer is neither JSON nor an event stream")
	}
	if err != nil {
		return asFault(err)
	}
	return nil
}

func (c *Client) readJSON(body *bodyReader, id uint64, reply *Reply) error {
	if body.mode == 0 && body.left > body.room {
		return fault(TooLarge, "the answer is larger than allowed")
	}
	var err error
	if reply.buf, err = body.appendBody(reply.buf[:0]); err != nil {
		return err
	}
	err = c.parseAnswer(reply.buf, id, reply)
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
