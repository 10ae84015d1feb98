package judge

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestEverythingOfAVectorCounts: whatever is kept of it, against the one bound of all vectors; and the error says which vector.
func TestEverythingOfAVectorCounts(t *testing.T) {
	most := strings.Repeat("a", maxVectorBytes)
	body := json.RawMessage(`{"a":"` + most + `"}`)
	list := func(text string) (out []string) {
		for range 64 {
			out = append(out, text[:len(text)/64])
		}
		return out
	}
	scores := map[string]int64{}
	for i, key := range list(most) {
		scores[fmt.Sprint(i, key)] = 1
	}
	for name, v := range map[string]Vector{
		"arguments":   {Arguments: body},
		"result":      {Phase: "response", Result: body},
		"labels":      {Name: "x", Labels: list(most)},
		"want.labels": {Name: "x", Want: Want{Labels: list(most)}},
		"want.scores": {Want: Want{Scores: scores}},
		"want.body":   {Want: Want{Body: body}},
	} {
		err := checkVectors([]Vector{{Name: "a small one"}, v})
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "vector 2") || !strings.Contains(err.Error(), fmt.Sprint(maxVectorBytes)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTheTextsOfVectorsCountTogether: none of them is too long by itself.
func TestTheTextsOfVectorsCountTogether(t *testing.T) {
	long := strings.Repeat("a", maxVectorText)
	texts := Vector{Name: long, Agent: long, User: long, Op: long, Server: long, Tool: long, Want: Want{Verdict: "deny", Reason: long}}
	of := func(rest int) []Vector {
		all := make([]Vector, maxVectors)
		each := 7*maxVectorText + len("deny")
		for i := range all {
			all[i] = texts
		}
		pad := maxVectorBytes - maxVectors*each + rest
		all[1].Labels = []string{long[:pad%len(long)]}
		all[0].Want.Labels = []string{strings.Repeat("a", pad-pad%len(long))}
		return all
	}
	if err := checkVectors(of(0)); err != nil {
		t.Errorf("as much as may be: %v", err)
	}
	if err := checkVectors(of(1)); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "vector 64") {
		t.Errorf("one byte more: %v", err)
	}
}

// TestALongTextIsNamed with its member and its bound.
func TestALongTextIsNamed(t *testing.T) {
	long := strings.Repeat("a", maxVectorText+1)
	for name, v := range map[string]Vector{
		"name": {Name: long}, "agent": {Agent: long}, "user": {User: long}, "op": {Op: long}, "server": {Server: long}, "tool": {Tool: long},
		"want.reason": {Want: Want{Reason: long}},
	} {
		err := checkVectors([]Vector{{}, {}, v})
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "vector 3: "+name) || !strings.Contains(err.Error(), fmt.Sprint(maxVectorText)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
