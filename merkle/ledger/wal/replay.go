package wal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"os"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/index"
)

// maxTenants bounds the chains of one instance: each costs about 3 KiB of memory.
const maxTenants = 1 << 16

// chain is one tenant's line of records: its tree and its MAC.
type chain struct {
	number uint32
	name   string
	front  merkle.Frontier
	mac    [macBytes]byte // of the last record
	sum    hash.Hash      // MAC state of epoch; nil when that key is not known
	epoch  uint64
	buf    [2*32 + 12]byte // what the MAC covers

	pinned *ledger.Checkpoint // what was signed for this tenant; nil once met
}

// seal computes the MAC of the record that comes next.
func (c *chain) seal(k *chainKey, leaf *merkle.Hash) {
	if c.sum == nil || c.epoch != k.epoch {
		c.sum, c.epoch = k.tenant(c.name), k.epoch
	}
	b := c.buf[:0]
	b = append(b, c.mac[:]...)
	b = append(b, leaf[:]...)
	b = binary.BigEndian.AppendUint64(b, c.front.Size())
	b = binary.BigEndian.AppendUint32(b, c.number)
	c.sum.Reset()
	c.sum.Write(b)
	c.sum.Sum(c.mac[:0])
}

// place is a byte in the log.
type place struct {
	segment uint64
	off     int64
}

// replay reads a whole log front to back and checks everything that can be checked with the keys at
// hand. Opening and offline verification are the same walk.
type replay struct {
	fs   disk.FS
	dir  string
	key  chainKey // earliest epoch whose key is known
	keys bool     // key is set

	instance   string // expected; taken from the first header when empty
	first      uint64 // number of the first segment that is kept
	generation uint64
	until      *state // where the walk ends, which must be as it says; nil: at the end of the log
	meets      *state // a signed state of this log, which the walk must come to; nil: none is known
	pins       map[string]ledger.Checkpoint
	below      map[string]ledger.Checkpoint // pins at sizes before the walk's start: not checked by it
	chains     []*chain
	byName     map[string]*chain
	passing    uint64                                           // pass is called before this segment is read
	differs    func(c *chain)                                   // hears of a tree that is not as it was signed; nil: that is an error
	pass       func()                                           // may be nil
	uses       counter                                          // may be nil
	cutLast    bool                                             // damage that only the last batch shows is taken as an interrupted write
	record     func(f *frame, r *ledger.Record, at place) error // may be nil
	each       func(*Seen) error                                // in place of record, for who needs no record
	seen       Seen
	tile       merkle.Hash // that seen points to
	workers    int         // that read ahead; 0: none
	rows       *matching   // may be nil
	skim       ledger.Skimmer
	progress   func(bytes int64)                         // may be nil
	pace       func(ctx context.Context, records uint64) // may be nil; called every few records
	done       int64                                     // bytes of the segments before

	records   uint64
	unchecked uint64 // records whose chain MAC could not be checked for want of a key
	unknown   uint64 // records of a kind of a newer version
	told      uint64 // generation that the log's own records announced last
	boot      uint64 // highest seen
	clock     int64  // highest time seen, unix microseconds
	last      lastFrame
	tail      tail
}

type lastFrame struct {
	tenant string
	seq    uint64
	mac    [macBytes]byte
}

// tail is where the log ends.
type tail struct {
	at      place // where the next frame goes
	dirty   int64 // end of the bytes of an interrupted write, 0 when clean
	prevEnd int64 // end of data in the segment before
	header  bool  // the segment has its header
	spare   uint64
	torn    *CorruptError
}

// counter takes up what admitted and settled records say.
type counter interface {
	replay(tenant uint32, r *ledger.Record)
}

