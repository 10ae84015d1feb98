package suite

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/gatewright/gatewright/policies"
)

// marks say what a condition came to.
var marks = map[policies.Value]string{policies.Holds: "+", policies.Fails: "-", policies.Broken: "!", policies.Unknown: "?"}

// Legend says how to read Lines.
const Legend = `"+" holds, "-" fails, "!" could not be evaluated; (in brackets) was not reached, and counts for nothing`

// Lines tells an explanation to people: first what decided, then every policy whose scope fits, each with its conditions, as
// Legend says. Nothing that a policy or a call says can begin a line of its own.
func Lines(x *policies.Explanation) string {
	var b strings.Builder
	for _, e := range x.Decision.Errors() {
		fmt.Fprintf(&b, "error: %s\n", plain(e))
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
		fmt.Fprintf(&b, "  %s\n", plain(n))
	}
	return b.String()
}

// verdict says what became of a policy.
func verdict(r *policies.Reason) string {
	switch {
	case r.Shadow && r.Value == policies.Holds:
		return "would apply, and is only in shadow"
	case r.Approved:
		return "applies, and is approved"
	case r.Value == policies.Holds:
		return "applies"
	case r.Value == policies.Broken:
		return "cannot be evaluated"
	}
	return "does not apply"
}

func lines(b *strings.Builder, r *policies.Reason) {
	fmt.Fprintf(b, "%s %s %s\n", effect(r), plain(r.Policy), verdict(r))
	if why := r.Annotations["reason"]; why != "" && r.Value == policies.Holds {
		fmt.Fprintf(b, "    %s\n", plain(why))
	}
	for _, c := range r.Conditions {
		if mark := marks[c.Value]; c.Reached {
			fmt.Fprintf(b, "  %s %d:%d  %s", mark, c.Line, c.Column, said(c.Condition))
		} else {
			fmt.Fprintf(b, " (%s) %d:%d  %s", mark, c.Line, c.Column, said(c.Condition))
		}
		if c.Error != "" {
			fmt.Fprintf(b, "  (%s)", plain(c.Error))
		}
		b.WriteByte('\n')
	}
}

// plain makes line feeds and other control characters visible.
func plain(s string) string {
	if !strings.ContainsFunc(s, unicode.IsControl) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsControl(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
