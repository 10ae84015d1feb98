package upstream

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
)

// carriage is a request as a Carrier gets it, and what is heard before its answer. Its memory is used again: a Carrier keeps
// nothing of it.
type carriage struct {
	Request
	meta, params []byte
}

var carriages = sync.Pool{New: func() any { return new(carriage) }}

// keepCarriage is the largest buffer that is kept for another request.
const keepCarriage = 64 << 10

func (g *carriage) release() {
	if cap(g.meta)+cap(g.params) > keepCarriage {
		return
	}
	*g = carriage{meta: g.meta[:0], params: g.params[:0]}
	carriages.Put(g)
}

// load makes the request that is carried of the caller's. Its Meta is the caller's without reserved members, with the
// capabilities that the server is to be told under their reserved name, with what the caller hears and can be asked before the
// answer under connector.MemberHears, and with a progress token and a level of logging only where somebody hears. Its Params,
// where the request repeats one that was answered with input_required, say all of it. Its Peer is heard, or nil.
func (g *carriage) load(c *Client, r *Request, heard *carriedPeer) *Error {
	g.Request = *r
	g.Peer = nil
	meta := r.Meta
	if meta == nil {
		meta, _ = canon.Get(r.Params, "_meta")
	}
	capabilities := r.Capabilities
	if capabilities == nil && r.Peer != nil {
		capabilities = r.Peer.Capabilities()
	}
	if meta != nil || capabilities != nil || r.Peer != nil {
		if fail := g.composeMeta(meta, capabilities, r.Peer); fail != nil {
			return fail
		}
	}
	if heard != nil {
		g.Peer = heard
	}
	if !r.retries() {
		return nil
	}
	bare := *r
	bare.Peer = nil // Meta tells what is heard
	var fail *Error
	g.params, fail = appendParams(g.params[:0], 0, &bare, true)
	if fail != nil {
		return fail
	}
	g.Params = g.params[len(`,"params":`):]
	return nil
}

func (g *carriage) composeMeta(meta, capabilities []byte, heard Peer) *Error {
	b := append(g.meta[:0], '{')
	if capabilities != nil {
		b = append(append(b, `"`+metaReserved+`clientCapabilities":`...), capabilities...)
	}
	if heard != nil {
		b = append(separate(b, 1), `"`+metaHears+`":`...)
		b = append(b, identify("", heard).capabilities...)
	}
	if meta != nil {
		err := canon.Each(meta, func(key, value []byte) error {
			k := string(key)
			if (heard == nil || k != metaLogLevel) && reservedMeta(k) || k == metaProgress && (heard == nil || !isID(value)) {
				return nil
			}
			b = append(canon.AppendString(separate(b, 1), k), ':')
			b = append(b, value...)
			return nil
		})
		if err != nil {
			return fault(Invalid, "_meta is not an object")
		}
	}
	g.meta = append(b, '}')
	g.Meta = g.meta
	return nil
}

// metaHears is connector.MemberHears, which this package does not know.
const metaHears = metaOwn + "hears"

// carriedPeer is a caller that is heard by a server behind a Carrier, within the bounds and by the clock of an exchange over
// HTTP.
type carriedPeer struct {
	aside
	token []byte
	cause context.CancelCauseFunc // ends the call
	timer *time.Timer             // its time limit; nil of one that cannot be asked, whose context has it

	say   sync.Mutex // guards the aside's counts
	names int        // of questions
}

// hearCarried makes the Peer of a call over a Carrier, nil when nobody hears, and the context that ends with the call's time.
func (c *Client) hearCarried(ctx context.Context, t *Target, r *Request) (context.Context, *carriedPeer) {
	if r.Peer == nil {
		return ctx, nil
	}
	h := &carriedPeer{token: r.progressToken()}
	h.c, h.t, h.peer, h.open = c, t, r.Peer, map[string]context.CancelCauseFunc{}
	h.base = c.now().Add(c.config.Timeout)
	ctx, h.cause = context.WithCancelCause(ctx)
	h.ctx, h.end = ctx, func() { h.cause(nil) }
	for name := range capabilityFor {
		if h.timer == nil && h.able(name) {
			h.timer = time.AfterFunc(c.config.Timeout, func() { h.cause(errLate) })
			h.postpone = func(at time.Time) { h.timer.Reset(at.Sub(c.now())) }
		}
	}
	return ctx, h
}

