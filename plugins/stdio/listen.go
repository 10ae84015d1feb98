package stdio

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/plugins/connector"
)

// What a server says outside of calls, that a list has changed or a resource was updated, is for everybody who listens and
// asked for it: it says nothing of anybody's call, and the gateway tells it to those who may see the thing. A modern server is
// asked by each listener with subscriptions/listen; an older one says what it likes, and each resource is subscribed to once.

const (
	metaSubscription = metaReserved + "subscriptionId"

	acknowledgedNote = "notifications/subscriptions/acknowledged"
	updatedNote      = "notifications/resources/updated"
	// listenPause is between two tellings of one listener: what is said again meanwhile is told once.
	listenPause = 50 * time.Millisecond
	// subscribeWithin is how long an older server may take to agree to one resource.
	subscribeWithin = 10 * time.Second
	// maxURIs is how many resources one listener may watch, and maxURI bytes of one's name.
	maxURIs = 4096
	maxURI  = 4096
)

// wishes are the members of "notifications" that ask for a notification (MCP 2026-07-28, subscriptions).
var wishes = map[string]string{
	"toolsListChanged":     "notifications/tools/list_changed",
	"promptsListChanged":   "notifications/prompts/list_changed",
	"resourcesListChanged": "notifications/resources/list_changed",
}

// ear is one who listens.
type ear struct {
	id    uint64
	lists map[string]bool // notifications that it wants
	uris  map[string]bool // resources that it watches; of an older server those that it agreed to. s.mu guards it
	holds map[string]*watched
	over  chan connector.Reply
	wake  chan struct{} // holds one

	mu    sync.Mutex // guards what follows
	notes []told     // that wait, each once
}

type told struct {
	method, uri string
	params      []byte
}

// watched is a resource that an older server was asked to tell of.
type watched struct {
	answer chan struct{} // closed when the server has answered
	ears   int           // s.mu guards it, and
	agreed bool
}

// wished reads what a listener asks for.
func wished(params []byte) (*ear, *connector.Failure) {
	e := &ear{lists: map[string]bool{}, uris: map[string]bool{}, over: make(chan connector.Reply, 1), wake: make(chan struct{}, 1)}
	notifications, _ := canon.Get(params, "notifications")
	if canon.KindOf(notifications) != '{' {
		return nil, refused("listening needs an object of notifications")
	}
	for wish, method := range wishes {
		if v, _ := canon.Get(notifications, wish); string(v) == "true" {
			e.lists[method] = true
		}
	}
	list, ok := canon.Get(notifications, "resourceSubscriptions")
	if !ok {
		return e, nil
	}
	if canon.KindOf(list) != '[' {
		return nil, refused("resourceSubscriptions is not an array")
	}
	var bad bool
	_ = canon.EachElement(list, func(i int, value []byte) error { // checked JSON: cannot fail
		uri, err := canon.Unquote(value)
		if bad = bad || err != nil || i >= maxURIs || len(uri) > maxURI; !bad {
			e.uris[uri] = true
		}
		return nil
	})
	if bad {
		return nil, refused("resourceSubscriptions has something that is no name of a resource, or too many")
	}
	return e, nil
}

// listen tells one listener what the server says on its own until ctx or the conversation ends, or the server wants no
// listeners. It takes none of the places of calls.
func (s *session) listen(ctx context.Context, r *connector.Request) (connector.Reply, *connector.Failure) {
	if r.Notify == nil {
		return connector.Reply{}, refused("nobody hears")
	}
	e, fail := wished(r.Params)
	if fail == nil {
		fail = s.join(e)
	}
	if fail != nil {
		return connector.Reply{}, fail
	}
	defer s.part(e)
	if s.modern.Load() {
		fail = s.request(ctx, e, r)
	} else {
		s.subscribe(ctx, e, r.Principal)
		fail = nil
	}
	if fail != nil {
		return connector.Reply{}, fail
	}
	return s.hearken(ctx, e, r.Notify)
}

// hearken tells what comes.
func (s *session) hearken(ctx context.Context, e *ear, notify func(string, []byte) error) (connector.Reply, *connector.Failure) {
	rest := connector.Reply{Result: []byte("{}")}
	for {
		select {
		case <-ctx.Done():
			return rest, nil
		case <-s.quit:
			return connector.Reply{}, &connector.Failure{Kind: connector.Unreachable, Detail: s.over().Error(), Sent: true}
		case reply := <-e.over:
			return reply, nil
		case <-e.wake:
		}
		for i, notes := 0, e.take(); i < len(notes); i++ {
			err := notify(notes[i].method, notes[i].params)
			if errors.Is(err, connector.ErrLater) {
				e.putBack(notes[i:])
				break
			}
			if err != nil {
				return rest, nil // it has heard as much as one call may; it is asked anew
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(listenPause):
		}
	}
}

// join notes who listens.
func (s *session) join(e *ear) *connector.Failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return &connector.Failure{Kind: connector.Unreachable, Detail: s.err.Error()}
	case len(s.ears) >= max(1, s.config.InFlight/2):
		return &connector.Failure{Kind: connector.Busy, Detail: "too many listen to this server"}
	}
	s.last++
	e.id = s.last
	s.ears[e.id] = e
	return nil
}

// part ends a listener, and what the server does for it alone.
func (s *session) part(e *ear) {
	s.mu.Lock()
	_, listening := s.ears[e.id]
	delete(s.ears, e.id)
	var free []string
	for uri, w := range e.holds {
		if w.ears--; w.ears == 0 && w.agreed {
			delete(s.subs, uri)
			free = append(free, uri)
		}
	}
	s.mu.Unlock()
	if s.modern.Load() && listening {
		s.courtesy(cancelled(e.id))
	}
	for _, uri := range free {
		s.unsubscribe(uri)
	}
}

