package wal

import (
	"runtime"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// maxYields bounds how often a goroutine gives way before it takes its queue: every runnable caller
// gets to append first, and nobody sleeps for company.
const maxYields = 16

// writeBytes is how much a batch gathers before it is written; it is synced as a whole.
const writeBytes = 1 << 20

// writer is the state of the end of the log. Log.state guards it.
type writer struct {
	file    disk.File
	segment uint64
	off     int64 // of the next write
	size    int64 // of the file
	dirty   int64 // end of an interrupted write's bytes behind off
	prevEnd int64
	seed    uint32
	key     chainKey
	chains  map[string]*chain
	count   uint32 // tenants
	buf     []byte
	start   place // of the batch
	first   bool  // the next frame starts a batch
	pending bool  // written and not synced
}

func (l *Log) runWriter() {
	defer close(l.written)
	var free []*item
	for {
		q := l.take(&l.queue, &l.taken, free)
		if len(q) > 0 {
			l.commit(q)
		}
		free = l.release(&l.taken, q)
		if len(q) > 0 {
			continue
		}
		select {
		case <-l.wake:
		case <-l.stop:
			if l.drained(&l.queue) {
				return
			}
		}
	}
}

// take lets a queue grow as long as it does and then takes it whole.
func (l *Log) take(queue, taken *[]*item, free []*item) []*item {
	for last, i := 0, 0; i < maxYields; i++ {
		l.mu.Lock()
		n := len(*queue)
		l.mu.Unlock()
		if n == last {
			break
		}
		last = n
		runtime.Gosched()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	q := *queue
	*queue, *taken = free[:0], q
	return q
}

func (l *Log) release(taken *[]*item, q []*item) []*item {
	l.mu.Lock()
	*taken = nil
	l.mu.Unlock()
	clear(q)
	return q
}

func (l *Log) drained(queue *[]*item) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(*queue) == 0
}

// commit makes a batch durable and answers it. Nothing is answered with success before all of it is durable.
func (l *Log) commit(q []*item) {
	l.state.Lock()
	l.w.first = true
	l.w.start = place{l.w.segment, l.w.off}
	now := l.opt.Now().Unix()
	for _, it := range q {
		it.fate = l.put(it, now)
	}
	if err := l.flush(l.opt.Sync == SyncDisk); err != nil {
		for _, it := range q {
			if it.fate == nil {
				it.fate = err
			}
		}
	}
	l.publish(q)
	l.state.Unlock()
	l.handOver(q)
}

// handOver gives what wants a receipt to the signer and answers the rest. An item is not touched
// after it was given away.
func (l *Log) handOver(q []*item) {
	plain := l.plain[:0]
	l.mu.Lock()
	before := len(l.signq)
	for _, it := range q {
		if it.signed && it.fate == nil {
			l.signq = append(l.signq, it)
		} else {
			plain = append(plain, it)
		}
	}
	more := len(l.signq) > before
	l.mu.Unlock()
	if more {
		kick(l.sign)
	}
	for _, it := range plain {
		l.finish(it, it.fate)
	}
	clear(plain)
	l.plain = plain
}

// finish answers an item. An admitted record whose caller was already refused will never be settled
// by the caller, so the log says itself that its outcome is unknown.
func (l *Log) finish(it *item, err error) {
	admitted, own := it.event.Kind == ledger.Admitted, it.own
	if it.answer(err) || err != nil || !admitted || own {
		return
	}
	r := unknownOutcome(it.event.Tenant, it.event.ID, "deadline")
	settle := &item{own: true}
	if l.seal(&r, settle) == nil {
		_ = l.enqueue(settle) // the log's own items are never refused
	}
}

// unknownOutcome is the record that closes a call whose end nobody saw.
func unknownOutcome(tenant, of, code string) ledger.Record {
	return ledger.Record{
		Tenant: tenant, Kind: ledger.Settled, Step: -1, Of: of,
		Outcome: ledger.OutcomeUnknown, Code: code,
	}
}

// put checks one record, chains it, and lays its frame into the buffer.
func (l *Log) put(it *item, now int64) error {
	if err := l.poisoned(); err != nil {
		return err
	}
	e := &it.event
	if e.Kind == ledger.Admitted && !it.own && it.state.Load()&1 == 0 {
		return ErrDeadline // refused while it waited: nothing was written, nothing is spent
	}
	urgent := it.own || e.Kind == ledger.Settled && l.uses.isOpen(e.Of)
	if err := l.room(frameSize(it.leafLen, len(it.buf)-it.leafLen), urgent); err != nil {
		return err
	}
	c := l.w.chains[e.Tenant]
	if c == nil {
		if l.w.count >= maxTenants {
			return ErrBusy
		}
		c = &chain{number: l.w.count, name: e.Tenant}
	}
	if err := l.account(c, it, now); err != nil {
		return err
	}
	if c.front.Size() == 0 {
		l.w.chains[e.Tenant] = c
		l.w.count++
	}
	l.layFrame(c, it)
	return nil
}

// account checks and counts what the record spends or closes.
func (l *Log) account(c *chain, it *item, now int64) error {
	switch it.event.Kind {
	case ledger.Admitted:
		return l.uses.admit(c.number, it.event.ID, &it.use, now)
	case ledger.Settled:
		return l.uses.settle(c.number, it.event.Of, it.event.Outcome)
	default:
		return nil
	}
}

func (l *Log) layFrame(c *chain, it *item) {
	w := &l.w
	if w.off == 0 && len(w.buf) == 0 {
		h := header{
			number: w.segment, epoch: w.key.epoch, boot: l.boot, size: uint64(w.size),
			prevEnd: uint64(w.prevEnd), created: uint64(l.opt.Now().UnixMicro()), instance: l.opt.Instance,
		}
		w.buf = h.append(w.buf, w.key)
	}
	seq := c.front.Size()
	c.seal(&w.key, &it.leaf)
	c.front.Append(it.leaf)
	f := frame{tenant: c.number, seq: seq, leaf: it.buf[:it.leafLen], side: it.buf[it.leafLen:], mac: c.mac[:]}
	if len(f.side) > 0 {
		f.flags |= flagSide
	}
	if w.first {
		f.flags |= flagBatch
		w.first = false
	}
	it.at = place{w.segment, w.off + int64(len(w.buf))}
	it.mark = Mark{Tenant: c.name, Index: seq, Leaf: it.leaf}
	it.event.Index = seq
	w.buf = appendFrame(w.buf, w.seed, &f)
}

// reserve is what normal records leave free in the last segment there is: room for settled records of
// calls that were let through, and for the log's own.
func (w *writer) reserve() int64 { return w.size / 16 }

// room sees to it that n more bytes fit, and goes on to the next segment when they do not.
func (l *Log) room(n int, urgent bool) error {
	w := &l.w
	for range 2 {
		if len(w.buf) > writeBytes {
			if err := l.flush(false); err != nil {
				return err
			}
		}
		need := w.off + int64(len(w.buf)+n)
		if w.off == 0 && len(w.buf) == 0 {
			need += headerBytes
		}
		if need <= w.size-w.reserve() {
			return nil
		}
		err := l.spare.ready()
		if need <= w.size && (err == nil || urgent) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := l.rotate(); err != nil {
			return err
		}
	}
	return ErrFull
}

// rotate closes the segment, all of it durable, and goes on in the next with the next key.
func (l *Log) rotate() error {
	w := &l.w
	if err := l.flush(true); err != nil {
		return err
	}
	next, err := l.spare.take()
	if err != nil {
		return err
	}
	if w.file != nil {
		if err := w.file.Close(); err != nil {
			return l.fail(err)
		}
	}
	w.file, w.prevEnd, w.off, w.dirty, w.size = next, w.off, 0, 0, l.opt.SegmentBytes
	w.segment++
	w.seed = frameSeed(w.segment)
	w.key = w.key.next()
	l.spare.rotated(w.key)
	return nil
}

// flush writes the buffer, over what an interrupted write left behind it, and syncs if asked to. An
// error poisons the log: what the disk holds then is not known.
func (l *Log) flush(sync bool) error {
	w := &l.w
	if err := l.poisoned(); err != nil {
		w.buf = w.buf[:0]
		return err
	}
	if n := int64(len(w.buf)); n > 0 || w.dirty > w.off {
		end := w.off + n
		for int64(len(w.buf)) < w.dirty-w.off {
			w.buf = append(w.buf, zeros[:min(int64(len(zeros)), w.dirty-w.off-int64(len(w.buf)))]...)
		}
		if _, err := w.file.WriteAt(w.buf, w.off); err != nil {
			return l.fail(err)
		}
		w.off, w.dirty, w.pending = end, 0, true
		w.buf = w.buf[:0]
		if cap(w.buf) > 4*writeBytes {
			w.buf = nil
		}
	}
	if sync && w.pending {
		if err := w.file.Sync(); err != nil {
			return l.fail(err)
		}
		w.pending = false
	}
	return nil
}

// publish shows a durable batch to readers and followers.
func (l *Log) publish(q []*item) {
	end := place{l.w.segment, l.w.off}
	l.view.Lock()
	defer l.view.Unlock()
	l.stats.Segment = l.w.segment
	if l.poisoned() != nil {
		return
	}
	n := uint64(0)
	for _, it := range q {
		if it.fate == nil {
			n++
			row := it.event.row(it.at)
			l.shelve(&row, it.at.segment)
		}
	}
	l.stats.Records += n
	l.stats.Batches++
	l.follow.offer(q, l.w.start, end)
}
