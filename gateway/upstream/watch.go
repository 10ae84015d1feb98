package upstream

import (
	"context"
	"sync"
	"time"
)

// sweepEvery is how late a time limit or a cancellation may be noticed.
const sweepEvery = 20 * time.Millisecond

// parkAfter is how many empty sweeps in a row put the watcher to rest; while
// it rests it looks only after idle connections and sessions, every tidyEvery.
const (
	parkAfter = 50
	tidyEvery = 10 * time.Second
)

// longAgo is a deadline that makes every blocked read and write return.
var longAgo = time.Unix(1, 0)

// watched is a connection's place in the watcher's list while it is in use.
type watched struct {
	ctx        context.Context //nolint:containedctx // held only while the call runs
	deadline   time.Time
	cause      *Error // set when the watcher ended the exchange
	next, prev *conn
}

// watcher ends exchanges whose time is up or whose caller has gone. One
// goroutine looks at all of them in turn: a timer and a context callback for
// each call would cost several allocations and system calls.
type watcher struct {
	now  func() time.Time
	tidy func() // called while resting
	wake chan struct{}
	quit chan struct{}
	done chan struct{}

	mu      sync.Mutex // guards what follows, and each listed conn's watched
	first   *conn
	resting bool
}

func newWatcher(now func() time.Time, tidy func()) *watcher {
	w := &watcher{now: now, tidy: tidy, wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	w.resting = true
	go w.run()
	return w
}

func (w *watcher) stop() {
	close(w.quit)
	<-w.done
}

// add starts watching c. From here to remove the watcher may make its reads
// and writes fail.
func (w *watcher) add(ctx context.Context, c *conn, deadline time.Time) {
	w.mu.Lock()
	c.watch = watched{ctx: ctx, deadline: deadline, next: w.first}
	if w.first != nil {
		w.first.watch.prev = c
	}
	w.first = c
	wake := w.resting
	w.resting = false
	w.mu.Unlock()
	if wake {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// remove stops watching c and returns why the watcher ended the exchange, if
// it did. The connection is then of no more use.
func (w *watcher) remove(c *conn) *Error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.watch.prev != nil {
		c.watch.prev.watch.next = c.watch.next
	} else {
		w.first = c.watch.next
	}
	if c.watch.next != nil {
		c.watch.next.watch.prev = c.watch.prev
	}
	cause := c.watch.cause
	c.watch = watched{}
	return cause
}

// deadline returns the time limit of a connection that is watched.
func (w *watcher) deadline(c *conn) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return c.watch.deadline
}

// postpone changes the time limit of a connection that is watched.
func (w *watcher) postpone(c *conn, deadline time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.watch.deadline = deadline
}

func (w *watcher) run() {
	defer close(w.done)
	tidy := time.NewTicker(tidyEvery)
	defer tidy.Stop()
	for {
		select {
		case <-w.wake:
			if !w.patrol() {
				return
			}
		case <-tidy.C:
			w.tidy()
		case <-w.quit:
			return
		}
	}
}

// patrol sweeps until nothing was in use for a while, or returns false to quit.
func (w *watcher) patrol() bool {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for empty, sweeps := 0, 0; empty < parkAfter; sweeps++ {
		select {
		case <-tick.C:
		case <-w.quit:
			return false
		}
		empty++
		if w.sweep(empty == parkAfter) {
			empty = 0
		}
		if sweeps%int(tidyEvery/sweepEvery) == 0 {
			w.tidy()
		}
	}
	return true
}

// sweep looks at each connection in use and reports whether there was one. With
// rest, an empty list marks the watcher as resting.
func (w *watcher) sweep(rest bool) bool {
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := w.first; c != nil; c = c.watch.next {
		if c.watch.cause != nil {
			continue
		}
		switch {
		case c.watch.ctx.Err() != nil:
			c.watch.cause = canceled(c.watch.ctx)
		case now.After(c.watch.deadline):
			c.watch.cause = fault(Timeout, "no complete answer in time")
		default:
			continue
		}
		_ = c.net.SetDeadline(longAgo) // a closed connection needs no deadline
	}
	w.resting = rest && w.first == nil
	return w.first != nil
}
