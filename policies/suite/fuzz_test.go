package suite_test

import (
	"testing"
	"testing/fstest"

	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/suite"
)

// FuzzRun feeds test files to the runner. Whatever they say, each case that runs has an outcome.
func FuzzRun(f *testing.F) {
	f.Add(cases)
	f.Add("-- principal a --\n{}\n-- case x --\n{\"principal\": \"a\", \"action\": \"list_tools\", \"want\": \"deny\"}")
	f.Add("-- tools --\n[{\"server\": \"\\u0000\"}]\n-- case --\n--  --\n")
	f.Fuzz(func(t *testing.T, text string) {
		b, err := policies.LoadBundle(fstest.MapFS{"p.cedar": {Data: []byte("permit (principal, action, resource);")}, "tests/a.txtar": {Data: []byte(text)}})
		if err != nil {
			return
		}
		r, err := suite.Run(t.Context(), b, suite.Options{})
		if err != nil {
			return
		}
		for i := range r.Results {
			if x := &r.Results[i]; x.Got == "" || x.Case.Name == "" || x.Case.Line < 1 {
				t.Fatalf("%+v", x)
			}
		}
	})
}
