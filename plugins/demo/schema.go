package demo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"unicode/utf8"
)

// schema is JSON Schema as far as the demo's tools use it. What it does not
// know it refuses to read, so that no rule is written and not kept.
type schema struct {
	Type                 string             `json:"type"`
	Required             []string           `json:"required"`
	AdditionalProperties *bool              `json:"additionalProperties"`
	Properties           map[string]*schema `json:"properties"`
	Items                *schema            `json:"items"`
	AnyOf                []*schema          `json:"anyOf"`
	Enum                 []string           `json:"enum"`
	MinItems             int                `json:"minItems"`
	MaxItems             *int               `json:"maxItems"`
	MinLength            int                `json:"minLength"`
	MaxLength            *int               `json:"maxLength"`
	Pattern              *pattern           `json:"pattern"`
	Minimum              *float64           `json:"minimum"`
	Maximum              *float64           `json:"maximum"`

	// For readers alone.
	Description string `json:"description"`
	Default     any    `json:"default"`
}

// pattern is a regular expression; the ones used mean the same in Go as in
// JSON Schema.
type pattern struct{ *regexp.Regexp }

func (p *pattern) UnmarshalText(text []byte) (err error) {
	p.Regexp, err = regexp.Compile(string(text))
	return err
}

func parseSchema(text string) (*schema, error) {
	s := new(schema)
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(s); err != nil {
		return nil, fmt.Errorf("read the schema: %w", err)
	}
	return s, nil
}

// read checks raw JSON and decodes it into v.
func (s *schema) read(raw []byte, v any) error {
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return errors.New("not JSON")
	}
	if err := s.check(value); err != nil {
		return err
	}
	// From the value and not from raw: 2.0 is an integer for JSON Schema, but not
	// for an int.
	again, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	return json.Unmarshal(again, v)
}

// check returns the first rule that the value breaks.
func (s *schema) check(value any) error {
	if len(s.AnyOf) > 0 && !slices.ContainsFunc(s.AnyOf, func(o *schema) bool { return o.check(value) == nil }) {
		return errors.New("none of the allowed forms")
	}
	switch v := value.(type) {
	case map[string]any:
		return s.checkObject(v)
	case []any:
		return s.checkArray(v)
	case string:
		return s.checkText(v)
	case float64:
		return s.checkNumber(v)
	case bool:
		return s.is("boolean")
	}
	return s.is("null")
}

// is refuses a value that is of none of the types, all of which fit it.
func (s *schema) is(types ...string) error {
	if s.Type == "" || slices.Contains(types, s.Type) {
		return nil
	}
	return fmt.Errorf("want a value of type %s", s.Type)
}

func (s *schema) checkObject(v map[string]any) error {
	if err := s.is("object"); err != nil {
		return err
	}
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			return fmt.Errorf("%s is missing", name)
		}
	}
	for name, member := range v {
		rules, ok := s.Properties[name]
		switch {
		case !ok && s.AdditionalProperties != nil && !*s.AdditionalProperties:
			return fmt.Errorf("%q is not a member", name)
		case !ok:
			continue
		}
		if err := rules.check(member); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (s *schema) checkArray(v []any) error {
	if err := s.is("array"); err != nil {
		return err
	}
	if len(v) < s.MinItems || s.MaxItems != nil && len(v) > *s.MaxItems {
		return fmt.Errorf("%d items are too many or too few", len(v))
	}
	for i, item := range v {
		if s.Items == nil {
			break
		}
		if err := s.Items.check(item); err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
	}
	return nil
}

func (s *schema) checkText(v string) error {
	if err := s.is("string"); err != nil {
		return err
	}
	n := utf8.RuneCountInString(v)
	switch {
	case len(s.Enum) > 0 && !slices.Contains(s.Enum, v):
		return fmt.Errorf("want one of %q", s.Enum)
	case n < s.MinLength || s.MaxLength != nil && n > *s.MaxLength:
		return fmt.Errorf("%d characters are too many or too few", n)
	case s.Pattern != nil && !s.Pattern.MatchString(v):
		return fmt.Errorf("does not match %s", s.Pattern)
	}
	return nil
}

func (s *schema) checkNumber(v float64) error {
	types := []string{"number", "integer"}
	if v != math.Trunc(v) {
		types = types[:1]
	}
	if err := s.is(types...); err != nil {
		return err
	}
	if s.Minimum != nil && v < *s.Minimum || s.Maximum != nil && v > *s.Maximum {
		return fmt.Errorf("%v is out of range", v)
	}
	return nil
}
