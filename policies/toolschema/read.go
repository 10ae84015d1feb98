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
