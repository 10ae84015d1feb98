package intent

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/merkle/canon"
)

type ruleKind uint8

const (
	ruleOpen ruleKind = iota
	ruleConst
	ruleEnum
	ruleRange
	rulePrefix
	rulePattern
	ruleSchema
)

// rule is one compiled constraint.
type rule struct {
	name     string
	kind     ruleKind
	optional bool
	lowest   bool // min is set
	highest  bool // max is set
	free     bool // the whole parameter is redactable
	want     [][]byte
	min, max decimal
	prefix   string
	pattern  *pattern
	schema   *schema
	masks    [][]string // redactable places inside the parameter
	masked   [][]byte   // want with those places nulled
}

// matcher is a compiled Args. It is immutable, so any number of goroutines may use it.
type matcher struct {
	rules      []rule // ascending by name
	additional bool
	exact      []byte // the one arguments object allowed, canonical; nil unless all rules are const
}

func compileArgs(a *Args, at string, pats *patterns) (matcher, error) {
	m := matcher{additional: a.Additional, rules: make([]rule, 0, len(a.Params))}
	exact := !a.Additional
	for _, name := range slices.Sorted(maps.Keys(a.Params)) {
		c := a.Params[name]
		if !validText(name) {
			return matcher{}, invalid(at, "parameter name is not valid UTF-8", "")
		}
		r, err := compileRule(name, &c, at+"/where/"+escapeToken(name), pats)
		if err != nil {
			return matcher{}, err
		}
		exact = exact && r.kind == ruleConst && !r.optional
		m.rules = append(m.rules, r)
	}
	if len(a.Redactable) > maxPointers {
		return matcher{}, invalid(at+"/redactable", "more than 32 pointers", "")
	}
	for _, p := range a.Redactable {
		if err := m.redact(p, at); err != nil {
			return matcher{}, err
		}
	}
	if exact {
		m.exact = m.writeExact()
	}
	return m, nil
}

func (m *matcher) writeExact() []byte {
	raw := []byte{'{'}
	for i := range m.rules {
		if i > 0 {
			raw = append(raw, ',')
		}
		raw = append(append(canon.AppendString(raw, m.rules[i].name), ':'), m.rules[i].want[0]...)
	}
	out, err := canon.AppendCanonical(nil, append(raw, '}'), wholePlan())
	if err != nil {
		return nil // only a short cut is lost
	}
	return out
}

func compileRule(name string, c *Constraint, at string, pats *patterns) (rule, error) {
	r := rule{name: name, optional: c.Optional}
	if c.kinds() != 1 {
		return r, invalid(at, "needs exactly one kind of constraint", constraintMembers)
	}
	var err error
	switch {
	case c.Const != nil:
		r.kind = ruleConst
		r.want, err = canonicalAll([]json.RawMessage{c.Const}, at)
	case c.Enum != nil:
		r.kind = ruleEnum
		r.want, err = canonicalAll(c.Enum, at)
	case c.Min != nil || c.Max != nil:
		err = r.compileRange(c, at)
	case c.Prefix != nil:
		r.kind, r.prefix = rulePrefix, *c.Prefix
		if !validText(r.prefix) || len(r.prefix) > maxPatternValue {
			err = invalid(at, "prefix is longer than 4096 bytes or not valid UTF-8", "")
		}
	case c.Pattern != "":
		r.kind = rulePattern
		r.pattern, err = pats.compile(c.Pattern, at+"/pattern", true)
	case c.Schema != nil:
		r.kind = ruleSchema
		r.schema, err = compileSchema(c.Schema, at+"/schema", pats)
	default:
		r.kind = ruleOpen
	}
	return r, err
}

func canonicalAll(values []json.RawMessage, at string) ([][]byte, error) {
	if len(values) == 0 {
		return nil, invalid(at, "needs at least one value", "")
	}
	out := make([][]byte, len(values))
	for i, v := range values {
		b, err := canon.AppendCanonical(nil, v, wholePlan())
		if err != nil {
			return nil, invalid(at, "value is not strict JSON: "+err.Error(), "")
		}
		out[i] = b
	}
	return out, nil
}

func (r *rule) compileRange(c *Constraint, at string) error {
	r.kind = ruleRange
	var err error
	if r.lowest = c.Min != nil; r.lowest {
		r.min, err = compileBound(*c.Min, at+"/min")
	}
	if r.highest = c.Max != nil; r.highest && err == nil {
		r.max, err = compileBound(*c.Max, at+"/max")
	}
	if err != nil {
		return err
	}
	if r.lowest && r.highest && r.min.compare(r.max) > 0 {
		return invalid(at, "min is greater than max", "")
	}
	return nil
}

func compileBound(n json.Number, at string) (decimal, error) {
	raw := []byte(n)
	if err := canon.Check(raw, canon.DefaultLimits()); err != nil || canon.KindOf(raw) != '0' {
		return decimal{}, invalid(at, "is not an I-JSON number", "")
	}
	return parseDecimal(trim(raw)), nil
}

// redact notes a pointer a filter may rewrite with the rule it reaches into.
func (m *matcher) redact(pointer, at string) error {
	at += "/redactable"
	tokens, ok := parsePointer(pointer)
	if !ok {
		return invalid(at, "is not a JSON pointer of 1 to 8 parts", `for example "/body" or "/body/text"`)
	}
	i, found := slices.BinarySearchFunc(m.rules, tokens[0], func(r rule, name string) int { return strings.Compare(r.name, name) })
	if !found {
		if m.additional {
			return nil // free already
		}
		return invalid(at, "points to no parameter of the step", "")
	}
	r := &m.rules[i]
	if len(tokens) == 1 {
		r.free = true
		return nil
	}
	switch r.kind {
	case ruleOpen:
		return nil
	case ruleConst, ruleEnum:
		r.masks = append(r.masks, tokens[1:])
		return r.mask(at)
	default:
		return invalid(at, "points inside a parameter that is neither const nor enum", "name the whole parameter")
	}
}

// mask recomputes the masked forms of the values a rule wants.
func (r *rule) mask(at string) error {
	r.masked = r.masked[:0]
	for _, w := range r.want {
		b, hits, err := appendMasked(nil, w, r.masks)
		if err != nil {
			return invalid(at, "cannot be applied: "+err.Error(), "")
		}
		if r.kind == ruleConst && hits < len(r.masks) {
			return invalid(at, "points to nothing inside the constant", "")
		}
		if b, err = canon.AppendCanonical(nil, b, wholePlan()); err != nil {
			return invalid(at, "cannot be applied: "+err.Error(), "")
		}
		r.masked = append(r.masked, b)
	}
	return nil
}
