package judge

import (
	"errors"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/wasm/abi"
)

// TestAnswersThatDifferAreRejected: in the verdict, in the fuel, or in a trap.
func TestAnswersThatDifferAreRejected(t *testing.T) {
	tr := &trial{upload: Upload{Vectors: []Vector{{Name: "v"}}}}
	first := answer{verdict: abi.Verdict{Kind: abi.Pass, Labels: []string{"a"}}, fuel: 7}
	if err := tr.differ([]answer{first}, []answer{first}, "again"); err != nil {
		t.Error(err)
	}
	for want, other := range map[string]answer{
		"8 units of fuel instead of 7": {verdict: first.verdict, fuel: 8},
		"another verdict":              {verdict: abi.Verdict{Kind: abi.Pass, Labels: []string{"b"}}, fuel: 7},
		"another verdict again":        {verdict: first.verdict, fuel: 7, trap: "fault"},
	} {
		err := tr.differ([]answer{first}, []answer{other}, "again")
		if !errors.Is(err, ErrRejected) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
