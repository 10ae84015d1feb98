package intent

import (
	"encoding/json"

	"github.com/gatewright/gatewright/merkle/canon"
)

// A schema constraint is JSON Schema cut down to what can be checked in one pass over the value:
// type, const, enum, minimum, maximum, exclusiveMinimum, exclusiveMaximum, minLength, maxLength,
// pattern (RE2, unanchored as JSON Schema has it), items, minItems, maxItems, properties, required,
// additionalProperties (true or false), minProperties, maxProperties and anyOf. title and description
// say nothing. Every other keyword is refused: ignoring one would allow more than its author meant.

// Bounds of one schema: deeper or larger ones belong into the tool's own input schema.
const (
	maxSchemaDepth = 8
	maxSchemaNodes = 128
)

// span is an inclusive range of counts; the zero value of high means none is set.
type span struct {
	low, high int
	capped    bool
}

func (s span) holds(n int) bool { return n >= s.low && (!s.capped || n <= s.high) }

type schema struct {
	kinds      string // KindOf bytes allowed, 'i' for integers; empty allows all
	want       [][]byte
	low, high  *decimal
	openLow    bool // low itself is excluded
	openHigh   bool
	length     span // code points
	pattern    *pattern
	items      *schema
	count      span // array elements
	properties map[string]*schema
	required   []string
	closed     bool // additionalProperties is false
	size       span // object members
	anyOf      []*schema
}

type schemaReader struct {
	pats  *patterns
	nodes int
}

func compileSchema(raw json.RawMessage, at string, pats *patterns) (*schema, error) {
	if err := canon.Check(raw, canon.DefaultLimits()); err != nil {
		return nil, invalid(at, "schema is not strict JSON: "+err.Error(), "")
	}
	return (&schemaReader{pats: pats}).read(trim(raw), at, 0)
}

func (c *schemaReader) read(raw []byte, at string, depth int) (*schema, error) {
	c.nodes++
	if depth > maxSchemaDepth || c.nodes > maxSchemaNodes {
		return nil, invalid(at, "schema deeper than 8 levels or larger than 128 nodes", "")
	}
	s := new(schema)
	err := members(raw, at, func(key string, v []byte, at string) error {
		switch key {
		case "title", "description":
			return nil
		case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum":
			return s.readBound(key, v, at)
		case "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties":
			return s.readSpan(key, v, at)
		case "items", "properties", "anyOf":
			return c.readNested(s, key, v, at, depth)
		}
		return c.readKeyword(s, key, v, at)
	})
	return s, err
}

func (c *schemaReader) readKeyword(s *schema, key string, v []byte, at string) (err error) {
	if s.want != nil && (key == "const" || key == "enum") {
		return invalid(at, "const and enum cannot stand together", "")
	}
	switch key {
	case "type":
		return s.readTypes(v, at)
	case "const":
		s.want, err = canonicalAll([]json.RawMessage{v}, at)
		return err
	case "enum":
		var values []json.RawMessage
		if err := readEnum(&values, v, at, DefaultLimits().Enum); err != nil {
			return err
		}
		s.want, err = canonicalAll(values, at)
		return err
	case "pattern":
		var text string
		if err := readText(&text, v, at, maxPattern); err != nil {
			return err
		}
		s.pattern, err = c.pats.compile(text, at, false)
		return err
	case "required":
		return readTexts(&s.required, v, at, maxSchemaNodes)
	case "additionalProperties":
		open := true
		if err := readBool(&open, v, at); err != nil {
			return err
		}
		s.closed = !open
		return nil
	}
	return invalid(at, "unknown schema keyword", "only keywords that are enforced are accepted")
}

func (c *schemaReader) readNested(s *schema, key string, v []byte, at string, depth int) (err error) {
	switch key {
	case "items":
		s.items, err = c.read(v, at, depth+1)
		return err
	case "anyOf":
		err = elements(v, at, maxSchemaDepth, func(v []byte, at string) error {
			sub, err := c.read(v, at, depth+1)
			s.anyOf = append(s.anyOf, sub)
			return err
		})
		if err == nil && len(s.anyOf) == 0 {
			return invalid(at, "needs at least one schema", "")
		}
		return err
	}
	s.properties = make(map[string]*schema)
	return members(v, at, func(name string, v []byte, at string) error {
		sub, err := c.read(v, at, depth+1)
		s.properties[name] = sub
		return err
	})
}

