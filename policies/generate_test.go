package policies

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/gatewright/gatewright/policies/cedartest"
)

// generatedRequests is how many generated requests a test asks in CI, and requestsPerCase how many of each world. Outside CI it
// is a fifth; GATEWRIGHT_REQUESTS asks for another number.
const (
	generatedRequests = 100_000
	requestsPerCase   = 20
)

// tally counts the answers to generated requests.
type tally struct{ requests, gateway, allowed, failed, closed, candidates, policies int }

// The index, the guards and the two groups give what plain cedar-go gives with every policy before it: on policies as a
// gateway has them, and on others.
func TestGeneratedRequestsThroughTheIndex(t *testing.T) {
	n := generatedRequests
	switch {
	case testing.Short():
		n /= 50
	case os.Getenv("CI") != "true":
		n /= 5
	}
	if s := os.Getenv("GATEWRIGHT_REQUESTS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("GATEWRIGHT_REQUESTS: %v", err)
		}
	}
	var sum tally
	for i := range (n + requestsPerCase - 1) / requestsPerCase {
		c := cedartest.Generate(cedartest.NewSource(1, uint64(i)), requestsPerCase)
		if err := sum.judge(&c); err != nil {
			t.Fatalf("case %d: %v", i, err)
		}
	}
	t.Logf("%+v", sum)
	for what, share := range map[string]int{
		"gateway": 100 * sum.gateway / sum.requests, "allowed": 100 * sum.allowed / sum.requests, "failed": 100 * sum.failed / sum.requests,
		"closed": 200 * sum.closed / sum.requests, "left out": 100 - 100*sum.candidates/sum.policies,
	} {
		if share < 5 || share > 95 {
			t.Errorf("lopsided: %s is %d %%", what, share)
		}
	}
}

// judge asks the requests of a case both ways.
func (n *tally) judge(c *cedartest.Case) error {
	w, err := newWorld(c.Policies, c.Entities)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, c.Policies)
	}
	for _, q := range c.Requests {
		want := w.scan(q)
		plain, engine, candidates := w.ask(q)
		closed := w.closed(want)
		if !plain.equal(want) || !engine.equal(closed) {
			return fmt.Errorf("%+v and %+v, want %+v and %+v\n%+v\n%s", plain, engine, want, closed, q, c.Policies)
		}
		n.requests++
		n.candidates += candidates
		n.policies += len(w.engine.rules)
		for flag, into := range map[*int]bool{&n.gateway: c.Gateway, &n.allowed: plain.allowed, &n.failed: len(plain.errors) > 0, &n.closed: !plain.equal(engine)} {
			if into {
				*flag++
			}
		}
	}
	return nil
}

// FuzzGenerated lets the fuzzer choose what is written.
func FuzzGenerated(f *testing.F) {
	for i := range byte(8) {
		f.Add([]byte{i, i * 31, i * 7, 200, 100, 50, i})
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := cedartest.Generate(cedartest.FromBytes(data), 4)
		var sum tally
		if err := sum.judge(&c); err != nil {
			t.Fatal(err)
		}
	})
}
