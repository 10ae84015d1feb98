package manifest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/policies/manifest"
)

// TestMovesSayWhatASectionChanges, by what its entries mean.
func TestMovesSayWhatASectionChanges(t *testing.T) {
	for name, c := range map[string]struct{ before, after, want string }{
		"the same in other words": {`[{"name":"a","digest":"DIGEST","config":{"x": 1}}]`, `[{"name":"a","digest":"DIGEST","mode":"enforce","direction":"both","config":{"x":1}}]`, ""},
		"none any more":           {`[{"name":"a","digest":"DIGEST"},{"name":"b","digest":"DIGEST","mode":"shadow"}]`, `[]`, "a enforce out, b shadow out"},
		"the first":               {`[]`, `[{"name":"a","digest":"DIGEST"}]`, "a enforce in"},
		"another place":           {`[{"name":"a","digest":"DIGEST","servers":["x"]}]`, `[{"name":"a","digest":"DIGEST"}]`, "a enforce changed"},
		"tried, then enforced":    {`[{"name":"a","digest":"DIGEST","mode":"shadow"}]`, `[{"name":"a","digest":"DIGEST"}]`, "a shadow out, a enforce in"},
		"another order":           {`[{"name":"a","digest":"DIGEST"},{"name":"b","digest":"DIGEST"}]`, `[{"name":"b","digest":"DIGEST"},{"name":"a","digest":"DIGEST"}]`, "reordered"},
		"one between":             {`[{"name":"a","digest":"DIGEST"},{"name":"b","digest":"DIGEST"}]`, `[{"name":"a","digest":"DIGEST"},{"name":"c","digest":"DIGEST"},{"name":"b","digest":"DIGEST"}]`, "c enforce in"},
	} {
		before, err := filtersOf(t, c.before)
		if err != nil {
			t.Fatal(err)
		}
		after, err := filtersOf(t, c.after)
		if err != nil {
			t.Fatal(err)
		}
		moves, reordered := manifest.Moves(before, after)
		var got []string
		for _, m := range moves {
			what := map[[2]bool]string{{true, false}: "out", {false, true}: "in", {true, true}: "changed"}[[2]bool{m.Before != nil, m.After != nil}]
			got = append(got, fmt.Sprint(m.Name, " ", m.Mode, " ", what))
		}
		if reordered {
			got = append(got, "reordered")
		}
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("%s: %q, want %q", name, text, c.want)
		}
	}
}
