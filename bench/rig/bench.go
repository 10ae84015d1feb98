package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Options say how to measure.
type Options struct {
	Self    []string      // the command that starts this binary, for the children
	Rounds  int           // rounds that count; 5 or more for a figure that is to be quoted
	Time    time.Duration // of one row in a round
	Conns   int           // calls in flight, each on a connection of its own where there are connections
	Profile string        // folder for profiles of some rows; empty: none
	Log     io.Writer     // progress
}

// Check refuses what measures nothing.
func (o *Options) Check() error {
	if o.Rounds < 1 || o.Time <= 0 || o.Conns < 1 {
		return errors.New("rounds, time and connections must be positive")
	}
	return nil
}

// Logf tells of progress.
func (o *Options) Logf(format string, args ...any) { fmt.Fprintf(o.Log, format+"\n", args...) }

// Bench measures rows in turn.
//
// Rounds go through all rows, each second one backwards, and every ratio is taken within its round, so that a machine
// that grows slower or faster shifts none of them. A round during which the machine was not quiet is repeated. Before
// each round every row must show that it does its task.
type Bench struct {
	Options Options
	Rows    []*Row
	// Order names the rows as an even round walks them: what is compared most stands together. Names that no row has are
	// passed over.
	Order []string
}

// Round is one walk over all rows.
type Round struct {
	Turn
	Order   []string          `json:"order"`
	Samples map[string]Sample `json:"samples"`
}

// Rounds measures until enough quiet rounds are there, as Repeat does.
func (b *Bench) Rounds(ctx context.Context) ([]Round, error) {
	for _, r := range b.Rows {
		if !slices.Contains(b.Order, r.Name) || b.find(r.Against) == nil {
			return nil, fmt.Errorf("row %s has no place in the order, or no row to be compared with", r.Name)
		}
	}
	return Repeat(b.Options.Rounds, b.Options.Log, func(n int, r *Round) error { return b.round(ctx, r, n%2 == 1) }, b.line)
}

// round measures every row once.
func (b *Bench) round(ctx context.Context, out *Round, backwards bool) error {
	for _, r := range b.Rows {
		if err := r.Probe(ctx); err != nil {
			return fmt.Errorf("%s does not do its task: %w", r.Name, err)
		}
	}
	order := slices.Clone(b.Order)
	if backwards {
		slices.Reverse(order)
	}
	out.Samples = map[string]Sample{}
	for _, name := range order {
		r := b.find(name)
		if r == nil {
			continue
		}
		s, err := r.measure(ctx, b.Options.Time)
		if err != nil {
			return err
		}
		out.Order = append(out.Order, name)
		out.Samples[name] = s
	}
	return nil
}

func (b *Bench) find(name string) *Row {
	for _, r := range b.Rows {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// line is a round in short: what is compared with, then the ratios.
func (b *Bench) line(r *Round) string {
	var units, ratios []string
	for _, name := range r.Order {
		if against := b.find(name).Against; against == name {
			units = append(units, fmt.Sprintf("%s %.1f us", name, r.Samples[name].CPU))
		} else {
			ratios = append(ratios, fmt.Sprintf("%s %.2fx", name, r.ratio(name, against)))
		}
	}
	return strings.Join(append(units, ratios...), ", ")
}

func (r *Round) ratio(name, against string) float64 {
	return r.Samples[name].CPU / r.Samples[against].CPU
}

// Profiles loads some rows once more, under the profiler, if that is asked for.
func (b *Bench) Profiles(ctx context.Context, names ...string) error {
	if b.Options.Profile == "" {
		return nil
	}
	for _, name := range names {
		r := b.find(name)
		if r == nil {
			continue
		}
		s, err := r.profile(ctx, b.Options.Profile, 4*b.Options.Time)
		if err != nil {
			return err
		}
		b.Options.Logf("profile of %s: %d calls, %.1f us and %.0f objects (%.0f bytes) each", name, s.Calls, s.CPU, s.Mallocs, s.Bytes)
	}
	return nil
}

// Close stops the children, each once: rows may share one.
func (b *Bench) Close() error {
	var errs []error
	stopped := map[*Child]bool{}
	for _, r := range b.Rows {
		if stopped[r.Child] {
			continue
		}
		stopped[r.Child] = true
		if err := r.Child.Stop(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.Name, err))
		}
	}
	return errors.Join(errs...)
}
