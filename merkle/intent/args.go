package intent

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Args is the constraint on a step's arguments object. A parameter that is not named here is a
// mismatch unless Additional allows it; a named one that is missing is a mismatch unless optional.
type Args struct {
	Params     map[string]Constraint
	Additional bool
	// Redactable holds RFC 6901 pointers a filter may rewrite after the proof: Grant.Covers then
	// accepts any value there. A pointer below a parameter needs a const, enum or open constraint.
	Redactable []string
}

// Constraint says what one argument may be. Exactly one kind is set: Const, Enum, Min and/or Max,
// Prefix, Pattern, Schema or Open. An absent argument is never equal to null.
type Constraint struct {
	Const    json.RawMessage   // equal in canonical form: 1.0 is 1, "1" is not
	Enum     []json.RawMessage // equal to one of these
	Min, Max *json.Number      // a number within these bounds, both inclusive, compared as decimals
	Prefix   *string           // a string that starts so; paths should end in a separator and mind ".."
	Pattern  string            // RE2 that must match the whole string
	Schema   json.RawMessage   // JSON-Schema subset, see schema.go
	Open     bool              // any value
	Optional bool              // the argument may be left out
}

// ConstArgs is the constraint that allows exactly these arguments.
func ConstArgs(values map[string]json.RawMessage) Args {
	a := Args{Params: make(map[string]Constraint, len(values))}
	for name, v := range values {
		a.Params[name] = Constraint{Const: v}
	}
	return a
}

// MarshalJSON writes the constraint as it stands in a leaf, but not always in canonical order.
func (a Args) MarshalJSON() ([]byte, error) { return a.appendJSON(nil), nil }

func (a *Args) appendJSON(dst []byte) []byte {
	dst = append(dst, `{"additional":`...)
	dst = strconv.AppendBool(dst, a.Additional)
	dst = append(dst, `,"params":{`...)
	for i, name := range slices.Sorted(maps.Keys(a.Params)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(canon.AppendString(dst, name), ':')
		c := a.Params[name]
		dst = c.appendJSON(dst)
	}
	dst = append(dst, `},"redactable":[`...)
	for i, p := range a.Redactable {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = canon.AppendString(dst, p)
	}
	return append(dst, `]}`...)
}

func (c *Constraint) appendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	switch {
	case c.Const != nil:
		dst = append(append(dst, `"const":`...), c.Const...)
	case c.Enum != nil:
		dst = append(dst, `"enum":[`...)
		for i, v := range c.Enum {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, v...)
		}
		dst = append(dst, ']')
	case c.Max != nil || c.Min != nil:
		dst = c.appendRange(dst)
	case c.Prefix != nil:
		dst = appendField(dst, "prefix", *c.Prefix)
	case c.Pattern != "":
		dst = appendField(dst, "pattern", c.Pattern)
	case c.Schema != nil:
		dst = append(append(dst, `"schema":`...), c.Schema...)
	default:
		dst = append(dst, `"open":true`...)
	}
	if c.Optional {
		dst = append(dst, `,"optional":true`...)
	}
	return append(dst, '}')
}

func (c *Constraint) appendRange(dst []byte) []byte {
	if c.Max != nil {
		dst = append(append(dst, `"max":`...), *c.Max...)
	}
	if c.Min != nil {
		if c.Max != nil {
			dst = append(dst, ',')
		}
		dst = append(append(dst, `"min":`...), *c.Min...)
	}
	return dst
}

// kinds counts the kinds a constraint names; valid ones name exactly one.
func (c *Constraint) kinds() int {
	n := 0
	for _, set := range [...]bool{c.Const != nil, c.Enum != nil, c.Min != nil || c.Max != nil, c.Prefix != nil, c.Pattern != "", c.Schema != nil, c.Open} {
		if set {
			n++
		}
	}
	return n
}

// check compiles the constraint and throws the result away: what compiles is what can be enforced.
func (a *Args) check(at string, pats *patterns) error {
	_, err := compileArgs(a, at, pats)
	return err
}

const constraintMembers = "allowed: const, enum, min, max, prefix, pattern, schema, open, optional"

