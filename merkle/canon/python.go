package canon

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"unicode/utf16"
)

// Why a document that passes Check has no text that Python and JavaScript agree on.
var (
	// ErrNumber: an exponent, a fraction of zeros (1.0), a minus zero, or a fraction nearer to zero than 0.0001.
	ErrNumber = errors.New("json: number that Python and JavaScript print differently")
	// ErrKey: a key with a character beyond U+FFFF, which UTF-16 sorts elsewhere than code points do.
	ErrKey = errors.New("json: key that Python and JavaScript sort differently")
)

// AppendPython checks raw and appends it to dst as Python's json.dumps(value, sort_keys=True, separators=(",", ":")) prints
// it, which escapes everything but printable ASCII. Clients in Python and in JavaScript recompute that text from values
// they have parsed, so what the two would print differently is refused with ErrNumber or ErrKey; beyond that the refusals
// are Check's. On error dst comes back unchanged. dst and raw must not overlap.
func AppendPython(dst, raw []byte, l Limits) ([]byte, error) {
	if err := Check(raw, l); err != nil {
		return dst, err
	}
	out, err := appendPython(dst, trim(raw))
	if err != nil {
		return dst, err
	}
	return out, nil
}

// appendPython prints a value without surrounding blanks. The recursion is as deep as Check allowed.
func appendPython(dst, value []byte) ([]byte, error) {
	switch KindOf(value) {
	case '{':
		return appendPythonObject(dst, value)
	case '[':
		return appendPythonArray(dst, value)
	case '"':
		text, err := Unquote(value)
		return appendASCII(dst, text), err
	case '0':
		return appendPythonNumber(dst, value)
	}
	return append(dst, value...), nil
}

func appendPythonArray(dst, array []byte) ([]byte, error) {
	dst = append(dst, '[')
	err := EachElement(array, func(i int, value []byte) (err error) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst, err = appendPython(dst, value)
		return err
	})
	return append(dst, ']'), err
}

// member is a member of an object that is being sorted.
type member struct {
	key   string
	value []byte
}

func appendPythonObject(dst, object []byte) ([]byte, error) {
	var members []member
	err := Each(object, func(key, value []byte) error {
		if beyondBMP(key) {
			return ErrKey
		}
		members = append(members, member{key: string(key), value: value})
		return nil
	})
	if err != nil {
		return dst, err
	}
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.key, b.key) })
	dst = append(dst, '{')
	for i, m := range members {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendASCII(dst, m.key), ':')
		if dst, err = appendPython(dst, m.value); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

// beyondBMP reports whether text has a character beyond U+FFFF: those, and only those, take four bytes.
func beyondBMP(text []byte) bool {
	return slices.ContainsFunc(text, func(c byte) bool { return c >= 0xf0 })
}

// appendASCII appends text as a string in which everything but printable ASCII is escaped.
func appendASCII(dst []byte, text string) []byte {
	dst = append(dst, '"')
	for _, r := range text {
		switch {
		case r < ' ' || r == '"' || r == '\\':
			dst = appendEscape(dst, byte(r))
		case r < 0x7f:
			dst = append(dst, byte(r))
		case r <= 0xffff:
			dst = appendUnit(dst, r)
		default:
			high, low := utf16.EncodeRune(r)
			dst = appendUnit(appendUnit(dst, high), low)
		}
	}
	return append(dst, '"')
}

// appendUnit appends the escape of a UTF-16 unit.
func appendUnit(dst []byte, unit rune) []byte {
	const digits = "0123456789abcdef"
	return append(dst, '\\', 'u', digits[unit>>12&15], digits[unit>>8&15], digits[unit>>4&15], digits[unit&15])
}

// appendPythonNumber prints a number that Check has accepted, so its digits are the fewest that read back to it but for
// zeros at the end of a fraction. Both languages print an integer up to 2^53-1 as it stands, and a fraction without an
// exponent from 0.0001 on (Python would use one below, JavaScript below 0.000001).
func appendPythonNumber(dst, number []byte) ([]byte, error) {
	if bytes.ContainsAny(number, "eE") {
		return dst, ErrNumber
	}
	whole, fraction, hasFraction := bytes.Cut(number, []byte("."))
	if !hasFraction {
		if string(number) == "-0" {
			return dst, ErrNumber
		}
		return append(dst, number...), nil
	}
	fraction = bytes.TrimRight(fraction, "0")
	small := string(whole) == "0" || string(whole) == "-0"
	if len(fraction) == 0 || small && bytes.HasPrefix(fraction, []byte("0000")) {
		return dst, ErrNumber
	}
	return append(append(append(dst, whole...), '.'), fraction...), nil
}
