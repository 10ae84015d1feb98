package corpus_test

import (
	"bytes"
	"testing"

	"github.com/gatewright/gatewright/conformance/hostile/corpus"
)

func TestEachCaseHasItsOwnName(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range corpus.All() {
		if c.Name == "" || len(c.Name) > 40 || c.About == "" || c.Stage == "" || seen[c.Name] {
			t.Errorf("case %+q: about %q, stage %q", c.Name, c.About, c.Stage)
		}
		seen[c.Name] = true
	}
	if len(seen) < 60 {
		t.Errorf("only %d cases", len(seen))
	}
}

// TestTheSameBytesEachTime: a finding names a case, and must mean the same module everywhere.
func TestTheSameBytesEachTime(t *testing.T) {
	again := corpus.All()
	for i, c := range corpus.All() {
		if !bytes.Equal(c.Make(), again[i].Make()) {
			t.Errorf("%s differs", c.Name)
		}
	}
}

func TestSeedsAreSmall(t *testing.T) {
	seeds := corpus.Seeds(4096)
	if len(seeds) < 100 {
		t.Errorf("only %d seeds", len(seeds))
	}
	for _, s := range seeds {
		if len(s) > 4096 {
			t.Errorf("a seed of %d bytes", len(s))
		}
	}
}
