package connector

import "sync"

// slot is the place of one call in flight. Slots are used again; each use has an id of its own, which leads back to
// the slot by its remainder.
type slot struct {
	ready chan struct{} // holds one; filled by whoever settles a call that somebody waits for

	mu    sync.Mutex // guards what follows
	id    uint64     // of the call; 0 when there is none
	last  uint64     // the id given last
	reply *Reply     // nil when nobody waits any more
	fail  *Failure
	heard *hearing // nil when the caller hears nothing before the answer
	notes int      // that came for the call
}

// claim gives the slot a new id, under which the answer goes to reply and what is said before it to heard.
func (sl *slot) claim(reply *Reply, heard *hearing, slots uint64) uint64 {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	sl.last += slots
	sl.id, sl.reply, sl.fail, sl.heard, sl.notes = sl.last, reply, nil, heard, 0
	return sl.id
}

// retract takes a call back that was not sent. It returns false when it was settled before.
func (sl *slot) retract(id uint64) bool {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if sl.id != id {
		return false
	}
	sl.id, sl.reply = 0, nil
	return true
}

// abandon leaves a call alone with the connector. It returns false when it was settled before.
func (sl *slot) abandon(id uint64) bool {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if sl.id != id {
		return false
	}
	sl.reply, sl.heard = nil, nil
	return true
}

func (sl *slot) outcome() *Failure {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	return sl.fail
}

// settle ends the call with id, or any call when id is 0. It says whether there was such a call, and whether it had
// been abandoned.
func (sl *slot) settle(id uint64, object []byte, isError bool, f *Failure) (known, abandoned bool) {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if sl.id == 0 || id != 0 && sl.id != id {
		return false, false
	}
	sl.id = 0
	if sl.reply == nil {
		return true, true
	}
	switch {
	case f != nil:
		own := *f // several calls may fail of one cause
		sl.fail = &own
	case isError:
		*sl.reply = Reply{Error: append(sl.reply.Error[:0], object...)}
	default:
		*sl.reply = Reply{Result: append(sl.reply.Result[:0], object...)}
	}
	sl.reply = nil
	sl.ready <- struct{}{}
	return true, false
}
