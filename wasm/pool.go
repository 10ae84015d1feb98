package wasm

import (
	"context"
	"errors"
	"sync"
	"time"
)

var (
	errBusy   = errors.New("every instance is at work")
	errClosed = errors.New("the filter is closed")
)

// pool lends a filter's instances, the one used last first, because its memory is still in the processor's cache.
type pool struct {
	slots chan struct{} // one for each instance lent
	wait  time.Duration
	after func()        // called when the pool is over and the last instance gone
	empty chan struct{} // closed after that

	mu    sync.Mutex // guards what follows
	idle  []*instance
	live  int // idle or lent
	over  bool
	tally tally
}

func newPool(size int, wait time.Duration, after func()) *pool {
	return &pool{slots: make(chan struct{}, size), wait: wait, after: after, empty: make(chan struct{})}
}

// take lends an instance. Nil without an error asks the caller to make one. Either way give must follow.
func (p *pool) take(ctx context.Context) (*instance, error) {
	select {
	case p.slots <- struct{}{}:
	default:
		if err := p.queue(ctx); err != nil {
			return nil, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		<-p.slots
		return nil, errClosed
	}
	last := len(p.idle) - 1
	if last < 0 {
		p.live++
		return nil, nil
	}
	in := p.idle[last]
	p.idle = p.idle[:last]
	return in, nil
}

// queue waits for a slot.
func (p *pool) queue(ctx context.Context) error {
	p.mu.Lock()
	p.tally.waits++
	p.mu.Unlock()
	timer := time.NewTimer(p.wait)
	defer timer.Stop()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return &contextEnd{ended(ctx)}
	case <-timer.C:
		return errBusy
	}
}

// give takes back what take lent, nil when that is gone, with what the call came to.
func (p *pool) give(in *instance, o outcome) {
	p.mu.Lock()
	p.tally.add(o)
	if in == nil {
		p.live--
		p.tally.thrown++
	} else {
		p.idle = append(p.idle, in)
	}
	p.sweep()
	p.mu.Unlock()
	<-p.slots
}

// refused counts a call that got no instance.
func (p *pool) refused(t *Trap) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tally.add(outcome{trap: t})
}

// sweep closes idle instances once the pool is over.
func (p *pool) sweep() {
	if !p.over {
		return
	}
	for _, in := range p.idle {
		_ = in.close() // frees memory, and has nothing else to fail at
		p.live--
	}
	p.idle = nil
	if p.live == 0 {
		p.after()
		close(p.empty)
	}
}

// close ends the pool: nothing more is lent. The channel closes when the last instance is gone.
func (p *pool) close() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.over = true
		p.sweep()
	}
	return p.empty
}

func (p *pool) stats(s *FilterStats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Instances, s.InUse = p.live, p.live-len(p.idle)
	p.tally.fill(s)
}
