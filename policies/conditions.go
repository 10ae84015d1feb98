package policies

import (
	"strings"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Condition is one thing that a policy asks for beyond its scope: a conjunct of a when, or the whole of an unless.
type Condition struct {
	Line, Column int // in the policy's file, from 1
	Unless       bool
	Text         string // as it stands in the source
}

// condition is a Condition with its tree.
type condition struct {
	Condition
	node ast.IsNode
}

// conditions takes a policy's conditions apart, in the order in which Cedar evaluates them. The text of each comes from the
// source: a tree does not say where it was written. Where text and tree do not go together, a block stays whole.
func (r *rule) conditions() []condition {
	blocks := blocksOf(r.text)
	trees := r.ast().Conditions
	if len(blocks) != len(trees) {
		return nil // the parser read something else than this text
	}
	var out []condition
	for i, t := range trees {
		nodes, texts := []ast.IsNode{t.Body}, []span{blocks[i]}
		if t.Condition == ast.ConditionWhen {
			if n, s := conjuncts(t.Body), splitAnd(r.text, blocks[i]); len(n) == len(s) {
				nodes, texts = n, s
			}
		}
		for k, n := range nodes {
			out = append(out, condition{r.place(texts[k], t.Condition == ast.ConditionUnless), n})
		}
	}
	return out
}

// conjuncts gives the operands of the && at the top of a tree, from left to right.
func conjuncts(n ast.IsNode) []ast.IsNode {
	if v, ok := n.(ast.NodeTypeAnd); ok {
		return append(conjuncts(v.Left), v.Right)
	}
	return []ast.IsNode{n}
}

// span is a part of a policy's text.
type span struct{ from, to int }

// place finds a span in the file.
func (r *rule) place(s span, unless bool) Condition {
	before := r.text[:s.from]
	line, col := strings.Count(before, "\n"), utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	at := r.ast().Position
	c := Condition{Line: at.Line + line, Column: col + 1, Unless: unless, Text: r.text[s.from:s.to]}
	if line == 0 {
		c.Column = at.Column + col
	}
	return c
}

// blocksOf finds what stands between the braces of each when and unless. The braces of records are inside of them.
func blocksOf(text string) []span {
	var out []span
	depth, start := 0, 0
	tokens(text, 0, len(text), func(i int) {
		switch text[i] {
		case '{', '(', '[':
			if depth++; text[i] == '{' && depth == 1 {
				start = i + 1
			}
		case '}', ')', ']':
			if depth--; text[i] == '}' && depth == 0 {
				out = append(out, trimmed(text, span{start, i}))
			}
		}
	})
	return out
}

// splitAnd cuts a block at each && that is not inside brackets. One with a || or an if outside of them is no conjunction.
func splitAnd(text string, s span) []span {
	var out []span
	depth, start, whole := 0, s.from, false
	tokens(text, s.from, s.to, func(i int) {
		switch c := text[i]; {
		case c == '{' || c == '(' || c == '[':
			depth++
		case c == '}' || c == ')' || c == ']':
			depth--
		case depth > 0:
		case strings.HasPrefix(text[i:s.to], "&&"):
			out = append(out, trimmed(text, span{start, i}))
			start = i + len("&&")
		case strings.HasPrefix(text[i:s.to], "||"), strings.HasPrefix(text[i:s.to], "if") && !isWordByte(byteAt(text, i-1)) && !isWordByte(byteAt(text, i+2)):
			whole = true
		}
	})
	if whole {
		return []span{s}
	}
	return append(out, trimmed(text, span{start, s.to}))
}

// tokens calls fn with the index of each byte of text[from:to] that is neither in a string nor in a comment.
func tokens(text string, from, to int, fn func(i int)) {
	for i := from; i < to; i++ {
		switch text[i] {
		case '"':
			i = endOfString(text, i)
		case '/':
			if end := endOfComment(text, i); end > i {
				i = end
				continue
			}
			fn(i)
		default:
			fn(i)
		}
	}
}

// trimmed takes white space and comments off both ends.
func trimmed(text string, s span) span {
	for s.from < s.to {
		switch c := text[s.from]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			s.from++
			continue
		case c == '/' && endOfComment(text, s.from) > s.from:
			s.from = min(s.to, endOfComment(text, s.from)+1)
			continue
		}
		break
	}
	last := s.from
	tokens(text, s.from, s.to, func(i int) {
		if c := text[i]; c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			last = i + 1
		}
	})
	// a string at the end is no token
	for i := s.from; i < s.to; i++ {
		switch text[i] {
		case '"':
			i = endOfString(text, i)
			last = max(last, min(s.to, i+1))
		case '/':
			i = max(i, endOfComment(text, i))
		}
	}
	s.to = last
	return s
}
