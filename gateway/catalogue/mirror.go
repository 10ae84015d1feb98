package catalogue

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/merkle/canon"
)

// mirror is an argument that MCP 2026-07-28 has repeated in a header, because
// the tool's schema marks it with x-mcp-header.
type mirror struct {
	path   []string
	header string // Mcp-Param-...
}

// Mirrors says whether the tool asks for headers at all.
func (t *Tool) Mirrors() bool { return len(t.mirrors) > 0 }

// Mirror calls add for each header that args ask for. args are checked JSON
// that CheckArgs accepted. Absent and null arguments are not repeated.
func (t *Tool) Mirror(args []byte, add func(name, value string)) {
	for _, m := range t.mirrors {
		value, ok := lookup(args, m.path)
		if !ok {
			continue
		}
		switch canon.KindOf(value) {
		case '"':
			if s, err := canon.Unquote(value); err == nil {
				add(m.header, s)
			}
		case 't', 'f', '0':
			add(m.header, string(value))
		}
	}
}

func lookup(object []byte, path []string) ([]byte, bool) {
	for _, name := range path {
		if canon.KindOf(object) != '{' {
			return nil, false
		}
		value, ok := canon.Get(object, name)
		if !ok {
			return nil, false
		}
		object = value
	}
	return object, true
}

// maxMirrors bounds the headers one tool may ask for.
const maxMirrors = 32

// findMirrors reads the annotations of a schema that compiled. They may stand
// on properties at any depth, on strings, integers and booleans, and no two may
// name one header.
func findMirrors(schema []byte) ([]mirror, error) {
	var out []mirror
	seen := map[string]bool{}
	err := walkProperties(schema, nil, func(path []string, property []byte) error {
		raw, ok := canon.Get(property, "x-mcp-header")
		if !ok {
			return nil
		}
		name, err := text(raw, nil)
		lower := strings.ToLower(name)
		kind, _ := canon.Get(property, "type")
		switch {
		case err != nil || !headerName(name):
			return errors.New("one is not a header name")
		case seen[lower]:
			return errors.New("two name one header")
		case string(kind) != `"string"` && string(kind) != `"integer"` && string(kind) != `"boolean"`:
			return errors.New("one is not on a string, integer or boolean")
		case len(out) == maxMirrors:
			return fmt.Errorf("there are more than %d", maxMirrors)
		}
		seen[lower] = true
		out = append(out, mirror{path: path, header: "Mcp-Param-" + name})
		return nil
	})
	return out, err
}

// walkProperties visits the properties of a schema and of their schemas.
func walkProperties(schema []byte, path []string, visit func(path []string, property []byte) error) error {
	properties, ok := canon.Get(schema, "properties")
	if !ok {
		return nil
	}
	return canon.Each(properties, func(key, value []byte) error {
		if canon.KindOf(value) != '{' {
			return nil
		}
		own := append(append(make([]string, 0, len(path)+1), path...), string(key))
		if err := visit(own, value); err != nil {
			return err
		}
		return walkProperties(value, own, visit)
	})
}

func headerName(s string) bool {
	if s == "" || len(s) > 100 {
		return false
	}
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", s[i]) < 0 {
			return false
		}
	}
	return true
}
