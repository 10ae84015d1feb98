package abi

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"unicode"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Kind is what a filter decided.
type Kind uint8

// The kinds of verdict. The zero Kind is none of them, so that a Verdict nobody filled in allows nothing.
const (
	Pass    Kind = iota + 1 // nothing against it
	Deny                    // refused
	Rewrite                 // goes on with Body in place of what was shown
)

// String returns the kind as it stands in a verdict.
func (k Kind) String() string {
	switch k {
	case Pass:
		return "pass"
	case Deny:
		return "deny"
	case Rewrite:
		return "rewrite"
	}
	return "none"
}

// Bounds of a verdict's members, in bytes but for the number of labels.
const (
	maxReason  = 64
	maxMessage = 256
	maxLabel   = 64
	maxLabels  = 32
	maxScores  = 16
	maxScore   = 1000
)

// Verdict is a filter's answer to one call. It owns its memory, which the next answer uses again.
type Verdict struct {
	Kind    Kind
	Reason  string   // [a-z0-9_]{1,64}, or empty
	Message string   // for people, at most 256 bytes of graphic characters
	Labels  []string // [a-z0-9:_.-]{1,64}, at most 32
	Scores  []Score  // at most 16, each name once
	Body    []byte   // on Rewrite the new arguments or result: a checked JSON object
	Fuel    int64    // what the decision cost
}

// Score is how sure a filter is of something, from 0 to 1000.
type Score struct {
	Name  string // [a-z0-9_]{1,64}
	Value int64
}

// Reset empties v and keeps its buffers.
func (v *Verdict) Reset() { *v = Verdict{Labels: v.Labels[:0], Scores: v.Scores[:0], Body: v.Body[:0]} }

// Limits bound what a filter may answer, in bytes: Verdict all but the body, Body the body.
type Limits struct{ Verdict, Body int }

// BadVerdict is an answer that is no verdict. Like all errors of this package its text holds neither bytes of the answer nor
// places in it: a filter may put there what it was shown, and errors are logged.
type BadVerdict struct{ Cause error }

// Error says which rule the answer breaks.
func (e *BadVerdict) Error() string { return e.Cause.Error() }

// Unwrap gives the cause.
func (e *BadVerdict) Unwrap() error { return e.Cause }

// passText is the answer that nearly every call gets.
var passText = []byte(`{"verdict":"pass"}`)

// ReadJSON fills v, which must be empty, from an answer in JSON, and keeps nothing of its memory. p is what the filter was
// asked about. An error is a *BadVerdict; v then holds nothing to rely on.
func (v *Verdict) ReadJSON(text []byte, p Phase, l Limits) error {
	if bytes.Equal(text, passText) {
		v.Kind = Pass
		return nil
	}
	if err := v.readJSON(text, p.Member(), l); err != nil {
		return &BadVerdict{err}
	}
	return nil
}

func (v *Verdict) readJSON(text []byte, body string, l Limits) error {
	limits := canon.DefaultLimits()
	limits.Bytes = l.Verdict + l.Body
	limits.Depth++ // the body lies one deeper than it will stand
	if err := canon.Check(text, limits); err != nil {
		return misfit(err)
	}
	if canon.KindOf(text) != '{' {
		return errors.New("not an object")
	}
	var found []byte
	c := canon.NewCursor(text)
	for more := c.Enter(); more; more = c.More() {
		key := c.Key()
		if string(key) == body {
			if found = c.Value(); canon.KindOf(found) != '{' {
				return fmt.Errorf("%s is no object", body)
			}
			continue
		}
		if err := v.member(key, c.Value()); err != nil {
			return err
		}
	}
	return v.settle(len(text), found, l)
}

// misfit names the rule that a filter's JSON breaks.
func misfit(err error) error {
	if syntax, ok := errors.AsType[*canon.SyntaxError](err); ok {
		return errors.New("not strict JSON: " + string(syntax.Kind))
	}
	return errors.New("not JSON")
}

// settle checks that the verdict's members fit each other.
func (v *Verdict) settle(size int, body []byte, l Limits) error {
	switch {
	case v.Kind == 0:
		return errors.New("no verdict")
	case v.Kind == Rewrite && body == nil:
		return errors.New("a rewrite without a body")
	case v.Kind != Rewrite && body != nil:
		return errors.New("a body without a rewrite")
	case size-len(body) > l.Verdict:
		return errors.New("too long")
	}
	v.Body = append(v.Body, body...)
	return nil
}

// member reads one member that is not the body.
func (v *Verdict) member(key, value []byte) (err error) {
	switch string(key) {
	case "verdict":
		v.Kind, err = readKind(value)
	case "reason":
		v.Reason, err = word(value, maxReason, "_")
	case "message":
		v.Message, err = message(value)
	case "labels":
		err = v.readLabels(value)
	case "scores":
		err = v.readScores(value)
	default:
		err = errors.New("unknown member")
	}
	return err
}

func readKind(value []byte) (Kind, error) {
	switch string(value) {
	case `"pass"`:
		return Pass, nil
	case `"deny"`:
		return Deny, nil
	case `"rewrite"`:
		return Rewrite, nil
	}
	return 0, errors.New("unknown verdict")
}

func (v *Verdict) readLabels(value []byte) error {
	if canon.KindOf(value) != '[' {
		return errors.New("labels is no array")
	}
	return canon.EachElement(value, func(i int, value []byte) error {
		if i >= maxLabels {
			return errors.New("too many labels")
		}
		label, err := word(value, maxLabel, ":_.-")
		v.Labels = append(v.Labels, label)
		return err
	})
}

// readScores reads {"name":870}.
func (v *Verdict) readScores(value []byte) error {
	if canon.KindOf(value) != '{' {
		return errors.New("scores is no object")
	}
	return canon.Each(value, func(key, value []byte) error {
		if len(v.Scores) >= maxScores {
			return errors.New("too many scores")
		}
		name := string(key)
		if err := wordOf(name, maxLabel, "_"); err != nil {
			return err
		}
		n, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil || n < 0 || n > maxScore {
			return fmt.Errorf("a score is not an integer from 0 to %d", maxScore)
		}
		v.Scores = append(v.Scores, Score{name, n})
		return nil
	})
}

// word reads a string of 1 to limit bytes of a-z, 0-9 and others.
func word(value []byte, limit int, others string) (string, error) {
	s, err := canon.Unquote(value)
	if err != nil {
		return "", err
	}
	return s, wordOf(s, limit, others)
}

// wordOf refuses what is not 1 to limit bytes of a-z, 0-9 and others.
func wordOf(s string, limit int, others string) error {
	if len(s) < 1 || len(s) > limit {
		return fmt.Errorf("a word is not 1 to %d bytes long", limit)
	}
	for i := range len(s) {
		c := s[i]
		if c-'a' > 'z'-'a' && c-'0' > 9 && bytes.IndexByte([]byte(others), c) < 0 {
			return errors.New("a word has a character beyond a-z, 0-9 and " + others)
		}
	}
	return nil
}

// message reads a line of text.
func message(value []byte) (string, error) {
	s, err := canon.Unquote(value)
	if err != nil {
		return "", err
	}
	if len(s) > maxMessage {
		return "", fmt.Errorf("a message is longer than %d bytes", maxMessage)
	}
	for _, r := range s {
		if !unicode.IsGraphic(r) {
			return "", errors.New("a message has a character that is not graphic")
		}
	}
	return s, nil
}
