package policies

import (
	"fmt"
	"slices"
	"strings"
)

// maxProblems bounds what one failed Compile reports: enough to fix a file in one go, little enough to read.
const maxProblems = 50

// maxFound is where the search for problems ends: who has so many mends some and comes back.
const maxFound = 100

// Problem is one reason why a bundle does not compile, at its place.
type Problem struct {
	File   string
	Line   int // from 1; 0 when the problem belongs to the whole file
	Column int // from 1, in characters
	Policy string
	Msg    string
	Hint   string
}

// Error gives "file:line:column: message (hint)".
func (p Problem) Error() string {
	var s strings.Builder
	s.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&s, ":%d:%d", p.Line, p.Column)
	}
	s.WriteString(": ")
	if p.Policy != "" {
		fmt.Fprintf(&s, "policy %s: ", p.Policy)
	}
	s.WriteString(p.Msg)
	if p.Hint != "" {
		fmt.Fprintf(&s, " (%s)", p.Hint)
	}
	return s.String()
}

// Problems is every reason found, in the order of the files.
type Problems []Problem

// Error gives one problem a line.
func (ps Problems) Error() string {
	lines := make([]string, 0, len(ps)+1)
	for i, p := range ps {
		if i == maxProblems {
			lines = append(lines, fmt.Sprintf("... and %d more", len(ps)-maxProblems))
			break
		}
		lines = append(lines, p.Error())
	}
	return strings.Join(lines, "\n")
}

// bounded cuts problems at maxFound and says so.
func (ps Problems) bounded() Problems {
	if len(ps) <= maxFound {
		return ps
	}
	next := ps[maxFound]
	return append(slices.Clip(ps[:maxFound]), Problem{File: next.File, Line: next.Line, Column: next.Column, Msg: fmt.Sprintf("and more: the check ended after %d problems", maxFound), Hint: "mend those before first"})
}

// closest returns the candidate nearest to word, or "" when none is near enough to be a slip of the fingers.
func closest(word string, candidates []string) string {
	best, limit := "", max(1, len(word)/3)+1
	if len(word) > 64 {
		return ""
	}
	for _, c := range candidates {
		if len(c) > 64 || c == word {
			continue
		}
		if d := distance(word, c); d < limit {
			best, limit = c, d
		}
	}
	return best
}

// distance is Levenshtein's, over bytes, with a swap of neighbors counted as one.
func distance(a, b string) int {
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
