package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/conformance/hostile/corpus"
)

// asChild in the environment makes the test binary the child in which cases are played.
const asChild = "GATEWRIGHT_HOSTILE_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		os.Exit(run(context.Background(), []string{verb, ""}, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func newRunner(t *testing.T, deadline time.Duration) *runner {
	t.Helper()
	t.Setenv(asChild, "1")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &runner{self: []string{self}, deadline: deadline}
}

// TestADeathAndAHangAreSeen: what happens to the child is counted, and the next case is played in another.
func TestADeathAndAHangAreSeen(t *testing.T) {
	r := newRunner(t, 2*time.Second)
	if _, err := r.do(t.Context(), order{Case: dies}); !errors.Is(err, errDied) {
		t.Errorf("of a death: %v", err)
	}
	if _, err := r.do(t.Context(), order{Case: hangs}); !errors.Is(err, errHung) {
		t.Errorf("of a hang: %v", err)
	}
	a, err := r.do(t.Context(), order{Case: "count-types"})
	if err != nil || a.Finding.Stage != corpus.Check {
		t.Errorf("%+v, %v", a.Finding, err)
	}
	if err := r.close(); err != nil || r.deaths != 1 || r.hangs != 1 {
		t.Errorf("%d deaths, %d hangs: %v", r.deaths, r.hangs, err)
	}
}

// TestTheProgramSaysWhatItFound with a few cases; the whole corpus is played in TestEveryCaseIsContained.
func TestTheProgramSaysWhatItFound(t *testing.T) {
	r := newRunner(t, time.Minute)
	var out bytes.Buffer
	err := all(t.Context(), options{collections: 2, deadline: time.Minute, match: "endless-exp", self: r.self}, &out)
	if err != nil && !strings.Contains(err.Error(), "allowed") { // times are judged on a quiet machine
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	want := regexp.MustCompile(`^hostile cases=3 deaths=0 hangs=0 over_budget=\d gc_ms_p99=[\d.]+ gc_ms_max=[\d.]+ rss_mb_max=\d+$`)
	if last := lines[len(lines)-1]; !want.MatchString(last) {
		t.Errorf("last line: %s", last)
	}
}

// TestWhatIsNotContainedIsSeen: each way in which a case can end otherwise than it must.
func TestWhatIsNotContainedIsSeen(t *testing.T) {
	trapped := corpus.Case{Name: "x", Stage: corpus.Decide, Kind: "fuel"}
	refused := corpus.Case{Name: "x", Stage: corpus.Check, Kind: "limit", Says: "at most"}
	passed := corpus.Case{Name: "x", Stage: corpus.Passed}
	for _, c := range []struct {
		name string
		c    corpus.Case
		f    Finding
		ok   bool
	}{
		{"as it must", trapped, Finding{Stage: corpus.Decide, Kind: "fuel"}, true},
		{"another kind", trapped, Finding{Stage: corpus.Decide, Kind: "internal"}, false},
		{"another stage", trapped, Finding{Stage: corpus.Init, Kind: "fuel"}, false},
		{"no trap", trapped, Finding{Stage: corpus.Passed}, false},
		{"slower than paid for", trapped, Finding{Stage: corpus.Decide, Kind: "fuel", Slow: true}, false},
		{"over its fuel", trapped, Finding{Stage: corpus.Decide, Kind: "fuel", Overspent: true}, false},
		{"refused", refused, Finding{Stage: corpus.Check, Kind: "limit", Reason: "9, at most 8"}, true},
		{"refused for another reason", refused, Finding{Stage: corpus.Check, Kind: "limit", Reason: "no"}, false},
		{"passed", passed, Finding{Stage: corpus.Passed}, true},
		{"leaked", passed, Finding{Stage: corpus.Passed, Kind: "deny", Reason: "leaked"}, false},
		{"unsteady", passed, Finding{Stage: corpus.Passed, Kind: unsteady}, false},
	} {
		if err := contained(c.c, c.f); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestAGuestThatTellsIsSeen: the cases that keep a secret would tell it. Without the reset between calls they do; here one
// is shown two calls of which the first is its own secret.
func TestAGuestThatTellsIsSeen(t *testing.T) {
	leaks := corpus.Leaks()
	f, err := (&stage{}).play(t.Context(), leaks)
	if err != nil {
		t.Fatal(err)
	}
	if err := contained(leaks, f); err == nil || f.Kind != "deny" {
		t.Errorf("%+v: %v", f, err)
	}
}
