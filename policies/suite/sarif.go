package suite

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"
)

// The rules of findings that this package makes. Those of policies/lint have names of their own.
const (
	ruleInvalid  = "policy-invalid"
	ruleTest     = "policy-test"
	ruleCoverage = "policy-coverage"
)

var ruleTexts = map[string]string{
	ruleInvalid:  "A bundle that does not compile",
	ruleTest:     "A policy test that fails, or cannot be read",
	ruleCoverage: "What no policy test meets",
}

// Finding is one thing to be shown at a place of a file.
type Finding struct {
	Rule         string // short name of its kind
	Level        string // error, warning or note
	File         string // "" when it is about the whole bundle
	Line, Column int    // from 1; 0: the whole file
	Msg          string
	Hint         string // what to do, if that can be said
}

// String gives "file:line:column: level: message (hint) [rule]".
func (f *Finding) String() string {
	s := f.Level + ": " + f.Msg
	if f.File != "" {
		at := f.File
		if f.Line > 0 {
			at = fmt.Sprintf("%s:%d:%d", at, f.Line, max(1, f.Column))
		}
		s = at + ": " + s
	}
	if f.Hint != "" {
		s += " (" + f.Hint + ")"
	}
	return plain(s + " [" + f.Rule + "]")
}

// Findings are the cases that failed, and what no case met.
func (r *Report) Findings() []Finding {
	var out []Finding
	for i := range r.Results {
		if x := &r.Results[i]; x.Why != nil {
			out = append(out, Finding{Rule: ruleTest, Level: "error", File: x.Case.File, Line: x.Case.Line, Column: 1, Msg: fmt.Sprintf("case %q: %v", x.Case.Name, x.Why)})
		}
	}
	for _, m := range r.Coverage.Missing() {
		out = append(out, Finding{Rule: ruleCoverage, Level: "note", File: m.File, Line: m.Line, Column: m.Column, Msg: fmt.Sprintf("policy %s: %s", m.Policy, m.What)})
	}
	return out
}

type object = map[string]any

// SARIF writes findings in SARIF 2.1.0, which code review shows in place. Files are named from the bundle's folder on, below
// the prefix; texts says of rules of other packages what they are about.
func SARIF(w io.Writer, prefix string, findings []Finding, texts map[string]string) error {
	results, rules, known := []object{}, []object{}, []string{}
	for _, f := range findings {
		text := f.Msg
		if f.Hint != "" {
			text += " (" + f.Hint + ")"
		}
		r := object{"ruleId": f.Rule, "level": f.Level, "message": object{"text": text}}
		if f.File != "" {
			r["locations"] = []object{{"physicalLocation": location(prefix, &f)}}
		}
		results = append(results, r)
		known = append(known, f.Rule)
	}
	slices.Sort(known)
	for _, id := range slices.Compact(known) {
		text := ruleTexts[id]
		if text == "" {
			text = texts[id]
		}
		rules = append(rules, object{"id": id, "shortDescription": object{"text": text}})
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

func location(prefix string, f *Finding) object {
	place := object{"artifactLocation": object{"uri": uri(prefix + f.File)}}
	if f.Line > 0 {
		place["region"] = object{"startLine": f.Line, "startColumn": max(1, f.Column)}
	}
	return place
}

// uri names a file as a URI, relative unless the path is absolute.
func uri(name string) string {
	u := url.URL{Path: name}
	if path.IsAbs(name) {
		u.Scheme = "file"
	}
	return u.String()
}
