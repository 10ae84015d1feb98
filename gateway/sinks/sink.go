package sinks

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
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

// position is what a cursor's file holds: what was delivered in full.
type position struct {
	cursor wal.Cursor
	passed uint64 // records of the log before it
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

	mu    sync.Mutex // guards all below
	done  position
	kept  position // as stored
	fresh bool     // no cursor was ever stored
	st    State
}

func newSink(o Options, c Config) (*sink, error) {
	s := &sink{o: o, cfg: c, st: State{Name: c.Name, Type: c.Type, Tenant: c.Tenant, Address: c.address(), Kinds: c.Kinds}}
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

// cursorForm is a cursor's file: version, cursor, records before it, CRC.
const cursorForm = "gatewright/sink/v1 %s %d"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (p position) text() []byte {
	s := fmt.Sprintf(cursorForm, p.cursor, p.passed)
	return fmt.Appendf(nil, "%s %08x\n", s, crc32.Checksum([]byte(s), castagnoli))
}

// load reads the cursor, and stores the first one: where a sink begins is decided once.
func (s *sink) load() error {
	b, err := disk.ReadSmall(s.o.FS, cursorName(s.o.Dir, s.cfg.Name), 1<<10)
	if errors.Is(err, fs.ErrNotExist) {
		if s.cfg.FromTip {
			s.done.cursor, s.done.passed = s.o.Source.Tip()
		}
		s.fresh = true
		return s.save()
	}
	if err != nil {
		return fmt.Errorf("read cursor: %w", err)
	}
	var text string
	var p position
	if _, err := fmt.Sscanf(string(b), cursorForm, &text, &p.passed); err != nil {
		return errors.New("its cursor's file is damaged")
	}
	if p.cursor, err = wal.ParseCursor(text); err != nil || string(p.text()) != string(b) {
		return errors.New("its cursor's file is damaged")
	}
	s.done, s.kept = p, p
	return nil
}

// save stores the cursor when it moved.
func (s *sink) save() error {
	s.mu.Lock()
	p, same := s.done, s.done == s.kept && !s.fresh
	s.mu.Unlock()
	if same {
		return nil
	}
	if err := disk.ReplaceFile(s.o.FS, cursorName(s.o.Dir, s.cfg.Name), p.text()); err != nil {
		err = fmt.Errorf("store cursor: %w", err)
		s.failed(err)
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept, s.fresh = p, false
	return nil
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
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done.cursor, s.done.passed, s.behind = next, s.done.passed+s.behind, 0
	if tip == next {
		s.done.passed = total
	}
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
		refused, ok := errors.AsType[*rejectedError](err)
		if err == nil || ok {
			s.delivered(len(s.pending), refused)
			clear(s.pending)
			s.pending = s.pending[:0]
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.failed(err)
		pause := s.backoff(fails)
		if later, ok := errors.AsType[*laterError](err); ok {
			pause = min(max(pause, later.after), max(s.cfg.RetryMax, pause))
		}
		if err := s.pause(ctx, pause); err != nil {
			return err
		}
	}
}

func (s *sink) delivered(n int, refused *rejectedError) {
	if refused != nil {
		s.failed(refused)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.st.LastSuccess = s.o.Now()
	s.st.Sent += uint64(n)
	if refused != nil {
		s.st.Rejected += refused.events
	}
}

// failed notes an error. A sink's log would repeat it with each attempt; its state shows it.
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
