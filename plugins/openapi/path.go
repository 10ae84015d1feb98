package openapi

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// template is a path: literal pieces, and places that parameters fill.
type template []piece

// piece is one of them; name is set when it is a place.
type piece struct{ literal, name string }

// maxPath bounds a path's template, in bytes.
const maxPath = 2 << 10

// parseTemplate reads a path of the document.
func parseTemplate(path string) (template, error) {
	if !strings.HasPrefix(path, "/") || len(path) > maxPath || !utf8.ValidString(path) {
		return nil, fmt.Errorf("a path begins with / and has at most %d bytes", maxPath)
	}
	var t template
	seen := map[string]bool{}
	for rest := path; rest != ""; {
		literal, after, open := strings.Cut(rest, "{")
		text, err := literalText(literal)
		if err != nil {
			return nil, err
		}
		t = append(t, piece{literal: text})
		if !open {
			break
		}
		name, more, closed := strings.Cut(after, "}")
		if !closed || name == "" || strings.ContainsAny(name, "{/?#") || seen[name] {
			return nil, errors.New("a place in its path is not closed, has no name, or stands there twice")
		}
		seen[name] = true
		t = append(t, piece{name: name})
		rest = more
	}
	return t, t.wellFormed()
}

// wellFormed refuses paths that say something else than they show.
func (t template) wellFormed() error {
	var b strings.Builder
	for _, p := range t {
		b.WriteString(p.literal)
		if p.name != "" {
			b.WriteByte('x')
		}
	}
	segments := strings.Split(b.String(), "/")
	for i, s := range segments {
		if s == "" && i > 0 && i < len(segments)-1 || isDots(s) {
			return errors.New("its path has dot segments or empty ones")
		}
	}
	return nil
}

// literalText escapes what stands in a path outright, but for what is escaped already.
func literalText(s string) (string, error) {
	if strings.ContainsAny(s, "}?#\\") || !printable(s) {
		return "", errors.New("its path holds a character that ends a path, or none that can be shown")
	}
	plain, err := url.PathUnescape(s)
	if err != nil || strings.Count(plain, "/") != strings.Count(s, "/") || !printable(plain) {
		return "", errors.New("its path is escaped wrongly")
	}
	parts := strings.Split(plain, "/")
	for i, p := range parts {
		parts[i] = strings.NewReplacer("%3A", ":", "%40", "@", "%2C", ",", "%3B", ";", "%3D", "=", "%24", "$", "%2B", "+", "%21", "!", "%28", "(", "%29", ")", "%2A", "*").Replace(escape(p))
	}
	return strings.Join(parts, "/"), nil
}

func (t template) names() []string {
	var out []string
	for _, p := range t {
		if p.name != "" {
			out = append(out, p.name)
		}
	}
	return out
}

// fill puts expanded values, by their names, into their places. The path that comes out has exactly the segments that the template
// has: that is checked on the result, whatever went in.
func (t template) fill(values map[string]string) (string, error) {
	var b strings.Builder
	slashes := 0
	for _, p := range t {
		slashes += strings.Count(p.literal, "/")
		b.WriteString(p.literal)
		b.WriteString(values[p.name])
	}
	path := b.String()
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if isDots(s) || s == "" && i > 0 && (i < len(segments)-1 || !strings.HasSuffix(t[len(t)-1].literal, "/")) {
			return "", errors.New("the path would have an empty segment, or one of dots alone, which leads elsewhere")
		}
	}
	if strings.Count(path, "/") != slashes || strings.ContainsAny(path, "?#\\") {
		return "", errors.New("the path would have other segments than it has to have")
	}
	return path, nil
}

// isDots says whether a segment, as servers read it, leads to another place: "." and "..", however they are escaped, and with
// what some servers cut off behind a semicolon.
func isDots(segment string) bool {
	for range maxUnescape {
		head, _, _ := strings.Cut(segment, ";")
		if head == "." || head == ".." {
			return true
		}
		plain := unescape(segment)
		if plain == segment {
			return false
		}
		segment = plain
	}
	return true
}

// maxUnescape bounds how often an escaped text is looked into. Deeper ones are refused.
const maxUnescape = 4

// pathText refuses values that a server, a proxy or a framework could take for more than one segment: with a separator in it,
// also one that is escaped once or several times, as those read it that unescape before they route; and control characters.
func pathText(s string) error {
	for range maxUnescape {
		if strings.ContainsAny(s, "/\\") || !printable(s) || !utf8.ValidString(s) || strings.Contains(strings.ToLower(s), "%u") {
			return errors.New("it holds a path separator or a control character, escaped or not, and would lead elsewhere")
		}
		plain := unescape(s)
		if plain == s {
			return nil
		}
		s = plain
	}
	return errors.New("it is escaped several times over")
}

// unescape reads escapes as the most lenient reader does: what is one becomes a byte, and what is none stays.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if i+2 < len(s) && s[i] == '%' {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// labelText refuses what ends an element of an exploded label, where a dot has no escape.
func labelText(s string) error {
	if strings.Contains(s, ".") {
		return errors.New("an element holds a dot, which separates elements here")
	}
	return nil
}
