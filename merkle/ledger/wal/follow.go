package wal

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// Event is what followers learn about a record. Trust, threats, metrics and exports follow the ledger
// and never stand on the path of a call.
type Event struct {
	Tenant  string
	Index   uint64
	ID      string
	Time    int64 // unix microseconds
	Kind    ledger.Kind
	Plan    merkle.Hash
	PlanID  string
	Step    int32
	Token   string
	Agent   string
	User    string
	Op      string
	Server  string
	Tool    string
	Of      string
	Code    string
	Outcome string
	Verdict string
	Status  int    // upstream's status
	Micros  uint64 // duration of the call
}

func eventOf(r *ledger.Record) Event {
	step := r.Step
	if r.Plan.IsZero() {
		step = -1 // as the leaf says it
	}
	return Event{
		Tenant: r.Tenant, ID: r.ID, Time: r.Time, Kind: r.Kind, Plan: r.Plan, PlanID: r.PlanID, Step: step,
		Token: r.Token, Agent: r.Agent, User: r.User, Op: r.Op, Server: r.Server, Tool: r.Tool, Of: r.Of, Code: r.Code,
		Outcome: r.Outcome, Verdict: r.Verdict, Status: r.Status, Micros: r.Micros,
	}
}

// Bounds of following.
const (
	// eventChunk is how many events are delivered at once, at most.
	eventChunk = 256
	// recentChunks chunks of recent events are kept for followers that keep up, about 5 MiB; who is further behind reads
	// the disk. Nothing is kept while nobody follows.
	recentChunks = 32
)

// recent is a run of events. It is written by the committing goroutine and read by followers without a lock: what stands
// below n does not change. A chunk that is dropped lets go of those after it, so that a follower that hangs holds one.
type recent struct {
	from   place // where the log ended before the first
	events [eventChunk]Event
	ends   [eventChunk]place
	n      atomic.Int32
	next   atomic.Pointer[recent]
	gone   atomic.Bool
}

// follower is what followers share: the end of the log, and its last events.
type follower struct {
	mu          sync.Mutex // guards all below
	tip         place      // durable end of the log
	total       uint64     // records up to there
	taps        []*tap
	first, last *recent
	chunks      int
}

func newFollower(tip place) *follower { return &follower{tip: tip} }

// count notes how many records the log begins with.
func (f *follower) count(chains map[string]*chain) {
	for _, c := range chains {
		f.total += c.front.Size()
	}
}

// offer takes up a durable batch. It waits for nobody who follows.
func (f *follower) offer(q []*item, _, end place) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.taps) > 0 {
		f.keep(q)
	}
	for _, it := range q {
		if it.fate == nil {
			f.total++
		}
	}
	f.tip = end
	for _, t := range f.taps {
		kick(t.wake)
	}
}

// keep adds events to the last chunk, and to new ones. Followers see what a chunk got once it is full or all are in.
func (f *follower) keep(q []*item) {
	c, n := f.last, int32(eventChunk)
	if c != nil {
		n = c.n.Load()
	}
	for _, it := range q {
		if it.fate != nil {
			continue
		}
		if n == eventChunk {
			if c != nil {
				c.n.Store(n)
			}
			c, n = f.grow(), 0
		}
		c.events[n] = it.event
		c.ends[n] = place{it.at.segment, it.at.off + int64(frameSize(it.leafLen, len(it.buf)-it.leafLen))}
		n++
	}
	if c != nil {
		c.n.Store(n)
	}
}

func (f *follower) grow() *recent {
	c := &recent{from: f.tip}
	if f.last == nil {
		f.first, f.last, f.chunks = c, c, 1
		return c
	}
	c.from = f.last.ends[eventChunk-1]
	f.last.next.Store(c)
	f.last = c
	if f.chunks++; f.chunks > recentChunks {
		old := f.first
		f.first = old.next.Load()
		old.gone.Store(true)
		old.next.Store(nil)
		f.chunks--
	}
	return c
}

// tap is one follower's way through the log.
type tap struct {
	log   *Log
	wake  chan struct{}
	at    place   // where it stands
	live  *recent // nil: it reads the disk
	index int     // in live
	disk  past
	spare []Event
	lags  atomic.Bool
}

