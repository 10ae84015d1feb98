package control

import (
	"context"
	"net/http"
)

// turn lets one in at a time: compiling a bundle can take one processor for seconds, and calls need the others.
type turn chan struct{}

// take waits for the turn, no longer than the request lives. Done ends it.
func (t turn) take(ctx context.Context) (done func(), err error) {
	if ctx.Err() == nil {
		select {
		case t <- struct{}{}:
			return func() { <-t }, nil
		case <-ctx.Done():
		}
	}
	return nil, refuse(http.StatusServiceUnavailable, "busy", "other bundles are being compiled", "nothing was changed: try again later").later(roomSoon)
}
