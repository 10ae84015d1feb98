package pipeline_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// spender is the register of approvals as the line sees it: each is there once.
type spender struct {
	left  map[string]bool
	spent []string // records that were named
}

var errSpent = errors.New("spent")

func (s *spender) Spend(_ context.Context, _, id, record string) error {
	if !s.left[id] {
		return errSpent
	}
	delete(s.left, id)
	s.spent = append(s.spent, record)
	return nil
}

// held is a line whose calls pass with the approval apr_1 alone.
func held(t *testing.T) (*house, *spender) {
	t.Helper()
	h := build(t, stage{name: "held", check: func(c *pipeline.Call) error { c.Approval = "apr_1"; return nil }})
	s := &spender{left: map[string]bool{"apr_1": true}}
	h.line.Approvals = s
	return h, s
}

func TestAnApprovalIsSpentUnderTheRecordOfItsCallAndOnce(t *testing.T) {
	h, s := held(t)
	if c := h.run(call()); c.Denial != nil {
		t.Fatal(c.Denial)
	}
	if first := h.book.records[0]; first.Kind != ledger.Admitted || !slices.Equal(s.spent, []string{first.ID}) || first.Detail != "approved apr_1" {
		t.Errorf("spent under %q; on record %+v", s.spent, first)
	}
	c := h.run(call())
	if c.Denial == nil || c.Denial.Code != pipeline.ApprovalRequired || h.up.calls != 1 {
		t.Fatalf("the same approval again: %v, %d forwarded", c.Denial, h.up.calls)
	}
	if last := h.book.last(); last.Kind != ledger.Settled || last.Outcome == "ok" || last.Code != string(pipeline.ApprovalRequired) {
		t.Errorf("on record %+v", last)
	}
}

func TestARefusedCallLeavesItsApproval(t *testing.T) {
	h, s := held(t)
	h.book.fail = func(k ledger.Kind) error {
		if k == ledger.Admitted {
			return wal.ErrOrder
		}
		return nil
	}
	if c := h.run(call()); c.Denial == nil || c.Denial.Code != pipeline.StepOrder {
		t.Fatalf("%v", c.Denial)
	}
	if !s.left["apr_1"] || len(s.spent) != 0 || h.up.calls != 0 {
		t.Errorf("left %v, spent %q, %d forwarded", s.left, s.spent, h.up.calls)
	}
}

func TestAHeldCallWithoutARegisterIsRefused(t *testing.T) {
	h, _ := held(t)
	h.line.Approvals = nil
	if c := h.run(call()); c.Denial == nil || c.Denial.Code != pipeline.ApprovalRequired || h.up.calls != 0 {
		t.Errorf("%v, %d forwarded", c.Denial, h.up.calls)
	}
}

func TestATrialTakesNothing(t *testing.T) {
	h, s := held(t)
	c := call()
	c.Trial = true
	c.Answer = func(_ context.Context, c *pipeline.Call) error {
		c.Reply.Result = []byte(`{"allowed":true}`)
		return nil
	}
	if h.run(c); c.Denial != nil || !s.left["apr_1"] || h.up.calls != 0 {
		t.Fatalf("%v, left %v, %d forwarded", c.Denial, s.left, h.up.calls)
	}
	for _, r := range h.book.records {
		if !r.Plan.IsZero() || r.Step != -1 {
			t.Errorf("on record as a step: %+v", r)
		}
	}
	c = call()
	c.Trial = true
	if h.run(c); c.Denial == nil || h.up.calls != 0 {
		t.Errorf("a trial that nobody answers: %v, %d forwarded", c.Denial, h.up.calls)
	}
}
