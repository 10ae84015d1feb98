package report

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// high are the characters that Windows-1252 has at 0x80 to 0x9f; 0 where it has none.
var high = [32]rune{
	'€', 0, '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', 0, 'Ž', 0,
	0, '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', 0, 'ž', 'Ÿ',
}

// cell is a value from a record in the fonts' encoding, cut after so many characters.
func cell(s string, most int) string {
	var b strings.Builder
	n := 0
	for len(s) > 0 {
		c, size := utf8.DecodeRuneInString(s)
		if n++; n > most {
			return b.String() + "..."
		}
		switch code := encode(c); {
		case c == utf8.RuneError && size == 1:
			b.WriteString(`\x{` + strconv.FormatUint(uint64(s[0]), 16) + "}")
		case c == '\\':
			b.WriteString(`\\`)
		case code == 0:
			b.WriteString(`\u{` + strconv.FormatUint(uint64(c), 16) + "}")
		default:
			b.WriteByte(code)
		}
		s = s[size:]
	}
	return b.String()
}

// text is a text of the report's own in the fonts' encoding.
func text(s string) string {
	var b strings.Builder
	for _, c := range s {
		if code := encode(c); code != 0 {
			b.WriteByte(code)
		}
	}
	return b.String()
}

// encode returns a character's place in Windows-1252; 0 for one that is not there, and for those that do not show.
func encode(c rune) byte {
	switch {
	case c >= 0x20 && c < 0x7f, c > 0xa0 && c <= 0xff && c != 0xad:
		return byte(c)
	}
	for i, h := range high {
		if h == c && h != 0 {
			return byte(0x80 + i)
		}
	}
	return 0
}
