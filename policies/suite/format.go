package suite

import (
	"encoding/xml"
	"fmt"
	"io"
	"time"
)

type (
	junitFailure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		File    string        `xml:"file,attr,omitempty"`
		Line    int           `xml:"line,attr,omitempty"`
		Time    string        `xml:"time,attr"`
		Failure *junitFailure `xml:"failure,omitempty"`
		Error   *junitFailure `xml:"error,omitempty"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
)

func seconds(d time.Duration) string { return fmt.Sprintf("%.6f", d.Seconds()) }

// JUnit writes the report as most CI systems read it: a test suite for each file. Files are named below the prefix.
func (r *Report) JUnit(w io.Writer, prefix string) error {
	out := junitSuites{Tests: len(r.Results), Failures: r.Failed(), Time: seconds(r.Took)}
	for i := range r.Results {
		x := &r.Results[i]
		file := prefix + x.Case.File
		if n := len(out.Suites); n == 0 || out.Suites[n-1].Name != file {
			out.Suites = append(out.Suites, junitSuite{Name: file})
		}
		s := &out.Suites[len(out.Suites)-1]
		t := junitCase{Name: x.Case.Name, Class: file, File: file, Line: x.Case.Line, Time: seconds(x.Took)}
		if s.Tests++; x.Why != nil {
			s.Failures++
			t.Failure = &junitFailure{x.Why.Error(), Lines(&x.Explanation)}
		}
		s.Cases = append(s.Cases, t)
	}
	return writeXML(w, out)
}

// JUnitErrors writes why nothing could be run: a test suite with an error for each finding.
func JUnitErrors(w io.Writer, prefix string, findings []Finding) error {
	s := junitSuite{Name: "policy tests", Tests: len(findings), Errors: len(findings)}
	for _, f := range findings {
		t := junitCase{Name: f.Msg, Class: f.Rule, Line: f.Line, Time: seconds(0), Error: &junitFailure{f.Msg, f.String()}}
		if f.File != "" {
			t.File = prefix + f.File
		}
		s.Cases = append(s.Cases, t)
	}
	return writeXML(w, junitSuites{Tests: s.Tests, Errors: s.Errors, Time: seconds(0), Suites: []junitSuite{s}})
}

func writeXML(w io.Writer, v any) error {
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
