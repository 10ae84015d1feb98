package main

import (
	"testing"

	"github.com/gatewright/gatewright/conformance/hostile/corpus"
)

// TestEveryCaseIsContained runs the corpus within the process, which each module must leave alive.
func TestEveryCaseIsContained(t *testing.T) {
	for _, c := range corpus.All() {
		t.Run(c.Name, func(t *testing.T) {
			f, err := (&stage{}).play(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			f.Slow = false // times are judged by the program, on a quiet machine
			if err := contained(c, f); err != nil {
				t.Errorf("%s: %v", c.About, err)
			}
		})
	}
}
