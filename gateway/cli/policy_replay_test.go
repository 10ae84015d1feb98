package cli

import (
	"bytes"
	"testing"
	"time"
)

func TestProgressSaysTheShareAndTheRate(t *testing.T) {
	for want, line := range map[string]string{
		"250000 of 1000000 compared (25 %), 50000 a second, 15 s left": progressLine(250_000, 1_000_000, 50_000),
		"7 compared, 2 a second": progressLine(7, 0, 2),
		"9 compared, 2 a second": progressLine(9, 8, 2), // records came meanwhile
		"0 compared, 0 a second": progressLine(0, 8, 0),
	} {
		if line != want {
			t.Errorf("%q, want %q", line, want)
		}
	}
	var out bytes.Buffer
	p := &progress{w: &out}
	p.tell(10, 100)
	p.end()
	if out.Len() > 0 {
		t.Errorf("told at once: %q", &out)
	}
	p.began = time.Now().Add(-2 * time.Second)
	p.tell(50, 100)
	p.end()
	if got := out.Bytes(); len(got) != progressWidth+2 || got[0] != '\r' || !bytes.HasPrefix(got[1:], []byte("50 of 100 compared (50 %), ")) || got[len(got)-1] != '\n' {
		t.Errorf("%q", got)
	}
}
