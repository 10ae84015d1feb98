package policies

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/gatewright/gatewright/policies/quick"
)

// Bounds of policy text. cedar-go parses and evaluates by recursion; a Go stack that overflows kills the process, so
// nesting and the size of one policy are bounded before it sees the text.
const (
	maxPolicies    = 50_000
	maxPolicyBytes = 64 << 10
	maxNesting     = 64 // open brackets of any kind
)

// rule is one policy of a bundle, parsed, with everything a decision needs to know about it.
type rule struct {
	order  int    // position in the bundle, the order in which decisions list policies
	label  string // "file.cedar:line id"
	single []string
	reason []cedar.DiagnosticReason // itself, as cedar-go gives it
	id     string
	file   string
	line   int
	text   string // source, from its first annotation to its semicolon
	forbid bool
	laid   bool  // of an overlay
	shadow bool  // evaluated beside and never enforced
	hold   *Hold // nil unless the policy has @hold
	rate   *Rate // nil unless the policy has @rate

	full  variant  // for a call whose arguments are known
	maybe *variant // for a list, arguments unknown; nil when it cannot matter then

	partsOnce sync.Once
	parts     []condition // see conditions

	sureOnce sync.Once
	sure     *variant // for Outlook: without what a later call may bring; nil if it then never matches
}

// variant is a policy in a form that can be evaluated, with what its conditions read from the context.
type variant struct {
	policy *cedar.Policy
	guard  *cedar.Policy
	reads  reads
	cost   extent // the most that it takes

	program *quick.Program // nil if it is not of the common kind

	run      *cedar.Policy // of an overlay: policy, with patterns over arguments looked up
	searches []search
}

func newVariant(p *cedar.Policy) variant {
	tree := (*ast.Policy)(p.AST())
	return variant{policy: p, guard: guardOf(tree), reads: readsOf(tree), cost: costOf(tree), program: quick.Compile(tree.Conditions, places)}
}

func (r *rule) ast() *ast.Policy { return (*ast.Policy)(r.full.policy.AST()) }

func (r *rule) annotations() map[string]string {
	out := map[string]string{}
	for _, a := range r.ast().Annotations {
		out[string(a.Key)] = string(a.Value)
	}
	return out
}

// problem reports msg at the place of word inside the policy, or at its head when word is not found there.
func (r *rule) problem(word, msg, hint string) Problem {
	pos := r.ast().Position
	p := Problem{File: r.file, Line: pos.Line, Column: pos.Column, Policy: r.id, Msg: msg, Hint: hint}
	at := findWord(r.text, word)
	if at < 0 {
		return p
	}
	before := r.text[:at]
	if n := strings.Count(before, "\n"); n > 0 {
		p.Line += n
		p.Column = 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	} else {
		p.Column += utf8.RuneCountInString(before)
	}
	return p
}

// findWord finds the last whole-word occurrence of word: a name that is wrong stands in a condition more often than in
// an annotation above it.
func findWord(text, word string) int {
	if word == "" {
		return -1
	}
	for end := len(text); end > 0; {
		at := strings.LastIndex(text[:end], word)
		if at < 0 {
			return -1
		}
		before, after := byteAt(text, at-1), byteAt(text, at+len(word))
		if !isWordByte(before) && !isWordByte(after) {
			return at
		}
		end = at + len(word) - 1
	}
	return -1
}

func byteAt(s string, i int) byte {
	if i < 0 || i >= len(s) {
		return 0
	}
	return s[i]
}

func isWordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// parseRules parses every policy file of the bundle, in the order of the names.
func parseRules(b *Bundle) ([]*rule, Problems) {
	var rules []*rule
	var problems Problems
	ids, labels := map[string]*rule{}, map[string]bool{}
	take := func(found []*rule, ps Problems) {
		problems = append(problems, ps...)
		for _, r := range found {
			if first, dup := ids[r.id]; dup {
				problems = append(problems, r.problem(r.id, "the id is taken by "+first.label, "ids are unique in a bundle"))
				continue
			}
			if labels[r.label] { // a file's name can look like another's place and id
				problems = append(problems, r.problem("", "decisions could not tell it from another policy", "rename the file "+strconv.Quote(r.file)))
				continue
			}
			ids[r.id], labels[r.label] = r, true
			r.order = len(rules)
			rules = append(rules, r)
		}
	}
	for _, name := range b.names {
		if strings.HasSuffix(name, ".cedar") && !isTemplate(name) {
			take(parseFile(name, string(b.files[name])))
		}
		if len(rules) > maxPolicies || len(problems) > maxFound {
			break
		}
	}
	if len(rules) <= maxPolicies && len(problems) <= maxFound {
		take(parseTemplates(b))
	}
	if len(rules) > maxPolicies {
		return nil, Problems{tooMany(rules[maxPolicies])}
	}
	return rules, problems.bounded()
}

// tooMany refuses the first policy that is one too many.
func tooMany(r *rule) Problem {
	return r.problem("", fmt.Sprintf("the bundle has more than %d policies", maxPolicies),
		"let one policy name a group, a team, a label or a set of tools instead of one policy each")
}

func parseFile(name, text string) (rules []*rule, problems Problems) {
	if p := checkText(name, text); p != nil {
		return nil, Problems{*p}
	}
	return parseChecked(name, text, 1)
}

