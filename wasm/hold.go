package wasm

import (
	"context"
	"fmt"
	"sync/atomic"
)

// holds counts who goes on using a filter that is about to be closed.
type holds struct{ n atomic.Int64 }

// closing is set in the count once nobody may begin to hold.
const closing = 1 << 62

// Hold keeps the filter open until Drop, or reports that Close was called. Whoever replaces filters while calls run puts the new
// ones into force, and closes the old ones after that; a call holds the filters it is to pass, and when one of them is closed
// already looks again which are in force. So no call meets a closed filter.
func (f *Filter) Hold() bool {
	if f.holds.n.Add(1) < closing {
		return true
	}
	f.Drop()
	return false
}

// Drop ends a Hold.
func (f *Filter) Drop() {
	if f.holds.n.Add(-1) == closing {
		f.pool.close()
	}
}

// end refuses further holds, and further calls once nobody holds the filter any more.
func (f *Filter) end() {
	for {
		n := f.holds.n.Load()
		if n >= closing {
			return
		}
		if f.holds.n.CompareAndSwap(n, n|closing) {
			if n == 0 {
				f.pool.close()
			}
			return
		}
	}
}

// Close refuses further holds and calls, waits for those there are, and frees what the filter holds. When ctx ends first it
// returns its error, and the rest happens once the last call is over.
func (f *Filter) Close(ctx context.Context) error {
	f.end()
	select {
	case <-f.pool.empty:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close filter %s: %w", f.name, ended(ctx))
	}
}
