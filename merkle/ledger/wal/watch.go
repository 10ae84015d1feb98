package wal

import "time"

// neverExpires is the generation of an item that waits as long as it takes.
const neverExpires = 1 << 40

// watchTicks is how many times in a deadline the watch looks.
const watchTicks = 4

// runWatch refuses calls that wait longer than the deadline, so that no caller needs a timer of its
// own. It works until the last call is answered, also during Close.
func (l *Log) runWatch() {
	t := time.NewTicker(l.opt.Deadline / watchTicks)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			l.expire()
		case <-l.signed:
			return
		}
	}
}

// expire counts one tick on and answers what began more than watchTicks of them ago.
func (l *Log) expire() {
	now := l.generation.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, list := range [...][]*item{l.queue, l.taken[0], l.taken[1], l.signq, l.signing} {
		for _, it := range list {
			s := it.state.Load()
			if s&1 == 1 && int64(now)-int64(s>>1) > watchTicks && it.state.CompareAndSwap(s, 0) {
				it.err = ErrDeadline
				it.done <- struct{}{}
			}
		}
	}
}
