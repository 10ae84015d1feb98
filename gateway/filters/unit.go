package filters

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/policies/manifest"
	"github.com/gatewright/gatewright/wasm"
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

var _ Unit = (*unit)(nil)

// Placed is a unit and where it looks.
type Placed struct {
	Unit
	place *manifest.Filter // nil: everywhere, as the built-in ones
	tries *tries           // nil: it is enforced
}

// Place makes a Placed for those who have units of their own. A shadow is asked by the caller's goroutine when wait is set.
func Place(u Unit, at *manifest.Filter) Placed {
	p := Placed{Unit: u, place: at}
	if at != nil && at.Shadowed() {
		p.tries = newTries(u)
	}
	return p
}

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

// timedOne is of how many calls one is timed: the clock costs as much as a small filter.
const timedOne = 16

// unit is a filter in force or in shadow, with what was counted beside what the filter counts itself.
type unit struct {
	*wasm.Filter
	key     unitKey
	version uint64
	broke   func(u *unit, s wasm.FilterStats) // called when its breaker opened

	users  int // sets that hold it; guarded by Service.mu
	breaks atomic.Uint64
	calls  atomic.Uint64
	timed  atomic.Uint64
	nanos  atomic.Int64
	tries  *tries // of a shadow
}

// unitKey says which units are the same: one is kept from set to set as long as it is.
type unitKey struct {
	name, digest, config string
	shadow               bool
}

// Decide asks the filter.
func (u *unit) Decide(ctx context.Context, c *abi.Context, v *abi.Verdict) error {
	if u.calls.Add(1)%timedOne != 0 {
		return u.trapped(u.Filter.Decide(ctx, c, v))
	}
	begun := time.Now()
	err := u.Filter.Decide(ctx, c, v)
	u.took(begun)
	return u.trapped(err)
}

// OnResponse asks it about an answer.
func (u *unit) OnResponse(ctx context.Context, c *abi.Context, v *abi.Verdict) error {
	if u.calls.Add(1)%timedOne != 0 {
		return u.trapped(u.Filter.OnResponse(ctx, c, v))
	}
	begun := time.Now()
	err := u.Filter.OnResponse(ctx, c, v)
	u.took(begun)
	return u.trapped(err)
}

func (u *unit) took(begun time.Time) {
	u.nanos.Add(int64(time.Since(begun)))
	u.timed.Add(1)
}

// trapped raises the alarm once for each time that the breaker opens.
func (u *unit) trapped(err error) error {
	if err == nil || u.broke == nil {
		return err
	}
	if t, ok := errors.AsType[*wasm.Trap](err); !ok || t.Kind == wasm.TrapBroken {
		return err
	}
	s := u.Filter.Stats()
	if seen := u.breaks.Load(); s.Breaks > seen && u.breaks.CompareAndSwap(seen, s.Breaks) {
		u.broke(u, s)
	}
	return err
}

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

func (u *unit) stats() Stats {
	f := u.Filter.Stats()
	s := Stats{
		Passed: f.Passed, Denied: f.Denied, Rewritten: f.Rewritten, Traps: f.Traps, Fuel: f.Fuel, MostFuel: f.MostFuel,
		Timed: u.timed.Load(), Time: time.Duration(u.nanos.Load()), Waits: f.Waits, Thrown: f.Thrown, Breaks: f.Breaks,
		Instances: f.Instances, InUse: f.InUse, Memory: f.Memory, Broken: f.Broken, LastTrap: f.LastTrap, LastTrapAt: f.LastTrapAt,
	}
	if u.tries != nil {
		s.Labelled, s.Skipped = u.tries.labelled.Load(), u.tries.skipped.Load()
	}
	return s
}

// plus adds what another did before or beside it.
func (s Stats) plus(o Stats) Stats {
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

// over is s without what only holds while a filter is loaded.
func (s Stats) over() Stats {
	s.Instances, s.InUse, s.Memory, s.Broken = 0, 0, 0, false
	return s
}

// tries asks a filter in shadow, one call after the other, behind the calls themselves.
type tries struct {
	unit     Unit
	jobs     chan *try
	free     chan *try
	done     chan struct{}
	said     func(v *abi.Verdict, err error) // told of each verdict; may be nil
	labelled atomic.Uint64
	skipped  atomic.Uint64
}

// try is a call on its way to a shadow.
type try struct {
	context abi.Context
	labels  []string
	body    []byte
	args    []byte
	verdict abi.Verdict
}

// Bounds of what waits for one filter in shadow.
const (
	maxTries    = 16
	maxTryBytes = 64 << 10 // of a body whose memory is kept
)

func newTries(u Unit) *tries {
	t := &tries{unit: u, jobs: make(chan *try, maxTries), free: make(chan *try, maxTries), done: make(chan struct{})}
	go t.run()
	return t
}

// offer hands a call over, if there is room. Only who holds the set may.
func (t *tries) offer(c *abi.Context) {
	if len(t.jobs) == cap(t.jobs) {
		t.skipped.Add(1)
		return
	}
	var j *try
	select {
	case j = <-t.free:
	default:
		j = new(try)
	}
	j.take(c)
	select {
	case t.jobs <- j:
	default:
		t.skipped.Add(1)
		t.give(j)
	}
}

// take copies a call: its strings may be views of memory that is used again once it is over.
func (j *try) take(c *abi.Context) {
	to := &j.context
	to.Reset()
	to.Tenant, to.Agent, to.User = strings.Clone(c.Tenant), strings.Clone(c.Agent), strings.Clone(c.User)
	to.Op, to.Server, to.Tool = strings.Clone(c.Op), strings.Clone(c.Server), strings.Clone(c.Tool)
	to.Now, to.Plan, to.Phase, to.Flags = c.Now, c.Plan, c.Phase, c.Flags
	to.Plan.ID = strings.Clone(c.Plan.ID)
	j.labels = append(j.labels[:0], c.Labels...)
	for i, l := range j.labels {
		j.labels[i] = strings.Clone(l)
	}
	j.body, j.args = append(j.body[:0], c.Body...), append(j.args[:0], c.Arguments...)
	to.Labels, to.Body = j.labels, j.body
	if c.Arguments != nil {
		to.Arguments = j.args
	}
}

func (t *tries) give(j *try) {
	if cap(j.body) > maxTryBytes || cap(j.args) > maxTryBytes || cap(j.verdict.Body) > maxTryBytes {
		return
	}
	select {
	case t.free <- j:
	default:
	}
}

// run asks until close.
func (t *tries) run() {
	defer close(t.done)
	for j := range t.jobs {
		t.ask(j)
		t.give(j)
	}
}

// ask judges one call. Fuel bounds how long it takes; what comes of it is counted and nothing else.
func (t *tries) ask(j *try) {
	var err error
	if j.context.Phase == abi.Response {
		err = t.unit.OnResponse(context.Background(), &j.context, &j.verdict)
	} else {
		err = t.unit.Decide(context.Background(), &j.context, &j.verdict)
	}
	if err == nil && (len(j.verdict.Labels) > 0 || len(j.verdict.Scores) > 0) {
		t.labelled.Add(1)
	}
	if t.said != nil {
		t.said(&j.verdict, err)
	}
}

// close ends it once what waits was asked. Nobody may offer any more.
func (t *tries) close() {
	close(t.jobs)
	<-t.done
}

// sorted lists the keys of a map.
func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
