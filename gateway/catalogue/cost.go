package catalogue

import (
	"errors"
	"fmt"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// maxEvaluations bounds how many subschemas may be evaluated along one path
// from the root of the arguments to a leaf. Tool schemas seen in the wild need
// tens; a schema of 2 KiB whose allOf refer to each other can ask for 2^30.
const maxEvaluations = 4096

// affordable refuses a schema whose evaluation could take unbounded or
// exponential time, before any arguments meet it.
func affordable(s *jsonschema.Schema, depth int) error {
	c := coster{known: map[costKey]int{}}
	n := c.cost(s, depth)
	switch {
	case c.dynamic:
		return errors.New("it uses $dynamicRef or $recursiveRef, which are not supported")
	case n > maxEvaluations:
		return fmt.Errorf("evaluating it could take more than %d steps for one value", maxEvaluations)
	}
	return nil
}

type costKey struct {
	schema *jsonschema.Schema
	depth  int
}

// coster sums evaluations along the worst path. A key that is being computed
// maps to the maximum, so that a schema that refers to itself without
// descending counts as endless.
type coster struct {
	known   map[costKey]int
	dynamic bool
}

func (c *coster) cost(s *jsonschema.Schema, depth int) int {
	if s == nil || depth < 0 {
		return 0
	}
	key := costKey{s, depth}
	if n, ok := c.known[key]; ok {
		return n
	}
	c.known[key] = maxEvaluations + 1
	c.dynamic = c.dynamic || s.DynamicRef != nil || s.RecursiveRef != nil
	n := 1
	for _, in := range inPlace(s) {
		n = min(maxEvaluations+1, n+c.cost(in, depth))
	}
	n = min(maxEvaluations+1, n+c.below(s, depth-1))
	c.known[key] = n
	return n
}

// inPlace lists the subschemas that look at the same value.
func inPlace(s *jsonschema.Schema) []*jsonschema.Schema {
	out := []*jsonschema.Schema{s.Ref, s.Not, s.If, s.Then, s.Else, s.ContentSchema}
	out = append(append(append(out, s.AllOf...), s.AnyOf...), s.OneOf...)
	for _, d := range s.DependentSchemas {
		out = append(out, d)
	}
	for _, d := range s.Dependencies {
		if sub, ok := d.(*jsonschema.Schema); ok {
			out = append(out, sub)
		}
	}
	return out
}

// below costs one child: it meets at most one of the named properties or
// positions, and every one of the others.
func (c *coster) below(s *jsonschema.Schema, depth int) int {
	named := 0
	for _, p := range s.Properties {
		named = max(named, c.cost(p, depth))
	}
	prefix := append([]*jsonschema.Schema(nil), s.PrefixItems...)
	rest := []*jsonschema.Schema{s.PropertyNames, s.UnevaluatedProperties, s.Contains, s.Items2020, s.UnevaluatedItems}
	for _, p := range s.PatternProperties {
		rest = append(rest, p)
	}
	for _, mixed := range []any{s.AdditionalProperties, s.Items, s.AdditionalItems} {
		switch sub := mixed.(type) {
		case *jsonschema.Schema:
			rest = append(rest, sub)
		case []*jsonschema.Schema:
			prefix = append(prefix, sub...)
		}
	}
	for _, p := range prefix {
		named = max(named, c.cost(p, depth))
	}
	for _, r := range rest {
		named = min(maxEvaluations+1, named+c.cost(r, depth))
	}
	return named
}
