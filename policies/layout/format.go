package layout

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	cedar "github.com/cedar-policy/cedar-go"
)

// Bounds of a text, as the loader of bundles has them: cedar-go reads by recursion.
const (
	maxNesting     = 64       // brackets open at once
	maxPolicyBytes = 64 << 10 // of one policy, comments before it included
)

// Format lays a file of policies out: annotations and conditions on lines of their own, what is too long for a line broken at
// && and ||, one empty line between policies. It takes templates, too, and refuses what else cedar-go cannot read. An error
// about the text is an *Error.
func Format(text string) (string, error) {
	tokens, err := Scan(text)
	if err != nil {
		return "", err
	}
	if err := bounded(tokens); err != nil {
		return "", err
	}
	if _, err := cedar.NewPolicyListFromBytes("", []byte(filled(text, tokens))); err != nil {
		return "", parseError(err)
	}
	f := former{pieces: attach(tokens)}
	p := printer{pieces: f.pieces}
	p.print(f.file(), 0, false)
	out := p.end()
	if err := unchanged(tokens, out); err != nil {
		return "", err
	}
	return out, nil
}

// filled puts an entity into each slot: cedar-go reads no templates.
func filled(text string, tokens []Token) string {
	var b strings.Builder
	from := 0
	for _, t := range tokens {
		if t.Text[0] == '?' {
			b.WriteString(text[from:t.Offset] + `A::"a"`)
			from = t.Offset + len(t.Text)
		}
	}
	return b.String() + text[from:]
}

// bounded refuses what would take more stack than it should.
func bounded(tokens []Token) error {
	depth, start := 0, 0
	for _, t := range tokens {
		switch t.Text {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			depth--
		}
		if depth > maxNesting {
			return &Error{t.Line, t.Column, fmt.Sprintf("more than %d brackets open at once", maxNesting)}
		}
		if t.Offset+len(t.Text)-start > maxPolicyBytes {
			return &Error{t.Line, t.Column, fmt.Sprintf("one policy is longer than %d bytes", maxPolicyBytes)}
		}
		if t.Text == ";" {
			start, depth = t.Offset, 0
		}
	}
	return nil
}

var parsePlace = regexp.MustCompile(`at <input>:(\d+):(\d+)`)

func parseError(err error) error {
	e := &Error{1, 1, err.Error()}
	if m := parsePlace.FindStringSubmatch(e.Msg); m != nil {
		e.Line, _ = strconv.Atoi(m[1])
		e.Column, _ = strconv.Atoi(m[2])
		e.Msg = strings.Replace(e.Msg, m[0], "at", 1)
	}
	return e
}

// unchanged holds the result against what it was made of: the same tokens and comments in the same order.
func unchanged(tokens []Token, out string) error {
	again, err := Scan(out)
	if err != nil {
		return fmt.Errorf("layout: fault of the formatter: %w", err)
	}
	same := len(again) == len(tokens)
	for i := 0; same && i < len(tokens); i++ {
		same = again[i].Kind == tokens[i].Kind && again[i].Text == tokens[i].Text
	}
	if !same {
		return errors.New("layout: fault of the formatter: it would have changed the text")
	}
	if err := bounded(again); err != nil { // indented, and no loader would take it any more
		return fmt.Errorf("%w once it is laid out: take it apart, or write it with fewer levels", err)
	}
	return nil
}

// piece is a token with the comments that belong to it. The last one of a file is empty.
type piece struct {
	Token
	lead  []comment // on lines of their own, before it
	trail string    // behind it, on its line
	blank bool      // an empty line stands before it
}

type comment struct {
	text  string
	blank bool
}

// attach gives every comment to the token behind which it stands on one line, or else to the next.
func attach(tokens []Token) []piece {
	out := make([]piece, 0, len(tokens)+1)
	now, line := piece{}, 0 // line of the token or comment before
	for i, t := range tokens {
		blank := i > 0 && t.Line > line+1
		switch {
		case t.Kind != Comment:
			now.Token, now.blank = t, blank
			out, now = append(out, now), piece{}
		case i > 0 && t.Line == line:
			out[len(out)-1].trail = t.Text
		default:
			now.lead = append(now.lead, comment{t.Text, blank})
		}
		line = t.Line
	}
	return append(out, now)
}