// request asks a modern server to tell.
func (s *session) request(ctx context.Context, e *ear, r *connector.Request) *connector.Failure {
	text, fail := appendRequest(nil, e.id, &connector.Request{Method: "subscriptions/listen", Params: r.Params, Meta: r.Meta}, true)
	if fail != nil {
		return fail
	}
	if len(text)-1 > s.config.MaxMessage {
		return &connector.Failure{Kind: connector.TooLarge, Detail: "the request is longer than a message may be"}
	}
	select {
	case s.out <- &outgoing{text: text}:
	case <-s.quit:
	case <-ctx.Done():
	}
	return nil
}

// subscribe has an older server tell of each resource, once for all who watch it, and acknowledges those that it agrees to.
func (s *session) subscribe(ctx context.Context, e *ear, principal string) {
	var first []string
	s.mu.Lock()
	e.holds = map[string]*watched{}
	for uri := range e.uris {
		w := s.subs[uri]
		if w == nil {
			w = &watched{answer: make(chan struct{})}
			s.subs[uri] = w
			first = append(first, uri)
		}
		w.ears++
		e.holds[uri] = w
	}
	s.mu.Unlock()
	slices.Sort(first)
	if len(first) > 0 {
		go s.subscribeFirst(first, e.holds, principal) // whoever comes next waits for it too, also when this one has left
	}
	for _, w := range e.holds {
		select {
		case <-w.answer:
		case <-ctx.Done():
		case <-s.quit:
		}
	}
	e.put(told{method: acknowledgedNote, params: s.agreement(e)})
}

// subscribeFirst asks for resources that nobody has watched.
func (s *session) subscribeFirst(uris []string, all map[string]*watched, principal string) {
	ctx, cancel := context.WithTimeout(context.Background(), subscribeWithin)
	defer cancel()
	for _, uri := range uris {
		reply, fail := s.exchange(ctx, &connector.Request{Method: "resources/subscribe", Name: uri, Principal: principal})
		s.mu.Lock()
		w := all[uri]
		w.agreed = fail == nil && reply.Result != nil
		left := w.agreed && w.ears == 0
		if left || !w.agreed {
			delete(s.subs, uri) // the next one asks anew
		}
		close(w.answer)
		s.mu.Unlock()
		if left {
			s.unsubscribe(uri)
		}
	}
}

// agreement acknowledges what an older server agreed to, and forgets the rest.
func (s *session) agreement(e *ear) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var agreed []string
	for uri, w := range e.holds {
		if w.agreed {
			agreed = append(agreed, uri)
		} else {
			delete(e.uris, uri)
		}
	}
	slices.Sort(agreed)
	note := []byte(`{"notifications":{"resourceSubscriptions":[`)
	from := len(note)
	for _, uri := range agreed {
		note = canon.AppendString(comma(note, from), uri)
	}
	return append(note, "]}}"...)
}

// unsubscribe tells an older server that nobody watches a resource any more. Its answer is to nobody.
func (s *session) unsubscribe(uri string) {
	s.mu.Lock()
	s.last++
	id := s.last
	s.mu.Unlock()
	if text, fail := appendRequest(nil, id, &connector.Request{Method: "resources/unsubscribe", Name: uri}, false); fail == nil {
		s.courtesy(text)
	}
}

// spread hands a notification to those who listen for it.
func (s *session) spread(m *message) {
	if m.params != nil && canon.KindOf(m.params) != '{' {
		return
	}
	n := told{method: m.method, params: []byte("{}")}
	if m.params != nil {
		n.params = bytes.Clone(m.params)
	}
	if m.method == updatedNote {
		raw, _ := canon.Get(m.params, "uri")
		uri, err := canon.Unquote(raw)
		if err != nil || canon.KindOf(raw) != '"' {
			return
		}
		n.uri = uri
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.modern.Load() {
		for _, e := range s.ears {
			if e.wants(&n) {
				e.put(n)
			}
		}
		return
	}
	meta, _ := canon.Get(m.params, "_meta")
	tag, _ := canon.Get(meta, metaSubscription)
	id, ok := parseID(bytes.Trim(tag, `"`))
	if e := s.ears[id]; ok && e != nil && (e.wants(&n) || n.method == acknowledgedNote) {
		e.put(n)
	}
}

func (e *ear) wants(n *told) bool {
	if n.method == updatedNote {
		return e.uris[n.uri]
	}
	return e.lists[n.method]
}

// put has a note told, in the place of the same one that still waits. So no more wait than there are things to tell of.
func (e *ear) put(n told) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.notes = slices.DeleteFunc(e.notes, func(o told) bool { return o.method == n.method && o.uri == n.uri })
	e.notes = append(e.notes, n)
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// putBack has notes told later, but for those that came anew.
func (e *ear) putBack(notes []told) {
	e.mu.Lock()
	newer := e.notes
	e.notes = nil
	e.mu.Unlock()
	for _, n := range append(notes, newer...) {
		e.put(n)
	}
}

func (e *ear) take() []told {
	e.mu.Lock()
	defer e.mu.Unlock()
	notes := e.notes
	e.notes = nil
	return notes
}

// silenced takes a modern server's answer to a request to listen: that it does not, or will not any more.
func (s *session) silenced(m *message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.ears[m.id]
	if e == nil || !s.modern.Load() {
		return false
	}
	delete(s.ears, m.id)
	reply := connector.Reply{Result: []byte("{}")}
	if m.failure != nil {
		reply = connector.Reply{Error: bytes.Clone(m.failure)}
	}
	e.over <- reply
	return true
}
