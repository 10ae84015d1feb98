package lint

import (
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

func isAll(n ast.IsScopeNode) bool {
	_, ok := n.(ast.ScopeTypeAll)
	return ok
}

// everybody tells whether a scope names no principal and no group of them.
func everybody(n ast.IsScopeNode) bool {
	_, is := n.(ast.ScopeTypeIs)
	return is || isAll(n)
}

// scoped names the variable that a fact says of what a scope could say; "" for any other fact.
func scoped(f fact) string {
	if !f.want {
		return ""
	}
	switch v := f.node.(type) {
	case ast.NodeTypeEquals:
		if _, ok := literal(v.Right); ok {
			return variable(v.Left)
		}
	case ast.NodeTypeIn:
		if _, ok := literal(v.Right); ok {
			return variable(v.Left)
		}
	case ast.NodeTypeIs:
		if name := variable(v.Left); name != "action" {
			return name
		}
	case ast.NodeTypeIsIn:
		if _, ok := literal(v.Entity); ok {
			return variable(v.Left)
		}
	}
	return ""
}

// unguarded finds tags that are read without hasTag, and the text of undeclared arguments without a look at their names: a
// pattern over a text that holds every argument there is says nothing of one of them.
func (c *checker) unguarded(p *policy) {
	tags, names := map[string]bool{}, false
	for _, cond := range p.tree.Conditions {
		ast.Inspect(ast.NewNode(cond.Body), func(n ast.IsNode) bool {
			switch v := n.(type) {
			case ast.NodeTypeHasTag:
				tags[textOf(v.Left)+"\x00"+textOf(v.Right)] = true
			case ast.NodeTypeAccess:
				names = names || path(v) == "context.undeclared.names"
			}
			return true
		})
	}
	for _, t := range p.terms {
		ast.Inspect(ast.NewNode(t.node), func(n ast.IsNode) bool {
			switch v := n.(type) {
			case ast.NodeTypeGetTag:
				if !tags[textOf(v.Left)+"\x00"+textOf(v.Right)] {
					c.at(p, Unguarded, "warning", t.Line, t.Column, "a tag is read that may not be there", textOf(v.Left)+".hasTag("+textOf(v.Right)+") && ...")
				}
			case ast.NodeTypeAccess:
				if !names && path(v) == "context.undeclared.text" {
					c.at(p, Unguarded, "warning", t.Line, t.Column, "the text of all undeclared arguments is read, and none is named", `context.undeclared.names.contains("...") && ...`)
				}
			}
			return true
		})
	}
}

// unknownScore finds scores that are asked for and that the schema does not name. `has` of any name compiles, and nothing behind it is
// checked; filters do not say which scores they give, so that the schema is all that there is to hold a name against.
func (c *checker) unknownScore(p *policy) {
	for _, t := range p.terms {
		ast.Inspect(ast.NewNode(t.node), func(n ast.IsNode) bool {
			v, ok := n.(ast.NodeTypeHas)
			if ok && path(v.Arg) == "context.filters.scores" && !slices.Contains(c.scores, string(v.Value)) {
				known := "none"
				if len(c.scores) > 0 {
					known = strings.Join(c.scores, ", ")
				}
				c.at(p, UnknownScore, "warning", t.Line, t.Column, "it asks for the score "+string(v.Value)+", which schema.cedarschema does not name, and nothing that is said of it is checked",
					"mind the spelling (it names: "+known+"), or add it to type Scores there")
			}
			return true
		})
	}
}

// path is a chain of attributes from a variable on.
func path(n ast.IsNode) string {
	var parts []string
	for {
		switch v := n.(type) {
		case ast.NodeTypeAccess:
			parts, n = append([]string{string(v.Value)}, parts...), v.Arg
		case ast.NodeTypeVariable:
			return strings.Join(append([]string{string(v.Name)}, parts...), ".")
		default:
			return ""
		}
	}
}
