// Package catalogue knows each tenant's MCP servers and their tools: where they
// are, what they accept, and whether arguments fit.
//
// Servers come from the configuration file and from the control API; the latter
// are stored. Tools come from the servers themselves, through a Lister, and are
// not trusted: every definition is bounded, every input schema is compiled
// before it is used, nothing a schema refers to is fetched, and a tool that
// cannot be enforced is listed as unusable and never called.
//
// Readers see one immutable snapshot, so that a look-up takes no lock and
// allocates nothing. A refresh that fails leaves the last good tools in place.
package catalogue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue/pins"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/store"
)

// Lister asks a server what it offers: each definition as raw JSON, all pages.
type Lister interface {
	// List asks with one of the methods ListTools, ListResources, ListTemplates and ListPrompts, or for Capabilities. A server
	// that does not have the method gives ErrNotOffered.
	List(ctx context.Context, s Server, method string) ([]json.RawMessage, error)
}

// Catalogue is safe for concurrent use.
type Catalogue struct {
	config Config
	store  store.Store
	lister Lister
	now    func() time.Time

	snapshot atomic.Pointer[snapshot]

	mu        sync.Mutex // serializes changes; readers need only the snapshot
	listeners []func(tenant string)
	watchers  []func(PinEvent)
	pins      map[string]map[string]*pins.Server // what is decided about tools, by tenant and server
	events    pinEvents
}

// snapshot maps tenants to their servers by name. It and all it holds are
// immutable, health excepted.
type snapshot map[string]map[string]*entry

// entry is a server with its last good tools.
type entry struct {
	server  Server
	tools   map[string]*Tool // only those that may be called
	list    []*Tool          // all, by name
	waiting map[string]bool  // names of those in quarantine; whether some definition is approved
	offers  *offers          // beside tools; nil when not known yet
	health  *healthBox       // shared by successive entries of one server
}

