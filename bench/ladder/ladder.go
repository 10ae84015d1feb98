// Package ladder measures what the gateway costs over a bare reverse proxy, part by part: every rung is a process of
// its own before one upstream, driven by the same requests in turn, and what is compared is the CPU time a call takes.
package ladder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gatewright/gatewright/bench/rig"
	"github.com/gatewright/gatewright/bench/task"
)

// Options say how to measure.
type Options struct {
	rig.Options
	Parts bool // also the rungs that are only parts of the gateway
}

// stand is a ladder that stands.
type stand struct {
	bench rig.Bench
	parts bool
	up    *rig.Child
	dir   string
}

// Run builds the ladder, measures, and takes it down.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("ladder: %w", err)
		}
	}()
	if err := errors.Join(o.Check(), task.Check()); err != nil {
		return nil, err
	}
	s := &stand{bench: rig.Bench{Options: o.Options, Order: walk()}, parts: o.Parts}
	if s.dir, err = os.MkdirTemp("", "gatewright-ladder-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.build(ctx); err != nil {
		return nil, err
	}
	rounds, err := s.bench.Rounds(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.bench.Profiles(ctx, bare, full, receipts, filter); err != nil {
		return nil, err
	}
	return report(s.bench.Report(rounds)), nil
}

// build starts the upstream and every rung.
func (s *stand) build(ctx context.Context) error {
	o := &s.bench.Options
	bundle := filepath.Join(s.dir, "bundle")
	err := task.WriteBundle(bundle)
	if err != nil {
		return err
	}
	noFilter := filterLoads(ctx, filterName)
	if noFilter != nil {
		o.Logf("no rung with the filter: %v", noFilter)
	}
	if s.up, err = rig.Start(ctx, o.Self, rig.StubRole, task.Stub()); err != nil {
		return err
	}
	var all []*task.Subject
	for _, g := range rungs(s.up.Addr, bundle, s.dir) {
		if g.part && !s.parts || g.filters && noFilter != nil {
			continue
		}
		subject, err := task.Start(ctx, o.Self, g.role, g.settings, g.gate)
		if err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		subject.Filters = g.filters
		all = append(all, subject)
		s.bench.Rows = append(s.bench.Rows, subject.Row(rig.Row{Name: g.name, Label: g.label, Against: bare, Processes: 1}, o.Conns))
	}
	for _, subject := range all {
		subject.Borrow(all[len(all)-1])
	}
	return nil
}

func (s *stand) close() error {
	err := s.bench.Close()
	if s.up != nil {
		err = errors.Join(err, s.up.Stop())
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}