// parseConstraint reads one constraint object. raw has passed the strict gate.
func parseConstraint(raw []byte, at string, lim Limits) (Constraint, error) {
	var c Constraint
	err := members(raw, at, func(key string, v []byte, at string) error {
		switch key {
		case "const":
			return readValue(&c.Const, v, at)
		case "enum":
			return readEnum(&c.Enum, v, at, lim.Enum)
		case "min":
			return readNumber(&c.Min, v, at)
		case "max":
			return readNumber(&c.Max, v, at)
		case "prefix":
			c.Prefix = new(string)
			return readText(c.Prefix, v, at, maxPatternValue)
		case "pattern":
			if err := readText(&c.Pattern, v, at, maxPattern); err != nil || c.Pattern != "" {
				return err
			}
			return invalid(at, "must not be empty", "use open for any value")
		case "schema":
			if canon.KindOf(v) != '{' {
				return invalid(at, "must be a schema object", "use open for any value")
			}
			return readValue(&c.Schema, v, at)
		case "open":
			if canon.KindOf(v) != 't' {
				return invalid(at, "can only be true", "leave it out instead")
			}
			c.Open = true
			return nil
		case "optional":
			return readBool(&c.Optional, v, at)
		}
		return invalid(at, "unknown member", constraintMembers)
	})
	if err != nil {
		return Constraint{}, err
	}
	if c.kinds() != 1 {
		return Constraint{}, invalid(at, "needs exactly one kind of constraint", constraintMembers)
	}
	return c, nil
}

// parseArgs reads the canonical form that appendJSON writes.
func parseArgs(raw []byte, at string, lim Limits) (Args, error) {
	var a Args
	err := members(raw, at, func(key string, v []byte, at string) error {
		switch key {
		case "additional":
			return readBool(&a.Additional, v, at)
		case "params":
			return a.readParams(v, at, lim)
		case "redactable":
			return readTexts(&a.Redactable, v, at, maxPointers)
		}
		return invalid(at, "unknown member", "allowed: additional, params, redactable")
	})
	return a, err
}

// readParams reads name: constraint pairs into a.Params.
func (a *Args) readParams(raw []byte, at string, lim Limits) error {
	return members(raw, at, func(name string, v []byte, at string) error {
		c, err := parseConstraint(v, at, lim)
		if err != nil {
			return err
		}
		return a.add(name, c, at, lim)
	})
}

// readLiterals reads name: value pairs as constants.
func (a *Args) readLiterals(raw []byte, at string, lim Limits) error {
	return members(raw, at, func(name string, v []byte, at string) error {
		var c Constraint
		if err := readValue(&c.Const, v, at); err != nil {
			return err
		}
		return a.add(name, c, at, lim)
	})
}

func (a *Args) add(name string, c Constraint, at string, lim Limits) error {
	if a.Params == nil {
		a.Params = make(map[string]Constraint)
	}
	if _, doubled := a.Params[name]; doubled {
		return invalid(at, "parameter stands in both args and where", "keep one of the two")
	}
	if len(a.Params) >= lim.Params {
		return invalid(at, "more than "+strconv.Itoa(lim.Params)+" parameters", "")
	}
	a.Params[name] = c
	return nil
}

// parsePointer splits an RFC 6901 pointer of at least one token, at most 8.
func parsePointer(p string) ([]string, bool) {
	if !strings.HasPrefix(p, "/") || !validText(p) {
		return nil, false
	}
	tokens := strings.Split(p[1:], "/")
	if len(tokens) > 8 {
		return nil, false
	}
	for i, t := range tokens {
		rest := strings.ReplaceAll(strings.ReplaceAll(t, "~0", ""), "~1", "")
		if strings.Contains(rest, "~") {
			return nil, false
		}
		tokens[i] = strings.ReplaceAll(strings.ReplaceAll(t, "~1", "/"), "~0", "~")
	}
	return tokens, true
}

// escapeToken writes one RFC 6901 reference token.
func escapeToken(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "~", "~0"), "/", "~1")
}
