package compare

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// schema is what made-up arguments need of a JSON Schema. What it does not understand becomes any value.
type schema struct {
	Type       kinds              `json:"type"`
	Enum       []json.RawMessage  `json:"enum"`
	Const      json.RawMessage    `json:"const"`
	Properties map[string]*schema `json:"properties"`
	Required   []string           `json:"required"`
	Items      *items             `json:"items"`
	AnyOf      []*schema          `json:"anyOf"`
	OneOf      []*schema          `json:"oneOf"`
	AllOf      []*schema          `json:"allOf"`
	Ref        string             `json:"$ref"`
	Defs       map[string]*schema `json:"$defs"`
}

// kinds is a type or several.
type kinds []string

// UnmarshalJSON takes a string or a list.
func (k *kinds) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*k = kinds{one}
		return nil
	}
	var several []string
	if json.Unmarshal(b, &several) == nil {
		*k = several
	}
	return nil
}

// items is a schema; anything else is passed over.
type items struct{ schema }

// UnmarshalJSON takes a schema.
func (i *items) UnmarshalJSON(b []byte) error {
	if json.Unmarshal(b, &i.schema) != nil {
		i.schema = schema{}
	}
	return nil
}

func (g *making) object(s *schema, depth int) map[string]any {
	out := map[string]any{}
	if s == nil {
		return out
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if p := s.Properties[name]; slices.Contains(s.Required, name) && g.chance(97) || g.chance(55) {
			out[name] = g.value(name, p, depth-1)
		}
	}
	if g.chance(6) {
		out[g.undeclared()] = g.text("text")
	}
	return out
}

// undeclared is the name of an argument that a tool's schema does not name.
func (g *making) undeclared() string {
	for _, from := range []string{"names", "text"} {
		if v, ok := constant[string](g, from); ok && g.chance(60) {
			return v
		}
	}
	return "made_up"
}

// resolved follows a reference to the tool's own definitions, and takes one branch of a union.
func (g *making) resolved(s *schema, depth int) *schema {
	for ; s != nil && depth > 0; depth-- {
		of := slices.Concat(s.AnyOf, s.OneOf, s.AllOf)
		name, isRef := strings.CutPrefix(s.Ref, "#/$defs/")
		switch {
		case isRef:
			s = g.defs[name]
		case len(of) > 0:
			s = of[g.IntN(len(of))]
		default:
			return s
		}
	}
	return s
}

// number is compared with by its own name or, where its type is one of several, as a Json record's.
func (g *making) number(name string) int64 {
	if _, ok := constant[int64](g, name); !ok {
		name = "long"
	}
	return g.long(name, 1000)
}

// anything makes a value of any type. Policies see it by the words of a Json record.
func (g *making) anything(name string) any {
	switch g.IntN(8) {
	case 0, 1:
		return g.long("long", 1000)
	case 2:
		return g.chance(50)
	case 3:
		return nil
	case 4:
		return []any{g.text("text"), g.long("long", 1000)}
	case 5:
		return map[string]any{g.undeclared(): g.chance(50)}
	}
	return g.text([]string{name, "string"}[g.IntN(2)])
}

// value makes a value of a schema; nil stands for any.
func (g *making) value(name string, s *schema, depth int) any {
	s = g.resolved(s, 4)
	if s == nil || depth <= 0 {
		return g.anything(name)
	}
	if len(s.Const) > 0 {
		return s.Const
	}
	if len(s.Enum) > 0 && g.chance(90) {
		return s.Enum[g.IntN(len(s.Enum))]
	}
	kind := "any"
	if len(s.Type) > 0 {
		kind = s.Type[g.IntN(len(s.Type))]
	}
	switch kind {
	case "integer":
		return g.number(name)
	case "number":
		if d, ok := constant[decimal](g, name); ok && g.chance(75) {
			return json.Number(d)
		}
		return g.number(name)
	case "boolean":
		return g.chance(50)
	case "array":
		out := []any{}
		for range g.IntN(4) {
			var of *schema
			if s.Items != nil {
				of = &s.Items.schema
			}
			out = append(out, g.value(name, of, depth-1))
		}
		return out
	case "object":
		return g.object(s, depth)
	case "null":
		return nil
	case "string":
		return g.text(name)
	}
	return g.anything(name)
}
