package catalogue

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/gatewright/gatewright/merkle/canon"
)

// checker walks raw checked JSON along nodes. It allocates only when it refuses
// or meets a string with escapes that has to be decoded.
type checker struct {
	quiet   int // within anyOf: a branch that fails needs no reason
	pointer string
	rule    string
}

// fail notes the rule that was broken and returns false.
func (c *checker) fail(rule string) bool {
	if c.quiet == 0 {
		c.rule = rule
	}
	return false
}

func (c *checker) failAt(rule string, limit int) bool {
	if c.quiet == 0 {
		c.rule = rule + " " + strconv.Itoa(limit)
	}
	return false
}

// at puts one step before the pointer while the walk unwinds from a failure.
func (c *checker) at(key []byte) {
	if c.quiet == 0 {
		c.pointer = string(appendToken(nil, key)) + c.pointer
	}
}

// value checks the value ahead of r and steps over it. Where it fails, r stays anywhere.
func (c *checker) value(n *node, r *canon.Cursor) bool {
	if n.never {
		return c.fail("false schema")
	}
	kind := r.Kind()
	container := kind == '{' || kind == '['
	start := *r
	var v []byte
	var number float64
	if !container {
		v = r.Value()
	}
	if kind == '0' {
		number, _ = strconv.ParseFloat(string(v), 64) // checked JSON holds no other
	}
	if n.types != 0 && !n.types.hold(kind, number) {
		return c.fail("type")
	}
	if n.values.limited && !n.values.hold(kind, v, number) {
		return c.fail("enum")
	}
	if n.anyOf != nil && !c.any(n.anyOf, start) {
		return c.fail("anyOf")
	}
	switch kind {
	case '{':
		return c.object(n, r)
	case '[':
		return c.array(n, r)
	case '"':
		return c.text(n, v)
	case '0':
		return c.number(n, number)
	}
	return true
}

func (t types) hold(kind byte, number float64) bool {
	switch kind {
	case '{':
		return t&typeObject != 0
	case '[':
		return t&typeArray != 0
	case '"':
		return t&typeString != 0
	case 't', 'f':
		return t&typeBool != 0
	case 'n':
		return t&typeNull != 0
	}
	return t&typeNumber != 0 || t&typeInteger != 0 && number == math.Trunc(number)
}

func (s *values) hold(kind byte, v []byte, number float64) bool {
	switch kind {
	case '"':
		if inner, plain := plainText(v); plain {
			_, ok := s.strings[string(inner)]
			return ok
		}
		text, err := canon.Unquote(v)
		_, ok := s.strings[text]
		return ok && err == nil
	case '0':
		return slices.Contains(s.numbers, number)
	case 't':
		return s.t
	case 'f':
		return s.f
	case 'n':
		return s.nul
	}
	return false
}

// any tries the branches from the same place.
func (c *checker) any(branches []*node, start canon.Cursor) bool {
	c.quiet++
	defer func() { c.quiet-- }()
	for _, b := range branches {
		r := start
		if c.value(b, &r) {
			return true
		}
	}
	return false
}

func (c *checker) object(n *node, r *canon.Cursor) bool {
	if n.props == nil && n.additional == nil && !n.closed && len(n.required) == 0 {
		return r.Value() != nil
	}
	var seen uint64
	for more := r.Enter(); more; more = r.More() {
		key := r.Key()
		p := n.props[string(key)]
		if p.bit != 0 {
			seen |= 1 << (p.bit - 1)
		}
		if !c.member(n, p, r) {
			c.at(key)
			return false
		}
	}
	for i, name := range n.required {
		if seen&(1<<i) == 0 {
			c.at([]byte(name))
			return c.fail("required")
		}
	}
	return !r.Broken()
}

func (c *checker) member(n *node, p property, r *canon.Cursor) bool {
	switch {
	case p.check != nil:
		return c.value(p.check, r)
	case p.declared:
	case n.closed:
		return c.fail("additionalProperties")
	case n.additional != nil:
		return c.value(n.additional, r)
	}
	return r.Value() != nil
}

func (c *checker) array(n *node, r *canon.Cursor) bool {
	if n.items == nil && n.minItems == 0 && n.maxItm < 0 {
		return r.Value() != nil
	}
	count := 0
	for more := r.Enter(); more; more = r.More() {
		switch {
		case n.items == nil:
			r.Value()
		case !c.value(n.items, r):
			if c.quiet == 0 {
				c.at(strconv.AppendInt(nil, int64(count), 10))
			}
			return false
		}
		count++
	}
	switch {
	case count < n.minItems:
		return c.failAt("minItems", n.minItems)
	case n.maxItm >= 0 && count > n.maxItm:
		return c.failAt("maxItems", n.maxItm)
	}
	return !r.Broken()
}

func (c *checker) text(n *node, v []byte) bool {
	if n.minLen == 0 && n.maxLen < 0 && n.pattern == nil {
		return true
	}
	inner, plain := plainText(v)
	if !plain {
		text, err := canon.Unquote(v)
		if err != nil {
			return c.fail("string")
		}
		inner = []byte(text)
	}
	// A text has at most as many runes as bytes, and at least a quarter as many.
	if n.minLen > len(inner)/utf8.UTFMax || n.maxLen >= 0 && len(inner) > n.maxLen {
		runes := utf8.RuneCount(inner)
		if runes < n.minLen {
			return c.failAt("minLength", n.minLen)
		}
		if n.maxLen >= 0 && runes > n.maxLen {
			return c.failAt("maxLength", n.maxLen)
		}
	}
	if n.pattern != nil && !n.pattern.Match(inner) {
		return c.fail("pattern")
	}
	return true
}

// plainText returns what is between the quotes; plain is false when it has
// escapes.
func plainText(v []byte) (inner []byte, plain bool) {
	inner = v[1 : len(v)-1]
	return inner, bytes.IndexByte(inner, '\\') < 0
}

func (c *checker) number(n *node, v float64) bool {
	switch {
	case n.min != nil && v < *n.min:
		return c.fail("minimum")
	case n.max != nil && v > *n.max:
		return c.fail("maximum")
	case n.above != nil && v <= *n.above:
		return c.fail("exclusiveMinimum")
	case n.below != nil && v >= *n.below:
		return c.fail("exclusiveMaximum")
	}
	return true
}
