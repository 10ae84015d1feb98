package policies

import (
	"fmt"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// strays refuses what cedar-go lets pass and Cedar's own validator does not: an entity type that no schema has, with which
// a slip in a forbid would be a rule that never matches, and a decimal with a plus, which only cedar-go takes for a number.
func (c *checker) strays(r *rule) (problems Problems) {
	for _, cond := range r.ast().Conditions {
		ast.Inspect(ast.NewNode(cond.Body), func(n ast.IsNode) bool {
			switch v := n.(type) {
			case ast.NodeTypeIs:
				problems = append(problems, c.stray(r, v.EntityType)...)
			case ast.NodeTypeIsIn:
				problems = append(problems, c.stray(r, v.EntityType)...)
			case ast.NodeTypeExtensionCall:
				if text := signed(v); text != "" {
					problems = append(problems, r.problem("decimal", fmt.Sprintf("decimal(%q): a decimal has no plus", text), "leave the plus out"))
				}
			}
			return true
		})
	}
	return problems
}

// stray refuses a type that nothing has.
func (c *checker) stray(r *rule, t types.EntityType) Problems {
	_, entity := c.words.full.Entities[t]
	_, enum := c.words.full.Enums[t]
	if entity || enum || t == "Action" {
		return nil
	}
	names := []string{"Action"}
	for known := range c.words.full.Entities {
		names = append(names, string(known))
	}
	for known := range c.words.full.Enums {
		names = append(names, string(known))
	}
	hint := didYouMean(string(t), names)
	if hint == "" {
		hint = "the schema names every entity type there is"
	}
	return Problems{r.problem(string(t), fmt.Sprintf("%s is no type of entity, so nothing is one", t), hint)}
}

// signed gives the text of decimal("+..."), or nothing.
func signed(v ast.NodeTypeExtensionCall) string {
	if v.Name != "decimal" || len(v.Args) != 1 {
		return ""
	}
	literal, _ := v.Args[0].(ast.NodeValue)
	text, _ := literal.Value.(types.String)
	if strings.HasPrefix(string(text), "+") {
		return string(text)
	}
	return ""
}
