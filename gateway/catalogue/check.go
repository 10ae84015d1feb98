package catalogue

import (
	"bytes"
	"errors"
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

// errStop ends a walk early.
var errStop = errors.New("stop")

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

func (c *checker) value(n *node, v []byte) bool {
	if n.never {
		return c.fail("false schema")
	}
	kind := canon.KindOf(v)
	var number float64
	if kind == '0' {
		number, _ = strconv.ParseFloat(string(v), 64) // checked JSON holds no other
	}
	if n.types != 0 && !n.types.hold(kind, number) {
		return c.fail("type")
	}
	if n.values.limited && !n.values.hold(kind, v, number) {
		return c.fail("enum")
	}
	if n.anyOf != nil && !c.any(n.anyOf, v) {
		return c.fail("anyOf")
	}
	switch kind {
	case '{':
		return c.object(n, v)
	case '[':
		return c.array(n, v)
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

func (c *checker) any(branches []*node, v []byte) bool {
	c.quiet++
	defer func() { c.quiet-- }()
	for _, b := range branches {
		if c.value(b, v) {
			return true
		}
	}
	return false
}

func (c *checker) object(n *node, v []byte) bool {
	if n.props == nil && n.additional == nil && !n.closed {
		return true
	}
	var seen uint64
	err := canon.Each(v, func(key, value []byte) error {
		p := n.props[string(key)]
		if p.bit != 0 {
			seen |= 1 << (p.bit - 1)
		}
		if !c.member(n, p, value) {
			c.at(key)
			return errStop
		}
		return nil
	})
	if err != nil {
		return false
	}
	for i, name := range n.required {
		if seen&(1<<i) == 0 {
			c.at([]byte(name))
			return c.fail("required")
		}
	}
	return true
}

func (c *checker) member(n *node, p property, value []byte) bool {
	switch {
	case p.check != nil:
		return c.value(p.check, value)
	case p.declared:
		return true
	case n.closed:
		return c.fail("additionalProperties")
	case n.additional != nil:
		return c.value(n.additional, value)
	}
	return true
}

func (c *checker) array(n *node, v []byte) bool {
	if n.items == nil && n.minItems == 0 && n.maxItm < 0 {
		return true
	}
	count := 0
	err := canon.EachElement(v, func(i int, value []byte) error {
		count++
		if n.items != nil && !c.value(n.items, value) {
			if c.quiet == 0 {
				c.at(strconv.AppendInt(nil, int64(i), 10))
			}
			return errStop
		}
		return nil
	})
	switch {
	case err != nil:
		return false
	case count < n.minItems:
		return c.failAt("minItems", n.minItems)
	case n.maxItm >= 0 && count > n.maxItm:
		return c.failAt("maxItems", n.maxItm)
	}
	return true
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
