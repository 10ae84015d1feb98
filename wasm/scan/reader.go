package scan

import (
	"errors"
	"fmt"
	"io"
	"math"
	"unicode/utf8"
)

// A reader takes a module from a source piece by piece, or from memory, which is one piece. The first failure is kept;
// from then on all reads give zero and more is false, so that loops end. What it holds of the module at once is a piece,
// whatever numbers the module names.
type reader struct {
	src  io.Reader // nil when all there is lies in buf
	buf  []byte    // a piece of the module
	base int       // where buf begins in the module
	p    int       // the next byte in buf
	fast int       // up to here bytes may be taken from buf without a look
	win  window
	err  *Error
}

// A window is what may be read now: a section or a function.
type window struct {
	end  int // in the module
	what string
}

// piece is how much of a stream is held at once; names and types fit in it by far.
const piece = 32 << 10

// fromMemory reads a module that is all there.
func fromMemory(module []byte) *reader {
	r := &reader{buf: module, win: whole}
	r.look()
	return r
}

// fromStream reads a module from src.
func fromStream(src io.Reader) *reader {
	return &reader{src: src, buf: make([]byte, 0, piece), win: whole}
}

// whole is the window around all sections, which are held against Limits.MaxModule one by one.
var whole = window{math.MaxInt, "module"}

// at is the offset of the next byte.
func (r *reader) at() int { return r.base + r.p }

func (r *reader) ok() bool { return r.err == nil }

// more tells that the window goes on.
func (r *reader) more() bool { return r.ok() && r.at() < r.win.end }

// look sets how far bytes may be taken.
func (r *reader) look() {
	r.fast = min(len(r.buf), r.win.end-r.base)
	if r.err != nil {
		r.fast = r.p
	}
}

// failAt keeps the first failure.
func (r *reader) failAt(at int, kind error, hint, format string, args ...any) {
	if r.err != nil {
		return
	}
	if hint == "" {
		hint = hintDamaged
	}
	r.err = &Error{Offset: at, Detail: fmt.Sprintf(format, args...), Hint: hint, kind: kind}
	r.look()
}

// hintDamaged is for bytes that no compiler writes.
const hintDamaged = "the file is damaged, or not what a compiler for WebAssembly wrote: build it again and upload the .wasm file itself"

// malformed is failAt for what the format forbids.
func (r *reader) malformed(at int, format string, args ...any) {
	r.failAt(at, ErrMalformed, "", format, args...)
}

// fill makes at least n bytes of the window lie in buf, n being at most a piece, and tells whether they do.
func (r *reader) fill(n int) bool {
	if !r.ok() {
		return false
	}
	if n > r.win.end-r.at() {
		r.malformed(r.at(), "unexpected end: it goes past the end of the %s", r.win.what)
		return false
	}
	for len(r.buf)-r.p < n {
		if !r.pull() {
			r.malformed(r.base+len(r.buf), "unexpected end: the %s goes past the end of the file", r.win.what)
			return false
		}
	}
	return true
}

// pull takes more from the source and tells whether there was more.
func (r *reader) pull() bool {
	if r.src == nil {
		return false
	}
	r.base += r.p
	r.buf = r.buf[:copy(r.buf[:cap(r.buf)], r.buf[r.p:])]
	r.p = 0
	for range maxEmptyReads {
		n, err := r.src.Read(r.buf[len(r.buf):cap(r.buf)])
		r.buf = r.buf[:len(r.buf)+n]
		r.look()
		if err != nil {
			r.src = nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			r.failAt(r.base+len(r.buf), err, "send the module again", "the module could not be read")
			return false
		}
		if n > 0 || err != nil {
			return n > 0
		}
	}
	r.failAt(r.base+len(r.buf), io.ErrNoProgress, "send the module again", "the module could not be read")
	return false
}

// maxEmptyReads is how often a source may give nothing before it is given up.
const maxEmptyReads = 100

// ended tells whether the source has no more, at the end of a section.
func (r *reader) ended() bool {
	return !r.ok() || r.p == len(r.buf) && !r.pull()
}

// enter opens a window of n bytes and returns the one around it, which leave brings back.
func (r *reader) enter(n uint32, what string) (around window) {
	around = r.win
	if uint64(n) > uint64(around.end-r.at()) {
		r.malformed(r.at(), "the %s of %d bytes goes past the end of the %s", what, n, around.what)
		n = 0
	}
	r.win = window{r.at() + int(n), what}
	r.look()
	return around
}

// leave fails when the window was not read to its end.
func (r *reader) leave(around window) {
	if r.more() && r.fill(1) {
		r.malformed(r.at(), "%d bytes too many in the %s", r.win.end-r.at(), r.win.what)
	}
	r.win = around
	r.look()
}

func (r *reader) u8() byte {
	if r.p >= r.fast && !r.fill(1) {
		return 0
	}
	c := r.buf[r.p]
	r.p++
	return c
}

// take returns the next n bytes, at most a piece, which stay as they are until the next read.
func (r *reader) take(n int) []byte {
	if !r.fill(n) {
		return nil
	}
	r.p += n
	return r.buf[r.p-n : r.p : r.p]
}

// skip steps over n bytes of any number.
func (r *reader) skip(n uint32) {
	if uint64(n) > uint64(r.win.end-r.at()) {
		r.malformed(r.at(), "%d bytes go past the end of the %s", n, r.win.what)
		return
	}
	for left := int(n); left > 0 && r.fill(1); {
		step := min(left, len(r.buf)-r.p)
		r.p += step
		left -= step
	}
}

// u32 reads an unsigned LEB128 number of at most 32 bits.
func (r *reader) u32() uint32 {
	at := r.at()
	v := uint32(0)
	for shift := 0; shift < 35; shift += 7 {
		c := r.u8()
		if shift == 28 && c > 0x0f {
			break
		}
		v |= uint32(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
	r.malformed(at, "a number is longer than 32 bits")
	return 0
}

// signed reads a signed LEB128 number of at most bits bits, which is 32, 33 or 64.
func (r *reader) signed(bits int) int64 {
	at := r.at()
	v := int64(0)
	for shift := 0; shift < bits; shift += 7 {
		c := r.u8()
		v |= int64(c&0x7f) << shift
		if left := bits - shift; left < 7 && !fits(c, left) {
			break
		}
		if c < 0x80 {
			if s := shift + 7; s < 64 && c&0x40 != 0 {
				v |= -1 << s
			}
			return v
		}
	}
	r.malformed(at, "a number is longer than %d bits", bits)
	return 0
}

// fits tells that the last byte of a number holds only its low bits and copies of its sign, and ends the number.
func fits(c byte, bits int) bool {
	rest := int8(c<<1) >> bits // the sign bit of the number and what lies above it
	return c < 0x80 && (rest == 0 || rest == -1)
}

// name reads a string of at most maxName bytes of UTF-8.
func (r *reader) name(what string) string {
	at := r.at()
	n := r.u32()
	if n > maxName {
		r.failAt(at, ErrLimit, "give it a shorter name", "%s of %d bytes, at most %d are taken", what, n, maxName)
		return ""
	}
	s := r.take(int(n))
	if !utf8.Valid(s) {
		r.malformed(at, "%s is not UTF-8", what)
	}
	return string(s)
}

// maxName bounds the bytes of a name. Names of the parties' contracts have a few dozen bytes.
const maxName = 1024

// index reads an index into a space of n elements.
func (r *reader) index(n int, what string) uint32 {
	at := r.at()
	i := r.u32()
	if int64(i) >= int64(n) {
		r.malformed(at, "%s %d of %d", what, i, n)
		return 0
	}
	return i
}
