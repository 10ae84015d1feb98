// Package streams measures what answers that stay open cost: memory for each that is idle, what is left when they have gone,
// and what other callers notice of thousands of them and of readers that do not read.
//
// A whole gateway is called at four tenths of what it takes at most. A round measures three times: beside the streams, without
// them, and without them again. The ratio is of the first p99 to the second, the control of the third to the second, so that
// what the machine does by itself shows. The streams are opened and closed anew in each round.
package streams

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gatewright/gatewright/bench/rig"
	"github.com/gatewright/gatewright/bench/task"
)

// Options say how to measure.
type Options struct {
	Self   []string      // the command that starts this binary, for the children
	Rounds int           // rounds that count
	Time   time.Duration // of each of a round's three measurements
	Conns  int           // connections of the other callers
	Idle   int           // streams on which nothing is said
	Slow   int           // streams with events that nobody reads
	Log    io.Writer     // progress
}

// share of what the gateway takes at most is what the other callers make.
const share = 0.4

// Roles are the children.
func Roles() map[string]rig.Role {
	return map[string]rig.Role{gatewayRole: task.ServeGateway, upstreamRole: serveTalker}
}

const (
	gatewayRole  = "streams-gateway"
	upstreamRole = "streams-upstream"
)

// stand is what is measured.
type stand struct {
	Options
	dir  string
	up   *rig.Child
	gate *rig.Child
	pass task.Pass
	load *rig.Load
	rate float64 // of the other callers, a second
	held []*held
}

// Run measures.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("streams: %w", err)
		}
	}()
	if o.Rounds < 1 || o.Time <= 0 || o.Conns < 1 || o.Idle < 0 || o.Slow < 0 {
		return nil, errors.New("rounds, time and connections must be positive, and streams not negative")
	}
	s := &stand{Options: o}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.build(ctx); err != nil {
		return nil, err
	}
	return s.measure(ctx)
}

// IdleKB is what each of n idle streams costs a gateway, in KiB of its memory.
func IdleKB(ctx context.Context, self []string, n int) (kb float64, err error) {
	s := &stand{Options: Options{Self: self, Conns: 1, Idle: n}}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.build(ctx); err != nil {
		return 0, fmt.Errorf("streams: %w", err)
	}
	var r Report
	if err := s.weigh(ctx, &r); err != nil {
		return 0, fmt.Errorf("streams: %w", err)
	}
	return r.KBIdle, nil
}

func (s *stand) build(ctx context.Context) (err error) {
	if s.dir, err = os.MkdirTemp("", "gatewright-streams-"); err != nil {
		return err
	}
	if s.up, err = rig.Start(ctx, s.Self, upstreamRole, task.Stub()); err != nil {
		return err
	}
	s.gate, err = rig.Start(ctx, s.Self, gatewayRole, task.Gateway{Upstream: s.up.Addr, Dir: s.dir, Receipts: true, Streams: 2 * (s.Idle + s.Slow)})
	if err != nil {
		return err
	}
	var d task.Detail
	if err := json.Unmarshal(s.gate.Detail, &d); err != nil {
		return fmt.Errorf("the gateway says of itself: %w", err)
	}
	s.pass = d.Pass
	s.load, err = rig.Dial(ctx, s.gate.Addr, s.Conns, s.pass.Requests(s.gate.Addr))
	return err
}

