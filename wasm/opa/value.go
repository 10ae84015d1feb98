package opa

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A policy hands over values as Rego writes them: JSON, and sets besides, {1,2} or set(). errValue says that it did not, which
// is a fault of the module and never of the policy's author.
var errValue = errors.New("a value of the policy's cannot be read")

// ErrLimit says that a built-in was asked for more than it may give.
var ErrLimit = errors.New("a built-in is asked for more than the gateway gives")

// maxNesting bounds how deep values lie in each other.
const maxNesting = 100

// Kinds of values, in the order in which OPA sorts them.
const (
	isNull = iota
	isBool
	isNumber
	isString
	isArray
	isObject
	isSet
)

// value is one of Rego's.
type value struct {
	kind int
	text string  // of a string what it says, of null, booleans and numbers how they are written
	near float64 // what a number is about
	list []value // of an object keys and values in turn
}

// parser reads values from left to right.
type parser struct {
	rest string
	bad  bool
}

// parseValue reads one value with nothing behind it.
func parseValue(b []byte) (value, error) {
	p := parser{rest: string(b)}
	v := p.value(0)
	if p.skip(); p.bad || p.rest != "" {
		return value{}, errValue
	}
	return v, nil
}

func (p *parser) skip() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

// take consumes s if it comes next.
func (p *parser) take(s string) bool {
	p.skip()
	rest, ok := strings.CutPrefix(p.rest, s)
	p.rest = rest
	return ok
}

func (p *parser) fail() value {
	p.bad, p.rest = true, ""
	return value{}
}

func (p *parser) value(depth int) value {
	switch p.skip(); {
	case p.rest == "" || depth > maxNesting:
		return p.fail()
	case p.rest[0] == '"':
		return p.text()
	case p.take("set()"):
		return value{kind: isSet}
	case p.take("["):
		return value{kind: isArray, list: p.items(depth, "]")}
	case p.take("{"):
		return p.braced(depth)
	}
	end := strings.IndexAny(p.rest, ",:]} \t\r\n")
	if end < 0 {
		end = len(p.rest)
	}
	word := p.rest[:end]
	p.rest = p.rest[end:]
	return p.scalar(word)
}

func (p *parser) scalar(word string) value {
	switch {
	case word == "null":
		return value{kind: isNull, text: word}
	case word == "true" || word == "false":
		return value{kind: isBool, text: word}
	case word != "" && (word[0] == '-' || word[0]-'0' <= 9):
		near, _ := strconv.ParseFloat(word, 64) // infinite when it is too large, which keeps the order
		return value{kind: isNumber, text: word, near: near}
	}
	return p.fail()
}

func (p *parser) text() value {
	plain := true
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c < ' ' || c >= utf8.RuneSelf:
			plain = false
		case c == '\\':
			plain = false
			i++
		case c == '"':
			s := p.rest[1:i]
			if plain {
				p.rest = p.rest[i+1:]
				return value{kind: isString, text: s}
			}
			if json.Unmarshal([]byte(p.rest[:i+1]), &s) != nil {
				return p.fail()
			}
			p.rest = p.rest[i+1:]
			return value{kind: isString, text: s}
		}
	}
	return p.fail()
}

// items reads what is between commas up to end.
func (p *parser) items(depth int, end string) []value {
	var list []value
	if p.take(end) {
		return nil
	}
	for !p.bad {
		list = append(list, p.value(depth+1))
		if p.take(end) {
			return list
		}
		if !p.take(",") {
			p.fail()
		}
	}
	return nil
}

// braced reads an object or a set, which differ by a colon.
func (p *parser) braced(depth int) value {
	if p.take("}") {
		return value{kind: isObject}
	}
	first := p.value(depth + 1)
	if !p.take(":") {
		v := value{kind: isSet, list: []value{first}}
		if p.take("}") {
			return v
		}
		if !p.take(",") {
			return p.fail()
		}
		v.list = append(v.list, p.items(depth, "}")...)
		return v
	}
	v := value{kind: isObject, list: []value{first, p.value(depth + 1)}}
	for !p.bad && !p.take("}") {
		if !p.take(",") {
			return p.fail()
		}
		key := p.value(depth + 1)
		if !p.take(":") {
			return p.fail()
		}
		v.list = append(v.list, key, p.value(depth+1))
	}
	return v
}

// compare orders values as OPA does.
func compare(a, b value) int {
	if a.kind != b.kind {
		return cmp.Compare(a.kind, b.kind)
	}
	switch a.kind {
	case isNumber:
		if c := cmp.Compare(a.near, b.near); c != 0 {
			return c
		}
		return compareNumbers(a.text, b.text)
	case isArray, isObject, isSet:
		return slices.CompareFunc(a.list, b.list, compare)
	}
	return strings.Compare(a.text, b.text)
}

// compareNumbers tells numbers apart that are the same double: integers exactly where 64 bits hold them, others by their text.
func compareNumbers(a, b string) int {
	if a == b {
		return 0
	}
	x, errX := strconv.ParseInt(a, 10, 64)
	y, errY := strconv.ParseInt(b, 10, 64)
	if errX == nil && errY == nil {
		return cmp.Compare(x, y)
	}
	return strings.Compare(a, b)
}

// sorted brings the members of sets and objects into OPA's order, at every depth.
func (v *value) sorted() {
	for i := range v.list {
		v.list[i].sorted()
	}
	switch v.kind {
	case isSet:
		slices.SortFunc(v.list, compare)
	case isObject:
		pairs := make([][2]value, 0, len(v.list)/2)
		for i := 0; i+1 < len(v.list); i += 2 {
			pairs = append(pairs, [2]value{v.list[i], v.list[i+1]})
		}
		slices.SortFunc(pairs, func(a, b [2]value) int { return compare(a[0], b[0]) })
		for i, p := range pairs {
			v.list[2*i], v.list[2*i+1] = p[0], p[1]
		}
	}
}

// append writes a sorted value as OPA prints its terms.
func (v *value) append(b []byte) []byte {
	open, end := "[", "]"
	switch v.kind {
	case isString:
		return strconv.AppendQuote(b, v.text)
	case isArray:
	case isObject, isSet:
		open, end = "{", "}"
		if v.kind == isSet && len(v.list) == 0 {
			return append(b, "set()"...)
		}
	default:
		return append(b, v.text...)
	}
	b = append(b, open...)
	for i := range v.list {
		switch {
		case i == 0:
		case v.kind == isObject && i%2 == 1:
			b = append(b, ": "...)
		default:
			b = append(b, ", "...)
		}
		b = v.list[i].append(b)
	}
	return append(b, end...)
}
