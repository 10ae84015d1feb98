package mcp

import (
	"net/http"

	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/merkle/canon"
)

// hearer is an exchange as the server behind it speaks to it before its answer: progress and logs, which make the answer a
// stream, and the questions of servers to clients of the older era. What modern clients can be asked stands in Call.Can.
type hearer struct{ e *exchange }

var _ upstream.Peer = hearer{}

// Capabilities is what an older client said that it can be asked; nothing of one without a session.
func (h hearer) Capabilities() []byte {
	if h.e.session == nil {
		return nil
	}
	return h.e.session.can
}

// Notify hands on what the filters let pass; what they refuse, and what a call has nothing to do with, is dropped.
func (h hearer) Notify(method string, params []byte) error {
	if method == "notifications/tasks/status" {
		return h.taskStatus(params)
	}
	if method != "notifications/progress" && method != "notifications/message" || params == nil {
		return nil
	}
	e := h.e
	e.talk.Lock()
	defer e.talk.Unlock()
	token, _ := canon.Get(params, "progressToken") // the client's own, and no filter's to read: it looks like a secret to some
	params, err := e.d.Line.Interim(e.ctx, &e.call, method, without(params, "progressToken"))
	if err != nil || canon.KindOf(params) != '{' {
		return nil //nolint:nilerr // the result is judged for itself
	}
	if e.openStream() != nil {
		return nil // the answer comes in one piece
	}
	b := append(e.out[:0], `{"jsonrpc":"2.0","method":"`+method+`","params":{`...)
	start := len(b)
	if token != nil {
		b = append(append(b, `"progressToken":`...), token...)
	}
	b = appendMembers(b, start, params, func(key string) bool { return key != "progressToken" })
	e.out = append(b, "}}"...)
	return e.stream.Event("", e.out)
}

// without is a checked object without one of its members.
func without(object []byte, member string) []byte {
	if _, has := canon.Get(object, member); !has {
		return object
	}
	return append(appendMembers([]byte{'{'}, 1, object, func(key string) bool { return key != member }), '}')
}

// openStream makes the answer a stream, once.
func (e *exchange) openStream() error {
	if e.stream.Opened() {
		return nil
	}
	e.x.SetStatusCode(http.StatusOK)
	return e.stream.Open(e.call.Caller.Session())
}

// heard has the call hear its server, when its client reads streams.
func (e *exchange) heard() {
	if e.x.MayStream() {
		e.call.Peer = hearer{e}
	}
}

// deliver ends the exchange with a JSON-RPC message: as the last event of its stream, or as the whole answer.
func (e *exchange) deliver(status int, message []byte) {
	if e.stream.Opened() {
		_ = e.stream.Event("", message) // a client that has left misses it
		return
	}
	e.out = e.x.JSONSwap(status, message)
}

// setLevel reads logging/setLevel of older clients, for the one server of a path. A server of 2026-07-28 has no such method and
// is told the level with each call of the session.
func (e *exchange) setLevel() error {
	level, _ := canon.Get(e.params, "level")
	if !isLogLevel(level) {
		return deny("malformed", `"params.level" must be a level of RFC 5424, as "info"`)
	}
	e.heard() // in the session that calls are made in
	c := &e.call
	c.Action, c.Server, c.Name = "set_log_level", e.server, e.server
	c.Args = append(append([]byte(`{"level":`), level...), '}')
	if err := e.carry(c, false); err != nil {
		return err
	}
	e.session.setLevel(string(level))
	return e.knownServer(c)
}
