package wasm

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

var (
	errBusy   = errors.New("every instance is at work")
	errClosed = errors.New("the filter is closed")
)

// pool lends a filter's instances. Each has a slot, and a slot is taken by one atomic step: calls on several processors do
// not wait for each other while there are slots.
type pool struct {
	slots []slot
	queue queue
	wait  time.Duration
	build func() (*instance, error) // makes an instance in the image's state
	reset func(*instance) bool      // puts one back to it
	after func()                    // called when the pool is over and the last instance gone

	over     atomic.Bool
	open     atomic.Int32  // slots that are not shut
	empty    chan struct{} // closed when none is
	starts   [4]start
	cleaning atomic.Bool // a goroutine puts instances back
	short    atomic.Bool // a call found no clean instance
}

// What a slot is. Whoever makes it lent owns what is in it, until it makes it something else.
const (
	vacant uint32 = iota // there is no instance yet
	clean                // its instance is in the image's state
	used                 // its instance is as a call left it
	lent
	shut // for ever
)

// slot holds one instance. It fills cache lines of its own.
type slot struct {
	state atomic.Uint32
	found uint32 // what it was before it was lent
	pass  bool   // few slots were clean when it was lent
	in    *instance
	tally tally
	_     [64]byte
}

// start is where a search for a clean instance begins, counted from the slot that the hint names: those before it were lent
// and not put back. It is only a hint too. Each fills a cache line.
type start struct {
	at atomic.Int32
	_  [60]byte
}

func newPool(size int, wait time.Duration, after func()) *pool {
	p := &pool{slots: make([]slot, size), wait: wait, after: after, empty: make(chan struct{})}
	p.queue.wake = make(chan struct{}, size)
	p.open.Store(int32(size))
	return p
}

// take lends a slot with an instance in the image's state. hint may be any number: calls with the same one tend to get the
// same slot, whose memory is in their processor's cache. give must follow.
func (p *pool) take(ctx context.Context, hint uint32) (*slot, error) {
	s := p.find(hint)
	if s == nil {
		err := p.queue.enter(ctx, p.wait, func() bool {
			s = p.find(hint)
			return s != nil || p.over.Load() // then there will be none any more
		})
		if err != nil {
			return nil, err
		}
	}
	if p.over.Load() {
		if s != nil {
			p.put(s, s.found)
		}
		p.queue.leave()
		return nil, errClosed
	}
	if s.found == clean {
		return s, nil
	}
	if err := p.ready(s); err != nil {
		p.put(s, vacant)
		return nil, err
	}
	return s, nil
}

// find lends a slot, if it can one that needs no work first.
func (p *pool) find(hint uint32) *slot {
	first := int(uint64(hint) * uint64(len(p.slots)) >> 32)
	start := &p.starts[hint>>30].at
	from := int(start.Load())
	s, i := p.search(first, from, clean)
	if s == nil && from > 0 {
		s, i = p.search(first, 0, clean)
	}
	if s != nil {
		s.found, s.pass = clean, 2*i >= len(p.slots)
		if i != from {
			start.Store(int32(i))
		}
		return s
	}
	for _, want := range [...]uint32{used, vacant} {
		if s, _ := p.search(first, 0, want); s != nil {
			s.found, s.pass = want, true
			p.short.Store(true)
			return s
		}
	}
	return nil
}

// search lends a slot that is what is wanted, the first behind from others after the first, and says how many came before it.
func (p *pool) search(first, from int, want uint32) (*slot, int) {
	for i := from; i < len(p.slots); i++ {
		at := first + i
		if at >= len(p.slots) {
			at -= len(p.slots)
		}
		if s := &p.slots[at]; s.state.Load() == want && s.state.CompareAndSwap(want, lent) {
			return s, i
		}
	}
	return nil, 0
}

// ready puts the instance of a lent slot into the image's state, a new one if need be.
func (p *pool) ready(s *slot) (err error) {
	if s.in != nil && p.restore(s) {
		return nil
	}
	s.in, err = p.build()
	return err
}

// restore puts the instance of a lent slot back, or throws it away.
func (p *pool) restore(s *slot) bool {
	s.tally.resets.Add(1)
	if p.reset(s.in) {
		return true
	}
	s.discard()
	return false
}

// discard throws away the instance of a lent slot.
func (s *slot) discard() {
	_ = s.in.close() // frees memory, and has nothing else to fail at
	s.in = nil
	s.tally.thrown.Add(1)
}

// give takes a slot back. What it holds is put back to the image by the next that needs it, or by a goroutine beside the
// calls, once half of the slots wait for that: to start one for each call would cost more than it saves.
func (p *pool) give(s *slot) {
	if s.in == nil {
		p.put(s, vacant)
		return
	}
	hurry := s.pass
	p.put(s, used)
	if hurry && !p.cleaning.Load() && p.cleaning.CompareAndSwap(false, true) {
		go p.tidy()
	}
}

// put says what a lent slot is now, and tells those who wait.
func (p *pool) put(s *slot, state uint32) {
	s.state.Store(state)
	if p.over.Load() {
		p.shut(s)
		return
	}
	p.queue.leave()
}

// tidy puts back what it finds, until there is nothing. Each time that calls found nothing clean meanwhile it makes one
// instance more: calls that go on and on would otherwise keep it at putting back.
func (p *pool) tidy() {
	for found := 1; found > 0; {
		found = p.settle()
		if p.short.Swap(false) {
			p.add()
		}
	}
	p.cleaning.Store(false)
}

// add makes an instance where there is none yet. One that cannot be made is not missed: the calls have others.
func (p *pool) add() {
	for i := range p.slots {
		s := &p.slots[i]
		if s.state.Load() != vacant || !s.state.CompareAndSwap(vacant, lent) {
			continue
		}
		state := clean
		var err error
		if s.in, err = p.build(); err != nil {
			state = vacant
		}
		p.put(s, state)
		return
	}
}

// settle puts back what it finds, and returns how many that was.
func (p *pool) settle() (n int) {
	for i := range p.slots {
		s := &p.slots[i]
		if s.state.Load() != used || !s.state.CompareAndSwap(used, lent) {
			continue
		}
		n++
		if p.restore(s) {
			p.put(s, clean)
		} else {
			p.put(s, vacant)
		}
	}
	if n > 0 {
		for i := range p.starts {
			p.starts[i].at.Store(0)
		}
	}
	return n
}

// shut frees a slot for ever, unless it is lent: then its borrower does.
func (p *pool) shut(s *slot) {
	for _, from := range [...]uint32{clean, used, vacant} {
		if !s.state.CompareAndSwap(from, lent) {
			continue
		}
		if s.in != nil {
			_ = s.in.close() // frees memory, and has nothing else to fail at
			s.in = nil
		}
		s.state.Store(shut)
		if p.open.Add(-1) == 0 {
			p.after()
			close(p.empty)
		}
		return
	}
}

// close ends the pool: nothing more is lent. The channel closes when the last instance is gone.
func (p *pool) close() <-chan struct{} {
	if p.over.CompareAndSwap(false, true) {
		for i := range p.slots {
			p.shut(&p.slots[i])
		}
		p.queue.leave() // whoever sees that it is over tells the next
	}
	return p.empty
}

// stats adds up the slots.
func (p *pool) stats(s *FilterStats) {
	for i := range p.slots {
		slot := &p.slots[i]
		switch slot.state.Load() {
		case lent:
			s.Instances++
			s.InUse++
		case clean, used:
			s.Instances++
		}
		slot.tally.fill(s)
	}
	s.Waits = p.queue.waits.Load()
}
