package canon

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// scanner checks one document in one pass. Its methods take a position and return the position behind what they read, or
// -1 after noting the error.
type scanner struct {
	b      []byte
	values int // how many more values are allowed
	depth  int // how many containers may be open
	keys   []key
	hash   hasher
	spare  []uint32 // slots of a finished key set, for the next one
	err    SyntaxError
}

func (s *scanner) fail(kind Kind, at int, msg string) int {
	s.err = SyntaxError{Offset: at, Kind: kind, Msg: msg}
	return -1
}

// unexpected notes that the text at i is not what the grammar wants there.
func (s *scanner) unexpected(i int, msg string) int {
	if i >= len(s.b) {
		return s.fail(KindSyntax, len(s.b), "document is cut short")
	}
	return s.fail(KindSyntax, i, msg)
}

func (s *scanner) document() bool {
	i := space(s.b, 0)
	i = s.value(i, 0)
	if i < 0 {
		return false
	}
	if i = space(s.b, i); i != len(s.b) {
		return s.fail(KindTrailing, i, "something follows the document") >= 0
	}
	return true
}

// space skips blanks. The first test keeps the common case, none, inlined.
func space(b []byte, i int) int {
	if i < len(b) && b[i] > ' ' {
		return i
	}
	return blanks(b, i)
}

func blanks(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// value checks the value that starts at i inside depth open containers.
func (s *scanner) value(i, depth int) int {
	if i >= len(s.b) {
		return s.unexpected(i, "")
	}
	if s.values--; s.values < 0 {
		return s.fail(KindValues, i, "document has too many values")
	}
	switch c := s.b[i]; c {
	case '"':
		end, _ := s.str(i + 1)
		return end
	case '{':
		return s.object(i, depth)
	case '[':
		return s.array(i, depth)
	case 't':
		return s.literal(i, "true")
	case 'f':
		return s.literal(i, "false")
	case 'n':
		return s.literal(i, "null")
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return s.number(i)
	case 0xef:
		return s.fail(KindSyntax, i, "a value cannot start with a byte order mark")
	}
	return s.fail(KindSyntax, i, "a value is expected")
}

func (s *scanner) literal(i int, word string) int {
	if len(s.b)-i < len(word) || string(s.b[i:i+len(word)]) != word {
		return s.fail(KindSyntax, i, "a value is expected")
	}
	return i + len(word)
}

func (s *scanner) array(i, depth int) int {
	if depth >= s.depth {
		return s.fail(KindDepth, i, "document is nested too deeply")
	}
	i = space(s.b, i+1)
	if i < len(s.b) && s.b[i] == ']' {
		return i + 1
	}
	for {
		if i = s.value(i, depth+1); i < 0 {
			return -1
		}
		i = space(s.b, i)
		switch {
		case i < len(s.b) && s.b[i] == ',':
			i = space(s.b, i+1)
		case i < len(s.b) && s.b[i] == ']':
			return i + 1
		default:
			return s.unexpected(i, "a comma or ] is expected")
		}
	}
}

func (s *scanner) object(i, depth int) int {
	if depth >= s.depth {
		return s.fail(KindDepth, i, "document is nested too deeply")
	}
	b := s.b
	i = space(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1
	}
	seen := keySet{base: len(s.keys)}
	for {
		if i >= len(b) || b[i] != '"' {
			return s.unexpected(i, "a key is expected")
		}
		end, escaped := s.str(i + 1)
		if end < 0 {
			return -1
		}
		if !s.addKey(&seen, i+1, end-1, escaped) {
			return s.fail(KindDuplicate, i, "object has this key twice")
		}
		i = space(b, end)
		if i >= len(b) || b[i] != ':' {
			return s.unexpected(i, "a colon is expected")
		}
		if i = s.value(space(b, i+1), depth+1); i < 0 {
			return -1
		}
		i = space(b, i)
		switch {
		case i < len(b) && b[i] == ',':
			i = space(b, i+1)
		case i < len(b) && b[i] == '}':
			s.dropKeys(&seen)
			return i + 1
		default:
			return s.unexpected(i, "a comma or } is expected")
		}
	}
}

// Eight bytes are looked at in one word; see special.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special sets the high bit of each byte of x that ends a run of plain string content: a quote, a backslash or a control
// character. A borrow can set false bits, but only above the lowest true one, which is the one that counts.
func special(x uint64) uint64 {
	quote := x ^ ('"' * ones)
	slash := x ^ ('\\' * ones)
	return ((quote-ones)&^quote | (slash-ones)&^slash | (x-' '*ones)&^x) & highs
}

// str checks the string whose content starts at i. It returns the position behind the closing quote, and whether the
// content has escapes.
func (s *scanner) str(i int) (end int, escaped bool) {
	b, start := s.b, i
	var seen uint64 // all bytes or-ed together; may include some behind the string, which only costs a needless check
	for {
		var m uint64
		for ; len(b)-i >= 8; i += 8 {
			x := binary.LittleEndian.Uint64(b[i:])
			seen |= x
			if m = special(x); m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				break
			}
		}
		if m == 0 {
			for ; i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= ' '; i++ {
				seen |= uint64(b[i])
			}
			if i >= len(b) {
				return s.unexpected(i, ""), false
			}
		}
		switch b[i] {
		case '"':
			if seen&highs != 0 && !utf8.Valid(b[start:i]) {
				return s.fail(KindUTF8, start+invalid(b[start:i]), "string is not UTF-8"), false
			}
			return i + 1, escaped
		case '\\':
			escaped = true
			if i = s.escape(i); i < 0 {
				return -1, false
			}
		default:
			return s.fail(KindSyntax, i, "a control character must be escaped"), false
		}
	}
}

// invalid returns the offset of the first byte of b that is not UTF-8.
func invalid(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(b)
}

// escape checks the escape sequence whose backslash is at i.
func (s *scanner) escape(i int) int {
	if i+1 >= len(s.b) {
		return s.unexpected(i+1, "")
	}
	switch s.b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		u := hex4(s.b, i+2)
		switch {
		case u < 0:
			return s.fail(KindSyntax, i, "escape needs four hexadecimal digits")
		case u < 0xd800 || u > 0xdfff:
			return i + 6
		case u >= 0xdc00 || len(s.b)-i < 12 || s.b[i+6] != '\\' || s.b[i+7] != 'u':
			return s.fail(KindSurrogate, i, "escaped surrogate stands alone")
		}
		if low := hex4(s.b, i+8); low < 0xdc00 || low > 0xdfff {
			return s.fail(KindSurrogate, i, "escaped surrogate stands alone")
		}
		return i + 12
	}
	return s.fail(KindSyntax, i, "unknown escape")
}

// hex4 returns the value of the four hexadecimal digits at i, or -1.
func hex4(b []byte, i int) int {
	if len(b)-i < 4 {
		return -1
	}
	v := 0
	for _, c := range b[i : i+4] {
		switch {
		case '0' <= c && c <= '9':
			v = v<<4 | int(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			v = v<<4 | int(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return v
}
