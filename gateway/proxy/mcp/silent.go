package mcp

import (
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
)

// A client of the older era has resources watched for its session, and need not listen for them to be: its stream may come later, or
// come again. Nobody would notice on such a stream that the client may not listen any more, or that its session has ended, so
// sessions are looked at whenever audiences are.

// watches notes that resources are watched for a session, and as whom its caller is looked at meanwhile.
func (s *session) watches(key audienceKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watcher = &key
}

// again keeps whom a session that has resources watched is looked at as: a caller's token may have been renewed. It costs other
// sessions nothing.
func (s *session) again(e *exchange, c *pipeline.Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.watcher; k != nil && (k.credential != string(c.Credential) || k.certificate != c.Certificate || k.remote != c.Remote || k.tls != c.TLS) {
		key := e.audience(c)
		s.watcher = &key
	}
}

func (s *session) watchesAs() (audienceKey, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watcher == nil {
		return audienceKey{}, false
	}
	return *s.watcher, true
}

// silent are the sessions of changed tenants that have resources watched and do not listen, by whom they are looked at as. Those
// that listen are looked at with their audience. h.mu is held.
func (h *Hub) silent() map[audienceKey][]*session {
	out := map[audienceKey][]*session{}
	for w := range h.watched {
		if w.session == nil || !h.changed[w.session.tenant] || w.session.stream() != nil {
			continue
		}
		if key, ok := w.session.watchesAs(); ok {
			out[key] = append(out[key], w.session)
		}
	}
	return out
}

// lookAtSilent has nothing watched any more for sessions that have ended, or whose caller may not listen.
func (h *Hub) lookAtSilent(key audienceKey, all []*session) {
	denial := h.Dialect.lookFor(key, func(_ *exchange, c *pipeline.Call) { h.endOver(c, all) })
	if denial == nil || denial.Code == pipeline.RateLimited {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range all {
		h.unwatchSession(s)
	}
}

// endOver ends those of a caller's sessions whose time is over, or whose ids are sealed under a key that has ended.
func (h *Hub) endOver(c *pipeline.Call, all []*session) {
	for _, s := range all {
		h.Dialect.Sessions.endIfOver(c, s)
	}
}

// endIfOver ends a session whose time is over, or whose id is sealed under a key that has ended. It is not used by that.
func (k *Sessions) endIfOver(c *pipeline.Call, s *session) {
	if k == nil {
		return
	}
	lives := k.lives(c, s.id)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.open[s.id] == s && (!lives || k.ended(s, c.Started)) {
		k.drop(s)
	}
}

// tickOn has everybody looked at every now and then, for as long as there is somebody. h.mu is held.
func (h *Hub) tickOn() {
	if !h.ticking {
		h.ticking = true
		time.AfterFunc(or(h.Every, 30*time.Second), h.tick)
	}
}
