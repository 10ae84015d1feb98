package mcp

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/merkle/canon"
)

// uri is a resource that is watched: as its server knows it, and as the client does.
type uri struct{ server, own, shown string }

// watcher is who watches resources: a listening client of the newer era, or the session of an older one.
type watcher struct {
	listener *listener
	session  *session
}

func (l *listener) watcher() watcher {
	if l.session != nil {
		return watcher{session: l.session}
	}
	return watcher{listener: l}
}

// hearing is the stream on which a watcher is told; nil when it has none now.
func (w watcher) hearing() *listener {
	if w.session != nil {
		return w.session.stream()
	}
	return w.listener
}

// A watch is what one principal, with the capabilities it told, has a server watch, in that principal's own session with it.
type watch struct {
	key    watchKey
	who    map[string]map[watcher]string // by the server's URI: who watches it, and the URI as they know it
	cancel context.CancelFunc            // of the listening at hand
	ready  map[string][]chan error       // of those who wait to know whether a URI is watched
	agreed map[string]bool
	logs   []*session                    // who hear its log messages
	owed   map[string]map[watcher]string // updates, of those of who that were over a rate
}

func newWatch(key watchKey) *watch {
	return &watch{key: key, who: map[string]map[watcher]string{}, ready: map[string][]chan error{}, agreed: map[string]bool{}}
}

type watchKey struct {
	tenant, server, principal, capabilities string
	by                                      upstream.Subject
}

// watchWithin is how long a server may take to agree.
const watchWithin = 10 * time.Second

// wishedURIs reads and judges params.notifications.resourceSubscriptions: what a caller may not read it may not watch.
func (e *exchange) wishedURIs(c *pipeline.Call, wishes []byte) (out []uri, err error) {
	raw, ok := canon.Get(wishes, "resourceSubscriptions")
	if !ok {
		return nil, nil
	}
	if canon.KindOf(raw) != '[' {
		return nil, deny(pipeline.Malformed, `"params.notifications.resourceSubscriptions" must be an array`)
	}
	err = canon.EachElement(raw, func(i int, value []byte) error {
		if i >= e.d.Hub.maxURIs() {
			return deny(pipeline.Malformed, "a client may watch fewer resources")
		}
		u, err := e.watchable(c, value)
		if err == nil && !slices.Contains(out, u) {
			out = append(out, u)
		}
		return err
	})
	return out, err
}

func (h *Hub) maxURIs() int { return or(h.MaxURIs, 256) }

// watchable finds a resource that the caller may read.
func (e *exchange) watchable(c *pipeline.Call, raw []byte) (u uri, err error) {
	if u.shown, err = e.textMember(raw, "uri"); err != nil {
		return u, err
	}
	u.server, u.own = e.resolveURI(c.Caller.Tenant(), u.shown)
	if !e.readable(c, u.server, u.own) {
		return u, deny(pipeline.NotFound, "no such resource for this caller").WithReason("unknown_resource")
	}
	return u, nil
}

func (e *exchange) readable(c *pipeline.Call, server, own string) bool {
	_, ok := e.d.Catalogue.Find(c.Caller.Tenant(), "resources/read", server, own)
	return ok && e.permitted(c, "read_resource", server, own)
}

// readSubscribe reads resources/subscribe and resources/unsubscribe of older clients.
func (e *exchange) readSubscribe(c *pipeline.Call) error {
	c.Action, c.Server, c.Answer = strings.TrimPrefix(e.method, "resources/"), e.server, e.answer
	if e.session == nil || e.d.Hub == nil {
		return deny(pipeline.Malformed, "watching needs a session: initialize with text/event-stream in Accept, and send Mcp-Session-Id").WithReason(noSession)
	}
	raw, _ := canon.Get(e.params, "uri")
	u, err := e.watchable(c, raw)
	if err != nil {
		return err
	}
	e.watching = []uri{u}
	return e.knownServer(c)
}

// subscribed does what was read.
func (e *exchange) subscribed(ctx context.Context, c *pipeline.Call) error {
	w := watcher{session: e.session}
	if e.method == "resources/unsubscribe" {
		e.d.Hub.unwatch(w, e.watching)
		return nil
	}
	e.session.watches(e.audience(c))
	_, err := e.d.Hub.watch(ctx, c, w, e.watching)
	return err
}

// watch has servers watch resources for somebody, each asked once for all that are its own, and returns when all have answered.
// Those that are watched then are agreed; the error says why the first of the others is not.
func (h *Hub) watch(ctx context.Context, c *pipeline.Call, w watcher, uris []uri) (agreed []uri, err error) {
	if h.Servers == nil {
		return nil, deny(pipeline.Unsupported, "resources of this gateway cannot be watched: read them again instead")
	}
	key := watchKey{tenant: c.Caller.Tenant(), principal: c.Caller.Session(), by: upstream.Subject{User: c.Caller.User(), Agent: c.Caller.Agent()}}
	if w.session != nil {
		key.capabilities = string(w.session.can)
	} else if len(w.listener.can) > len("{}") { // its calls are carried in a session of these
		key.capabilities = string(w.listener.can)
	}
	waits, err := h.add(key, w, uris)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, watchWithin)
	defer cancel()
	var refused []uri
	for i, u := range uris {
		if fail := answered(ctx, waits[i]); fail == nil {
			agreed = append(agreed, u)
		} else {
			refused = append(refused, u)
			err = cmp.Or(err, error(deny(pipeline.UpstreamRefused, "the server does not let this resource be watched").Because(fail)))
		}
	}
	h.unwatch(w, refused)
	return agreed, err
}

