package meter

import (
	"fmt"
	"unicode/utf8"
)

// A reader walks a window of the module. The first failure is kept and shared by every reader of that module; from then
// on all reads give zero and done is true, so that loops end. Nothing is allocated from a number in the module before
// that number was held against the bytes that are left.
type reader struct {
	b      []byte // the whole module, so that offsets are the module's
	p, end int
	first  **Error
}

func newReader(module []byte) *reader {
	return &reader{b: module, end: len(module), first: new(*Error)}
}

// err is the first failure, or nil.
func (r *reader) err() error {
	if *r.first == nil {
		return nil
	}
	return *r.first
}

func (r *reader) ok() bool { return *r.first == nil }

// more tells that there is something left to read.
func (r *reader) more() bool { return r.ok() && r.p < r.end }

// failAt keeps the first failure.
func (r *reader) failAt(at int, kind error, format string, args ...any) {
	if *r.first == nil {
		*r.first = &Error{Offset: at, Detail: fmt.Sprintf(format, args...), kind: kind}
	}
}

func (r *reader) fail(kind error, format string, args ...any) {
	r.failAt(r.p, kind, format, args...)
}

// window takes the next n bytes as a reader of their own.
func (r *reader) window(n uint32, what string) *reader {
	w := *r
	if !r.ok() || uint64(n) > uint64(r.end-r.p) {
		r.fail(ErrMalformed, "%s of %d bytes goes past the end", what, n)
		w.end = w.p
		return &w
	}
	r.p += int(n)
	w.end = r.p
	return &w
}

// finish fails when the window was not read to its end.
func (r *reader) finish(what string) {
	if r.more() {
		r.fail(ErrMalformed, "%d bytes too many in %s", r.end-r.p, what)
	}
}

func (r *reader) u8() byte {
	if !r.more() {
		r.fail(ErrMalformed, "unexpected end")
		return 0
	}
	c := r.b[r.p]
	r.p++
	return c
}

func (r *reader) bytes(n uint32) []byte {
	w := r.window(n, "a run")
	return w.b[w.p:w.end:w.end]
}

// u32 reads an unsigned LEB128 number of at most 32 bits.
func (r *reader) u32() uint32 {
	at := r.p
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
	r.failAt(at, ErrMalformed, "a number is longer than 32 bits")
	return 0
}

// signed reads a signed LEB128 number of at most bits bits, which is 32, 33 or 64.
func (r *reader) signed(bits int) int64 {
	at := r.p
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
	r.failAt(at, ErrMalformed, "a number is longer than %d bits", bits)
	return 0
}

// fits tells that the last byte of a number holds only its low bits and copies of its sign, and ends the number.
func fits(c byte, bits int) bool {
	rest := int8(c<<1) >> bits // the sign bit of the number and what lies above it
	return c < 0x80 && (rest == 0 || rest == -1)
}

// name reads a string of at most maxName bytes of UTF-8.
func (r *reader) name(what string) string {
	at := r.p
	n := r.u32()
	if n > maxName {
		r.failAt(at, ErrLimit, "%s of %d bytes, at most %d are taken", what, n, maxName)
		return ""
	}
	s := r.bytes(n)
	if !utf8.Valid(s) {
		r.failAt(at, ErrMalformed, "%s is not UTF-8", what)
	}
	return string(s)
}

// maxName bounds the bytes of a name. Names of the parties' contracts have a few dozen bytes.
const maxName = 1024

// count reads how many elements follow. Each takes at least one byte, so a count over the bytes left is a lie.
func (r *reader) count(limit int, what string) int {
	at := r.p
	n := r.u32()
	if uint64(n) > uint64(r.end-r.p) {
		r.failAt(at, ErrMalformed, "%d %s announced in %d bytes", n, what, r.end-r.p)
		return 0
	}
	if int64(n) > int64(limit) {
		r.failAt(at, ErrLimit, "%d %s, at most %d are taken", n, what, limit)
		return 0
	}
	return int(n)
}

// index reads an index into a space of n elements.
func (r *reader) index(n int, what string) uint32 {
	at := r.p
	i := r.u32()
	if int64(i) >= int64(n) {
		r.failAt(at, ErrMalformed, "%s %d of %d", what, i, n)
		return 0
	}
	return i
}
