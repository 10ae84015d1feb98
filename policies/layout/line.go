package layout

import "strings"

// Line gives a piece of Cedar text on one line: what stands between two tokens becomes one space, comments are left out, and
// strings stay as they are. A text that is no Cedar comes back as it is.
func Line(text string) string {
	tokens, err := Scan(text)
	if err != nil {
		return text
	}
	var b strings.Builder
	end := 0
	for _, t := range tokens {
		if t.Kind == Comment {
			continue
		}
		if b.Len() > 0 && t.Offset > end {
			b.WriteByte(' ')
		}
		b.WriteString(t.Text)
		end = t.Offset + len(t.Text)
	}
	return b.String()
}
