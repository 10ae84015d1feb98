package pipeline

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// Ledger makes facts durable. Each method returns only when the record is as durable as the operator's setting asks;
// an error means that it may not be, and the Line refuses.
type Ledger interface {
	Append(ctx context.Context, r *ledger.Record) (wal.Mark, error)
	Admit(ctx context.Context, r *ledger.Record, u wal.Use) (wal.Mark, error)
	Settle(ctx context.Context, r *ledger.Record, receipt []byte) (wal.Mark, []byte, error)
}

// Subjects gives the key under which a person's or agent's arguments are sealed in the ledger.
type Subjects interface {
	Subject(ctx context.Context, tenant, subject string) (cipher.AEAD, error)
}

// Approvals spends what people approved: once, durably, before the call that it is for goes out.
type Approvals interface {
	Spend(ctx context.Context, tenant, id, record string) error
}

// Forwarder takes an admitted call out to where it has its effect and fills c.Reply.
type Forwarder interface {
	Forward(ctx context.Context, c *Call) error
}

// Line is the row of stages with the three acts around them that only it performs: admit, forward, settle. Its fields
// are set once, before the first Run; Run is safe for concurrent use on different calls.
type Line struct {
	Stages    []Stage
	Ledger    Ledger
	Subjects  Subjects // nil: the ledger keeps salted commitments of arguments, not the sealed arguments
	Upstream  Forwarder
	Approvals Approvals // nil: a call that is held stays refused
	Strangers *Strangers
	Flipped   func(c *Call) // told at the end of a call that has Flips, its record known; nil: nobody is. It must not keep c
	Instance  string
	Receipts  bool
	Now       func() time.Time
	Since     func(time.Time) time.Duration // since a moment of Now; nil: by Now, which costs twice as much where both are the system's
	Rand      io.Reader
	Log       *slog.Logger
	Limit     time.Duration // how long a call may be judged before it is refused; it does not bound the upstream

	stats Stats
}

// Stats counts what the line has done since it started.
type Stats struct {
	Admitted, Settled, Refused, Strangers, Faults atomic.Uint64
}

// Stats gives the line's counters.
func (l *Line) Stats() *Stats { return &l.stats }

// Run takes the call through the line. Afterwards either c.Denial is nil and c.Reply stands, or c.Denial says why not
// and c.Reply is empty; c.Record and c.Receipt name the record either way, unless nobody is known to have called or
// the ledger could not record.
//
// ctx ends when the caller has left. That is asked between the stages, and it ends the exchange with the upstream, whose
// outcome is then recorded as unknown. Whatever else was begun is ended: a stage, a record or an operation of the
// gateway's own that was cut off in its middle would leave open what it did. A call with an Idempotency-Key runs to its
// end too, since its answer is kept for a caller who comes back.
func (l *Line) Run(ctx context.Context, c *Call) {
	defer l.end(c)
	c.Started = l.Now()
	whole := context.WithoutCancel(ctx)
	if err := l.check(ctx, whole, c); err != nil {
		l.refuse(whole, c, err)
		return
	}
	if c.again != nil {
		l.giveAgain(whole, c)
		return
	}
	admitted, err := l.admit(whole, c)
	if err != nil {
		l.refuse(whole, c, err)
		return
	}
	began := l.since(c.Started)
	if err = l.useApproval(whole, c, admitted); err == nil {
		if c.Answer != nil || c.claimed != nil {
			ctx = whole
		}
		err = l.guard("forward", func() error { return l.forward(ctx, c) })
	}
	if err == nil {
		err = l.onTheWayBack(whole, c)
	}
	l.settle(whole, c, admitted, l.since(c.Started)-began, err)
}

// end is the last of every call. A panic that came this far, out of the line's own clock say, leaves open what is on
// record: the call is refused as one that could not be recorded, before its answer is kept.
func (l *Line) end(c *Call) {
	if p := recover(); p != nil {
		l.stats.Faults.Add(1)
		c.Reply, c.Record, c.Receipt = Reply{}, "", c.Receipt[:0]
		c.Denial = Deny(AuditUnavailable, "").Because(l.panicked("line", p))
	}
	_ = l.guard("rounds", func() error { c.letGo(); return nil })
	for _, place := range c.Counted {
		_ = l.guard("quota", func() error { place.End(c.admitted); return nil })
	}
	clear(c.Counted)
	c.Counted = c.Counted[:0]
	if c.Force.Filters != nil {
		_ = l.guard("filters", func() error { c.Force.release(); return nil })
	}
	if c.claimed != nil {
		c.claimed.settle(c, l.ended(c))
	}
	if len(c.Flips) > 0 && l.Flipped != nil {
		_ = l.guard("flips", func() error { l.Flipped(c); return nil })
	}
}

