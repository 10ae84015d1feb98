package layout

import (
	"slices"
	"unicode/utf8"
)

// form is how a doc stands on the page.
type form uint8

const (
	token  form = iota
	lead        // the comments before a token
	space       // one space
	line        // a space, or a new line where its group is broken
	soft        // nothing, or a new line where its group is broken
	hard        // a new line
	policy      // an empty line, unless the file begins here
	seq         // its parts, one behind the other
	nest        // seq, further in
	group       // seq, broken if it does not fit
)

// doc is a part of a file, and how it may be broken into lines.
type doc struct {
	form  form
	at    int // of a token
	parts []doc
	width int // on one line, in characters

	// Where comments stand: before its first token, behind its last one, or in between, which breaks a group.
	head, tail, body bool
	none             bool // it has no token
}

// former turns tokens into docs.
type former struct{ pieces []piece }

func (f *former) token(i int) doc {
	p := &f.pieces[i]
	return doc{form: token, at: i, width: utf8.RuneCountInString(p.Text), head: len(p.lead) > 0, tail: p.trail != ""}
}

// before is the comments before a token that stand further in than it does.
func (f *former) before(i int) doc { return doc{form: lead, at: i, none: true} }

func join(form form, parts ...doc) doc {
	d := doc{form: form, parts: parts, none: true}
	for _, p := range parts {
		d.width += p.width
		if p.none {
			d.body = d.body || p.form == hard
			continue
		}
		d.body = d.body || p.body || !d.none && (d.tail || p.head)
		if d.none {
			d.head = p.head
		}
		d.tail, d.none = p.tail, false
	}
	return d
}

var (
	aSpace = doc{form: space, width: 1, none: true}
	aLine  = doc{form: line, width: 1, none: true}
	aSoft  = doc{form: soft, none: true}
	aHard  = doc{form: hard, none: true}
)

// file is a list of policies.
func (f *former) file() doc {
	var all []doc
	for i := 0; i < len(f.pieces)-1; {
		end := f.find(i, len(f.pieces)-1, ";") + 1
		all = append(all, doc{form: policy, none: true}, f.policy(i, end))
		i = end
	}
	return join(seq, append(all, f.before(len(f.pieces)-1))...)
}

// find gives the index of the first of the words outside of brackets, or end.
func (f *former) find(from, end int, words ...string) int {
	depth := 0
	for i := from; i < end; i++ {
		t := &f.pieces[i].Token
		if depth == 0 && (t.Kind == Symbol || t.Kind == Word) && slices.Contains(words, t.Text) {
			return i
		}
		depth += f.step(i)
	}
	return end
}

// step tells how a token changes the number of open brackets.
func (f *former) step(i int) int {
	switch f.pieces[i].Text {
	case "(", "[", "{":
		return 1
	case ")", "]", "}":
		return -1
	}
	return 0
}

// close gives the index of the bracket that closes the one at i.
func (f *former) close(i int) int {
	depth := 0
	for k := i; k < len(f.pieces); k++ {
		if depth += f.step(k); depth == 0 {
			return k
		}
	}
	return len(f.pieces) - 1
}

// policy is annotations, an effect with its scope, and conditions, each on a line.
func (f *former) policy(from, end int) doc {
	var out []doc
	i := from
	for f.pieces[i].Text == "@" {
		name := []doc{f.token(i), f.token(i + 1)}
		if i += 2; f.pieces[i].Text == "(" {
			end := f.close(i) + 1
			name = append(name, f.row(i, end))
			i = end
		}
		out = append(out, join(seq, name...), aHard)
	}
	scope := i + 1
	out = append(out, f.token(i), aSpace, f.brackets(scope))
	for i = f.close(scope) + 1; i < end-1; i = f.close(i+1) + 1 {
		out = append(out, aHard, f.token(i), aSpace, f.block(i+1))
	}
	return join(seq, append(out, f.token(end-1))...)
}

// row is tokens with nothing between them.
func (f *former) row(from, end int) doc {
	var out []doc
	for i := from; i < end; i++ {
		out = append(out, f.token(i))
	}
	return join(seq, out...)
}

