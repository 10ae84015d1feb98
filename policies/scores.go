package policies

import (
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	schemaast "github.com/cedar-policy/cedar-go/x/exp/schema/ast"
)

// readsScore tells whether a rule reads the score of that name.
func readsScore(r *rule, name string) (found bool) {
	want := []types.String{"filters", "scores", types.String(name)}
	for _, c := range r.ast().Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			root, path := chain(n)
			found = found || root == "context" && slices.Equal(path, want)
			return !found
		})
	}
	return found
}

// ScoreNames lists the scores that the bundle's schema names, sorted; none of a schema that cannot be read.
func (b *Bundle) ScoreNames() []string {
	v, err := newVocabulary(b)
	if err != nil {
		return nil
	}
	return v.scores()
}

func (v *vocabulary) scores() []string {
	own, _ := v.base.CommonTypes[scoresType].Type.(schemaast.RecordType)
	return slices.Sorted(slices.Values(appendKeys(nil, own)))
}

// scoreHint says how a score that the schema does not have comes into it. Which names filters give, only their author knows.
func (c *checker) scoreHint(name string) string {
	if !scoreName(name) {
		return "filters name their scores with a-z, 0-9 and _"
	}
	if hint := c.suggest(name, c.words.scores); hint != "" {
		return hint
	}
	return "name the scores that your filters give in schema.cedarschema: type Scores = { " + name + "?: Long }; and ask `has " + name + "` first"
}
