package suite

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/policies"
)

// Problem is what is wrong with a test, and where.
type Problem struct {
	File string
	Line int // from 1; 0: the whole file
	Msg  string
	Hint string // what to do, if that can be said
}

// Error gives "file:line: message (hint)".
func (p Problem) Error() string {
	at := p.File
	if p.Line > 0 {
		at = fmt.Sprintf("%s:%d", at, p.Line)
	}
	if p.Hint != "" {
		return fmt.Sprintf("%s: %s (%s)", at, p.Msg, p.Hint)
	}
	return at + ": " + p.Msg
}

// Problems is everything that is wrong with the tests of a bundle, in the order of the files.
type Problems []Problem

// Error gives one problem a line.
func (ps Problems) Error() string { return strings.Join(ps.Lines(), "\n") }

// Lines gives one problem a line.
func (ps Problems) Lines() []string {
	var out []string
	for _, p := range ps {
		out = append(out, p.Error())
	}
	return out
}

// none makes an error of problems, if there are any.
func (ps Problems) orNil() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// ErrNone says that there is nothing to run.
var ErrNone = errors.New("no tests: a bundle keeps them in " + Folder + "/*.txtar")

// Findings shows an error of this package, or of policies.Compile, at the places it is about. Of any other error there is one
// finding without a place.
func Findings(err error) []Finding {
	var out []Finding
	if ps, ok := errors.AsType[policies.Problems](err); ok {
		for _, p := range ps {
			f := Finding{Rule: ruleInvalid, Level: "error", File: p.File, Line: p.Line, Column: p.Column, Msg: p.Msg, Hint: p.Hint}
			if p.Policy != "" {
				f.Msg = "policy " + p.Policy + ": " + f.Msg
			}
			out = append(out, f)
		}
		return out
	}
	if ps, ok := errors.AsType[Problems](err); ok {
		for _, p := range ps {
			out = append(out, Finding{Rule: ruleTest, Level: "error", File: p.File, Line: p.Line, Column: 1, Msg: p.Msg, Hint: p.Hint})
		}
		return out
	}
	if err != nil {
		out = append(out, Finding{Rule: ruleInvalid, Level: "error", Msg: err.Error()})
	}
	return out
}
