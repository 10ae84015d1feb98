package openapi

import (
	"errors"
	"fmt"
	"net/textproto"
	"strings"
)

// The places a parameter can be in.
const (
	inPath   = "path"
	inQuery  = "query"
	inHeader = "header"
	inCookie = "cookie"
)

// param is one parameter of an operation.
type param struct {
	arg      string // the argument that fills it
	name, in string
	style    string
	explode  bool
	required bool
	json     bool // its content is JSON, written whole
	takes    shapes
	// members are those that an object may have which is written without its own name; nil is any.
	members map[string]any
	schema  any
}

// given is a parameter as the document has it.
type given struct {
	name, in string
	o        object
}

// maxParams bounds the parameters of one operation.
const maxParams = 200

// params gathers those of a path and of its operation, which wins. Those that the specification has ignored are left out.
func (d *document) params(item, op object) ([]given, error) {
	var all []given
	at := map[[2]string]int{}
	for _, holder := range []object{item, op} {
		list, ok := holder["parameters"].([]any)
		if !ok && holder["parameters"] != nil {
			return nil, errors.New("its parameters are no list")
		}
		if len(list) > maxParams {
			return nil, fmt.Errorf("it has more than %d parameters", maxParams)
		}
		seen := map[[2]string]bool{}
		for _, v := range list {
			o, err := d.resolve(v)
			if err != nil {
				return nil, err
			}
			g := given{text(o, "name"), text(o, "in"), o}
			key := [2]string{g.name, g.in}
			if g.in == inHeader {
				key[0] = strings.ToLower(g.name)
			}
			switch i, known := at[key]; {
			case g.name == "" || seen[key]:
				return nil, fmt.Errorf("a parameter has no name, or stands there twice: %.80q", g.name)
			case g.in == inHeader && specHeaders[key[0]]:
			case known:
				all[i] = g
			default:
				at[key] = len(all)
				all = append(all, g)
			}
			seen[key] = true
		}
	}
	return all, nil
}

// specHeaders are header parameters that "shall be ignored": other parts of a document say what they are.
var specHeaders = map[string]bool{"accept": true, "content-type": true, "authorization": true}

// take makes the operation's parameters of what the document gives.
func (op *operation) take(d *document, t *translator, list []given) error {
	count := map[string]int{}
	for _, g := range list {
		count[plainName(g.name)]++
	}
	args := map[string]bool{bodyArgument: true}
	for _, g := range list {
		if op.scheme.owns(g) {
			continue // the credential stands there
		}
		p, err := d.param(t, g)
		if err != nil {
			if must, _ := flag(g.o, "required"); !must && g.in != inPath { // nobody can fill it then
				op.without = append(op.without, fmt.Sprintf("%s is a tool without its %s parameter %.80q: %s", op.label(), g.in, g.name, err))
				continue
			}
			return fmt.Errorf("its %s parameter %.80q: %w", g.in, g.name, err)
		}
		p.arg = plainName(g.name)
		if count[p.arg] > 1 || p.arg == bodyArgument || p.arg == "" {
			p.arg = plainName(g.in + "_" + g.name)
		}
		if args[p.arg] {
			return fmt.Errorf("two of its parameters would be the argument %q", p.arg)
		}
		args[p.arg] = true
		op.params = append(op.params, p)
	}
	return op.fits()
}

// fits holds path and parameters together, and keeps an object that is written member by member from reaching the others.
func (op *operation) fits() error {
	inTemplate := map[string]bool{}
	for _, name := range op.template.names() {
		inTemplate[name] = true
	}
	taken := map[string]bool{}
	if s := op.scheme; s != nil && s.in == inQuery {
		taken[s.name] = true
	}
	for _, p := range op.params {
		if p.in == inPath && !inTemplate[p.name] {
			return fmt.Errorf("its path has no place for the path parameter %.80q", p.name)
		}
		if p.in == inPath {
			delete(inTemplate, p.name)
		}
		if p.in != inQuery {
			continue
		}
		names := []string{p.name}
		if p.members != nil {
			names = sortedKeys(p.members)
		}
		for _, name := range names {
			if taken[name] {
				return fmt.Errorf("two of its query parameters would have the name %.80q", name)
			}
			taken[name] = true
		}
	}
	for name := range inTemplate {
		return fmt.Errorf("its path has a place for %.80q, and no parameter fills it", name)
	}
	return nil
}

// styles are what each place knows, the default first, with what a style can write.
var styles = map[string]map[string]shapes{
	inPath:   {"simple": scalars | arrays | objects, "label": scalars | arrays | objects, "matrix": scalars | arrays | objects},
	inQuery:  {"form": scalars | arrays | objects, "spaceDelimited": arrays | objects, "pipeDelimited": arrays | objects, "deepObject": objects},
	inHeader: {"simple": scalars | arrays | objects},
	inCookie: {"form": scalars},
}

