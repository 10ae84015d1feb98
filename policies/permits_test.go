package policies_test

import (
	"testing"
	"testing/fstest"

	"github.com/gatewright/gatewright/policies"
)

func TestABundleOfForbidsAlonePermitsNothing(t *testing.T) {
	for text, want := range map[string]bool{
		"@id(\"a\") forbid (principal, action, resource);":                                                   false,
		"@id(\"a\") forbid (principal, action, resource);\n@id(\"b\") permit (principal, action, resource);": true,
	} {
		b, err := policies.LoadBundle(fstest.MapFS{"a.cedar": {Data: []byte(text)}})
		if err != nil {
			t.Fatal(err)
		}
		e, err := policies.Compile(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		if e.Permits() != want {
			t.Errorf("%s: permits %t", text, !want)
		}
	}
}
