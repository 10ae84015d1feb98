package pins

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Difference is how one pinned member differs. Text is one line for each line of both: "  " before what stays, "- " before
// what went, "+ " before what came; all characters show. A schema is laid out before it is compared.
type Difference struct {
	Member string `json:"member"`
	Change string `json:"change"` // added, removed or changed
	Text   string `json:"text"`
}

// Diff compares two canonical definitions, member by member. from may be nil: then everything is new.
func Diff(from, to []byte) []Difference {
	out := []Difference{}
	for _, name := range Members() {
		old, had := get(from, name)
		now, has := get(to, name)
		switch {
		case had && has && bytes.Equal(old, now), !had && !has:
			continue
		case !had:
			out = append(out, Difference{name, "added", compare(nil, layout(now))})
		case !has:
			out = append(out, Difference{name, "removed", compare(layout(old), nil)})
		default:
			out = append(out, Difference{name, "changed", compare(layout(old), layout(now))})
		}
	}
	return out
}

func get(object []byte, name string) ([]byte, bool) {
	if object == nil {
		return nil, false
	}
	return canon.Get(object, name)
}

// layout puts a value into lines that people read.
func layout(v []byte) []string {
	text := ""
	if s, err := canon.Unquote(v); canon.KindOf(v) == '"' && err == nil {
		text = strings.ReplaceAll(s, "\r", "\\r") // a line end of one kind only
	} else {
		var b bytes.Buffer
		if json.Indent(&b, v, "", "  ") != nil {
			return []string{string(v)}
		}
		text = b.String()
	}
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = Visible(lines[i])
	}
	return lines
}

// Bounds of a comparison: cells of the table that finds what two texts share, and bytes of what is shown.
const (
	maxCells = 4 << 20
	maxText  = 256 << 10
)

// compare is the shortest row of lines that went and came, with the ends that both share set aside first.
func compare(old, now []string) string {
	head := 0
	for head < len(old) && head < len(now) && old[head] == now[head] {
		head++
	}
	tail := 0
	for tail < len(old)-head && tail < len(now)-head && old[len(old)-1-tail] == now[len(now)-1-tail] {
		tail++
	}
	var b strings.Builder
	write := func(mark string, lines []string) {
		for _, l := range lines {
			if b.Len() < maxText {
				b.WriteString(mark + clip(l, maxText) + "\n")
			}
		}
	}
	write("  ", old[:head])
	between(old[head:len(old)-tail], now[head:len(now)-tail], write)
	write("  ", old[len(old)-tail:])
	if b.Len() >= maxText {
		b.WriteString("... cut: the rest is too long to be shown\n")
	}
	return b.String()
}

func between(old, now []string, write func(mark string, lines []string)) {
	if len(old)*len(now) > maxCells {
		write("- ", old)
		write("+ ", now)
		return
	}
	shared := longest(old, now)
	i, j := 0, 0
	for i < len(old) || j < len(now) {
		switch {
		case i < len(old) && j < len(now) && old[i] == now[j]:
			write("  ", old[i:i+1])
			i, j = i+1, j+1
		case j == len(now) || i < len(old) && shared(i+1, j) >= shared(i, j+1):
			write("- ", old[i:i+1])
			i++
		default:
			write("+ ", now[j:j+1])
			j++
		}
	}
}

// longest tells how many lines the rests from i and j on share at most.
func longest(old, now []string) func(i, j int) int32 {
	width := len(now) + 1
	table := make([]int32, (len(old)+1)*width)
	for i, before := range slices.Backward(old) {
		for j, after := range slices.Backward(now) {
			if before == after {
				table[i*width+j] = table[(i+1)*width+j+1] + 1
			} else {
				table[i*width+j] = max(table[(i+1)*width+j], table[i*width+j+1])
			}
		}
	}
	return func(i, j int) int32 { return table[i*width+j] }
}