// check runs the row, each stage whole. It stops at the first refusal, or when ctx has ended.
func (l *Line) check(ctx, whole context.Context, c *Call) error {
	var last time.Duration
	for _, s := range l.Stages {
		err := l.guard(s.Name(), func() error { return s.Check(whole, c) })
		now := l.since(c.Started)
		c.stages = append(c.stages, ledger.StageTime{Name: s.Name(), Micros: micros(now - last)})
		last = now
		if err != nil {
			return err
		}
		if l.Limit > 0 && now > l.Limit {
			return Deny(Timeout, "").WithReason("timeout in " + s.Name())
		}
		if err := ctx.Err(); err != nil {
			return Deny(Timeout, "").WithReason("the caller left or its time was up").Because(err)
		}
	}
	return l.proved(c)
}

// proved is the last look before anything leaves: what the stages proved must be about exactly this call.
func (l *Line) proved(c *Call) error {
	if !c.Caller.Valid() {
		return Deny(Unauthenticated, "")
	}
	if c.Plan && !c.granted() {
		return Deny(IntentRequired, "")
	}
	if c.Grant.Valid() {
		if err := c.Grant.Covers(c.Args); err != nil {
			return Deny(IntentInvalid, "").Because(err)
		}
	}
	if c.Grant.Local() && !c.Trial || c.Trial && c.Answer == nil {
		return Deny(StepLocal, "")
	}
	if c.Trial && c.Grant.Local() && c.Filtered != "" { // its caller would run it as it was before
		return Deny(FilterDenied, "a filter would change the arguments of this local tool").WithReason("local, " + c.Filtered)
	}
	ask := c.BuildAsk(c.Ask.Plan.Done) // how far the plan is may change meanwhile; what is asked may not
	if !c.Decision.Allowed() || !c.Decision.Covers(&ask) {
		return Deny(PolicyDenied, "").WithReason("decision does not cover the call")
	}
	return nil
}

// forward lets the call out, or answers it here when the operation is the gateway's own.
func (l *Line) forward(ctx context.Context, c *Call) error {
	var err error
	if c.Answer != nil {
		err = c.Answer(ctx, c)
	} else {
		err = l.Upstream.Forward(ctx, c)
	}
	if err != nil {
		return err
	}
	if (c.Reply.Result == nil) == (c.Reply.Error == nil) {
		return fmt.Errorf("forward %s: neither a result nor an error came back", c.Op)
	}
	return nil
}

// onTheWayBack lets each stage that looks at replies see this one, last stage first.
func (l *Line) onTheWayBack(ctx context.Context, c *Call) error {
	for _, v := range slices.Backward(l.Stages) {
		r, ok := v.(Replier)
		if !ok {
			continue
		}
		if err := l.guard(v.Name(), func() error { return r.CheckReply(ctx, c) }); err != nil {
			return &withheld{l.withhold(c, err)}
		}
	}
	return nil
}

// withhold says why a reply may not be given: the caller is told that it is so, the ledger why.
func (l *Line) withhold(c *Call, cause error) *Denial {
	d := asDenial(cause)
	switch d.Code {
	case Internal:
		l.stats.Faults.Add(1)
		l.Log.Error("reply withheld by a fault", "op", c.Op, "tenant", c.Caller.Tenant(), "error", cause)
	case FilterFailed:
		l.Log.Debug("filter failed", "op", c.Op, "tenant", c.Caller.Tenant(), "error", cause)
	default:
	}
	if d.Code == ResultInvalid { // the server broke its own promise, which its callers can read
		return d
	}
	reason := string(d.Code)
	if d.Reason != "" && d.Reason != reason {
		reason += ": " + d.Reason
	}
	return Deny(ReplyWithheld, "").WithReason(reason).Because(cause)
}

// withheld marks a reply that came and may not be given.
type withheld struct{ denial *Denial }

func (w *withheld) Error() string { return w.denial.Error() }
func (w *withheld) Unwrap() error { return w.denial }

// guard turns a panic into a fault, which is counted where it becomes a refusal. The stack goes to the log alone.
func (l *Line) guard(name string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = l.panicked(name, p)
		}
	}()
	return f()
}

