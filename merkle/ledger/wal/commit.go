package wal

import (
	"runtime"
	"sync"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// maxYields bounds how often a goroutine gives way before it takes its queue: every runnable caller
// gets to append first, and nobody sleeps for company.
const maxYields = 16

// writeBytes is how much a batch gathers before it is written; it is synced as a whole.
const writeBytes = 1 << 20

// writer is the state of the end of the log as it is laid out: up to one batch ahead of what is durable. Log.state guards it.
type writer struct {
	file    disk.File
	segment uint64
	off     int64 // of the next frame that is laid, without what is in buf
	size    int64 // of the file
	dirty   int64 // end of an interrupted write's bytes behind off
	prevEnd int64
	seed    uint32
	key     chainKey
	chains  map[string]*chain
	count   uint32 // tenants
	buf     []byte
	first   bool // the next frame starts a batch
	owns    bool // whoever lays frames holds Log.disk too
}

// output is what goes to the disk next. Log.disk guards it.
type output struct {
	file    disk.File
	off     int64
	size    int64 // of the file
	buf     []byte
	pending bool // written and not synced
	at      disk.Appender
	segment uint64

	uncached uncached
}

// committer takes batches through the log. There are two, so that one can check, chain and lay the next batch while the
// disk is busy with the other's:
//
// Under Log.state records are taken from the queue, checked and laid into a buffer. Under Log.disk the buffer is written,
// synced and shown. A committer takes the disk before it lets go of the state. So batches are written in the order in
// which they were chained, none is written before the one before it is durable, and whoever holds both locks sees nothing
// that is not written.
type committer struct {
	slot  int // in Log.taken
	wake  <-chan struct{}
	q     []*item
	plain []*item // scratch
	start place   // of the batch
	end   place
}

// runWriter runs both committers. The second works only while the first one's batch is synced: work that arrives when the
// disk is idle wakes one goroutine, mostly the one that ran last.
func (l *Log) runWriter() {
	defer close(l.written)
	var second sync.WaitGroup
	second.Go(func() { l.runCommitter(&committer{slot: 1}) })
	l.runCommitter(&committer{slot: 0, wake: l.wake})
	second.Wait()
}

func (l *Log) runCommitter(c *committer) {
	for {
		if l.commit(c) {
			continue
		}
		select {
		case <-c.wake:
		case <-l.help:
		case <-l.stop:
			if l.drained(&l.queue) {
				return
			}
		}
	}
}

// take lets a queue grow as long as it does and then appends it whole to what is taken.
func (l *Log) take(queue, taken *[]*item, q []*item) []*item {
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
	q = append(q, *queue...)
	clear(*queue)
	*queue, *taken = (*queue)[:0], q
	return q
}

// release forgets what was taken, once all of it is answered or somebody else's.
func (l *Log) release(taken *[]*item, q []*item) []*item {
	l.mu.Lock()
	*taken = nil
	l.mu.Unlock()
	clear(q)
	return q[:0]
}

func (l *Log) drained(queue *[]*item) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(*queue) == 0
}

// commit makes what waits durable and answers it, and reports false when nothing waits. Nothing is answered with success
// before all of its batch is durable.
func (l *Log) commit(c *committer) bool {
	if !l.lay(c) {
		return false
	}
	sync := l.opt.Sync == SyncDisk
	if l.syncing.Store(sync); sync && !l.drained(&l.queue) {
		kick(l.help) // what came while this batch was laid woke nobody for it
	}
	err := l.write(sync)
	l.syncing.Store(false)
	for _, it := range c.q {
		if err != nil && it.fate == nil {
			it.fate = err
		}
	}
	l.publish(c)
	l.disk.Unlock()
	l.handOver(c)
	c.q = l.release(&l.taken[c.slot], c.q)
	return true
}

// lay makes a batch of what waits, ready to be written, and leaves with Log.disk held. While the batch before is on its
// way, this one is laid out as far as it has come; what comes meanwhile joins it.
func (l *Log) lay(c *committer) bool {
	l.state.Lock()
	defer l.state.Unlock()
	w := &l.w
	w.first = true
	c.start = place{w.segment, w.off}
	if !l.gather(c) {
		return false
	}
	if !w.owns && !l.disk.TryLock() {
		l.disk.Lock()
		w.owns = true
		l.gather(c)
	}
	w.owns = false // it goes with the batch
	l.cut()
	c.end = place{w.segment, w.off}
	return true
}

// gather takes what waits and lays it.
func (l *Log) gather(c *committer) bool {
	n := len(c.q)
	c.q = l.take(&l.queue, &l.taken[c.slot], c.q)
	now := l.opt.Now().Unix()
	for _, it := range c.q[n:] {
		it.fate = l.put(it, now)
	}
	return len(c.q) > n
}

