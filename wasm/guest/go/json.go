package gw

import (
	"encoding/binary"
	"unicode/utf8"
)

// Kind is what a walk stands at.
type Kind uint8

// The kinds.
const (
	Key Kind = iota
	String
	Number
)

// Walk visits the keys, strings and numbers of JSON, in order:
//
//	for w := c.Walk(); w.Next(); {
type Walk struct {
	Kind     Kind
	Text     []byte // what it says, with no escapes left
	From, To int    // where it stands in the JSON, quotes included
	Depth    int    // how many objects and arrays are open around it
	Member   []byte // the key at depth one that it belongs to

	json []byte
	at   int

	context []byte // whole, of a walk that reads the table of leaves
	body    uint32 // where the body begins there
	table   []byte // what is left of the table
}

// leafSize is how many bytes a leaf takes in the table, and leafKinds how many of their kinds, from 1 on, are visited.
const (
	leafSize  = 24
	leafKinds = 3
)

// NewWalk begins a walk through JSON that no context has shown, such as a configuration.
func NewWalk(json []byte) *Walk { return &Walk{json: json} }

// leaf goes to the next leaf of the table.
func (w *Walk) leaf() bool {
	for t := w.table; len(t) >= leafSize; t = t[leafSize:] {
		kind := t[20] - 1
		if kind >= leafKinds {
			continue
		}
		text, raw := binary.LittleEndian.Uint64(t), binary.LittleEndian.Uint64(t[8:])
		w.Kind, w.Depth = Kind(kind), int(binary.LittleEndian.Uint16(t[22:]))
		w.Text = w.context[uint32(text):][:text>>32]
		w.From = int(uint32(raw) - w.body)
		w.To = w.From + int(raw>>32)
		if w.Kind == Key && w.Depth == 1 {
			w.Member = w.Text
		}
		w.table = t[leafSize:]
		return true
	}
	return false
}

// Next goes to what is next, and reports whether there is anything.
func (w *Walk) Next() bool {
	if w.context != nil {
		return w.leaf()
	}
	return w.parse()
}

func (w *Walk) parse() bool {
	for ; w.at < len(w.json); w.at++ {
		switch c := w.json[w.at]; {
		case c == '"':
			w.text()
			return true
		case c >= '0' && c <= '9' || c == '-':
			w.number()
			return true
		case c == '{' || c == '[':
			w.Depth++
		case c == '}' || c == ']':
			w.Depth--
		}
	}
	return false
}

func (w *Walk) number() {
	end := w.at
	for end < len(w.json) {
		if c := w.json[end]; (c < '0' || c > '9') && c != '-' && c != '+' && c != '.' && c|32 != 'e' {
			break
		}
		end++
	}
	w.Kind, w.Text, w.From, w.To, w.at = Number, w.json[w.at:end], w.at, end, end
}

func (w *Walk) text() {
	end, escaped := w.at+1, false
	for end < len(w.json) && w.json[end] != '"' {
		if w.json[end] == '\\' {
			escaped = true
			end++
		}
		end++
	}
	end = min(end, len(w.json))
	w.Text = w.json[w.at+1 : end]
	if escaped {
		w.Text = unescape(w.Text)
	}
	w.From, w.To = w.at, min(end+1, len(w.json))
	w.at, w.Kind = w.To, String
	if !w.key() {
		return
	}
	w.Kind = Key
	if w.Depth == 1 {
		w.Member = w.Text
	}
}

// key reports whether a colon follows.
func (w *Walk) key() bool {
	for _, c := range w.json[w.at:] {
		if c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c == ':'
		}
	}
	return false
}

func unescape(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' || i+1 == len(raw) {
			out = append(out, raw[i])
			continue
		}
		i++
		switch c := raw[i]; c {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'u':
			r := hex4(raw, i+1)
			i += 4
			if r >= 0xd800 && r < 0xdc00 { // the gateway lets no other surrogates through
				r = 0x10000 + (r-0xd800)<<10 + hex4(raw, i+3)&0x3ff
				i += 6
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, c)
		}
	}
	return out
}

func hex4(raw []byte, at int) (r rune) {
	for i := at; i < at+4 && i < len(raw); i++ {
		c := rune(raw[i])
		if c > '9' {
			c = c&^32 - 'A' + '9' + 1
		}
		r = r<<4 | (c-'0')&15
	}
	return r
}

// AppendString writes a JSON string with its quotes.
func AppendString[T string | []byte](b []byte, text T) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	done := 0
	for i := range len(text) {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, text[done:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, '\\', 'b')
		case '\f':
			b = append(b, '\\', 'f')
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		done = i + 1
	}
	return append(append(b, text[done:]...), '"')
}

// Edit copies JSON with some of its strings replaced.
type Edit struct {
	json, out []byte
	done      int
}

// NewEdit begins with a copy of nothing.
func NewEdit(json []byte) *Edit { return &Edit{json: json} }

// Replace puts a string in place of what the walk stands at.
func (e *Edit) Replace(w *Walk, text []byte) {
	e.out = AppendString(append(e.out, e.json[e.done:w.From]...), text)
	e.done = w.To
}

// Done returns the JSON.
func (e *Edit) Done() []byte { return append(e.out, e.json[e.done:]...) }

// IsWord reports whether words are made of a byte, as far as ASCII goes.
func IsWord(c byte) bool {
	return c|32 >= 'a' && c|32 <= 'z' || c >= '0' && c <= '9' || c == '_'
}
