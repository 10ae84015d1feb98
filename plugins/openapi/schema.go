package openapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/merkle/canon"
)

// draft2020 is the dialect of what is written here, which MCP takes where a schema names none.
const draft2020 = "https://json-schema.org/draft/2020-12/schema"

// What the keywords of a schema hold. A word that is not here says nothing about what is valid, and is dropped.
var (
	schemaWords     = []string{"items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames", "unevaluatedItems", "unevaluatedProperties"}
	schemaListWords = []string{"allOf", "anyOf", "oneOf", "prefixItems"}
	schemaMapWords  = []string{"properties", "patternProperties", "dependentSchemas"}
	boundWords      = []string{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
	countWords      = []string{"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minContains", "maxContains"}
	plainWords      = []string{"type", "enum", "const", "pattern", "required", "uniqueItems", "dependentRequired", "format", "contentEncoding", "contentMediaType", "title", "deprecated"}
	// strangers change what other words mean, or where a $ref leads: a schema that has one is not understood here.
	strangers = []string{"$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$vocabulary", "id"}
)

// translator writes the schemas of one operation as JSON Schema 2020-12. What they refer to is gathered under $defs, so that
// the result stands alone and may be cyclic.
type translator struct {
	doc  *document
	defs object
	at   map[string]string // the name in defs of what a reference leads to
}

func newTranslator(d *document) *translator {
	return &translator{doc: d, defs: object{}, at: map[string]string{}}
}

// schema translates one; a bool is a schema too.
func (t *translator) schema(v any, depth int) (any, error) {
	if depth > t.doc.limits.Depth {
		return nil, errors.New("its schema is nested too deeply")
	}
	if !t.doc.spend() {
		return nil, errEffort
	}
	if is, ok := v.(bool); ok {
		return is, nil
	}
	in, ok := v.(object)
	if !ok {
		return nil, errors.New("a schema is neither an object nor true or false")
	}
	for _, word := range strangers {
		if _, there := in[word]; there && (word != "id" || in["$schema"] != nil) {
			return nil, fmt.Errorf("its schema uses %s, which is not understood here", word)
		}
	}
	out := object{}
	if ref, ok := in["$ref"]; ok {
		name, err := t.define(ref)
		if err != nil {
			return nil, err
		}
		out["$ref"] = "#/$defs/" + name
		if t.doc.minor == 0 {
			return out, nil // its neighbours count only from 3.1 on
		}
	}
	if err := t.words(in, out, depth); err != nil {
		return nil, err
	}
	if t.doc.minor == 0 {
		modernize(in, out)
	}
	hideReadOnly(in, out, t.doc)
	return out, nil
}

// define translates what a reference leads to, once, and returns its name.
func (t *translator) define(ref any) (string, error) {
	text, _ := ref.(string)
	if name, ok := t.at[text]; ok {
		return name, nil
	}
	if len(t.at) >= t.doc.limits.Refs {
		return "", fmt.Errorf("its schema refers to more than %d others; raise max_refs if it is meant to", t.doc.limits.Refs)
	}
	target, err := t.doc.lookup(ref)
	if err != nil {
		return "", err
	}
	if err := t.doc.grounded(target); err != nil {
		return "", err
	}
	name := plainName(text[strings.LastIndexByte(text, '/')+1:])
	for base, n := name, 2; slices.Contains(sortedKeys(t.defs), name); n++ {
		name = fmt.Sprintf("%s_%d", base, n)
	}
	t.at[text], t.defs[name] = name, true // taken, before it is met again inside of itself
	t.defs[name], err = t.schema(target, 0)
	return name, err
}

// grounded refuses a reference that leads through nothing but references back to itself: it means nothing, and readers go round
// in it for ever. That goes for the branches of allOf, anyOf, oneOf and not as well, which are about the same value.
func (d *document) grounded(v any) error {
	return d.descend(v, map[string]bool{}, 0)
}

func (d *document) descend(v any, open map[string]bool, depth int) error {
	o, ok := v.(object)
	if !ok {
		return nil
	}
	if depth > d.limits.Depth {
		return errors.New("its schema is nested too deeply")
	}
	if !d.spend() {
		return errEffort
	}
	if ref, ok := o["$ref"].(string); ok {
		if open[ref] {
			return fmt.Errorf("the $ref %.80q leads back to itself", ref)
		}
		target, err := d.lookup(ref)
		if err != nil {
			return err
		}
		open[ref] = true
		defer delete(open, ref)
		if err := d.descend(target, open, depth+1); err != nil {
			return err
		}
	}
	for _, word := range []string{"allOf", "anyOf", "oneOf"} {
		list, _ := o[word].([]any)
		for _, branch := range list {
			if err := d.descend(branch, open, depth+1); err != nil {
				return err
			}
		}
	}
	for _, word := range []string{"not", "if", "then", "else"} {
		if err := d.descend(o[word], open, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// words copies what a schema says.
func (t *translator) words(in, out object, depth int) error {
	var err error
	sub := func(v any) any {
		var translated any
		if err == nil {
			translated, err = t.schema(v, depth+1)
		}
		return translated
	}
	for _, word := range schemaWords {
		if v, ok := in[word]; ok {
			out[word] = sub(v)
		}
	}
	for _, word := range schemaListWords {
		list, _ := in[word].([]any)
		var branches []any
		for _, v := range list {
			branches = append(branches, sub(v))
		}
		if len(branches) > 0 {
			out[word] = branches
		}
	}
	for _, word := range schemaMapWords {
		members, ok := in[word].(object)
		if !ok {
			continue
		}
		translated := object{}
		for _, name := range sortedKeys(members) {
			translated[name] = sub(members[name])
		}
		out[word] = translated
	}
	if err != nil {
		return err
	}
	return plain(in, out)
}

// plain copies the words that hold values. A bound that no argument can reach says nothing and is dropped.
func plain(in, out object) error {
	for _, word := range plainWords {
		if v, ok := in[word]; ok {
			if !exact(v) {
				return fmt.Errorf("its schema's %s holds a number that readers of JSON do not agree on", word)
			}
			out[word] = v
		}
	}
	for _, word := range append(append([]string(nil), boundWords...), countWords...) {
		if v, ok := in[word].(json.Number); ok && exact(v) {
			out[word] = v
		}
	}
	if v, ok := in["default"]; ok && exact(v) {
		out["default"] = v
	}
	if s := text(in, "description"); s != "" {
		out["description"] = clip(s, maxMemberText)
	}
	return nil
}

// exact says whether every reader of a value reads the same.
func exact(v any) bool {
	b, err := json.Marshal(v)
	return err == nil && canon.Check(b, canon.DefaultLimits()) == nil
}

// modernize says in the words of 2020-12 what OpenAPI 3.0 says in its own.
func modernize(in, out object) {
	for flagWord, bound := range map[string]string{"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"} {
		if is, _ := flag(in, flagWord); is && out[bound] != nil {
			out[flagWord] = out[bound]
			delete(out, bound)
		}
	}
	kind, ok := out["type"].(string)
	if is, _ := flag(in, "nullable"); !is || !ok {
		return
	}
	out["type"] = []any{kind, "null"}
	if enum, ok := out["enum"].([]any); ok && !slices.Contains(enum, nil) {
		out["enum"] = append(slices.Clone(enum), nil)
	}
}

// hideReadOnly takes out the members that only answers have.
func hideReadOnly(in, out object, d *document) {
	members, _ := in["properties"].(object)
	shown, _ := out["properties"].(object)
	for name, v := range members {
		o, err := d.resolve(v)
		if err != nil {
			continue
		}
		if is, _ := flag(o, "readOnly"); !is {
			continue
		}
		delete(shown, name)
		if required, ok := out["required"].([]any); ok {
			out["required"] = slices.DeleteFunc(slices.Clone(required), func(r any) bool { return r == name })
		}
	}
}

// shapes says which kinds of values a schema lets through.
type shapes uint8

const (
	scalars shapes = 1 << iota
	arrays
	objects
)

// shapesOf finds them. Where nothing is said, only scalars are: what else could be meant has no form of its own.
func (d *document) shapesOf(v any, depth int) shapes {
	o, err := d.resolve(v)
	if err != nil || depth > maxChain || !d.spend() {
		return scalars
	}
	var found shapes
	kinds, _ := o["type"].([]any)
	if kind, ok := o["type"].(string); ok {
		kinds = []any{kind}
	}
	for _, kind := range kinds {
		switch kind {
		case "array":
			found |= arrays
		case "object":
			found |= objects
		default:
			found |= scalars
		}
	}
	if found != 0 {
		return found
	}
	for _, word := range []string{"allOf", "anyOf", "oneOf"} {
		list, _ := o[word].([]any)
		for _, branch := range list {
			found |= d.shapesOf(branch, depth+1)
		}
	}
	switch {
	case o["properties"] != nil || o["additionalProperties"] != nil:
		found |= objects
	case o["items"] != nil || o["prefixItems"] != nil:
		found |= arrays
	}
	if found == 0 {
		found = scalars
	}
	return found
}

// members lists the properties that a schema of objects declares.
func (d *document) members(v any, depth int) map[string]any {
	out := map[string]any{}
	o, err := d.resolve(v)
	if err != nil || depth > maxChain || !d.spend() {
		return out
	}
	declared, _ := o["properties"].(object)
	maps.Copy(out, declared)
	for _, word := range []string{"allOf", "anyOf", "oneOf"} {
		list, _ := o[word].([]any)
		for _, branch := range list {
			maps.Copy(out, d.members(branch, depth+1))
		}
	}
	return out
}
