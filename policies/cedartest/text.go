package cedartest

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// What literals are made of. Some of each are not what they say: they fail when they are evaluated. Two are left out on
// purpose, because cedar-go reads them otherwise than Cedar's own engine does: decimals with a plus, and the shortest duration.
// And toDate and toTime are asked only of moments that are midnight, or not before 1970: of others cedar-go rounds up.
var (
	addresses = []string{"10.0.0.0/8", "10.1.2.3", "192.0.2.7", "127.0.0.1", "127.0.0.0/8", "::1", "2001:db8::/32", "2001:db8::5", "224.0.0.0/4", "0.0.0.0/0",
		"ff00::/8", "10.0.0.1/33", "300.1.1.1", "10.0.0", "", "::ffff:10.1.2.3", "10.01.2.3", "10.0.0.0/08"}
	decimals = []string{"0.0", "1.5", "-1.5", "3.1415", "12.34", "922337203685477.5807", "-922337203685477.5808", "922337203685477.5808", "1.23456", "1", "1.", ".5", "1e3", ""}
	moments  = []string{"2024-10-15", "2030-01-01T00:00:00Z", "2024-10-15T11:35:00Z", "2024-10-15T11:35:00.123Z", "2024-10-15T11:35:00+0200", "1969-12-31T23:59:59.999-0100",
		"2024-02-30", "2024-02-29", "2023-02-29", "2024-10-15T24:00:00Z", "2024-10-15T11:35:60Z", "0000-01-01", "9999-12-31", "2024-1-1", "2024-10-15 11:35", ""}
	spans = []string{"1h", "-1h", "1d2h3m4s5ms", "0ms", "10s", "365d", "9223372036854775807ms", "-9223372036854775807ms", "9223372036854775808ms", "1h1h", "2h1d", "1.5h", "h", "", "-"}
)

// plain are strings as calls have them; strange are those that matching and quoting trip over.
var (
	plain = []string{"blue", "red", "pii", "bob", "bob@example.com", "eve@example.org", "/etc/passwd", "/tmp/../etc/shadow", "../..", "SELECT * FROM users",
		"select name from users where id = 1; drop table users", "t_users", "https://example.com/a?b=c#d", "file:///tmp/x", "create_issue", "rm -rf /", "a", "ab", "aab", "abab", "x"}
	strange = []string{"", "*", "**", "a*b", `\`, `\*`, `"`, "'", "\n", "\t\r", "\x00", "\x7f", "é", "e\u0301", "ß", "日本", "🙂", "\u202e", "\ufeff", "a\u200db", "{}", "//", "ſ", "İ",
		strings.Repeat("a", 40), strings.Repeat("ab", 30) + "c", "\u0378", "\U0010ffff"}
)

func (w *writer) text() string { return someText(w.Source) }

func someText(s *Source) string {
	if s.one(4) {
		return pick(s, strange...)
	}
	if s.one(6) {
		return pick(s, plain...) + pick(s, strange...) + pick(s, plain...)
	}
	return pick(s, plain...)
}

// pattern takes a text, and puts stars at its ends, for parts of it, or beside one another.
func (w *writer) pattern() string {
	var b strings.Builder
	b.WriteByte('"')
	if w.one(2) {
		b.WriteByte('*')
	}
	for _, r := range w.text() {
		switch {
		case w.one(9):
			b.WriteString(pick(w.Source, "*", "**", ""))
		case r == '*':
			b.WriteString(`\*`)
		default:
			b.WriteString(escape(r))
		}
	}
	if w.one(2) {
		b.WriteByte('*')
	}
	b.WriteByte('"')
	return b.String()
}

// quote writes a string as Cedar has it.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		b.WriteString(escape(r))
	}
	b.WriteByte('"')
	return b.String()
}

func escape(r rune) string {
	switch {
	case r == '"', r == '\\':
		return `\` + string(r)
	case r == 0:
		return `\0`
	case r == '\n':
		return `\n`
	case r < ' ' || r == 0x7f:
		return fmt.Sprintf(`\x%02x`, r)
	case r >= utf8.RuneSelf && r%2 == 0:
		return fmt.Sprintf(`\u{%x}`, r)
	}
	return string(r)
}
