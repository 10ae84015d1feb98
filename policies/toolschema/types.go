package toolschema

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/merkle/canon"
)

// kind is what a JSON Schema describes.
type kind uint8

const (
	kindUnknown kind = iota // no type, or one this reading does not know: shown as an opaque entity
	kindBool
	kindInteger
	kindFloat
	kindNumber
	kindString
	kindDecimal
	kindDatetime
	kindDuration
	kindIP
	kindNull
	kindEnum
	kindArray
	kindTuple
	kindUnion
	kindObject
	kindRef
)

var plainKinds = map[string]kind{
	"boolean": kindBool, "integer": kindInteger, "float": kindFloat, "number": kindNumber, "string": kindString, "null": kindNull,
}

var formatKinds = map[string]kind{
	"date": kindDatetime, "date-time": kindDatetime, "duration": kindDuration, "ipv4": kindIP, "ipv6": kindIP, "decimal": kindDecimal,
}

// typ is one type of a description.
type typ struct {
	kind   kind
	values []string // of an enum, in their order
	elem   *typ     // of an array
	of     []*typ   // of a union or tuple
	props  []prop   // of an object, in their order
	extra  *typ     // what additionalProperties of an object says, if it is a schema
	ref    string
}

// typ reads a schema below the top.
func (r *reader) typ(where string, raw []byte) (*typ, error) {
	if err := r.count(where, raw); err != nil {
		return nil, err
	}
	if canon.KindOf(raw) != '{' {
		return nil, fault(where, "", "a schema is a JSON object here")
	}
	if name, ok := canon.Get(raw, "type"); ok {
		return r.typed(where, name, raw)
	}
	for _, word := range []string{"anyOf", "oneOf"} {
		if list, ok := canon.Get(raw, word); ok {
			of, err := r.list(where+" "+word, list)
			return &typ{kind: kindUnion, of: of}, err
		}
	}
	if ref, ok := canon.Get(raw, "$ref"); ok {
		return reference(where, ref)
	}
	return &typ{}, nil
}

func reference(where string, raw []byte) (*typ, error) {
	ref, err := text(raw)
	if err != nil {
		return nil, fault(where, "", "$ref is not a string")
	}
	name, ok := strings.CutPrefix(ref, "#/$defs/")
	if !ok {
		return nil, fault(where, "move the type under $defs of the same schema, tool or list", "$ref %q does not begin with #/$defs/", clip(ref))
	}
	return &typ{kind: kindRef, ref: name}, nil
}

// list reads an array of schemas.
func (r *reader) list(where string, raw []byte) (of []*typ, err error) {
	if canon.KindOf(raw) != '[' {
		return nil, fault(where, "", "it is not an array of schemas")
	}
	err = canon.EachElement(raw, func(i int, value []byte) error {
		t, err := r.typ(fmt.Sprintf("%s[%d]", where, i), value)
		of = append(of, t)
		return err
	})
	return of, err
}

// typed reads a schema that has a type: a name, or several.
func (r *reader) typed(where string, name, raw []byte) (*typ, error) {
	switch canon.KindOf(name) {
	case '"':
		return r.named(where, name, raw, false)
	case '[':
		u := &typ{kind: kindUnion}
		err := canon.EachElement(name, func(i int, one []byte) error {
			if canon.KindOf(one) != '"' {
				t, err := r.typ(fmt.Sprintf("%s type[%d]", where, i), one)
				u.of = append(u.of, t)
				return err
			}
			t, err := r.named(where, one, raw, true)
			u.of = append(u.of, t)
			return err
		})
		return u, err
	case 't', 'f', 'n':
		return &typ{}, nil
	}
	return nil, fault(where, "", "type is neither a name nor an array of names")
}

// named reads a schema of the type of that name. Among several types, what enum and format say of strings is left out, as
// they may be about another of them.
func (r *reader) named(where string, name, raw []byte, oneOfSeveral bool) (*typ, error) {
	s, err := text(name)
	if err != nil {
		return nil, fault(where, "", "type is not a string")
	}
	if err := r.count(where, raw); err != nil {
		return nil, err
	}
	switch s {
	case "string":
		if oneOfSeveral {
			return &typ{kind: kindString}, nil
		}
		return stringType(where, raw)
	case "array":
		return r.array(where, raw)
	case "object":
		return r.object(where, raw)
	}
	k, ok := plainKinds[s]
	if !ok {
		return nil, fault(where, "boolean, integer, float, number, string, null, array or object", "type %q does not exist", clip(s))
	}
	return &typ{kind: k}, nil
}

func stringType(where string, raw []byte) (*typ, error) {
	if list, ok := canon.Get(raw, "enum"); ok {
		values, err := texts(list)
		if err != nil || len(values) == 0 {
			return nil, fault(where, "", "enum of a string is not an array of one string or more")
		}
		return &typ{kind: kindEnum, values: values}, nil
	}
	format, ok := canon.Get(raw, "format")
	if !ok {
		return &typ{kind: kindString}, nil
	}
	f, err := text(format)
	if err != nil {
		return nil, fault(where, "", "format is not a string")
	}
	if k, ok := formatKinds[f]; ok {
		return &typ{kind: k}, nil
	}
	return &typ{kind: kindString}, nil
}

func (r *reader) object(where string, raw []byte) (*typ, error) {
	props, err := r.properties(where, raw)
	if err != nil {
		return nil, err
	}
	t := &typ{kind: kindObject, props: props}
	extra, ok := canon.Get(raw, "additionalProperties")
	if k := canon.KindOf(extra); !ok || k == 't' || k == 'f' || k == 'n' {
		return t, nil
	}
	t.extra, err = r.typ(where+" additionalProperties", extra)
	return t, err
}

// array reads an array: of one type, a tuple if prefixItems is all there may be, or of unknown types.
func (r *reader) array(where string, raw []byte) (*typ, error) {
	items, has := canon.Get(raw, "items")
	k := byte(0)
	if has {
		k = canon.KindOf(items)
	}
	var prefix []*typ
	first, isTuple := canon.Get(raw, "prefixItems")
	if isTuple = isTuple && canon.KindOf(first) == '['; isTuple {
		var err error
		if prefix, err = r.list(where+" prefixItems", first); err != nil {
			return nil, err
		}
		if k == 'f' {
			return &typ{kind: kindTuple, of: prefix}, nil
		}
	}
	switch {
	case k == '{':
		elem, err := r.typ(where+" items", items)
		if err == nil && slices.ContainsFunc(prefix, func(p *typ) bool { return !p.equal(elem) }) {
			elem = &typ{}
		}
		return &typ{kind: kindArray, elem: elem}, err
	case isTuple, k == 0, k == 't', k == 'f', k == 'n':
		return &typ{kind: kindArray, elem: &typ{}}, nil
	}
	return nil, fault(where, "", "items is not a schema")
}

// equal compares two types with all they are described by.
func (t *typ) equal(o *typ) bool {
	if t == nil || o == nil {
		return t == o
	}
	return t.kind == o.kind && t.ref == o.ref && slices.Equal(t.values, o.values) && t.elem.equal(o.elem) && t.extra.equal(o.extra) &&
		slices.EqualFunc(t.of, o.of, (*typ).equal) &&
		slices.EqualFunc(t.props, o.props, func(a, b prop) bool {
			return a.name == b.name && a.about == b.about && a.required == b.required && a.typ.equal(b.typ)
		})
}
