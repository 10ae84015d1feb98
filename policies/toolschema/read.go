package toolschema

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Bounds of what is read and written.
const (
	maxBytes = 2 << 20
	maxDepth = 64 // of the JSON; a type nests at about half of it
	maxTools = 2000
	maxNodes = 100_000 // types
	maxName  = 128     // bytes of a tool's, type's or member's name
	maxWork  = 1 << 28 // bytes looked at: what is nested is looked at once more at each level
	maxText  = 32 << 20
)

// Error is why no schema can be written. Where is a path into the descriptions or the stub.
type Error struct {
	Where string
	Msg   string
	Hint  string
}

// Error gives "where: message (hint)".
func (e *Error) Error() string {
	s := e.Msg
	if e.Where != "" {
		s = e.Where + ": " + s
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

func fault(where, hint, format string, args ...any) error {
	return &Error{Where: where, Msg: fmt.Sprintf(format, args...), Hint: hint}
}

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

// prop is a member of an object.
type prop struct {
	name, about string
	required    bool
	typ         *typ
}

// def is a type under $defs.
type def struct {
	name string
	typ  *typ
}

// params is an inputSchema or outputSchema.
type params struct {
	props []prop
	defs  []def
}

// tool is one description.
type tool struct {
	name    string
	in, out params
	defs    []def
}

// reader turns checked JSON into types, and counts them: a list of types multiplies what stands below it.
type reader struct{ nodes, work int }

func (r *reader) count(where string, raw []byte) error {
	r.nodes++
	if r.work += len(raw); r.nodes > maxNodes || r.work > maxWork {
		return fault(where, "write the schemas of fewer tools", "more than %d types, or too deep ones", maxNodes)
	}
	return nil
}

// server reads a tools/list response, an array of tools, or one tool.
func (r *reader) server(text []byte) (tools []tool, defs []def, err error) {
	limits := canon.Limits{Bytes: maxBytes, Depth: maxDepth, Values: 4 * maxNodes}
	if err := canon.Check(text, limits); err != nil {
		return nil, nil, &Error{Msg: err.Error(), Hint: "give what tools/list answered, an array of tools, or one tool"}
	}
	text = bytes.TrimSpace(text)
	list := text
	switch canon.KindOf(text) {
	case '{':
		result, ok := canon.Get(text, "result")
		if !ok {
			t, err := r.tool("tool", text)
			return []tool{t}, nil, err
		}
		if list, ok = canon.Get(object(result), "tools"); !ok {
			return nil, nil, fault("result", "", "it has no tools")
		}
		if defs, err = r.defs("result", result); err != nil {
			return nil, nil, err
		}
	case '[':
	default:
		list = nil
	}
	if canon.KindOf(list) != '[' {
		return nil, nil, fault("", "give what tools/list answered, an array of tools, or one tool", "no list of tools")
	}
	tools, err = r.tools(list)
	return tools, defs, err
}

func (r *reader) tools(list []byte) ([]tool, error) {
	var tools []tool
	seen := map[string]bool{}
	err := canon.EachElement(list, func(i int, raw []byte) error {
		if i >= maxTools {
			return fault("", "write the schemas of fewer tools", "more than %d tools", maxTools)
		}
		t, err := r.tool(fmt.Sprintf("tools[%d]", i), raw)
		if err == nil && seen[t.name] {
			err = fault(fmt.Sprintf("tools[%d]", i), "a server names each tool once", "a second tool %q", t.name)
		}
		seen[t.name] = true
		tools = append(tools, t)
		return err
	})
	return tools, err
}

func (r *reader) tool(where string, raw []byte) (t tool, err error) {
	if canon.KindOf(raw) != '{' {
		return t, fault(where, "", "a tool is a JSON object")
	}
	name, ok := canon.Get(raw, "name")
	if t.name, err = text(name); !ok || err != nil {
		return t, fault(where, "", "it has no name")
	}
	where = fmt.Sprintf("tool %q", clip(t.name))
	if err := checkName(where, "a tool's name", t.name); err != nil {
		return t, err
	}
	in, ok := canon.Get(raw, "parameters")
	if !ok {
		in, ok = canon.Get(raw, "inputSchema")
	}
	if !ok {
		return t, fault(where, "", "it has no inputSchema")
	}
	if t.in, err = r.params(where+" inputSchema", in); err != nil {
		return t, err
	}
	if out, ok := canon.Get(raw, "outputSchema"); ok {
		if t.out, err = r.params(where+" outputSchema", out); err != nil {
			return t, err
		}
	}
	if _, err = about(where, raw); err != nil {
		return t, err
	}
	t.defs, err = r.defs(where, raw)
	return t, err
}

func (r *reader) params(where string, raw []byte) (p params, err error) {
	if wrapped, ok := canon.Get(object(raw), "json"); ok {
		raw = wrapped
	}
	if canon.KindOf(raw) != '{' {
		return p, fault(where, "", "it is not a JSON object")
	}
	if p.defs, err = r.defs(where, raw); err != nil {
		return p, err
	}
	p.props, err = r.properties(where, raw)
	return p, err
}

func (r *reader) defs(where string, raw []byte) (defs []def, err error) {
	all, ok := canon.Get(raw, "$defs")
	if !ok {
		return nil, nil
	}
	if canon.KindOf(all) != '{' {
		return nil, fault(where, "", "$defs is not a JSON object")
	}
	err = canon.Each(all, func(key, value []byte) error {
		name := string(key)
		at := where + " $defs"
		if err := checkName(at, "a type's name", name); err != nil {
			return err
		}
		t, err := r.typ(fmt.Sprintf("%s[%q]", at, name), value)
		defs = append(defs, def{name, t})
		return err
	})
	if err != nil {
		return nil, err
	}
	return defs, circles(where, defs)
}

// circles refuses types that are nothing but references to each other.
func circles(where string, defs []def) error {
	types := make(map[string]*typ, len(defs))
	for _, d := range defs {
		types[d.name] = d.typ
	}
	last := make(map[*typ]int, len(defs)) // the walk that came by
	for i, d := range defs {
		for t := d.typ; t != nil && t.kind == kindRef; t = types[t.ref] {
			if last[t] == i+1 {
				return fault(where+" $defs", "say what the type is", "type %q refers to itself and to nothing else", clip(d.name))
			}
			if last[t] > 0 {
				break
			}
			last[t] = i + 1
		}
	}
	return nil
}

// required gives the names under required; false counts as none.
func required(where string, raw []byte) (names []string, err error) {
	list, ok := canon.Get(raw, "required")
	if !ok || string(list) == "false" {
		return nil, nil
	}
	if names, err = texts(list); err != nil {
		return nil, fault(where, "", "required is not an array of strings")
	}
	return names, nil
}

func (r *reader) properties(where string, raw []byte) (props []prop, err error) {
	must, err := required(where, raw)
	if err != nil {
		return nil, err
	}
	all, ok := canon.Get(raw, "properties")
	if !ok || string(all) == "false" {
		return nil, nil
	}
	if canon.KindOf(all) != '{' {
		return nil, fault(where, "", "properties is not a JSON object")
	}
	needed := make(map[string]bool, len(must))
	for _, name := range must {
		needed[name] = true
	}
	err = canon.Each(all, func(key, value []byte) error {
		p := prop{name: string(key), required: needed[string(key)]}
		at := where + " property " + fmt.Sprintf("%q", clip(p.name))
		err := checkName(at, "a property's name", p.name)
		if err == nil {
			p.typ, err = r.typ(at, value)
		}
		if err == nil {
			p.about, err = about(at, value)
		}
		props = append(props, p)
		return err
	})
	return props, err
}

func about(where string, raw []byte) (string, error) {
	d, ok := canon.Get(raw, "description")
	if !ok {
		return "", nil
	}
	s, err := text(d)
	if err != nil {
		return "", fault(where, "", "its description is not a string")
	}
	return s, nil
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

var errNotText = errors.New("not a string")

func text(raw []byte) (string, error) {
	if len(raw) == 0 || canon.KindOf(raw) != '"' {
		return "", errNotText
	}
	return canon.Unquote(raw)
}

func texts(raw []byte) (list []string, err error) {
	if canon.KindOf(raw) != '[' {
		return nil, errNotText
	}
	err = canon.EachElement(raw, func(_ int, value []byte) error {
		s, err := text(value)
		list = append(list, s)
		return err
	})
	return list, err
}

// object gives raw if it is an object, and an empty one otherwise.
func object(raw []byte) []byte {
	if canon.KindOf(raw) == '{' {
		return raw
	}
	return []byte("{}")
}

// clip shortens hostile text for a message.
func clip(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "..."
	}
	return s
}

// reserved are words that Cedar takes for no identifier.
var reserved = []string{"true", "false", "if", "then", "else", "in", "is", "like", "has", "__cedar"}

// checkName holds a name against Cedar's identifiers: nothing else can be written into a schema as a type.
func checkName(where, what, name string) error {
	hint := "Cedar types are named by letters, digits and underscores, and are no word of the language: rename it, or leave the tool out"
	if len(name) > maxName {
		return fault(where, hint, "%s is longer than %d bytes", what, maxName)
	}
	if !isIdent(name) {
		return fault(where, hint, "%s, %q, is no identifier in Cedar", what, clip(name))
	}
	return nil
}

func isIdent(s string) bool {
	for i, c := range []byte(s) {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != "" && !slices.Contains(reserved, s)
}
