package mcp

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle"
)

// Hub tells clients that listen what has changed: the lists that they are shown, and resources that they watch. Who listens with
// one credential at one path is one audience, however many its streams are. An audience is looked at through the line whenever
// something may have changed for its tenant, and every now and then: whoever may not listen any more is cut off, and a
// change is told only to those whose own lists differ. A nil Hub lets nobody listen.
type Hub struct {
	Dialect *Dialect
	Servers Servers       // nil: servers are not listened to, and what changes is seen with the next listing
	Every   time.Duration // between looks at everybody; 30 s when 0
	MaxURIs int           // that one client may watch; 256 when 0

	mu        sync.Mutex // guards what follows
	audiences map[audienceKey]*audience
	changed   map[string]bool // tenants
	said      said            // what servers of them said since the last look
	looking   bool
	ticking   bool
	ears      map[earKey]*ear
	watches   map[watchKey]*watch
	watched   map[watcher]int // how many resources somebody watches
	closed    bool
}

// audienceKey tells audiences apart.
type audienceKey struct {
	credential  string
	certificate *x509.Certificate
	remote      netip.Addr
	tls         bool
	path        string // of the request
	server      string // "" is all
}

type audience struct {
	key    audienceKey
	tenant string
	shown  digests // what its lists were when it was last looked at
	all    map[*listener]struct{}
	ears   []earKey
	owed   said // what it was not told of because its caller was over a rate; only who looks has it
}

// digests are those of the lists of changes, in their order.
type digests [len(changes)]merkle.Hash

// view is what a caller is shown: the digests of all, and of which servers there is something.
type view struct {
	lists digests
	of    map[earKey]*[len(changes)]bool
}

// said is which of its lists a server says have changed.
type said map[earKey]*[len(changes)]bool

func (s said) mark(k earKey, i int) {
	if s[k] == nil {
		s[k] = new([len(changes)]bool)
	}
	s[k][i] = true
}

type change struct {
	wish, told string
	lists      []string
}

// changes are the lists whose changes are told, as a client wishes for them and as it is told of them (MCP 2026-07-28,
// subscriptions).
var changes = [...]change{
	{"toolsListChanged", "notifications/tools/list_changed", []string{"tools/list"}},
	{"promptsListChanged", "notifications/prompts/list_changed", []string{catalogue.ListPrompts}},
	{"resourcesListChanged", "notifications/resources/list_changed", []string{catalogue.ListResources, catalogue.ListTemplates}},
}

func (h *Hub) init() {
	if h.audiences == nil {
		h.audiences, h.changed, h.said = map[audienceKey]*audience{}, map[string]bool{}, said{}
		h.ears, h.watches, h.watched = map[earKey]*ear{}, map[watchKey]*watch{}, map[watcher]int{}
	}
}

// Close ends all listening to servers, for good. Clients are left to the data port.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.init()
	h.closed = true
	for _, e := range h.ears {
		e.cancel()
	}
	for _, at := range h.watches {
		at.cancel()
	}
}

// join adds a listener, whose lists are now what they are shown to be.
func (h *Hub) join(l *listener, shown digests) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.init()
	a := h.audiences[l.key]
	if a == nil {
		a = &audience{key: l.key, tenant: l.tenant, shown: shown, all: map[*listener]struct{}{}}
		h.audiences[l.key] = a
	}
	a.all[l] = struct{}{}
	h.hearLogs(l.session)
	h.hearAll(a)
	if a.shown != shown { // the others of it have not been told yet
		h.kick(a.tenant)
	}
	h.tickOn()
}

// leave takes a listener out; it is called when its stream has ended.
func (h *Hub) leave(l *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unwatchAll(l.watcher())
	if l.session != nil {
		l.session.deaf(l)
		h.hearLogs(l.session)
	}
	a := h.audiences[l.key]
	if a == nil {
		return
	}
	delete(a.all, l)
	if len(a.all) == 0 {
		delete(h.audiences, l.key)
		h.deafen(a.ears)
	}
}

// tick looks at everybody, for as long as somebody listens.
func (h *Hub) tick() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ticking = false
	if h.closed {
		return
	}
	for _, a := range h.audiences {
		h.kick(a.tenant)
	}
	for w := range h.watched {
		if w.session != nil {
			h.kick(w.session.tenant)
		}
	}
	if len(h.audiences) > 0 || len(h.watched) > 0 {
		h.tickOn()
	}
}

// Changed is to be called when something has changed that a tenant's callers may be shown: its servers and what they offer,
// its policies, its people.
func (h *Hub) Changed(tenant string) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.audiences) > 0 || len(h.watched) > 0 {
		h.kick(tenant)
	}
}

// kick has a tenant's audiences looked at, by one goroutine for all tenants. h.mu is held.
func (h *Hub) kick(tenant string) {
	h.changed[tenant] = true
	if !h.looking {
		h.looking = true
		go h.look()
	}
}

// settle is how long what changes together is waited for.
const settle = 50 * time.Millisecond

