package toolschema

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema/ast"
)

// Options choose between ways to say the same. The zero value is the official generator's default.
type Options struct {
	IncludeOutputs   bool // context.output beside context.input, from outputSchema
	ObjectsAsRecords bool // objects become record types, not entity types, unless additionalProperties has a schema
	KeepAnnotations  bool // the stub's @mcp_... marks stay
	Flatten          bool // one namespace: A::tool::Input::x is named A::tool_Input_x
	NumbersAsDecimal bool // number and float become decimal, and lose what is beyond its range and four places
}

// Generate adds one action a tool to the stub. tools is a tools/list response, an array of tools, or one tool. Every
// error is an *Error, and a Schema is returned only if what is written reads back as what was meant.
func Generate(stub, tools []byte, o Options) (*Schema, error) {
	s, err := readStub(stub)
	if err != nil {
		return nil, err
	}
	if o.Flatten && strings.Contains(s.home, "::") {
		return nil, fault("stub", "name it by one word, or do not flatten", "namespace %s cannot be flattened", s.home)
	}
	var r reader
	list, defs, err := r.server(tools)
	if err != nil {
		return nil, err
	}
	b := &builder{Options: o, stub: s, spaces: map[string]*ast.Namespace{}}
	ns := s.ns
	if !o.KeepAnnotations {
		ns = s.unmarked()
	}
	b.spaces[s.home] = &ns
	if err := b.add(list, defs); err != nil {
		return nil, err
	}
	return b.finish()
}

// builder collects declarations by namespace.
type builder struct {
	Options
	stub   *stub
	spaces map[string]*ast.Namespace
	where  string // for errors
}

// refs says which type a name under $defs means: the closest to its use.
type refs map[string]string

func (b *builder) add(tools []tool, defs []def) error {
	b.where = "$defs"
	known, err := b.define(b.stub.home, defs, nil)
	if err != nil {
		return err
	}
	slices.SortFunc(tools, func(x, y tool) int { return strings.Compare(x.name, y.name) })
	for i := range tools {
		b.where = fmt.Sprintf("tool %q", tools[i].name)
		if err := b.addTool(&tools[i], known); err != nil {
			return err
		}
	}
	return nil
}

// define declares types of $defs in a namespace. They may refer to each other.
func (b *builder) define(ns string, defs []def, outer refs) (refs, error) {
	if len(defs) == 0 {
		return outer, nil
	}
	known := maps.Clone(outer)
	if known == nil {
		known = refs{}
	}
	for _, d := range defs {
		known[d.name] = ns + "::" + d.name
	}
	for _, d := range defs {
		t, err := b.typ(ns, d.name, d.typ, known)
		if err != nil {
			return nil, err
		}
		if err := b.common(ns, d.name, t); err != nil {
			return nil, err
		}
	}
	return known, nil
}

func (b *builder) addTool(t *tool, known refs) error {
	home := b.spaces[b.stub.home]
	if _, taken := home.Actions[types.String(t.name)]; taken {
		return fault(b.where, "rename the action in the stub, or leave the tool out", "the stub has an action of that name")
	}
	ns := b.stub.home + "::" + t.name
	known, err := b.define(ns, t.defs, known)
	if err != nil {
		return err
	}
	context := ast.RecordType{}
	for key, ref := range b.stub.contexts {
		context[types.String(key)] = ast.Attribute{Type: ref}
	}
	if err := b.side(context, "input", t.name+"Input", ns+"::Input", &t.in, known); err != nil {
		return err
	}
	if b.IncludeOutputs {
		if err := b.side(context, "output", t.name+"Output", ns+"::Output", &t.out, known); err != nil {
			return err
		}
	}
	if home.Actions == nil {
		home.Actions = ast.Actions{}
	}
	home.Actions[types.String(t.name)] = ast.Action{
		Parents:   b.stub.groups,
		AppliesTo: &ast.AppliesTo{Principals: b.stub.principals, Resources: b.stub.resources, Context: context},
	}
	return nil
}

