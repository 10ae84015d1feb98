package config

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/knadh/koanf/v2"
)

// parser is a koanf.Parser for HCL v2 that knows the settings: it converts each value to the setting's
// type and notes each key's place, so that whatever is found wrong later still has file, line and column.
type parser struct {
	name   string
	schema *schema
	origin map[string]string // path -> file:line:column
}

var _ koanf.Parser = (*parser)(nil)

// Marshal is not supported: the file is written by people.
func (p *parser) Marshal(map[string]any) ([]byte, error) {
	return nil, errors.New("configuration is never written as HCL")
}

// Unmarshal parses a file. Of several mistakes the first in the file is reported.
func (p *parser) Unmarshal(doc []byte) (map[string]any, error) {
	if err := gate(p.name, doc); err != nil {
		return nil, err
	}
	file, diags := hclsyntax.ParseConfig(doc, p.name, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, p.diagnosed(doc, diags)
	}
	body, ok := file.Body.(*hclsyntax.Body)
	if !ok {
		return nil, fmt.Errorf("parse %s: unexpected body %T", p.name, file.Body)
	}
	return p.top(body)
}

func (p *parser) top(body *hclsyntax.Body) (map[string]any, error) {
	return p.level(p.schema.root, "", body)
}

// level reads the settings and then the blocks of one level.
func (p *parser) level(b *block, label string, body *hclsyntax.Body) (map[string]any, error) {
	out, err := p.attributes(b, label, body)
	if err != nil {
		return nil, err
	}
	first := map[string]hcl.Pos{}
	for _, h := range body.Blocks {
		at := h.TypeRange.Start
		sub, ok := b.blocks[h.Type]
		if !ok {
			return nil, problemAt(p.name, at, "%w", p.schema.strayBlock(b, h.Type))
		}
		label, err := p.label(sub, h)
		if err != nil {
			return nil, err
		}
		if was, dup := first[h.Type+"."+label]; dup {
			return nil, problemAt(p.name, at, "duplicate section %s; first at line %d", strings.TrimSpace(h.Type+" "+quoted(label)), was.Line)
		}
		first[h.Type+"."+label] = at
		inner, err := p.level(sub, label, h.Body)
		if err != nil {
			return nil, err
		}
		place(out, sub, label, inner)
		if sub.labelled {
			p.origin[sub.name+"."+label] = problemAt(p.name, at, "").Where
		}
	}
	return out, nil
}

// place puts a section's settings where koanf looks for them.
func place(out map[string]any, b *block, label string, inner map[string]any) {
	if !b.labelled {
		out[b.word] = inner
		return
	}
	group, ok := out[b.word].(map[string]any)
	if !ok {
		group = map[string]any{}
		out[b.word] = group
	}
	group[label] = inner
}

// label checks the names written after a block's type.
func (p *parser) label(b *block, h *hclsyntax.Block) (string, error) {
	switch {
	case !b.labelled && len(h.Labels) > 0:
		return "", problemAt(p.name, h.LabelRanges[0].Start, "%s takes no name: write %s { ... }", b.word, b.word)
	case !b.labelled:
		return "", nil
	case len(h.Labels) != 1:
		return "", problemAt(p.name, h.TypeRange.Start, "%s takes one name: write %s \"name\" { ... }", b.word, b.word)
	}
	if err := checkLabel(b.word, h.Labels[0]); err != nil {
		return "", problemAt(p.name, h.LabelRanges[0].Start, "%w", err)
	}
	return h.Labels[0], nil
}

// attributes converts the settings of one level, in the order of the file.
func (p *parser) attributes(b *block, label string, body *hclsyntax.Body) (map[string]any, error) {
	attrs := make([]*hclsyntax.Attribute, 0, len(body.Attributes))
	for _, a := range body.Attributes {
		attrs = append(attrs, a)
	}
	slices.SortFunc(attrs, func(x, y *hclsyntax.Attribute) int { return x.SrcRange.Start.Byte - y.SrcRange.Start.Byte })
	out := make(map[string]any, len(attrs))
	for _, a := range attrs {
		at := a.NameRange.Start
		set, err := p.schema.setting(b, a.Name)
		if err != nil {
			return nil, problemAt(p.name, at, "%w", err)
		}
		v, err := set.fromExpr(a.Expr)
		if err != nil {
			return nil, problemAt(p.name, at, "%w", err)
		}
		out[a.Name] = v
		p.origin[set.path(label)] = problemAt(p.name, at, "").Where
	}
	return out, nil
}

