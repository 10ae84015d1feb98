package compare

import (
	"encoding/json"
	"maps"
	"slices"
)

// schema is what made-up arguments need of a JSON Schema. What it does not understand becomes any value.
type schema struct {
	Type       kinds              `json:"type"`
	Enum       []json.RawMessage  `json:"enum"`
	Const      json.RawMessage    `json:"const"`
	Properties map[string]*schema `json:"properties"`
	Required   []string           `json:"required"`
	Items      *items             `json:"items"`
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
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if p := s.Properties[name]; slices.Contains(s.Required, name) && g.chance(97) || g.chance(55) {
			out[name] = g.value(name, p, depth-1)
		}
	}
	if g.chance(4) {
		out["made_up"] = g.text("")
	}
	return out
}

// value makes a value of a schema; nil stands for any.
func (g *making) value(name string, s *schema, depth int) any {
	if s == nil || depth <= 0 {
		return g.text(name)
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
		return g.long(name, 1000)
	case "number":
		if d, ok := constant[decimal](g, name); ok && g.chance(75) {
			return json.Number(d)
		}
		return g.long(name, 1000)
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
	}
	return g.text(name)
}