// Open reads the stored servers. Tools are unknown until Refresh.
func Open(ctx context.Context, config Config, st store.Store, lister Lister, now func() time.Time) (*Catalogue, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	c := &Catalogue{config: config, store: st, lister: lister, now: now, pins: map[string]map[string]*pins.Server{}}
	all := snapshot{}
	var known []string
	err := st.View(ctx, store.Instance, func(tx store.Txn) error {
		known = known[:0]
		return tenants.Scan(tx, "", func(tenant string, _ tenantRow, _ uint64) error {
			known = append(known, tenant)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("open catalogue: %w", err)
	}
	for _, f := range config.Servers {
		known = append(known, f.Tenant)
	}
	for _, tenant := range known {
		if all[tenant] != nil {
			continue
		}
		if all[tenant], err = c.load(ctx, tenant); err != nil {
			return nil, fmt.Errorf("open catalogue: %w", err)
		}
		if c.pins[tenant], err = c.book().Load(ctx, tenant); err != nil {
			return nil, fmt.Errorf("open catalogue: %w", err)
		}
	}
	c.snapshot.Store(&all)
	return c, nil
}

// load reads one tenant's servers. A fixed server hides a stored one of the
// same name.
func (c *Catalogue) load(ctx context.Context, tenant string) (map[string]*entry, error) {
	var out map[string]*entry
	err := c.store.View(ctx, tenant, func(tx store.Txn) error {
		out = map[string]*entry{}
		return servers.Scan(tx, "", func(name string, r serverRow, _ uint64) error {
			s := r.server(tenant, name)
			if err := s.validate(true); err != nil {
				return fmt.Errorf("stored server %q: %w", name, err)
			}
			// What the configuration no longer allows stays known but unused.
			s.Enabled = s.Enabled && (!s.AllowPrivate || c.config.AllowPrivate)
			s.Pin = c.config.Pin
			out[name] = newEntry(s)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("load servers of %s: %w", tenant, err)
	}
	for _, f := range c.config.Servers {
		if f.Tenant == tenant {
			out[f.Name] = newEntry(f.server(c.config.Pin))
		}
	}
	return out, nil
}

func newEntry(s Server) *entry { return &entry{server: s, health: &healthBox{}} }

// Lookup returns a tool that may be called: its server is enabled, its schemas
// are enforceable, and its definition is approved. It allocates nothing.
func (c *Catalogue) Lookup(tenant, server, tool string) (*Tool, bool) {
	e := (*c.snapshot.Load())[tenant][server]
	if e == nil || !e.server.Enabled {
		return nil, false
	}
	t, ok := e.tools[tool]
	return t, ok
}

// Tools returns all of a server's tools by name, also those that are not
// Callable. The slice is the caller's; the tools are shared.
func (c *Catalogue) Tools(tenant, server string) []*Tool {
	e := (*c.snapshot.Load())[tenant][server]
	if e == nil {
		return nil
	}
	return slices.Clone(e.list)
}

// Defs returns what policies need to know of every usable tool and prompt of
// enabled servers, in a fixed order; resources they name by their URIs. Of a tool in quarantine that is what was approved
// before; what is new is told too, so that policies can be written for it, but
// not what has findings. Whether a tool may be called Lookup alone says.
func (c *Catalogue) Defs(tenant string) []policies.ToolDef {
	var out []policies.ToolDef
	for _, s := range c.Servers(tenant) {
		if !s.Enabled {
			continue
		}
		for _, t := range c.Tools(tenant, s.Name) {
			switch {
			case t.standing != nil:
				out = append(out, *t.standing)
			case t.Unusable == "" && (t.State == Approved || t.State == New && len(t.Findings) == 0):
				out = append(out, t.def)
			}
		}
		prompts, _ := c.Prompts(tenant, s.Name)
		for _, p := range prompts {
			if p.Unusable == "" {
				out = append(out, p.def)
			}
		}
	}
	return out
}

// Servers returns a tenant's servers by name. Their Labels are shared and must
// not be changed.
func (c *Catalogue) Servers(tenant string) []Server {
	entries := (*c.snapshot.Load())[tenant]
	out := make([]Server, 0, len(entries))
	for _, e := range entries {
		out = append(out, e.server)
	}
	slices.SortFunc(out, func(a, b Server) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Server returns one server.
func (c *Catalogue) Server(tenant, name string) (Server, bool) {
	e := (*c.snapshot.Load())[tenant][name]
	if e == nil {
		return Server{}, false
	}
	return e.server, true
}

// OnChange registers a function that is called after a tenant's servers or
// tools changed. It runs in the goroutine that made the change.
func (c *Catalogue) OnChange(fn func(tenant string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners = append(c.listeners, fn)
}

// notify calls the listeners. c.mu must not be held.
func (c *Catalogue) notify(tenant string) {
	c.mu.Lock()
	listeners := slices.Clone(c.listeners)
	c.mu.Unlock()
	for _, fn := range listeners {
		fn(tenant)
	}
}

// swap replaces one tenant's servers in a new snapshot. c.mu is held.
func (c *Catalogue) swap(tenant string, change func(entries map[string]*entry)) {
	next := maps.Clone(*c.snapshot.Load())
	entries := maps.Clone(next[tenant])
	if entries == nil {
		entries = map[string]*entry{}
	}
	change(entries)
	next[tenant] = entries
	c.snapshot.Store(&next)
}

// AddServer stores a new server. It is synced before AddServer returns.
func (c *Catalogue) AddServer(ctx context.Context, tenant string, s Server) error {
	return c.change(ctx, tenant, s.Name, func(old *entry) (*Server, error) {
		if old != nil {
			return nil, ErrExists
		}
		if len((*c.snapshot.Load())[tenant]) >= c.config.MaxServers {
			return nil, ErrTooMany
		}
		if err := c.collidesWith(tenant, s.Name); err != nil {
			return nil, err
		}
		return &s, nil
	})
}

// UpdateServer replaces a server's settings. When they change where its tools
// come from, the tools known so far are dropped until the next Refresh.
func (c *Catalogue) UpdateServer(ctx context.Context, tenant string, s Server) error {
	return c.change(ctx, tenant, s.Name, func(old *entry) (*Server, error) {
		if old == nil {
			return nil, ErrUnknown
		}
		return &s, nil
	})
}

// RemoveServer forgets a server, its tools, and what was decided about them.
func (c *Catalogue) RemoveServer(ctx context.Context, tenant, name string) error {
	err := c.change(ctx, tenant, name, func(old *entry) (*Server, error) {
		if old == nil {
			return nil, ErrUnknown
		}
		return nil, nil
	})
	if err != nil {
		return err
	}
	return c.forgetPins(ctx, tenant, name)
}

// change stores what decide makes of a server (nil removes it) and then shows
// it to readers. When the store fails, what it then really holds is shown.
func (c *Catalogue) change(ctx context.Context, tenant, name string, decide func(old *entry) (*Server, error)) error {
	if err := c.changeLocked(ctx, tenant, name, decide); err != nil {
		return err
	}
	c.notify(tenant)
	return nil
}

func (c *Catalogue) changeLocked(ctx context.Context, tenant, name string, decide func(old *entry) (*Server, error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := (*c.snapshot.Load())[tenant][name]
	next, err := decide(old)
	if err != nil {
		return err
	}
	if old != nil && old.server.Fixed {
		return ErrFixed
	}
	if next != nil {
		next.Tenant, next.Fixed, next.Process, next.Pin = tenant, false, false, c.config.Pin
		*next = next.withDefaults()
		next.Labels = slices.Clone(next.Labels)
		if err := next.validate(c.config.AllowPrivate); err != nil {
			return err
		}
	}
	if err := c.write(ctx, tenant, name, next); err != nil {
		return errors.Join(err, c.reread(ctx, tenant, name))
	}
	c.swap(tenant, func(entries map[string]*entry) { place(entries, name, next) })
	return nil
}

// place puts a changed server among the entries, with its tools when they are
// still its own.
func place(entries map[string]*entry, name string, s *Server) {
	old := entries[name]
	if s == nil {
		delete(entries, name)
		return
	}
	e := newEntry(*s)
	if old != nil && old.server.sameTools(*s) {
		e.health, e.offers = old.health, old.offers
		list := make([]*Tool, len(old.list))
		for i, t := range old.list {
			own := *t
			own.describe(s) // labels and sensitivity are the server's
			list[i] = &own
		}
		e.offer(list)
	}
	entries[name] = e
}

// offer sets an entry's tools before it is shown to readers.
func (e *entry) offer(list []*Tool) {
	e.list, e.tools, e.waiting = list, make(map[string]*Tool, len(list)), map[string]bool{}
	for _, t := range list {
		if t.Callable() {
			e.tools[t.Name] = t
		}
		if t.State != Approved {
			e.waiting[t.Name] = t.known
		}
	}
}

func (c *Catalogue) write(ctx context.Context, tenant, name string, s *Server) error {
	if s != nil {
		err := c.store.Update(ctx, store.Instance, func(tx store.Txn) error {
			_, err := tenants.Put(tx, tenant, tenantRow{}, store.AnyVersion)
			return err
		})
		if err != nil {
			return fmt.Errorf("store server: %w", err)
		}
	}
	err := c.store.Update(ctx, tenant, func(tx store.Txn) error {
		if s == nil {
			return servers.Delete(tx, name, store.AnyVersion)
		}
		_, err := servers.Put(tx, name, s.row(), store.AnyVersion)
		return err
	})
	if err != nil {
		return fmt.Errorf("store server: %w", err)
	}
	return nil
}

// reread shows what the store holds after a write failed: it may have happened.
// When that cannot be read either, the server is withdrawn until the next start.
func (c *Catalogue) reread(ctx context.Context, tenant, name string) error {
	entries, err := c.load(context.WithoutCancel(ctx), tenant)
	c.swap(tenant, func(shown map[string]*entry) {
		if e := entries[name]; err == nil && e != nil {
			place(shown, name, &e.server)
		} else {
			delete(shown, name)
		}
	})
	return err
}