// answered waits for what a server says to one resource; nil is what it has said before.
func answered(ctx context.Context, said <-chan error) error {
	if said == nil {
		return nil
	}
	select {
	case err := <-said:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-said: // in time, while another was waited for
		return err
	default:
		return errors.New("it did not agree in time")
	}
}

// add notes who watches what: all, or nothing where that is too much. A resource's channel is told when the server has agreed, or
// not; nil: it has already.
func (h *Hub) add(key watchKey, w watcher, uris []uri) ([]chan error, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.init()
	if h.closed {
		return nil, deny(pipeline.UpstreamDown, "the gateway is stopping")
	}
	more := 0
	for _, u := range uris {
		key.server = u.server
		if at := h.watches[key]; at == nil || !at.has(w, u) {
			more++
		}
	}
	if more > 0 && h.watched[w]+more > h.maxURIs() {
		return nil, deny(pipeline.RateLimited, "this client watches too many resources; let go of one")
	}
	h.tickOn()
	waits, asked := make([]chan error, len(uris)), map[*watch]bool{}
	for i, u := range uris {
		key.server = u.server
		at := h.watches[key]
		if at == nil {
			at = newWatch(key)
			h.watches[key] = at
		}
		if !at.has(w, u) {
			h.watched[w]++
		}
		if at.who[u.own] == nil {
			at.who[u.own] = map[watcher]string{}
		}
		at.who[u.own][w] = u.shown
		if !at.agreed[u.own] {
			waits[i] = make(chan error, 1)
			at.ready[u.own] = append(at.ready[u.own], waits[i])
			asked[at] = true
		}
	}
	for at := range asked {
		h.restart(at)
	}
	return waits, nil
}

func (at *watch) has(w watcher, u uri) bool {
	_, ok := at.who[u.own][w]
	return ok
}

// canWatch tells whether servers can be listened to.
func (h *Hub) canWatch() bool { return h != nil && h.Servers != nil }

// restart listens for what is watched now. h.mu is held.
func (h *Hub) restart(at *watch) {
	if at.cancel != nil {
		at.cancel()
	}
	if h.closed {
		return
	}
	if len(at.who)+len(at.logs) == 0 {
		delete(h.watches, at.key)
		return
	}
	uris := []string{}
	for u := range at.who {
		uris = append(uris, u)
	}
	slices.Sort(uris)
	clear(at.agreed)
	ctx, cancel := context.WithCancel(context.Background())
	at.cancel = cancel
	go h.follow(ctx, at, uris)
}

// follow listens to a server in a principal's session until what is watched changes.
func (h *Hub) follow(ctx context.Context, at *watch, uris []string) {
	for ctx.Err() == nil {
		err := h.Servers.Listen(ctx, at.key.tenant, at.key.server, at.key.by, &upstream.Subscription{
			Principal: at.key.principal, Peer: &watching{ctx, h, at}, Resources: uris,
		})
		if h.answer(ctx, at, nil, err); len(uris) == 0 && quiet(err) {
			return
		}
		pause(ctx, again)
	}
}

// answer tells those who wait: what is agreed is, and the rest is not.
func (h *Hub) answer(ctx context.Context, at *watch, agreed []string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ctx.Err() != nil {
		return // another listening answers them
	}
	if err == nil {
		err = errors.New("it did not agree")
	}
	for _, u := range agreed {
		if at.who[u] != nil { // whatever else a server says it agrees to
			at.agreed[u] = true
		}
	}
	for u, waiting := range at.ready {
		for _, done := range waiting {
			if at.agreed[u] {
				done <- nil
			} else {
				done <- err
			}
		}
	}
	clear(at.ready)
}

// unwatch takes somebody's watching of resources back.
func (h *Hub) unwatch(w watcher, uris []uri) {
	h.mu.Lock()
	defer h.mu.Unlock()
	of := map[string]map[string]bool{} // by server
	for _, u := range uris {
		if of[u.server] == nil {
			of[u.server] = map[string]bool{}
		}
		of[u.server][u.own] = true
	}
	for _, at := range h.watches {
		if these := of[at.key.server]; these != nil {
			h.forget(at, func(own string, who watcher) bool { return who == w && these[own] })
		}
	}
}

// unwatchAll takes back all that somebody watches. h.mu is held.
func (h *Hub) unwatchAll(w watcher) {
	if w.session != nil {
		return // an older client watches for as long as its session lasts, whether it listens or not
	}
	for _, at := range h.watches {
		h.forget(at, func(_ string, who watcher) bool { return who == w })
	}
}

