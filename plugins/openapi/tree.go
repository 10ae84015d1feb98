package openapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// budget bounds a document while it is read.
type budget struct{ values, depth int }

var (
	errValues = errors.New("it has too many values; raise max_values if it is meant to")
	errDepth  = errors.New("it is nested too deeply")
)

// enter takes one value that stands depth deep from the budget.
func (b *budget) enter(depth int) error {
	if b.values--; b.values < 0 {
		return errValues
	}
	if depth > b.depth {
		return errDepth
	}
	return nil
}

// parseTree reads JSON, or YAML where the text does not begin as a JSON object does.
func parseTree(b []byte, room *budget) (any, error) {
	if !utf8.Valid(b) {
		return nil, errors.New("it is not UTF-8")
	}
	if trimmed := bytes.TrimLeft(b, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		v, err := readJSON(d, room, 0)
		if err != nil {
			return nil, err
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return nil, errors.New("something follows the JSON object")
		}
		return v, nil
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	var root, more yaml.Node
	if err := d.Decode(&root); err != nil {
		return nil, err
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("it holds more than one YAML document")
	}
	return readYAML(&root, room, 0)
}

// readJSON reads one value. Two members of one name are refused: readers differ on which of them counts.
func readJSON(d *json.Decoder, room *budget, depth int) (any, error) {
	if err := room.enter(depth); err != nil {
		return nil, err
	}
	t, err := d.Token()
	if err != nil {
		return nil, fmt.Errorf("it is not JSON: %w", err)
	}
	switch t {
	case json.Delim('{'):
		o := object{}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, fmt.Errorf("it is not JSON: %w", err)
			}
			name, _ := key.(string) // the decoder takes no other key
			if _, twice := o[name]; twice {
				return nil, fmt.Errorf("it has the member %.80q twice", name)
			}
			if o[name], err = readJSON(d, room, depth+1); err != nil {
				return nil, err
			}
		}
		return o, closed(d)
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := readJSON(d, room, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, closed(d)
	}
	return t, nil
}

// closed reads the bracket that ends an object or array.
func closed(d *json.Decoder) error {
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("it is not JSON: %w", err)
	}
	return nil
}

// readYAML makes of a node what JSON can say.
func readYAML(n *yaml.Node, room *budget, depth int) (any, error) {
	if err := room.enter(depth); err != nil {
		return nil, err
	}
	at := func(format string, args ...any) error {
		return fmt.Errorf("line %d: %w", n.Line, fmt.Errorf(format, args...))
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return readYAML(n.Content[0], room, depth)
	case yaml.AliasNode:
		return readYAML(n.Alias, room, depth+1)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, c := range n.Content {
			v, err := readYAML(c, room, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.MappingNode:
		o := make(object, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" {
				return nil, at("a key is not a plain text (merge keys are not read: write a $ref)")
			}
			if _, twice := o[key.Value]; twice {
				return nil, at("the key %.80q stands there twice", key.Value)
			}
			v, err := readYAML(n.Content[i+1], room, depth+1)
			if err != nil {
				return nil, err
			}
			o[key.Value] = v
		}
		return o, nil
	case yaml.ScalarNode:
		v, err := readScalar(n)
		if err != nil {
			return nil, at("%w", err)
		}
		return v, nil
	}
	return nil, at("it cannot be read")
}

// readScalar reads a plain value. What YAML takes for a time or for bytes is a text here, as it is in JSON.
func readScalar(n *yaml.Node) (any, error) {
	switch n.ShortTag() {
	case "!!str", "!!timestamp":
		return n.Value, nil
	case "!!null":
		return nil, nil
	case "!!bool":
		var b bool
		err := n.Decode(&b)
		return b, err
	case "!!int", "!!float":
		var v any
		if err := n.Decode(&v); err != nil {
			return nil, err
		}
		b, err := json.Marshal(v)
		if err != nil || strings.HasPrefix(string(b), `"`) {
			return nil, errors.New("a number that JSON cannot write")
		}
		return json.Number(b), nil
	}
	return nil, fmt.Errorf("a value has the tag %.40q, which JSON has no word for", n.Tag)
}
