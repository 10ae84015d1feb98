package server

import (
	"context"
	"errors"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// followAgain is the pause before the ledger is followed again after it could not be read.
const followAgain = time.Second

// After fewer events than followMany there is a pause of followPause: what comes meanwhile comes together, since being woken
// for each commit of the ledger costs more than the work.
const (
	followMany  = 64
	followPause = 3 * time.Millisecond
)

// followPlans lets the register of plans follow the ledger: from the capture of the oldest plan that may still be worked
// on, so that a start does not depend on how long the history is.
func (g *Gateway) followPlans(ctx context.Context) error {
	from, _ := g.ledger.Tip()
	if begins, ok := g.plans.Begins(); ok {
		var err error
		if from, err = g.ledger.Since(ctx, begins); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	g.unfollow = func() {
		cancel()
		<-done
	}
	go func() {
		defer close(done)
		g.follow(ctx, from)
	}()
	return nil
}

// follow tells the register every event from a cursor on, until ctx ends.
func (g *Gateway) follow(ctx context.Context, from wal.Cursor) {
	for ctx.Err() == nil {
		err := g.ledger.Follow(ctx, from, func(_ context.Context, events []wal.Event, next wal.Cursor) error {
			g.plans.Follow(events)
			from = next
			if len(events) < followMany {
				select {
				case <-ctx.Done():
				case <-time.After(followPause):
				}
			}
			return nil
		})
		if gap, ok := errors.AsType[*wal.GapError](err); ok {
			from = gap.First
			continue
		}
		if ctx.Err() != nil || errors.Is(err, wal.ErrClosed) {
			return
		}
		g.o.Log.Error("plans do not follow the ledger; it is tried again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(followAgain):
		}
	}
}
