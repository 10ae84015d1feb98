package pipeline

import "context"

// Look is Run for a call that only shows its caller what the ledger has, and so must not make the ledger longer: a reader
// that follows the log would never come to its end. The stages judge it as any call, and a refusal is recorded as any; what
// is answered leaves no record. The call must have an Answer and no effect.
func (l *Line) Look(ctx context.Context, c *Call) {
	defer l.end(c)
	c.Started = l.Now()
	whole := context.WithoutCancel(ctx)
	err := l.check(ctx, whole, c)
	if err == nil && (c.Answer == nil || c.Plan || c.again != nil) {
		err = Deny(Internal, "").WithReason("not a call to look at")
	}
	if err == nil {
		err = l.guard("answer", func() error { return c.Answer(ctx, c) })
	}
	if err != nil {
		l.refuse(whole, c, err)
	}
}
