package template

import (
	"fmt"
	"slices"
	"strings"
)

// split takes a file apart into its templates. It knows strings and comments, and of Cedar only what tells the scope from
// the rest: the first brackets outside annotations.
func split(f Source) (all []*piece, err error) {
	s := scanner{file: f.Name, text: f.Text, line: 1}
	for s.next(); s.tok != ""; {
		p, err := s.piece()
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// scanner reads tokens: a string, a word, a slot, or one other character. Blanks and comments are passed over.
type scanner struct {
	file, text string
	line       int // of tok
	from, to   int // where tok stands
	tok        string
}

func (s *scanner) next() {
	s.skip()
	if s.from = s.to; s.from == len(s.text) {
		s.tok = ""
		return
	}
	switch c := s.text[s.from]; {
	case c == '"':
		for s.to++; s.to < len(s.text) && s.text[s.to] != '"' && s.text[s.to] != '\n'; s.to++ {
			if s.text[s.to] == '\\' {
				s.to++
			}
		}
		s.to = min(s.to+1, len(s.text))
	case c == '?' || word(c):
		for s.to++; s.to < len(s.text) && word(s.text[s.to]); s.to++ {
		}
	default:
		s.to++
	}
	s.tok = s.text[s.from:s.to]
}

func (s *scanner) skip() {
	for s.to < len(s.text) {
		switch c := s.text[s.to]; {
		case c == '\n':
			s.line++
			s.to++
		case c == ' ' || c == '\t' || c == '\r':
			s.to++
		case strings.HasPrefix(s.text[s.to:], "//"):
			if n := strings.IndexByte(s.text[s.to:], '\n'); n >= 0 {
				s.to += n
			} else {
				s.to = len(s.text)
			}
		default:
			return
		}
	}
}

func word(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func (s *scanner) fail(msg, hint string) error {
	return &Error{File: s.file, Line: s.line, Msg: msg, Hint: hint}
}

// piece reads one template up to its semicolon; the scanner stands on its first token, and behind it afterwards.
func (s *scanner) piece() (*piece, error) {
	p := &piece{file: s.file, line: s.line}
	start := s.from
	for s.tok == "@" {
		if err := s.annotation(p, start); err != nil {
			return nil, err
		}
	}
	if s.tok != "permit" && s.tok != "forbid" {
		return nil, s.fail(fmt.Sprintf("%.40q where permit or forbid belongs", s.tok), `a template is: @id("name") permit|forbid (principal in ?principal, action, resource) when { ... };`)
	}
	depth, scope := 0, true
	for ; s.tok != ";"; s.next() {
		switch {
		case s.tok == "":
			return nil, s.fail("the template does not end", "put a semicolon behind it")
		case strings.HasPrefix(s.tok, "?"):
			if !slices.Contains(slots, s.tok) {
				return nil, s.fail(fmt.Sprintf("%.40q is no slot", s.tok), "slots are ?principal and ?resource")
			}
			if !scope {
				return nil, s.fail("the slot "+s.tok+" stands in a condition", "Cedar has slots in the scope alone: principal == ?principal, resource in ?resource")
			}
			p.at = append(p.at, slot{s.tok, s.from - start, s.to - start})
		case s.tok == "(":
			depth++
		case s.tok == ")":
			if depth--; depth == 0 {
				scope = false
			}
		}
	}
	p.text = s.text[start:s.to]
	s.next()
	switch {
	case p.id == "":
		return nil, &Error{File: p.file, Line: p.line, Msg: "a template without @id", Hint: "links name a template by its @id"}
	case len(p.at) == 0:
		return nil, &Error{File: p.file, Line: p.line, Msg: fmt.Sprintf("template %q has no slot", p.id), Hint: "a policy without slots stands outside of templates/"}
	}
	return p, nil
}

// annotation reads @name("text") or @name, and keeps where the @id stands.
func (s *scanner) annotation(p *piece, start int) error {
	s.next()
	name := s.tok
	if s.next(); s.tok != "(" {
		return nil
	}
	s.next()
	if name == "id" {
		if p.id != "" || len(s.tok) < 3 || s.tok[0] != '"' || !strings.HasSuffix(s.tok, `"`) || strings.Contains(s.tok, `\`) {
			return s.fail("the @id is no plain string, or there are two", `write @id("name")`)
		}
		p.id, p.name = s.tok[1:len(s.tok)-1], [2]int{s.from - start, s.to - start}
	}
	if s.next(); s.tok != ")" {
		return s.fail("an annotation that does not end", `write @name("text")`)
	}
	s.next()
	return nil
}
