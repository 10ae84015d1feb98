package wal

import (
	"errors"
	"fmt"
)

// end checks that nothing but zeros follows the last frame.
func (r *replay) end(w *window, number uint64, off int64) error {
	used, err := w.firstUsed(off)
	if err != nil {
		return fmt.Errorf("read segment %d: %w", number, err)
	}
	if used < 0 {
		return nil
	}
	return r.tear(w, number, off, off+1, "bytes after the end of data")
}

// tear judges a bad place: damage when a valid frame follows, an interrupted write when none does.
func (r *replay) tear(w *window, number uint64, off, from int64, reason string) error {
	bad := &CorruptError{Segment: number, Offset: off, Tenant: r.last.tenant, Seq: r.last.seq + 1, Reason: reason}
	if r.last.tenant == "" {
		bad.Seq = 0
	}
	whole := false
	if off == 0 { // the frame behind the header is of the same write
		if _, size, err := frameAt(w, from, frameSeed(number)); err == nil {
			whole, from = true, from+int64(size)
		}
	}
	found, later, err := validAfter(w, from, frameSeed(number))
	if err != nil {
		return fmt.Errorf("read segment %d: %w", number, err)
	}
	found = found || whole
	if bad.Cut = found && !later; found && !(bad.Cut && r.cutLast) {
		return bad
	}
	bad.Torn = true
	dirty, err := w.lastUsed(off)
	if err != nil {
		return fmt.Errorf("read segment %d: %w", number, err)
	}
	r.tail.torn, r.tail.dirty = bad, dirty
	return nil
}

// validAfter looks for a valid frame at any byte from off on, and for one that starts a batch.
func validAfter(w *window, off int64, seed uint32) (found, batch bool, err error) {
	for off < w.size && !batch {
		next, err := w.firstUsed(off)
		if err != nil || next < 0 {
			return found, batch, err
		}
		// A length is four bytes and its first is zero for any frame: a frame may start 3 bytes before.
		stop := min(next+4, w.size)
		for off = max(off, next-3); off < stop; off++ {
			f, size, err := frameAt(w, off, seed)
			switch {
			case err == nil:
				found = true
				batch = batch || f.flags&flagBatch != 0
				off += int64(size) - 1
			case errors.Is(err, errFrame) || errors.Is(err, errEnd) || errors.Is(err, errFlags):
			default:
				return found, batch, err
			}
		}
	}
	return found, batch, nil
}