func (s *stand) close() error {
	errs := []error{s.drop()}
	if s.load != nil {
		errs = append(errs, s.load.Close())
	}
	for _, c := range []*rig.Child{s.gate, s.up} {
		if c != nil {
			errs = append(errs, c.Stop())
		}
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

func (s *stand) measure(ctx context.Context) (*Report, error) {
	for range 2 { // the first warms up
		if err := s.load.Run(ctx, s.Time); err != nil {
			return nil, err
		}
	}
	full, err := s.result()
	if err != nil {
		return nil, err
	}
	most := float64(full.Calls) / full.Elapsed.Seconds()
	s.rate = most * share
	r := &Report{Saturation: most, Conns: s.Conns, Idle: s.Idle, Slow: s.Slow, Time: s.Time.String()}
	if err := s.weigh(ctx, r); err != nil {
		return nil, err
	}
	fmt.Fprintf(s.Log, "the gateway takes %.0f calls a second; others make %.0f\n", most, s.rate)
	if r.Rounds, err = rig.Repeat(s.Rounds, s.Log, func(n int, r *Round) error { return s.round(ctx, n, r) }, (*Round).line); err != nil {
		return nil, err
	}
	if r.Left, err = s.left(r.Before); err != nil {
		return nil, err
	}
	r.summarize()
	return r, nil
}

// warm is how many streams of a kind are opened before anything is weighed: more than what the gateway keeps for later.
const warm = 256

// weigh finds what a stream costs in the gateway's memory. What was needed once for any number of streams is paid for
// before it looks.
func (s *stand) weigh(ctx context.Context, r *Report) (err error) {
	if err := errors.Join(s.hold(ctx, min(warm, s.Idle), s.listen), s.hold(ctx, min(warm, s.Slow), s.talk), s.drop()); err != nil {
		return err
	}
	if s.Time > 0 { // as many connections to the server are kept then as at the end
		if err := s.load.Run(ctx, s.Time); err != nil {
			return err
		}
	}
	if r.Before, err = s.settled(func(rig.Rest) bool { return false }); err != nil {
		return err
	}
	for _, part := range []struct {
		n    int
		wire func() []byte
		kb   *float64
		at   *rig.Rest
	}{{s.Idle, s.listen, &r.KBIdle, &r.WithIdle}, {s.Slow, s.talk, &r.KBSlow, &r.WithAll}} {
		before, err := s.gate.Rest()
		if err != nil {
			return err
		}
		if err := s.hold(ctx, part.n, part.wire); err != nil {
			return err
		}
		if *part.at, err = s.gate.Rest(); err != nil {
			return err
		}
		if part.n > 0 {
			*part.kb = float64(part.at.Resident-before.Resident) / float64(part.n) / 1024
		}
	}
	return s.drop()
}

// settled looks until the process holds no more than is wanted, for at most some seconds.
func (s *stand) settled(enough func(rig.Rest) bool) (r rig.Rest, err error) {
	for range 40 {
		if r, err = s.gate.Rest(); err != nil || enough(r) {
			return r, err
		}
		time.Sleep(250 * time.Millisecond)
	}
	return r, nil
}

// left is what the gateway holds beyond what it held before the streams, when it has had time to notice that they have gone.
func (s *stand) left(before rig.Rest) (rig.Rest, error) {
	now, err := s.settled(func(r rig.Rest) bool { return r.Goroutines <= before.Goroutines && r.Descriptors <= before.Descriptors })
	return rig.Rest{
		Resident: now.Resident - before.Resident, Goroutines: now.Goroutines - before.Goroutines, Descriptors: now.Descriptors - before.Descriptors,
	}, err
}

// orders are those in which a round measures: beside, without, control.
var orders = [...][3]int{{0, 1, 2}, {2, 0, 1}, {1, 2, 0}, {2, 1, 0}, {0, 2, 1}, {1, 0, 2}}

func (s *stand) round(ctx context.Context, n int, r *Round) (err error) {
	parts := []struct {
		streams bool
		to      *Part
	}{{true, &r.Beside}, {false, &r.Without}, {false, &r.Control}}
	for _, i := range orders[n%len(orders)] {
		if *parts[i].to, err = s.part(ctx, parts[i].streams); err != nil {
			return err
		}
	}
	return nil
}

// part measures the other callers, beside the streams or without.
func (s *stand) part(ctx context.Context, streams bool) (p Part, err error) {
	if streams {
		if err := errors.Join(s.hold(ctx, s.Idle, s.listen), s.hold(ctx, s.Slow, s.talk)); err != nil {
			return p, err
		}
		defer func() { err = errors.Join(err, s.drop()) }()
	}
	used, err := s.gate.Usage()
	if err != nil {
		return p, err
	}
	if err := s.load.Pace(ctx, s.Time, s.rate); err != nil {
		return p, err
	}
	now, err := s.gate.Usage()
	if err != nil {
		return p, err
	}
	got, err := s.result()
	if err != nil {
		return p, err
	}
	took := got.Elapsed.Seconds()
	return Part{
		Calls: got.Calls, Rate: float64(got.Calls) / took, P50: micros(got.P50), P99: micros(got.P99), CPU: (now.CPU - used.CPU).Seconds() / took,
		Open: s.open(),
	}, nil
}

// result is that of a load none of whose callers failed.
func (s *stand) result() (rig.Result, error) {
	r, err := s.load.Result()
	if err == nil && r.Failed > 0 {
		err = fmt.Errorf("%d callers failed: %s", r.Failed, r.Failure)
	}
	return r, err
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
