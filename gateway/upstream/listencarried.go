package upstream

import (
	"context"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
)

// methodListen is connector.MethodListen, which this package does not know.
const methodListen = metaOwn + "listen"

// listenCarried hears a server behind a Carrier: by a call that is answered when there is nothing more to hear for now, and
// made anew then.
func (c *Client) listenCarried(ctx context.Context, t *Target, s *Subscription) *Error {
	if s.Resources != nil && len(s.Resources) == 0 {
		return coded(Status, "a process says nothing outside of calls but what it is asked for", 405)
	}
	pauses := ear{c: c}
	for barren := 0; ; {
		began := c.now()
		h := &carriedEar{c: c, t: t, peer: s.Peer, since: began}
		fail := h.hear(ctx, s)
		switch {
		case ctx.Err() != nil:
			return canceled(ctx)
		case fail != nil && !fail.passing():
			return fail
		case h.heard || c.now().Sub(began) > aliveAfter:
			barren = 0
		}
		if barren++; barren > maxBarren {
			if fail != nil {
				return fail
			}
			return fault(Unreachable, "the server ends all listening at once")
		}
		_ = sleep(ctx, pauses.pause(barren))
	}
}

// carriedEar hears what a server behind a Carrier says on its own, within the bounds of a stream.
type carriedEar struct {
	c    *Client
	t    *Target
	peer Peer

	heard bool
	since time.Time // of the minute that is counted
	count int
}

// hear makes the call. No error: it was answered in order.
func (h *carriedEar) hear(ctx context.Context, s *Subscription) *Error {
	filter := s.Filter
	if s.Resources != nil {
		filter = agreement(s.Resources)
	}
	if filter == nil {
		filter = []byte("{}")
	}
	r := Request{
		Method: methodListen, Principal: s.Principal, Peer: h,
		Params: append(append([]byte(`{"notifications":`), filter...), '}'),
		Meta:   append(append([]byte(`{"`+metaHears+`":`), identify("", s.Peer).capabilities...), '}'),
	}
	var reply Reply
	if err := h.t.Carrier.Carry(ctx, h.t, &r, &reply); err != nil {
		return carrierFault(ctx, ctx, err)
	}
	if fail := h.c.wellFormed(&reply); fail != nil {
		return fail
	}
	if reply.Error != nil {
		return coded(Status, "the server refuses to be listened to", 405)
	}
	return nil
}

// Capabilities are those of the session in which it is listened.
func (h *carriedEar) Capabilities() []byte { return h.peer.Capabilities() }

// Answer answers no question: whoever is beyond the Carrier asks the calls under way there.
func (h *carriedEar) Answer(context.Context, string, []byte) (result, failure []byte) {
	return nil, rpcError(rpcInternal, "nobody is asked outside of calls")
}

// Notify hears what is said on streams that are listened to, and nothing else.
func (h *carriedEar) Notify(method string, params []byte) error {
	if now := h.c.now(); now.Sub(h.since) > time.Minute {
		h.since, h.count = now, 0
	}
	if h.count++; h.count > h.c.config.MaxInterim || len(params) > h.c.config.MaxInterimBytes {
		return flooded("much outside of calls")
	}
	if !listened(method) {
		return nil
	}
	limits := canon.Limits{Bytes: h.c.config.MaxInterimBytes, Depth: h.c.config.MaxDepth, Values: h.c.config.MaxValues}
	if err := canon.Check(params, limits); err != nil {
		return jsonFault(err)
	}
	if canon.KindOf(params) != '{' {
		return malformed("a notification has params that are no object")
	}
	h.heard = h.heard || method != "notifications/subscriptions/acknowledged"
	return notify(h.peer, method, params)
}

// listened are the notifications of streams that are listened to.
func listened(method string) bool {
	switch method {
	case "notifications/subscriptions/acknowledged", "notifications/tools/list_changed", "notifications/prompts/list_changed",
		"notifications/resources/list_changed", "notifications/resources/updated":
		return true
	}
	return false
}
