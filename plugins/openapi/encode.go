package openapi

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/merkle/canon"
)

// argument is one argument's value, taken apart: exactly one kind of it is set.
type argument struct {
	kind  shapes
	text  string      // of a scalar
	list  []string    // of an array
	pairs [][2]string // of an object, in the order of the arguments
}

// maxMembers bounds the elements of one argument.
const maxMembers = 1000

// read takes a value apart. ok is false when it is null, which is written like nothing (RFC 6570, 2.3).
func (p *param) read(raw []byte) (a argument, ok bool, err error) {
	if p.json {
		return argument{kind: scalars, text: string(raw)}, true, nil
	}
	switch canon.KindOf(raw) {
	case 'n':
		return a, false, nil
	case '[':
		a.kind = arrays
		err = canon.EachElement(raw, func(_ int, v []byte) error {
			s, err := scalar(v)
			a.list = append(a.list, s)
			return err
		})
	case '{':
		a.kind = objects
		err = canon.Each(raw, func(key, v []byte) error {
			s, err := scalar(v)
			if _, declared := p.members[string(key)]; p.members != nil && !declared {
				return fmt.Errorf("its member %.80q is not one that it may have", key)
			}
			a.pairs = append(a.pairs, [2]string{string(key), s})
			return err
		})
	default:
		a.kind = scalars
		a.text, err = scalar(raw)
	}
	switch {
	case err != nil:
		return a, false, err
	case a.kind&p.takes == 0:
		return a, false, errors.New("it is of a kind that its place cannot hold: a single value, an array or an object is wanted")
	case len(a.list)+len(a.pairs) > maxMembers:
		return a, false, fmt.Errorf("it has more than %d elements", maxMembers)
	}
	return a, a.kind == scalars || len(a.list)+len(a.pairs) > 0, nil
}

// scalar writes a string, number or bool as it was judged.
func scalar(raw []byte) (string, error) {
	switch canon.KindOf(raw) {
	case '"':
		return canon.Unquote(raw)
	case '0', 't', 'f':
		return string(raw), nil
	case 'n':
		return "", errors.New("null has no form within it")
	}
	return "", errors.New("an array or object stands within it, where only a single value has a form")
}

// each calls f for every text that an argument holds, keys included.
func (a argument) each(f func(string) error) error {
	texts := append([]string(nil), a.list...)
	if a.kind == scalars {
		texts = append(texts, a.text)
	}
	for _, kv := range a.pairs {
		texts = append(texts, kv[0], kv[1])
	}
	for _, s := range texts {
		if err := f(s); err != nil {
			return err
		}
	}
	return nil
}

const hexDigits = "0123456789ABCDEF"

// escape writes a text so that it is nothing but itself in a path or query: all but unreserved characters (RFC 3986, 2.3) are
// escaped. allowReserved is not honoured: the escaped text means the same, and the other may not.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '~':
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hexDigits[c>>4], hexDigits[c&15]})
		}
	}
	return b.String()
}

// asIs is the escape of a place that has none.
func asIs(s string) string { return s }

// form is how a style expands a value, after the table of RFC 6570, appendix A.
type form struct {
	first, sep string // before everything, and between parts
	named      bool   // parts carry the parameter's name
	ifEmpty    string // after the name of an empty value
}

var forms = map[string]form{
	"simple": {"", ",", false, ""},
	"label":  {".", ".", false, ""},
	"matrix": {";", ";", true, ""},
	"form":   {"", "&", true, "="},
}

// expand writes an argument in a style of RFC 6570.
func (p *param) expand(a argument, esc func(string) string) string {
	f := forms[p.style]
	named := func(name, value string) string {
		if value == "" {
			return esc(name) + f.ifEmpty
		}
		return esc(name) + "=" + value
	}
	var parts []string
	switch {
	case a.kind == scalars:
		parts = []string{esc(a.text)}
	case a.kind == objects && p.explode:
		for _, kv := range a.pairs {
			part := esc(kv[0]) + "=" + esc(kv[1])
			if p.style == "matrix" {
				part = named(kv[0], esc(kv[1]))
			}
			parts = append(parts, part)
		}
		return f.first + strings.Join(parts, f.sep)
	case p.explode:
		for _, s := range a.list {
			parts = append(parts, esc(s))
		}
	default:
		var flat []string
		for _, s := range a.list {
			flat = append(flat, esc(s))
		}
		for _, kv := range a.pairs {
			flat = append(flat, esc(kv[0]), esc(kv[1]))
		}
		parts = []string{strings.Join(flat, ",")}
	}
	if f.named {
		for i, s := range parts {
			parts[i] = named(p.name, s)
		}
	}
	return f.first + strings.Join(parts, f.sep)
}

// query writes an argument as parameters of a query, without a separator before.
func (p *param) query(a argument) (string, error) {
	switch p.style {
	case "spaceDelimited":
		return p.delimited(a, " ")
	case "pipeDelimited":
		return p.delimited(a, "|")
	case "deepObject":
		var parts []string
		for _, kv := range a.pairs {
			if strings.ContainsAny(kv[0], "[]") {
				return "", errors.New("a member's name has a bracket, which would be a level of its own")
			}
			parts = append(parts, escape(p.name+"["+kv[0]+"]")+"="+escape(kv[1]))
		}
		return strings.Join(parts, "&"), nil
	}
	return p.expand(a, escape), nil
}

// delimited joins with a separator that has no escape, so that no element may hold it.
func (p *param) delimited(a argument, sep string) (string, error) {
	err := a.each(func(s string) error {
		if strings.Contains(s, sep) {
			return fmt.Errorf("an element holds %q, which separates elements here", sep)
		}
		return nil
	})
	flat := append([]string(nil), a.list...)
	for _, kv := range a.pairs {
		flat = append(flat, kv[0], kv[1])
	}
	return escape(p.name) + "=" + escape(strings.Join(flat, sep)), err
}

// header writes an argument as a header's value, where nothing can be escaped.
func (p *param) header(a argument) (string, error) {
	seps := ""
	if a.kind != scalars {
		seps = ","
	}
	if a.kind == objects && p.explode {
		seps = ",="
	}
	err := a.each(func(s string) error {
		if strings.ContainsAny(s, seps) {
			return fmt.Errorf("a value holds one of %q, which separate values in this header", seps)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	if p.json {
		return a.text, headerText(a.text)
	}
	value := p.expand(a, asIs)
	return value, headerText(value)
}

// maxHeaderText bounds a header's value: what servers take, four times over.
const maxHeaderText = 2 << 10

// headerText refuses what a header's value cannot hold, or what would be read as something else: control characters, and
// characters that servers guess the encoding of.
func headerText(s string) error {
	if len(s) > maxHeaderText {
		return fmt.Errorf("it is longer than the %d bytes that a header may have", maxHeaderText)
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' {
			return errors.New("it holds a character that has no form in a header: printable ASCII is wanted")
		}
	}
	if s != strings.TrimSpace(s) {
		return errors.New("it begins or ends with a blank, which a header loses")
	}
	return nil
}
