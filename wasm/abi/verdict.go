package abi

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

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

// Reset empties v and keeps its buffers, and with them words that the next answer may use again.
func (v *Verdict) Reset() {
	v.Kind, v.Reason, v.Message, v.Fuel = 0, "", "", 0
	v.Labels, v.Scores, v.Body = v.Labels[:0], v.Scores[:0], v.Body[:0] // in place: a whole Verdict assigned costs three times that
}

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
		return errors.New("the answer is not a JSON object")
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
		return errors.New("the answer is not strict JSON: " + string(syntax.Kind))
	}
	return errors.New("the answer is not JSON")
}

// settle checks that the verdict's members fit each other.
func (v *Verdict) settle(size int, body []byte, l Limits) error {
	switch {
	case v.Kind == 0:
		return errors.New(`the answer has no member "verdict"`)
	case v.Kind == Rewrite && body == nil:
		return errors.New("a rewrite without a body")
	case v.Kind != Rewrite && body != nil:
		return errors.New("a body without a rewrite")
	case size-len(body) > l.Verdict:
		return errors.New("the answer is too long beside its body")
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
		err = v.text(value, v.setReason)
	case "message":
		err = v.text(value, v.setMessage)
	case "labels":
		err = v.readLabels(value)
	case "scores":
		err = v.readScores(value)
	default:
		err = errors.New("the answer has a member that no verdict has")
	}
	return err
}

// text hands the text of a JSON string on.
func (v *Verdict) text(value []byte, set func([]byte) error) error {
	s, err := unquote(value)
	if err != nil {
		return err
	}
	return set(s)
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
	return 0, errors.New(`member "verdict" is not pass, deny or rewrite`)
}

func (v *Verdict) readLabels(value []byte) error {
	if canon.KindOf(value) != '[' {
		return errors.New("labels is no array")
	}
	c := canon.NewCursor(value)
	for more := c.Enter(); more; more = c.More() {
		label, err := unquote(c.Value())
		if err != nil {
			return err
		}
		if err := v.addLabel(label); err != nil {
			return err
		}
	}
	return nil
}

// addLabel takes the memory of an earlier answer's label where it is the same.
func (v *Verdict) addLabel(label []byte) error {
	n := len(v.Labels)
	if n >= maxLabels {
		return errors.New("too many labels")
	}
	if err := wordOf(label, maxLabel, ":_.-"); err != nil {
		return err
	}
	if n < cap(v.Labels) && v.Labels[:n+1][n] == string(label) {
		v.Labels = v.Labels[:n+1]
		return nil
	}
	v.Labels = append(v.Labels, string(label))
	return nil
}

// readScores reads {"name":870}.
func (v *Verdict) readScores(value []byte) error {
	if canon.KindOf(value) != '{' {
		return errors.New("scores is no object")
	}
	c := canon.NewCursor(value)
	for more := c.Enter(); more; more = c.More() {
		key := c.Key()
		if err := v.addScore(key, number(c.Value())); err != nil {
			return err
		}
	}
	return nil
}

// addScore is addLabel for scores, of which the caller has to see that each comes once.
func (v *Verdict) addScore(name []byte, value int64) error {
	n := len(v.Scores)
	if n >= maxScores {
		return errors.New("too many scores")
	}
	if err := wordOf(name, maxLabel, "_"); err != nil {
		return err
	}
	if value < 0 || value > maxScore {
		return fmt.Errorf("a score is not an integer from 0 to %d", maxScore)
	}
	if n < cap(v.Scores) && v.Scores[:n+1][n].Name == string(name) {
		v.Scores = v.Scores[:n+1]
		v.Scores[n].Value = value
		return nil
	}
	v.Scores = append(v.Scores, Score{string(name), value})
	return nil
}

// number reads a number of up to four digits; of anything else it is -1.
func number(value []byte) int64 {
	if len(value) < 1 || len(value) > 4 {
		return -1
	}
	n := int64(0)
	for _, c := range value {
		if c-'0' > 9 {
			return -1
		}
		n = 10*n + int64(c-'0')
	}
	return n
}

// unquote gives the text of a JSON string, without new memory where it has no escapes.
func unquote(value []byte) ([]byte, error) {
	if n := len(value); n >= 2 && value[0] == '"' && bytes.IndexByte(value, '\\') < 0 {
		return value[1 : n-1], nil
	}
	s, err := canon.Unquote(value)
	return []byte(s), err
}

// wordOf refuses what is not 1 to limit bytes of a-z, 0-9 and others.
func wordOf(s []byte, limit int, others string) error {
	if len(s) < 1 || len(s) > limit {
		return fmt.Errorf("a word is not 1 to %d bytes long", limit)
	}
	for _, c := range s {
		if c-'a' > 'z'-'a' && c-'0' > 9 && strings.IndexByte(others, c) < 0 {
			return errors.New("a word has a character beyond a-z, 0-9 and " + others)
		}
	}
	return nil
}

// setReason reads a reason.
func (v *Verdict) setReason(s []byte) error {
	if err := wordOf(s, maxReason, "_"); err != nil {
		return err
	}
	v.Reason = string(s)
	return nil
}

// setMessage reads a line of text.
func (v *Verdict) setMessage(s []byte) error {
	if len(s) > maxMessage {
		return fmt.Errorf("a message is longer than %d bytes", maxMessage)
	}
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRune(s[i:])
		if r == utf8.RuneError && n == 1 {
			return errors.New("a message is not UTF-8")
		}
		if !unicode.IsGraphic(r) {
			return errors.New("a message has a character that is not graphic")
		}
		i += n
	}
	v.Message = string(s)
	return nil
}
