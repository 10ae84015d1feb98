package suite

import (
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/policies"
)

// marks say what a condition came to.
var marks = map[policies.Value]string{policies.Holds: "+", policies.Fails: "-", policies.Broken: "!", policies.Unknown: "?"}

// Lines tells an explanation to people: first what decided, then every policy whose scope fits, each with its conditions.
// "+" holds, "-" fails, "!" could not be evaluated; in brackets is what was not reached, and counts for nothing.
func Lines(x *policies.Explanation) string {
	var b strings.Builder
	for _, e := range x.Decision.Errors() {
		fmt.Fprintf(&b, "error: %s\n", e)
	}
	for _, applies := range []bool{true, false} {
		for i := range x.Reasons {
			if r := &x.Reasons[i]; (r.Value != policies.Fails) == applies {
				lines(&b, r)
			}
		}
	}
	if len(x.Reasons) == 0 {
		b.WriteString("no policy is about this\n")
	}
	for i, n := range x.Nearest {
		if i == 0 {
			b.WriteString("nearest to permitting it:\n")
		}
		fmt.Fprintf(&b, "  %s\n", n)
	}
	return b.String()
}

func lines(b *strings.Builder, r *policies.Reason) {
	verdict := map[policies.Value]string{policies.Holds: "applies", policies.Fails: "does not apply", policies.Broken: "cannot be evaluated"}[r.Value]
	fmt.Fprintf(b, "%s %s %s\n", effect(r), r.Policy, verdict)
	if why := r.Annotations["reason"]; why != "" && r.Value == policies.Holds {
		fmt.Fprintf(b, "    %s\n", why)
	}
	for _, c := range r.Conditions {
		text := strings.Join(strings.Fields(c.Text), " ")
		if c.Unless {
			text = "unless " + text
		}
		if mark := marks[c.Value]; c.Reached {
			fmt.Fprintf(b, "  %s %d:%d  %s", mark, c.Line, c.Column, text)
		} else {
			fmt.Fprintf(b, " (%s) %d:%d  %s", mark, c.Line, c.Column, text)
		}
		if c.Error != "" {
			fmt.Fprintf(b, "  (%s)", c.Error)
		}
		b.WriteByte('\n')
	}
}