func (s *schema) readTypes(v []byte, at string) error {
	var names []string
	if canon.KindOf(v) == '"' {
		names = make([]string, 1)
		if err := readText(&names[0], v, at, maxName); err != nil {
			return err
		}
	} else if err := readTexts(&names, v, at, 7); err != nil {
		return err
	}
	letters := map[string]string{"object": "{", "array": "[", "string": `"`, "number": "0", "integer": "i", "boolean": "tf", "null": "n"}
	for _, n := range names {
		l, ok := letters[n]
		if !ok {
			return invalid(at, "unknown type", "allowed: object, array, string, number, integer, boolean, null")
		}
		s.kinds += l
	}
	if s.kinds == "" {
		return invalid(at, "needs at least one type", "")
	}
	return nil
}

func (s *schema) readBound(key string, v []byte, at string) error {
	if canon.KindOf(v) != '0' {
		return invalid(at, "must be a number", "")
	}
	d := parseDecimal(append([]byte(nil), v...))
	switch key {
	case "minimum", "exclusiveMinimum":
		if s.low != nil {
			return invalid(at, "minimum and exclusiveMinimum cannot stand together", "")
		}
		s.low, s.openLow = &d, key == "exclusiveMinimum"
	default:
		if s.high != nil {
			return invalid(at, "maximum and exclusiveMaximum cannot stand together", "")
		}
		s.high, s.openHigh = &d, key == "exclusiveMaximum"
	}
	return nil
}

func (s *schema) readSpan(key string, v []byte, at string) error {
	n, err := readInt(v, at, 1<<31-1)
	if err != nil {
		return err
	}
	target := &s.size
	switch key[3:] {
	case "Length":
		target = &s.length
	case "Items":
		target = &s.count
	}
	if key[:3] == "min" {
		target.low = int(n)
		return nil
	}
	target.high, target.capped = int(n), true
	return nil
}

// allows checks a value that has passed the strict gate. Recursion is bounded by the schema's depth.
func (s *schema) allows(a *arguments, v []byte) bool {
	if !a.spend(1+len(v)/64) || !s.allowsKind(v) || !s.allowsValue(a, v) {
		return false
	}
	ok := true
	switch canon.KindOf(v) {
	case '0':
		ok = s.allowsNumber(parseDecimal(v))
	case '"':
		ok = s.allowsText(a, v)
	case '[':
		ok = s.allowsArray(a, v)
	case '{':
		ok = s.allowsObject(a, v)
	}
	if !ok || s.anyOf == nil {
		return ok
	}
	for _, sub := range s.anyOf {
		if sub.allows(a, v) {
			return true
		}
	}
	return false
}

func (s *schema) allowsKind(v []byte) bool {
	if s.kinds == "" {
		return true
	}
	k := canon.KindOf(v)
	for i := range len(s.kinds) {
		if s.kinds[i] == k || s.kinds[i] == 'i' && k == '0' && parseDecimal(v).isInteger() {
			return true
		}
	}
	return false
}

func (s *schema) allowsValue(a *arguments, v []byte) bool {
	if s.want == nil {
		return true
	}
	m := member{value: v}
	for _, w := range s.want {
		if a.spend(1) && a.equal(&m, w) {
			return true
		}
	}
	return false
}

func (s *schema) allowsNumber(d decimal) bool {
	if s.low != nil {
		if c := d.compare(*s.low); c < 0 || c == 0 && s.openLow {
			return false
		}
	}
	if s.high != nil {
		if c := d.compare(*s.high); c > 0 || c == 0 && s.openHigh {
			return false
		}
	}
	return true
}

func (s *schema) allowsText(a *arguments, v []byte) bool {
	if s.pattern == nil && !s.length.capped && s.length.low == 0 {
		return true
	}
	text, ok := a.text(v)
	return ok && s.length.holds(runeCount(text)) && (s.pattern == nil || a.matches(s.pattern, text))
}

func (s *schema) allowsArray(a *arguments, v []byte) bool {
	n := 0
	err := canon.EachElement(v, func(_ int, e []byte) error {
		n++
		if s.items != nil && !s.items.allows(a, e) {
			return errSchema
		}
		return nil
	})
	return err == nil && s.count.holds(n)
}

func (s *schema) allowsObject(a *arguments, v []byte) bool {
	n := 0
	err := canon.Each(v, func(k, e []byte) error {
		n++
		sub, known := s.properties[string(k)]
		if known && !sub.allows(a, e) || !known && s.closed {
			return errSchema
		}
		return nil
	})
	if err != nil || !s.size.holds(n) {
		return false
	}
	for _, name := range s.required {
		if _, ok := canon.Get(v, name); !ok || !a.spend(1+len(v)/64) {
			return false
		}
	}
	return true
}

var errSchema = refuse(ArgsMismatch, "value breaks the schema", "")
