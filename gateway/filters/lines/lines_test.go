package lines

import (
	"strings"
	"testing"
	"time"
)

// TestLineIsBounded: also where every byte is quoted.
func TestLineIsBounded(t *testing.T) {
	b := New(1)
	b.Add("a", "f", 1, 1, strings.Repeat("\x01", 2000), time.Time{})
	if n := len(b.Last("a", "f", 1)[0].Text); n > 1024 || n < 1000 {
		t.Errorf("a line of %d bytes", n)
	}
}
