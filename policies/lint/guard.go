package lint

import (
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
