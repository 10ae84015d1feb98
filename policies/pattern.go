package policies

import (
	"encoding/json"
	"strings"

	cedar "github.com/cedar-policy/cedar-go"
	publicast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// pattern is a pattern of like: texts that stand in this order, with anything between two of them. The first and the last
// are "" where the pattern starts or ends with a star.
type pattern []string

// patternOf takes a Cedar pattern apart.
func patternOf(p types.Pattern) pattern {
	raw, err := p.MarshalJSON()
	var parts []json.RawMessage
	if err == nil {
		err = json.Unmarshal(raw, &parts)
	}
	out := pattern{""}
	for _, part := range parts {
		var text struct{ Literal string }
		if string(part) == `"Wildcard"` {
			out = append(out, "")
		} else if err == nil {
			err = json.Unmarshal(part, &text)
			out[len(out)-1] += text.Literal
		}
	}
	if err != nil { // cedar-go writes what it reads
		panic("pattern of like: " + err.Error())
	}
	return out
}

// match answers as Cedar does, in time that grows with the text alone.
func (p pattern) match(s string) bool {
	last := len(p) - 1
	if last == 0 {
		return s == p[0]
	}
	s, ok := strings.CutPrefix(s, p[0])
	for _, text := range p[1:last] {
		if !ok {
			return false
		}
		_, s, ok = strings.Cut(s, text)
	}
	return ok && strings.HasSuffix(s, p[last])
}

func (p pattern) bytes() (n int) {
	for _, text := range p {
		n += len(text)
	}
	return n
}

// units is what match takes for each byte of the text, at most: strings.Index may compare a long text at every place.
func (p pattern) units() int {
	longest := 0
	for _, text := range p {
		longest = max(longest, len(text))
	}
	return 1 + longest/64
}

// hardness is what Cedar's own way of matching takes for each byte, at most. It starts anew at every byte of the text, and
// looks at one byte as often as starts of the pattern can end before it: twice for most words, for "aaaa" four times.
func (p pattern) hardness() int {
	if p.bytes() == 0 && len(p) > 1 {
		return 0
	}
	most := 0
	for _, text := range p {
		most = max(most, borders(text))
	}
	return 2 + most
}

// borders is the most starts of text, all but text itself, that are ends of one another.
func borders(text string) (most int) {
	fail, depth := make([]int, len(text)+1), make([]int, len(text)+1)
	for i, k := 1, 0; i < len(text); i++ { // depth[i] is of text[:i]
		depth[i] = 1 + depth[fail[i]]
		most = max(most, depth[i])
		for k > 0 && text[i] != text[k] {
			k = fail[k]
		}
		if text[i] == text[k] {
			k++
		}
		fail[i+1] = k
	}
	return most
}

// matched is where the context of an overlay lists the patterns that match, by number. No policy can name it.
const matched = "matched patterns"

// search is a pattern held against an argument. Cedar only looks the answer up.
type search struct {
	id          int
	param, view string // of context.input
	pattern     pattern
}

// searched rewrites a policy so that patterns over arguments are looked up. Numbers start with first. Laziness and errors
// stay as they were: the text itself is still read where it was.
func searched(p *cedar.Policy, first int) (*cedar.Policy, []search) {
	out := *(*ast.Policy)(p.AST())
	out.Conditions = append([]ast.ConditionType(nil), out.Conditions...)
	s := searcher{first: first}
	for i := range out.Conditions {
		out.Conditions[i].Body = s.rewrite(out.Conditions[i].Body)
	}
	if s.found == nil {
		return p, nil
	}
	return cedar.NewPolicyFromAST((*publicast.Policy)(&out)), s.found
}

type searcher struct {
	first int
	found []search
}

func (s *searcher) rewrite(n ast.IsNode) ast.IsNode {
	switch v := n.(type) {
	case ast.NodeTypeAnd:
		v.Left, v.Right = s.rewrite(v.Left), s.rewrite(v.Right)
		return v
	case ast.NodeTypeOr:
		v.Left, v.Right = s.rewrite(v.Left), s.rewrite(v.Right)
		return v
	case ast.NodeTypeNot:
		v.Arg = s.rewrite(v.Arg)
		return v
	case ast.NodeTypeIfThenElse:
		v.If, v.Then, v.Else = s.rewrite(v.If), s.rewrite(v.Then), s.rewrite(v.Else)
		return v
	case ast.NodeTypeLike:
		return s.like(v)
	}
	return n
}

// like turns PLACE like PATTERN into: if PLACE like "*" then the number is listed.
func (s *searcher) like(v ast.NodeTypeLike) ast.IsNode {
	param, view, ok := inputText(v.Arg)
	if !ok {
		return v
	}
	found := search{id: s.first + len(s.found), param: param, view: view, pattern: patternOf(v.Value)}
	s.found = append(s.found, found)
	list := ast.NodeTypeAccess{StrOpNode: ast.StrOpNode{Arg: ast.NodeTypeVariable{Name: "context"}, Value: matched}}
	number := ast.NodeValue{Value: types.Long(found.id)}
	return ast.NodeTypeIfThenElse{
		If:   ast.NodeTypeLike{Arg: v.Arg, Value: types.NewPattern(types.Wildcard{})},
		Then: ast.NodeTypeContains{BinaryNode: ast.BinaryNode{Left: list, Right: number}},
		Else: constant(false),
	}
}

// inputText recognizes context.input.PARAM.string and .text.
func inputText(n ast.IsNode) (param, view string, ok bool) {
	var names [3]string
	for i := 2; i >= 0; i-- {
		at, ok := n.(ast.NodeTypeAccess)
		if !ok {
			return "", "", false
		}
		names[i], n = string(at.Value), at.Arg
	}
	v, ok := n.(ast.NodeTypeVariable)
	return names[1], names[2], ok && v.Name == "context" && names[0] == "input" && (names[2] == "string" || names[2] == "text")
}

// text is what the pattern is held against. "" where there is none: the answer is then not looked at.
func (s *search) text(input types.Record) string {
	arg, _ := input.Get(types.String(s.param))
	rec, ok := arg.(types.Record)
	if !ok {
		return ""
	}
	value, _ := rec.Get(types.String(s.view))
	text, _ := value.(types.String)
	return string(text)
}
