package pipeline_test

import (
	"context"
	"testing"

	"github.com/gatewright/gatewright/gateway/pipeline"
)

// leaving is a stage whose caller leaves at a point of the test's choice, and which shows its context.
type leaving struct {
	leave context.CancelFunc
	back  bool // leaves only when the reply has come
	seen  []error
}

func (l *leaving) Name() string { return "leaving" }

func (l *leaving) Check(ctx context.Context, _ *pipeline.Call) error {
	if !l.back && l.leave != nil {
		l.leave()
	}
	l.seen = append(l.seen, ctx.Err())
	return nil
}

func (l *leaving) CheckReply(ctx context.Context, _ *pipeline.Call) error {
	l.leave()
	l.seen = append(l.seen, ctx.Err())
	return nil
}

// cutOff is an upstream whose exchange ends with its context, as that of gateway/upstream does.
type cutOff struct {
	leave context.CancelFunc
	calls int
}

func (u *cutOff) Forward(ctx context.Context, c *pipeline.Call) error {
	u.calls++
	u.leave()
	if err := ctx.Err(); err != nil {
		d := pipeline.Deny(pipeline.UpstreamTimeout, "").WithReason("canceled").Because(err)
		d.Uncertain = true
		return d
	}
	c.Reply = pipeline.Reply{Status: 200, Result: []byte(`{"content":[]}`)}
	return nil
}

// TestACallWhoseCallerLeftBeforeItWentOutIsRefused between two stages: none of them is cut off in its middle.
func TestACallWhoseCallerLeftBeforeItWentOutIsRefused(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &leaving{leave: cancel}
	h := build(t, s)
	c := call()
	h.line.Run(ctx, c)
	if c.Denial == nil || c.Denial.Code != pipeline.Timeout || h.up.calls != 0 || h.book.kinds() != "refused" {
		t.Errorf("%v, %d forwarded, records %q", c.Denial, h.up.calls, h.book.kinds())
	}
	if s.seen[0] != nil {
		t.Error("a stage was cut off")
	}
}

// TestACallWhoseCallerLeavesWhileItIsOutIsSettledAsUnknown: the upstream is let go, the ledger is not.
func TestACallWhoseCallerLeavesWhileItIsOutIsSettledAsUnknown(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := build(t)
	up := &cutOff{leave: cancel}
	h.line.Upstream = up
	c := call()
	h.line.Run(ctx, c)
	if r := h.book.last(); h.book.kinds() != "admitted settled" || r.Outcome != "unknown" || up.calls != 1 || c.Denial == nil {
		t.Errorf("records %q, outcome %q, %v", h.book.kinds(), r.Outcome, c.Denial)
	}
}

// TestWhatIsTheGatewaysOwnIsDoneWhole though its caller leaves, and so is the call that a caller may come back for.
func TestWhatIsTheGatewaysOwnIsDoneWhole(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := build(t)
	c := call()
	c.Answer = func(ctx context.Context, c *pipeline.Call) error {
		cancel()
		c.Reply.Result = []byte(`{}`)
		return ctx.Err()
	}
	h.line.Run(ctx, c)
	if r := h.book.last(); c.Denial != nil || r.Outcome != "ok" {
		t.Errorf("own operation: %v, settled as %q", c.Denial, r.Outcome)
	}
	ctx, cancel = context.WithCancel(t.Context())
	k := keeping(t)
	up := &cutOff{leave: cancel}
	k.line.Upstream = up
	c = call()
	c.Retry, c.Args = "k1", []byte(`{}`)
	k.line.Run(ctx, c)
	if again := k.again(); again.Denial != nil || !again.Kept || up.calls != 1 {
		t.Errorf("with an Idempotency-Key: %v, and then %v, %d forwarded", c.Denial, again.Denial, up.calls)
	}
}

// TestAReplyThatCameIsSettledAsItWas though nobody waits for it any more.
func TestAReplyThatCameIsSettledAsItWas(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &leaving{leave: cancel, back: true}
	h := build(t, s)
	c := call()
	h.line.Run(ctx, c)
	if r := h.book.last(); h.book.kinds() != "admitted settled" || r.Outcome != "ok" || s.seen[1] != nil {
		t.Errorf("records %q, outcome %q, %v", h.book.kinds(), r.Outcome, s.seen)
	}
}
