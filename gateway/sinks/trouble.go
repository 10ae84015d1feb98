package sinks

import (
	"fmt"
	"time"
)

// tellEvery is how often a failure that lasts is logged again.
const tellEvery = time.Hour

// trouble is something that goes wrong again and again: it is logged the first time, each hour that it lasts, and when it
// is over. One goroutine at a time uses it.
type trouble struct {
	what  string // what cannot be done, as in: store its cursor
	since time.Time
	told  time.Time
	times uint64
}

// bad notes a failure. err holds no secret.
func (t *trouble) bad(s *sink, err error) {
	now := s.o.Now()
	if t.times++; t.times == 1 {
		t.since = now
	} else if now.Sub(t.told) < tellEvery && !now.Before(t.told) {
		return
	}
	t.told = now
	s.o.Log.Warn("a sink fails", "sink", s.cfg.Name, "cannot", t.what, "times", t.times, "since", t.since.UTC().Format(time.RFC3339), "error", err)
}

// good notes that it went well.
func (t *trouble) good(s *sink) {
	if t.times == 0 {
		return
	}
	s.o.Log.Info("a sink is well again", "sink", s.cfg.Name, "can", t.what, "failed", t.times, "since", t.since.UTC().Format(time.RFC3339))
	t.times = 0
}

// unreadError says that the receiver took a batch (2xx) and that the rest of its answer means nothing.
type unreadError struct{ error }

func unread(err error) error { return &unreadError{fmt.Errorf("read answer: %w", err)} }

func (e *unreadError) Unwrap() error { return e.error }