// side declares what goes into a tool or comes out of it. An answer is not there yet when a call is judged.
func (b *builder) side(context ast.RecordType, key, name, ns string, p *params, known refs) error {
	known, err := b.define(ns, p.defs, known)
	if err != nil {
		return err
	}
	rec, err := b.record(ns, "", p.props, known)
	if err != nil {
		return err
	}
	if err := b.common(b.stub.home, name, rec); err != nil {
		return err
	}
	context[types.String(key)] = ast.Attribute{Type: ast.TypeRef(name), Optional: key == "output"}
	return nil
}

// record gives the record of properties whose own types are declared in ns. Names of namespace short are written without
// it.
func (b *builder) record(ns, short string, props []prop, known refs) (ast.RecordType, error) {
	rec := ast.RecordType{}
	for _, p := range props {
		t, err := b.typ(ns, p.name, p.typ, known)
		if err != nil {
			return nil, err
		}
		rec[types.String(p.name)] = ast.Attribute{Type: unqualified(short, t), Optional: !p.required}
	}
	return rec, nil
}

var builtin = map[kind]string{
	kindBool: "Bool", kindInteger: "Long", kindString: "String", kindDecimal: "decimal", kindDatetime: "datetime",
	kindDuration: "duration", kindIP: "ipaddr",
}

var opaque = map[kind]ast.Ident{kindFloat: "Float", kindNumber: "Number", kindNull: "Null", kindUnknown: "Unknown"}

// typ gives the Cedar type of t, which is called name in ns, and declares what it needs.
func (b *builder) typ(ns, name string, t *typ, known refs) (ast.IsType, error) {
	if word, ok := builtin[t.kind]; ok {
		return ast.TypeRef(word), nil
	}
	switch t.kind {
	case kindArray:
		elem, err := b.typ(ns, name, t.elem, known)
		return ast.SetType{Element: elem}, err
	case kindEnum:
		return b.enum(ns, name, t.values)
	case kindTuple:
		return b.parts(ns, name, "roj", "P", "p", t.of, known)
	case kindUnion:
		return b.parts(ns, name, "ypeChoice", "T", "t", t.of, known)
	case kindObject:
		return b.object(ns, name, t, known)
	case kindRef:
		full, ok := known[t.ref]
		if !ok {
			return nil, fault(b.where, "define it under $defs of the same schema, tool or list", "$ref to %q, which is not defined", clip(t.ref))
		}
		return ast.TypeRef(b.flat(full)), nil
	}
	if b.NumbersAsDecimal && (t.kind == kindFloat || t.kind == kindNumber) {
		return ast.TypeRef("decimal"), nil
	}
	return b.opaque(opaque[t.kind])
}

// opaque gives an entity type of which a policy knows nothing but equality.
func (b *builder) opaque(name ast.Ident) (ast.IsType, error) {
	home := b.spaces[b.stub.home]
	_, there := home.Entities[name]
	_, stubs := b.stub.ns.Entities[name]
	_, enum := b.stub.ns.Enums[name]
	if !there && !enum {
		if err := b.entity(b.stub.home, string(name), ast.Entity{}); err != nil {
			return nil, err
		}
	} else if e := home.Entities[name]; !stubs && !enum && (e.Shape != nil || e.Tags != nil) {
		return nil, fault(b.where, "rename the type under $defs", "%s stands for values without a type in Cedar, and the tools define another", name)
	}
	return ast.EntityTypeRef(b.stub.home + "::" + string(name)), nil
}

func (b *builder) enum(ns, name string, values []string) (ast.IsType, error) {
	e := ast.Enum{}
	for _, v := range values {
		e.Values = append(e.Values, types.String(v))
	}
	space, id, err := b.declare(ns, name)
	if err != nil {
		return nil, err
	}
	if space.Enums == nil {
		space.Enums = ast.Enums{}
	}
	space.Enums[id] = e
	return ast.EntityTypeRef(b.flat(ns + "::" + name)), nil
}

// parts gives a union (each part optional) or a tuple (each there) as a record.
func (b *builder) parts(ns, name, stem, upper, lower string, of []*typ, known refs) (ast.IsType, error) {
	rec := ast.RecordType{}
	for i, part := range of {
		t, err := b.typ(ns+"::"+name, fmt.Sprintf("%s%s%d", upper, stem, i), part, known)
		if err != nil {
			return nil, err
		}
		rec[types.String(fmt.Sprintf("%s%s%d", lower, stem, i))] = ast.Attribute{Type: unqualified(ns, t), Optional: lower == "t"}
	}
	return rec, nil
}