func (l *Log) tap(at place) *tap {
	t := &tap{log: l, wake: make(chan struct{}, 1), at: at, disk: past{log: l}}
	f := l.follow
	f.mu.Lock()
	defer f.mu.Unlock()
	f.taps = append(f.taps, t)
	return t
}

func (t *tap) close() {
	t.disk.close()
	f := t.log.follow
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, other := range f.taps {
		if other == t {
			f.taps = append(f.taps[:i:i], f.taps[i+1:]...)
			break
		}
	}
	if len(f.taps) == 0 {
		f.first, f.last, f.chunks = nil, nil, 0
	}
}

// behind tells whether somebody reads from the disk what is no longer in memory.
func (f *follower) behind() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.taps {
		if t.lags.Load() {
			return true
		}
	}
	return false
}

// Follow delivers the events after a cursor in the order of the log, first the history and then what is new, until ctx
// ends, fn returns an error, or the log is closed (ErrClosed, after the last event). Each call has at least one event
// and at most 256; they are read only, and fn may keep their strings but not the slice. next is the place behind them:
// who stores it after its work was done, and goes on there later, gets every event at least once.
//
// Any number may follow, each at its own pace. A commit waits for none of them; who is slow is served from the disk.
// A cursor that is not between two records is refused with ErrCursor; one before the first kept record, also when it is
// pruned under the follower, with a *GapError that says where to go on.
func (l *Log) Follow(ctx context.Context, from Cursor, fn func(ctx context.Context, events []Event, next Cursor) error) error {
	at, err := l.locate(from)
	if err != nil {
		return fmt.Errorf("follow: %w", err)
	}
	t := l.tap(at)
	defer t.close()
	for {
		ended := l.ended()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		events, next, err := t.take()
		if err != nil {
			return fmt.Errorf("follow: %w", err)
		}
		if len(events) > 0 {
			if err := fn(ctx, events, Cursor{next}); err != nil {
				return err
			}
		}
		moved := len(events) > 0 || next != t.at
		t.at = next
		if moved {
			continue
		}
		if ended {
			return fmt.Errorf("follow: %w", ErrClosed)
		}
		select {
		case <-t.wake:
		case <-l.written:
		case <-ctx.Done():
		}
	}
}

// ended tells whether the writer has written its last.
func (l *Log) ended() bool {
	select {
	case <-l.written:
		return true
	default:
		return false
	}
}

// take returns the next events and the place behind them, from memory where they are there.
func (t *tap) take() ([]Event, place, error) {
	if t.live == nil {
		t.attach()
	}
	if t.live != nil {
		if events, next := t.recent(); len(events) > 0 || t.live != nil {
			return events, next, nil
		}
	}
	tip, _ := t.log.Tip()
	t.lags.Store(t.at.before(tip.at))
	if t.spare == nil {
		t.spare = make([]Event, 0, eventChunk)
	}
	return t.disk.read(t.at, tip.at, t.spare)
}

// attach finds the follower's place among the recent events, if they reach back that far.
func (t *tap) attach() {
	f := t.log.follow
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.first
	if c == nil || t.at.before(c.from) {
		return
	}
	for next := c.next.Load(); next != nil && !t.at.before(next.from); next = c.next.Load() {
		c = next
	}
	t.live, t.index = c, 0
	for t.index < int(c.n.Load()) && !t.at.before(c.ends[t.index]) {
		t.index++
	}
	t.lags.Store(false)
	t.spare = nil
	t.disk.close()
}

// recent returns what follows in memory. It gives up the chunk when those after it were dropped.
func (t *tap) recent() ([]Event, place) {
	for t.index == eventChunk {
		next := t.live.next.Load()
		if next == nil {
			if t.live.gone.Load() {
				t.live = nil
			}
			return nil, t.at
		}
		t.live, t.index = next, 0
	}
	from, n := t.index, int(t.live.n.Load())
	if from == n {
		return nil, t.at
	}
	t.index = n
	return t.live.events[from:n], t.live.ends[n-1]
}
