package policies

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/cedar-policy/cedar-go/x/exp/schema"
)

// Schema gives, in Cedar's own syntax, the schema that the policies of a bundle are held against with these tools: the
// gateway's words, the bundle's additions, one action a tool with its own context.input. Editors and Cedar's own validator
// can work on the bundle with it. The policies are not looked at. skipped says which tools were left out, and why.
func Schema(b *Bundle, tools []ToolDef) (text []byte, skipped []string, err error) {
	if b == nil || len(b.files) == 0 {
		return nil, nil, errors.New("schema: no bundle")
	}
	if len(tools) > maxTools {
		return nil, nil, fmt.Errorf("schema: %d tools; at most %d", len(tools), maxTools)
	}
	words, err := newVocabulary(b)
	if err != nil {
		return nil, nil, fmt.Errorf("schema: %w", err)
	}
	e := &Engine{words: words}
	taken := e.takeTools(tools)
	if err := words.addTools(taken); err != nil {
		return nil, nil, fmt.Errorf("schema: %w", err)
	}
	text, err = words.text(taken)
	return text, e.skipped, err
}

// text writes the schema, and reads it back: a bundle's type with the name of a built-in one would mean another thing in
// the text than it does in the engine.
func (v *vocabulary) text(tools []*tool) ([]byte, error) {
	meant, err := v.withTools(tools)
	if err != nil {
		return nil, err
	}
	text, err := schema.NewSchemaFromAST(meant).MarshalCedar()
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	var again schema.Schema
	if err := again.UnmarshalCedar(text); err != nil {
		return nil, fmt.Errorf("schema: written, it does not parse: %w", err)
	}
	got, err := again.Resolve()
	if err != nil {
		return nil, fmt.Errorf("schema: written, it does not resolve: %w", err)
	}
	if !reflect.DeepEqual(got.Entities, v.full.Entities) || !reflect.DeepEqual(got.Enums, v.full.Enums) || !reflect.DeepEqual(got.Actions, v.full.Actions) {
		return nil, Problems{{File: schemaFile, Msg: "written as text, the schema means another thing",
			Hint: "a type with the name of a built-in one, as String, hides that: rename it"}}
	}
	return text, nil
}