func (b *builder) object(ns, name string, t *typ, known refs) (ast.IsType, error) {
	var tags ast.IsType
	var err error
	inner := ns + "::" + name
	if t.extra != nil {
		if tags, err = b.typ(inner, name+"Tag", t.extra, known); err != nil {
			return nil, err
		}
	}
	rec, err := b.record(inner, ns, t.props, known)
	if err != nil {
		return nil, err
	}
	full := b.flat(inner)
	if b.ObjectsAsRecords && tags == nil {
		return ast.TypeRef(full), b.common(ns, name, rec)
	}
	if len(rec) == 0 {
		rec = nil
	}
	return ast.EntityTypeRef(full), b.entity(ns, name, ast.Entity{Shape: rec, Tags: tags})
}

func (b *builder) entity(ns, name string, e ast.Entity) error {
	space, id, err := b.declare(ns, name)
	if err != nil {
		return err
	}
	if space.Entities == nil {
		space.Entities = ast.Entities{}
	}
	space.Entities[id] = e
	return nil
}

// reservedTypes cannot be the names of common types.
var reservedTypes = []string{"Bool", "Boolean", "Entity", "Extension", "Long", "Record", "Set", "String"}

// common declares a common type, unless t is that very type already.
func (b *builder) common(ns, name string, t ast.IsType) error {
	switch ref := t.(type) {
	case ast.TypeRef:
		if string(ref) == b.flat(ns+"::"+name) {
			return nil
		}
	case ast.EntityTypeRef:
		if string(ref) == b.flat(ns+"::"+name) {
			return nil
		}
	}
	space, id, err := b.declare(ns, name)
	if err != nil {
		return err
	}
	if slices.Contains(reservedTypes, string(id)) {
		return fault(b.where, "rename it", "no type can be called %s", id)
	}
	if space.CommonTypes == nil {
		space.CommonTypes = ast.CommonTypes{}
	}
	space.CommonTypes[id] = ast.CommonType{Type: t}
	return nil
}

// place finds the namespace and the name of a declaration, as flattened.
func (b *builder) place(ns, name string) (*ast.Namespace, ast.Ident) {
	full := b.flat(ns + "::" + name)
	at := strings.LastIndex(full, "::")
	space, ok := b.spaces[full[:at]]
	if !ok {
		space = &ast.Namespace{}
		b.spaces[full[:at]] = space
	}
	return space, ast.Ident(full[at+2:])
}

// declare is place for a name that must be new.
func (b *builder) declare(ns, name string) (*ast.Namespace, ast.Ident, error) {
	space, id := b.place(ns, name)
	_, isEntity := space.Entities[id]
	_, isEnum := space.Enums[id]
	_, isCommon := space.CommonTypes[id]
	if isEntity || isEnum || isCommon {
		return nil, "", fault(b.where, "rename one of them", "two types would be called %s", b.flat(ns+"::"+name))
	}
	return space, id, nil
}

// flat gives the name that a declaration has in the output.
func (b *builder) flat(full string) string {
	if !b.Flatten {
		return full
	}
	rest := strings.TrimPrefix(full, b.stub.home+"::")
	return b.stub.home + "::" + strings.ReplaceAll(rest, "::", "_")
}

// unqualified leaves namespace ns out of the names in t.
func unqualified(ns string, t ast.IsType) ast.IsType {
	if ns == "" {
		return t
	}
	switch t := t.(type) {
	case ast.TypeRef:
		return ast.TypeRef(bare(ns, string(t)))
	case ast.EntityTypeRef:
		return ast.EntityTypeRef(bare(ns, string(t)))
	case ast.SetType:
		return ast.SetType{Element: unqualified(ns, t.Element)}
	case ast.RecordType:
		out := ast.RecordType{}
		for name, a := range t {
			a.Type = unqualified(ns, a.Type)
			out[name] = a
		}
		return out
	}
	return t
}

func bare(ns, name string) string {
	if rest, ok := strings.CutPrefix(name, ns+"::"); ok && !strings.Contains(rest, "::") {
		return rest
	}
	return name
}
