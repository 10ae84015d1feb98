package canon

import (
	"bytes"
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrShape refuses a value that is not of the kind asked for, such as an array where an object is read. Over documents
// that Check has accepted nothing else can go wrong in reading.
var ErrShape = errors.New("json: value has another shape")

// Unquote returns the text of a JSON string that Check has accepted.
func Unquote(raw []byte) (string, error) {
	inner, err := inside(raw)
	if err != nil || !hasEscape(inner) {
		return string(inner), err
	}
	return string(appendUnescaped(make([]byte, 0, len(inner)), inner)), nil
}

// AppendUnquoted appends the text of a JSON string that Check has accepted.
func AppendUnquoted(dst, raw []byte) ([]byte, error) {
	inner, err := inside(raw)
	if err != nil {
		return dst, err
	}
	return appendUnescaped(dst, inner), nil
}

// inside is what stands between a string's quotes.
func inside(raw []byte) ([]byte, error) {
	raw = trim(raw)
	if len(raw) < 2 || raw[0] != '"' || skipString(raw, 1) != len(raw) {
		return nil, ErrShape
	}
	return raw[1 : len(raw)-1], nil
}

// appendUnescaped appends the decoded content of a string. On content that Check has not accepted it yields something
// harmless, and never reads outside raw.
func appendUnescaped(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		plain := bytes.IndexByte(raw[i:], '\\')
		if plain < 0 || i+plain+1 == len(raw) {
			return append(dst, raw[i:]...)
		}
		dst = append(dst, raw[i:i+plain]...)
		var r rune
		r, i = unescape(raw, i+plain)
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

// unescape returns the character of the escape sequence whose backslash is at i, and the position behind it.
func unescape(raw []byte, i int) (rune, int) {
	switch c := raw[i+1]; c {
	case 'b':
		return '\b', i + 2
	case 'f':
		return '\f', i + 2
	case 'n':
		return '\n', i + 2
	case 'r':
		return '\r', i + 2
	case 't':
		return '\t', i + 2
	case 'u':
		r := rune(hex4(raw, i+2))
		if r < 0 {
			return utf8.RuneError, i + 2
		}
		if utf16.IsSurrogate(r) && len(raw)-i >= 12 {
			return utf16.DecodeRune(r, rune(hex4(raw, i+8))), i + 12
		}
		return r, i + 6
	default: // quote, backslash, slash
		return rune(c), i + 2
	}
}

// AppendString appends s as a JSON string the way RFC 8785, section 3.2.2.2, writes it. Bytes that are not UTF-8 become
// U+FFFD.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	if isPlain(s) {
		return append(append(dst, s...), '"')
	}
	done := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			dst = appendEscape(append(dst, s[done:i]...), c)
			i++
			done = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = utf8.AppendRune(append(dst, s[done:i]...), utf8.RuneError)
			done = i + 1
		}
		i += n
	}
	return append(append(dst, s[done:]...), '"')
}

// isPlain reports whether s is ASCII without anything to escape, eight bytes at a time; the last word overlaps the one
// before.
func isPlain(s string) bool {
	if len(s) < 8 {
		for i := range len(s) {
			if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
				return false
			}
		}
		return true
	}
	i := 0
	for ; len(s)-i > 8; i += 8 {
		if x := word(s, i); (special(x)|x)&highs != 0 {
			return false
		}
	}
	x := word(s, len(s)-8)
	return (special(x)|x)&highs == 0
}

// word reads eight bytes; the compiler makes one load of it.
func word(s string, i int) uint64 {
	s = s[i : i+8]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// appendEscape appends the escape of a quote, a backslash or a control character.
func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	const digits = "0123456789abcdef"
	return append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
}
