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
	few  bool // reads stand alone: no more than a small record is read ahead, unless they go back to front
	last int64
	back int // how much was read the last time that reads went back to front
}

// windowBytes is how much is read at once: large enough for sequential speed, small beside a segment.
const windowBytes = 256 << 10

// fewBytes is the same where single records are read: room for an ordinary one.
const fewBytes = 4 << 10

// nearBytes is how far apart two reads are at most that go back to front, as those of who lists the newest first.
const nearBytes = 2 * fewBytes

// at returns n bytes at off, valid until the next call. It reports io.ErrUnexpectedEOF past the end.
func (w *window) at(off int64, n int) ([]byte, error) {
	if off < 0 || off+int64(n) > w.size {
		return nil, io.ErrUnexpectedEOF
	}
	if off < w.base || off+int64(n) > w.base+int64(len(w.buf)) {
		if err := w.load(off, n); err != nil {
			return nil, err
		}
	}
	w.last = off
	return w.buf[off-w.base:][:n], nil
}

// load reads what at wants, and what is likely to be wanted next.
func (w *window) load(off int64, n int) error {
	start, want := w.around(off, n)
	if cap(w.buf) < want {
		w.buf = make([]byte, want)
	}
	w.base, w.buf = start, w.buf[:want]
	if got, err := w.f.ReadAt(w.buf, start); got < want {
		w.buf = w.buf[:0]
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}

// around says which part of the file to read. Where reads go back to front it ends where the last one began, and doubles
// each time.
func (w *window) around(off int64, n int) (start int64, want int) {
	ahead := windowBytes
	if w.few {
		if off+int64(n) <= w.last && w.last-off <= nearBytes {
			w.back = min(max(2*w.back, nearBytes), windowBytes)
			start = max(0, w.last-int64(w.back))
			return start, int(w.last - start)
		}
		w.back, ahead = 0, fewBytes
	}
	return off, int(min(int64(max(n, ahead)), w.size-off))
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
