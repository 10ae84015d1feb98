package quota

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// What an account counts: all calls, and in sessions those of each tool under its name.
const (
	allCalls  = "*"
	toolCalls = "t/"
)

// Bounds of one session.
const (
	maxTools  = 1024
	maxLabels = 256
	maxName   = 512 // bytes of a tool's or label's name
)

// account is one counter with everything counted under it.
type account struct {
	name  name
	width int64 // of a slot, nanoseconds; 0: what is counted stays
	slots int64

	mu     sync.Mutex // guards all below
	refs   int        // places and looks; the keeper lets go of an account only at 0
	dead   bool       // what is in the store may differ: nothing more is counted here
	ready  bool       // read from the store
	last   int64      // the newest slot; time that runs backwards stays in it
	counts map[string]*tally
	held   map[place]int64  // of these, places of calls that are still being judged; they are not kept
	labels map[string]int64 // the newest slot each was seen in
	ends   int64            // of a plan's session, unix seconds
	change uint64           // grows with everything that is to be kept
	kept   uint64           // the change that is in the store

	writing sync.Mutex // held while the row is written
	version uint64     // of the row, guarded by writing
}

// place is where a call is counted.
type place struct {
	what string
	slot int64
}

// tally is how often something was counted in each slot, oldest first.
type tally struct {
	Slots []slotCount
	sum   int64
}

type slotCount struct{ Slot, Count int64 }

func (t *tally) add(slot int64) {
	t.sum++
	if n := len(t.Slots); n > 0 && t.Slots[n-1].Slot == slot {
		t.Slots[n-1].Count++
		return
	}
	t.Slots = append(t.Slots, slotCount{slot, 1})
}

func (t *tally) remove(slot int64) {
	for i := range t.Slots {
		if t.Slots[i].Slot == slot && t.Slots[i].Count > 0 {
			t.Slots[i].Count--
			t.sum--
			return
		}
	}
}

// drop forgets the slots before oldest.
func (t *tally) drop(oldest int64) {
	i := 0
	for ; i < len(t.Slots) && t.Slots[i].Slot < oldest; i++ {
		t.sum -= t.Slots[i].Count
	}
	t.Slots = slices.Delete(t.Slots, 0, i)
}

// at moves the account to a time and returns its slot. mu is held.
func (a *account) at(now time.Time) int64 {
	if a.width == 0 {
		return 0
	}
	slot := now.UnixNano() / a.width
	if a.last-slot > a.slots+int64(clockBack)/a.width {
		a.setBack(slot)
	}
	if slot <= a.last {
		return a.last
	}
	a.last = slot
	oldest := slot - a.slots
	for what, t := range a.counts {
		if t.drop(oldest); len(t.Slots) == 0 {
			delete(a.counts, what)
		}
	}
	maps.DeleteFunc(a.labels, func(_ string, seen int64) bool { return seen < oldest })
	return slot
}

// clockBack is how much older than the newest call of a counter, beside its span, a call can be: what runs still ends within.
const clockBack = 24 * time.Hour

// setBack goes on at an earlier slot when the clock was wrong and was set back: all that is counted counts from there on, a
// place held at the time for good. Otherwise a rate would have no room until the wrong time has come.
func (a *account) setBack(slot int64) {
	for _, t := range a.counts {
		t.Slots = append(t.Slots[:0], slotCount{slot, t.sum})
	}
	for l := range a.labels {
		a.labels[l] = slot
	}
	a.last = slot
	a.change++
}

func (a *account) count(what string, slot int64) {
	t := a.counts[what]
	if t == nil {
		t = &tally{}
		a.counts[what] = t
	}
	t.add(slot)
	a.held[place{what, slot}]++
}

// settle makes a held place one that is to be kept.
func (a *account) settle(at place) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.free(at)
	a.change++
}

func (a *account) free(at place) {
	if a.held[at]--; a.held[at] <= 0 {
		delete(a.held, at)
	}
}

func (a *account) sum(what string) int64 {
	if t := a.counts[what]; t != nil {
		return t.sum
	}
	return 0
}

// seen is what is counted now. mu is held.
func (a *account) seen(tool string, now time.Time) Seen {
	a.at(now)
	s := Seen{Calls: a.sum(allCalls), Tool: a.sum(toolCalls + tool)}
	if len(a.labels) > 0 {
		s.Labels = slices.Sorted(maps.Keys(a.labels))
	}
	return s
}

// enter counts a call of a tool.
func (a *account) enter(tool string, now time.Time) (s Seen, slot int64, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, slot = a.seen(tool, now), a.at(now)
	if a.dead {
		return s, slot, ErrLost
	}
	if len(tool) > maxName || len(a.counts) > maxTools && a.counts[toolCalls+tool] == nil {
		return s, slot, fmt.Errorf("%w: a session of more than %d tools", ErrFull, maxTools)
	}
	a.count(allCalls, slot)
	a.count(toolCalls+tool, slot)
	return s, slot, nil
}

// take counts a call when there is room, else says how long until there may be.
func (a *account) take(most int64, now time.Time) (slot int64, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	slot = a.at(now)
	if a.sum(allCalls) < most {
		a.count(allCalls, slot)
		return slot, 0
	}
	return slot, a.wait(most, now)
}

// wait is how long until there may be room, 0 when there is. mu is held, and the account is at now.
func (a *account) wait(most int64, now time.Time) time.Duration {
	left := a.sum(allCalls)
	if left < most {
		return 0
	}
	for _, s := range a.slotsOf(allCalls) {
		if left -= s.Count; left < most {
			return max(time.Duration((s.Slot+a.slots+1)*a.width-now.UnixNano()), 1)
		}
	}
	return time.Duration(a.width * (a.slots + 1)) // most is 0 or less
}

func (a *account) slotsOf(what string) []slotCount {
	if t := a.counts[what]; t != nil {
		return t.Slots
	}
	return nil
}

// giveBack takes a place out again, settled or still held.
func (a *account) giveBack(at place, settled bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t := a.counts[at.what]; t != nil {
		if t.remove(at.slot); t.sum == 0 {
			delete(a.counts, at.what)
		}
	}
	if settled {
		a.change++
	} else {
		a.free(at)
	}
}

// label notes labels as seen now.
func (a *account) label(labels []string, now time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	slot := a.at(now)
	for _, l := range labels {
		was, known := a.labels[l]
		switch {
		case known && was == slot:
			continue
		case !known && len(a.labels) >= maxLabels, len(l) > maxName:
			return fmt.Errorf("%w: a session of more than %d labels", ErrFull, maxLabels)
		}
		a.labels[strings.Clone(l)] = slot
		a.change++
	}
	return nil
}

// lasts says when a plan's session ends.
func (a *account) lasts(ends time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ends = max(a.ends, ends.Unix())
}

// leave ends a use of the account.
func (a *account) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refs--
}

// idle tells whether the keeper may let go of the account: nobody uses it, so that the store has every call that went out.
// A settled place that was given back since may stay counted there.
func (a *account) idle() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refs == 0
}
