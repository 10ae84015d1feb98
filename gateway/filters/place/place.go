// Package place says how calls meet a tenant's filters: which are asked, in what order, and which are only tried.
package place

import (
	"context"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/policies/manifest"
	"github.com/gatewright/gatewright/wasm/abi"
)

// Unit is one filter as calls meet it. Decide and OnResponse overwrite v; an error is why there is no verdict, and refuses
// the call. c is theirs until they return; v is the caller's. Many calls may be judged at once.
type Unit interface {
	Name() string
	Digest() merkle.Hash
	HasResponse() bool
	Decide(ctx context.Context, c *abi.Context, v *abi.Verdict) error
	OnResponse(ctx context.Context, c *abi.Context, v *abi.Verdict) error
}

// Placed is a unit and where it looks.
type Placed struct {
	Unit
	place *manifest.Filter // nil: everywhere, as the built-in ones
	tries *Tries           // nil: it is enforced
}

// At places a unit; nil is everywhere. It is enforced.
func At(u Unit, at *manifest.Filter) Placed { return Placed{Unit: u, place: at} }

// Trying places a unit that is only tried, by t.
func Trying(u Unit, at *manifest.Filter, t *Tries) Placed { return Placed{u, at, t} }

// Own tells whether it is the tenant's own, which the gateway's configuration knows nothing of.
func (p *Placed) Own() bool { return p.place != nil }

// Asked tells whether the filter is asked about a call of this tool in this phase. It does not allocate.
func (p *Placed) Asked(phase abi.Phase, server, tool string) bool {
	if phase == abi.Response && !p.HasResponse() {
		return false
	}
	if p.place == nil {
		return true
	}
	direction := manifest.Request
	if phase == abi.Response {
		direction = manifest.Response
	}
	return p.place.Asks(direction) && p.place.Covers(server, tool)
}

// Shadow tells whether the filter is only tried: it is given calls by Try, and never asked.
func (p *Placed) Shadow() bool { return p.tries != nil }

// Try shows the call to a filter in shadow. It copies what it needs and returns at once; when the filter is behind, the call
// is counted as passed over.
func (p *Placed) Try(c *abi.Context) { p.tries.offer(c) }

// Stats are what a filter has done. Of a shadow the verdicts are what would have been done.
type Stats struct {
	Passed, Denied, Rewritten uint64
	Labelled                  uint64            // of a shadow: verdicts with labels or scores
	Traps                     map[string]uint64 // by kind
	Skipped                   uint64            // of a shadow: calls passed over, because it was behind
	Fuel                      uint64            // units
	MostFuel                  int64             // by the costliest call
	Timed                     uint64            // calls that were timed, one of sixteen
	Time                      time.Duration     // that those took
	Waits, Thrown, Breaks     uint64
	Instances, InUse, Memory  int // now; Memory in bytes of a fresh instance
	Broken                    bool
	LastTrap                  string
	LastTrapAt                time.Time
}

// Calls is how many calls it was asked about.
func (s Stats) Calls() uint64 {
	n := s.Passed + s.Denied + s.Rewritten
	for _, t := range s.Traps {
		n += t
	}
	return n
}

// Plus adds what another did before or beside it.
func (s Stats) Plus(o Stats) Stats {
	sum := s
	sum.Passed, sum.Denied, sum.Rewritten = s.Passed+o.Passed, s.Denied+o.Denied, s.Rewritten+o.Rewritten
	sum.Labelled, sum.Skipped, sum.Fuel = s.Labelled+o.Labelled, s.Skipped+o.Skipped, s.Fuel+o.Fuel
	sum.MostFuel, sum.Timed, sum.Time = max(s.MostFuel, o.MostFuel), s.Timed+o.Timed, s.Time+o.Time
	sum.Waits, sum.Thrown, sum.Breaks = s.Waits+o.Waits, s.Thrown+o.Thrown, s.Breaks+o.Breaks
	sum.Instances, sum.InUse, sum.Broken = s.Instances+o.Instances, s.InUse+o.InUse, s.Broken || o.Broken
	sum.Traps = map[string]uint64{}
	for _, from := range []map[string]uint64{s.Traps, o.Traps} {
		for kind, n := range from {
			sum.Traps[kind] += n
		}
	}
	if o.LastTrapAt.After(s.LastTrapAt) {
		sum.LastTrap, sum.LastTrapAt = o.LastTrap, o.LastTrapAt
	}
	return sum
}

// Over is s without what only holds while a filter is loaded.
func (s Stats) Over() Stats {
	s.Instances, s.InUse, s.Memory, s.Broken = 0, 0, 0, false
	return s
}
