package suite

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/policies"
)

// Options say what to run.
type Options struct {
	Only *regexp.Regexp // cases whose "FILE: NAME" matches; nil: all
}

// Result is what became of one case.
type Result struct {
	Case *Case
	Got  string   // allow, deny or hold
	By   []string // ids of the policies that decided, in the order of the bundle
	// Errors are what could not be evaluated.
	Errors []string
	Took   time.Duration
	// Why is nil when the case passed.
	Why         error
	Explanation policies.Explanation
}

// Report is what became of all of them.
type Report struct {
	Results  []Result
	Coverage Coverage
	Took     time.Duration
}

// Failed counts the cases that did not pass.
func (r *Report) Failed() int {
	n := 0
	for i := range r.Results {
		if r.Results[i].Why != nil {
			n++
		}
	}
	return n
}

// ErrNone says that there is nothing to run.
var ErrNone = errors.New("no tests: a bundle keeps them in " + Folder + "/*.txtar")

// Compile compiles a bundle against all the tools that its tests describe, and tells how many they are. Of two
// descriptions of one tool the first counts.
func Compile(b *policies.Bundle) (e *policies.Engine, tools int, err error) {
	tests, err := Load(b)
	if err != nil {
		return nil, 0, err
	}
	if len(tests) == 0 {
		t, err := shared(b)
		if err != nil {
			return nil, 0, err
		}
		tests = []Test{t}
	}
	var defs []policies.ToolDef
	known := map[[3]string]bool{}
	for i := range tests {
		for _, d := range tests[i].defs() {
			key := [3]string{d.Op, d.Server, d.Name}
			if !known[key] {
				defs = append(defs, d)
			}
			known[key] = true
		}
	}
	e, err = policies.Compile(b, defs)
	return e, len(defs), err
}

// Run compiles the bundle against each file's tools and asks every case. An error is about the bundle or the tests
// themselves: of a bundle that does not compile it is policies.Problems. A case that does not pass is in the report.
func Run(ctx context.Context, b *policies.Bundle, o Options) (*Report, error) {
	tests, err := Load(b)
	if err != nil {
		return nil, err
	}
	if len(tests) == 0 {
		return nil, ErrNone
	}
	began := time.Now()
	r := &Report{}
	for i := range tests {
		t := &tests[i]
		e, err := policies.Compile(b, t.defs())
		if err != nil {
			return nil, err
		}
		if s := e.Skipped(); len(s) > 0 {
			return nil, &Problem{t.File, 1, "tools that cannot be used: " + strings.Join(s, "; ")}
		}
		r.Coverage.add(e)
		for k := range t.Cases {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if c := &t.Cases[k]; o.Only == nil || o.Only.MatchString(c.File+": "+c.Name) {
				r.Results = append(r.Results, t.run(e, c))
				r.Coverage.see(&r.Results[len(r.Results)-1].Explanation)
			}
		}
	}
	r.Took = time.Since(began)
	return r, nil
}

func (t *Test) run(e *policies.Engine, c *Case) Result {
	began := time.Now()
	r := Result{Case: c, Got: "deny"}
	var err error
	r.Explanation, err = e.Explain(t.ask(c))
	r.Took = time.Since(began)
	d := &r.Explanation.Decision
	switch {
	case d.Allowed():
		r.Got = "allow"
	case d.Held():
		r.Got = "hold"
	}
	for _, label := range d.Policies() {
		r.By = append(r.By, label[strings.LastIndexByte(label, ' ')+1:])
	}
	r.Errors = d.Errors()
	r.Why = errors.Join(err, r.compare())
	return r
}

// compare says how a case came out otherwise than it should.
func (r *Result) compare() error {
	c := r.Case
	if r.Got != c.Want {
		return fmt.Errorf("want %s, got %s%s", c.Want, r.Got, r.because())
	}
	if c.By != nil && !sameSet(c.By, r.By) {
		return fmt.Errorf("%s as wanted, by %s: want %s", r.Got, list(r.By), list(c.By))
	}
	return nil
}

// because says what decided, or what came nearest.
func (r *Result) because() string {
	switch {
	case len(r.Errors) > 0:
		return ": " + strings.Join(r.Errors, "; ")
	case len(r.By) > 0:
		return " by " + list(r.By)
	case len(r.Explanation.Nearest) > 0:
		return ": no policy permits it; the nearest is " + r.Explanation.Nearest[0]
	}
	return ": no policy permits it"
}

func list(ids []string) string {
	if len(ids) == 0 {
		return "no policy"
	}
	return strings.Join(ids, ", ")
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}
