package pipeline_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// odd is a ledger that does not answer as a ledger does, for records of one kind.
type odd struct {
	*book
	kind ledger.Kind
	do   func() // may panic
	lie  bool   // keeps nothing and says nothing
	mute bool   // gives no receipt
}

func (o *odd) Append(ctx context.Context, r *ledger.Record) (wal.Mark, error) {
	if r.Kind == o.kind && o.do != nil {
		o.do()
	}
	if r.Kind == o.kind && o.lie {
		return wal.Mark{}, nil
	}
	return o.book.Append(ctx, r)
}

func (o *odd) Settle(ctx context.Context, r *ledger.Record, receipt []byte) (wal.Mark, []byte, error) {
	m, err := o.Append(ctx, r)
	if err == nil && !o.mute {
		receipt = append(receipt, "receipt-of-"+r.ID...)
	}
	return m, receipt, err
}

// hostile is an error whose own methods panic.
type hostile struct{}

func (hostile) Error() string { panic("Error") }
func (hostile) Is(error) bool { panic("Is") }
func (hostile) As(any) bool   { panic("As") }

// TestALedgerThatDoesNotAnswerAsOneIsNotBelieved: a panic in it, and an answer that does not say where the record stands,
// are as good as an error. The caller is told nothing but that, and no panic leaves the line. Only a call that could not be
// admitted has a receipt: that of its refusal.
func TestALedgerThatDoesNotAnswerAsOneIsNotBelieved(t *testing.T) {
	boom := func() { panic("boom") }
	for name, c := range map[string]struct {
		odd   odd
		stage error // refuses before
		sent  int
	}{
		"panic at admitted":      {odd: odd{kind: ledger.Admitted, do: boom}},
		"panic at settled":       {odd: odd{kind: ledger.Settled, do: boom}, sent: 1},
		"panic at refused":       {odd: odd{kind: ledger.Refused, do: boom}, stage: errors.New("no")},
		"nothing at admitted":    {odd: odd{kind: ledger.Admitted, lie: true}},
		"nothing at settled":     {odd: odd{kind: ledger.Settled, lie: true}, sent: 1},
		"nothing at refused":     {odd: odd{kind: ledger.Refused, lie: true}, stage: errors.New("no")},
		"no receipt of settled":  {odd: odd{mute: true}, sent: 1},
		"no receipt of a denial": {odd: odd{mute: true}, stage: errors.New("no")},
	} {
		t.Run(name, func(t *testing.T) {
			h := build(t, stage{name: "s", check: func(*pipeline.Call) error { return c.stage }})
			c.odd.book = h.book
			h.line.Ledger = &c.odd
			got := h.run(call())
			if got.Denial == nil || got.Denial.Code != pipeline.AuditUnavailable || got.Reply.Result != nil || (len(got.Receipt) > 0) != (c.odd.kind == ledger.Admitted) {
				t.Errorf("%v, %s, receipt %q", got.Denial, got.Reply.Result, got.Receipt)
			}
			if h.up.calls != c.sent {
				t.Errorf("%d forwarded, want %d", h.up.calls, c.sent)
			}
		})
	}
}

// TestWhatCouldNotBeSettledIsNotGivenAgain: a retry gets the refusal that the first call got, not its reply.
func TestWhatCouldNotBeSettledIsNotGivenAgain(t *testing.T) {
	answers := &pipeline.Answers{}
	h := build(t, stage{name: "retry", check: func(c *pipeline.Call) error { return answers.Claim(c, time.Now()) }})
	o := &odd{book: h.book, kind: ledger.Settled, do: func() { panic("boom") }}
	h.line.Ledger = o
	try := func() *pipeline.Call {
		c := call()
		c.Retry = "k"
		return h.run(c)
	}
	try()
	o.do = nil
	if again := try(); again.Denial == nil || again.Denial.Code != pipeline.AuditUnavailable || again.Reply.Result != nil || h.up.calls != 1 {
		t.Errorf("%v, %s, %d forwarded", again.Denial, again.Reply.Result, h.up.calls)
	}
}

// TestAnErrorThatPanicsIsAFaultLikeAnother: errors come from libraries too.
func TestAnErrorThatPanicsIsAFaultLikeAnother(t *testing.T) {
	h := build(t, stage{name: "s", check: func(*pipeline.Call) error { return hostile{} }})
	if c := h.run(call()); c.Denial == nil || c.Denial.Code != pipeline.Internal || h.book.kinds() != "refused" || h.up.calls != 0 {
		t.Errorf("stage: %v, records %q", c.Denial, h.book.kinds())
	}
	h = build(t)
	h.up.answer = func(*pipeline.Call) error { return hostile{} }
	if c := h.run(call()); c.Denial == nil || c.Denial.Code != pipeline.Internal || h.book.kinds() != "admitted settled" {
		t.Errorf("upstream: %v, records %q", c.Denial, h.book.kinds())
	}
	h = build(t)
	h.book.fail = func(k ledger.Kind) error {
		if k == ledger.Admitted {
			return hostile{}
		}
		return nil
	}
	if c := h.run(call()); c.Denial == nil || c.Denial.Code != pipeline.AuditUnavailable || h.book.kinds() != "refused" || h.up.calls != 0 {
		t.Errorf("ledger: %v, records %q", c.Denial, h.book.kinds())
	}
}

// TestNoPanicLeavesTheLine: not even out of its own clock, at whatever moment, nor out of its randomness.
func TestNoPanicLeavesTheLine(t *testing.T) {
	for n := range 12 {
		h := build(t)
		left := n
		h.line.Now = func() time.Time {
			if left--; left == -1 {
				panic("clock")
			}
			return time.Now()
		}
		c := h.run(call())
		if left >= 0 {
			continue
		}
		if c.Denial == nil || c.Reply.Result != nil {
			t.Errorf("clock after %d: %v, %s", n, c.Denial, c.Reply.Result)
		}
	}
	h := build(t)
	h.line.Rand = panicking{}
	if c := h.run(call()); c.Denial == nil || c.Denial.Code != pipeline.AuditUnavailable || h.up.calls != 0 {
		t.Errorf("randomness: %v, %d forwarded", c.Denial, h.up.calls)
	}
}

type panicking struct{ io.Reader }

func (panicking) Read([]byte) (int, error) { panic("randomness") }

// TestAClockThatIsFarOffHoldsNoStrangersUp: what cannot be written would stand before all others for ever.
func TestAClockThatIsFarOffHoldsNoStrangersUp(t *testing.T) {
	h := build(t)
	h.line.Strangers.Note(call().Remote, pipeline.Unauthenticated, time.Time{})
	if err := h.line.Strangers.Flush(t.Context(), h.line); err != nil {
		t.Fatal(err)
	}
	r := h.book.last()
	r.ID, r.Tenant = "rec_"+"00000000000000000000000000", ledger.InstanceTenant
	if err := r.Normalize(); err != nil {
		t.Error(err)
	}
}
