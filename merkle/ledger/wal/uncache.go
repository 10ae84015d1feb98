package wal

import (
	"os"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// The end of the log is read again: by the publisher, by followers, and by who lists the newest records. What lies further
// back the operating system need not keep in its cache.
const (
	keptCached   = 16 << 20
	uncacheEvery = 1 << 20
)

// uncached is how far the cache holds nothing of the segment that is written, nor, once before is set, of the one before it.
type uncached struct {
	segment uint64
	off     int64
	before  bool
}

// uncache drops from the cache what was made durable long ago. Log.disk is held, and all that was written is durable.
func (l *Log) uncache() {
	o := &l.out
	f := &o.uncached
	if f.segment != o.segment {
		*f = uncached{segment: o.segment}
	}
	to := (o.off - keptCached) &^ (uncacheEvery - 1)
	if to <= f.off {
		return
	}
	disk.Forget(o.file, f.off, to-f.off)
	f.off = to
	if f.before || o.segment == 0 {
		return
	}
	f.before = true
	if old, err := l.opt.FS.Open(segmentName(l.opt.Dir, o.segment-1), os.O_RDONLY); err == nil { // it may be pruned
		disk.Forget(old, 0, 0)
		_ = old.Close() // not written to
	}
}