// parseChecked parses text that begins on a line of the file.
func parseChecked(name, text string, line int) (rules []*rule, problems Problems) {
	list, err := cedar.NewPolicyListFromBytes(name, []byte(text))
	if err != nil {
		p := parseProblem(name, err)
		if p.Line > 0 {
			p.Line += line - 1
		}
		return nil, Problems{p}
	}
	for i, p := range list {
		end := len(text)
		if i+1 < len(list) {
			end = list[i+1].Position().Offset
		}
		source := untilSemicolon(text[p.Position().Offset:end])
		(*ast.Policy)(p.AST()).Position.Line += line - 1
		r := newRule(name, i, p, source)
		problems = append(problems, r.misspelt()...)
		problems = append(problems, r.takeMode()...)
		problems = append(problems, r.takeHold()...)
		problems = append(problems, r.takeRate()...)
		rules = append(rules, r)
	}
	return rules, problems
}

// untilSemicolon cuts off what stands behind a policy, which belongs to the next or to nobody.
func untilSemicolon(text string) string {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = endOfString(text, i)
		case '/':
			i = endOfComment(text, i)
		case ';':
			return text[:i+1]
		}
	}
	return text
}

func newRule(file string, i int, p *cedar.Policy, text string) *rule {
	r := &rule{file: file, line: p.Position().Line, text: text, full: variant{policy: p}}
	r.forbid = p.Effect() == cedar.Forbid
	r.id = r.annotations()["id"]
	if r.id == "" {
		r.id = file + "#" + strconv.Itoa(i)
	}
	r.label = file + ":" + strconv.Itoa(r.line) + " " + r.id
	r.single = []string{r.label}
	r.reason = []cedar.DiagnosticReason{{PolicyID: cedar.PolicyID(r.label), Position: p.Position()}}
	return r
}

// parsePosition finds where cedar-go says that parsing stopped.
var parsePosition = regexp.MustCompile(`<input>:(\d+):(\d+)`)

func parseProblem(file string, err error) Problem {
	p := Problem{File: file, Msg: err.Error()}
	if m := parsePosition.FindStringSubmatch(p.Msg); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		p.Column, _ = strconv.Atoi(m[2])
		p.Msg = strings.TrimSpace(strings.Replace(p.Msg, "at "+m[0], "at", 1))
	}
	p.Hint = "a policy is: @id(\"name\") permit|forbid (principal, action, resource) when { ... };"
	return p
}

// checkText bounds nesting and the size of each policy in one pass that knows strings and comments.
func checkText(name, text string) *Problem {
	if !utf8.ValidString(text) {
		return &Problem{File: name, Msg: "not valid UTF-8"}
	}
	depth, start, line, lineStart := 0, 0, 1, 0
	fail := func(i int, msg string) *Problem {
		return &Problem{File: name, Line: line, Column: 1 + utf8.RuneCountInString(text[lineStart:i]), Msg: msg}
	}
	var row attributes
	for i := 0; i < len(text); i++ {
		if row.next(text[i], byteAt(text, i-1)) > maxChain {
			return fail(i, fmt.Sprintf("more than %d attributes in a row", maxChain))
		}
		switch text[i] {
		case '\n':
			line, lineStart = line+1, i+1
		case '"':
			i = endOfString(text, i)
		case '/':
			if byteAt(text, i+1) == '*' {
				return fail(i, "Cedar has no comments between /* and */").hint("begin each line with //")
			}
			end := endOfComment(text, i)
			if strings.Contains(strings.TrimRight(text[i:end+1], "\r"), "\r") {
				return fail(i, "a carriage return inside a comment, which some readers take for its end").hint("end the line with a line feed")
			}
			i = end
		case '(', '{', '[':
			if depth++; depth > maxNesting {
				return fail(i, fmt.Sprintf("more than %d brackets open at once", maxNesting))
			}
		case ')', '}', ']':
			depth = max(0, depth-1)
		case ';':
			start, depth = i+1, 0
		}
		if i-start > maxPolicyBytes {
			return fail(min(i, len(text)), fmt.Sprintf("one policy is longer than %d bytes", maxPolicyBytes))
		}
	}
	return nil
}

// attributes counts those in a row, as in a.b.c: of x has a.b.c cedar-go makes a tree that grows with the square.
type attributes struct {
	count int
	last  byte // that is neither blank nor of a comment
}

// next takes a byte outside of strings and comments, or their first, and the byte before it.
func (a *attributes) next(c, before byte) int {
	switch {
	case strings.IndexByte(" \t\r\n/", c) >= 0:
		return a.count
	case c == '.':
		a.count++
	case !isWordByte(c) || isWordByte(a.last) && !isWordByte(before):
		a.count = 0
	}
	a.last = c
	return a.count
}

func (p *Problem) hint(text string) *Problem {
	p.Hint = text
	return p
}

// endOfString returns the index of the closing quote of the string that opens at i. Line feeds inside strings are an
// error in Cedar, so the line count stays right for every text that parses.
func endOfString(text string, i int) int {
	for i++; i < len(text) && text[i] != '"' && text[i] != '\n'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	if byteAt(text, i) == '\n' {
		return i - 1
	}
	return min(i, len(text)-1)
}

// endOfComment returns the last index of a comment that opens at i, before its line feed, or i when none opens there.
func endOfComment(text string, i int) int {
	if byteAt(text, i+1) != '/' {
		return i
	}
	if n := strings.IndexByte(text[i:], '\n'); n > 0 {
		return i + n - 1
	}
	return len(text) - 1
}
