// Package template makes policies of Cedar templates. A template is a policy with ?principal or ?resource in its scope; a
// link gives the slots their entities and the policy its id. What comes out is the template's own text with the slots
// filled, so that a policy is read, judged and reported by the line its template stands on.
package template

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Bounds of what links may make.
const (
	maxLinks = 10_000
	maxBytes = 32 << 20 // bytes of all policies together
	maxValue = 1024     // bytes of an entity
)

// Error is a fault at a place. Line is 0 when it belongs to the whole file.
type Error struct {
	File, Msg, Hint string
	Line            int
}

// Error gives "file:line: message (hint)".
func (e *Error) Error() string {
	at := e.File
	if e.Line > 0 {
		at += ":" + strconv.Itoa(e.Line)
	}
	if e.Hint == "" {
		return at + ": " + e.Msg
	}
	return at + ": " + e.Msg + " (" + e.Hint + ")"
}

// Policy is a template with its slots filled.
type Policy struct {
	File string
	Line int // where the template begins, from 1
	Text string
}

// Link fills a template, in the form of Cedar's own templateLinks.
type Link struct {
	Template string            `json:"templateId"`
	ID       string            `json:"newId"`
	Values   map[string]Entity `json:"values"` // "?principal", "?resource"
}

// Entity is written as the text Type::"id" or as an object: {"type": ..., "id": ...}, in {"__entity": ...} or bare.
type Entity struct{ Type, ID string }

// UnmarshalJSON reads either form.
func (e *Entity) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		return e.parse(text)
	}
	var o struct {
		Type   string `json:"type"`
		ID     string `json:"id"`
		Entity *struct {
			Type string `json:"type"`
			ID   string `json:"id"`
		} `json:"__entity"`
	}
	if err := errors.Join(strictly(b, &o), exactly(b, "type", "id", "__entity")); err != nil {
		return err
	}
	if e.Type, e.ID = o.Type, o.ID; o.Entity != nil {
		if o.Type != "" || o.ID != "" {
			return errors.New("an entity is given twice")
		}
		e.Type, e.ID = o.Entity.Type, o.Entity.ID
	}
	return e.check()
}

func (e *Entity) parse(text string) error {
	typ, quoted, ok := strings.Cut(text, `::"`)
	if !ok || !strings.HasSuffix(quoted, `"`) || strings.ContainsAny(quoted[:len(quoted)-1], "\"\\") {
		return fmt.Errorf("%.80q: want Type::\"id\", or {\"type\": ..., \"id\": ...} for an id with quotes", text)
	}
	e.Type, e.ID = typ, quoted[:len(quoted)-1]
	return e.check()
}

