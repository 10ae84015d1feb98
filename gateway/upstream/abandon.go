package upstream

import (
	"context"
	"strconv"
	"time"
)

// partingWithin bounds the last words to a server: that a call was given up, or that a session is over. Nobody waits for
// them, and they are not repeated.
const partingWithin = 2 * time.Second

// abandon gives a connection back whose exchange was ended by us. A modern server, and some older ones, learn it by the
// connection's end. An older one is told first, on another connection, so that its work ends too.
func (c *Client) abandon(cn *conn) {
	j := cn.job
	cn.job = job{}
	shut := func() { j.p.pool.give(cn, false, c.now()) }
	if j.s.modern || j.id == 0 || j.r.Method == "initialize" || !cn.composeCancel(&j) || !j.p.side.try() {
		shut()
		return
	}
	sent := c.background(func(ctx context.Context) {
		defer shut()
		ctx, stop := context.WithTimeout(ctx, partingWithin)
		defer stop()
		c.forward(ctx, j.p, cn)
	})
	if !sent {
		j.p.side.give(nil, false, c.now())
		shut()
	}
}

// composeCancel builds the notice in the connection's buffers. The target's headers are asked for now: they may not be
// once the call has returned.
func (cn *conn) composeCancel(j *job) bool {
	cn.body = append(cn.body[:0], `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":`...)
	cn.body = strconv.AppendUint(cn.body, j.id, 10)
	cn.body = append(cn.body, `,"reason":"the caller is gone or the time is up"}}`...)
	cn.head.reset(j.s.static(j.p))
	cn.head.session(j.s)
	return cn.head.finish(j.t, len(cn.body)) == nil
}

// forward sends what stands composed in one connection on another, for which the side pool has room already.
func (c *Client) forward(ctx context.Context, p *peer, from *conn) {
	cn := p.side.take(c.now(), c.config.IdleTimeout)
	if cn == nil {
		var fail *Error
		if cn, fail = c.open(ctx, p); fail != nil {
			clear(from.head.buf)
			p.side.give(nil, false, c.now())
			return
		}
	}
	cn.head, from.head = from.head, cn.head
	cn.body, from.body = from.body, cn.body
	_ = c.deliver(ctx, p.side, cn)
}

// background runs f beside the calls until Close; false means that it is too late. Whoever calls has a bounded resource,
// such as a slot of a pool, so that there are never many.
func (c *Client) background(f func(ctx context.Context)) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return false
	}
	c.tasks.Go(func() { f(c.life) })
	return true
}

// maxPartings bounds the rounds of farewells to one server that run at once.
const maxPartings = 4

// part ends sessions at their server, beside the calls. While too many farewells run the server finds out by itself.
func (c *Client) part(p *peer, gone ...*session) {
	if len(gone) == 0 || !p.parting.try() {
		return
	}
	done := func() { p.parting.give(nil, false, c.now()) }
	sent := c.background(func(ctx context.Context) {
		defer done()
		ctx, stop := context.WithTimeout(ctx, partingWithin)
		defer stop()
		c.goodbye(ctx, p, gone)
	})
	if !sent {
		done()
	}
}

// retire ends what a peer still holds, its sessions first.
func (c *Client) retire(p *peer) {
	p.pool.expire(c.now(), 0, true)
	p.hangUp(true)
	gone := p.sessions.expire(c.now(), 0, true)
	sent := c.background(func(ctx context.Context) {
		ctx, stop := context.WithTimeout(ctx, partingWithin)
		defer stop()
		c.goodbye(ctx, p, gone)
		p.side.expire(c.now(), 0, true)
	})
	if !sent {
		p.side.expire(c.now(), 0, true)
	}
}

// goodbye ends sessions with DELETE, one after the other, until ctx ends. Servers may refuse it, and many do.
func (c *Client) goodbye(ctx context.Context, p *peer, gone []*session) {
	t := &Target{Tenant: p.tenant, Name: p.name}
	if c.reach != nil && len(gone) > 0 {
		found, err := c.reach(ctx, p.tenant, p.name)
		if err != nil || !p.is(found) {
			return // it is not ours any more, or it moved: its credential is not for the old place
		}
		t = found
	}
	for _, s := range gone {
		select {
		case <-s.ready:
		default:
			continue // still being made; whoever makes it has it for themselves
		}
		if s.fail != nil || s.id == "" || ctx.Err() != nil {
			continue
		}
		c.delete(ctx, p, t, s)
	}
}

func (c *Client) delete(ctx context.Context, p *peer, t *Target, s *session) {
	cn, fail := c.connect(ctx, p, p.side)
	if fail != nil {
		return
	}
	cn.body = cn.body[:0]
	cn.head.reset(staticHead("DELETE", p.address))
	cn.head.session(s)
	if cn.head.finish(t, 0) != nil {
		p.side.give(cn, false, c.now())
		return
	}
	_ = c.deliver(ctx, p.side, cn)
}
