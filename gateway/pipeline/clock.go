package pipeline

import "time"

// ended is the time at which the call has ended, or its start when the clock panics.
func (l *Line) ended(c *Call) time.Time {
	now := c.Started
	_ = l.guard("clock", func() error { now = l.Now(); return nil })
	return now
}

// since is the time since a moment of Now.
func (l *Line) since(t time.Time) time.Duration {
	if l.Since != nil {
		return l.Since(t)
	}
	return l.Now().Sub(t)
}
