package catalogue

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Health says how the last listings of a server's tools went.
type Health struct {
	LastTry  time.Time
	LastGood time.Time // zero: never
	Failures int       // in a row
	Err      string    // of the last try; "" when it went well
	Tools    int       // those known now that may be called
	Unusable int
	// Quarantined ones wait for a person: they are new, changed or rejected.
	Quarantined int
	Skipped     int // definitions of the last good listing that could not even be shown
}

// healthBox guards the Health of one server.
type healthBox struct {
	mu   sync.Mutex
	h    Health
	told told
}

// Health returns how a server's listings went.
func (c *Catalogue) Health(tenant, server string) (Health, bool) {
	e := (*c.snapshot.Load())[tenant][server]
	if e == nil {
		return Health{}, false
	}
	e.health.mu.Lock()
	h := e.health.h
	e.health.mu.Unlock()
	h.Tools = len(e.tools)
	for _, t := range e.list {
		if t.Unusable != "" {
			h.Unusable++
		}
		if t.State != Approved {
			h.Quarantined++
		}
	}
	return h, true
}

// Refresh lists a server's tools and shows them, or keeps the last good ones
// and says why. Listeners hear of it only when something changed.
func (c *Catalogue) Refresh(ctx context.Context, tenant, server string) error {
	e := (*c.snapshot.Load())[tenant][server]
	if e == nil {
		return ErrUnknown
	}
	if !e.server.Enabled {
		return fmt.Errorf("refresh %s: the server is disabled", server)
	}
	list, skipped, err := c.list(ctx, &e.server)
	if err != nil && !errors.Is(err, ErrNotOffered) {
		e.health.note(c.now(), skipped, err)
		return fmt.Errorf("refresh %s: %w", server, err)
	}
	offers, more, missed := c.offered(ctx, &e.server) // when missed nil, and the last good ones stay
	if err != nil && (missed != nil || !offers.toolless) {
		e.health.note(c.now(), skipped, err)
		return fmt.Errorf("refresh %s: it is asked for its tools: %w", server, err)
	}
	e.health.note(c.now(), skipped+more, nil)
	if missed != nil {
		e.health.miss(missed)
	}
	changed, event, err := c.show(ctx, tenant, e, list, offers)
	if changed {
		c.notify(tenant)
	}
	c.tell(event)
	return err
}

// offered is listOffers within the time of one listing.
func (c *Catalogue) offered(ctx context.Context, s *Server) (*offers, int, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.RefreshTimeout)
	defer cancel()
	return c.listOffers(ctx, s)
}

func (b *healthBox) note(now time.Time, skipped int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.h.LastTry = now
	if err != nil {
		b.h.Failures++
		b.h.Err = err.Error()
		return
	}
	b.h = Health{LastTry: now, LastGood: now, Skipped: skipped}
}

// miss tells of a listing whose tools are good that the rest is not: a server that has only tools may answer anything else in
// its own way.
func (b *healthBox) miss(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.h.Err = err.Error()
}

// list asks the server and reads every definition, sorted by name.
func (c *Catalogue) list(ctx context.Context, s *Server) (list []*Tool, skipped int, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.RefreshTimeout)
	defer cancel()
	raw, err := c.lister.List(ctx, *s, ListTools)
	if err != nil {
		return nil, 0, err
	}
	if len(raw) > c.config.MaxTools {
		return nil, 0, fmt.Errorf("the server offers more than %d tools", c.config.MaxTools)
	}
	for _, r := range raw {
		t, err := parseTool(s, slices.Clone(r), c.config)
		if err != nil {
			skipped++
			continue
		}
		list = append(list, t)
	}
	slices.SortStableFunc(list, func(a, b *Tool) int { return strings.Compare(a.Name, b.Name) })
	for i := range list {
		if i > 0 && list[i].Name == list[i-1].Name {
			// Which of them a call would reach is the server's secret.
			list[i].Unusable, list[i-1].Unusable = listedTwice, listedTwice
		}
	}
	return list, skipped, nil
}

const listedTwice = "the server lists two tools of this name"

// errMoved: the server was changed while its tools were being listed.
var errMoved = errors.New("the server was changed meanwhile")

// show judges a list and puts it into the snapshot, unless the server it came
// from is no longer what is configured. An error beside a change says that
// first definitions could not be recorded as approved; they are not.
func (c *Catalogue) show(ctx context.Context, tenant string, from *entry, list []*Tool, offered *offers) (changed bool, event *PinEvent, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := (*c.snapshot.Load())[tenant][from.server.Name]
	if now == nil || !now.server.Equal(from.server) {
		return false, nil, fmt.Errorf("refresh %s: %w", from.server.Name, errMoved)
	}
	trusted, err := c.judge(ctx, &now.server, list)
	if err != nil {
		err = fmt.Errorf("refresh %s: approve its first tools: %w", from.server.Name, err)
	}
	event = now.health.news(&now.server, list, trusted, c.now(), &c.events)
	return c.put(now, list, offered), event, err
}

// put shows a judged list, and what is offered beside tools unless that is nil,
// in place of what an entry showed, and says whether that is a change. c.mu is
// held.
func (c *Catalogue) put(now *entry, list []*Tool, offered *offers) (changed bool) {
	if offered == nil {
		offered = now.offers
	}
	if sameTools(now.list, list) && offered.same(now.offers) {
		return false
	}
	next := &entry{server: now.server, health: now.health, offers: offered}
	next.offer(list)
	c.swap(now.server.Tenant, func(entries map[string]*entry) { entries[now.server.Name] = next })
	return true
}

func sameTools(a, b []*Tool) bool {
	return slices.EqualFunc(a, b, func(a, b *Tool) bool {
		return a.DefinitionHash == b.DefinitionHash && a.Unusable == b.Unusable && a.State == b.State && slices.Equal(a.Findings, b.Findings)
	})
}

// same says whether two servers' offers are the same; nil is one that is not known.
func (o *offers) same(p *offers) bool {
	if o == nil || p == nil {
		return o == p
	}
	equal := func(a, b []*Resource) bool {
		return (a == nil) == (b == nil) && slices.EqualFunc(a, b, func(a, b *Resource) bool { return bytes.Equal(a.Raw, b.Raw) })
	}
	return o.tasks == p.tasks && equal(o.resources, p.resources) && equal(o.templates, p.templates) &&
		(o.prompts == nil) == (p.prompts == nil) && sameTools(o.prompts, p.prompts)
}

// refreshers is how many servers RefreshAll asks at a time.
const refreshers = 8

// RefreshAll refreshes every enabled server of every tenant and returns those
// that failed; Health tells why.
func (c *Catalogue) RefreshAll(ctx context.Context) (failed []Server) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	slots := make(chan struct{}, refreshers)
	for tenant, entries := range *c.snapshot.Load() {
		for name, e := range entries {
			if !e.server.Enabled {
				continue
			}
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				if err := c.Refresh(ctx, tenant, name); err != nil {
					mu.Lock()
					failed = append(failed, e.server)
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	slices.SortFunc(failed, func(a, b Server) int {
		return cmp.Or(strings.Compare(a.Tenant, b.Tenant), strings.Compare(a.Name, b.Name))
	})
	return failed
}

// Run refreshes all servers every RefreshEvery until ctx ends.
func (c *Catalogue) Run(ctx context.Context) {
	tick := time.NewTicker(c.config.RefreshEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.RefreshAll(ctx)
		case <-ctx.Done():
			return
		}
	}
}
