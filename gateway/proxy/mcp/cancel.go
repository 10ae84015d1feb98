package mcp

import (
	"context"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Clients of the older era give a call up with a notification that names its id, and many keep the connection of the call
// open meanwhile (MCP 2025-11-25, cancellation). Ids are a client's own, so only calls of the very session are looked at: a
// client without one gives a call up by leaving, as every client of the newer era does.

// running is one exchange of a session that has not been answered. It is stopped under its session's lock, and by nobody once it
// is over: what stops it is the connection's, for the next exchange too.
type running struct {
	in   *session
	id   string
	stop context.CancelFunc
}

// requestKey is a raw id in a form that one id always has: "a" and "\u0061" are one.
func requestKey(id []byte) string {
	if !validID(id) || canon.KindOf(id) != '"' {
		return string(id)
	}
	s, err := canon.Unquote(id)
	if err != nil {
		return ""
	}
	return `"` + s
}

// running notes an exchange under its id, until its end. A client that uses an id twice at a time gives up the later one.
func (s *session) running(r *running, id []byte, stop context.CancelFunc) {
	*r = running{s, requestKey(id), stop}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.runs == nil {
		s.runs = map[string]*running{}
	}
	s.runs[r.id] = r
}

// end forgets an exchange that is over, if it was ever noted.
func (r *running) end() {
	if r.in == nil {
		return
	}
	r.in.mu.Lock()
	defer r.in.mu.Unlock()
	if r.in.runs[r.id] == r {
		delete(r.in.runs, r.id)
	}
}

// cancelled ends the work of the exchange that a notification names. One that nobody knows is answered already.
func (e *exchange) cancelled() {
	id, ok := canon.Get(e.params, "requestId")
	if e.session == nil || !ok {
		return
	}
	e.session.mu.Lock()
	defer e.session.mu.Unlock()
	if r := e.session.runs[requestKey(id)]; r != nil {
		r.stop()
	}
}
