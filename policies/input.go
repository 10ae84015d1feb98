package policies

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/x/exp/schema/ast"

	"github.com/gatewright/gatewright/merkle/canon"
)

// kind says how a JSON value at one place of a tool's input is shown to policy.
//
//	JSON Schema                                  Cedar
//	string, also with enum, const or format      String
//	boolean                                      Bool
//	integer, also with enum or const             Long (1e3 and 5.0 are integers, as in JSON Schema)
//	number                                       decimal; a value with more than four decimals denies if it is read
//	array with items of one type                 Set of that type: order and repetition are not visible
//	object with properties                       record; members the schema does not name deny if it is read
//	T or null, as a member of an object          optional T; a null counts as absent and is listed in inputNulls
//	anything else                                Json: kind, canonical text and, for a scalar, a typed view
//
// So a null at the top of a union, a float beyond decimal, a mixed array, a tuple and a free-form object all keep their
// exact text in a Json value, and nothing is ever left out silently.
type kind uint8

const (
	kindJSON kind = iota
	kindString
	kindBool
	kindLong
	kindDecimal
	kindSet
	kindRecord
)

// Bounds of a tool's schema as policy sees it. Deeper or wider parts are shown as Json.
const (
	maxTypeDepth  = 8
	maxTypeFields = 256  // members of one object
	maxTypeNodes  = 2000 // of one tool: anyOf and $ref can multiply
)

// shape is the type of one value.
type shape struct {
	kind   kind
	elem   *shape   // of a set
	fields []member // of a record, sorted by name
}

// member is one attribute of a record.
type member struct {
	name     string
	shape    *shape
	required bool
	nullable bool // null is allowed and counts as absent
}

