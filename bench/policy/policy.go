// Package policy measures what a decision costs: by the gateway's engine, by cedar-go as it comes, which evaluates every
// policy, and by Open Policy Agent, on the same policies and requests. All must decide alike, and what is compared is
// compared within one round.
package policy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/gatewright/gatewright/bench/rig"
)

// Options say how to measure.
type Options struct {
	Rounds int           // rounds, each with every subject in turn
	Time   time.Duration // CPU time of one subject in a round
	Log    io.Writer     // progress
}

// sizes are how many policies are measured.
var sizes = [...]int{10, 100, 1_000, 10_000}

// names of the subjects.
const (
	ready     = "ready"
	fromJSON  = "json"
	first     = "first"
	scanned   = "scan"
	opaParsed = "opa"
	opaJSON   = "opa json"
)

var names = [...]string{ready, fromJSON, first, scanned, opaParsed, opaJSON}

// bench is one run.
type bench struct {
	Options
	worlds []*world
	lister *ours // 1,000 policies over 200 tools
	peer   *peer // nil: not compared with
}

// world is one workload with all who decide it.
type world struct {
	policies int
	ours     *ours
	subjects []*subject
}

// Run measures.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("policy: %w", err)
		}
	}()
	if o.Rounds < 1 || o.Time <= 0 {
		return nil, errors.New("rounds and time must be positive")
	}
	b := &bench{Options: o}
	r := newReport(&o)
	if err := b.open(ctx, r); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if r.Rounds, err = rig.Repeat(o.Rounds, o.Log, func(n int, r *Round) error { return b.round(r, n%2 == 1) }, (*Round).line); err != nil {
		return nil, err
	}
	r.summarize()
	return r, nil
}

// open makes the workloads and shows that all decide them alike.
func (b *bench) open(ctx context.Context, r *Report) (err error) {
	b.peer, err = startPeer(ctx)
	if errors.Is(err, errNoPeer) {
		r.Missing = err.Error()
		fmt.Fprintln(b.Log, err)
	} else if err != nil {
		return err
	}
	for _, n := range sizes {
		w, err := b.world(n, r)
		if err != nil {
			return errors.Join(err, b.close())
		}
		b.worlds = append(b.worlds, w)
	}
	if b.lister, err = newOurs(newWorkload(1_000, listed/toolsAServer)); err != nil {
		return errors.Join(err, b.close())
	}
	return nil
}

func (b *bench) close() error {
	if b.peer == nil {
		return nil
	}
	return b.peer.close()
}

func (b *bench) world(n int, r *Report) (*world, error) {
	load := newWorkload(n, max(1, n/20))
	o, err := newOurs(load)
	if err != nil {
		return nil, err
	}
	s, err := newScan(load)
	if err != nil {
		return nil, err
	}
	w := &world{policies: n, ours: o, subjects: []*subject{{name: ready, decide: o.ready}, {name: fromJSON, decide: o.fromJSON}, {name: scanned, decide: s.decide}}}
	var opa []bool
	if b.peer != nil {
		inputs, err := load.inputs()
		if err != nil {
			return nil, err
		}
		a, err := b.peer.ask(question{Name: fmt.Sprint(n), Module: load.rego.String(), Inputs: inputs})
		if err != nil {
			return nil, err
		}
		opa, r.OPA = a.Allowed, a.Version
		r.OPALoad = append(r.OPALoad, a.Load)
	}
	if err := agree(n, w.subjects, opa); err != nil {
		return nil, err
	}
	allowed := 0
	for _, ok := range o.answers {
		if ok {
			allowed++
		}
	}
	fmt.Fprintf(b.Log, "%d policies, %d tools: %d requests, %d allowed, decided alike by all\n", n, len(load.tools), requests, allowed)
	return w, nil
}

// Round is every measurement once.
type Round struct {
	rig.Turn
	Sizes  map[int]map[string]Sample `json:"sizes"` // by policies and subject
	List   float64                   `json:"list_us"`
	Cached float64                   `json:"list_cached_us"`
	Load   float64                   `json:"load_s"`
	Replay float64                   `json:"replay_per_s"`
}

func (b *bench) round(r *Round, backwards bool) (err error) {
	r.Sizes = map[int]map[string]Sample{}
	worlds := slices.Clone(b.worlds)
	if backwards {
		slices.Reverse(worlds)
	}
	for _, w := range worlds {
		if r.Sizes[w.policies], err = b.decisions(w, backwards); err != nil {
			return err
		}
	}
	if err := b.others(r); err != nil {
		return err
	}
	return nil
}

// decisions measures every subject at one size.
func (b *bench) decisions(w *world, backwards bool) (map[string]Sample, error) {
	order := names
	if backwards {
		slices.Reverse(order[:])
	}
	out := map[string]Sample{}
	for _, name := range order {
		s, ok, err := b.sample(w, name)
		if err != nil {
			return nil, fmt.Errorf("%d policies, %s: %w", w.policies, name, err)
		}
		if ok {
			out[name] = s
		}
	}
	return out, nil
}

func (b *bench) sample(w *world, name string) (s Sample, ok bool, err error) {
	switch name {
	case first:
		s, err = w.ours.first()
		return s, true, err
	case opaParsed, opaJSON:
		if b.peer == nil {
			return s, false, nil
		}
		run := map[string]string{opaParsed: "parsed", opaJSON: "json"}[name]
		a, err := b.peer.ask(question{Name: fmt.Sprint(w.policies), Run: run, Time: b.Time})
		return a.Sample, true, err
	}
	for _, subject := range w.subjects {
		if subject.name == name {
			s, err = subject.measure(b.Time)
			return s, true, err
		}
	}
	return s, false, nil
}

// at finds the workload of a size.
func (b *bench) at(n int) *ours {
	for _, w := range b.worlds {
		if w.policies == n {
			return w.ours
		}
	}
	return nil
}

// others measures what is not a decision of one call.
func (b *bench) others(r *Round) (err error) {
	if r.List, r.Cached, err = b.lister.lists(); err != nil {
		return err
	}
	if r.Replay, err = b.at(1_000).replay(b.Time); err != nil {
		return err
	}
	big := b.at(10_000).w
	defs := big.toolDefs()
	used, err := spent(func() error { _, err := big.load(defs); return err })
	r.Load = used.Seconds()
	return err
}