// block is what a when or an unless asks for.
func (f *former) block(open int) doc {
	end := f.close(open)
	return join(group, f.token(open), join(nest, aLine, f.expr(open+1, end), f.before(end)), aLine, f.token(end))
}

// brackets is a list, a record, arguments, or an expression in parentheses.
func (f *former) brackets(open int) doc {
	end := f.close(open)
	if open+1 == end {
		return join(group, f.token(open), join(nest, f.before(end)), f.token(end))
	}
	inner := []doc{aSoft}
	for i := open + 1; i < end; {
		comma := f.find(i, end, ",")
		inner = append(inner, f.element(i, comma))
		if i = comma + 1; comma < end {
			if inner = append(inner, f.token(comma)); i < end {
				inner = append(inner, aLine)
			}
		}
	}
	return join(group, f.token(open), join(nest, append(inner, f.before(end))...), aSoft, f.token(end))
}

// element is an expression, or a record's name with one.
func (f *former) element(from, end int) doc {
	if colon := f.find(from, end, ":"); colon < end {
		return join(seq, f.flat(from, colon), f.token(colon), aSpace, f.expr(colon+1, end))
	}
	return f.expr(from, end)
}

// expr breaks an expression where it binds least.
func (f *former) expr(from, end int) doc {
	if from < end && f.pieces[from].Text == "if" {
		return f.choice(from, end)
	}
	for _, op := range []string{"||", "&&"} {
		if f.find(from, end, op) == end {
			continue
		}
		var parts []doc
		for i := from; i <= end; {
			at := f.find(i, end, op)
			parts = append(parts, f.expr(i, at))
			if at < end {
				parts = append(parts, aSpace, f.token(at), aLine)
			}
			i = at + 1
		}
		return join(group, parts...)
	}
	return f.flat(from, end)
}

// choice is if, then and else.
func (f *former) choice(from, end int) doc {
	then := f.branch(from+1, end, "then")
	other := f.branch(then+1, end, "else")
	part := func(word, end int) doc {
		if word >= end {
			return join(seq)
		}
		return join(seq, f.token(word), aSpace, join(nest, f.expr(word+1, end)))
	}
	return join(group, part(from, then), aLine, part(then, other), aLine, part(other, end))
}

// branch finds the word that belongs to an if, past those that are inside of it.
func (f *former) branch(from, end int, word string) int {
	ifs := 0
	for i := from; i < end; i++ {
		if i = f.find(i, end, "if", "then", "else"); i == end {
			break
		}
		switch text := f.pieces[i].Text; {
		case text == "if":
			ifs++
		case ifs == 0 && text == word:
			return i
		case text == "else":
			ifs--
		}
	}
	return end
}

// flat is what is broken only inside brackets.
func (f *former) flat(from, end int) doc {
	var out []doc
	for i := from; i < end; i++ {
		if i > from && f.spaced(from, i) {
			out = append(out, aSpace)
		}
		if f.step(i) == 1 && f.close(i) < end {
			out = append(out, f.brackets(i))
			i = f.close(i)
			continue
		}
		out = append(out, f.token(i))
	}
	return join(seq, out...)
}

// spaced tells whether a space stands before the token at i.
func (f *former) spaced(from, i int) bool {
	b := f.pieces[i].Text
	switch a := f.pieces[i-1].Text; {
	case b == "." || b == "::" || b == "," || b == ";":
		return false
	case a == "." || a == "::" || a == "!" || a == "@":
		return false
	case a == "-" && (i-1 == from || !f.operand(i-2)):
		return false // a sign
	case b == "(" || b == "[":
		return !f.operand(i - 1)
	}
	return true
}

// operand tells whether a value ends with the token at i.
func (f *former) operand(i int) bool {
	p := &f.pieces[i]
	switch p.Kind {
	case Number, String:
		return true
	case Word:
		return !slices.Contains([]string{"in", "is", "has", "like", "if", "then", "else"}, p.Text)
	}
	return p.Text == ")" || p.Text == "]" || p.Text == "}"
}
