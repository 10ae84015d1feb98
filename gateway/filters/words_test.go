package filters_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/filters"
)

// TestARejectionSaysWhatToDo: of what a filter did, in words for its author. Only the hint holds what the filter wrote: the reason
// goes to the ledger.
func TestARejectionSaysWhatToDo(t *testing.T) {
	w := newWorld(t)
	const empty = "on the empty call, which every upload without vectors is given: "
	answers := func(text string) []byte { return module(text, nil) }
	gives := []byte{0x00}                                                                     // unreachable
	says := slices.Concat(constant32(1), constant32(1024), constant32(9), []byte{0x10, 0x00}) // gw.log
	none := []filters.Vector(nil)
	for name, c := range map[string]struct {
		module       []byte
		vectors      []filters.Vector
		reason, hint string
	}{
		"endless":    {module("x", []byte{0x03, 0x40, 0x0c, 0, 0x0b}), none, empty + "it used up its 40", "the limit is the operator's"},
		"gives up":   {module("x", gives), none, empty + "the filter stopped itself (a panic, an abort, a failed assertion)", "have it log"},
		"says why":   {module("too bad\n!", slices.Concat(says, gives)), none, empty + "the filter stopped itself", `the last line it logged: "too bad\n!"`},
		"maybe":      {answers(`{"verdict":"maybe"}`), none, empty + `what it answered is no verdict: member "verdict" is not pass, deny or rewrite`, "What it answers"},
		"no quotes":  {answers(`{verdict:pass}`), none, empty + "what it answered is no verdict: the answer is not strict JSON", "What it answers"},
		"a list":     {answers(`[]`), none, empty + "what it answered is no verdict: the answer is not a JSON object", "What it answers"},
		"no member":  {answers(`{}`), none, `the answer has no member "verdict"`, "What it answers"},
		"a pointer":  {assemble(1, constant64(-1), "x"), none, empty + "it trapped: pointer", "gw_decide"},
		"a division": {module("x", slices.Concat(constant32(1), constant32(0), []byte{0x6d, 0x1a})), none, "it trapped: fault", "divided by zero"},
		"a vector":   {module("x", gives), []filters.Vector{{Name: "drop"}}, `vector 1, "drop": the filter stopped itself`, ""},
		"nameless":   {module("x", gives), []filters.Vector{{}}, `vector 1: the filter stopped itself`, ""},
	} {
		var last filters.Step
		_, err := w.Upload(t.Context(), acme, ada, filters.Upload{Name: "bad", Module: c.module, Vectors: c.vectors}, func(s filters.Step) { last = s })
		r, ok := errors.AsType[*filters.Rejection](err)
		if !ok || !strings.Contains(r.Reason, c.reason) || !strings.Contains(r.Hint, c.hint) || strings.Contains(r.Reason+last.Detail, "too bad") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestVectorsAreCountedInWords: there may be none, and one is one.
func TestVectorsAreCountedInWords(t *testing.T) {
	w := newWorld(t)
	for want, vectors := range map[string][]filters.Vector{
		"no vectors, an empty call, twice": nil, "1 vector, twice": {{Name: "a"}}, "2 vectors, twice": {{Name: "a"}, {Name: "b"}},
	} {
		var got string
		u := filters.Upload{Name: "good", Module: denies(strings.Repeat("a", 1+len(vectors))), Vectors: vectors}
		if _, err := w.Upload(t.Context(), acme, ada, u, func(s filters.Step) {
			if s.Stage == filters.SelfTest {
				got = s.Detail
			}
		}); err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %q: %v", got, want, err)
		}
	}
}
