package ledger

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"
)

// pace says when the next call of an open loop is due: the gaps are those of a Poisson process.
type pace struct {
	due    time.Time
	gap    float64 // mean, in nanoseconds
	random *rand.Rand
}

func newPace(rate float64) *pace {
	return &pace{due: time.Now(), gap: float64(time.Second) / rate, random: rand.New(rand.NewPCG(1, 2))}
}

func (p *pace) next() { p.due = p.due.Add(time.Duration(p.random.ExpFloat64() * p.gap)) }

// crowd are the writers of an open loop, those that have nothing to do on idle.
type crowd struct {
	subject subject
	idle    chan *member
	all     []*member
	wg      sync.WaitGroup
}

type member struct {
	begin chan time.Time
	times []time.Duration
	err   error
}

// crowdSize is how many calls can be under way in an open loop: far more than there are while the subject keeps up.
const crowdSize = 4096

// arrive makes that many calls a second for a while, whether those before are done or not, and returns the time of each.
// One thread, on a processor of its own, says when: a timer of the runtime is a millisecond late where nothing else
// happens. A call counts from when that thread starts it, or from when it was due if nobody was free to make it.
func arrive(ctx context.Context, s subject, d time.Duration, rate float64) ([]time.Duration, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU() + 1))
	c := &crowd{subject: s, idle: make(chan *member, crowdSize)}
	for range crowdSize {
		m := &member{begin: make(chan time.Time, 1)}
		c.all = append(c.all, m)
		c.idle <- m
		c.wg.Go(func() { c.serve(ctx, m) })
	}
	c.start(ctx, d, rate)
	for _, m := range c.all {
		close(m.begin)
	}
	c.wg.Wait()
	var times []time.Duration
	errs := []error{ctx.Err()}
	for _, m := range c.all {
		times, errs = append(times, m.times...), append(errs, m.err)
	}
	return slices.Clip(times), errors.Join(errs...)
}

// start starts calls when they are due.
func (c *crowd) start(ctx context.Context, d time.Duration, rate float64) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p := newPace(rate)
	for end := p.due.Add(d); p.due.Before(end) && ctx.Err() == nil; p.next() {
		now := time.Now()
		if left := p.due.Sub(now); left > 0 {
			nap(left)
			now = time.Now()
		}
		select {
		case m := <-c.idle:
			m.begin <- now
		default:
			m := <-c.idle
			m.begin <- p.due
		}
	}
}

func (c *crowd) serve(ctx context.Context, m *member) {
	w := newWriter()
	for began := range m.begin {
		if m.err == nil {
			m.err = c.subject.keep(ctx, w)
			m.times = append(m.times, time.Since(began))
		}
		c.idle <- m
	}
}