// fromExpr reads a literal. The gate has left no token that could make an expression depend on anything
// but itself, except names, which have no value without a context.
func (s *setting) fromExpr(e hclsyntax.Expression) (any, error) {
	v, diags := e.Value(nil)
	if diags.HasErrors() {
		return nil, fmt.Errorf("%s: want %s, have something that is no literal (is a quote missing?)", s.label(), s.kind)
	}
	if v.IsNull() || !v.IsWhollyKnown() {
		return nil, fmt.Errorf("%s: want %s, have null; leave the setting out for its default", s.label(), s.kind)
	}
	t := v.Type()
	switch {
	case s.kind == kindBool && t == cty.Bool:
		return v.True(), nil
	case (s.kind == kindInt || s.kind == kindFloat) && t == cty.Number:
		return s.number(v.AsBigFloat())
	case s.kind == kindList && t.IsTupleType():
		return s.list(v)
	case t == cty.String && (s.kind == kindText || s.kind == kindDuration || s.kind == kindSize):
		return s.parseText(v.AsString())
	}
	return nil, fmt.Errorf("%s: want %s, have %s", s.label(), s.kind, typeName(t))
}

func (s *setting) number(f *big.Float) (any, error) {
	if s.kind == kindFloat {
		x, _ := f.Float64()
		return s.parseText(fmt.Sprint(x))
	}
	n, acc := f.Int64()
	if acc != big.Exact || int64(int(n)) != n {
		return nil, fmt.Errorf("%s: want a whole number that fits 64 bits, have %s", s.label(), clip(f.Text('g', 20)))
	}
	return int(n), nil
}

func (s *setting) list(v cty.Value) (any, error) {
	if v.LengthInt() > maxList {
		return nil, fmt.Errorf("%s: the list has %d elements, the most is %d", s.label(), v.LengthInt(), maxList)
	}
	list := []string{}
	for _, el := range v.Elements() {
		if el.IsNull() || el.Type() != cty.String {
			return nil, fmt.Errorf("%s: want %s, have %s among its elements", s.label(), s.kind, typeName(el.Type()))
		}
		if err := checkText(el.AsString()); err != nil {
			return nil, fmt.Errorf("%s: %w", s.label(), err)
		}
		list = append(list, el.AsString())
	}
	return list, nil
}

func typeName(t cty.Type) string {
	switch {
	case t == cty.String:
		return "a string"
	case t == cty.Number:
		return "a number"
	case t == cty.Bool:
		return "true or false"
	case t.IsTupleType():
		return "a list"
	case t == cty.DynamicPseudoType:
		return "null"
	case t.IsObjectType():
		return "an object"
	default:
		return t.FriendlyName()
	}
}

// diagnosed turns HCL's first error into a Problem on one line.
func (p *parser) diagnosed(doc []byte, diags hcl.Diagnostics) error {
	errs := slices.DeleteFunc(slices.Clone(diags), func(d *hcl.Diagnostic) bool { return d.Severity != hcl.DiagError || d.Subject == nil })
	if len(errs) == 0 {
		return fmt.Errorf("parse %s: %w", p.name, diags)
	}
	d := slices.MinFunc(errs, func(x, y *hcl.Diagnostic) int { return x.Subject.Start.Byte - y.Subject.Start.Byte })
	if d.Summary == "Attribute redefined" {
		return problemAt(p.name, d.Subject.Start, "duplicate setting %q: it is already set above in the same section", d.Subject.SliceBytes(doc))
	}
	text := d.Summary
	if d.Detail != "" {
		text = d.Detail
	}
	text = strings.TrimSuffix(strings.Join(strings.Fields(text), " "), ".")
	return problemAt(p.name, d.Subject.Start, "syntax: %s", text)
}

func quoted(label string) string {
	if label == "" {
		return ""
	}
	return fmt.Sprintf("%q", label)
}
