package conformance_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestREADMEsPolicyOverWhatFiltersFound: the policy compiles with its score in the schema, its tests pass and cover it, and without
// that line of the schema it is refused with what to write there.
func TestREADMEsPolicyOverWhatFiltersFound(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{})
	x := g.terminal(t)
	x.followed(t, "cp -r policies/default", 0)
	bundle := filepath.Join(x.dir, "my-policies")
	scores := filepath.Join(bundle, "schema.cedarschema")
	words, err := os.ReadFile(scores)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(bundle, "found.cedar"), block(t, "cedar", "what-filters-found"))
	writeFile(t, filepath.Join(bundle, "tests", "found.txtar"), plainBlock(t, "-- case an injection is refused --"))
	writeFile(t, scores, block(t, "cedarschema", "type Scores"))
	x.types(t, "gatewright policy check --strict my-policies", 0)
	x.types(t, "gatewright policy fmt --check my-policies", 0)
	x.types(t, "gatewright policy test --min-coverage 100 my-policies", 0)
	writeFile(t, scores, string(words))
	writeFile(t, filepath.Join(bundle, "found.cedar"), strings.Replace(block(t, "cedar", "what-filters-found"), "context.filters.scores has injection &&", "", 1))
	if got := x.types(t, "gatewright policy check my-policies", 1); !strings.Contains(got, block(t, "cedarschema", "type Scores")[:len("type Scores = {")]) {
		t.Error(got)
	}
}
