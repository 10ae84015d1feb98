package catalogue

import (
	"regexp"
	"slices"
	"strconv"

	"github.com/gatewright/gatewright/merkle/canon"
)

// node is one subschema made of the usual keywords only.
type node struct {
	never bool  // the schema false
	types types // 0: any

	props      map[string]property
	required   []string // by bit of property.bit
	additional *node    // for members not in props; nil allows them
	closed     bool     // additionalProperties false

	values values // const and enum, when limited

	min, max         *float64
	above, below     *float64 // exclusive
	minLen, maxLen   int      // runes; maxLen < 0: no limit
	pattern          *regexp.Regexp
	patternText      string
	items            *node
	minItems, maxItm int
	anyOf            []*node
}

// property is what a node says about one member. check is nil when the member
// is only required.
type property struct {
	check    *node
	declared bool  // listed in properties, so additionalProperties does not apply
	bit      uint8 // 1 + the index in required; 0: optional
}

// maxRequired is how many members one object may require: a check keeps their
// presence in one word. More go to the library.
const maxRequired = 64

type types uint8

const (
	typeNull types = 1 << iota
	typeBool
	typeObject
	typeArray
	typeString
	typeNumber
	typeInteger
)

var typeNames = map[string]types{
	"null": typeNull, "boolean": typeBool, "object": typeObject, "array": typeArray,
	"string": typeString, "number": typeNumber, "integer": typeInteger,
}

// values is a set of scalars.
type values struct {
	limited   bool
	strings   map[string]struct{}
	numbers   []float64
	t, f, nul bool
}

// ignored are the keywords that judge nothing here. Keywords unknown to JSON
// Schema judge nothing either, but a name not listed may belong to a draft
// still to come: such schemas go to the library.
var ignored = map[string]bool{
	"title": true, "description": true, "default": true, "examples": true, "$comment": true, "deprecated": true,
	"readOnly": true, "writeOnly": true, "x-mcp-header": true,
}

// plainDrafts are the drafts in which the keywords read here mean the same. In
// the older two of them format is asserted.
var plainDrafts = map[string]bool{
	`"https://json-schema.org/draft/2020-12/schema"`:  true,
	`"https://json-schema.org/draft/2020-12/schema#"`: true,
	`"https://json-schema.org/draft/2019-09/schema"`:  true,
	`"https://json-schema.org/draft/2019-09/schema#"`: true,
	`"http://json-schema.org/draft-07/schema#"`:       false,
	`"http://json-schema.org/draft-07/schema"`:        false,
	`"http://json-schema.org/draft-06/schema#"`:       false,
}

// nodeCompiler notes when something is met that only the library can judge.
type nodeCompiler struct {
	plainFormat bool
	foreign     bool
}

// compileNode compiles a schema that the library has accepted; ok is false when
// it uses more than the usual keywords.
func compileNode(raw []byte) (n *node, ok bool) {
	c := &nodeCompiler{plainFormat: true}
	if draft, has := canon.Get(raw, "$schema"); has {
		plain, known := plainDrafts[string(draft)]
		if !known {
			return nil, false
		}
		c.plainFormat = plain
	}
	n = c.node(raw, true)
	return n, !c.foreign
}

func (c *nodeCompiler) node(raw []byte, root bool) *node {
	n := &node{maxLen: -1, maxItm: -1}
	switch canon.KindOf(raw) {
	case 't':
		return n
	case 'f':
		n.never = true
		return n
	}
	_ = canon.Each(raw, func(key, value []byte) error { // an accepted schema: cannot fail
		c.keyword(n, string(key), value, root)
		return nil
	})
	if extra, ok := canon.Get(raw, "additionalProperties"); ok {
		c.additional(n, extra)
	}
	return n
}