func (h *Hub) look() {
	for {
		time.Sleep(settle)
		h.mu.Lock()
		if len(h.changed) == 0 {
			h.looking = false
			h.mu.Unlock()
			return
		}
		var due []*audience
		for _, a := range h.audiences {
			if h.changed[a.tenant] {
				due = append(due, a)
			}
		}
		silent := h.silent()
		clear(h.changed)
		heard := h.said
		h.said = said{}
		h.mu.Unlock()
		for _, a := range due {
			h.lookAt(a, heard)
		}
		for key, all := range silent {
			h.lookAtSilent(key, all)
		}
	}
}

// lookAt tells an audience what has changed for it, or cuts it off. What a server itself says has changed is told to those who are
// shown something of it.
func (h *Hub) lookAt(a *audience, heard said) {
	heard = a.hears(heard)
	var now view
	denial := h.Dialect.lookFor(a.key, func(e *exchange, c *pipeline.Call) {
		now = e.view(c)
		h.endOver(c, h.sessionsOf(a))
	})
	if denial != nil && denial.Code == pipeline.RateLimited {
		a.owed = heard
		return // the next look will do
	}
	h.mu.Lock()
	before := a.shown
	if denial == nil {
		a.shown = now.lists
		if h.audiences[a.key] == a {
			h.hearAll(a)
		}
	}
	all := make([]*listener, 0, len(a.all))
	for l := range a.all {
		all = append(all, l)
	}
	h.mu.Unlock()
	for _, l := range all {
		if denial != nil {
			l.end()
			continue
		}
		for i := range changes {
			if l.wants[i] && (before[i] != now.lists[i] || now.told(heard, i)) {
				l.tell(changes[i].told, "")
			}
		}
	}
}

// hears is what an audience is to be told of, with what it is still owed. heard is other audiences', too, and stays as it is.
func (a *audience) hears(heard said) said {
	if a.owed == nil {
		return heard
	}
	all := said{}
	for _, part := range []said{a.owed, heard} {
		for k, which := range part {
			for i, yes := range which {
				if yes {
					all.mark(k, i)
				}
			}
		}
	}
	a.owed = nil
	return all
}

// sessionsOf are those that an audience listens in.
func (h *Hub) sessionsOf(a *audience) (all []*session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range a.all {
		if l.session != nil {
			all = append(all, l.session)
		}
	}
	return all
}

// lookFor judges, through the line, whether an audience may still listen, and then has f see what it may.
func (d *Dialect) lookFor(key audienceKey, f func(e *exchange, c *pipeline.Call)) *pipeline.Denial {
	e := d.get()
	defer d.put(e)
	e.server, e.method = key.server, "subscriptions/listen"
	c := &e.call
	c.Remote, c.TLS, c.Credential, c.Certificate, c.Path, c.Route = key.remote, key.tls, []byte(key.credential), key.certificate, key.path, "/mcp"
	if key.server != "" {
		c.Route = "/mcp/{server}"
	}
	c.Read = func(_ context.Context, c *pipeline.Call) error {
		c.Op, c.Action, c.Server = e.method, "subscribe", key.server
		c.Answer = func(_ context.Context, c *pipeline.Call) error { f(e, c); return nil }
		return e.knownServer(c)
	}
	d.Line.Look(context.Background(), c)
	return c.Denial
}

// told says whether a server of the view said that a list of its own has changed.
func (v *view) told(heard said, i int) bool {
	for k, shown := range v.of {
		if said := heard[k]; said != nil && said[i] && shown[i] {
			return true
		}
	}
	return false
}

// view is what the caller is shown.
func (e *exchange) view(c *pipeline.Call) view {
	v := view{of: map[earKey]*[len(changes)]bool{}}
	for i := range changes {
		sum := sha256.New()
		for _, op := range changes[i].lists {
			shown := e.shownBy(c, lists[op].use)
			for _, s := range e.d.Catalogue.Servers(c.Caller.Tenant()) {
				if e.server != "" && s.Name != e.server {
					continue
				}
				for _, item := range e.items(c, op, s.Name) {
					if shown(item.server, item.name) {
						one := sha256.Sum256(item.raw)
						sum.Write(append([]byte(item.server+"\n"+item.name+"\n"), one[:]...))
						said(v.of).mark(earKey{s.Tenant, s.Name}, i)
					}
				}
			}
		}
		sum.Sum(v.lists[i][:0])
	}
	return v
}

// hearAll has the servers of an audience's path listened to. h.mu is held.
func (h *Hub) hearAll(a *audience) {
	if h.Servers == nil || h.closed {
		return
	}
	var keys []earKey
	for _, s := range h.Dialect.Catalogue.Servers(a.tenant) {
		if s.Enabled && (a.key.server == "" || s.Name == a.key.server) {
			keys = append(keys, earKey{a.tenant, s.Name})
		}
	}
	if slices.Equal(keys, a.ears) {
		return
	}
	for _, k := range keys {
		h.hear(k)
	}
	h.deafen(a.ears)
	a.ears = keys
}
