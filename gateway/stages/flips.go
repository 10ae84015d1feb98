package stages

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/policies"
)

const (
	// maxFlips is how many of a tenant's flips are kept to look at, the latest.
	maxFlips = 50
	// maxFlipPolicies bounds what is kept of one flip: the policies and the errors it names.
	maxFlipPolicies = 8
	// shadowShare is how much time asking the shadow engine may take per call, on the average of a tenant's calls: some ten
	// decisions of the usual size. Calls that would take more are not compared, and are counted.
	shadowShare = 100 * time.Microsecond
	// idleShare is the part of the time between calls that it may take too, so that one slow answer on a busy machine does
	// not cost a tenant of few calls the next fifty comparisons.
	idleShare = 4
)

// Flips asks engines in shadow, and counts and keeps what they would have answered differently. Nothing that happens here
// changes an answer. It is safe for concurrent use; nil asks nobody.
type Flips struct {
	Now func() time.Time

	tenants sync.Map // string -> *flipping; tenants are made by admins, and few
}

// Direction is one way in which an answer can change.
type Direction struct{ By, From, To string }

// Flipped is a flip that is kept to look at.
type Flipped struct {
	pipeline.Flip
	Record, Agent, User, Op, Server, Tool string // Record is empty when none could be written
	At                                    time.Time
}

// FlipStats is what is known of a tenant's shadow. Counts grow as long as the process lives; the rest is about the bundle
// that is in shadow now, or was last.
type FlipStats struct {
	Total  map[Direction]uint64
	Asked  uint64 // calls about which an engine in shadow was asked
	Passed uint64 // calls about which it was not, because it took too long
	Failed uint64 // calls in which asking it broke off

	Bundle   merkle.Hash // of the engine in shadow
	Since    time.Time   // its first call
	Compared uint64      // calls compared with it
	Current  map[Direction]uint64
	Latest   []Flipped // newest first, of any bundle
}

// flipping is a tenant's part.
type flipping struct {
	owed                  atomic.Int64 // nanoseconds that asking took, less the shares since
	last                  atomic.Int64 // the call before, in nanoseconds since 1970
	asked, passed, failed atomic.Uint64

	mu       sync.Mutex // guards all below
	total    map[Direction]uint64
	bundle   merkle.Hash
	since    time.Time
	compared uint64
	current  map[Direction]uint64
	kept     []Flipped // a ring
	next     int
}

func (f *Flips) of(tenant string) *flipping {
	if t, ok := f.tenants.Load(tenant); ok {
		return t.(*flipping)
	}
	t, _ := f.tenants.LoadOrStore(tenant, &flipping{total: map[Direction]uint64{}, current: map[Direction]uint64{}})
	return t.(*flipping)
}

// compare fills c.Flips: from what c.Decision says of its policies in shadow, and from what the engine in shadow says.
func (f *Flips) compare(c *pipeline.Call, shadow *policies.Engine) {
	if f == nil {
		return
	}
	defer func() {
		if recover() != nil {
			c.Flips = nil
			f.of(c.Caller.Tenant()).failed.Add(1)
		}
	}()
	d := &c.Decision
	if would, differs := d.WouldBe(); differs {
		c.Flips = append(c.Flips, flip("policy", c, would, d.WouldBeHeld(), d.Bundle(), d.WouldPolicies(), nil))
	}
	if shadow == nil {
		return
	}
	t := f.of(c.Caller.Tenant())
	began := f.Now()
	idle := min(max(0, began.UnixNano()-t.last.Swap(began.UnixNano())), int64(time.Second))
	owed := t.owed.Add(-int64(shadowShare) - idle/idleShare)
	if owed > 0 {
		t.passed.Add(1)
		return
	}
	t.owed.CompareAndSwap(owed, 0) // time that was not taken is not saved up
	w := shadow.Decide(&c.Ask)
	took := f.Now().Sub(began)
	t.owed.Add(int64(took))
	t.met(shadow.Digest(), began)
	if w.Allowed() != d.Allowed() || w.Held() != d.Held() {
		c.Flips = append(c.Flips, flip("engine", c, w.Allowed(), w.Held(), w.Bundle(), w.Policies(), w.Errors()))
	}
}

func flip(by string, c *pipeline.Call, allowed, held bool, bundle merkle.Hash, names, errs []string) pipeline.Flip {
	return pipeline.Flip{
		By: by, From: verdict(c.Decision.Allowed(), c.Decision.Held()), To: verdict(allowed, held), Bundle: bundle,
		Policies: slices.Clone(names[:min(maxFlipPolicies, len(names))]), Errors: errs[:min(maxFlipPolicies, len(errs))],
	}
}

// verdict is an answer in one word.
func verdict(allowed, held bool) string {
	switch {
	case allowed:
		return "allow"
	case held:
		return "hold"
	}
	return "deny"
}

// met counts a call that was compared.
func (t *flipping) met(bundle merkle.Hash, now time.Time) {
	t.asked.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bundle != bundle || t.compared == 0 {
		t.bundle, t.since, t.compared = bundle, now, 0
		clear(t.current)
	}
	t.compared++
}

// Note counts the flips of a call that has ended and keeps the latest. It is what pipeline.Line.Flipped is for.
func (f *Flips) Note(c *pipeline.Call) {
	t := f.of(c.Caller.Tenant())
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, x := range c.Flips {
		way := Direction{x.By, x.From, x.To}
		t.total[way]++
		if x.By == "engine" && x.Bundle == t.bundle {
			t.current[way]++
		}
		kept := Flipped{
			Flip: x, Record: c.Record, Agent: c.Caller.Agent(), User: c.Caller.User(), Op: c.Op, Server: c.Server, Tool: c.Name, At: c.Started,
		}
		if len(t.kept) < maxFlips {
			t.kept = append(t.kept, kept)
			continue
		}
		t.kept[t.next] = kept
		t.next = (t.next + 1) % maxFlips
	}
}

// Stats is what is known of a tenant's shadow.
func (f *Flips) Stats(tenant string) FlipStats {
	v, ok := f.tenants.Load(tenant)
	if !ok {
		return FlipStats{}
	}
	t := v.(*flipping)
	t.mu.Lock()
	defer t.mu.Unlock()
	s := FlipStats{
		Total: maps.Clone(t.total), Asked: t.asked.Load(), Passed: t.passed.Load(), Failed: t.failed.Load(),
		Bundle: t.bundle, Since: t.since, Compared: t.compared, Current: maps.Clone(t.current),
	}
	for i := range t.kept {
		s.Latest = append(s.Latest, t.kept[(t.next+len(t.kept)-1-i)%len(t.kept)])
	}
	return s
}

// Each gives the counts of every tenant, for metrics.
func (f *Flips) Each(fn func(tenant string, s FlipStats)) {
	var tenants []string
	f.tenants.Range(func(k, _ any) bool {
		tenants = append(tenants, fmt.Sprint(k))
		return true
	})
	slices.Sort(tenants)
	for _, t := range tenants {
		fn(t, f.Stats(t))
	}
}