// ended is called when a session has ended.
func (h *Hub) ended(s *session) {
	if h == nil {
		return
	}
	h.mu.Lock()
	h.unwatchSession(s)
	h.hearLogs(s)
	h.mu.Unlock()
	if l := s.stream(); l != nil {
		l.end()
	}
}

// unwatchSession takes back all that is watched for a session. h.mu is held.
func (h *Hub) unwatchSession(s *session) {
	for _, at := range h.watches {
		h.forget(at, func(_ string, who watcher) bool { return who.session == s })
	}
}

// drop forgets a listener that never joined.
func (h *Hub) drop(l *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unwatchAll(l.watcher())
}

// forget takes out of a watch who is meant. h.mu is held.
func (h *Hub) forget(at *watch, meant func(own string, w watcher) bool) {
	gone := false
	for own, who := range at.who {
		for w := range who {
			if meant(own, w) {
				delete(who, w)
				if h.watched[w]--; h.watched[w] == 0 {
					delete(h.watched, w)
				}
			}
		}
		if len(who) == 0 {
			delete(at.who, own)
			gone = true
		}
	}
	if gone {
		h.restart(at)
	}
}

// watching hears a server for those who watch its resources.
type watching struct {
	ctx context.Context //nolint:containedctx // of the listening
	hub *Hub
	at  *watch
}

// Capabilities are those of the principal's session.
func (w *watching) Capabilities() []byte {
	if w.at.key.capabilities == "" {
		return nil
	}
	return []byte(w.at.key.capabilities)
}

// Answer answers no question: what a server asks outside a call belongs to nobody's call.
func (*watching) Answer(context.Context, string, []byte) (result, failure []byte) {
	return nil, []byte(`{"code":-32603,"message":"the gateway hands on only what is asked in the course of a call"}`)
}

// Notify hears that a resource was updated, or what the server agreed to.
func (w *watching) Notify(method string, params []byte) error {
	switch method {
	case "notifications/subscriptions/acknowledged":
		notes, _ := canon.Get(params, "notifications")
		list, _ := canon.Get(notes, "resourceSubscriptions")
		var agreed []string
		if canon.KindOf(list) == '[' {
			_ = canon.EachElement(list, func(_ int, value []byte) error {
				if u, err := canon.Unquote(value); err == nil {
					agreed = append(agreed, u)
				}
				return nil
			})
		}
		w.hub.answer(w.ctx, w.at, agreed, nil)
	case "notifications/message":
		w.hub.logged(w.at, params)
	case "notifications/resources/updated":
		raw, _ := canon.Get(params, "uri")
		if own, err := canon.Unquote(raw); err == nil && canon.KindOf(raw) == '"' {
			w.hub.updated(w.at, own)
		}
	}
	return nil
}

// updated tells those who watch a resource.
func (h *Hub) updated(at *watch, own string) {
	h.mu.Lock()
	who := maps.Clone(at.who[own])
	h.mu.Unlock()
	h.tellUpdated(at, own, who)
}

// tellUpdated tells of these watchers those who may still read a resource. Who may not even listen is cut off, so that what a server
// says next is not judged, refused and recorded again and again. Who is over a rate is told once it is not.
func (h *Hub) tellUpdated(at *watch, own string, who map[watcher]string) {
	type look struct{ may, cut, later bool }
	looks := map[audienceKey]look{}
	for w, shown := range who {
		l := w.hearing()
		if l == nil {
			continue
		}
		found, known := looks[l.key]
		if !known {
			denial := h.Dialect.lookFor(l.key, func(e *exchange, c *pipeline.Call) { found.may = e.readable(c, at.key.server, own) })
			found.later = denial != nil && denial.Code == pipeline.RateLimited
			found.cut = denial != nil && !found.later
			looks[l.key] = found
		}
		switch {
		case found.later:
			h.owe(at, own, w, shown)
		case found.cut:
			l.end()
		case found.may:
			l.tell("notifications/resources/updated", `"uri":`+string(canon.AppendString(nil, shown)))
		}
	}
}

// owe has a watcher told of an update in a while, however many more there are until then.
func (h *Hub) owe(at *watch, own string, w watcher, shown string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at.owed == nil {
		at.owed = map[string]map[watcher]string{}
		time.AfterFunc(rest, func() { h.payOwed(at) })
	}
	if at.owed[own] == nil {
		at.owed[own] = map[watcher]string{}
	}
	at.owed[own][w] = shown
}

// payOwed tells what is owed to those who still watch.
func (h *Hub) payOwed(at *watch) {
	h.mu.Lock()
	owed := at.owed
	at.owed = nil
	for own, who := range owed {
		maps.DeleteFunc(who, func(w watcher, _ string) bool { _, still := at.who[own][w]; return !still || h.closed })
	}
	h.mu.Unlock()
	for own, who := range owed {
		h.tellUpdated(at, own, who)
	}
}
