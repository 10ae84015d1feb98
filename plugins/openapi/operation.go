package openapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// methods are those that an operation may have, in the order of the specification. TRACE is not among them: it asks for the request
// back, credentials included.
var methods = []string{"get", "put", "post", "delete", "options", "head", "patch"}

// Bounds of what is said to people and models, in bytes.
const (
	maxTitle       = 256
	maxDescription = 4 << 10
	maxMemberText  = 1 << 10
	maxToolName    = 128 // MCP's
)

// operation is one that can be called.
type operation struct {
	method, path             string
	name, title, description string
	schema                   json.RawMessage
	template                 template
	params                   []*param
	body                     *body // nil: it has none
	scheme                   *scheme
	without                  []string // what is said of optional parameters that are no arguments
}

// leftOut is what is said of an operation that is no tool.
func (op *operation) leftOut(why error) string { return op.label() + " is left out: " + why.Error() }

func (op *operation) label() string {
	return strings.ToUpper(op.method) + " " + clip(op.path, maxTitle)
}

// hints are MCP's annotations, after what HTTP says of the method (RFC 9110, 9.2).
func (op *operation) hints() json.RawMessage {
	switch op.method {
	case "get", "head", "options":
		return json.RawMessage(`{"readOnlyHint":true,"openWorldHint":true}`)
	case "put", "delete":
		return json.RawMessage(`{"readOnlyHint":false,"destructiveHint":true,"idempotentHint":true,"openWorldHint":true}`)
	}
	return json.RawMessage(`{"readOnlyHint":false,"destructiveHint":true,"idempotentHint":false,"openWorldHint":true}`)
}

// operations reads them all, in the order of their paths. The error is about the document as a whole.
func (d *document) operations(s *scheme) (ops []*operation, notes []string, err error) {
	paths, ok := d.root["paths"].(object)
	if !ok {
		return nil, nil, errors.New("the document has no paths")
	}
	count := 0
	for _, path := range sortedKeys(paths) {
		if strings.HasPrefix(path, "x-") {
			continue
		}
		item, err := d.resolve(paths[path])
		if err != nil {
			notes = append(notes, clip(path, maxTitle)+" is left out: "+err.Error())
			continue
		}
		if item["trace"] != nil {
			notes = append(notes, "TRACE "+clip(path, maxTitle)+" is left out: it asks for the request back, credentials included")
		}
		for _, method := range methods {
			if item[method] == nil {
				continue
			}
			if count++; count > d.limits.Operations {
				return nil, nil, fmt.Errorf("the document has more than %d operations; raise max_operations, or cut it down to those that are used", d.limits.Operations)
			}
			op := &operation{method: method, path: path}
			d.effort = maxEffort
			err := d.operation(op, item, s)
			if d.effort < 0 {
				err = errEffort
			}
			if err != nil {
				notes = append(notes, op.leftOut(err))
				continue
			}
			ops, notes = append(ops, op), append(notes, op.without...)
		}
	}
	ops, twins := withoutTwins(ops)
	return ops, append(notes, twins...), nil
}

// withoutTwins leaves out all operations that would have one name: which of them was meant, nobody could tell.
func withoutTwins(ops []*operation) (unique []*operation, notes []string) {
	count := map[string]int{}
	for _, op := range ops {
		count[op.name]++
	}
	for _, op := range ops {
		if count[op.name] > 1 {
			notes = append(notes, op.leftOut(fmt.Errorf("another operation would be the tool %s too; give each an operationId of its own", op.name)))
			continue
		}
		unique = append(unique, op)
	}
	return unique, notes
}

// operation reads one.
func (d *document) operation(op *operation, item object, s *scheme) error {
	o, err := d.resolve(item[op.method]) // a $ref is not allowed here, and common all the same
	if err != nil {
		return err
	}
	if o["servers"] != nil || item["servers"] != nil {
		return errors.New("it names servers of its own, and addresses come from the configuration alone")
	}
	if op.template, err = parseTemplate(op.path); err != nil {
		return err
	}
	if op.scheme, err = d.secured(o, s); err != nil {
		return err
	}
	if err := op.describe(o, item); err != nil {
		return err
	}
	given, err := d.params(item, o)
	if err != nil {
		return err
	}
	t := newTranslator(d)
	if err := op.take(d, t, given); err != nil {
		return err
	}
	if o["requestBody"] != nil {
		if op.body, err = d.body(t, o["requestBody"], op.method); err != nil {
			return err
		}
	}
	op.schema, err = op.input(d, t)
	return err
}

// describe names the tool and says what it is for.
func (op *operation) describe(o, item object) error {
	op.name = plainName(text(o, "operationId"))
	if op.name == "" {
		op.name = plainName(op.method + "_" + strings.Trim(op.path, "/"))
	}
	if len(op.name) > maxToolName {
		return fmt.Errorf("its name is longer than %d letters; give it a shorter operationId", maxToolName)
	}
	summary, long := text(o, "summary"), text(o, "description")
	if summary == "" && long == "" {
		summary, long = text(item, "summary"), text(item, "description")
	}
	op.title = clip(strings.Join(strings.Fields(summary), " "), maxTitle)
	parts := slices.DeleteFunc([]string{summary, long}, func(s string) bool { return s == "" })
	op.description = clip(strings.Join(slices.Compact(parts), "\n\n"), maxDescription)
	if op.description == "" {
		op.description = op.label()
	}
	return nil
}

// plainName makes a name of letters, digits, '_', '-' and '.' that every client takes; what is none of them becomes one '_'.
func plainName(s string) string {
	var b strings.Builder
	gap := false
	for _, r := range s {
		plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '.'
		if plain && gap && b.Len() > 0 {
			b.WriteByte('_')
		}
		gap = !plain
		if plain {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// clip cuts a text that is too long, and says so.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= n {
		return s
	}
	n -= len("...")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}

// bodyArgument is the argument that is the request's body.
const bodyArgument = "body"

// input writes the tool's input schema: an argument for each parameter, one for the body, and no other.
func (op *operation) input(d *document, t *translator) (json.RawMessage, error) {
	members, required := object{}, []string{}
	add := func(name string, schema any, must bool) {
		members[name] = schema
		if must {
			required = append(required, name)
		}
	}
	for _, p := range op.params {
		add(p.arg, p.schema, p.required)
	}
	if op.body != nil {
		add(bodyArgument, op.body.schema, op.body.required)
	}
	schema := object{"type": "object", "properties": members, "additionalProperties": false}
	if len(required) > 0 {
		schema["required"] = required
	}
	if len(t.defs) > 0 {
		schema["$defs"] = t.defs
	}
	b, err := json.Marshal(schema)
	if err != nil {
		return nil, fmt.Errorf("write its input schema: %w", err)
	}
	if len(b) > d.limits.Schema {
		return nil, fmt.Errorf("its input schema has %d bytes, more than max_schema of the catalogue lets in", len(b))
	}
	return b, nil
}