func (s *shape) member(name []byte) *member {
	lo, hi := 0, len(s.fields)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		switch f := s.fields[mid].name; {
		case f == string(name):
			return &s.fields[mid]
		case f < string(name):
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return nil
}

// cedar gives the type for the validator.
func (s *shape) cedar() ast.IsType {
	switch s.kind {
	case kindString:
		return ast.String()
	case kindBool:
		return ast.Bool()
	case kindLong:
		return ast.Long()
	case kindDecimal:
		return ast.Decimal()
	case kindSet:
		return ast.Set(s.elem.cedar())
	case kindRecord:
		rec := ast.RecordType{}
		for _, m := range s.fields {
			rec[cedarString(m.name)] = ast.Attribute{Type: m.shape.cedar(), Optional: !m.required || m.nullable}
		}
		return rec
	default:
		return ast.Type("Json")
	}
}

// signature is equal for two shapes exactly if policy sees them alike.
func (s *shape) signature() string {
	switch s.kind {
	case kindSet:
		return "[" + s.elem.signature() + "]"
	case kindRecord:
		var b strings.Builder
		b.WriteByte('{')
		for _, m := range s.fields {
			fmt.Fprintf(&b, "%q%t:%s,", m.name, m.required && !m.nullable, m.shape.signature())
		}
		b.WriteByte('}')
		return b.String()
	default:
		return string('0' + rune(s.kind))
	}
}

// schemaNode is the part of JSON Schema that has a meaning for types. Constraints on values are the catalogue's to check.
type schemaNode struct {
	Ref        string
	Type       json.RawMessage
	Properties map[string]json.RawMessage
	Required   []string
	Additional json.RawMessage
	Patterns   json.RawMessage
	Items      json.RawMessage
	Prefix     json.RawMessage
	Enum       []json.RawMessage
	Const      json.RawMessage
	AnyOf      []json.RawMessage
	OneOf      []json.RawMessage
	AllOf      []json.RawMessage
}

// typer turns one tool's schema into shapes.
type typer struct {
	root  []byte
	nodes int
	work  int // bytes of schema read so far; nested schemas and references read the same bytes again
}

// maxTypeWork bounds the bytes read for one tool. What lies beyond is shown as Json.
const maxTypeWork = 1 << 20

// inputShape reads a tool's input schema. The result is always a record: the tool's top-level parameters. A schema whose
// top is not a plain object gives an empty record, and all arguments are then seen as undeclared.
func inputShape(schema []byte) (*shape, error) {
	if len(schema) == 0 {
		return &shape{kind: kindRecord}, nil
	}
	if err := canon.Check(schema, canon.DefaultLimits()); err != nil {
		return nil, fmt.Errorf("input schema: %w", err)
	}
	t := &typer{root: schema}
	n, err := t.node(schema)
	if err != nil {
		return nil, fmt.Errorf("input schema: %w", err)
	}
	return t.record(n, 0, true), nil
}

var errNotSchema = errors.New("not a JSON Schema object")

func (t *typer) node(raw []byte) (schemaNode, error) {
	var n schemaNode
	t.work += len(raw)
	if t.nodes++; t.nodes > maxTypeNodes || t.work > maxTypeWork || canon.KindOf(raw) != '{' {
		return n, errNotSchema
	}
	return decodeNode(raw)
}

// decodeNode reads the words of a schema by their exact names. encoding/json also takes "Properties" for "properties",
// and what policy sees of a tool would then not be what its arguments are held against.
func decodeNode(raw []byte) (n schemaNode, err error) {
	var words map[string]json.RawMessage
	if err := json.Unmarshal(raw, &words); err != nil {
		return n, fmt.Errorf("read schema: %w", err)
	}
	take := func(name string, into any) {
		if v, ok := words[name]; ok && err == nil {
			err = json.Unmarshal(v, into)
		}
	}
	take("$ref", &n.Ref)
	take("type", &n.Type)
	take("properties", &n.Properties)
	take("required", &n.Required)
	take("additionalProperties", &n.Additional)
	take("patternProperties", &n.Patterns)
	take("items", &n.Items)
	take("prefixItems", &n.Prefix)
	take("enum", &n.Enum)
	take("const", &n.Const)
	take("anyOf", &n.AnyOf)
	take("oneOf", &n.OneOf)
	take("allOf", &n.AllOf)
	return n, err
}

// shape never fails: what it does not understand is shown as Json. nullable says that null is one of the values.
func (t *typer) shape(raw []byte, depth int) (s *shape, nullable bool) {
	opaque := &shape{kind: kindJSON}
	if depth > maxTypeDepth {
		return opaque, false
	}
	n, err := t.node(raw)
	if err != nil {
		return opaque, false
	}
	if n.Ref != "" {
		if target, ok := t.local(n.Ref); ok {
			return t.shape(target, depth+1)
		}
		return opaque, false
	}
	if choices, ok := n.choices(); ok {
		return t.choice(choices, depth)
	}
	name, nullable, ok := n.typeName()
	if !ok {
		return opaque, false
	}
	return t.named(name, n, depth), nullable
}

// choices gives the branches of a union. A node that mixes a union with other words about structure has no simple type.
func (n schemaNode) choices() ([]json.RawMessage, bool) {
	switch {
	case n.AnyOf != nil:
		return n.AnyOf, true
	case n.OneOf != nil:
		return n.OneOf, true
	case n.AllOf != nil:
		if len(n.AllOf) == 1 && n.Properties == nil {
			return n.AllOf, true
		}
		return nil, true
	}
	return nil, false
}

// choice understands one case: a type, or that type and null.
func (t *typer) choice(branches []json.RawMessage, depth int) (*shape, bool) {
	var only *shape
	nullable := false
	for _, b := range branches {
		n, err := t.node(b)
		if err != nil {
			return &shape{}, false
		}
		if name, _, ok := n.typeName(); ok && name == "null" {
			nullable = true
			continue
		}
		s, null := t.shape(b, depth+1)
		if only != nil && only.signature() != s.signature() {
			return &shape{}, false
		}
		only, nullable = s, nullable || null
	}
	if only == nil {
		return &shape{}, false
	}
	return only, nullable
}

// typeName gives the one type of a node; null beside it is reported apart.
func (n schemaNode) typeName() (name string, nullable, ok bool) {
	var list []string
	switch canon.KindOf(n.Type) {
	case '"':
		list = make([]string, 1)
		_ = json.Unmarshal(n.Type, &list[0]) // a checked JSON string
	case '[':
		if json.Unmarshal(n.Type, &list) != nil {
			return "", false, false
		}
	default:
		return n.valuesType()
	}
	for _, t := range list {
		switch {
		case t == "null" && len(list) > 1:
			nullable = true
		case name == "":
			name = t
		default:
			return "", false, false
		}
	}
	return name, nullable, name != ""
}

// valuesType infers the type from enum or const where no type is given.
func (n schemaNode) valuesType() (name string, nullable, ok bool) {
	values := n.Enum
	if n.Const != nil {
		values = []json.RawMessage{n.Const}
	}
	for _, v := range values {
		t := map[byte]string{'"': "string", 't': "boolean", 'f': "boolean", '0': "number"}[canon.KindOf(v)]
		if canon.KindOf(v) == 'n' {
			nullable = true
			continue
		}
		if _, isLong := parseLong(v); t == "number" && isLong {
			t = "integer"
		}
		if t == "" || name != "" && name != t {
			return "", false, false
		}
		name = t
	}
	if name == "" && n.Properties != nil {
		return "object", false, true
	}
	return name, nullable, name != ""
}

func (t *typer) named(name string, n schemaNode, depth int) *shape {
	switch name {
	case "string":
		return &shape{kind: kindString}
	case "boolean":
		return &shape{kind: kindBool}
	case "integer":
		return &shape{kind: kindLong}
	case "number":
		return &shape{kind: kindDecimal}
	case "array":
		if n.Items == nil || n.Prefix != nil {
			return &shape{kind: kindJSON}
		}
		elem, nullable := t.shape(n.Items, depth+1)
		if nullable || elem.kind == kindJSON {
			return &shape{kind: kindJSON} // the text keeps the order, a Set of texts would not
		}
		return &shape{kind: kindSet, elem: elem}
	case "object":
		return t.record(n, depth, false)
	}
	return &shape{kind: kindJSON}
}

// record gives the record of an object's properties. Below the top, an object that takes members it does not name has no
// record type and is shown whole.
func (t *typer) record(n schemaNode, depth int, top bool) *shape {
	open := n.Patterns != nil || n.Additional != nil && string(n.Additional) != "false"
	if !top && (open || n.Properties == nil) || len(n.Properties) > maxTypeFields {
		if top {
			return &shape{kind: kindRecord}
		}
		return &shape{kind: kindJSON}
	}
	rec := &shape{kind: kindRecord}
	for name, raw := range n.Properties {
		s, nullable := t.shape(raw, depth+1)
		nullable = nullable && s.kind != kindJSON // a Json value shows its null itself
		rec.fields = append(rec.fields, member{name: name, shape: s, nullable: nullable, required: slices.Contains(n.Required, name)})
	}
	slices.SortFunc(rec.fields, func(a, b member) int { return strings.Compare(a.name, b.name) })
	return rec
}

// local resolves a JSON Pointer reference inside the same document. Nothing is ever fetched.
func (t *typer) local(ref string) ([]byte, bool) {
	rest, ok := strings.CutPrefix(ref, "#/")
	if t.work += len(t.root); !ok || t.work > maxTypeWork {
		return nil, false
	}
	at := t.root
	for word := range strings.SplitSeq(rest, "/") {
		word = strings.ReplaceAll(strings.ReplaceAll(word, "~1", "/"), "~0", "~")
		if canon.KindOf(at) != '{' {
			return nil, false
		}
		if at, ok = canon.Get(at, word); !ok {
			return nil, false
		}
	}
	return at, true
}
