package layout

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Kind is what a token is.
type Kind uint8

// The kinds of tokens.
const (
	Word    Kind = iota // a name, a keyword, or a template's ?principal and ?resource
	Number              // digits
	String              // with its quotes, as it stands
	Symbol              // an operator or a bracket
	Comment             // from // to the end of its line, without white space at the end
)

// Token is a piece of Cedar text.
type Token struct {
	Kind         Kind
	Text         string
	Offset       int // in bytes
	Line, Column int // from 1, in characters
}

// Error is why a text is no Cedar, and where.
type Error struct {
	Line, Column int
	Msg          string
}

// Error gives "line:column: message".
func (e *Error) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Msg) }

// Scan takes a text apart into its tokens, comments included. It knows what cedar-go knows but for two things that Cedar
// itself reads otherwise, and that are errors: comments between /* and */, and a lone carriage return in a comment. Whether
// the tokens make policies is not looked at. An error is an *Error.
func Scan(text string) ([]Token, error) {
	s := scanner{text: text, line: 1}
	for {
		s.blank()
		if s.at == len(text) {
			return s.out, nil
		}
		if msg := s.token(); msg != "" {
			return nil, &Error{s.line, s.column(), msg}
		}
	}
}

type scanner struct {
	text       string
	at         int
	line       int
	seen, runs int // runs is the column, less one, of the byte at seen
	out        []Token
}

// column counts on from where it counted last.
func (s *scanner) column() int {
	s.runs += utf8.RuneCountInString(s.text[s.seen:s.at])
	s.seen = s.at
	return s.runs + 1
}

func (s *scanner) blank() {
	for ; s.at < len(s.text); s.at++ {
		switch s.text[s.at] {
		case '\n':
			s.line++
			s.seen, s.runs = s.at+1, 0
		case ' ', '\t', '\r':
		default:
			return
		}
	}
}

// token takes one token, or says why there is none.
func (s *scanner) token() string {
	rest := s.text[s.at:]
	kind, msg := Symbol, ""
	var n int
	switch c := rest[0]; {
	case isDigit(c):
		kind, n = Number, span(rest, isDigit)
	case isWord(c):
		kind, n = Word, span(rest, isWord)
	case isSlot(rest):
		kind, n = Word, span(rest, isWord)
	case c == '"':
		kind = String
		n, msg = stringEnd(rest)
	case strings.HasPrefix(rest, "//"):
		kind = Comment
		n, msg = commentEnd(rest)
	default:
		n, msg = symbol(rest)
	}
	if msg != "" {
		return msg
	}
	t := Token{kind, rest[:n], s.at, s.line, s.column()}
	if kind == Comment {
		t.Text = strings.TrimRight(t.Text, " \t\r")
	}
	s.out = append(s.out, t)
	s.at += n
	return ""
}

func span(s string, in func(byte) bool) int {
	n := 1
	for n < len(s) && in(s[n]) {
		n++
	}
	return n
}

// isSlot tells whether s begins with a slot of a template.
func isSlot(s string) bool {
	return s[0] == '?' && slices.Contains([]string{"?principal", "?resource"}, s[:span(s, isWord)])
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWord(c byte) bool {
	return c == '_' || isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// stringEnd gives the length of the string that s begins with.
func stringEnd(s string) (int, string) {
	for i := 1; i < len(s) && s[i] != '\n'; i++ {
		switch s[i] {
		case '"':
			return i + 1, ""
		case '\\':
			i++
			if i < len(s) && s[i] == '\n' {
				return 0, "the string does not end on its line"
			}
		}
	}
	return 0, "the string does not end on its line"
}

// commentEnd gives the length of the comment that s begins with.
func commentEnd(s string) (int, string) {
	if n := strings.IndexByte(s, '\n'); n >= 0 {
		s = s[:n]
	}
	if strings.Contains(strings.TrimRight(s, " \t\r"), "\r") {
		return 0, "a carriage return inside a comment, which some readers take for its end"
	}
	return len(s), ""
}

// symbol gives the length of the operator or bracket that s begins with.
func symbol(s string) (int, string) {
	if strings.HasPrefix(s, "/*") {
		return 0, "Cedar has no comments between /* and */: begin each line with //"
	}
	for _, two := range []string{"::", "!=", "<=", ">=", "==", "||", "&&"} {
		if strings.HasPrefix(s, two) {
			return 2, ""
		}
	}
	if strings.IndexByte("@.,;(){}[]+-*:!<>", s[0]) >= 0 {
		return 1, ""
	}
	_, n := utf8.DecodeRuneInString(s)
	return 0, fmt.Sprintf("%q means nothing in Cedar", s[:n])
}
