package openapi

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// object is one object of a document. The values in it are objects, arrays ([]any), strings, json.Numbers, bools and nil.
type object = map[string]any

// document is a whole one that was read, and what may be done with it.
type document struct {
	root   object
	minor  int // of its version: 0 is 3.0, 1 is 3.1
	limits Limits
	effort int // what the operation in hand may still look at; see spend
}

// maxEffort bounds the schemas that are looked at for one operation, each as often as it is. References that lead to references twice
// over double with each step. A tool's largest schema has fewer parts.
const maxEffort = 20_000

var errEffort = errors.New("its schemas refer to each other too often to be followed")

// spend takes one look from the effort that is left; it is false when there is none.
func (d *document) spend() bool {
	d.effort--
	return d.effort >= 0
}

// readDocument reads the file, JSON or YAML.
func readDocument(c Config) (*document, error) {
	f, err := os.Open(c.Document)
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err // tenants read this, and the host's folders are not theirs
	}
	if err != nil {
		return nil, fmt.Errorf("read the document %s: %w", filepath.Base(c.Document), err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(c.Limits.Document)+1))
	if err != nil {
		return nil, fmt.Errorf("read the document: %w", err)
	}
	if len(b) > c.Limits.Document {
		return nil, fmt.Errorf("the document is larger than %d bytes; raise max_document, or cut it down to the operations that are used", c.Limits.Document)
	}
	if sum := sha256.Sum256(b); len(c.SHA256) > 0 && !bytes.Equal(sum[:], c.SHA256) {
		return nil, fmt.Errorf("the document is not the one that is pinned: its sha256 is %x", sum)
	}
	return parseDocument(b, c.Limits)
}

func parseDocument(b []byte, l Limits) (*document, error) {
	root, err := parseTree(b, &budget{values: l.Values, depth: l.Depth})
	if err != nil {
		return nil, fmt.Errorf("read the document: %w", err)
	}
	d := &document{limits: l}
	if d.root, _ = root.(object); d.root == nil {
		return nil, errors.New("the document is not an object")
	}
	version, _ := d.root["openapi"].(string)
	switch {
	case strings.HasPrefix(version, "3.0."):
	case strings.HasPrefix(version, "3.1."):
		d.minor = 1
	default:
		return nil, fmt.Errorf("the document says openapi: %.20q; 3.0 and 3.1 are read here", version)
	}
	if dialect, ok := d.root["jsonSchemaDialect"]; ok && dialect != "https://spec.openapis.org/oas/3.1/dialect/base" && dialect != draft2020 {
		return nil, errors.New("the document's jsonSchemaDialect is not OpenAPI's own")
	}
	return d, nil
}

// maxChain bounds references that lead to references.
const maxChain = 16

// resolve follows $ref, which must stay inside the document, until it comes to an object.
func (d *document) resolve(v any) (object, error) {
	for range maxChain {
		o, ok := v.(object)
		if !ok {
			return nil, errors.New("something that is not an object stands where an object belongs")
		}
		ref, ok := o["$ref"]
		if !ok {
			return o, nil
		}
		var err error
		if v, err = d.lookup(ref); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("a $ref leads in a circle")
}

// lookup finds what a reference names.
func (d *document) lookup(ref any) (any, error) {
	text, ok := ref.(string)
	if !ok {
		return nil, errors.New("a $ref is not a text")
	}
	pointer, ok := strings.CutPrefix(text, "#/")
	if !ok {
		return nil, fmt.Errorf("the $ref %.80q leads outside of the document, and none is fetched", text)
	}
	v := any(d.root)
	for part := range strings.SplitSeq(pointer, "/") {
		part, err := url.PathUnescape(part)
		if err != nil {
			return nil, fmt.Errorf("the $ref %.80q cannot be read", text)
		}
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		switch at := v.(type) {
		case object:
			v, ok = at[part]
		case []any:
			n, err := strconv.Atoi(part)
			ok = err == nil && n >= 0 && n < len(at)
			if ok {
				v = at[n]
			}
		default:
			ok = false
		}
		if !ok {
			return nil, fmt.Errorf("the $ref %.80q leads to nothing", text)
		}
	}
	return v, nil
}

// text returns a member that is a text, or "".
func text(o object, key string) string {
	s, _ := o[key].(string)
	return s
}

// flag returns a member that is true or false, and whether it is there.
func flag(o object, key string) (is, there bool) {
	is, there = o[key].(bool)
	return is, there
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
