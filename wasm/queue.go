package wasm

import (
	"context"
	"sync/atomic"
	"time"
)

// queue is where calls wait for what others hold. Those who give something back leave a token when somebody waits; a token
// says only that it is worth another try.
type queue struct {
	waiting atomic.Int64
	waits   atomic.Uint64 // how often somebody had to
	wake    chan struct{} // has room for a token for each thing that can be held
}

// enter waits until try works, at most that long. Its errors are errBusy and that of ctx.
func (q *queue) enter(ctx context.Context, wait time.Duration, try func() bool) error {
	q.waits.Add(1)
	q.waiting.Add(1)
	defer q.waiting.Add(-1)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for !try() { // after waiting was raised: what is given back from now on leaves a token
		select {
		case <-q.wake:
		case <-ctx.Done():
			return &contextEnd{ended(ctx)}
		case <-timer.C:
			return errBusy
		}
	}
	return nil
}

// leave tells one of those who wait that something was given back.
func (q *queue) leave() {
	if q.waiting.Load() == 0 {
		return
	}
	select {
	case q.wake <- struct{}{}:
	default: // there are tokens for all that can be had
	}
}
