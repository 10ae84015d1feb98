package pins

import (
	"errors"
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Hidden says where a checked definition holds a character that a reader does not see or that turns text around, "" when
// nowhere: what a person approves must be what the model reads (OWASP MCP03, CVE-2021-42574). Keys count too.
func Hidden(definition []byte) string {
	at, r, found := hidden(definition, "")
	if !found {
		return ""
	}
	return fmt.Sprintf("%s holds %U, %s", at, r, called(r))
}

func hidden(v []byte, at string) (place string, r rune, found bool) {
	stop := func(p string, c rune) error {
		place, r, found = p, c, true
		return errStop
	}
	switch canon.KindOf(v) {
	case '"':
		if s, err := canon.Unquote(v); err == nil {
			r, found = firstHidden(s)
		}
		return at, r, found
	case '{':
		_ = canon.Each(v, func(key, value []byte) error {
			if c, bad := firstHidden(string(key)); bad {
				return stop(at+" (a member's name)", c)
			}
			if p, c, bad := hidden(value, join(at, string(key))); bad {
				return stop(p, c)
			}
			return nil
		})
	case '[':
		_ = canon.EachElement(v, func(i int, value []byte) error {
			if p, c, bad := hidden(value, join(at, strconv.Itoa(i))); bad {
				return stop(p, c)
			}
			return nil
		})
	}
	return place, r, found
}

// maxPlace bounds the place that a finding names, in bytes: it is made of the server's own text.
const maxPlace = 120

func join(at, key string) string {
	if at != "" {
		at += "."
	}
	if at += key; len(at) > maxPlace {
		at = clip(at, maxPlace)
	}
	return at
}

var errStop = errors.New("found")

// firstHidden finds the first character that does not show. One variation selector behind a character beyond ASCII is let
// pass: it asks for the colored form of an emoji. A row of them is a known way to carry text.
func firstHidden(s string) (rune, bool) {
	last := rune(0)
	for _, r := range s {
		if (r == 0xFE0E || r == 0xFE0F) && last > unicode.MaxASCII && !invisible(last) {
			last = r
			continue
		}
		if invisible(r) {
			return r, true
		}
		last = r
	}
	return 0, false
}

// invisible says whether a character cannot be seen or moves others. Blanks of ASCII and line ends show well enough.
func invisible(r rune) bool {
	switch {
	case r == '\n' || r == '\t' || r == '\r':
		return false
	case unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Co, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
		return true
	case unicode.Is(unicode.Noncharacter_Code_Point, r), unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r), unicode.Is(unicode.Variation_Selector, r):
		return true
	case r >= 0xE0000 && r <= 0xE0FFF, r == utf8.RuneError:
		return true
	}
	return r == 0x2800 // braille without a dot
}

func called(r rune) string {
	switch {
	case unicode.Is(unicode.Bidi_Control, r):
		return "which turns text around"
	case unicode.IsControl(r):
		return "a control character"
	}
	return "which does not show"
}

// Visible writes text so that all of it shows: characters that do not as \u{...}, by their number.
func Visible(s string) string {
	if _, found := firstHidden(s); !found {
		return s
	}
	b := make([]byte, 0, len(s)+32)
	for _, r := range s {
		if invisible(r) {
			b = fmt.Appendf(b, `\u{%x}`, r)
			continue
		}
		b = utf8.AppendRune(b, r)
	}
	return string(b)
}

// clip cuts text to at most n bytes, at a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}
