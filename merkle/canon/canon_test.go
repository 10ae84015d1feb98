package canon_test

import (
	"testing"

	"github.com/gatewright/gatewright/merkle/canon"
)

func TestSmallDocuments(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{"b":1.0,"a":[1e2,-0,"\u0061\/"]}`, `{"a":[100,0,"a/"],"b":1}`},
	} {
		got, err := canon.AppendCanonical(nil, []byte(c.in), canon.DefaultLimits())
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, %v", c.in, got, err)
		}
	}
}
