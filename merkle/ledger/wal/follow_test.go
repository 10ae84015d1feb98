package wal_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// collector is a follower that keeps what it gets, until it has enough.
type collector struct {
	mu     sync.Mutex
	events []wal.Event
	places []wal.Cursor // after each delivery
	ends   []int        // events up to there
	want   int
}

var errEnough = errors.New("enough")

func (c *collector) take(_ context.Context, events []wal.Event, next wal.Cursor) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, events...)
	c.places, c.ends = append(c.places, next), append(c.ends, len(c.events))
	if c.want > 0 && len(c.events) >= c.want {
		return errEnough
	}
	return nil
}

// until follows from a cursor until so many events came.
func until(t *testing.T, l *wal.Log, from wal.Cursor, want int) *collector {
	t.Helper()
	c := &collector{want: want}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := l.Follow(ctx, from, c.take); !errors.Is(err, errEnough) {
		t.Fatalf("%d of %d events: %v", len(c.events), want, err)
	}
	return c
}

func (c *collector) inOrder(t *testing.T, first int) {
	t.Helper()
	for i, e := range c.events {
		if e.Index != uint64(first+i) || e.Tenant != "acme" || e.ID == "" {
			t.Fatalf("event %d is %+v", i, e)
		}
	}
}

func fill(t testing.TB, l *wal.Log, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range n / 8 {
				if _, err := l.Append(context.Background(), record("acme", ledger.Admin)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestFollowersGetHistoryThenLiveEventsInOrder(t *testing.T) {
	o := options(t.TempDir())
	l := open(t, o)
	fill(t, l, 800) // several segments
	shut(t, l)
	l = open(t, o)
	var wg sync.WaitGroup
	got := make([]*collector, 5)
	for i := range got {
		got[i] = &collector{}
		wg.Go(func() {
			if err := l.Follow(context.Background(), wal.Cursor{}, got[i].take); !errors.Is(err, wal.ErrClosed) {
				t.Error("ended with", err)
			}
		})
	}
	for range 300 {
		settle(t, l, "acme", admit(t, l, "acme", use("p", 0, 0)), ledger.OutcomeOK)
	}
	tip, total := l.Tip()
	shut(t, l)
	wg.Wait()
	for _, c := range got {
		if len(c.events) != 1400 || total != 1400 || c.places[len(c.places)-1] != tip {
			t.Fatal(len(c.events), "events of", total, "up to", c.places[len(c.places)-1], "of", tip)
		}
		c.inOrder(t, 0)
		last, before := c.events[1399], c.events[1398]
		if last.Kind != ledger.Settled || last.Of != before.ID || last.Outcome != ledger.OutcomeOK || last.User != "usr_one" ||
			last.Server != "demo" || last.Tool != "notes_add" || last.Status != 200 || last.Micros != 1234 || last.Op != "tools/call" {
			t.Fatalf("%+v", last)
		}
	}
}

// Every place that was handed out leads on to the very next record, whether it is read from memory, from the disk, or
// after a restart.
func TestEveryCursorLeadsOnToTheNextRecord(t *testing.T) {
	o := options(t.TempDir())
	l := open(t, o)
	fill(t, l, 400)
	first := until(t, l, wal.Cursor{}, 400)
	for round := range 2 {
		for i, c := range first.places[:len(first.places)-1] {
			text, err := c.MarshalText()
			if err != nil {
				t.Fatal(err)
			}
			back, err := wal.ParseCursor(string(text))
			if err != nil || back != c {
				t.Fatal(back, c, err)
			}
			until(t, l, back, 400-first.ends[i]).inOrder(t, first.ends[i])
		}
		if round == 0 {
			shut(t, l)
			l = open(t, o)
		}
	}
}

func TestACursorThatIsNoPlaceIsRefused(t *testing.T) {
	o := options(t.TempDir())
	o.SegmentBytes = 256 << 10 // more than one delivery
	l := open(t, o)
	fill(t, l, 800)
	tip, _ := l.Tip()
	some := until(t, l, wal.Cursor{}, 10).places[0]
	for _, text := range []string{"", "0", "0:", ":0", "-1:0", "0:-1", "00:0", "0:0 ", "x", "0:9223372036854775808", "+1:0"} {
		if _, err := wal.ParseCursor(text); !errors.Is(err, wal.ErrCursor) {
			t.Errorf("%q is taken: %v", text, err)
		}
	}
	for _, text := range []string{"0:1", "0:513", "0:1000000", "99999:0", "99999:512", shift(t, some, 1), shift(t, some, -1), shift(t, tip, 1), shift(t, tip, -1), shift(t, tip, 1<<20)} {
		c, err := wal.ParseCursor(text)
		if err != nil {
			t.Fatal(err)
		}
		err = l.Follow(t.Context(), c, func(context.Context, []wal.Event, wal.Cursor) error {
			t.Errorf("%s delivers", text)
			return errEnough
		})
		if !errors.Is(err, wal.ErrCursor) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func shift(t *testing.T, c wal.Cursor, by int64) string {
	t.Helper()
	var segment uint64
	var off int64
	if _, err := fmt.Sscanf(c.String(), "%d:%d", &segment, &off); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d:%d", segment, off+by)
}

// A follower that hangs for longer than memory reaches back goes on from the disk, and nobody waits for it.
func TestASlowFollowerHoldsNobodyUpAndMissesNothing(t *testing.T) {
	o := options(t.TempDir())
	o.Sync, o.SegmentBytes = wal.SyncWrite, 4<<20
	l := open(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	hang, slow, quick := make(chan struct{}), &collector{want: 12_000}, &collector{want: 12_000}
	ended := make(chan error, 2)
	go func() {
		ended <- l.Follow(ctx, wal.Cursor{}, func(ctx context.Context, e []wal.Event, next wal.Cursor) error {
			<-hang
			return slow.take(ctx, e, next)
		})
	}()
	go func() { ended <- l.Follow(ctx, wal.Cursor{}, quick.take) }()
	fill(t, l, 12_000) // more than memory holds
	if err := <-ended; !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	quick.inOrder(t, 0)
	close(hang)
	if err := <-ended; !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	slow.inOrder(t, 0)
}

// What is pruned under a cursor is told to the follower, and where to go on.
func TestAPrunedBeginningIsAGap(t *testing.T) {
	o := options(t.TempDir())
	o.SegmentBytes = 256 << 10
	l := open(t, o)
	fill(t, l, 800)
	some := until(t, l, wal.Cursor{}, 10).places[0]
	if err := os.Remove(filepath.Join(o.Dir, "_wal", "000000000000.segment")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []wal.Cursor{{}, some} {
		err := l.Follow(t.Context(), c, func(context.Context, []wal.Event, wal.Cursor) error { return errEnough })
		var gap *wal.GapError
		if !errors.Is(err, wal.ErrGap) || !errors.As(err, &gap) || gap.Asked != c || gap.First.String() != "1:0" {
			t.Fatalf("%v: %v", c, err)
		}
		rest := &collector{}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_ = l.Follow(ctx, gap.First, rest.take)
		cancel()
		if n := len(rest.events); n == 0 || rest.events[n-1].Index != 799 {
			t.Fatal(n, "events after the gap")
		}
		rest.inOrder(t, 800-len(rest.events))
	}
}

// The cursor of a time lies before all that was written then or later, and not at the beginning of a long history.
func TestSinceFindsTheSegmentOfATime(t *testing.T) {
	o := options(t.TempDir())
	var mu sync.Mutex
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	o.Now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	l := open(t, o)
	when := make([]time.Time, 800)
	for i := range when {
		mu.Lock()
		now = now.Add(time.Minute)
		when[i] = now
		mu.Unlock()
		if _, err := l.Append(t.Context(), record("acme", ledger.Admin)); err != nil {
			t.Fatal(err)
		}
	}
	most := 0
	for i, at := range when {
		c, err := l.Since(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		e := until(t, l, c, 1).events[0]
		if e.Index > uint64(i) {
			t.Fatalf("record %d: the cursor of its time begins at %d", i, e.Index)
		}
		most = max(most, i-int(e.Index))
	}
	if most > 400 {
		t.Fatal("a cursor lies", most, "records before its time")
	}
	tip, _ := l.Tip()
	c, err := l.Since(t.Context(), now.Add(time.Hour))
	if err != nil || tip.Before(c) || c != tip.SegmentStart() {
		t.Fatal(c, tip, err)
	}
}

func TestAFollowerEndsWithItsContext(t *testing.T) {
	l := open(t, options(t.TempDir()))
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error)
	go func() {
		ended <- l.Follow(ctx, wal.Cursor{}, func(context.Context, []wal.Event, wal.Cursor) error { return nil })
	}()
	cancel(errEnough)
	if err := <-ended; !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
}