var typeName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(::[A-Za-z_][A-Za-z0-9_]*)*$`)

func (e *Entity) check() error {
	if !typeName.MatchString(e.Type) || len(e.Type)+len(e.ID) > maxValue {
		return fmt.Errorf("entity of type %.80q: want the name of a type, and at most %d bytes", e.Type, maxValue)
	}
	return nil
}

// text writes the entity as Cedar does: what is not plain ASCII is escaped, so that no id can end the string.
func (e Entity) text() string { return e.Type + "::" + quote(e.ID) }

func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		if r >= ' ' && r < 0x7f && r != '"' && r != '\\' {
			b.WriteRune(r)
			continue
		}
		fmt.Fprintf(&b, `\u{%x}`, r)
	}
	b.WriteByte('"')
	return b.String()
}

func strictly(b []byte, v any) error {
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// exactly refuses members in other letters than their own, and in an object below __entity, too: encoding/json takes "Values"
// for "values", and who reads the file with other eyes sees another link.
func exactly(b []byte, names ...string) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil {
		return err
	}
	for name, v := range members {
		if !slices.Contains(names, name) {
			return fmt.Errorf("%.40q is no member (one of %s)", name, strings.Join(names, ", "))
		}
		if name == "__entity" {
			if err := exactly(v, "type", "id"); err != nil {
				return err
			}
		}
	}
	return nil
}

// Source is a file of templates.
type Source struct{ Name, Text string }

// Expand fills templates as the links say. links may be empty; then nothing comes of the templates. Every template is
// checked, linked or not.
func Expand(files []Source, linksName string, links []byte) ([]Policy, error) {
	all := map[string]*piece{}
	for _, f := range files {
		pieces, err := split(f)
		if err != nil {
			return nil, err
		}
		for _, p := range pieces {
			if first := all[p.id]; first != nil {
				return nil, &Error{File: p.file, Line: p.line, Msg: fmt.Sprintf("the template id %q is taken by %s:%d", p.id, first.file, first.line)}
			}
			all[p.id] = p
		}
	}
	list, err := parseLinks(linksName, links)
	if err != nil {
		return nil, err
	}
	var out []Policy
	total := 0
	for i := range list {
		p := all[list[i].Template]
		if p == nil {
			return nil, &Error{File: linksName, Msg: fmt.Sprintf("link %q: there is no template %.80q", list[i].ID, list[i].Template), Hint: "a template is named by its @id"}
		}
		text, err := p.fill(&list[i])
		if err != nil {
			return nil, &Error{File: linksName, Msg: fmt.Sprintf("link %q: %v", list[i].ID, err), Hint: "give each slot of the template its entity, and no others"}
		}
		if total += len(text); total > maxBytes {
			return nil, &Error{File: linksName, Msg: fmt.Sprintf("the links make more than %d bytes of policies", maxBytes)}
		}
		out = append(out, Policy{File: p.file, Line: p.line, Text: text})
	}
	return out, nil
}

func parseLinks(name string, data []byte) ([]Link, error) {
	if len(data) == 0 {
		return nil, nil
	}
	fail := func(format string, a ...any) ([]Link, error) {
		return nil, &Error{File: name, Msg: fmt.Sprintf(format, a...), Hint: `a link is {"templateId": ..., "newId": ..., "values": {"?principal": "Team::\"a\""}}`}
	}
	limits := canon.DefaultLimits()
	limits.Bytes = 4 << 20
	if err := canon.Check(data, limits); err != nil {
		return fail("%v", err)
	}
	var list []Link
	var raw []json.RawMessage
	if err := errors.Join(strictly(data, &list), json.Unmarshal(data, &raw)); err != nil {
		return fail("%v", err)
	}
	for _, l := range raw {
		if err := exactly(l, "templateId", "newId", "values"); err != nil {
			return fail("%v", err)
		}
	}
	if len(list) > maxLinks {
		return fail("more than %d links", maxLinks)
	}
	for _, l := range list {
		if l.ID == "" || l.Template == "" || len(l.ID) > maxValue {
			return fail("a link without templateId or newId")
		}
	}
	return list, nil
}

// piece is one template.
type piece struct {
	file string
	line int
	id   string
	text string
	name [2]int // where the string of its @id stands in text
	at   []slot // in the order of the text
}

type slot struct {
	name     string
	from, to int
}

// slots are the names that slots may have.
var slots = []string{"?principal", "?resource"}

// fill puts a link's entities and id into the text.
func (p *piece) fill(l *Link) (string, error) {
	for name := range l.Values {
		if !slices.ContainsFunc(p.at, func(s slot) bool { return s.name == name }) {
			return "", fmt.Errorf("the template has no slot %.40q", name)
		}
	}
	var b strings.Builder
	b.WriteString(p.text[:p.name[0]])
	b.WriteString(quote(l.ID))
	from := p.name[1]
	for _, s := range p.at {
		e, ok := l.Values[s.name]
		if !ok {
			return "", fmt.Errorf("the slot %s is not filled", s.name)
		}
		b.WriteString(p.text[from:s.from])
		b.WriteString(e.text())
		from = s.to
	}
	b.WriteString(p.text[from:])
	return b.String(), nil
}
