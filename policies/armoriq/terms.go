package armoriq

import (
	"fmt"
	"strings"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Terms is a policy translated.
type Terms struct {
	Name     string   // what the policy calls itself, or ""
	Priority int64    // higher wins; 0 unless given
	Cedar    []byte   // forbid policies, each with @id and @reason, some with @hold; empty: nothing is forbidden
	Rates    []Rate   // bounds on how often; all hold
	Lines    []string // one plain sentence for each term, for people
}

// Rate is at most Max calls in any span of Per.
type Rate struct {
	Max int
	Per time.Duration
}

// Problem is why a policy is refused, at its place.
type Problem struct {
	Pointer string // RFC 6901; "" is the whole document
	Msg     string
	Hint    string
}

// Error gives "policy at POINTER: message (hint)".
func (p Problem) Error() string {
	at := "policy"
	if p.Pointer != "" {
		at = fmt.Sprintf("policy at %q", p.Pointer)
	}
	if p.Hint == "" {
		return at + ": " + p.Msg
	}
	return fmt.Sprintf("%s: %s (%s)", at, p.Msg, p.Hint)
}

// Bounds of a policy. The longest of ArmorIQ's own has nine statements; an overlay holds 128 policies in 64 KiB, and what
// is translated has to fit one.
const (
	maxInput      = 64 << 10
	maxList       = 256 // elements of any list
	maxPolicies   = 32  // of an array that priorities choose from, and entries of a snapshot
	maxStatements = 96
	maxWord       = 256 // bytes of one pattern, name or value
	maxCedar      = 64 << 10
	maxLikes      = 512      // patterns of like in it
	maxLikeBytes  = 16 << 10 // of their texts
)

// limits is what is read at all.
func limits() canon.Limits { return canon.Limits{Bytes: maxInput, Depth: 16, Values: 8192} }

// open checks a document. ok is false for one that says nothing: absent or null.
func open(raw []byte) (v value, ok bool, err error) {
	if strings.Trim(string(raw), " \t\r\n") == "" {
		return v, false, nil
	}
	if err := canon.Check(raw, limits()); err != nil {
		return v, false, Problem{Msg: err.Error(), Hint: "a policy is one JSON document"}
	}
	v.raw = []byte(strings.Trim(string(raw), " \t\r\n"))
	return v, v.kind() != 'n', nil
}

// terms are Terms in the making.
type terms struct {
	out      Terms
	policies []policy
	size     int // of their conditions
}

func (t *terms) forbid(p policy) {
	t.policies = append(t.policies, p)
	t.size += len(p.when)
}

func tooLong(n int) error {
	msg := fmt.Sprintf("the policy takes %d bytes of Cedar or more, and has room for %d", n, maxCedar)
	return Problem{Msg: msg, Hint: "shorten the lists, or use patterns"}
}

func (t *terms) say(format string, args ...any) {
	t.out.Lines = append(t.out.Lines, fmt.Sprintf(format, args...))
}

// finish writes the policies.
func (t *terms) finish() (Terms, error) {
	for _, p := range t.policies {
		if p.when == never {
			continue
		}
		t.out.Cedar = p.append(t.out.Cedar)
	}
	if len(t.out.Cedar) > maxCedar {
		return Terms{}, tooLong(len(t.out.Cedar))
	}
	if n, bytes := likes(string(t.out.Cedar)); n > maxLikes || bytes > maxLikeBytes {
		msg := fmt.Sprintf("the policy takes %d patterns of %d bytes in Cedar, more than %d of %d", n, bytes, maxLikes, maxLikeBytes)
		return Terms{}, Problem{Msg: msg, Hint: "shorten the lists, or name servers by mcp_server instead of their tools"}
	}
	return t.out, nil
}

// likes counts the patterns in a text of Cedar, and their bytes as they are written.
func likes(cedar string) (n, bytes int) {
	_, rest, found := strings.Cut(cedar, ` like "`)
	for ; found; _, rest, found = strings.Cut(rest, ` like "`) {
		n++
		for i := 0; i < len(rest) && rest[i] != '"'; i++ {
			if bytes++; rest[i] == '\\' {
				i, bytes = i+1, bytes+1
			}
		}
	}
	return n, bytes
}
