package mcp

import (
	"bytes"
	"container/list"
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/canon"
)

// Sessions are those of clients of the older era that read streams (MCP 2025-11-25, transports). A session is what such a
// client said it can be asked, and the questions that it was asked and has not answered. Its id is no credential: it is good
// for the caller who opened it, by the same key, on the path it was opened on, and it ends when it was not used for a while,
// with the gateway, after its life, when the key that its id is sealed under ends, or when its client or an admin says so. A nil
// Sessions opens none.
type Sessions struct {
	Seals  pipeline.Sealer // seals the ids; nil: they are random and nothing else
	Idle   time.Duration   // unused for so long a session ends; 30 minutes when 0
	Life   time.Duration   // used or not; 24 hours when 0
	Most   int             // open at a time; 10,000 when 0. The one that was not used for longest makes room
	MostOf int             // of one caller; 100 when 0
	Hub    *Hub            // told of sessions that have ended; nil: nobody is

	mu    sync.Mutex // guards what follows
	open  map[string]*session
	order list.List // of *session, the least recently used first
	of    map[string]int
}

type session struct {
	id, who, route string
	can            []byte // capabilities of the client that are carried
	tenant, caller string // whose it is; who is both
	agent, key     string // who opened it, for lists
	begun, used    time.Time
	over           chan struct{} // closed when it has ended
	place          *list.Element
	logs           logsOf

	mu      sync.Mutex // guards what follows
	asked   map[string]chan reply
	last    uint64
	level   string              // of logging, raw JSON; "" when the client did not say
	hearer  *listener           // its GET stream; nil when there is none
	watcher *audienceKey        // whom it is looked at as, once resources are watched for it; nil before
	runs    map[string]*running // by raw id; as many as there are requests of the session on their way
}

// listens makes l the session's stream. One that it had before ends: a client that comes again may have lost it.
func (s *session) listens(l *listener) {
	s.mu.Lock()
	before := s.hearer
	s.hearer = l
	s.mu.Unlock()
	if before != nil {
		before.end()
	}
}

// deaf forgets a stream that has ended.
func (s *session) deaf(l *listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hearer == l {
		s.hearer = nil
	}
}

// stream is the session's; nil when it has none.
func (s *session) stream() *listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hearer
}

func (s *session) setLevel(level string) {
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.level = level
	}
}

func (s *session) logLevel() string {
	if s == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.level
}

// reply is what a client answers to a question: one of them is set.
type reply struct{ result, failure []byte }

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func whose(c *pipeline.Call) string { return c.Caller.Tenant() + "\n" + c.Caller.Session() }

// begin opens a session of the caller on the call's path.
func (k *Sessions) begin(c *pipeline.Call, path string, can []byte) *session {
	if k == nil {
		return nil
	}
	var random [24]byte
	_, _ = rand.Read(random[:]) // never fails (Go 1.24)
	id, err := k.seal(c, path, random[:])
	if err != nil {
		return nil // the client is answered, and asked nothing
	}
	s := &session{
		id: id, who: whose(c), route: path, can: bytes.Clone(can), begun: c.Started, used: c.Started, asked: map[string]chan reply{},
		tenant: c.Caller.Tenant(), caller: c.Caller.Session(), agent: c.Caller.Agent(), key: c.Caller.KeyID(), over: make(chan struct{}),
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.open == nil {
		k.open, k.of = map[string]*session{}, map[string]int{}
	}
	for e := k.order.Front(); e != nil; e = k.order.Front() {
		old := e.Value.(*session)
		full := len(k.open) >= or(k.Most, 10_000)
		switch ended := k.ended(old, c.Started); {
		case ended || full:
			k.drop(old)
			continue
		case old.stream() != nil && c.Started.Sub(old.used) > or(k.Idle, 30*time.Minute):
			old.used = c.Started // whoever listens uses it
			k.order.MoveToBack(e)
			continue
		}
		break
	}
	for e := k.order.Front(); e != nil && k.of[s.who] >= or(k.MostOf, 100); {
		old := e.Value.(*session)
		if e = e.Next(); old.who == s.who {
			k.drop(old)
		}
	}
	s.place = k.order.PushBack(s)
	k.open[s.id] = s
	k.of[s.who]++
	return s
}

// find returns a session that is the caller's own, on this path, and notes that it is used.
func (k *Sessions) find(c *pipeline.Call, path, id string) *session {
	if k == nil || !k.lives(c, id) {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.open[id]
	if s == nil || s.tenant != c.Caller.Tenant() || s.caller != c.Caller.Session() || s.route != path {
		return nil
	}
	if k.ended(s, c.Started) {
		k.drop(s)
		return nil
	}
	s.used = c.Started
	k.order.MoveToBack(s.place)
	return s
}

// end forgets a session.
func (k *Sessions) end(s *session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.open[s.id] == s {
		k.drop(s)
	}
}

// drop forgets a session. k.mu is held.
func (k *Sessions) drop(s *session) {
	k.order.Remove(s.place)
	close(s.over)
	delete(k.open, s.id)
	if k.of[s.who]--; k.of[s.who] == 0 {
		delete(k.of, s.who)
	}
	k.Hub.ended(s)
}

// ask takes an id for a question. What is answered comes on the channel, once.
func (s *session) ask() (id string, answer <-chan reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	ch := make(chan reply, 1)
	id = fmt.Sprintf("gatewright-%d", s.last)
	s.asked[id] = ch
	return id, ch
}

// forget ends a question, answered or not.
func (s *session) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.asked, id)
}

