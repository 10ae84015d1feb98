package canon

import "bytes"

// Cursor reads a document that Check has accepted from left to right, one value ahead at a time. Unlike Each, it enters a
// container without having looked for its end first, so a walk through nested values passes each byte once. A copy of a
// Cursor is a place to come back to. On other input it ends early, with Broken, or returns nonsense, but never panics and
// never reads outside the document.
//
//	for more := c.Enter(); more; more = c.More() {
//		key := c.Key()     // in an object
//		value := c.Value() // or Enter
//	}
type Cursor struct {
	b      []byte
	i      int // where the next value, key, comma or closing bracket is
	broken bool
}

// NewCursor returns a cursor before the document's value.
func NewCursor(doc []byte) Cursor { return Cursor{b: doc, i: space(doc, 0)} }

// Broken reports whether the cursor met something that is not in a checked document. It has ended then.
func (c *Cursor) Broken() bool { return c.broken }

func (c *Cursor) fail() { c.i, c.broken = len(c.b), true }

// ahead returns the byte at the cursor, 0 at the end.
func (c *Cursor) ahead() byte {
	if c.i < len(c.b) {
		return c.b[c.i]
	}
	return 0
}

// Kind is KindOf for the value ahead.
func (c *Cursor) Kind() byte { return kindAt(c.b, c.i) }

// Value steps over the value ahead and returns its raw text, which shares the document's memory; nil when there is none.
func (c *Cursor) Value() []byte {
	from := c.i
	to := skip(c.b, from)
	if to < 0 {
		c.fail()
		return nil
	}
	c.i = space(c.b, to)
	return c.b[from:to:to]
}

// From returns the raw text of the value between an earlier place of the cursor and this one. It shares the document's memory.
func (c *Cursor) From(place Cursor) []byte {
	to := max(c.i, place.i)
	for to > place.i && c.b[to-1] <= ' ' {
		to--
	}
	return c.b[place.i:to:to]
}

// Enter steps into the object or array ahead. It returns false when that is empty, and steps over it then.
func (c *Cursor) Enter() bool {
	if open := c.ahead(); open != '{' && open != '[' {
		c.fail()
		return false
	}
	c.i = space(c.b, c.i+1)
	switch c.ahead() {
	case '}', ']':
		c.i = space(c.b, c.i+1)
		return false
	case 0:
		c.fail()
		return false
	}
	return true
}

// Key steps over the key ahead and its colon, and returns it decoded. It shares the document's memory unless it has escapes.
func (c *Cursor) Key() []byte {
	from, end := c.i+1, -1
	if c.ahead() == '"' {
		end = skipString(c.b, from)
	}
	if end < 0 {
		c.fail()
		return nil
	}
	key := c.b[from : end-1 : end-1]
	if c.i = space(c.b, end); c.ahead() != ':' {
		c.fail()
		return nil
	}
	c.i = space(c.b, c.i+1)
	if hasEscape(key) {
		return appendUnescaped(nil, key)
	}
	return key
}

// More steps over what follows a value inside a container: a comma, when it returns true, or the closing bracket.
func (c *Cursor) More() bool {
	switch c.ahead() {
	case ',':
		c.i = space(c.b, c.i+1)
		return true
	case '}', ']':
		c.i = space(c.b, c.i+1)
	default:
		c.fail()
	}
	return false
}

// skip returns the position behind the value at i, or -1 when it does not end.
func skip(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"':
		return skipString(b, i+1)
	case '{', '[':
		return skipContainer(b, i)
	}
	from := i
	for i < len(b) && b[i] > ' ' && b[i] != ',' && b[i] != ']' && b[i] != '}' {
		i++
	}
	if i == from {
		return -1
	}
	return i
}

// skipContainer counts brackets outside strings. Which bracket closes which was settled by Check.
func skipContainer(b []byte, i int) int {
	for depth := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c < '[' && c != '"': // most: digits, commas, colons, blanks
		case c == '"':
			if i = skipString(b, i+1) - 1; i < 0 {
				return -1
			}
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// skipString returns the position behind the string whose content starts at i, or -1. A quote ends it unless an odd number
// of backslashes stands before the quote.
func skipString(b []byte, i int) int {
	for from := i; i <= len(b); {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		i += n
		slashes := i
		for slashes > from && b[slashes-1] == '\\' {
			slashes--
		}
		if i++; (i-slashes)&1 == 1 {
			return i
		}
	}
	return -1
}

// hasEscape reports whether a string's raw content is not its text.
func hasEscape(raw []byte) bool { return bytes.IndexByte(raw, '\\') >= 0 }
