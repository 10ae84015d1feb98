package sinks_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/sinks"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// script is a log that delivers one event at a time and always has more.
type script struct {
	t    *testing.T
	mu   sync.Mutex
	from []wal.Cursor
}

func cursor(t *testing.T, text string) wal.Cursor {
	t.Helper()
	c, err := wal.ParseCursor(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *script) Tip() (wal.Cursor, uint64) { return cursor(s.t, "9:9000"), 9000 }

func (s *script) Follow(ctx context.Context, from wal.Cursor, fn func(context.Context, []wal.Event, wal.Cursor) error) error {
	s.mu.Lock()
	s.from = append(s.from, from)
	s.mu.Unlock()
	for _, next := range []string{"1:600", "1:700", "1:800"} {
		if err := fn(ctx, []wal.Event{{Tenant: "acme", ID: "rec_" + next, Kind: ledger.Admin, Step: -1}}, cursor(s.t, next)); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// What is gathered for a batch and not sent yet was not delivered: the cursor stays before it, however often it is stored.
func TestWhatIsGatheredAndNotSentIsNotPassed(t *testing.T) {
	w := newWorld(t)
	log := &script{t: t}
	o := w.options()
	o.Source = log
	c := config(sinks.Webhook, "http://127.0.0.1:1/")
	c.Wait = time.Hour
	for range 2 {
		set, err := sinks.Open(o, []sinks.Config{c})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(1500 * time.Millisecond) // cursors are stored once a second
		if st := set.States()[0]; st.Cursor != "0:0" || st.Lag != 9000 || st.Sent != 0 {
			t.Errorf("%+v", st)
		}
		if err := set.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(log.from) != 2 || log.from[1] != (wal.Cursor{}) {
		t.Fatal("it goes on from", log.from)
	}
}

// jump is a log that leaves records out at its front, and says nothing.
type jump struct {
	sinks.Source
	by int
}

func (j *jump) Follow(ctx context.Context, from wal.Cursor, fn func(context.Context, []wal.Event, wal.Cursor) error) error {
	return j.Source.Follow(ctx, from, func(ctx context.Context, events []wal.Event, next wal.Cursor) error {
		n := min(j.by, len(events))
		j.by -= n
		return fn(ctx, events[n:], next)
	})
}
