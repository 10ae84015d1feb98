package upstream

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
)

// JSON-RPC's codes for what a server is told.
const (
	rpcInvalid  = -32600
	rpcUnknown  = -32601
	rpcInternal = -32603
)

// errWithdrawn is why a question ends that the server took back.
var errWithdrawn = errors.New("the server took its request back")

// capabilityFor is the client capability that each question of a server needs.
var capabilityFor = map[string]string{
	"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots",
}

// question answers a request of the server, or has the peer answer it.
func (a *aside) question(m *message, name string, known bool, size int) error {
	if !isID(m.id) {
		return malformed("a request of the server has an id that is neither text nor number")
	}
	switch {
	case !known:
		return a.refuse(m.id, rpcInvalid, "the request has no method, or params that are no object")
	case name == "ping":
		return a.respond(m.id, []byte("{}"), nil)
	case !a.able(name):
		return a.refuse(m.id, rpcUnknown, "the client did not say that it can do this")
	case a.bytes+size > a.c.config.MaxInterimBytes:
		return a.refuse(m.id, rpcInvalid, "the request is too large")
	}
	a.bytes += size
	return a.ask(m, name)
}

// able tells whether the server was told that the peer can answer this.
func (a *aside) able(name string) bool {
	if a.peer == nil || capabilityFor[name] == "" {
		return false
	}
	_, ok := canon.Get(a.peer.Capabilities(), capabilityFor[name])
	return ok
}

// ask has the peer answer a question beside the reading of the stream.
func (a *aside) ask(m *message, name string) error {
	key := string(m.id)
	left, refusal := a.begin(key)
	if refusal != "" {
		return a.refuse(m.id, rpcInternal, refusal)
	}
	ctx, withdraw := context.WithCancelCause(a.ctx)
	a.mu.Lock()
	a.open[key] = withdraw
	a.mu.Unlock()
	question := message{id: bytes.Clone(m.id), method: bytes.Clone(m.method), params: bytes.Clone(m.params)}
	a.asked.Go(func() {
		defer a.finish(key)
		defer withdraw(nil)
		timed, stop := context.WithTimeout(ctx, left)
		defer stop()
		result, failure := a.consult(timed, name, question.params)
		switch {
		case a.ctx.Err() != nil && a.s.wire != nil && !errors.Is(context.Cause(ctx), errWithdrawn):
			a.s.wire.pass(a, &question)
			return
		case a.ctx.Err() != nil || errors.Is(context.Cause(ctx), errWithdrawn):
			return
		case !a.fit(result, failure) && timed.Err() != nil:
			result, failure = nil, rpcError(rpcInternal, "nobody answered in time")
		case !a.fit(result, failure):
			result, failure = nil, rpcError(rpcInternal, "the client has no answer")
		}
		_ = a.respond(question.id, result, failure)
	})
	return nil
}

// consult asks the peer; a panic of it is no answer.
func (a *aside) consult(ctx context.Context, name string, params []byte) (result, failure []byte) {
	defer func() {
		if recover() != nil {
			result, failure = nil, nil
		}
	}()
	return a.peer.Answer(ctx, name, params)
}

// fit holds an answer to the rules a server's own is held to.
func (a *aside) fit(result, failure []byte) bool {
	return a.c.wellFormed(&Reply{Result: result, Error: failure}) == nil
}

// begin makes room for a question and stops the exchange's clock: a person is slower than a server.
func (a *aside) begin(key string) (left time.Duration, refusal string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	left = a.c.config.AnswerTimeout - a.waited
	switch {
	case a.open[key] != nil:
		return 0, "a request with this id is still open"
	case len(a.open) >= a.c.config.MaxAsks:
		return 0, "too many requests are open"
	case left <= 0:
		return 0, "the time for answers is used up"
	}
	a.open[key] = func(error) {}
	if len(a.open) == 1 {
		a.since = a.c.now()
		if a.postpone != nil {
			a.postpone(a.base.Add(a.c.config.AnswerTimeout))
		}
	}
	return left, ""
}

// finish frees a question's room and lets the clock run on with the last.
func (a *aside) finish(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.open, key)
	if len(a.open) > 0 || a.postpone == nil {
		return
	}
	a.waited += a.c.now().Sub(a.since)
	a.postpone(a.base.Add(min(a.waited, a.c.config.AnswerTimeout)))
}

// withdraw ends a question that the server took back.
func (a *aside) withdraw(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if end := a.open[key]; end != nil {
		end(errWithdrawn)
	}
}

func (a *aside) refuse(id []byte, code int, why string) error {
	return a.respond(id, nil, rpcError(code, why))
}

// respondWithin bounds how long a server may take to accept an answer.
const respondWithin = 10 * time.Second

// respond posts an answer to the session. That it does not arrive is the server's loss: the exchange has its own end.
func (a *aside) respond(id, result, failure []byte) error {
	within := respondWithin
	if left, limited := a.left(); limited {
		within = min(within, left)
	}
	base := a.ctx
	if a.s.wire != nil { // it may be about another call of the session
		base = context.WithoutCancel(base)
	}
	ctx, stop := context.WithTimeout(base, within)
	defer stop()
	_ = a.c.tell(ctx, a.p, a.t, a.s, appendResponse(nil, id, result, failure))
	return nil
}

func rpcError(code int, why string) []byte {
	out := append([]byte(`{"code":`), strconv.Itoa(code)...)
	out = append(out, `,"message":`...)
	return append(canon.AppendString(out, why), '}')
}

func appendResponse(dst, id, result, failure []byte) []byte {
	dst = append(append(dst, `{"jsonrpc":"2.0","id":`...), id...)
	if failure != nil {
		dst = append(append(dst, `,"error":`...), failure...)
	} else {
		dst = append(append(dst, `,"result":`...), result...)
	}
	return append(dst, '}')
}

// tell posts one message that has no answer to a session of the older era. Such messages have connections of their own:
// calls that wait for one must not keep it from going out.
func (c *Client) tell(ctx context.Context, p *peer, t *Target, s *session, body []byte) *Error {
	cn, fail := c.connect(ctx, p, p.side)
	if fail != nil {
		return fail
	}
	composed := false
	defer func() { // also when Headers panics
		if !composed {
			p.side.give(cn, false, c.now())
		}
	}()
	cn.body = append(cn.body[:0], body...)
	cn.head.reset(s.static(p))
	cn.head.session(s)
	if fail := cn.head.finish(t, len(cn.body)); fail != nil {
		return fail
	}
	composed = true
	return c.deliver(ctx, p.side, cn)
}

// static is the head of what is POSTed in a session.
func (s *session) static(p *peer) []byte {
	if s.wire != nil {
		return s.wire.static
	}
	return p.static
}

// deliver sends what was composed in a connection of a pool and waits for any success.
func (c *Client) deliver(ctx context.Context, of *pool, cn *conn) *Error {
	c.watch.add(ctx, cn, c.now().Add(c.config.Timeout))
	cn.reader = bodyReader{}
	fail := c.post(cn)
	cause := c.watch.remove(cn)
	if cause != nil && fail != nil {
		fail = cause
	}
	of.give(cn, fail == nil && cause == nil && cn.reusable(), c.now())
	return fail
}

func (c *Client) post(cn *conn) *Error {
	if err := cn.send(); err != nil {
		return fault(Unreachable, "the connection broke while sending")
	}
	if fail := cn.readHead(); fail != nil {
		return fail
	}
	cn.reader = cn.bodyReader(c.config.MaxResponse)
	if fail := cn.answer.fit(); fail != nil {
		return fail
	}
	return c.acknowledged(&cn.answer, &cn.reader)
}
