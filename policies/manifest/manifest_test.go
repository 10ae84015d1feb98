package manifest_test

import (
	"strings"
	"testing"

	"github.com/gatewright/gatewright/policies/manifest"
)

const digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func TestAManifestWithAllItsSections(t *testing.T) {
	m, err := manifest.Parse([]byte(`{"format":1,"name":"acme","description":"d","version":7,"filters":[{"name":"b","digest":"` + digest + `"},{"name":"a","digest":"` + digest + `"}],
		"pins":{"files/read":"` + digest + `"},"connectors":[{"name":"github","digest":"` + digest + `"}],"templates":["templates/a.cedar"]}`))
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "acme" || m.Version != 7 || m.Filters[0].Name != "b" || m.Pins["files/read"] != digest || len(m.Templates) != 1 {
		t.Errorf("%+v", m)
	}
	if !strings.HasPrefix(string(m.Section("filters")), `[{"name":"b"`) || m.Section("nothing") != nil {
		t.Errorf("section %s", m.Section("filters"))
	}
}

func TestManifestsThatSayMoreOrLessThanTheyMayAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"unknown member":     `{"format":1,"filter":[]}`,
		"another case":       `{"format":1,"Pins":{}}`,
		"twice":              `{"format":1,"name":"a","name":"b"}`,
		"no format":          `{"name":"a"}`,
		"newer format":       `{"format":2}`,
		"a list":             `[]`,
		"null":               `null`,
		"behind it":          `{"format":1}{}`,
		"name of two lines":  `{"format":1,"name":"a\nb"}`,
		"name with blanks":   `{"format":1,"name":" a"}`,
		"long name":          `{"format":1,"name":"` + strings.Repeat("a", 129) + `"}`,
		"negative version":   `{"format":1,"version":-1}`,
		"huge version":       `{"format":1,"version":9007199254740993}`,
		"filter undigested":  `{"format":1,"filters":[{"name":"a"}]}`,
		"filter in capitals": `{"format":1,"filters":[{"name":"a","digest":"` + strings.ToUpper(digest) + `"}]}`,
		"filter twice":       `{"format":1,"filters":[{"name":"a","digest":"` + digest + `"},{"name":"a","digest":"` + digest + `"}]}`,
		"filter with more":   `{"format":1,"filters":[{"name":"a","digest":"` + digest + `","x":1}]}`,
		"filter, other case": `{"format":1,"filters":[{"name":"a","Name":"b","digest":"` + digest + `"}]}`,
		"connector unnamed":  `{"format":1,"connectors":[{"digest":"` + digest + `"}]}`,
		"pin of no tool":     `{"format":1,"pins":{"files":"` + digest + `"}}`,
		"pin of a word":      `{"format":1,"pins":{"files/read":"x"}}`,
	} {
		if m, err := manifest.Parse([]byte(text)); err == nil {
			t.Errorf("%s: %+v", name, m)
		}
	}
}
