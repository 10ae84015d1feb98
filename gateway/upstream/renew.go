package upstream

import (
	"context"
	"errors"
	"time"
)

// errRenewed ends a stream that is opened again at once, with another credential.
var errRenewed = errors.New("the credential was renewed")

// Bounds of the end of a stream that is opened anew: until what the server asks on it is answered, but not for longer.
const (
	askedWithin = time.Minute
	askedLook   = 50 * time.Millisecond
)

// renew has the credential of a stream renewed before it is opened.
func (e *ear) renew(ctx context.Context) (next time.Time, _ *Error) {
	if e.t.Renew == nil {
		return next, nil
	}
	_, next, err := e.t.Renew(ctx)
	if err != nil {
		return next, asFault(err)
	}
	return next, nil
}

// proved is stream for as long as its credential is good; with another where the server refuses the one at hand. A server looks at
// it when the stream begins, and not every server ends the stream with it: what was granted for an hour is not to be heard for a
// day.
func (e *ear) proved(ctx context.Context, s *session, next time.Time) error {
	for tries := 0; ; tries++ {
		err := e.whileGood(ctx, s, next)
		fail, ok := errors.AsType[*Error](err)
		if !ok {
			return err
		}
		if fail = e.t.another(ctx, fail, tries); fail != nil {
			return fail
		}
	}
}

// whileGood is stream until the credential is another.
func (e *ear) whileGood(ctx context.Context, s *session, next time.Time) error {
	if next.IsZero() {
		return e.stream(ctx, s)
	}
	inner, stop := context.WithCancel(ctx)
	renewed, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		if e.untilAnother(inner, next) {
			close(renewed)
			stop()
		}
	}()
	err := e.stream(inner, s)
	stop()
	<-over
	select {
	case <-renewed:
		if ctx.Err() == nil {
			return errRenewed
		}
	default:
	}
	return err
}

// untilAnother waits until the credential is another, or there is none any more; false when ctx ended before. The stream goes on
// while an authorization server that is down is asked again, as long as what there is is good.
func (e *ear) untilAnother(ctx context.Context, next time.Time) bool {
	for !next.IsZero() {
		if !sleep(ctx, max(next.Sub(e.c.now()), e.c.firstPause)) {
			return false
		}
		another, at, err := e.t.Renew(ctx)
		if ctx.Err() != nil {
			return false
		}
		if another || err != nil {
			for until := time.Now().Add(askedWithin); e.aside.Load().asking() && time.Now().Before(until) && sleep(ctx, askedLook); {
			}
			return ctx.Err() == nil
		}
		next = at
	}
	return false
}

// asking says whether the server waits for an answer.
func (a *aside) asking() bool {
	if a == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.open) > 0
}
