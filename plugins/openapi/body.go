package openapi

import (
	"crypto/rand"
	"errors"
	"fmt"
	"mime"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/merkle/canon"
)

// media says how a body of a media type is written or read.
type media uint8

const (
	mediaOther media = iota
	mediaJSON
	mediaForm
	mediaMultipart
	mediaText
)

// mediaKind reads a media type, without its parameters.
func mediaKind(s string) media {
	kind, _, err := mime.ParseMediaType(s)
	switch {
	case err != nil:
	case kind == "application/json", strings.HasSuffix(kind, "+json") && strings.Count(kind, "/") == 1:
		return mediaJSON
	case kind == "application/x-www-form-urlencoded":
		return mediaForm
	case kind == "multipart/form-data":
		return mediaMultipart
	case kind == "text/plain":
		return mediaText
	}
	return mediaOther
}

// body is what an operation sends.
type body struct {
	media    media
	kind     string // the media type as it is sent
	required bool
	schema   any
	fields   map[string]*param // of the two forms; nil keys are not declared ones
}

// body reads an operation's. Of the media types that the document names the first is taken that can be written here, JSON before
// all others.
func (d *document) body(t *translator, v any, method string) (*body, error) {
	o, err := d.resolve(v)
	if err != nil {
		return nil, err
	}
	must, _ := flag(o, "required")
	if method == "get" || method == "head" || method == "delete" && !must {
		if must {
			return nil, errors.New("a GET or HEAD with a body means different things to different servers")
		}
		return nil, nil
	}
	content, _ := o["content"].(object)
	names := sortedKeys(content)
	slices.SortStableFunc(names, func(a, b string) int { return int(mediaKind(a)-1) - int(mediaKind(b)-1) }) // mediaOther comes last
	if len(names) == 0 || mediaKind(names[0]) == mediaOther {
		if !must && len(names) > 0 {
			return nil, errors.New("its body is of no media type that can be written here")
		}
		return nil, fmt.Errorf("its body is of no media type that can be written here: JSON, a form or plain text; it has %.200q", names)
	}
	kind, _, err := mime.ParseMediaType(names[0])
	if err != nil {
		return nil, fmt.Errorf("its body's media type: %w", err)
	}
	b := &body{media: mediaKind(names[0]), kind: kind, required: must}
	m, _ := content[names[0]].(object)
	schema, ok := m["schema"]
	if !ok {
		schema = true
	}
	if err := b.fit(d, schema, m); err != nil {
		return nil, err
	}
	if b.schema, err = t.schema(schema, 0); err != nil {
		return nil, err
	}
	b.schema = described(b.schema, text(o, "description"))
	return b, nil
}

// fit holds a body's schema against what its media type can write.
func (b *body) fit(d *document, schema any, m object) error {
	if b.media == mediaJSON {
		return nil
	}
	takes := d.shapesOf(schema, 0)
	if b.media == mediaText {
		if takes != scalars {
			return errors.New("its body is plain text, and its schema lets through arrays or objects")
		}
		return nil
	}
	if takes != objects {
		return errors.New("its body is a form, and its schema lets through more than objects")
	}
	encoding, _ := m["encoding"].(object)
	if len(encoding) > 0 && b.media == mediaMultipart {
		return errors.New("its multipart form has an encoding of its own, which is not written here")
	}
	b.fields = map[string]*param{}
	for name, v := range d.members(schema, 0) {
		p, err := b.field(d, name, v, encoding[name])
		if err != nil {
			return fmt.Errorf("its form's field %.80q: %w", name, err)
		}
		b.fields[name] = p
	}
	return nil
}

