package oauth

import (
	"slices"
	"strings"
)

// challenge is what a server asked for when it refused a request.
type challenge struct {
	metadata string   // where its metadata is; "" when it did not say
	scopes   []string // that the request needs
	lacking  bool     // it names insufficient_scope
}

// hear reads the Bearer challenges of a refusal (RFC 9110, 11.6.1; RFC 6750, 3). One that cannot be read asks for nothing, and
// neither does what comes behind it; of a parameter that comes twice the first counts.
func hear(headers []string) (c challenge) {
	for _, header := range headers {
		bearer := false
		for r := (reader{header}); ; {
			r.skip(" \t,")
			name := r.token()
			if name == "" {
				break
			}
			r.skip(" \t")
			if !r.next('=') { // a scheme
				bearer = strings.EqualFold(name, "Bearer")
				continue
			}
			r.skip(" \t")
			value, ok := r.value()
			if !ok {
				break
			}
			if bearer {
				c.take(strings.ToLower(name), value)
			}
		}
	}
	return c
}

func (c *challenge) take(name, value string) {
	switch name {
	case "resource_metadata":
		if c.metadata == "" {
			c.metadata = value
		}
	case "scope":
		if len(c.scopes) == 0 {
			c.scopes = cleanScopes(strings.Fields(value))
		}
	case "error":
		c.lacking = c.lacking || value == "insufficient_scope"
	}
}

// reader walks a header's value.
type reader struct{ left string }

func (r *reader) skip(set string) { r.left = strings.TrimLeft(r.left, set) }

func (r *reader) next(b byte) bool {
	if r.left == "" || r.left[0] != b {
		return false
	}
	r.left = r.left[1:]
	return true
}

// token takes a name (RFC 9110, 5.6.2); "" when there is none.
func (r *reader) token() string {
	i := 0
	for i < len(r.left) && r.left[i] > ' ' && r.left[i] < 0x7f && !strings.ContainsRune("\"(),/:;<=>?@[\\]{}", rune(r.left[i])) {
		i++
	}
	name := r.left[:i]
	r.left = r.left[i:]
	return name
}

// value takes a token, or text in quotes.
func (r *reader) value() (string, bool) {
	if !r.next('"') {
		value := r.token()
		return value, value != ""
	}
	var b strings.Builder
	for i := 0; i < len(r.left); i++ {
		switch ch := r.left[i]; {
		case ch == '"':
			r.left = r.left[i+1:]
			return b.String(), true
		case ch == '\\' && i+1 < len(r.left):
			i++
			b.WriteByte(r.left[i])
		default:
			b.WriteByte(ch)
		}
	}
	return "", false
}

// maxScopes and maxScope bound what is asked for: it goes into an address.
const (
	maxScopes = 64
	maxScope  = 128
)

// cleanScopes keeps what may be a scope (RFC 6749, 3.3), each once.
func cleanScopes(all []string) (out []string) {
	for _, scope := range all {
		fit := scope != "" && len(scope) <= maxScope && len(out) < maxScopes
		for i := range len(scope) {
			fit = fit && scope[i] > ' ' && scope[i] < 0x7f && scope[i] != '"' && scope[i] != '\\'
		}
		if fit && !slices.Contains(out, scope) {
			out = append(out, scope)
		}
	}
	return out
}
