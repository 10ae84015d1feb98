package wal

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/index"
)

// leftoverBatch bounds the settled records that are written at once for calls of an earlier boot.
const leftoverBatch = 1024

// recover reads the log, starts a new boot and leaves the writer at the end of the data.
func (l *Log) recover(ctx context.Context) error {
	o := &l.opt
	boot, err := readBoot(o.FS, o.Dir)
	if err != nil {
		return err
	}
	if l.gen, err = readGeneration(o.FS, o.Dir, l.keys()...); err != nil {
		return err
	}
	boot = max(boot, l.gen.Boot)
	base, err := readBase(o.FS, o.Dir, o.Instance, l.keys()...)
	if err != nil {
		return err
	}
	numbers, err := segmentNumbers(o.FS, o.Dir, base.first(), everySegment)
	if err != nil {
		return err
	}
	if len(numbers) == 0 && (boot > 0 || base != nil || len(o.Signed) > 0) {
		return &CorruptError{Reason: "all segments are missing", kind: ErrTruncated}
	}
	key, err := o.openKey(len(numbers) == 0)
	if err != nil {
		return err
	}
	r, err := l.restart(ctx, base, boot, key)
	if err != nil {
		return err
	}
	if r.boot > boot {
		return fmt.Errorf("%w: boot %d is recorded, the boot file says %d", ErrCorrupt, r.boot, boot)
	}
	if l.told = r.told; l.told > l.gen.Number {
		return fmt.Errorf("%w: generation %d is recorded, the generation file says %d", ErrCorrupt, l.told, l.gen.Number)
	}
	if err := l.dropBefore(base.first()); err != nil {
		return err
	}
	l.prune.base = base
	for tenant, cp := range o.Signed {
		l.published[tenant] = cp.Size
	}
	return l.resume(r, slices.Max(append(numbers, base.first())), boot+1)
}

