package policies

import (
	"slices"

	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/gatewright/gatewright/policies/layout"
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

// conditions takes a policy's conditions apart, in the order in which Cedar evaluates them, once. The text of each comes from
// the source: a tree does not say where it was written. Where text and tree do not go together a block stays whole, and one
// whose text is not found has none; it is evaluated all the same.
func (r *rule) conditions() []condition {
	r.partsOnce.Do(func() {
		trees := r.ast().Conditions
		tokens, err := layout.Scan(r.text)
		blocks := blocksOf(tokens)
		if err != nil || len(blocks) != len(trees) {
			blocks = make([][]layout.Token, len(trees))
		}
		for i, t := range trees {
			r.parts = append(r.parts, r.takeApart(t, blocks[i])...)
		}
	})
	return r.parts
}

// takeApart gives the conditions of one when or unless.
func (r *rule) takeApart(t ast.ConditionType, block []layout.Token) []condition {
	unless := t.Condition == ast.ConditionUnless
	texts := splitAnd(block)
	nodes := lastOf(t.Body, len(texts))
	if unless || nodes == nil {
		return []condition{{r.place(block, unless), t.Body}}
	}
	out := make([]condition, len(nodes))
	for i, n := range nodes {
		out[i] = condition{r.place(texts[i], false), n}
	}
	return out
}

// lastOf takes the last n-1 operands of a && chain off, which leaves n with the first; nil where there are fewer.
func lastOf(n ast.IsNode, count int) []ast.IsNode {
	var out []ast.IsNode
	for len(out) < count-1 {
		v, ok := n.(ast.NodeTypeAnd)
		if !ok {
			return nil
		}
		out, n = append(out, v.Right), v.Left
	}
	out = append(out, n)
	slices.Reverse(out)
	return out
}

// place finds tokens in the file. No tokens are placed at the policy's head.
func (r *rule) place(tokens []layout.Token, unless bool) Condition {
	at := r.ast().Position
	c := Condition{Line: at.Line, Column: at.Column, Unless: unless}
	if len(tokens) == 0 {
		return c
	}
	first, last := tokens[0], tokens[len(tokens)-1]
	c.Text = r.text[first.Offset : last.Offset+len(last.Text)]
	if first.Line > 1 {
		c.Column = 1
	}
	c.Line, c.Column = c.Line+first.Line-1, c.Column+first.Column-1
	return c
}

// blocksOf finds what stands between the braces of each when and unless, without comments. The braces of records are inside
// of them.
func blocksOf(tokens []layout.Token) [][]layout.Token {
	var out [][]layout.Token
	var block []layout.Token
	depth := 0
	for _, t := range tokens {
		if depth -= closes(t); depth == 0 && t.Text == "}" {
			out = append(out, block)
		}
		if depth > 0 && t.Kind != layout.Comment {
			block = append(block, t)
		}
		if depth += opens(t); depth == 1 && t.Text == "{" {
			block = nil
		}
	}
	return out
}

func opens(t layout.Token) int {
	if t.Text == "{" || t.Text == "(" || t.Text == "[" {
		return 1
	}
	return 0
}

func closes(t layout.Token) int {
	if t.Text == "}" || t.Text == ")" || t.Text == "]" {
		return 1
	}
	return 0
}

// splitAnd cuts a block at each && that is not inside brackets. One with a || or an if outside of them is no conjunction.
func splitAnd(block []layout.Token) [][]layout.Token {
	var out [][]layout.Token
	depth, start := 0, 0
	for i, t := range block {
		depth += opens(t) - closes(t)
		switch {
		case depth > 0:
		case t.Text == "||", t.Text == "if":
			return [][]layout.Token{block}
		case t.Text == "&&":
			out = append(out, block[start:i])
			start = i + 1
		}
	}
	return append(out, block[start:])
}
