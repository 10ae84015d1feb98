package rig

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Pace calls at a rate, in calls a second, whatever the answers take: an open loop, in which who is slow is called no less.
// The calls are spread evenly over the connections. A call that has to wait for the one before it on its connection counts
// from when it was due. Result tells what came of it.
func (l *Load) Pace(ctx context.Context, d time.Duration, rate float64) error {
	if rate <= 0 {
		return errors.New("pace: the rate must be positive")
	}
	start := time.Now()
	for _, c := range l.conns {
		if err := c.conn.SetDeadline(start.Add(d + answerTimeout)); err != nil {
			return fmt.Errorf("pace: %w", err)
		}
	}
	each := time.Duration(float64(time.Second) / rate)
	var all sync.WaitGroup
	for i := range l.conns {
		all.Go(func() {
			p := pacer{due: start.Add(time.Duration(i) * each), every: time.Duration(len(l.conns)) * each, end: start.Add(d)}
			p.run(ctx, &l.callers.all[i], func() error {
				c := l.conns[i]
				r := &l.requests[c.next%len(l.requests)]
				c.next++
				return c.exchange(r)
			})
		})
	}
	all.Wait()
	l.callers.elapsed = time.Since(start)
	return ctx.Err()
}

// pacer says when a caller calls.
type pacer struct {
	due   time.Time
	every time.Duration
	end   time.Time
}

func (p *pacer) run(ctx context.Context, c *caller, call func() error) {
	c.times = c.times[:0]
	for ; c.fail == nil && ctx.Err() == nil && p.due.Before(p.end); p.due = p.due.Add(p.every) {
		began := p.due
		if wait := time.Until(p.due); wait > 0 {
			time.Sleep(wait)
			began = time.Now() // how late a timer wakes us is not the server's
		}
		if c.fail = call(); c.fail == nil {
			c.times = append(c.times, time.Since(began))
		}
	}
}
