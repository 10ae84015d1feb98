package lines

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestLineIsBounded: also where every byte is quoted.
func TestLineIsBounded(t *testing.T) {
	b := New(1, 1)
	b.Add("a", "f", 1, 1, strings.Repeat("\x01", 2000), time.Time{})
	if n := len(b.Last("a", "f", 1)[0].Text); n > 1024 || n < 1000 {
		t.Errorf("a line of %d bytes", n)
	}
}

// TestNobodyTakesTheLinesOfOthers: one tenant's names, however many, push out its own alone, the longest silent first.
func TestNobodyTakesTheLinesOfOthers(t *testing.T) {
	b := New(2, 3)
	say := func(tenant, name string) { b.Add(tenant, name, 1, 1, "hello", time.Time{}) }
	say("a", "kept")
	for n := range 5000 {
		say("b", fmt.Sprint("f", n))
		say("b", "busy")
	}
	say("c", "late")
	for _, c := range []struct {
		tenant, name string
		want         int
	}{{"a", "kept", 1}, {"c", "late", 1}, {"b", "busy", 2}, {"b", "f4999", 1}, {"b", "f4998", 1}, {"b", "f4997", 0}, {"b", "kept", 0}} {
		if got := b.Last(c.tenant, c.name, 9); len(got) != c.want {
			t.Errorf("%s of %s: %d lines, want %d", c.name, c.tenant, len(got), c.want)
		}
	}
	b.Forget("a", "kept")
	b.Forget("nobody", "kept")
	if got := b.Last("a", "kept", 9); got != nil || len(b.rings) != 2 {
		t.Errorf("%v is left, of %d tenants", got, len(b.rings))
	}
}
