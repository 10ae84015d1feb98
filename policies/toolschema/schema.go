package toolschema

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/ast"
)

// Schema is a Cedar schema that parses and resolves.
type Schema struct {
	text []byte
	tree *schema.Schema
}

// Cedar gives the schema in Cedar's own syntax.
func (s *Schema) Cedar() []byte { return slices.Clone(s.text) }

// JSON gives the schema in Cedar's JSON form.
func (s *Schema) JSON() ([]byte, error) {
	b, err := s.tree.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("schema as JSON: %w", err)
	}
	return json.MarshalIndent(json.RawMessage(b), "", "  ")
}

// Read takes a schema in Cedar's own syntax, and refuses one that does not resolve.
func Read(text []byte) (*Schema, error) {
	s := &Schema{text: slices.Clone(text), tree: new(schema.Schema)}
	if err := s.tree.UnmarshalCedar(text); err != nil {
		return nil, &Error{Where: "schema", Msg: err.Error()}
	}
	if _, err := s.tree.Resolve(); err != nil {
		return nil, &Error{Where: "schema", Msg: err.Error()}
	}
	return s, nil
}

// finish writes the schema, and reads it back: what does not come out as it was meant is refused, so that no name of a
// tool can write anything else into the text.
func (b *builder) finish() (*Schema, error) {
	meant := &ast.Schema{Namespaces: ast.Namespaces{}}
	for _, name := range spaceNames(b.spaces) {
		if err := b.hides(name); err != nil {
			return nil, err
		}
		meant.Namespaces[types.Path(name)] = *b.spaces[name]
	}
	want, err := schema.NewSchemaFromAST(meant).Resolve()
	if err != nil {
		return nil, fault("", "rename the type, or leave the tool out", "the schema does not resolve: %v", err)
	}
	text, err := schemaText(b.spaces)
	if err != nil {
		return nil, err
	}
	s, err := Read([]byte(text))
	if err != nil {
		return nil, err
	}
	got, err := s.tree.Resolve()
	if err != nil || !reflect.DeepEqual(got.Entities, want.Entities) || !reflect.DeepEqual(got.Enums, want.Enums) || !reflect.DeepEqual(got.Actions, want.Actions) {
		return nil, fault("", "rename what has an unusual name", "the schema does not read back as it was meant")
	}
	s.tree = schema.NewSchemaFromAST(meant) // which says of a name whether it is an entity's, where the text does not
	return s, nil
}

// hides refuses a declaration with the name of a built-in type that others in its namespace use: they would mean it.
func (b *builder) hides(space string) error {
	ns := b.spaces[space]
	used := map[string]bool{}
	for _, t := range ns.CommonTypes {
		uses(t.Type, used)
	}
	for _, e := range ns.Entities {
		uses(e.Shape, used)
		uses(e.Tags, used)
	}
	for _, a := range ns.Actions {
		if a.AppliesTo != nil {
			uses(a.AppliesTo.Context, used)
		}
	}
	words := slices.Collect(maps.Values(builtin))
	slices.Sort(words)
	for _, word := range words {
		id := ast.Ident(word)
		_, isEntity := ns.Entities[id]
		_, isEnum := ns.Enums[id]
		_, isCommon := ns.CommonTypes[id]
		if used[word] && (isEntity || isEnum || isCommon) {
			return fault(strings.ReplaceAll(space, "::", " "), "rename the property or type", "a type %s would hide Cedar's own, which others here mean", word)
		}
	}
	return nil
}

// uses notes the names in a type.
func uses(t ast.IsType, used map[string]bool) {
	switch t := t.(type) {
	case ast.TypeRef:
		used[string(t)] = true
	case ast.SetType:
		uses(t.Element, used)
	case ast.RecordType:
		for _, a := range t {
			uses(a.Type, used)
		}
	}
}
