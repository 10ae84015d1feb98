package template_test

import (
	"strings"
	"testing"

	"github.com/gatewright/gatewright/policies/template"
)

const team = `// Teams read.
@id("team")
@reason("?principal is text here; so is \" ?resource")
permit (principal in ?principal, action, resource == ?resource) // a comment; with ?principal
when { context.input.q == "?principal;" };
`

func expand(text, links string) ([]template.Policy, error) {
	return template.Expand([]template.Source{{Name: "templates/a.cedar", Text: text}}, "templates/links.json", []byte(links))
}

func TestALinkFillsTheSlotsAndKeepsTheLine(t *testing.T) {
	got, err := expand(team, `[
		{"templateId":"team","newId":"ada","values":{"?principal":"Team::\"a\"","?resource":{"__entity":{"type":"N::Tool","id":"x\") permit \\ é"}}}},
		{"templateId":"team","newId":"q\"uote","values":{"?principal":{"type":"Team","id":"b"},"?resource":"Tool::\"y\""}}]`)
	if err != nil || len(got) != 2 {
		t.Fatalf("%v %v", got, err)
	}
	want := `@id("ada")
@reason("?principal is text here; so is \" ?resource")
permit (principal in Team::"a", action, resource == N::Tool::"x\u{22}) permit \u{5c} \u{e9}") // a comment; with ?principal
when { context.input.q == "?principal;" };`
	if got[0].Text != want || got[0].Line != 2 || got[0].File != "templates/a.cedar" {
		t.Errorf("%+v", got[0])
	}
	if !strings.HasPrefix(got[1].Text, `@id("q\u{22}uote")`) {
		t.Errorf("%s", got[1].Text)
	}
}

func TestTemplatesThatCannotBeFilledAreRefused(t *testing.T) {
	const both = `{"?principal":"Team::\"a\"","?resource":"Tool::\"y\""}`
	for name, c := range map[string]struct{ text, links, says string }{
		"slot not filled":    {team, `[{"templateId":"team","newId":"a","values":{"?principal":"Team::\"a\""}}]`, "links.json: link \"a\": the slot ?resource is not filled"},
		"slot unknown":       {team, `[{"templateId":"team","newId":"a","values":{"?principal":"Team::\"a\"","?resource":"A::\"b\"","?action":"A::\"b\""}}]`, "no slot"},
		"template unknown":   {team, `[{"templateId":"teem","newId":"a","values":` + both + `}]`, "no template"},
		"member unknown":     {team, `[{"templateId":"team","newId":"a","value":` + both + `}]`, "unknown field"},
		"member twice":       {team, `[{"templateId":"team","newId":"a","newId":"b","values":` + both + `}]`, "links.json"},
		"member in capitals": {team, `[{"templateId":"team","newId":"a","values":` + both + `,"Values":{"?principal":"Organization::\"acme\""}}]`, "no member"},
		"entity in capitals": {team, `[{"templateId":"team","newId":"a","values":{"?principal":{"type":"T","id":"x","Id":"y"},"?resource":"A::\"b\""}}]`, "no member"},
		"inner in capitals":  {team, `[{"templateId":"team","newId":"a","values":{"?principal":{"__entity":{"type":"T","id":"x","ID":"y"}},"?resource":"A::\"b\""}}]`, "no member"},
		"no id":              {team, `[{"templateId":"team","values":` + both + `}]`, "without templateId or newId"},
		"no list":            {team, `{"templateId":"team"}`, "links.json"},
		"escape in text":     {team, `[{"templateId":"team","newId":"a","values":{"?principal":"Team::\"a\\\" || true\"","?resource":"A::\"b\""}}]`, "want Type"},
		"type no name":       {team, `[{"templateId":"team","newId":"a","values":{"?principal":{"type":"Team, action) permit","id":"x"},"?resource":"A::\"b\""}}]`, "the name of a type"},
		"entity twice":       {team, `[{"templateId":"team","newId":"a","values":{"?principal":{"type":"T","id":"x","__entity":{"type":"T","id":"y"}},"?resource":"A::\"b\""}}]`, "given twice"},
		"no @id":             {`permit (principal == ?principal, action, resource);`, ``, "a.cedar:1: a template without @id"},
		"two @id":            {`@id("a") @id("b") permit (principal == ?principal, action, resource);`, ``, "there are two"},
		"no slot":            {"\n" + `@id("a") permit (principal, action, resource);`, ``, "a.cedar:2: template \"a\" has no slot"},
		"slot in condition":  {`@id("a") permit (principal == ?principal, action, resource) when { principal == ?principal };`, ``, "stands in a condition"},
		"strange slot":       {`@id("a") permit (principal == ?princ, action, resource);`, ``, "is no slot"},
		"no end":             {`@id("a") permit (principal == ?principal, action, resource)`, ``, "does not end"},
		"no policy":          {`hello`, ``, "where permit or forbid belongs"},
		"id taken":           {`@id("a") permit (principal == ?principal, action, resource); @id("a") forbid (principal == ?principal, action, resource);`, ``, "is taken by"},
	} {
		if got, err := expand(c.text, c.links); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
}

func FuzzExpand(f *testing.F) {
	f.Add(team, `[{"templateId":"team","newId":"a","values":{"?principal":"T::\"a\"","?resource":"T::\"b\""}}]`)
	f.Fuzz(func(t *testing.T, text, links string) {
		list, err := expand(text, links)
		if err == nil {
			for _, p := range list {
				if p.Line < 1 || !strings.HasSuffix(p.Text, ";") {
					t.Errorf("%+v", p)
				}
			}
		}
	})
}
