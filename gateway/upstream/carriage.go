package upstream

import (
	"context"
	"sync"

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
// capabilities that the server is to be told under their reserved name, and with a progress token only where it is heard. Its
// Params, where the request repeats one that was answered with input_required, say all of it. Its Peer hears progress, and is
// nil when nobody does.
func (g *carriage) load(c *Client, r *Request) *Error {
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
	if meta != nil || capabilities != nil {
		if fail := g.composeMeta(meta, capabilities, r.Peer != nil); fail != nil {
			return fail
		}
	}
	if token := r.progressToken(); token != nil && r.Peer != nil {
		g.Peer = &carriedPeer{Peer: r.Peer, c: c, token: token}
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

func (g *carriage) composeMeta(meta, capabilities []byte, heard bool) *Error {
	b := append(g.meta[:0], '{')
	if capabilities != nil {
		b = append(append(b, `"`+metaReserved+`clientCapabilities":`...), capabilities...)
	}
	if meta != nil {
		err := canon.Each(meta, func(key, value []byte) error {
			k := string(key)
			if reservedMeta(k) || k == metaProgress && (!heard || !isID(value)) {
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

// carriedPeer is a caller that hears the progress of a call through a Carrier, within the bounds of what is heard over HTTP.
type carriedPeer struct {
	Peer
	c            *Client
	token        []byte
	count, bytes int
}

// Notify hears progress; whatever else a connector says is for nobody.
func (h *carriedPeer) Notify(method string, params []byte) error {
	h.count++
	h.bytes += len(params)
	switch config := &h.c.config; {
	case h.count > config.MaxInterim:
		return flooded("many things")
	case h.bytes > config.MaxInterimBytes:
		return flooded("much")
	case method != "notifications/progress":
		return nil
	}
	limits := canon.Limits{Bytes: h.c.config.MaxInterimBytes, Depth: h.c.config.MaxDepth, Values: h.c.config.MaxValues}
	if err := canon.Check(params, limits); err != nil {
		return jsonFault(err)
	}
	if canon.KindOf(params) != '{' {
		return malformed("a notification has params that are no object")
	}
	if err := notify(h.Peer, method, withToken(params, h.token)); err != nil {
		return &Error{Kind: Canceled, Detail: "the caller refused what the server said before its answer", err: err, gaveUp: true}
	}
	return nil
}

// Answer has no answer: what a connector asks before its answer cannot be told to be one caller's.
func (*carriedPeer) Answer(context.Context, string, []byte) (result, failure []byte) {
	return nil, rpcError(rpcUnknown, "the client did not say that it can do this")
}
