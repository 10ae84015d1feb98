package toolschema

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema/ast"
)

// printer writes a schema as Cedar's own tools do: two blanks a level, namespaces by their last word, then types, entity
// types and actions by name.
type printer struct {
	strings.Builder
	depth int
}

func (p *printer) line(format string, args ...any) {
	p.WriteString(strings.Repeat("  ", p.depth))
	fmt.Fprintf(p, format, args...)
}

func schemaText(spaces map[string]*ast.Namespace) (string, error) {
	var p printer
	for i, name := range spaceNames(spaces) {
		if p.Len() > maxText {
			return "", fault("", "write the schemas of fewer tools", "the schema is longer than %d bytes", maxText)
		}
		if i > 0 {
			p.WriteByte('\n')
		}
		ns := spaces[name]
		p.notes(ns.Annotations)
		p.line("namespace %s {\n", name)
		p.depth++
		p.namespace(ns)
		p.depth--
		p.line("}\n")
	}
	return p.String(), nil
}

// spaceNames sorts namespaces by the last word, then by those before it.
func spaceNames(spaces map[string]*ast.Namespace) []string {
	return slices.SortedFunc(maps.Keys(spaces), func(a, b string) int {
		x, y := strings.Split(a, "::"), strings.Split(b, "::")
		last := func(words []string) string { return words[len(words)-1] }
		if c := strings.Compare(last(x), last(y)); c != 0 {
			return c
		}
		return slices.Compare(x[:len(x)-1], y[:len(y)-1])
	})
}

func (p *printer) namespace(ns *ast.Namespace) {
	left := len(ns.CommonTypes) + len(ns.Entities) + len(ns.Enums) + len(ns.Actions)
	end := func() {
		p.WriteString(";\n")
		if left--; left > 0 {
			p.WriteByte('\n')
		}
	}
	for _, name := range slices.Sorted(maps.Keys(ns.CommonTypes)) {
		p.notes(ns.CommonTypes[name].Annotations)
		p.line("type %s = ", name)
		p.typ(ns.CommonTypes[name].Type)
		end()
	}
	entities := slices.AppendSeq(slices.Collect(maps.Keys(ns.Entities)), maps.Keys(ns.Enums))
	slices.Sort(entities)
	for _, name := range entities {
		if e, ok := ns.Entities[name]; ok {
			p.entity(name, e)
		} else {
			p.enum(name, ns.Enums[name])
		}
		end()
	}
	for _, id := range slices.Sorted(maps.Keys(ns.Actions)) {
		p.action(id, ns.Actions[id])
		end()
	}
}

func (p *printer) notes(notes ast.Annotations) {
	for _, key := range slices.Sorted(maps.Keys(notes)) {
		p.line("@%s(%s)\n", key, quoted(string(notes[key])))
	}
}

func (p *printer) entity(name ast.Ident, e ast.Entity) {
	p.notes(e.Annotations)
	p.line("entity %s", name)
	if len(e.ParentTypes) > 0 {
		p.WriteString(" in " + list(e.ParentTypes))
	}
	if len(e.Shape) > 0 {
		p.WriteString(" = ")
		p.typ(e.Shape)
	}
	if e.Tags != nil {
		p.WriteString(" tags ")
		depth := p.depth
		p.depth = 0
		p.typ(e.Tags)
		p.depth = depth
	}
}

func (p *printer) enum(name ast.Ident, e ast.Enum) {
	p.notes(e.Annotations)
	values := make([]string, len(e.Values))
	for i, v := range e.Values {
		values[i] = quoted(string(v))
	}
	p.line("entity %s enum [%s]", name, strings.Join(values, ", "))
}

func (p *printer) action(id types.String, a ast.Action) {
	p.notes(a.Annotations)
	p.line("action %s", quoted(string(id)))
	if len(a.Parents) > 0 {
		refs := make([]string, len(a.Parents))
		for i, r := range a.Parents {
			typ := string(r.Type)
			if typ == "" {
				typ = "Action"
			}
			refs[i] = typ + "::" + quoted(string(r.ID))
		}
		p.WriteString(" in [" + strings.Join(refs, ", ") + "]")
	}
	if a.AppliesTo == nil || len(a.AppliesTo.Principals) == 0 || len(a.AppliesTo.Resources) == 0 {
		return
	}
	p.WriteString(" appliesTo {\n")
	p.depth++
	p.line("principal: %s,\n", list(a.AppliesTo.Principals))
	p.line("resource: %s,\n", list(a.AppliesTo.Resources))
	p.line("context: ")
	if rec, ok := a.AppliesTo.Context.(ast.RecordType); a.AppliesTo.Context == nil || ok && len(rec) == 0 {
		p.WriteString("{}")
	} else {
		p.typ(a.AppliesTo.Context)
	}
	p.depth--
	p.WriteByte('\n')
	p.line("}")
}

func (p *printer) typ(t ast.IsType) {
	switch t := t.(type) {
	case ast.TypeRef:
		p.WriteString(string(t))
	case ast.EntityTypeRef:
		p.WriteString(string(t))
	case ast.SetType:
		p.WriteString("Set<")
		p.typ(t.Element)
		p.WriteByte('>')
	case ast.RecordType:
		p.record(t)
	}
}

func (p *printer) record(t ast.RecordType) {
	p.WriteByte('{')
	names := slices.Sorted(maps.Keys(t))
	p.depth++
	for i, name := range names {
		if i == 0 {
			p.WriteByte('\n')
		}
		a := t[name]
		p.notes(a.Annotations)
		word, mark, comma := string(name), "", ","
		if !isIdent(word) {
			word = quoted(word)
		}
		if a.Optional {
			mark = "?"
		}
		if i == len(names)-1 {
			comma = ""
		}
		p.line("%s%s: ", word, mark)
		p.typ(a.Type)
		p.WriteString(comma + "\n")
	}
	p.depth--
	p.line("}")
}

func list(refs []ast.EntityTypeRef) string {
	words := make([]string, len(refs))
	for i, r := range refs {
		words[i] = string(r)
	}
	return "[" + strings.Join(words, ", ") + "]"
}

// quoted writes a string as Rust's escape_debug does, between quotation marks.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch r {
		case 0:
			b.WriteString(`\0`)
		case '\t':
			b.WriteString(`\t`)
		case '\r':
			b.WriteString(`\r`)
		case '\n':
			b.WriteString(`\n`)
		case '"', '\'', '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			if unicode.IsPrint(r) {
				b.WriteRune(r)
			} else {
				fmt.Fprintf(&b, `\u{%x}`, r)
			}
		}
	}
	b.WriteByte('"')
	return b.String()
}
