package intent

import (
	"fmt"
	"regexp"
	"regexp/syntax"
)

// Bounds of regular expressions. RE2 matching costs program size times value length, so both have a
// bound, and so has their sum over a plan, because a held plan keeps its programs in memory.
const (
	maxPattern      = 512  // bytes of a pattern's text
	maxPatternCost  = 1024 // instructions of one program; [a-z]{1,200} costs 400
	maxPatternsCost = 8192 // instructions of all programs of one plan, about 1 MB
	maxPatternValue = 4096 // bytes of a string a pattern is matched against, and of a prefix
)

// pattern is a compiled RE2 with its cost in instructions.
type pattern struct {
	re   *regexp.Regexp
	cost int
}

// patterns compiles each distinct pattern of a plan once and keeps the sum of their costs.
type patterns struct {
	seen map[string]*pattern
	cost int
}

func newPatterns() *patterns { return &patterns{seen: make(map[string]*pattern)} }

// compile returns the program of text; whole makes it match the whole string or not at all.
func (p *patterns) compile(text, at string, whole bool) (*pattern, error) {
	if len(text) > maxPattern {
		return nil, invalid(at, fmt.Sprintf("pattern longer than %d bytes", maxPattern), "")
	}
	key := text
	if whole {
		key = `\A(?:` + text + `)\z`
	}
	if have, ok := p.seen[key]; ok {
		return have, nil
	}
	// Parsing text alone first: "a)|(b" would otherwise be valid only inside the wrapping.
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, invalid(at, "pattern is not RE2: "+err.Error(), "look-around and back-references do not exist there")
	}
	cost := patternCost(parsed)
	if cost > maxPatternCost || p.cost+cost > maxPatternsCost {
		return nil, invalid(at, "pattern too large once its repetitions are expanded", "use smaller repetitions, or fewer different patterns in one plan")
	}
	re, err := regexp.Compile(key)
	if err != nil {
		return nil, invalid(at, "pattern is not RE2: "+err.Error(), "")
	}
	p.cost += cost
	made := &pattern{re: re, cost: cost + 1}
	p.seen[key] = made
	return made, nil
}

// PatternCost estimates how many instructions an RE2 pattern compiles to, without compiling it: a short pattern can be
// an enormous program. The error says why text is not RE2.
func PatternCost(text string) (int, error) {
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return 0, fmt.Errorf("parse pattern: %w", err)
	}
	return patternCost(parsed), nil
}

// patternCost estimates a program's instructions before repetitions are expanded, which is what
// makes a short pattern large. It saturates, and syntax.Parse bounds the depth of its recursion.
func patternCost(re *syntax.Regexp) int {
	const enough = 1 << 20
	n := 1
	for _, sub := range re.Sub {
		n = min(n+patternCost(sub), enough)
	}
	switch re.Op {
	case syntax.OpLiteral, syntax.OpCharClass:
		n += len(re.Rune) / 4
		if re.Op == syntax.OpLiteral {
			n += len(re.Rune)
		}
	case syntax.OpRepeat:
		n = min(n*max(re.Min, re.Max, 1), enough)
	default:
	}
	return n
}
