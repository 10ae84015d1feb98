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
	hash   hasher
	spare  []uint32 // slots of a finished key table, for the next one
	err    SyntaxError
}

// fail notes an error. It stays out of line to keep the paths that pass short.
//
//go:noinline
func (s *scanner) fail(kind Kind, at int, msg string) int {
	s.err = SyntaxError{Offset: at, Kind: kind, Msg: msg}
	return -1
}

// unexpected notes that the text at i is not what the grammar wants there.
//
//go:noinline
func (s *scanner) unexpected(i int, msg string) int {
	if i >= len(s.b) {
		return s.fail(KindSyntax, len(s.b), "document is cut short")
	}
	return s.fail(KindSyntax, i, msg)
}

// document checks the whole text. free is memory for the keys of open objects: it is handed down by value, each object
// appending behind those that enclose it, and so stays on the stack of Check.
func (s *scanner) document(free []key) bool {
	i := space(s.b, 0)
	i = s.value(i, 0, free)
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
func (s *scanner) value(i, depth int, free []key) int {
	if i >= len(s.b) {
		return s.unexpected(i, "")
	}
	if s.values--; s.values < 0 {
		return s.fail(KindValues, i, "document has too many values")
	}
	if s.b[i] == '"' { // most values; the switch below is a jump that is harder to foresee
		end, _ := s.str(i + 1)
		return end
	}
	switch s.b[i] {
	case '{':
		return s.object(i, depth, free)
	case '[':
		return s.array(i, depth, free)
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

func (s *scanner) array(i, depth int, free []key) int {
	if depth >= s.depth {
		return s.fail(KindDepth, i, "document is nested too deeply")
	}
	i = space(s.b, i+1)
	if i < len(s.b) && s.b[i] == ']' {
		return i + 1
	}
	for {
		if i = s.value(i, depth+1, free); i < 0 {
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

func (s *scanner) object(i, depth int, free []key) int {
	if depth >= s.depth {
		return s.fail(KindDepth, i, "document is nested too deeply")
	}
	b := s.b
	i = space(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1
	}
	keys := free[:0]
	var table keyTable
	for {
		if i >= len(b) || b[i] != '"' {
			return s.unexpected(i, "a key is expected")
		}
		k, end := s.key(i + 1)
		if end < 0 {
			return -1
		}
		if len(keys) < pairwise && !s.isNew(keys, k) || len(keys) >= pairwise && !s.insert(&table, keys, &k) {
			return s.fail(KindDuplicate, i, "object has this key twice")
		}
		keys = append(keys, k)
		i = space(b, end)
		if i >= len(b) || b[i] != ':' {
			return s.unexpected(i, "a colon is expected")
		}
		if i = s.value(space(b, i+1), depth+1, keys[len(keys):]); i < 0 {
			return -1
		}
		i = space(b, i)
		switch {
		case i < len(b) && b[i] == ',':
			i = space(b, i+1)
		case i < len(b) && b[i] == '}':
			s.release(table)
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
// character. Flipping bit 1 brings the quote (0x22) next to the control characters and moves blank and ! above it, so that
// one subtraction finds both. A borrow can set false bits, but only above the lowest true one, which is the one that counts.
func special(x uint64) uint64 {
	return loose(x) & highs
}

// loose is special with other bits set besides the high ones.
func loose(x uint64) uint64 {
	below := (x ^ 0x02*ones) - 0x21*ones
	slash := (x ^ '\\'*ones) - ones
	return (below | slash) &^ x
}

// run returns the position of the first byte from i on that ends a run of plain string content, or len(b). The high bits of
// seen tell whether the run has bytes outside ASCII.
func run(b []byte, i int) (end int, seen uint64) {
	long := i + 24 // where it pays to look at four words at a time
	for len(b)-i >= 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		if m := special(x); m != 0 {
			n := bits.TrailingZeros64(m)
			return i + n>>3, seen | x&(1<<(n&^7)-1)
		}
		seen |= x
		if i += 8; i == long {
			i, seen = leap(b, i, seen)
		}
	}
	for ; i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= ' '; i++ {
		seen |= uint64(b[i])
	}
	return i, seen
}

// leap skips blocks of plain string content.
func leap(b []byte, i int, seen uint64) (int, uint64) {
	for ; len(b)-i >= 32; i += 32 {
		w := b[i : i+32]
		x0, x1 := binary.LittleEndian.Uint64(w), binary.LittleEndian.Uint64(w[8:])
		x2, x3 := binary.LittleEndian.Uint64(w[16:]), binary.LittleEndian.Uint64(w[24:])
		if (loose(x0)|loose(x1)|loose(x2)|loose(x3))&highs != 0 {
			break
		}
		seen |= x0 | x1 | x2 | x3
	}
	return i, seen
}

// str checks the string whose content starts at i. It returns the position behind the closing quote, and whether the
// content has escapes.
func (s *scanner) str(i int) (end int, escaped bool) {
	end, seen := run(s.b, i)
	if end < len(s.b) && s.b[end] == '"' && seen&highs == 0 {
		return end + 1, false
	}
	return s.richStr(i, end, seen)
}

// richStr is str for a string that is not plain ASCII, which its content from start to i, with the bits seen, is.
func (s *scanner) richStr(start, i int, seen uint64) (end int, escaped bool) {
	b := s.b
	for {
		if i >= len(b) {
			return s.unexpected(i, ""), false
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
		var more uint64
		i, more = run(b, i)
		seen |= more
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
