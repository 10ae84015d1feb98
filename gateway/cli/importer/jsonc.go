package importer

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Bounds of a file. People write these by hand: the largest seen have some ten servers and 20 KiB; a settings.json of VS
// Code may be larger.
const (
	maxFile  = 1 << 20 // bytes
	maxDepth = 32      // objects and arrays within each other
	maxJSON  = 20_000  // values
)

// errComment is a block comment without an end.
var errComment = errors.New("a comment that begins with /* does not end")

// strict turns JSON with comments and trailing commas, as VS Code and Cursor read it, into JSON of the same length, so
// that places stay what they are. It judges nothing else: canon.Check does.
func strict(doc []byte) ([]byte, int, error) {
	out := bytes.Clone(doc)
	if bytes.HasPrefix(out, []byte("\xef\xbb\xbf")) { // editors of Windows begin a file with it
		copy(out, "   ")
	}
	comma, last, before := -1, byte(0), byte(0) // the comma that came last if nothing came after it, and what stands there
	for i := 0; i < len(out); {
		n := 1
		switch c := out[i]; {
		case c == '"':
			n = stringEnd(out[i:])
		case c == '/' && i+1 < len(out) && (out[i+1] == '/' || out[i+1] == '*'):
			if n = commentEnd(out[i:]); n < 0 {
				return nil, i, errComment
			}
			blank(out[i : i+n])
			i += n
			continue
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			i++
			continue
		case (c == '}' || c == ']') && comma >= 0 && bytes.IndexByte([]byte("{[,:\x00"), before) < 0:
			out[comma] = ' '
		}
		comma, before, last = -1, last, out[i]
		if last == ',' {
			comma = i
		}
		i += n
	}
	return out, 0, nil
}

// stringEnd is the length of the string that doc begins with, or of what is left of it.
func stringEnd(doc []byte) int {
	for i := 1; i < len(doc); i++ {
		switch doc[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(doc)
}

// commentEnd is the length of the comment that doc begins with; -1 if it has no end.
func commentEnd(doc []byte) int {
	if doc[1] == '/' {
		if n := bytes.IndexByte(doc, '\n'); n >= 0 {
			return n
		}
		return len(doc)
	}
	if n := bytes.Index(doc[2:], []byte("*/")); n >= 0 {
		return n + 4
	}
	return -1
}

func blank(b []byte) {
	for i, c := range b {
		if c != '\n' && c != '\r' {
			b[i] = ' '
		}
	}
}

// check refuses what two readers could read differently, and whatever is over a bound.
func check(file string, doc []byte) ([]byte, error) {
	if len(doc) > maxFile {
		return nil, &Problem{File: file, Text: fmt.Sprintf("it is larger than %d bytes", maxFile), Hint: "name the file that holds the MCP servers, and nothing else"}
	}
	if i := invalid(doc); i >= 0 {
		return nil, &Problem{file, place(doc, i), fmt.Sprintf("the byte 0x%02x is not UTF-8", doc[i]), "save the file as UTF-8"}
	}
	out, at, err := strict(doc)
	if err == nil {
		err = canon.Check(out, canon.Limits{Bytes: maxFile, Depth: maxDepth, Values: maxJSON})
	}
	if err == nil {
		return out, nil
	}
	p := &Problem{file, place(doc, at), err.Error(), "mend the file; its client may have read it more leniently"}
	if s, ok := errors.AsType[*canon.SyntaxError](err); ok {
		p.Key, p.Text = place(doc, s.Offset), s.Msg
		if s.Kind == canon.KindDuplicate && s.Offset < len(out) && out[s.Offset] == '"' {
			if key, err := canon.Unquote(out[s.Offset : s.Offset+stringEnd(out[s.Offset:])]); err == nil {
				p.Text = fmt.Sprintf("the key %q stands twice in one object", short(key))
			}
		}
	}
	return nil, p
}

// invalid is where the first byte stands that is not UTF-8; -1 if there is none.
func invalid(doc []byte) int {
	for i := 0; i < len(doc); {
		r, n := utf8.DecodeRune(doc[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// place writes an offset for people.
func place(doc []byte, offset int) string {
	before := doc[:min(offset, len(doc))]
	return fmt.Sprintf("line %d, column %d", bytes.Count(before, []byte("\n"))+1, utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])+1)
}
