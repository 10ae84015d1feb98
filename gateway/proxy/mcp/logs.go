package mcp

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/merkle/canon"
)

// Servers of the older era also log outside calls, on the stream of their session, to whom has set a level. Such a session of a
// client's hears that on its own stream, for as long as it has one, and what it hears is judged as a whole every now and then.

// Bounds of what one session hears at a time; the rest is dropped. logRest is the pause between two times.
const (
	maxLogs     = 20
	maxLogBytes = 32 << 10
	logRest     = time.Second
)

// logsOf is whose log messages a session hears, and what waits to be told; guarded by Hub.mu.
type logsOf struct {
	key     watchKey // its server; the zero key: it has not set a level
	on      bool     // it is among those who hear the server
	waiting [][]byte // params of messages
	bytes   int
	busy    bool // they are being told, or are to be
}

// wantLogs has a session hear its server's log messages, once the server took the level that it set.
func (h *Hub) wantLogs(c *pipeline.Call, s *session) {
	if !h.canWatch() || s == nil || c.Lent.Value != "" || c.Denial != nil || c.Reply.Error != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.init()
	s.logs.key = watchKey{
		tenant: c.Caller.Tenant(), server: c.Server, principal: c.Caller.Session(), capabilities: string(s.can),
		by: upstream.Subject{User: c.Caller.User(), Agent: c.Caller.Agent()},
	}
	h.hearLogs(s)
}

// hearLogs begins or ends a session's hearing of logs, as its stream and its level now are. h.mu is held.
func (h *Hub) hearLogs(s *session) {
	if s == nil || s.logs.key == (watchKey{}) {
		return
	}
	wants := s.stream() != nil && !h.closed
	select {
	case <-s.over:
		wants = false
	default:
	}
	if wants == s.logs.on {
		return
	}
	s.logs.on = wants
	at := h.watches[s.logs.key]
	if at == nil {
		at = newWatch(s.logs.key)
		h.watches[at.key] = at
	}
	if wants {
		at.logs = append(at.logs, s)
	} else {
		at.logs = slices.DeleteFunc(at.logs, func(have *session) bool { return have == s })
		s.logs.waiting, s.logs.bytes = nil, 0
	}
	if first := wants && len(at.logs) == 1; len(at.who) == 0 && (first || len(at.logs) == 0) {
		h.restart(at)
	}
}

// quiet says that there is nothing to be heard outside calls, nor will there be.
func quiet(err error) bool {
	fail, ok := errors.AsType[*upstream.Error](err)
	return ok && fail.Kind == upstream.Status && fail.Code == http.StatusMethodNotAllowed
}

// severities are the levels of RFC 5424, the least first, as raw JSON.
var severities = []string{`"debug"`, `"info"`, `"notice"`, `"warning"`, `"error"`, `"critical"`, `"alert"`, `"emergency"`}

// logged takes a server's log message in for the sessions that want it.
func (h *Hub) logged(at *watch, params []byte) {
	raw, _ := canon.Get(params, "level")
	level := slices.Index(severities, string(raw))
	if level < 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range at.logs {
		l := &s.logs
		if level < slices.Index(severities, s.logLevel()) || len(l.waiting) == maxLogs || l.bytes+len(params) > maxLogBytes {
			continue
		}
		l.waiting, l.bytes = append(l.waiting, bytes.Clone(params)), l.bytes+len(params)
		if !l.busy {
			l.busy = true
			go h.tellLogs(s)
		}
	}
}

// tellLogs tells a session what waits, until nothing does.
func (h *Hub) tellLogs(s *session) {
	for {
		h.mu.Lock()
		waiting, to := s.logs.waiting, s.stream()
		s.logs.waiting, s.logs.bytes = nil, 0
		if len(waiting) == 0 || to == nil {
			s.logs.busy = false
			h.mu.Unlock()
			return
		}
		server := s.logs.key.server
		h.mu.Unlock()
		for _, params := range h.Dialect.mayHear(to.key, server, waiting) {
			to.tell("notifications/message", strings.TrimSpace(string(params[1:len(params)-1])))
		}
		pause(context.Background(), logRest)
	}
}

// mayHear is what of a server's log messages an audience may be told: nothing where its caller may not set a level there any
// more, and of each message what the filters leave of it.
func (d *Dialect) mayHear(key audienceKey, server string, messages [][]byte) (out [][]byte) {
	_ = d.lookFor(key, func(e *exchange, c *pipeline.Call) {
		if !e.permitted(c, "set_log_level", server, server) {
			return
		}
		c.Server, c.Name = server, server // as of the call that set the level
		for _, params := range messages {
			left, err := d.Line.Interim(context.Background(), c, "notifications/message", params)
			if err == nil && canon.KindOf(left) == '{' {
				out = append(out, bytes.Clone(left))
			}
		}
	})
	return out
}
