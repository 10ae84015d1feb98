// Package wasm measures what a filter costs: the way there and back, the loop inside, the metering, and putting its memory
// back, of the same small filters built from C, Rust and AssemblyScript. What is compared is compared within one round.
package wasm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"

	"github.com/gatewright/gatewright/bench/rig"
	"github.com/gatewright/gatewright/wasm/abi"
)

// Options say how to measure.
type Options struct {
	Self   []string      // the command that starts this binary, for the compiler's children
	Rounds int           // rounds, each with every subject in turn
	Time   time.Duration // CPU time of one subject in a round
	Log    io.Writer     // progress
}

// languages that the guests are built from.
var languages = [...]string{"c", "rust", "as"}

// sizes are those of memory at which putting back is measured, in bytes.
var sizes = [...]int{128 << 10, 256 << 10, 1 << 20, 4 << 20}

// contextSize is how large the context is that guests are shown, in bytes.
const contextSize = 2048

// bench is one run.
type bench struct {
	Options
	call     *abi.Context
	input    []byte // the same as guests see it
	subjects []*subject
	closers  []func() error
}

// subject is one thing that is measured.
type subject struct {
	name string
	// run does the work n times and returns the CPU time of each part of it.
	run func(n int) (parts, error)
	n   int // how often in a round
}

// parts of the work: what is asked for, and what it leaves to be done later.
type parts struct{ work, rest time.Duration }

// Sample is what one subject took in a round, in microseconds of CPU time each time.
type Sample struct {
	Work float64 `json:"work_us"`
	Rest float64 `json:"rest_us,omitempty"` // putting the instance back
}

// Round is every measurement once.
type Round struct {
	rig.Turn
	Samples map[string]Sample `json:"samples"` // by subject
}

// Run measures.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("wasm: %w", err)
		}
	}()
	if o.Rounds < 1 || o.Time <= 0 {
		return nil, errors.New("rounds and time must be positive")
	}
	b := &bench{Options: o, call: newContext()}
	b.input = slices.Clone(b.call.JSON())
	defer func() { err = errors.Join(err, b.close()) }()
	r := newReport(&o)
	if err := b.open(ctx, r); err != nil {
		return nil, err
	}
	runtime.LockOSThread() // CPU time is the thread's: what goes on beside the calls is not theirs
	defer runtime.UnlockOSThread()
	if r.Rounds, err = rig.Repeat(o.Rounds, o.Log, func(n int, r *Round) error { return b.round(r, n%2 == 1) }, (*Round).line); err != nil {
		return nil, err
	}
	r.summarize()
	return r, nil
}

// newContext is a call as agents make them, of exactly contextSize bytes.
func newContext() *abi.Context {
	c := &abi.Context{
		Tenant: "org_7fd2", Agent: "agt_11ac", User: "usr_9b01", Op: "tools/call", Server: "files", Tool: "write",
		Now: 1_700_000_000_000, Labels: []string{"seen:before"}, Body: []byte(`{"path":"/srv/notes/today.md","text":""}`),
	}
	at := len(c.Body) - len(`"}`)
	c.Body = slices.Insert(c.Body, at, slices.Repeat([]byte("Meet at noon. "), contextSize)[:contextSize-len(c.JSON())]...)
	return c
}

// open makes the subjects and shows that each does its work.
func (b *bench) open(ctx context.Context, r *Report) error {
	for _, language := range languages {
		if err := errors.Join(b.filters(ctx, language, r), b.bare(ctx, language)); err != nil {
			return fmt.Errorf("%s: %w", language, err)
		}
	}
	b.add("native loop", b.native)
	if err := b.cached(ctx, r); err != nil {
		return err
	}
	for _, s := range b.subjects {
		if err := s.fit(b.Time); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

func (b *bench) add(name string, run func(n int) (parts, error)) {
	b.subjects = append(b.subjects, &subject{name: name, run: run})
}

func (b *bench) close() (err error) {
	for _, c := range slices.Backward(b.closers) {
		err = errors.Join(err, c())
	}
	return err
}

// fit finds how often the work fits into d.
func (s *subject) fit(d time.Duration) error {
	for s.n = 1; ; s.n *= 2 {
		p, err := s.run(s.n)
		if err != nil {
			return err
		}
		if took := p.work + p.rest; took >= d/4 || s.n >= 1<<24 {
			s.n = max(1, int(float64(s.n)*float64(d)/float64(max(took, 1))))
			return nil
		}
	}
}

func (b *bench) round(r *Round, backwards bool) (err error) {
	r.Samples = map[string]Sample{}
	subjects := slices.Clone(b.subjects)
	if backwards {
		slices.Reverse(subjects)
	}
	for _, s := range subjects {
		if r.Samples[s.name], err = s.sample(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// pieces of a subject's work in a round. Their median counts: one that something else came in between says little.
const pieces = 5

func (s *subject) sample() (Sample, error) {
	var work, rest []float64
	n := max(1, s.n/pieces)
	for range pieces {
		p, err := s.run(n)
		if err != nil {
			return Sample{}, err
		}
		each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 / float64(n) }
		work, rest = append(work, each(p.work)), append(rest, each(p.rest))
	}
	return Sample{rig.Median(work), rig.Median(rest)}, nil
}

// timed is the CPU time of this thread for some work.
func timed(work func() error) (time.Duration, error) { return between(rig.ThreadCPU, work) }

// timedAll is that of the whole process.
func timedAll(work func() error) (time.Duration, error) { return between(rig.ExactCPU, work) }

func between(clock func() (time.Duration, error), work func() error) (time.Duration, error) {
	from, err := clock()
	if err != nil {
		return 0, err
	}
	if err := work(); err != nil {
		return 0, err
	}
	to, err := clock()
	return to - from, err
}
