package upstream

import (
	"context"
	"errors"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Carrier reaches a server that has no HTTP address here, such as the process of a connector. It keeps its own health
// and may be called concurrently.
type Carrier interface {
	// Carry makes the request, of which it keeps nothing, and has its Peer, if set, hear what is said about the call before
	// its answer, one notification after the other, and answer the questions of an older server, which may be several at
	// once; the error of Notify ends the call. Neither runs when it has returned. Only what belongs to this very call may
	// reach the Peer. Its Meta and Params are as the server is to see them: without what is reserved, but with the caller's
	// capabilities as io.modelcontextprotocol/clientCapabilities, and with gatewright/hears, which is for the connector: it
	// is there when a Peer is, and its value is the object of what an older server may ask. The Method gatewright/listen is for
	// the connector too: it hears what the server says outside of calls, until ctx ends.
	// It fills in exactly one of reply.Result and reply.Error, raw. The error, if any, is an *Error; any other counts as
	// Unreachable. ctx ends when the time for the call is up.
	Carry(ctx context.Context, t *Target, r *Request, reply *Reply) error
}

// carried is Call over a Carrier. What comes back is held to the same rules as an answer over HTTP.
func (c *Client) carried(ctx context.Context, t *Target, r *Request, reply *Reply) *Error {
	if ctx.Err() != nil {
		return canceled(ctx)
	}
	inner, heard := c.hearCarried(ctx, t, r)
	if heard == nil || heard.timer == nil {
		var cancel context.CancelFunc
		inner, cancel = context.WithTimeout(inner, c.config.Timeout)
		defer cancel()
	}
	if heard != nil {
		defer heard.leave()
	}
	g := carriages.Get().(*carriage)
	defer g.release()
	if fail := g.load(c, r, heard); fail != nil {
		return fail
	}
	if err := t.Carrier.Carry(inner, t, &g.Request, reply); err != nil {
		return carrierFault(ctx, inner, err)
	}
	if fail := c.wellFormed(reply); fail != nil {
		fail.Sent = true
		return fail
	}
	return nil
}

// carrierFault tells a time limit of ours from a caller that left.
func carrierFault(caller, inner context.Context, err error) *Error {
	fail, ok := errors.AsType[*Error](err)
	if !ok {
		fail = fault(Unreachable, "the connector failed")
		fail.Sent = true
	}
	switch {
	case caller.Err() != nil:
		sent := fail.Sent
		fail = canceled(caller)
		fail.Sent = sent
	case inner.Err() != nil:
		if cause, ok := errors.AsType[*Error](context.Cause(inner)); ok && cause != errLate { // it was ended for what was said
			return &Error{Kind: cause.Kind, Detail: cause.Detail, Sent: true}
		}
		return &Error{Kind: Timeout, Detail: "no answer in time", Sent: fail.Sent}
	}
	return fail
}

// wellFormed checks a reply that was not parsed here: strict JSON within the bounds, and one object.
func (c *Client) wellFormed(reply *Reply) *Error {
	body := reply.Result
	if reply.Error != nil {
		body = reply.Error
	}
	if (reply.Result == nil) == (reply.Error == nil) || canon.KindOf(body) != '{' {
		return malformed("the answer has not exactly one of result and error, an object")
	}
	limits := canon.Limits{Bytes: c.config.MaxResponse, Depth: c.config.MaxDepth, Values: c.config.MaxValues}
	if err := canon.Check(body, limits); err != nil {
		return jsonFault(err)
	}
	return nil
}
