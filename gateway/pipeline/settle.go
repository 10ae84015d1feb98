package pipeline

import (
	"context"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// settle records what came of an admitted call. No record, no reply.
func (l *Line) settle(ctx context.Context, c *Call, admitted string, took time.Duration, cause error) {
	err := l.guard("settle", func() error {
		r, err := l.recordOutcome(c)
		if err != nil {
			return err
		}
		l.outcome(c, r, cause)
		note(r, c.said)
		c.tasked(r)
		r.Of, r.Status, r.Micros = admitted, c.Reply.Status, uint64(took.Microseconds())
		if body := c.Reply.body(); body != nil {
			r.Reply = saltedDigest(&c.seal, c.Salt, body)
		}
		if err := l.write(ctx, c, r); err != nil {
			return err
		}
		c.outcome, c.code = r.Outcome, r.Code
		return nil
	})
	if err != nil {
		l.Log.Error("outcome not recorded, reply withheld", "op", c.Op, "tenant", c.Caller.Tenant(), "record", admitted, "error", err)
		c.Denial = ledgerDenial(err)
		c.Denial.RetryAfter = 0 // the call took effect: nobody is asked to make it again
		c.Record, c.Receipt = admitted, c.Receipt[:0]
	} else {
		l.stats.Settled.Add(1)
	}
	if c.Denial != nil {
		c.Reply = Reply{}
	}
}

func (l *Line) recordOutcome(c *Call) (*ledger.Record, error) {
	if c.again != nil {
		return l.recordAgain(c, ledger.Settled)
	}
	r, err := l.record(c, ledger.Settled)
	if err == nil && !c.Takes() {
		tried(r)
	}
	if err == nil {
		c.continues(r)
	}
	return r, err
}

// outcome fills the record's outcome and sets the caller's refusal where there is one.
func (l *Line) outcome(c *Call, r *ledger.Record, cause error) {
	if cause == nil && c.again != nil {
		r.Outcome, r.Code = c.again.outcome, c.again.code // whatever filters made of its text since
		note(r, c.Filtered)
		return
	}
	if cause == nil && c.Reply.Error == nil && !toolFailed(c.Reply.Result) {
		r.Outcome = "ok"
		note(r, c.Filtered)
		return
	}
	w, back := cause.(*withheld) //nolint:errorlint // as onTheWayBack gives it; what others wrap is not asked
	switch {
	case back:
		r.Outcome, r.Code = "withheld", string(w.denial.Code)
		note(r, w.denial.Reason)
		c.Denial = w.denial
	case cause != nil:
		d := asDenial(cause)
		r.Outcome, r.Code, r.Detail = "upstream_error", string(d.Code), d.Reason
		if d.Uncertain || d.Code == Internal {
			r.Outcome = "unknown"
		}
		c.Denial = d
		if d.Code == Internal {
			l.stats.Faults.Add(1)
			l.Log.Error("call failed after it was admitted", "op", c.Op, "tenant", c.Caller.Tenant(), "error", cause)
		}
	default:
		r.Outcome = "tool_error"
		note(r, c.Filtered)
	}
}

// tried makes the record one of a call that is only judged: it names plan and token, and spends no step.
func tried(r *ledger.Record) {
	r.Plan, r.Step, r.Uses, r.After, r.PlanExpires = merkle.Hash{}, -1, 0, r.After[:0], 0
	note(r, "judged only")
}

// note adds to what the record says beside its code.
func note(r *ledger.Record, text string) {
	switch {
	case r.Detail == "":
		r.Detail = text
	case text != "":
		r.Detail += "; " + text
	}
}

// toolFailed says whether a tool reported its own failure (MCP CallToolResult.isError).
func toolFailed(result []byte) bool {
	v, ok := canon.Get(result, "isError")
	return ok && string(v) == "true"
}

func (r Reply) body() []byte {
	if r.Bare() {
		return r.Task.body()
	}
	if r.Result != nil {
		return r.Result
	}
	return r.Error
}