// field reads one field of a form.
func (b *body) field(d *document, name string, schema, encoding any) (*param, error) {
	p := &param{name: name, in: inQuery, style: "form", explode: true, takes: d.shapesOf(schema, 0)}
	if e, ok := encoding.(object); ok {
		if e["contentType"] != nil || e["headers"] != nil {
			return nil, errors.New("it has an encoding that is not written here")
		}
		if style := text(e, "style"); style != "" {
			p.style, p.explode = style, style == "form" || style == "deepObject"
		}
		if explode, there := flag(e, "explode"); there {
			p.explode = explode
		}
	}
	o, err := d.resolve(schema)
	if err != nil {
		return nil, err
	}
	can := styles[inQuery][p.style]
	switch {
	case b.media == mediaMultipart && (text(o, "format") == "binary" || o["contentMediaType"] != nil || o["contentEncoding"] != nil):
		return nil, errors.New("it is a file, and files are not sent")
	case can == 0:
		return nil, errors.New("it has a style that is not written here")
	case p.takes == objects && p.style == "form" && p.explode, strings.HasSuffix(p.style, "Delimited") && p.explode, p.style == "deepObject" && !p.explode:
		if b.media == mediaForm {
			return nil, errors.New("it is an object, which has no form of its own there")
		}
	}
	p.takes &= can
	return p, nil
}

// write makes the body of the raw argument, and says what media type it is.
func (b *body) write(raw []byte) (content []byte, kind string, err error) {
	switch b.media {
	case mediaJSON:
		return raw, b.kind, nil // the very bytes that were judged
	case mediaText:
		s, err := scalar(raw)
		return []byte(s), b.kind + "; charset=utf-8", err
	}
	if canon.KindOf(raw) != '{' {
		return nil, "", errors.New("it is not an object")
	}
	if b.media == mediaMultipart {
		return b.multipart(raw)
	}
	var parts []string
	err = canon.Each(raw, func(key, v []byte) error {
		p, err := b.declared(string(key))
		if err != nil {
			return err
		}
		if p.takes&objects != 0 && p.style == "form" && p.explode && canon.KindOf(v) == '{' {
			return fmt.Errorf("its field %.80q is an object, whose members would be fields of their own", key)
		}
		a, ok, err := p.read(v)
		if err != nil || !ok {
			return prefixed(string(key), err)
		}
		s, err := p.query(a)
		parts = append(parts, s)
		return prefixed(string(key), err)
	})
	return []byte(strings.Join(parts, "&")), b.kind, err
}

// declared finds a field. A form whose schema declares none takes any name, as single values.
func (b *body) declared(name string) (*param, error) {
	if p := b.fields[name]; p != nil {
		return p, nil
	}
	if len(b.fields) > 0 {
		return nil, fmt.Errorf("its field %.80q is not one that the form has", name)
	}
	return &param{name: name, in: inQuery, style: "form", explode: true, takes: scalars | arrays}, nil
}

// multipart writes a form in parts (RFC 7578). Values that are no single ones are JSON, arrays a part for each element.
func (b *body) multipart(raw []byte) ([]byte, string, error) {
	boundary := "gatewright-" + rand.Text() + rand.Text() // nobody who chooses a value can know it
	var out []byte
	part := func(name string, v []byte) error {
		kind, content := "", string(v)
		if k := canon.KindOf(v); k == '{' || k == '[' {
			kind = "Content-Type: application/json\r\n"
		} else {
			var err error
			if content, err = scalar(v); err != nil {
				return prefixed(name, err)
			}
		}
		out = fmt.Appendf(out, "--%s\r\nContent-Disposition: form-data; name=\"%s\"\r\n%s\r\n%s\r\n", boundary, name, kind, content)
		return nil
	}
	err := canon.Each(raw, func(key, v []byte) error {
		name := string(key)
		if _, err := b.declared(name); err != nil {
			return err
		}
		if !printable(name) || strings.ContainsAny(name, "\"\\%") || name == "" {
			return fmt.Errorf("its field %.80q has a name that a form cannot carry", name)
		}
		switch canon.KindOf(v) {
		case 'n':
			return nil
		case '[':
			return canon.EachElement(v, func(_ int, e []byte) error { return part(name, e) })
		}
		return part(name, v)
	})
	return append(out, "--"+boundary+"--\r\n"...), "multipart/form-data; boundary=" + boundary, err
}

// prefixed names the field that an error is about.
func prefixed(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("its field %.80q: %w", name, err)
}
