package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

// TestNoRunawaySpendsMoreThanItsFuel: times are measured by the program itself, on a quiet machine.
func TestNoRunawaySpendsMoreThanItsFuel(t *testing.T) {
	var out bytes.Buffer
	r, err := run(t.Context(), 3, &out)
	if err != nil {
		t.Fatal(err)
	}
	if r.overspent != 0 || r.shapes < 9 {
		t.Errorf("%d of %d shapes spent more than their fuel", r.overspent, r.shapes)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if last := lines[len(lines)-1]; !regexp.MustCompile(`^runaway shapes=\d+ overspent=0 ns_per_unit_max=[\d.]+ gc_p99_ms=[\d.]+ gc_max_ms=[\d.]+$`).MatchString(last) {
		t.Errorf("last line: %s", last)
	}
}