// handOver gives what wants a receipt to the signer and answers the rest. An item is not touched
// after it was given away.
func (l *Log) handOver(c *committer) {
	plain := c.plain[:0]
	l.mu.Lock()
	before := len(l.signq)
	for _, it := range c.q {
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
	c.plain = plain
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
	if err := l.room(frameSize(it.leafLen, len(it.buf)-it.leafLen), l.urgent(it)); err != nil {
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
	it.mark, it.tenant = Mark{Tenant: c.name, Index: seq, Leaf: it.leaf}, c.number
	it.event.Index = seq
	w.buf = appendFrame(w.buf, w.seed, &f)
}

// reserve is what normal records leave free in a segment while nothing is made behind it yet.
func (w *writer) reserve() int64 { return w.size / 16 }

// room sees to it that n more bytes fit, and goes on to the next segment when they do not. The last segment that is made
// ahead is for urgent records alone: where nothing is left but it, others are refused.
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
		if need <= w.size {
			return l.spend(need, urgent)
		}
		if err := l.rotate(urgent); err != nil {
			return err
		}
	}
	return ErrFull
}

// spend tells whether a record may be laid in this segment, up to an offset.
func (l *Log) spend(end int64, urgent bool) error {
	if urgent {
		return nil
	}
	made, err := l.spare.status()
	switch {
	case made > 0:
		return nil
	case err != nil:
		return err
	case end <= l.w.size-l.w.reserve():
		return nil
	}
	return l.spare.ready(1)
}

// urgent tells whether a record may take the reserve: it closes a call that was let through, or it is needed to make room.
func (l *Log) urgent(it *item) bool {
	switch it.event.Kind {
	case ledger.Admin, ledger.Prune, ledger.Erasure, ledger.Recovery, ledger.Heartbeat:
		return true
	case ledger.Settled:
		return it.own || l.uses.isOpen(it.event.Of)
	default:
		return it.own
	}
}

// rotate closes the segment, all of it durable, and goes on in the next with the next key.
func (l *Log) rotate(urgent bool) error {
	w := &l.w
	need := 2
	if urgent {
		need = 1
	}
	if err := l.spare.ready(need); err != nil {
		return err
	}
	if err := l.flush(true); err != nil {
		return err
	}
	next, err := l.spare.take()
	if err != nil {
		return err
	}
	old := w.file
	w.file, w.prevEnd, w.off, w.dirty, w.size = next, w.off, 0, 0, l.opt.SegmentBytes
	w.segment++
	w.seed = frameSeed(w.segment)
	w.key = w.key.next()
	l.spare.rotated(w.key)
	if old != nil {
		if err := old.Close(); err != nil {
			return l.fail(err)
		}
	}
	return nil
}

// flush writes what is laid before the batch is whole, and keeps the disk for the rest of it.
func (l *Log) flush(sync bool) error {
	if !l.w.owns {
		l.disk.Lock()
		l.w.owns = true
	}
	l.cut()
	return l.write(sync)
}

// cut makes the laid frames the disk's, with zeros over what an interrupted write left behind them. Both locks are held.
func (l *Log) cut() {
	w, o := &l.w, &l.out
	n := int64(len(w.buf))
	for int64(len(w.buf)) < w.dirty-w.off {
		w.buf = append(w.buf, zeros[:min(int64(len(zeros)), w.dirty-w.off-int64(len(w.buf)))]...)
	}
	o.file, o.off, o.size, o.segment = w.file, w.off, w.size, w.segment
	w.buf, o.buf = o.buf[:0], w.buf
	if q := w.size / 4; w.off < q && w.off+n >= q && l.opt.Sync == SyncDisk {
		l.spare.fillSoon()
	}
	w.off, w.dirty = w.off+n, 0
	if cap(w.buf) > 4*writeBytes {
		w.buf = nil
	}
}

// write writes what was cut, and syncs if asked to. An error poisons the log: what the disk holds then is not known.
// Log.disk is held.
func (l *Log) write(sync bool) error {
	o := &l.out
	if err := l.poisoned(); err != nil {
		return err
	}
	if len(o.buf) > 0 {
		var err error
		if !o.at.At(o.file, o.off) {
			err = o.at.Begin(o.file, o.off, o.size, l.opt.Sync == SyncDisk)
		}
		if err == nil {
			err = o.at.Append(o.buf)
		}
		if err != nil {
			return l.fail(err)
		}
		o.buf, o.pending = o.buf[:0], true
	}
	if sync && o.pending {
		if err := o.file.Sync(); err != nil {
			return l.fail(err)
		}
		o.pending = false
		l.uncache()
	}
	return nil
}

// publish shows a durable batch to readers and followers.
func (l *Log) publish(c *committer) {
	l.view.Lock()
	defer l.view.Unlock()
	l.stats.Segment = c.end.segment
	if l.poisoned() != nil {
		return
	}
	n := uint64(0)
	for _, it := range c.q {
		if it.fate == nil {
			n++
			row := it.event.row(it.at)
			l.shelve(&row, it.at.segment)
		}
	}
	l.stats.Records += n
	l.stats.Batches++
	l.follow.offer(c.q, c.start, c.end)
	l.hashes.keep(c.q)
}
