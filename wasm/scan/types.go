package scan

import "strings"

// funcType is the type of a function.
type funcType struct {
	params, results []byte
	said            string // its signature, once it was asked for
}

// signature writes a type as "(i32,i32)->(i64)".
func (t *funcType) signature() string {
	if t.said == "" {
		t.said = "(" + typeNames(t.params) + ")->(" + typeNames(t.results) + ")"
	}
	return t.said
}

func typeNames(types []byte) string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = typeName(t)
	}
	return strings.Join(names, ",")
}

// The types of values, and the form of a function's type.
const (
	i32       byte = 0x7f
	i64       byte = 0x7e
	f32       byte = 0x7d
	f64       byte = 0x7c
	v128      byte = 0x7b
	funcref   byte = 0x70
	externref byte = 0x6f
	formFunc  byte = 0x60
)

// typeName is empty for what is no type that is taken.
func typeName(t byte) string {
	switch t {
	case i32:
		return "i32"
	case i64:
		return "i64"
	case f32:
		return "f32"
	case f64:
		return "f64"
	case funcref:
		return "funcref"
	case externref:
		return "externref"
	}
	return ""
}

// valueType reads the type of a value.
func (r *reader) valueType() byte {
	at := r.at()
	t := r.u8()
	switch {
	case typeName(t) != "":
		return t
	case t == v128:
		r.failAt(at, ErrUnsupported, hintSIMD, "a value of type v128 (SIMD)")
	default:
		r.failAt(at, ErrUnsupported, hintMVP, "a value of type %#x", t)
	}
	return i32
}

func (r *reader) refType() byte {
	at := r.at()
	t := r.u8()
	if t != funcref && t != externref {
		r.failAt(at, ErrUnsupported, hintMVP, "a reference of type %#x", t)
		return funcref
	}
	return t
}

// limits reads a minimum and a maximum, which may be missing.
func (r *reader) limits(what Kind) (lo, hi uint32, bounded bool) {
	at := r.at()
	flags := r.u8()
	if flags > 1 {
		r.failAt(at, ErrUnsupported, hintLimits(flags), "a %s that is shared, of 64 bits or of odd pages (%#x)", what, flags)
		return 0, 0, false
	}
	lo, hi, bounded = r.u32(), 1<<32-1, flags == 1
	if bounded {
		hi = r.u32()
	}
	if lo > hi {
		r.malformed(at, "a %s of at least %d and at most %d", what, lo, hi)
	}
	return lo, hi, bounded
}
