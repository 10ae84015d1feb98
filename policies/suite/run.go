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

// Run compiles the bundle and asks every case. An error is about the bundle or the tests themselves: ErrNone, Problems,
// policies.Problems. A case that does not pass is in the report.
func Run(ctx context.Context, b *policies.Bundle, o Options) (*Report, error) {
	began := time.Now()
	tests, err := Load(b)
	if err != nil {
		return nil, err
	}
	if len(tests) == 1 { // what all share, and no more
		return nil, ErrNone
	}
	c, err := compile(b, tests)
	if err != nil {
		return nil, err
	}
	r := &Report{}
	r.Coverage.add(c.Engine)
	for i := range c.Tests {
		t := &c.Tests[i]
		for k := range t.Cases {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if x := &t.Cases[k]; o.Only == nil || o.Only.MatchString(x.File+": "+x.Name) {
				r.Results = append(r.Results, t.run(c.Engine, x))
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
	r.By, r.Errors = d.IDs(), d.Errors()
	r.Why = errors.Join(err, r.compare())
	return r
}

// compare says how a case came out otherwise than it should.
func (r *Result) compare() error {
	c := r.Case
	if r.Got != c.Want {
		return fmt.Errorf("want %s, got %s%s", c.Want, r.Got, r.because())
	}
	switch failed := r.Got == "deny" && len(r.Errors) > 0; {
	case failed && !c.Error:
		return fmt.Errorf("deny as wanted, but by an error%s; if that is what is meant, say \"error\": true", r.because())
	case c.Error && !failed:
		return fmt.Errorf("%s as wanted, but everything could be evaluated: want an error", r.Got)
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