// take hands an answer to whoever asked; false when nobody did, or it was answered before.
func (s *session) take(id string, r reply) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ch, ok := s.asked[id]
	if ok {
		delete(s.asked, id)
		ch <- r
	}
	return ok
}

// inSession finds the session that an older client names.
func (e *exchange) inSession(c *pipeline.Call) error {
	id := e.x.Head.Session
	if id == nil {
		return nil
	}
	if e.session = e.d.Sessions.find(c, e.x.Path, string(id)); e.session == nil {
		return deny(pipeline.NotFound, "no such session: it has ended, or it is another caller's or another path's; initialize anew").WithReason(noSession)
	}
	e.session.again(e, c)
	return nil
}

const noSession = "no_session"

// leave reads DELETE, with which a client ends its session.
func (e *exchange) leave(c *pipeline.Call) error {
	c.Op, c.Action, c.Server, c.Answer = "DELETE", "notify", e.server, e.answer
	e.method = c.Op
	if err := e.inSession(c); err != nil {
		return err
	}
	if e.session == nil {
		return deny(pipeline.Malformed, "Mcp-Session-Id is missing: DELETE ends a session")
	}
	return e.knownServer(c)
}

// respond reads a client's answer to a question that it was asked.
func (e *exchange) respond(c *pipeline.Call) error {
	c.Op, c.Action, c.Server, c.Answer = "response", "respond", e.server, e.answer
	e.method = c.Op
	if e.session == nil {
		return deny(pipeline.Malformed, "nothing was asked of this client, so there is nothing to answer")
	}
	return e.knownServer(c)
}

// answered hands the client's answer on.
func (e *exchange) answered() error {
	id, err := canon.Unquote(e.responseTo)
	if canon.KindOf(e.responseTo) != '"' || err != nil || !e.session.take(id, reply{bytes.Clone(e.result), bytes.Clone(e.failure)}) {
		return deny(pipeline.Malformed, "this session was not asked under that id, or it has answered already")
	}
	return nil
}

// Answer asks the client on the stream of its call, in its session, and waits. The question passes the filters as what a server
// says does, and the answer as what a client says.
func (h hearer) Answer(ctx context.Context, method string, params []byte) (result, failure []byte) {
	e := h.e
	if e.session == nil {
		return nil, []byte(`{"code":-32601,"message":"Method not found"}`)
	}
	id, answer, err := h.question(method, params)
	if err != nil {
		return nil, []byte(`{"code":-32603,"message":"the gateway does not hand this question on"}`)
	}
	defer e.session.forget(id)
	var r reply
	select {
	case r = <-answer:
	case <-e.session.over:
		return nil, []byte(`{"code":-32603,"message":"the session has ended"}`)
	case <-ctx.Done():
		return nil, []byte(`{"code":-32603,"message":"nobody answered in time"}`)
	}
	e.talk.Lock()
	defer e.talk.Unlock()
	said := r.result
	if said == nil {
		said = r.failure
	}
	if canon.KindOf(said) != '{' || e.d.Line.Input(e.ctx, &e.call, said) != nil {
		return nil, []byte(`{"code":-32603,"message":"the gateway does not hand the answer on"}`)
	}
	e.call.Said(method, said)
	return r.result, r.failure
}

// question sends a question to the client.
func (h hearer) question(method string, params []byte) (id string, answer <-chan reply, err error) {
	e := h.e
	e.talk.Lock()
	defer e.talk.Unlock()
	if params != nil {
		if params, err = e.d.Line.Interim(e.ctx, &e.call, method, params); err != nil {
			return "", nil, err
		}
	}
	if err := e.openStream(); err != nil {
		return "", nil, err
	}
	id, answer = e.session.ask()
	b := append(e.out[:0], `{"jsonrpc":"2.0","id":"`+id+`","method":"`+method+`"`...)
	if params = e.relatedTo(params); params != nil {
		b = append(append(b, `,"params":`...), params...)
	}
	e.out = append(b, '}')
	if err := e.stream.Event("", e.out); err != nil {
		e.session.forget(id)
		return "", nil, err
	}
	return id, answer, nil
}