var defaultStyle = map[string]string{inPath: "simple", inQuery: "form", inHeader: "simple", inCookie: "form"}

// param reads one.
func (d *document) param(t *translator, g given) (*param, error) {
	p := &param{name: g.name, in: g.in, style: text(g.o, "style")}
	known, ok := styles[p.in]
	if !ok {
		return nil, errors.New("there is no such place for a parameter")
	}
	if p.style == "" {
		p.style = defaultStyle[p.in]
	}
	var there bool
	if p.explode, there = flag(g.o, "explode"); !there {
		p.explode = p.style == "form" || p.style == "deepObject"
	}
	p.required, _ = flag(g.o, "required")
	p.required = p.required || p.in == inPath
	schema, err := p.content(g.o)
	if err != nil {
		return nil, err
	}
	can, ok := known[p.style]
	p.takes = d.shapesOf(schema, 0)
	switch {
	case len(p.name) > maxWireName || !printable(p.name):
		return nil, errors.New("its name is too long or not printable")
	case p.json:
	case !ok:
		return nil, fmt.Errorf("style %.40q is not one of a %s parameter", p.style, p.in)
	case p.takes&can == 0:
		return nil, fmt.Errorf("style %s cannot write what its schema says", p.style)
	case strings.HasSuffix(p.style, "Delimited") && p.explode, p.style == "deepObject" && !p.explode:
		return nil, fmt.Errorf("style %s has no form with explode = %v", p.style, p.explode)
	}
	if !p.json {
		p.takes &= can
	}
	if err := p.checkName(); err != nil {
		return nil, err
	}
	if err := p.bare(d, schema); err != nil {
		return nil, err
	}
	if p.schema, err = t.schema(schema, 0); err != nil {
		return nil, err
	}
	p.schema = described(p.schema, text(g.o, "description"))
	return p, nil
}

// maxWireName bounds a parameter's name, in bytes.
const maxWireName = 256

// content finds the parameter's schema: its own, or that of its one JSON content.
func (p *param) content(o object) (any, error) {
	content, ok := o["content"].(object)
	if !ok {
		if o["schema"] == nil {
			return nil, errors.New("it has no schema")
		}
		return o["schema"], nil
	}
	if len(content) != 1 {
		return nil, errors.New("it has not exactly one content")
	}
	for media, v := range content {
		m, _ := v.(object)
		if mediaKind(media) != mediaJSON || m == nil {
			return nil, fmt.Errorf("its content %.80q is not JSON", media)
		}
		p.json = true
		if m["schema"] == nil {
			return true, nil
		}
		return m["schema"], nil
	}
	return nil, errors.New("it has no content")
}

// bare finds the members of an object that is written without its own name. Each of them is a parameter to whoever reads the query,
// so only declared ones may be.
func (p *param) bare(d *document, schema any) error {
	if p.json || p.takes&objects == 0 || !p.explode || p.in != inQuery || p.style != "form" {
		return nil
	}
	if p.takes != objects {
		return errors.New("its schema lets through objects and others, of which the one cannot be told from the other")
	}
	if p.members = d.members(schema, 0); len(p.members) == 0 {
		return errors.New("its object declares no properties, and any of them would be a parameter of its own")
	}
	return nil
}

// checkName refuses names that would say something else where they stand.
func (p *param) checkName() error {
	switch p.in {
	case inHeader:
		if !isToken(p.name) || ownHeader(p.name) {
			return errors.New("this header is not an argument's to set")
		}
		p.name = textproto.CanonicalMIMEHeaderKey(p.name)
	case inCookie:
		if !isToken(p.name) || strings.HasPrefix(p.name, "__") {
			return errors.New("this cookie is not an argument's to set")
		}
	}
	return nil
}

// ownHeader names the headers that frame a message, say who sends it and from where, or change what it means. A parameter of
// such a name would let arguments decide that.
func ownHeader(name string) bool {
	name = strings.ToLower(name)
	for _, prefix := range []string{"proxy-", "sec-", "mcp-", "gatewright-", "x-forwarded", "x-csrg-", "x-armoriq-", "x-original-", "x-rewrite-", "x-amz-security-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive", "expect", "via", "forwarded",
		"cookie", "cookie2", "set-cookie", "authorization", "content-type", "content-encoding", "accept", "accept-encoding", "user-agent", "date",
		"origin", "referer", "x-real-ip", "x-client-ip", "x-host", "x-http-method", "x-http-method-override", "x-method-override", "http2-settings", "max-forwards":
		return true
	}
	return false
}

// described gives a schema the parameter's own description where it has none.
func described(schema any, description string) any {
	o, ok := schema.(object)
	if !ok || description == "" || o["description"] != nil {
		return schema
	}
	o["description"] = clip(description, maxMemberText)
	return o
}

// isToken reports whether s can be a header's or a cookie's name (RFC 9110, 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0
}
