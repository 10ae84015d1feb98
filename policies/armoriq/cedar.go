package armoriq

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// expr is a Cedar expression that yields a boolean and can stand as an operand.
type expr string

const (
	always expr = "true"
	never  expr = "false"
)

func join(list []expr, word, zero, one expr) expr {
	var kept []string
	for _, e := range list {
		switch e {
		case one:
			return one
		case zero:
		default:
			if slices.Contains(kept, string(e)) {
				continue
			}
			kept = append(kept, string(e))
		}
	}
	switch len(kept) {
	case 0:
		return zero
	case 1:
		return expr(kept[0])
	}
	return expr("(" + strings.Join(kept, string(word)) + ")")
}

func anyOf(list ...expr) expr { return join(list, " || ", never, always) }
func allOf(list ...expr) expr { return join(list, " && ", always, never) }

func not(e expr) expr {
	switch e {
	case always:
		return never
	case never:
		return always
	}
	return "!" + expr("("+string(e)+")")
}

// quote writes a Cedar string.
func quote(s string) string { return escape(s, false) }

// literal writes the text of a pattern of like in which no star is special.
func literal(s string) string {
	q := escape(s, true)
	return q[1 : len(q)-1]
}

func escape(s string, star bool) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\' || star && r == '*':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x7f && unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\u{%x}`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// equals compares a place that holds a text.
func equals(place, text string) expr { return expr("(" + place + " == " + quote(text) + ")") }

// among compares a place with several texts.
func among(place string, texts []string) expr {
	switch len(texts) {
	case 0:
		return never
	case 1:
		return equals(place, texts[0])
	}
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = quote(t)
	}
	return expr("[" + strings.Join(quoted, ", ") + "].contains(" + place + ")")
}

// like holds a place against a pattern: its parts in order, with any run of characters between them.
func like(place string, parts ...string) expr {
	for i, p := range parts {
		parts[i] = literal(p)
	}
	return expr("(" + place + ` like "` + strings.Join(parts, "*") + `")`)
}

// starting and containing are the two commonest patterns.
func starting(place, text string) expr   { return like(place, text, "") }
func containing(place, text string) expr { return like(place, "", text, "") }

// onServer reports that the resource stands on a server. The catalogue's names are lower case, and clients of ArmorIQ
// write "Stripe": both are meant.
func onServer(name string) expr {
	out := []expr{serverIs(name)}
	if low := strings.ToLower(name); low != name {
		out = append(out, serverIs(low))
	}
	return anyOf(out...)
}

func serverIs(name string) expr { return expr("(resource in Server::" + quote(name) + ")") }

// isTool and hasName guard the reading of resource.name: tools and prompts have names, resources have URIs.
const (
	toolName = "resource.name"

	isTool  expr = "(resource is Tool)"
	hasName expr = "(resource has name)"
)

// policy is one forbid.
type policy struct {
	id, reason string
	hold       string // why approval is asked for; "" denies
	when       expr
}

func (p policy) append(dst []byte) []byte {
	dst = fmt.Appendf(dst, "@id(%s)\n@reason(%s)\n", quote(p.id), quote(p.reason))
	if p.hold != "" {
		dst = fmt.Appendf(dst, "@hold(%s)\n", quote(p.hold))
	}
	dst = append(dst, `forbid (principal, action in Action::"work", resource)`...)
	if p.when != always {
		dst = fmt.Appendf(dst, "\nwhen { %s }", p.when)
	}
	return append(dst, ";\n"...)
}
