package suite

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"time"

	"github.com/gatewright/gatewright/policies"
)

// JUnit writes the report as most CI systems read it: a test suite for each file.
func (r *Report) JUnit(w io.Writer) error {
	type failure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	type testCase struct {
		Name    string   `xml:"name,attr"`
		Class   string   `xml:"classname,attr"`
		File    string   `xml:"file,attr"`
		Line    int      `xml:"line,attr"`
		Time    string   `xml:"time,attr"`
		Failure *failure `xml:"failure,omitempty"`
	}
	type testSuite struct {
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Cases    []testCase `xml:"testcase"`
	}
	type testSuites struct {
		XMLName  xml.Name    `xml:"testsuites"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Time     string      `xml:"time,attr"`
		Suites   []testSuite `xml:"testsuite"`
	}
	seconds := func(d time.Duration) string { return fmt.Sprintf("%.6f", d.Seconds()) }
	out := testSuites{Tests: len(r.Results), Failures: r.Failed(), Time: seconds(r.Took)}
	for i := range r.Results {
		x := &r.Results[i]
		c := x.Case
		if n := len(out.Suites); n == 0 || out.Suites[n-1].Name != c.File {
			out.Suites = append(out.Suites, testSuite{Name: c.File})
		}
		s := &out.Suites[len(out.Suites)-1]
		t := testCase{Name: c.Name, Class: c.File, File: c.File, Line: c.Line, Time: seconds(x.Took)}
		if s.Tests++; x.Why != nil {
			s.Failures++
			t.Failure = &failure{x.Why.Error(), Lines(&x.Explanation)}
		}
		s.Cases = append(s.Cases, t)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(out); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// Finding is one thing to be shown at a place of a file.
type Finding struct {
	Rule         string // short name of its kind
	Level        string // error, warning or note
	File         string
	Line, Column int // from 1; 0: the whole file
	Msg          string
}

// Findings are the cases that failed, and what no case met.
func (r *Report) Findings() []Finding {
	var out []Finding
	for i := range r.Results {
		if x := &r.Results[i]; x.Why != nil {
			out = append(out, Finding{"policy-test", "error", x.Case.File, x.Case.Line, 1, fmt.Sprintf("case %q: %v", x.Case.Name, x.Why)})
		}
	}
	for _, m := range r.Coverage.Missing() {
		out = append(out, Finding{"policy-coverage", "note", m.File, m.Line, m.Column, fmt.Sprintf("policy %s: %s", m.Policy, m.What)})
	}
	return out
}

// ProblemFindings are why a bundle does not compile.
func ProblemFindings(ps policies.Problems) []Finding {
	var out []Finding
	for _, p := range ps {
		f := Finding{"policy-invalid", "error", p.File, p.Line, p.Column, p.Msg}
		if p.Policy != "" {
			f.Msg = "policy " + p.Policy + ": " + f.Msg
		}
		if p.Hint != "" {
			f.Msg += " (" + p.Hint + ")"
		}
		out = append(out, f)
	}
	return out
}

// SARIF writes findings in SARIF 2.1.0, which code review shows in place. Files are named from the bundle's folder on, below
// the prefix.
func SARIF(w io.Writer, prefix string, findings []Finding) error {
	type object = map[string]any
	rules := []object{
		{"id": "policy-invalid", "shortDescription": object{"text": "A bundle that does not compile"}},
		{"id": "policy-test", "shortDescription": object{"text": "A policy test that fails"}},
		{"id": "policy-coverage", "shortDescription": object{"text": "What no policy test meets"}},
	}
	results := []object{}
	for _, f := range findings {
		place := object{"artifactLocation": object{"uri": prefix + f.File}}
		if f.Line > 0 {
			place["region"] = object{"startLine": f.Line, "startColumn": max(1, f.Column)}
		}
		results = append(results, object{
			"ruleId": f.Rule, "level": f.Level, "message": object{"text": f.Msg}, "locations": []object{{"physicalLocation": place}},
		})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(object{
		"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
		"runs": []object{{
			"tool":       object{"driver": object{"name": "gatewright policy", "rules": rules}},
			"columnKind": "unicodeCodePoints", "results": results,
		}},
	})
}
