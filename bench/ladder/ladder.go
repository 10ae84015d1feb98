// Package ladder measures what the gateway costs over a bare reverse proxy, part by part: every rung is a process of
// its own before one upstream, driven by the same requests in turn, and what is compared is the CPU time a call takes.
//
// Rounds go through all rungs, each second one backwards, and every ratio is taken within its round, so that a machine
// that grows slower or faster shifts none of them. A round during which the machine was not quiet is repeated. Before
// each round every rung must show that it does its task.
package ladder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gatewright/gatewright/bench/rig"
)

// Options say how to measure.
type Options struct {
	Self    []string      // the command that starts this binary, for the children
	Rounds  int           // rounds that count; 5 or more for a figure that is to be quoted
	Time    time.Duration // of one rung in a round
	Conns   int           // connections, each with one call in flight
	Parts   bool          // also the rungs that are only parts of the gateway
	Profile string        // folder for profiles of the whole gateway; empty: none
	Log     io.Writer     // progress
}

// Bounds of noise within a round, beyond which it is repeated.
const (
	maxSteal = 0.01 // share of CPU time taken by the host
	maxOff   = 0.05 // change of the speed of computing
)

// Round is one walk over all rungs.
type Round struct {
	Order   []string          `json:"order"`
	Before  rig.Weather       `json:"before"`
	After   rig.Weather       `json:"after"`
	Noise   string            `json:"noise,omitempty"` // why it does not count, or would not have
	Counts  bool              `json:"counts"`
	Samples map[string]Sample `json:"samples"`
}

// bench is a ladder that stands.
type bench struct {
	o      Options
	up     *rig.Child
	ladder []*runner
	watch  *rig.Watch
	dir    string
}

// Run builds the ladder, measures, and takes it down.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	if o.Rounds < 1 || o.Time <= 0 || o.Conns < 1 {
		return nil, errors.New("ladder: rounds, time and connections must be positive")
	}
	if err := checkTask(); err != nil {
		return nil, err
	}
	b := &bench{o: o}
	if b.dir, err = os.MkdirTemp("", "gatewright-ladder-"); err != nil {
		return nil, fmt.Errorf("ladder: %w", err)
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.build(ctx); err != nil {
		return nil, fmt.Errorf("ladder: %w", err)
	}
	rounds, err := b.rounds(ctx)
	if err != nil {
		return nil, fmt.Errorf("ladder: %w", err)
	}
	if err := b.profiles(ctx); err != nil {
		return nil, fmt.Errorf("ladder: %w", err)
	}
	return b.report(rounds), nil
}

func (b *bench) logf(format string, args ...any) { fmt.Fprintf(b.o.Log, format+"\n", args...) }

// build starts the upstream and every rung.
func (b *bench) build(ctx context.Context) error {
	bundle := filepath.Join(b.dir, "bundle")
	err := errors.Join(writeShipped(bundle), writeGenerated(bundle))
	if err != nil {
		return err
	}
	if b.up, err = rig.Start(ctx, b.o.Self, rig.StubRole, stub()); err != nil {
		return err
	}
	for _, g := range rungs(b.up.Addr, bundle, b.dir) {
		if g.part && !b.o.Parts {
			continue
		}
		r := &runner{rung: g, conns: b.o.Conns}
		b.ladder = append(b.ladder, r)
		if err := r.start(ctx, b.o.Self); err != nil {
			return err
		}
	}
	last := b.ladder[len(b.ladder)-1]
	for _, r := range b.ladder {
		if r.pass == nil {
			r.pass = last.pass // proxies that look at nothing get the very same bytes
		}
	}
	b.watch = rig.NewWatch()
	return nil
}

func (b *bench) close() error {
	var errs []error
	for _, r := range b.ladder {
		errs = append(errs, r.stop())
	}
	if b.up != nil {
		errs = append(errs, b.up.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(b.dir))...)
}

// rounds measures until enough quiet rounds are there. When as many rounds were noisy as are asked for, noisy ones
// count too, and the report says so: a busy machine gives wide ranges, not an endless run.
func (b *bench) rounds(ctx context.Context) ([]Round, error) {
	var out []Round
	for counted, noisy := 0, 0; counted < b.o.Rounds; {
		r, err := b.round(ctx, len(out)%2 == 1)
		if err != nil {
			return nil, err
		}
		if r.Noise != "" {
			noisy++
		}
		r.Counts = r.Noise == "" || noisy > b.o.Rounds
		if r.Counts {
			counted++
		}
		out = append(out, r)
		b.logf("round %d/%d: %s%s", counted, b.o.Rounds, r.line(), r.remark())
	}
	return out, nil
}

func (r *Round) remark() string {
	switch {
	case r.Noise == "":
		return ""
	case r.Counts:
		return " (noisy: " + r.Noise + ")"
	}
	return " (repeated: " + r.Noise + ")"
}

// round measures every rung once.
func (b *bench) round(ctx context.Context, backwards bool) (Round, error) {
	for _, r := range b.ladder {
		if err := probe(ctx, r); err != nil {
			return Round{}, fmt.Errorf("%s does not do its task: %w", r.name, err)
		}
	}
	order := walk()
	if backwards {
		slices.Reverse(order)
	}
	out := Round{Samples: map[string]Sample{}}
	var err error
	if out.Before, err = b.watch.Look(); err != nil {
		return out, err
	}
	for _, name := range order {
		r := b.find(name)
		if r == nil {
			continue
		}
		s, err := r.measure(ctx, b.o.Time)
		if err != nil {
			return out, err
		}
		out.Order = append(out.Order, name)
		out.Samples[name] = s
	}
	if out.After, err = b.watch.Look(); err != nil {
		return out, err
	}
	out.Noise = noise(out.Before, out.After)
	return out, nil
}

func (b *bench) find(name string) *runner {
	for _, r := range b.ladder {
		if r.name == name {
			return r
		}
	}
	return nil
}

// noise says why a round is not to be trusted, or nothing.
func noise(before, after rig.Weather) string {
	if after.Steal > maxSteal {
		return fmt.Sprintf("the host took %.1f %% of the time", 100*after.Steal)
	}
	if off := after.Off(before); off > maxOff {
		return fmt.Sprintf("computing changed its speed by %.0f %%", 100*off)
	}
	return ""
}

// profiles loads the whole gateways once more, under the profiler.
func (b *bench) profiles(ctx context.Context) error {
	if b.o.Profile == "" {
		return nil
	}
	for _, r := range b.ladder {
		if r.role != full && r.name != bare {
			continue
		}
		s, err := r.profile(ctx, b.o.Profile, 4*b.o.Time)
		if err != nil {
			return err
		}
		b.logf("profile of %s: %d calls, %.1f us and %.0f objects (%.0f bytes) each", r.name, s.Calls, s.CPU, s.Mallocs, s.Bytes)
	}
	return nil
}
