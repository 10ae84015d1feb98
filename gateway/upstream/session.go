package upstream

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
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
	who     who
	id      string // "" when the upstream gives none
	version string
	ready   chan struct{} // closed when fail, id and version are final
	fail    *Error
	began   time.Time // final with the others, and so is
	// declares is what the server declares, raw, where the gateway itself asks; nil: it is not known.
	declares []byte
	wire     *wire     // of a session over HTTP+SSE, else nil; final with the others
	used     time.Time // guarded by sessions.mu
	// busy counts the exchanges and streams that run in it: it is not ended under them for want of use.
	busy atomic.Int32
	// listened counts who listens to it for good; beside is its stream while only calls do.
	listened atomic.Int32
	beside   beside

	watching sync.Mutex      // held while resources are subscribed to, and guards
	watched  map[string]bool // those that are
}

var modernSession = session{modern: true}

// sessions are those of one upstream. They are never shared between principals,
// nor between what one principal says it can do: an upstream may keep a
// principal's state in them, and asks what it was told can be answered.
type sessions struct {
	max int

	mu  sync.Mutex // guards what follows
	all map[who]*session
}

// maxWays bounds the sessions of one principal, so that one that says something
// else about itself in each request cannot drive out the others'.
const maxWays = 8

// get returns the principal's session; first tells the caller to initialize it,
// and gone is the one that had to make room.
func (s *sessions) get(w who, now time.Time, idle time.Duration) (_ *session, first bool, gone *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.all[w]
	if have != nil && (now.Sub(have.used) <= idle || have.busy.Load() > 0) {
		have.used = now
		return have, false, nil
	}
	switch gone = have; {
	case have != nil:
	case s.count(w.principal) >= maxWays:
		gone = s.evict(w.principal)
	case len(s.all) >= s.max:
		gone = s.evict("")
	}
	made := &session{who: w, ready: make(chan struct{}), used: now}
	s.all[w] = made
	return made, true, gone
}

// count and evict look at all sessions, which is cheap beside the initialize
// that follows.
func (s *sessions) count(principal string) (n int) {
	for w := range s.all {
		if w.principal == principal {
			n++
		}
	}
	return n
}

// evict drops the least recently used session, of one principal if it is named.
func (s *sessions) evict(principal string) *session {
	var oldest *session
	for w, have := range s.all {
		if (principal == "" || w.principal == principal) && (oldest == nil || have.used.Before(oldest.used)) {
			oldest = have
		}
	}
	if oldest != nil {
		delete(s.all, oldest.who)
	}
	return oldest
}

// drop forgets a session, unless another has taken its place.
func (s *sessions) drop(gone *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[gone.who] == gone {
		delete(s.all, gone.who)
	}
}

// expire drops and returns the sessions nobody used for so long; all of them
// when final.
func (s *sessions) expire(now time.Time, idle time.Duration, final bool) (gone []*session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w, have := range s.all {
		if final || now.Sub(have.used) > idle && have.busy.Load() == 0 {
			delete(s.all, w)
			gone = append(gone, have)
		}
	}
	return gone
}

func (s *sessions) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// session returns the principal's session, initialized. Calls that come while
// another initializes wait for it, and share its failure.
func (c *Client) session(ctx context.Context, p *peer, t *Target, w who, kind era) (*session, *Error) {
	for {
		s, first, gone := p.sessions.get(w, c.now(), c.config.SessionIdle)
		if gone != nil {
			c.part(p, gone)
		}
		if first {
			s.fail = c.begin(ctx, p, t, s, kind)
			if s.fail != nil {
				s.fail.Sent = false // the caller's request was not
				p.sessions.drop(s)
			}
			close(s.ready)
			return s, s.copyFail()
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			return nil, canceled(ctx)
		}
		if s.fail == nil && s.wire != nil && s.wire.dead() {
			p.sessions.drop(s)
			continue
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

// begin opens what the session needs and initializes it.
func (c *Client) begin(ctx context.Context, p *peer, t *Target, s *session, kind era) *Error {
	if kind == wiredEra {
		var fail *Error
		if s.wire, fail = c.openWire(ctx, p, t, s); fail != nil {
			return fail
		}
	}
	fail := c.initialize(ctx, p, t, s)
	if fail != nil && s.wire != nil {
		s.wire.close()
	}
	return fail
}

// initialize does the handshake of the older era.
func (c *Client) initialize(ctx context.Context, p *peer, t *Target, s *session) *Error {
	var reply Reply
	r := &Request{Method: "initialize", Params: initializeParams(s.who.capabilities), Principal: s.who.principal}
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
	if s.began = c.now(); s.who.principal == lister {
		s.declares = declared(reply.Result)
	}
	if s.version == "" {
		return malformed("the upstream speaks no protocol version known here")
	}
	return c.exchange(ctx, p, t, &Request{Method: "notifications/initialized", Principal: s.who.principal}, s, nil)
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
