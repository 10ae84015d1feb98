package upstream

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
)

// legacyVersions are the versions with initialize that are understood. The
// methods used here read the same in all of them.
var legacyVersions = [...]string{legacyVersion, headerVersion, "2025-03-26", "2024-11-05"}

// session is one principal's state with one upstream of the older era. The
// modern era has none; modernSession stands for that.
type session struct {
	modern  bool
	id      string // "" when the upstream gives none
	version string
	ready   chan struct{} // closed when fail, id and version are final
	fail    *Error
	used    time.Time // guarded by sessions.mu
}

var modernSession = session{modern: true}

// sessions are those of one upstream. They are never shared between principals:
// an upstream may keep a principal's state in them.
type sessions struct {
	max int

	mu          sync.Mutex // guards what follows
	byPrincipal map[string]*session
}

// get returns the principal's session; first tells the caller to initialize it.
func (s *sessions) get(principal string, now time.Time, idle time.Duration) (_ *session, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.byPrincipal[principal]; have != nil && now.Sub(have.used) <= idle {
		have.used = now
		return have, false
	}
	if len(s.byPrincipal) >= s.max {
		s.evict()
	}
	made := &session{ready: make(chan struct{}), used: now}
	s.byPrincipal[principal] = made
	return made, true
}

// evict drops the least recently used session. It looks at all of them, which
// is cheap beside the initialize that follows.
func (s *sessions) evict() {
	var oldest string
	var at time.Time
	for principal, have := range s.byPrincipal {
		if oldest == "" || have.used.Before(at) {
			oldest, at = principal, have.used
		}
	}
	delete(s.byPrincipal, oldest)
}

// drop forgets a session, unless another has taken its place.
func (s *sessions) drop(principal string, gone *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byPrincipal[principal] == gone {
		delete(s.byPrincipal, principal)
	}
}

func (s *sessions) expire(now time.Time, idle time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for principal, have := range s.byPrincipal {
		if now.Sub(have.used) > idle {
			delete(s.byPrincipal, principal)
		}
	}
}

func (s *sessions) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byPrincipal)
}

// session returns the principal's session, initialized. Calls that come while
// another initializes wait for it, and share its failure.
func (c *Client) session(ctx context.Context, p *peer, t *Target, principal string) (*session, *Error) {
	for {
		s, first := p.sessions.get(principal, c.now(), c.config.SessionIdle)
		if first {
			s.fail = c.initialize(ctx, p, t, principal, s)
			if s.fail != nil {
				s.fail.Sent = false // the caller's request was not
				p.sessions.drop(principal, s)
			}
			close(s.ready)
			return s, s.copyFail()
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			return nil, canceled(ctx)
		}
		// Whoever initialized may have left; that says nothing to the others.
		if s.fail == nil || s.fail.Kind != Canceled {
			return s, s.copyFail()
		}
	}
}

// copyFail returns the failure as the caller's own, who will fill it in.
func (s *session) copyFail() *Error {
	if s.fail == nil {
		return nil
	}
	e := *s.fail
	return &e
}

// initialize does the handshake of the older era.
func (c *Client) initialize(ctx context.Context, p *peer, t *Target, principal string, s *session) *Error {
	var reply Reply
	r := &Request{Method: "initialize", Params: []byte(initializeParams), Principal: principal}
	if fail := c.exchange(ctx, p, t, r, s, &reply); fail != nil {
		return fail
	}
	if reply.Result == nil {
		return malformed("the upstream refused to initialize")
	}
	raw, _ := canon.Get(reply.Result, "protocolVersion")
	for _, v := range legacyVersions {
		if string(raw) == `"`+v+`"` {
			s.version = v
		}
	}
	if s.version == "" {
		return malformed("the upstream speaks no protocol version known here")
	}
	return c.exchange(ctx, p, t, &Request{Method: "notifications/initialized", Principal: principal}, s, nil)
}

// maxSessionID bounds what an upstream may have us repeat on every request.
const maxSessionID = 512

// accept takes the session id that came with the answer to initialize.
func (s *session) accept(id []byte) *Error {
	if len(id) > maxSessionID {
		return malformed("the session id is too long")
	}
	for _, b := range id {
		if b < 0x21 || b > 0x7e {
			return malformed("the session id is not visible ASCII")
		}
	}
	s.id = string(id)
	return nil
}

// offers reports whether the array member of an object holds the string.
func offers(object []byte, member, want string) bool {
	array, ok := canon.Get(object, member)
	if !ok || canon.KindOf(array) != '[' {
		return false
	}
	found := false
	_ = canon.EachElement(array, func(_ int, value []byte) error { // checked JSON: cannot fail
		found = found || len(value) == len(want)+2 && bytes.Equal(value[1:len(value)-1], []byte(want))
		return nil
	})
	return found
}
