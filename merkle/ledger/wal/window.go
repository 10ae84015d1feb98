package wal

import (
	"bytes"
	"errors"
	"io"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// window reads a file front to back through a sliding buffer.
type window struct {
	f    disk.File
	size int64
	base int64
	buf  []byte
	few  bool // reads stand alone: no more than a small record is read ahead
}

// windowBytes is how much is read at once: large enough for sequential speed, small beside a segment.
const windowBytes = 256 << 10

// fewBytes is the same where single records are read: room for an ordinary one.
const fewBytes = 4 << 10

// at returns n bytes at off, valid until the next call. It reports io.ErrUnexpectedEOF past the end.
func (w *window) at(off int64, n int) ([]byte, error) {
	if off < 0 || off+int64(n) > w.size {
		return nil, io.ErrUnexpectedEOF
	}
	if off >= w.base && off+int64(n) <= w.base+int64(len(w.buf)) {
		return w.buf[off-w.base:][:n], nil
	}
	ahead := windowBytes
	if w.few {
		ahead = fewBytes
	}
	want := int(min(int64(max(n, ahead)), w.size-off))
	if cap(w.buf) < want {
		w.buf = make([]byte, want)
	}
	w.base, w.buf = off, w.buf[:want]
	if got, err := w.f.ReadAt(w.buf, off); got < want {
		w.buf = w.buf[:0]
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return w.buf[:n], nil
}

// zeros is what preallocated and unused bytes look like.
var zeros [64 << 10]byte

// firstUsed returns the offset of the first byte at or after off that is not zero, or -1.
func (w *window) firstUsed(off int64) (int64, error) {
	for off < w.size {
		n := int(min(w.size-off, int64(len(zeros))))
		b, err := w.at(off, n)
		if err != nil {
			return 0, err
		}
		if !bytes.Equal(b, zeros[:n]) {
			return off + int64(bytes.IndexFunc(b, func(r rune) bool { return r != 0 })), nil
		}
		off += int64(n)
	}
	return -1, nil
}

// lastUsed returns the offset after the last byte at or after off that is not zero, off if there is none.
func (w *window) lastUsed(off int64) (int64, error) {
	end := off
	for off < w.size {
		n := int(min(w.size-off, int64(len(zeros))))
		b, err := w.at(off, n)
		if err != nil {
			return 0, err
		}
		if kept := bytes.TrimRight(b, "\x00"); len(kept) > 0 {
			end = off + int64(len(kept))
		}
		off += int64(n)
	}
	return end, nil
}