// restart brings the log's state back: from where it was stored and what was written since, or from the whole log. A
// stored state that is not believed is told in Stats, unless it shows that records are missing.
func (l *Log) restart(ctx context.Context, base *state, boot uint64, key chainKey) (*replay, error) {
	snap, why := l.readSnapshot(boot)
	if snap != nil && snap.tail().at.before(base.start()) {
		snap, why = nil, fmt.Errorf("%w: it stands before the base", errState)
	}
	if snap != nil {
		r, err := l.goOn(ctx, snap, base, key)
		if err == nil {
			return r, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		why = err
	}
	l.stats.Started = fmt.Sprintf("the whole log was read: %v", why)
	r, err := l.readAll(ctx, base, snap, key)
	if err != nil {
		return nil, err
	}
	l.clock, l.unknown = r.clock, r.unknown
	l.stats.Verified, l.stats.VerifyOf = r.records, r.records
	return r, nil
}

// walker is a walk over this log from its start that counts uses and shelves records.
func (l *Log) walker(base *state, key chainKey) *replay {
	o := &l.opt
	l.uses, l.tenants, l.names, l.index.open, l.index.recent = newUses(), map[string]*shelf{}, nil, nil, nil
	return &replay{
		fs: o.FS, dir: o.Dir, key: key, keys: true, instance: o.Instance, first: base.first(), pins: o.Signed,
		cutLast: o.CutLastBatch,
		record: func(f *frame, r *ledger.Record, at place) error {
			row := index.RowOf(r, f.seq, uint32(at.off))
			l.shelve(&row, at.segment)
			return nil
		},
	}
}

// readAll walks the whole log. A signed state that it does not reach, or that is another, refuses it.
func (l *Log) readAll(ctx context.Context, base, snap *state, key chainKey) (*replay, error) {
	r := l.walker(base, key)
	if err := l.load(r, base); err != nil {
		return nil, err
	}
	r.meets = snap
	if err := r.run(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// goOn starts from a stored state: what the indexes say of the records before it, and a walk over those behind it.
func (l *Log) goOn(ctx context.Context, snap, base *state, key chainKey) (*replay, error) {
	r := l.walker(base, key)
	if err := r.joint(ctx, snap); err != nil {
		return nil, err
	}
	if err := l.load(r, snap); err != nil {
		return nil, err
	}
	if err := l.indexed(ctx, snap, base); err != nil {
		return nil, err
	}
	if err := r.run(ctx); err != nil {
		return nil, err
	}
	l.clock, l.unknown = r.clock, r.unknown
	l.saver.at = snap.at
	l.audit = &audit{log: l, key: key, from: base, to: snap, pins: r.below}
	l.stats.Verified, l.stats.VerifyOf = base.before(), snap.records
	l.stats.Started = fmt.Sprintf("from the stored state at segment %d, offset %d", snap.at.segment, snap.at.off)
	if int64(snap.at.segment-base.first())*l.opt.SegmentBytes+snap.at.off > l.opt.checkFirst() {
		return r, nil
	}
	if err := l.audit.run(ctx); err != nil {
		return nil, err
	}
	l.audit = nil
	return r, nil
}

// load makes a state the log's and the walk's.
func (l *Log) load(r *replay, s *state) error {
	if s != nil {
		var err error
		if l.uses, err = s.table.table(len(s.chains)); err != nil {
			return err
		}
		for i := range s.chains {
			l.shelfOf(s.chains[i].name).size = s.chains[i].tree.Size()
		}
	}
	r.uses = l.uses
	return r.begin(s)
}

// indexed takes up what the indexes know of the records before a state.
func (l *Log) indexed(ctx context.Context, s, base *state) error {
	end := s.tail().at
	for n := base.first(); n < end.segment; n++ {
		if err := l.attachFrom(ctx, n); err != nil {
			return err
		}
	}
	if end.segment >= base.first() {
		if err := l.attachOpen(ctx, end); err != nil {
			return err
		}
	}
	for i := range s.chains {
		if c := &s.chains[i]; l.tenants[c.name].size != c.tree.Size() {
			return fmt.Errorf("%w: the indexes have %d records of %s, not %d", errState, l.tenants[c.name].size, c.name, c.tree.Size())
		}
	}
	return nil
}

// resume opens the segment that is written next and makes the new boot durable.
func (l *Log) resume(r *replay, newest, boot uint64) error {
	at, t := r.tail.at, &r.tail
	l.follow = newFollower(at)
	l.w = writer{
		segment: at.segment, off: at.off, dirty: t.dirty, prevEnd: t.prevEnd,
		chains: r.byName, count: uint32(len(r.chains)),
	}
	l.torn, l.tornBytes, l.last = t.torn, t.dirty-at.off, r.last
	if err := l.pastKey(r.key, t.header); err != nil {
		return err
	}
	key, ok := r.key.at(l.w.segment)
	if !ok {
		return fmt.Errorf("%w: it is of epoch %d, the log ends in %d", ErrKeys, r.key.epoch, l.w.segment)
	}
	l.w.key, l.w.seed = key, frameSeed(l.w.segment)
	if err := l.openTail(newest); err != nil {
		return err
	}
	l.spare = newSpare(l.opt.FS, l.w.segment+1)
	if err := l.adoptSpares(newest); err != nil {
		return err
	}
	if key.epoch != r.key.epoch {
		l.spare.key = &key
	}
	l.boot = boot
	l.stats.Segment = l.w.segment
	return writeBoot(l.opt.FS, l.opt.Dir, boot)
}

// pastKey goes on to the next segment when the key of the last one is already gone: the process died
// between storing the next key and the first record under it.
func (l *Log) pastKey(k chainKey, header bool) error {
	w := &l.w
	if !header || k.epoch != w.segment+1 {
		return nil
	}
	if w.dirty > w.off {
		f, err := l.opt.FS.Open(segmentName(l.opt.Dir, w.segment), os.O_RDWR)
		if err != nil {
			return err
		}
		err = fillZero(f, w.off, w.dirty)
		if err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("cut segment %d: %w", w.segment, err)
		}
	}
	w.segment, w.prevEnd, w.off, w.dirty = w.segment+1, w.off, 0, 0
	return nil
}

// openTail opens the segment to write. One that holds nothing may be half made and is made anew, with what stands behind it
// up to the newest.
func (l *Log) openTail(newest uint64) error {
	w, o := &l.w, &l.opt
	f, err := o.FS.Open(segmentName(o.Dir, w.segment), os.O_RDWR)
	if err == nil {
		w.file = f
		w.size, err = f.Size()
		if err != nil || w.off > 0 || w.dirty > 0 || w.size == o.SegmentBytes {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	w.size = o.SegmentBytes
	if err := removeSegments(o.FS, o.Dir, w.segment, newest); err != nil {
		return err
	}
	made, err := makeSegment(o.FS, o.Dir, w.segment, w.size)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	w.file = made.File
	return nil
}

// settleLeftovers writes what the start has to say: what an interrupted write lost, and that the
// calls an earlier boot left open have an unknown outcome.
func (l *Log) settleLeftovers(ctx context.Context) error {
	var records []ledger.Record
	if l.torn != nil {
		body, err := json.Marshal(map[string]any{
			"bytes": l.tornBytes, "mac": hex.EncodeToString(l.last.mac[:]), "offset": l.torn.Offset,
			"segment": l.torn.Segment, "seq": l.last.seq, "tenant": l.last.tenant,
		})
		if err != nil {
			return err
		}
		records = append(records, ledger.Record{
			Tenant: ledger.InstanceTenant, Kind: ledger.Recovery, Step: -1, Code: "torn_tail",
			Detail: "an interrupted write was cut; nothing in it was acknowledged", Body: body,
		})
	}
	said, err := l.announcement()
	if err != nil {
		return err
	}
	records = append(append(records, l.leftovers()...), said...)
	for part := range slices.Chunk(records, leftoverBatch) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.appendOwn(part); err != nil {
			return err
		}
	}
	l.state.Lock()
	l.told = max(l.told, l.gen.Number)
	l.state.Unlock()
	return nil
}

func (l *Log) leftovers() []ledger.Record {
	names := make([]string, len(l.w.chains))
	for name, c := range l.w.chains {
		names[c.number] = name
	}
	l.uses.mu.RLock()
	defer l.uses.mu.RUnlock()
	var out []ledger.Record
	for id, call := range l.uses.open {
		out = append(out, unknownOutcome(names[call.tenant], "rec_"+string(id[:]), "restart"))
	}
	slices.SortFunc(out, func(a, b ledger.Record) int { // ids sort by time
		if a.Of < b.Of {
			return -1
		}
		return 1
	})
	return out
}

// appendOwn writes the log's own records and waits for them without a deadline.
func (l *Log) appendOwn(records []ledger.Record) error {
	items := make([]*item, len(records))
	for i := range records {
		it := &item{done: make(chan struct{}, 1), own: true}
		if err := l.seal(&records[i], it); err != nil {
			return err
		}
		it.state.Store(neverExpires<<1 | 1)
		items[i] = it
	}
	for _, it := range items {
		if err := l.enqueue(it); err != nil {
			return err
		}
	}
	var err error
	for _, it := range items {
		<-it.done
		err = errors.Join(err, it.err)
	}
	return err
}

// bootForm is the boot file: version, count of starts, CRC.
const bootForm = "gatewright/boot/v1 %d"

// maxBoot is far beyond any count of starts and restores, and far below what a record can say, 2^53-1.
const maxBoot = 1 << 48

func bootName(dir string) string { return filepath.Join(dir, walDir, "boot") }

func bootText(boot uint64) []byte {
	s := fmt.Sprintf(bootForm, boot)
	return fmt.Appendf(nil, "%s %08x\n", s, crc32.Checksum([]byte(s), castagnoli))
}

// readBoot returns how often the log was opened, 0 for a new one.
func readBoot(on disk.FS, dir string) (uint64, error) {
	b, err := disk.ReadSmall(on, bootName(dir), keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read boot file: %w", err)
	}
	var boot uint64
	if _, err := fmt.Sscanf(string(b), bootForm, &boot); err != nil || string(bootText(boot)) != string(b) || boot > maxBoot {
		return 0, fmt.Errorf("%w: boot file is damaged", ErrCorrupt)
	}
	return boot, nil
}

func writeBoot(on disk.FS, dir string, boot uint64) error {
	if err := disk.ReplaceFile(on, bootName(dir), bootText(boot)); err != nil {
		return fmt.Errorf("write boot file: %w", err)
	}
	return nil
}
