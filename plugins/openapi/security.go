package openapi

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// scheme is how the credential travels. A nil one carries none.
type scheme struct {
	id       string // in the document; empty: all operations get it
	in, name string // of a header or query parameter
	prefix   string
	basic    bool // the credential is USER:PASSWORD
}

// owns says whether a parameter is the credential's place.
func (s *scheme) owns(g given) bool {
	if s == nil || g.in != s.in {
		return false
	}
	return g.name == s.name || s.in == inHeader && strings.EqualFold(g.name, s.name)
}

// scheme finds what the configuration asks for.
func (d *document) scheme(c Config) (*scheme, error) {
	components, _ := d.root["components"].(object)
	all, _ := components["securitySchemes"].(object)
	id := c.Scheme
	switch {
	case !c.Credential && c.Scheme != "":
		return nil, errors.New("scheme is set, and there is no credential for it")
	case !c.Credential:
		return nil, nil
	case len(all) == 0 && id == "":
		if !isToken(c.Header) {
			return nil, errors.New("the document has no security scheme: the configuration has to name the header that carries the credential")
		}
		return &scheme{in: inHeader, name: http.CanonicalHeaderKey(c.Header), prefix: c.Prefix}, nil
	case len(all) == 1 && id == "":
		id = sortedKeys(all)[0]
	case id == "":
		return nil, fmt.Errorf("the document has several security schemes; name the one that the credential is for: %s", strings.Join(sortedKeys(all), ", "))
	case all[id] == nil:
		return nil, fmt.Errorf("the document has no security scheme %q; it has %s", id, strings.Join(sortedKeys(all), ", "))
	}
	o, err := d.resolve(all[id])
	if err != nil {
		return nil, err
	}
	return readScheme(id, o)
}

// readScheme reads one of the document's.
func readScheme(id string, o object) (*scheme, error) {
	s := &scheme{id: id, in: inHeader, name: "Authorization"}
	kind, way := text(o, "type"), strings.ToLower(text(o, "scheme"))
	switch {
	case kind == "apiKey":
		s.in, s.name = text(o, "in"), text(o, "name")
		if s.in == inHeader {
			s.name = http.CanonicalHeaderKey(s.name)
		}
		reserved := !strings.EqualFold(s.name, "Authorization") && ownHeader(s.name)
		if s.in == inHeader && (!isToken(s.name) || reserved) || s.in == inQuery && (s.name == "" || len(s.name) > maxWireName) {
			return nil, fmt.Errorf("the security scheme %q has a name that no credential can have", id)
		}
		if s.in != inHeader && s.in != inQuery {
			return nil, fmt.Errorf("the security scheme %q puts the key into a %.20s; only header and query are filled here", id, s.in)
		}
	case kind == "http" && way == "bearer", kind == "oauth2", kind == "openIdConnect":
		s.prefix = "Bearer "
	case kind == "http" && way == "basic":
		s.prefix, s.basic = "Basic ", true
	default:
		return nil, fmt.Errorf("the security scheme %q is of a kind that cannot be filled here: apiKey, http bearer, http basic, oauth2 and openIdConnect can", id)
	}
	return s, nil
}

// secured says what an operation carries: the credential only where the document asks for it.
func (d *document) secured(op object, s *scheme) (*scheme, error) {
	if s != nil && s.id == "" {
		return s, nil
	}
	v, ok := op["security"]
	if !ok {
		v = d.root["security"]
	}
	ways, _ := v.([]any)
	if len(ways) == 0 {
		return nil, nil
	}
	open := false
	for _, way := range ways {
		o, _ := way.(object)
		if _, wanted := o[idOf(s)]; wanted && len(o) == 1 && s != nil {
			return s, nil
		}
		open = open || o != nil && len(o) == 0
	}
	if open {
		return nil, nil
	}
	return nil, errors.New("it asks for a security scheme that there is no credential for; set credential, and scheme where the document has several")
}

func idOf(s *scheme) string {
	if s == nil {
		return ""
	}
	return s.id
}

// value is what travels: the credential as its place wants it.
func (s *scheme) value(credential string) (string, error) {
	if credential == "" || !printable(credential) || credential != strings.TrimSpace(credential) {
		return "", errors.New("the credential is empty, or has blanks around it or control characters")
	}
	if !s.basic {
		return s.prefix + credential, nil
	}
	if !strings.Contains(credential, ":") {
		return "", errors.New("the credential for http basic is USER:PASSWORD")
	}
	return s.prefix + base64.StdEncoding.EncodeToString([]byte(credential)), nil
}

// minSecret is the shortest credential that answers are searched for: a shorter one is found in anything.
const minSecret = 6

// betrays says whether an answer repeats the credential, in a form that it travelled in.
func (s *scheme) betrays(credential, body string) bool {
	if s == nil || len(credential) < minSecret {
		return false
	}
	sent, _ := s.value(credential)
	for _, form := range []string{credential, strings.TrimPrefix(sent, s.prefix), escape(credential), quoted(credential)} {
		if strings.Contains(body, form) {
			return true
		}
	}
	return false
}