// run walks the log from where begin left it. It stops at the first bad place with a *CorruptError, or ErrVersion.
func (r *replay) run(ctx context.Context) error {
	last := uint64(everySegment)
	if r.until != nil {
		last = r.until.tail().at.segment
	}
	numbers, err := segmentNumbers(r.fs, r.dir, r.first, last)
	if err != nil {
		return err
	}
	start := r.tail
	r.skim.Words = r.rows != nil
	if err := r.meet(); err != nil {
		return err
	}
	for _, n := range numbers {
		if start.header && n < start.at.segment {
			continue
		}
		if r.until != nil && (n > r.until.tail().at.segment || r.until.tail().at == r.tail.at) {
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.pass != nil && n == r.passing {
			r.pass()
		}
		if err := r.segment(ctx, n, start); err != nil {
			return err
		}
	}
	if r.until != nil {
		return r.reached()
	}
	if r.meets != nil {
		return r.missed()
	}
	return r.covered()
}

func (r *replay) segment(ctx context.Context, number uint64, start tail) error {
	w, closeFile, err := r.open(number)
	if err != nil {
		return err
	}
	defer closeFile()
	first, err := w.firstUsed(0)
	if err != nil {
		return fmt.Errorf("read segment %d: %w", number, err)
	}
	if first < 0 { // a spare, whole or half made
		r.tail.spare = number
		return nil
	}
	if start.header && number == start.at.segment {
		err = r.enterSegment(w, start)
	} else {
		err = r.startSegment(w, number)
	}
	if err != nil {
		return err
	}
	if r.tail.header { // else it was torn, and so is all behind it
		err = r.frames(ctx, w, number)
	}
	r.done += w.size
	return err
}

func (r *replay) open(number uint64) (*window, func(), error) {
	f, err := r.fs.Open(segmentName(r.dir, number), os.O_RDONLY)
	if err != nil {
		return nil, nil, fmt.Errorf("open segment %d: %w", number, err)
	}
	size, err := f.Size()
	if err != nil {
		return nil, nil, fmt.Errorf("open segment %d: %w", number, errors.Join(err, f.Close()))
	}
	return &window{f: f, size: size}, func() { _ = f.Close() }, nil // only read
}

// startSegment checks that a segment may follow what was read, and its header.
func (r *replay) startSegment(w *window, number uint64) error {
	bad := func(reason string) error { return &CorruptError{Segment: number, Reason: reason} }
	if r.tail.torn != nil {
		r.tail.torn.Torn = false
		return r.tail.torn // data follow the bad place
	}
	if r.tail.header && number != r.tail.at.segment+1 || !r.tail.header && number != 0 {
		return bad("an empty segment stands before it")
	}
	prevEnd := r.tail.at.off
	h, err := r.header(w, number, prevEnd)
	switch {
	case errors.Is(err, errHeader):
		r.tail = tail{at: place{number, 0}, prevEnd: prevEnd}
		return r.tear(w, number, 0, headerBytes, err.Error())
	case err != nil:
		return err
	case h.boot < r.boot:
		return bad("boot went back")
	}
	r.boot = h.boot
	r.tail = tail{at: place{number, headerBytes}, prevEnd: prevEnd, header: true}
	return nil
}

// enterSegment checks the header of the segment that the walk starts in the middle of.
func (r *replay) enterSegment(w *window, start tail) error {
	number := start.at.segment
	h, err := r.header(w, number, start.prevEnd)
	if errors.Is(err, errHeader) {
		err = &CorruptError{Segment: number, Reason: err.Error()}
	}
	r.tail.prevEnd = int64(h.prevEnd)
	return err
}

// header reads a segment's header and checks that it is this segment's: errHeader when there is none.
func (r *replay) header(w *window, number uint64, prevEnd int64) (header, error) {
	bad := func(reason string) error { return &CorruptError{Segment: number, Reason: reason} }
	b, err := w.at(0, int(min(headerBytes, w.size)))
	if err != nil {
		return header{}, fmt.Errorf("read segment %d: %w", number, err)
	}
	h, err := parseHeader(b)
	if err != nil {
		return h, err
	}
	if r.instance == "" {
		r.instance = h.instance
	}
	switch {
	case h.number != number || h.epoch != number:
		return h, bad("header is of another segment")
	case h.size != uint64(w.size):
		return h, bad(fmt.Sprintf("file has %d bytes, made with %d", w.size, h.size))
	case h.instance != r.instance:
		return h, bad(fmt.Sprintf("header is of instance %q", h.instance))
	case number > 0 && prevEnd != unknown && h.prevEnd != uint64(prevEnd):
		return h, bad(fmt.Sprintf("the segment before ended at %d, not at %d", h.prevEnd, prevEnd))
	}
	if k, ok := r.epochKey(number); ok && k.header(b[:headerMAC]) != [macBytes]byte(b[headerMAC:headerCRC]) {
		return h, bad("header MAC does not match")
	}
	return h, nil
}

func (r *replay) epochKey(epoch uint64) (chainKey, bool) {
	if !r.keys {
		return chainKey{}, false
	}
	return r.key.at(epoch)
}

func (r *replay) frames(ctx context.Context, w *window, number uint64) error {
	seed := frameSeed(number)
	key, known := r.epochKey(number)
	var stop *place
	if r.until != nil {
		at := r.until.tail().at
		stop = &at
	}
	var ready *feed
	if r.workers > 0 && r.record == nil {
		ready = newFeed(ctx, w, number, r.tail.at.off, r.workers, r.rows != nil)
		defer ready.stop()
	}
	for n := 0; ; n++ {
		off := r.tail.at.off
		if n%64 == 0 {
			if err := r.report(ctx, off); err != nil {
				return err
			}
		}
		if r.meets != nil {
			if err := r.meet(); err != nil {
				return err
			}
		}
		if stop != nil && number == stop.segment && off >= stop.off {
			return nil
		}
		at := place{number, off}
		if p := ready.next(off); p != nil {
			if err := r.link(&p.f, &p.rec, p.leaf, at, &key, known); err != nil {
				return err
			}
			r.tail.at.off += int64(len(p.raw))
			continue
		}
		f, size, err := frameAt(w, off, seed)
		switch {
		case err == nil:
		case errors.Is(err, errEnd):
			return r.end(w, number, off)
		case errors.Is(err, errFlags):
			return fmt.Errorf("%w: segment %d, offset %d: %w", ErrVersion, number, off, err)
		case errors.Is(err, errFrame):
			return r.tear(w, number, off, off+1, err.Error())
		default:
			return fmt.Errorf("read segment %d: %w", number, err)
		}
		if err := r.frame(&f, at, &key, known); err != nil {
			return err
		}
		r.tail.at.off += int64(size)
	}
}

// report tells how far the walk is, and rests if it must.
func (r *replay) report(ctx context.Context, off int64) error {
	if r.progress != nil {
		r.progress(r.done + off)
	}
	if r.pace != nil {
		r.pace(ctx, r.records)
	}
	return ctx.Err()
}

// frame reads one frame and takes it up.
func (r *replay) frame(f *frame, at place, key *chainKey, known bool) error {
	rec, err := r.parse(f.leaf)
	if err != nil {
		return &CorruptError{Segment: at.segment, Offset: at.off, Seq: f.seq, Reason: err.Error()}
	}
	return r.link(f, rec, merkle.LeafHash(f.leaf), at, key, known)
}

// link checks one frame against its chain and takes it up.
func (r *replay) link(f *frame, rec *ledger.Record, leaf merkle.Hash, at place, key *chainKey, known bool) error {
	bad := func(reason string) error {
		return &CorruptError{Segment: at.segment, Offset: at.off, Tenant: rec.Tenant, Seq: f.seq, Reason: reason}
	}
	c, reason := r.chainOf(f, rec)
	if c == nil {
		return bad(reason)
	}
	if known {
		c.seal(key, &leaf)
		if [macBytes]byte(f.mac) != c.mac {
			return bad("chain MAC does not match")
		}
	} else {
		r.unchecked++
		copy(c.mac[:], f.mac)
	}
	var fills bool
	r.tile, fills = c.front.AppendUnder(leaf, tileHeight)
	if p := c.pinned; p != nil && p.Size == c.front.Size() {
		switch {
		case p.Root == c.front.Root():
		case r.differs != nil:
			r.differs(c)
		default:
			return bad("tree differs from the signed checkpoint")
		}
		c.pinned = nil
	}
	r.take(c, f, rec)
	if r.rows != nil {
		row := index.RowOf(rec, f.seq, uint32(at.off))
		r.rows.add(&row, at.segment)
	}
	switch {
	case r.record != nil:
		return r.record(f, rec, at)
	case r.each != nil:
		r.seen = Seen{Tenant: c.name, Index: f.seq, Leaf: f.leaf, Hash: leaf, Tree: &c.front}
		if fills {
			r.seen.Tile = &r.tile
		}
		return r.each(&r.seen)
	}
	return nil
}

// parse reads a leaf: all of it when somebody wants the records.
func (r *replay) parse(leaf []byte) (*ledger.Record, error) {
	if r.record == nil {
		return r.skim.Record(leaf)
	}
	rec, err := ledger.ParseRecord(leaf)
	return &rec, err
}

func (r *replay) take(c *chain, f *frame, rec *ledger.Record) {
	r.records++
	if rec.Kind == ledger.Unknown {
		r.unknown++
	}
	r.boot = max(r.boot, rec.Boot)
	r.clock = max(r.clock, rec.Time)
	if rec.Kind == ledger.Recovery {
		r.told = max(r.told, restoredGeneration(rec))
	}
	r.last = lastFrame{tenant: c.name, seq: f.seq, mac: c.mac}
	if r.uses != nil {
		r.uses.replay(c.number, rec)
	}
}

// chainOf finds the frame's chain. The first record of a number names its tenant.
func (r *replay) chainOf(f *frame, rec *ledger.Record) (*chain, string) {
	n := uint32(len(r.chains))
	switch {
	case f.tenant > n || f.tenant >= maxTenants:
		return nil, fmt.Sprintf("tenant number %d was never introduced", f.tenant)
	case rec.Instance != r.instance:
		return nil, fmt.Sprintf("record is of instance %q", rec.Instance)
	case f.tenant == n:
		if r.byName[rec.Tenant] != nil {
			return nil, "tenant has two numbers"
		}
		c := &chain{number: n, name: rec.Tenant}
		if p, ok := r.pins[rec.Tenant]; ok {
			c.pinned = &p
		}
		r.chains = append(r.chains, c)
		r.byName[rec.Tenant] = c
	}
	c := r.chains[f.tenant]
	if c.name != rec.Tenant {
		return nil, "tenant number is of " + c.name
	}
	if f.seq != c.front.Size() {
		return nil, fmt.Sprintf("seq %d was expected", c.front.Size())
	}
	return c, ""
}
