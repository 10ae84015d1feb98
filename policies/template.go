package policies

import (
	"errors"
	"strings"

	"github.com/gatewright/gatewright/policies/template"
)

// Templates stand in a folder of their own, and become policies by the links beside them: where both are in a bundle.
const (
	TemplateFolder = "templates/"
	LinksFile      = TemplateFolder + "links.json"
)

// isTemplate tells a file of templates from one of policies.
func isTemplate(name string) bool {
	return strings.HasPrefix(name, TemplateFolder) && strings.HasSuffix(name, ".cedar")
}

// parseTemplates makes the policies that the links ask for. Each stands on its template's line.
func parseTemplates(b *Bundle) (rules []*rule, problems Problems) {
	var files []template.Source
	for _, name := range b.names {
		if !isTemplate(name) {
			continue
		}
		text := string(b.files[name])
		if p := checkText(name, text); p != nil {
			return nil, Problems{*p}
		}
		files = append(files, template.Source{Name: name, Text: text})
	}
	list, err := template.Expand(files, LinksFile, b.files[LinksFile])
	if e, ok := errors.AsType[*template.Error](err); ok {
		p := Problem{File: e.File, Line: e.Line, Msg: e.Msg, Hint: e.Hint}
		if p.Line > 0 {
			p.Column = 1
		}
		return nil, Problems{p}
	} else if err != nil {
		return nil, Problems{{File: LinksFile, Msg: err.Error()}}
	}
	for _, t := range list {
		found, ps := parseChecked(t.File, t.Text, t.Line)
		rules, problems = append(rules, found...), append(problems, ps...)
	}
	return rules, problems
}
