package layout

import (
	"strings"
	"unicode/utf8"
)

// Measures of the page.
const (
	pageWidth = 80 // characters, as Cedar's own formatter has it; what cannot be broken may be wider
	stepIn    = 2  // spaces
)

// printer writes docs.
type printer struct {
	pieces []piece
	out    strings.Builder
	column int
	broke  bool // a comment ended the line: nothing may follow on it
	gap    bool // a space is due before the next token
	begun  bool
	said   map[int]bool // tokens whose comments before them are written
}

// print writes a doc; broken says whether its group is.
func (p *printer) print(d doc, indent int, broken bool) {
	switch d.form {
	case token:
		p.lead(d.at, indent)
		p.word(p.pieces[d.at].Text, indent)
		if c := p.pieces[d.at].trail; c != "" {
			p.gap = true
			p.word(c, indent)
			p.broke = true
		}
	case lead:
		p.lead(d.at, indent)
	case space:
		p.gap = true
	case line, soft:
		if broken {
			p.newline()
		} else if d.form == line {
			p.gap = true
		}
	case hard:
		p.newline()
	case policy:
		if p.begun {
			p.newline()
			p.out.WriteByte('\n')
		}
	case nest:
		indent += stepIn
		fallthrough
	case seq:
		for _, part := range d.parts {
			p.print(part, indent, broken)
		}
	case group:
		over := d.body || p.start(indent)+d.width > pageWidth
		for _, part := range d.parts {
			p.print(part, indent, over)
		}
	}
}

// start is the column where the next word will stand.
func (p *printer) start(indent int) int {
	switch {
	case p.broke || p.column == 0:
		return indent
	case p.gap:
		return p.column + 1
	}
	return p.column
}

// newline ends a line that holds anything.
func (p *printer) newline() {
	if p.column > 0 {
		p.out.WriteByte('\n')
	}
	p.column, p.broke, p.gap = 0, false, false
}

// word writes a word that has no line feed.
func (p *printer) word(text string, indent int) {
	if text == "" {
		return
	}
	if p.broke {
		p.newline()
	}
	switch {
	case p.column == 0:
		p.out.WriteString(strings.Repeat(" ", indent))
		p.column = indent
	case p.gap:
		p.out.WriteByte(' ')
		p.column++
	}
	p.out.WriteString(text)
	p.column += utf8.RuneCountInString(text)
	p.gap, p.begun = false, true
}

// lead writes the comments before a token, each on a line, and the empty lines between policies.
func (p *printer) lead(i, indent int) {
	if p.said[i] {
		return
	}
	if p.said == nil {
		p.said = map[int]bool{}
	}
	p.said[i] = true
	for k, c := range p.pieces[i].lead {
		p.newline()
		if p.between(i) && (k > 0 && c.blank || k == 0 && i == len(p.pieces)-1 && p.begun && c.blank) {
			p.out.WriteByte('\n')
		}
		p.word(c.text, indent)
		p.broke = true
	}
	if len(p.pieces[i].lead) > 0 && p.between(i) && p.pieces[i].blank && p.pieces[i].Text != "" {
		p.newline()
		p.out.WriteByte('\n')
	}
}

// between tells whether a token begins a policy, or ends the file.
func (p *printer) between(i int) bool {
	return i == 0 || i == len(p.pieces)-1 || p.pieces[i-1].Text == ";"
}

func (p *printer) end() string {
	p.newline()
	return p.out.String()
}