func (c *nodeCompiler) keyword(n *node, key string, v []byte, root bool) {
	switch key {
	case "type":
		c.each(v, func(name []byte) { n.types |= typeNames[c.text(name)] })
	case "properties":
		c.properties(n, v)
	case "required":
		c.each(v, func(name []byte) { c.require(n, c.text(name)) })
	case "enum":
		c.limit(n, v, true)
	case "const":
		c.limit(n, v, false)
	case "minimum":
		n.min = c.number(v)
	case "maximum":
		n.max = c.number(v)
	case "exclusiveMinimum":
		n.above = c.number(v)
	case "exclusiveMaximum":
		n.below = c.number(v)
	case "minLength":
		n.minLen = c.count(v)
	case "maxLength":
		n.maxLen = c.count(v)
	case "minItems":
		n.minItems = c.count(v)
	case "maxItems":
		n.maxItm = c.count(v)
	case "pattern":
		c.pattern(n, v)
	case "items":
		if canon.KindOf(v) == '[' {
			c.foreign = true // by position, in older drafts
			return
		}
		n.items = c.node(v, false)
	case "anyOf":
		c.each(v, func(sub []byte) { n.anyOf = append(n.anyOf, c.node(sub, false)) })
	case "additionalProperties": // see node
	case "format":
		c.foreign = c.foreign || !c.plainFormat
	case "$schema":
		c.foreign = c.foreign || !root
	default:
		c.foreign = c.foreign || !ignored[key]
	}
}

// each calls fn for each element of an array, or for the value itself.
func (c *nodeCompiler) each(v []byte, fn func(value []byte)) {
	if canon.KindOf(v) != '[' {
		fn(v)
		return
	}
	_ = canon.EachElement(v, func(_ int, value []byte) error { fn(value); return nil }) // accepted: cannot fail
}

func (c *nodeCompiler) text(v []byte) string {
	s, err := canon.Unquote(v)
	c.foreign = c.foreign || err != nil
	return s
}

func (c *nodeCompiler) number(v []byte) *float64 {
	f, err := strconv.ParseFloat(string(v), 64)
	c.foreign = c.foreign || err != nil
	return &f
}

// count reads a length. 1e2 and 2.0 are lengths too; the library may have them.
func (c *nodeCompiler) count(v []byte) int {
	i, err := strconv.Atoi(string(v))
	c.foreign = c.foreign || err != nil || i < 0
	return i
}

func (c *nodeCompiler) pattern(n *node, v []byte) {
	n.patternText = c.text(v)
	re, err := boundedPattern(n.patternText)
	if err != nil {
		c.foreign = true
		return
	}
	n.pattern = re
}

func (c *nodeCompiler) properties(n *node, v []byte) {
	_ = canon.Each(v, func(key, value []byte) error { // accepted: cannot fail
		p := n.property(string(key))
		p.check, p.declared = c.node(value, false), true
		n.props[string(key)] = p
		return nil
	})
}

// property returns what is known of a member so far; properties and required
// come in any order.
func (n *node) property(name string) property {
	if n.props == nil {
		n.props = map[string]property{}
	}
	return n.props[name]
}

func (c *nodeCompiler) require(n *node, name string) {
	p := n.property(name)
	if p.bit != 0 {
		return
	}
	if len(n.required) == maxRequired {
		c.foreign = true
		return
	}
	n.required = append(n.required, name)
	p.bit = uint8(len(n.required))
	n.props[name] = p
}

func (c *nodeCompiler) additional(n *node, v []byte) {
	switch canon.KindOf(v) {
	case 'f':
		n.closed = true
	case '{':
		n.additional = c.node(v, false)
	}
}

// limit takes const or enum. Both together, and values that are objects or
// arrays, are rare and left to the library.
func (c *nodeCompiler) limit(n *node, v []byte, many bool) {
	c.foreign = c.foreign || n.values.limited
	n.values.limited = true
	n.values.strings = map[string]struct{}{}
	if !many {
		c.allow(&n.values, v)
		return
	}
	_ = canon.EachElement(v, func(_ int, value []byte) error { c.allow(&n.values, value); return nil })
}

func (c *nodeCompiler) allow(set *values, v []byte) {
	switch canon.KindOf(v) {
	case '"':
		set.strings[c.text(v)] = struct{}{}
	case '0':
		if f := c.number(v); !slices.Contains(set.numbers, *f) {
			set.numbers = append(set.numbers, *f)
		}
	case 't':
		set.t = true
	case 'f':
		set.f = true
	case 'n':
		set.nul = true
	default:
		c.foreign = true
	}
}