func (l *Line) panicked(name string, p any) error {
	l.Log.Error("panic on the line", "at", name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	return fmt.Errorf("%s: panic", name)
}

// refuse answers a call that may not go out: one record when it is known who called, a bounded count when it is not.
func (l *Line) refuse(ctx context.Context, c *Call, cause error) {
	d := l.outward(c, asDenial(cause))
	c.Denial, c.Reply = d, Reply{}
	if d.fault() {
		l.stats.Faults.Add(1)
		l.Log.Error("call refused by a fault", "code", string(d.Code), "op", c.Op, "tenant", c.Caller.Tenant(), "error", cause)
	} else if d.Code == FilterFailed {
		l.Log.Debug("filter failed", "op", c.Op, "tenant", c.Caller.Tenant(), "error", cause)
	}
	if !c.Caller.Valid() {
		l.stats.Strangers.Add(1)
		l.Log.Debug("stranger refused", "addr", c.Remote, "code", string(d.Code), "why", cause)
		if l.Strangers != nil {
			why := ""
			_ = l.guard("why", func() error { why = string(identity.ReasonOf(d)); return nil }) // an error may panic when it is looked into
			l.Strangers.NoteWhy(c.Remote, d.Code, why, c.Started)
		}
		return
	}
	l.stats.Refused.Add(1)
	err := l.guard("refuse", func() error {
		r, err := l.record(c, ledger.Refused)
		if err != nil {
			return err
		}
		r.Verdict, r.Code, r.Detail = "deny", string(d.Code), told(d)
		note(r, c.Filtered)
		c.extraNote(r)
		l.sealRefused(ctx, c, r)
		return l.write(ctx, c, r)
	})
	if err != nil {
		l.Log.Error("refusal not recorded", "op", c.Op, "tenant", c.Caller.Tenant(), "error", err)
		c.Denial = ledgerDenial(err)
		c.Record, c.Receipt = "", c.Receipt[:0]
	}
}

// maxRefusedArgs bounds the arguments kept beside a refusal, in bytes: what is refused must not fill the disk.
const maxRefusedArgs = 64 << 10

// sealRefused puts the question beside a refusal once policy has answered it, so that it can be asked again of other
// policies, as that of an admitted call can. A refusal is recorded also where that fails.
func (l *Line) sealRefused(ctx context.Context, c *Call, r *ledger.Record) {
	if c.Ask.Principal == nil || len(c.Args) > maxRefusedArgs {
		return
	}
	if err := l.sealAsk(ctx, c, r); err != nil {
		r.Ask, r.Side = merkle.Hash{}, nil
		l.Log.Warn("refusal recorded without what was asked", "tenant", r.Tenant, "record", r.ID, "error", err)
	}
}

// told is the reason of a refusal with the sentence that its caller may have been told, when that says more than the code.
func told(d *Denial) string {
	if m, ok := meaningOf(d.Code); !ok || d.Message == m.text || len(d.Message) > maxTold || strings.Contains(d.Reason, d.Message) {
		return d.Reason
	}
	return d.Reason + ": " + d.Message
}

// maxTold bounds the sentence kept in a record, in bytes.
const maxTold = 256

// write makes a record of the outcome durable and, when receipts are on, keeps its receipt.
func (l *Line) write(ctx context.Context, c *Call, r *ledger.Record) error {
	var m wal.Mark
	var err error
	if l.Receipts {
		m, c.Receipt, err = l.Ledger.Settle(ctx, r, c.Receipt[:0])
	} else {
		m, err = l.Ledger.Append(ctx, r)
	}
	c.Record = r.ID
	switch {
	case err != nil:
		return err
	case l.Receipts && len(c.Receipt) == 0:
		return errNoReceipt
	}
	return marked(m, r)
}

var (
	errNoMark    = errors.New("the ledger does not say where the record stands")
	errNoReceipt = errors.New("the ledger gave no receipt")
)

// marked wants the ledger to say where it put a record: without that nobody knows that it is there.
func marked(m wal.Mark, r *ledger.Record) error {
	if m.Tenant != r.Tenant {
		return errNoMark
	}
	return nil
}

// append makes a record without a receipt durable.
func (l *Line) append(ctx context.Context, r *ledger.Record) error {
	m, err := l.Ledger.Append(ctx, r)
	if err != nil {
		return err
	}
	return marked(m, r)
}

// outward decides how much the caller is told. To a caller who holds no grant for it, what policy denies, what filters
// refuse and what does not exist look alike, be it a tool or a server; the ledger tells them apart.
func (l *Line) outward(c *Call, d *Denial) *Denial {
	if d.Reason == "" {
		d.Reason = string(d.Code)
	}
	if c.granted() {
		return d
	}
	switch d.Code {
	case PolicyDenied, NotFound, FilterDenied, FilterFailed:
	default:
		return d
	}
	switch {
	case c.Plan:
		return Deny(NotAvailable, "").WithReason(d.Reason).Because(d)
	case c.Server != "":
		return Deny(NotFound, "no such server for this caller").WithReason(d.Reason).Because(d)
	}
	return d
}

// admit counts the use and makes the record that the call is about to go out durable. No record, no effect.
func (l *Line) admit(ctx context.Context, c *Call) (id string, err error) {
	err = l.guard("admit", func() error {
		r, err := l.record(c, ledger.Admitted)
		if err != nil {
			return err
		}
		r.Verdict, r.Detail, id = "allow", c.Filtered, r.ID
		c.first = r.ID
		if c.Approval != "" {
			note(r, "approved "+c.Approval)
			for _, h := range c.Decision.Holds() {
				r.Policies = append(r.Policies, h.Policy)
			}
		}
		if err := l.sealAsk(ctx, c, r); err != nil {
			return err
		}
		if err := l.guard("ledger", func() error { return l.spend(ctx, c, r) }); err != nil {
			return ledgerDenial(err)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	c.admitted = true
	l.stats.Admitted.Add(1)
	return id, nil
}

// useApproval spends the approval of a held call between its record and its effect: the record that the approval names is
// there, and when another call was faster, or the process ends, nothing goes out.
func (l *Line) useApproval(ctx context.Context, c *Call, record string) error {
	if c.Approval == "" || !c.Takes() || c.Round != nil && c.Round.approval == c.Approval { // spent by the first round
		return nil
	}
	if l.Approvals == nil {
		return Deny(ApprovalRequired, "")
	}
	err := l.guard("approvals", func() error { return l.Approvals.Spend(ctx, c.Caller.Tenant(), c.Approval, record) })
	if err != nil {
		d := Deny(ApprovalRequired, "the approval of this call was used or has ended").Because(err)
		d.Approval = c.Approval
		return d
	}
	return nil
}

// spend writes the admitted record, with the use of the plan's step where there is one.
func (l *Line) spend(ctx context.Context, c *Call, r *ledger.Record) error {
	if !c.Takes() {
		tried(r)
	}
	c.continues(r)
	c.extraNote(r)
	c.tasked(r)
	if c.Round != nil {
		if !c.Round.take() {
			return errRoundOver
		}
		c.took = true
	}
	if !c.Grant.Valid() || !c.Takes() || c.Round != nil {
		return l.append(ctx, r)
	}
	m, err := l.Ledger.Admit(ctx, r, wal.Use{
		Plan: c.Grant.PlanRoot(), Step: int32(c.Grant.Step()), Max: c.Grant.Uses(), After: c.Grant.After(), Expires: c.Grant.PlanExpires(),
	})
	if err != nil {
		return err
	}
	return marked(m, r)
}

// ledgerDenial says what a ledger's refusal means to the caller.
func ledgerDenial(err error) (d *Denial) {
	defer func() {
		if recover() != nil { // out of the error's own methods
			d = Deny(AuditUnavailable, "")
		}
	}()
	switch {
	case errors.Is(err, errRoundOver):
		return OverRound()
	case errors.Is(err, wal.ErrUsed):
		return Deny(StepUsed, "").Because(err)
	case errors.Is(err, wal.ErrOrder):
		return Deny(StepOrder, "").Because(err)
	case errors.Is(err, wal.ErrExpired), errors.Is(err, wal.ErrForeign):
		return Deny(PlanInactive, "").Because(err)
	default:
		d = Deny(AuditUnavailable, "").Because(err)
		d.RetryAfter = auditRetry
		return d
	}
}

// auditRetry is when a caller may try again whose record was not taken: a ledger without room looks for some as often.
const auditRetry = time.Second

func micros(d time.Duration) uint32 {
	us := d.Microseconds()
	if us < 0 {
		return 0
	}
	return uint32(min(us, 1<<32-1))
}
