package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
)

// strike is what happens at a seam instead of what should: done says that the real part is not asked any more, and then
// err is its answer, or the zero value when there is none.
type strike func(ctx context.Context, in *injector) (done bool, err error)

// fault is one thing that goes wrong once, or as long as a call lasts.
type fault struct {
	group, point, kind string
	strike             strike
	skip               int  // how many times the seam is passed before
	always             bool // every time after that, until the call is over
	call               shape

	refuse bool // nothing may go out, and nothing be answered
	silent bool // nothing may be answered; what went out was admitted
	forget bool // it makes the gateway forget the call's Idempotency-Key, so that a repeated call is a new one
	ledger bool // it keeps records from being made: a refusal as audit_unavailable needs none

	key    string             // API key of the call; the agent's own when empty
	prefix string             // of the call's argument, for servers that do as it says
	before func(*world) error // brings the fault about where no seam can
	after  func(*world) error // mends it
	end    func(*world) error // after the line has recovered
	struck bool               // set where it was brought about
}

func (f *fault) String() string {
	s := f.group + ": " + f.point + ": " + f.kind
	if f.skip > 0 {
		s += fmt.Sprintf(" after %d", f.skip)
	}
	if f.always {
		s += " always"
	}
	return s
}

// shape is the kind of call on which a fault strikes.
type shape int

const (
	planned shape = iota // a step of the plan
	offPlan              // refused by the intent stage
	ownList              // answered by the gateway itself, without a plan
)

// kind is a named strike.
type kind struct {
	name   string
	strike strike
}

var errInjected = errors.New("injected fault")

// kinds are the ways in which a part that can return an error goes wrong.
func kinds() []kind {
	return append([]kind{
		{"error", failing(errInjected)},
		{"foreign: nil denial", failing((*pipeline.Denial)(nil))},
		{"foreign: denial of no known code", failing(&pipeline.Denial{Code: "allowed"})},
		{"foreign: error that panics", failing(hostileError{})},
	}, mute()...)
}

// mute are the ways of a part that returns no error.
func mute() []kind {
	return []kind{
		{"panic", func(context.Context, *injector) (bool, error) { panic("injected panic") }},
		{"runtime panic", func(_ context.Context, in *injector) (bool, error) { return len(in.nothing[:1]) > 0, nil }},
		{"hang until deadline", hang},
		{"context canceled", func(_ context.Context, in *injector) (bool, error) {
			in.end(context.Canceled)
			return true, context.Canceled
		}},
		{zeroKind, func(context.Context, *injector) (bool, error) { return true, nil }},
		{lateKind, func(_ context.Context, in *injector) (bool, error) { in.clock.advance(2 * limit); return false, nil }},
	}
}

// The kinds after which a call may still be right.
const (
	zeroKind = "zero value"
	lateKind = "late answer"
)

func failing(err error) strike {
	return func(context.Context, *injector) (bool, error) { return true, err }
}

// hang waits until the caller's patience ends.
func hang(ctx context.Context, in *injector) (bool, error) {
	time.AfterFunc(2*time.Millisecond, func() { in.end(context.DeadlineExceeded) })
	select {
	case <-ctx.Done():
	case <-in.ended(): // what records an outcome does not hear of it
	}
	return true, context.DeadlineExceeded
}

// hostileError is an error of a library nobody here wrote.
type hostileError struct{}

func (hostileError) Error() string   { panic("injected panic of Error") }
func (hostileError) Is(error) bool   { panic("injected panic of Is") }
func (hostileError) As(any) bool     { panic("injected panic of As") }
func (hostileError) String() string  { panic("injected panic of String") }
func (hostileError) Timeout() bool   { return false }
func (hostileError) Temporary() bool { return true }

// injector strikes at the seam that the fault in force names.
type injector struct {
	clock   *clock
	nothing []byte // to reach beyond

	mu    sync.Mutex // guards what follows
	armed *fault
	skip  int
	fired bool
	ctx   *patience
}

// arm puts a fault in force for the call that is made with the returned context.
func (in *injector) arm(f *fault) context.Context {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.armed, in.fired, in.ctx = nil, false, newPatience()
	if f != nil {
		in.armed, in.skip = f, f.skip
	}
	return in.ctx
}

// disarm ends it and says whether it struck.
func (in *injector) disarm() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.armed = nil
	return in.fired
}

// meet is called at every seam.
func (in *injector) meet(ctx context.Context, point string) (done bool, err error) {
	in.mu.Lock()
	f := in.armed
	if f == nil || f.point != point || f.strike == nil {
		in.mu.Unlock()
		return false, nil
	}
	if in.skip > 0 {
		in.skip--
		in.mu.Unlock()
		return false, nil
	}
	if !f.always {
		in.armed = nil
	}
	in.fired = true
	in.mu.Unlock()
	return f.strike(ctx, in)
}

func (in *injector) end(err error) { in.now().end(err) }

func (in *injector) ended() <-chan struct{} { return in.now().Done() }

func (in *injector) now() *patience {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.ctx
}

// patience is a caller's context that ends when a fault says so, with the error a deadline or a client that left would
// give: faults cost no waiting, and a busy machine brings none about.
type patience struct {
	context.Context
	done chan struct{}

	mu  sync.Mutex
	err error
}

func newPatience() *patience {
	return &patience{Context: context.Background(), done: make(chan struct{})}
}

func (p *patience) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
		close(p.done)
	}
}

func (p *patience) Done() <-chan struct{} { return p.done }

func (p *patience) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// clock is the time of day, but for what faults added to it.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}
