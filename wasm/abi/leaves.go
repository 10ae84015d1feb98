package abi

import "github.com/gatewright/gatewright/merkle/canon"

// Places in an entry of the table of leaves. A leaf is a key or a value that is neither an object nor an array, in the order of
// the body.
const (
	leafText  = 0  // what it says: of a string or key decoded, of others as it stands
	leafRaw   = 8  // where it stands in the body, quotes included
	leafKey   = 16 // which entry is the key it stands under, of a key that of the object around it; noKey for none
	leafKind  = 20 // 8 bits, see below
	leafDepth = 22 // 16 bits: how many objects and arrays enclose it
	leafSize  = 24
)

// Kinds of leaves.
const (
	leafIsKey = iota + 1
	leafIsString
	leafIsNumber
	leafIsTrue
	leafIsFalse
	leafIsNull
)

const noKey = 1<<32 - 1

// maxTable bounds the table in bytes before its size is compared with what the filter takes.
const maxTable = 16 << 20

// leaves is the table of a body's leaves.
type leaves struct {
	body  []byte // what it was written of
	at    int    // and where that begins
	done  bool
	fit   bool   // whether the body could be read
	texts []byte // of strings with escapes; they follow the body
	table []byte
	open  []container
}

// container is an object or array that the walk is inside of.
type container struct {
	object bool
	outer  uint32 // the key around it
	key    uint32 // the key that stands now
}

// settle brings the table up to date with the body that begins at, and says whether it could.
func (l *leaves) settle(body []byte, at int) bool {
	if l.done && l.at == at && len(l.body) == len(body) && (len(body) == 0 || &l.body[0] == &body[0]) {
		return l.fit
	}
	l.body, l.at, l.done = body, at, true
	l.texts, l.table, l.open = l.texts[:0], l.table[:0], l.open[:0]
	l.fit = l.walk()
	return l.fit
}

// walk reads a body that package canon has accepted; of any other it says false or writes a table that lies inside the context
// all the same.
func (l *leaves) walk() bool {
	b := l.body
	for i := 0; i < len(b); {
		if len(l.table) > maxTable {
			return false
		}
		switch c := b[i]; c {
		case ' ', '\t', '\r', '\n', ':', ',':
			i++
		case '{', '[':
			l.enter(c == '{')
			i++
		case '}', ']':
			last := len(l.open) - 1
			if last < 0 || l.open[last].object != (c == '}') {
				return false
			}
			l.open = l.open[:last]
			i++
		default:
			if i = l.scalar(i); i < 0 {
				return false
			}
		}
	}
	return len(l.open) == 0
}

func (l *leaves) enter(object bool) {
	key := uint32(noKey)
	if n := len(l.open); n > 0 {
		key = l.open[n-1].key
	}
	l.open = append(l.open, container{object, key, key})
}

// scalar writes the leaf at i and returns the place behind it, or -1.
func (l *leaves) scalar(i int) int {
	if len(l.open) == 0 {
		return -1
	}
	if l.body[i] == '"' {
		return l.text(i)
	}
	end := i
	for end < len(l.body) && !delimits(l.body[end]) {
		end++
	}
	if end == i {
		return -1
	}
	kind := byte(leafIsNumber)
	switch l.body[i] {
	case 't':
		kind = leafIsTrue
	case 'f':
		kind = leafIsFalse
	case 'n':
		kind = leafIsNull
	}
	l.add(kind, i, end-i, i, end-i)
	return end
}

func delimits(c byte) bool {
	return c <= ' ' || c == ',' || c == ':' || c == ']' || c == '}' || c == '[' || c == '{' || c == '"'
}

// text writes the string or key at i.
func (l *leaves) text(i int) int {
	end, escaped := canon.PlainString(l.body, i), false
	if end < 0 {
		if end, escaped = stringEnd(l.body, i+1); end < 0 {
			return -1
		}
	}
	at, size := i+1, end-i-2
	if escaped {
		before := len(l.texts)
		var err error
		if l.texts, err = canon.AppendUnquoted(l.texts, l.body[i:end]); err != nil {
			return -1
		}
		at, size = len(l.body)+before, len(l.texts)-before
	}
	kind := byte(leafIsString)
	if top := &l.open[len(l.open)-1]; top.object && l.isKey(end) {
		kind = leafIsKey
		top.key = top.outer
		l.add(kind, at, size, i, end-i)
		top.key = uint32(len(l.table)/leafSize - 1)
		return end
	}
	l.add(kind, at, size, i, end-i)
	return end
}

// isKey says whether a colon follows.
func (l *leaves) isKey(i int) bool {
	for i < len(l.body) && l.body[i] <= ' ' {
		i++
	}
	return i < len(l.body) && l.body[i] == ':'
}

// stringEnd is the place behind the quote that ends the string whose content begins at i, -1 when it has none, and whether it
// has an escape.
func stringEnd(b []byte, i int) (end int, escaped bool) {
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i + 1, escaped
		case '\\':
			escaped = true
			i++
		}
	}
	return -1, escaped
}

func (l *leaves) add(kind byte, text, size, raw, rawSize int) {
	n := len(l.table)
	l.table = append(l.table, make([]byte, leafSize)...)
	e, top := l.table[n:], l.open[len(l.open)-1]
	putSpan(e[leafText:], l.at+text, size)
	putSpan(e[leafRaw:], l.at+raw, rawSize)
	order.PutUint32(e[leafKey:], top.key)
	e[leafKind] = kind
	order.PutUint16(e[leafDepth:], uint16(min(len(l.open), 1<<16-1)))
}
