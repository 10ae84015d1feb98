package wal

import (
	"errors"
	"fmt"
	"os"
	"sync"

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
}

func eventOf(r *ledger.Record) Event {
	step := r.Step
	if r.Plan.IsZero() {
		step = -1 // as the leaf says it
	}
	return Event{
		Tenant: r.Tenant, ID: r.ID, Time: r.Time, Kind: r.Kind, Plan: r.Plan, PlanID: r.PlanID, Step: step,
		Token: r.Token, Agent: r.Agent, User: r.User, Op: r.Op, Server: r.Server, Tool: r.Tool,
		Of: r.Of, Code: r.Code, Outcome: r.Outcome, Verdict: r.Verdict,
	}
}

// Bounds of following: what is kept in memory for slow followers (about 60 MiB), and what is delivered at once.
const (
	maxEvents  = 1 << 18
	eventChunk = 512
)

// follower feeds the followers: from memory while they keep up, from the disk when they do not.
type follower struct {
	mu   sync.Mutex // guards all below
	live bool       // buf has everything from where the followers stand
	buf  []Event
	next place // where reading from the disk goes on
	tip  place // durable end of the log
	wake chan struct{}
}

func newFollower(tip place) *follower {
	return &follower{tip: tip, wake: make(chan struct{}, 1)}
}

// offer takes up a durable batch. It never waits.
func (f *follower) offer(q []*item, start, end place) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tip = end
	if f.live && len(f.buf)+len(q) > maxEvents {
		f.live, f.next = false, start
	}
	if f.live {
		for _, it := range q {
			if it.fate == nil {
				f.buf = append(f.buf, it.event)
			}
		}
	}
	kick(f.wake)
}

func (f *follower) behind() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.live && f.next != f.tip
}

// turn returns what is to be delivered from memory, or from where the disk is to be read.
func (f *follower) turn(spare []Event) (events []Event, from, to place, read bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	events, f.buf = f.buf, spare[:0]
	if len(events) == 0 && !f.live {
		if f.next == f.tip {
			f.live = true
		}
		return events, f.next, f.tip, !f.live
	}
	return events, f.next, f.tip, false
}

func (l *Log) runFollow() {
	f := l.follow
	var spare []Event
	for ended := false; ; {
		events, from, to, read := f.turn(spare)
		switch {
		case len(events) > 0:
			l.deliver(events)
			spare = events
			clear(spare)
			continue
		case read:
			next, err := l.replayEvents(from, to)
			f.mu.Lock()
			f.next = next
			f.mu.Unlock()
			if err == nil {
				continue
			}
			l.followFailed(err)
		}
		spare = events
		if ended {
			return
		}
		select {
		case <-f.wake:
		case <-l.written:
			ended = true
		}
	}
}

func (l *Log) deliver(events []Event) {
	for _, fn := range l.opt.Followers {
		fn(events)
	}
}

func (l *Log) followFailed(err error) {
	l.view.Lock()
	l.stats.Follow = err
	l.view.Unlock()
}

// replayEvents delivers up to eventChunk events from the disk and returns where it stopped.
func (l *Log) replayEvents(from, to place) (place, error) {
	if len(l.opt.Followers) == 0 {
		return to, nil
	}
	f, err := l.opt.FS.Open(segmentName(l.opt.Dir, from.segment), os.O_RDONLY)
	if err != nil {
		return from, fmt.Errorf("follow: %w", err)
	}
	defer f.Close()
	end := l.opt.SegmentBytes
	if size, err := f.Size(); err == nil {
		end = size
	}
	if from.segment == to.segment {
		end = to.off
	}
	w := &window{f: f, size: end}
	seed := frameSeed(from.segment)
	events := make([]Event, 0, eventChunk)
	for from.off = max(from.off, headerBytes); len(events) < eventChunk; {
		fr, size, err := frameAt(w, from.off, seed)
		if errors.Is(err, errEnd) && from.segment < to.segment {
			from = place{from.segment + 1, 0}
			break
		}
		if errors.Is(err, errEnd) {
			from = to
			break
		}
		if err != nil {
			return from, fmt.Errorf("follow segment %d: %w", from.segment, err)
		}
		rec, err := ledger.ParseRecord(fr.leaf)
		if err != nil {
			return from, fmt.Errorf("follow segment %d: %w", from.segment, err)
		}
		e := eventOf(&rec)
		e.Index = fr.seq
		events = append(events, e)
		from.off += int64(size)
	}
	if len(events) > 0 {
		l.deliver(events)
	}
	return from, nil
}
