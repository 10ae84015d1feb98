package pipeline_test

import (
	"fmt"
	"testing"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// A ledger without room, one over its bounds and one that a disk error stopped refuse every call before it goes out.
func TestWithoutRoomForItsRecordNoCallGoesOut(t *testing.T) {
	for _, cause := range []error{wal.ErrFull, wal.ErrBusy, wal.ErrPoisoned, wal.ErrDeadline, wal.ErrClosed} {
		for _, only := range []ledger.Kind{ledger.Unknown, ledger.Admitted} { // unknown: all of them
			h := build(t)
			h.book.fail = func(k ledger.Kind) error {
				if only == ledger.Unknown || k == only {
					return fmt.Errorf("ledger: %w", cause)
				}
				return nil
			}
			c := h.run(call())
			if c.Denial == nil || c.Denial.Code != pipeline.AuditUnavailable || c.Denial.Status() != 503 || c.Denial.RetryAfter <= 0 || h.up.calls != 0 {
				t.Errorf("%v: %+v, %d calls forwarded", cause, c.Denial, h.up.calls)
			}
		}
		h := build(t)
		h.book.fail = func(k ledger.Kind) error {
			if k == ledger.Settled {
				return cause
			}
			return nil
		}
		if c := h.run(call()); c.Denial == nil || c.Denial.Code != pipeline.AuditUnavailable || c.Denial.RetryAfter != 0 || c.Reply.Result != nil {
			t.Errorf("%v: a call that took effect is to be made again: %+v", cause, c.Denial)
		}
	}
}
