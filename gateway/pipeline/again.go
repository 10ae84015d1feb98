package pipeline

import (
	"bytes"
	"context"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies"
)

// Again says whether the same request was answered before under the call's Idempotency-Key. Such a call walks the whole
// row, so that nobody is told again what he may not know any more, and then has no effect.
func (c *Call) Again() bool { return c.again != nil }

// Repeats says whether the call repeats one that was granted as a step of the token's plan, when its tool had this
// schema. It stands for a Grant where that cannot be made any more because the plan has been used up.
func (c *Call) Repeats(schema merkle.Hash) bool {
	return c.again != nil && c.again.plan.InPlan && c.again.schema == schema && c.Token != nil
}

// Approved is the approval that let the answered call pass which this one repeats, or the first round of this call, or "",
// and how many people gave it. It was spent then.
func (c *Call) Approved() (id string, approvals int) {
	if c.Round != nil {
		return c.Round.approval, c.Round.approvals
	}
	if c.again == nil {
		return "", 0
	}
	return c.again.approval, c.again.approvals
}

// Entered is the session as the answered call found it which this one repeats. What repeats is counted nowhere.
func (c *Call) Entered() policies.SessionFacts {
	if c.again == nil {
		return policies.SessionFacts{}
	}
	return c.again.session
}

// granted says whether the call was proved to be a step of a plan, now or when it was answered first.
func (c *Call) granted() bool {
	return c.Grant.Valid() || c.Tool != nil && c.Repeats(c.Tool.SchemaHash)
}

// giveAgain answers a retry with the kept answer. That it was given again is on record, as a call of its own that had no
// effect, with the outcome of the first; the caller is told the record and receipt of the first. What filters would not
// let pass any more as it is goes under a record and receipt of its own.
func (l *Line) giveAgain(ctx context.Context, c *Call) {
	first, of := c.again, ""
	err := l.guard("admit", func() error {
		r, err := l.recordAgain(c, ledger.Admitted)
		if err != nil {
			return err
		}
		r.Verdict, of = "allow", r.ID
		if err := l.sealAsk(ctx, c, r); err != nil {
			return err
		}
		return l.append(ctx, r)
	})
	if err != nil {
		l.refuse(ctx, c, ledgerDenial(err))
		return
	}
	if first.denial == nil {
		c.Reply = first.reply
		if err := l.onTheWayBack(ctx, c); err != nil || !c.Reply.equal(first.reply) {
			l.settle(ctx, c, of, 0, err)
			c.Kept = c.Denial == nil
			return
		}
	}
	err = l.guard("settle", func() error {
		r, err := l.recordAgain(c, ledger.Settled)
		if err != nil {
			return err
		}
		r.Of, r.Outcome, r.Code = of, first.outcome, first.code
		return l.append(ctx, r)
	})
	if err != nil {
		l.refuse(ctx, c, ledgerDenial(err))
		return
	}
	c.Reply, c.Denial, c.Record, c.Salt, c.Kept = first.reply, first.denial, first.record, first.salt, true
	c.Receipt = append(c.Receipt[:0], first.receipt...)
}

// recordAgain is a record that names the plan and the token but no step: giving an answer again spends no use.
func (l *Line) recordAgain(c *Call, kind ledger.Kind) (*ledger.Record, error) {
	r, err := l.record(c, kind)
	if err != nil {
		return nil, err
	}
	if t := c.Token; t != nil && c.granted() {
		r.PlanID, r.Token = t.Claims().PlanID, t.Claims().ID
	}
	r.Plan, r.Step, r.Uses, r.After, r.PlanExpires = merkle.Hash{}, -1, 0, r.After[:0], 0
	r.Detail = "kept answer of " + c.again.record
	return r, nil
}

func (r Reply) equal(o Reply) bool {
	return bytes.Equal(r.Result, o.Result) && bytes.Equal(r.Error, o.Error)
}