// errLate ends a call whose time is up.
var errLate = &Error{Kind: Timeout, Detail: "no answer in time", gaveUp: true}

// leave ends what is heard: nothing is after it.
func (h *carriedPeer) leave() {
	if h.timer != nil {
		h.timer.Stop()
	}
	h.close()
}

// Capabilities are what an older server may ask.
func (h *carriedPeer) Capabilities() []byte { return h.peer.Capabilities() }

// takes counts one thing that is said.
func (h *carriedPeer) takes(size int) *Error {
	h.say.Lock()
	defer h.say.Unlock()
	h.count++
	h.bytes += size
	switch config := &h.c.config; {
	case h.count > config.MaxInterim:
		return flooded("many things")
	case h.bytes > config.MaxInterimBytes:
		return flooded("much")
	}
	return nil
}

// checked holds what is said to the rules of an answer.
func (h *carriedPeer) checked(params []byte) *Error {
	limits := canon.Limits{Bytes: h.c.config.MaxInterimBytes, Depth: h.c.config.MaxDepth, Values: h.c.config.MaxValues}
	if err := canon.Check(params, limits); err != nil {
		return jsonFault(err)
	}
	if canon.KindOf(params) != '{' {
		return malformed("a notification or a request has params that are no object")
	}
	return nil
}

// Notify hears progress that was asked for, and logs; whatever else a connector says is for nobody.
func (h *carriedPeer) Notify(method string, params []byte) error {
	if fail := h.takes(len(params)); fail != nil {
		return fail
	}
	progress := method == "notifications/progress"
	if !progress && method != "notifications/message" || progress && h.token == nil {
		return nil
	}
	if fail := h.checked(params); fail != nil {
		return fail
	}
	if progress {
		params = withToken(params, h.token)
	}
	if err := notify(h.peer, method, params); err != nil {
		return &Error{Kind: Canceled, Detail: "the caller refused what the server said before its answer", err: err, gaveUp: true}
	}
	return nil
}

// Answer has the caller asked what it said that it can be asked, while the call's clock stands still.
func (h *carriedPeer) Answer(ctx context.Context, method string, params []byte) (result, failure []byte) {
	if fail := h.takes(0); fail != nil {
		h.cause(fail)
		return nil, rpcError(rpcInternal, fail.Detail)
	}
	if !h.able(method) {
		return nil, rpcError(rpcUnknown, "the client did not say that it can do this")
	}
	h.say.Lock()
	h.names++
	key := strconv.Itoa(h.names)
	large := h.bytes+len(params) > h.c.config.MaxInterimBytes
	if !large {
		h.bytes += len(params)
	}
	h.say.Unlock()
	switch {
	case large:
		return nil, rpcError(rpcInvalid, "the request is too large")
	case len(params) == 0:
		params = nil
	case h.checked(params) != nil:
		return nil, rpcError(rpcInvalid, "the request has params that are no object")
	}
	left, refusal := h.begin(key)
	if refusal != "" {
		return nil, rpcError(rpcInternal, refusal)
	}
	defer h.finish(key)
	timed, stop := context.WithTimeout(ctx, left)
	defer stop()
	defer context.AfterFunc(h.ctx, stop)()
	result, failure = h.consult(timed, method, params)
	switch {
	case h.fit(result, failure):
		return result, failure
	case timed.Err() != nil:
		return nil, rpcError(rpcInternal, "nobody answered in time")
	}
	return nil, rpcError(rpcInternal, "the client has no answer")
}
