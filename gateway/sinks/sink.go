package sinks

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// sender takes a batch to its receiver. It returns nil when the receiver has it, and after anything else gets it again.
// Its errors hold no secret.
type sender interface {
	send(ctx context.Context, batch []wal.Event) error
	close()
}

// rejectedError says that the receiver has the batch and refused some of it for good.
type rejectedError struct {
	events uint64
	text   string
}

func (e *rejectedError) Error() string {
	return fmt.Sprintf("the receiver refused %d events for good: %q", e.events, clip(e.text))
}

// laterError says how long the receiver wants to be left alone.
type laterError struct {
	error
	after time.Duration
}

// sink is one sink at work. Its run goroutine alone delivers.
type sink struct {
	o     Options
	cfg   Config
	kinds []ledger.Kind
	out   sender

	pending []wal.Event // gathered and not sent; of the run goroutine
	since   time.Time   // when the first of them came
	behind  uint64      // records since done

	sending, answering trouble // of the run goroutine
	storing            trouble // of who saves

	mu    sync.Mutex // guards all below
	done  position
	kept  position // as stored
	fresh bool     // no cursor of this form was ever stored
	gap   bool     // records are missing, and that was said
	st    State
}

func newSink(o Options, c Config) (*sink, error) {
	s := &sink{o: o, cfg: c, st: State{Name: c.Name, Type: c.Type, Tenant: c.Tenant, Address: c.address(), Kinds: c.Kinds}}
	s.sending.what, s.answering.what, s.storing.what = "deliver", "read what its receiver answers", "store its cursor"
	for _, k := range c.Kinds {
		s.kinds = append(s.kinds, ledger.ParseKind(k))
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	switch c.Type {
	case Syslog:
		s.out = newSyslog(&o, &c)
	case OTLP:
		s.out = newOTLP(&o, &c)
	default:
		s.out = newWebhook(&o, &c)
	}
	return s, nil
}

// run follows the ledger until ctx ends, whatever befalls.
func (s *sink) run(ctx context.Context) {
	for fails := 0; ctx.Err() == nil; fails++ {
		s.pending, s.behind = s.pending[:0], 0
		err := s.o.Source.Follow(ctx, s.position().cursor, func(ctx context.Context, events []wal.Event, next wal.Cursor) error {
			fails = 0
			return s.take(ctx, events, next)
		})
		if ctx.Err() != nil || errors.Is(err, wal.ErrClosed) {
			return
		}
		s.failed(err)
		if s.mend(err) {
			continue
		}
		s.o.Log.Error("a sink cannot read the ledger; it is tried again", "sink", s.cfg.Name, "error", err)
		_ = s.pause(ctx, s.backoff(fails)) // that ctx ended shows above
	}
}

// mend finds where to go on when the cursor leads nowhere: behind what was pruned, which is lost and said so; or, when
// the log ends before it, as a power cut can leave one that is not synced, at the start of the segment: what is there is
// delivered again.
func (s *sink) mend(err error) bool {
	at := s.position()
	tip, total := s.o.Source.Tip()
	if gap, ok := errors.AsType[*wal.GapError](err); ok {
		s.o.Log.Error("records were pruned before a sink delivered them", "sink", s.cfg.Name, "from", gap.Asked.String(), "to", gap.First.String())
		s.mu.Lock()
		defer s.mu.Unlock()
		s.st.Lost++
		s.gap = true
		s.done.cursor = gap.First
		return true
	}
	if !errors.Is(err, wal.ErrCursor) || at.cursor == at.cursor.SegmentStart() {
		return false
	}
	start := at.cursor.SegmentStart()
	if tip.Before(start) {
		start = tip.SegmentStart()
	}
	s.o.Log.Warn("a sink's cursor lies beyond the ledger; it goes on before it", "sink", s.cfg.Name, "cursor", at.cursor.String(), "at", start.String())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = position{start, min(at.passed, total)}
	return true
}

func (s *sink) position() position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done
}

// take gathers what is for this sink and delivers it: when a batch is full, when the first event has waited long enough,
// or when nothing more is there.
func (s *sink) take(ctx context.Context, events []wal.Event, next wal.Cursor) error {
	for i := range events {
		if !s.wants(&events[i]) {
			continue
		}
		if len(s.pending) == 0 {
			s.since = s.o.Now()
		}
		if s.pending = append(s.pending, events[i]); len(s.pending) == s.cfg.Batch {
			if err := s.flush(ctx); err != nil {
				return err
			}
		}
	}
	s.behind += uint64(len(events))
	tip, total := s.o.Source.Tip()
	if len(s.pending) > 0 {
		left := s.cfg.Wait - s.o.Now().Sub(s.since)
		if left > 0 && tip != next {
			return nil // more is there already
		}
		if err := s.pause(ctx, left); err != nil {
			return err
		}
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
	s.reached(next, tip, total)
	return nil
}

func (s *sink) wants(e *wal.Event) bool {
	return (s.cfg.Tenant == All || s.cfg.Tenant == e.Tenant) && (len(s.kinds) == 0 || slices.Contains(s.kinds, e.Kind))
}

// flush delivers what is pending, however often it takes.
func (s *sink) flush(ctx context.Context) error {
	for fails := 0; ; fails++ {
		attempt, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
		err := s.out.send(attempt, s.pending)
		cancel()
		if taken(err) {
			s.delivered(len(s.pending), err)
			clear(s.pending)
			s.pending = s.pending[:0]
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.failed(err)
		s.sending.bad(s, err)
		pause := s.backoff(fails)
		if later, ok := errors.AsType[*laterError](err); ok {
			pause = min(max(pause, later.after), max(s.cfg.RetryMax, pause))
		}
		if err := s.pause(ctx, pause); err != nil {
			return err
		}
	}
}

// taken tells whether the receiver has the batch, whatever else it said.
func taken(err error) bool {
	_, refused := errors.AsType[*rejectedError](err)
	_, unreadable := errors.AsType[*unreadError](err)
	return err == nil || refused || unreadable
}

// delivered notes that the receiver has n events. err is what it said to some of them, or that nobody can read it.
func (s *sink) delivered(n int, err error) {
	s.sending.good(s)
	refused, ok := errors.AsType[*rejectedError](err)
	if err != nil {
		s.answering.bad(s, err)
	} else {
		s.answering.good(s)
	}
	if ok {
		s.failed(refused)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.st.LastSuccess = s.o.Now()
	s.st.Sent += uint64(n)
	switch {
	case ok:
		s.st.Rejected += refused.events
	case err != nil:
		s.st.Unread++
	}
}

// failed notes an error in the sink's state.
func (s *sink) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.st.Failed++
	s.st.LastError, s.st.LastErrorAt = err.Error(), s.o.Now()
}

// backoff doubles with each failure, and is drawn from its upper half: many senders do not come back at once.
func (s *sink) backoff(fails int) time.Duration {
	d := s.cfg.RetryMax
	if fails < 20 {
		d = min(s.cfg.RetryMin<<fails, s.cfg.RetryMax)
	}
	var b [8]byte
	if _, err := io.ReadFull(s.o.Rand, b[:]); err != nil || d < 2 {
		return d
	}
	return d - time.Duration(binary.BigEndian.Uint64(b[:])%uint64(d/2))
}

func (s *sink) pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *sink) state() State {
	_, total := s.o.Source.Tip()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.st
	st.Cursor = s.done.cursor.String()
	st.Lag = total - min(total, s.done.passed)
	return st
}

// clip shortens what a receiver said.
func clip(s string) string {
	const most = 200
	return strings.ToValidUTF8(s[:min(len(s), most)], "")
}
