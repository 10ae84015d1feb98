package canon_test

import (
	"testing"

	"github.com/gatewright/gatewright/merkle/canon"
)

// What a walk has passed since a place is the raw text of the values between, whether it stepped over them or through them.
func TestFromGivesWhatWasPassed(t *testing.T) {
	doc := []byte(" { \"a\" : { \"b\" : [ 1 , { } ] , \"c\":\"}\" } \t,\n\"d\" : 7 } ")
	if err := canon.Check(doc, canon.DefaultLimits()); err != nil {
		t.Fatal(err)
	}
	for _, through := range []bool{false, true} {
		var got []string
		c := canon.NewCursor(doc)
		whole := c
		for more := c.Enter(); more; more = c.More() {
			c.Key()
			place := c
			if through && c.Kind() == '{' {
				for more := c.Enter(); more; more = c.More() {
					c.Key()
					c.Value()
				}
			} else {
				c.Value()
			}
			got = append(got, string(c.From(place)))
		}
		if c.Broken() || len(got) != 2 || got[0] != `{ "b" : [ 1 , { } ] , "c":"}" }` || got[1] != "7" {
			t.Errorf("through %v: %q", through, got)
		}
		if all := string(c.From(whole)); all != string(doc[1:len(doc)-1]) {
			t.Errorf("the whole: %q", all)
		}
		if back := whole.From(c); len(back) != 0 {
			t.Errorf("backwards: %q", back)
		}
	}
}
