package catalogue

import (
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue/pins"
	"github.com/gatewright/gatewright/merkle"
)

// PinEvent is what a listing changed about the tools of one server.
type PinEvent struct {
	Tenant, Server string
	Trusted        []pins.Listed // approved because the server was met for the first time
	Quarantined    []PinNotice   // not seen before
	Unsaid         uint64        // tools of earlier listings that went unsaid, because there were too many events
}

// PinNotice is one tool that went into quarantine.
type PinNotice struct {
	Tool     string
	State    State
	Pin      merkle.Hash
	Findings []string
}

// Events of one server in a time are bounded: a server that changes its tools with every listing must not fill the ledger.
// What goes unsaid is quarantined like the rest, and counted.
const (
	maxEvents   = 12
	eventWindow = time.Hour
)

// told is what was said of a server's quarantine: the last definition of each tool, so that none is said twice in a row.
type told struct {
	pins   map[string]merkle.Hash
	since  time.Time
	events int
	unsaid uint64
}

// pinEvents counts since the start.
type pinEvents struct{ quarantined, unsaid atomic.Uint64 }

// PinStats counts since the start.
type PinStats struct {
	Quarantines uint64 // definitions that went into quarantine
	Unsaid      uint64 // of these, those without an event of their own
	Waiting     int    // tools in quarantine now
}

// PinStats counts over all tenants.
func (c *Catalogue) PinStats() PinStats {
	s := PinStats{Quarantines: c.events.quarantined.Load(), Unsaid: c.events.unsaid.Load()}
	for _, entries := range *c.snapshot.Load() {
		for _, e := range entries {
			s.Waiting += len(e.waiting)
		}
	}
	return s
}

// news finds what a judged list has that was not said before; nil when there is nothing to say.
func (b *healthBox) news(s *Server, list []*Tool, trusted []pins.Listed, now time.Time, count *pinEvents) *PinEvent {
	b.mu.Lock()
	defer b.mu.Unlock()
	event := &PinEvent{Tenant: s.Tenant, Server: s.Name, Trusted: trusted}
	last := map[string]merkle.Hash{}
	for _, t := range list {
		before, said := b.told.pins[t.Name]
		if said {
			last[t.Name] = before
		}
		if t.State == Approved || t.State == Rejected || said && before == t.Pin {
			continue
		}
		last[t.Name] = t.Pin
		event.Quarantined = append(event.Quarantined, PinNotice{t.Name, t.State, t.Pin, t.Findings})
	}
	b.told.pins = last
	n := uint64(len(event.Quarantined))
	if n == 0 && len(trusted) == 0 {
		return nil
	}
	count.quarantined.Add(n)
	if now.Sub(b.told.since) >= eventWindow || now.Before(b.told.since) {
		b.told.since, b.told.events = now, 0
	}
	if b.told.events >= maxEvents {
		b.told.unsaid += n
		count.unsaid.Add(n)
		return nil
	}
	b.told.events++
	event.Unsaid, b.told.unsaid = b.told.unsaid, 0
	return event
}

// OnPins registers a function that is told when a listing put tools into quarantine, or was trusted as a server's first.
// It runs in the goroutine that listed.
func (c *Catalogue) OnPins(fn func(PinEvent)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers = append(c.watchers, fn)
}

// tell calls the watchers. c.mu must not be held.
func (c *Catalogue) tell(event *PinEvent) {
	if event == nil {
		return
	}
	c.mu.Lock()
	watchers := append([]func(PinEvent){}, c.watchers...)
	c.mu.Unlock()
	for _, fn := range watchers {
		fn(*event)
	}
}
