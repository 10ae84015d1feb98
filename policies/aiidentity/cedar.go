package aiidentity

import (
	"fmt"
	"strings"
	"unicode"
)

// policy is one forbid.
type policy struct {
	from   string // the member it comes from
	id     string
	reason string
	word   string // when or unless
	body   string
}

// cedar writes the rules: conditions, what is denied, what is allowed, methods. Any of them refuses.
func (r *rules) cedar(o Options) []byte {
	var out []policy
	for _, c := range r.when {
		out = append(out, c.policy())
	}
	path, method := read(o.Endpoint), read(o.Method)
	for _, e := range r.denied {
		out = append(out, policy{"denied_endpoints", "denied_endpoints:" + e, "This endpoint is denied: " + e, "when", matches(path, e)})
	}
	out = append(out, policy{"allowed_endpoints", "allowed_endpoints", "Only these endpoints are allowed: " + list(r.allowed, "none"), "unless", anyOf(path, r.allowed)})
	if len(r.methods) > 0 {
		out = append(out, policy{"allowed_methods", "allowed_methods", "Only these methods are allowed: " + list(r.methods, ""), "unless", set(r.methods) + ".contains(" + method + ")"})
	}
	var b strings.Builder
	fmt.Fprintf(&b, "// Translated from a policy of AI Identity. It takes requests away that are made with %s, and adds none:\n// what an agent may do is for permits to say.\n",
		plain(o.Server+"/"+o.Tool))
	for _, p := range r.left {
		fmt.Fprintf(&b, "// LEFT OUT: %s\n", plain(p.Error()))
	}
	for _, p := range out {
		p.write(&b, &o)
	}
	return []byte(b.String())
}

func (p *policy) write(b *strings.Builder, o *Options) {
	who := "principal"
	if o.Agent != "" {
		who = "principal == Agent::" + quote(o.Agent)
	}
	fmt.Fprintf(b, "\n// %s\n@id(%s)\n@reason(%s)\nforbid (%s, action == Action::%s, resource)\n%s { %s };\n",
		p.from, quote(o.Name+":"+p.id), quote(p.reason), who, quote(o.Server+"___"+o.Tool), p.word, p.body)
}

// policy asks of the agent's labels what the condition asks of its metadata.
func (c *condition) policy() policy {
	labels := make([]string, len(c.values))
	for i, v := range c.values {
		labels[i] = c.name + "=" + v
	}
	p := policy{from: "when." + plain(c.name), id: "when:" + c.name, word: "unless", body: "principal.labels.containsAny(" + set(labels) + ")"}
	p.reason = c.name + " must be " + list(c.values, "")
	if len(c.values) > 1 {
		p.reason = c.name + " must be one of " + list(c.values, "")
	}
	if c.not {
		p.body = "principal.labels.contains(" + quote(c.name) + ") && !(" + p.body + ")"
		p.reason = c.name + " must be set, and not to " + list(c.values, "")
	}
	return p
}

// read is an argument.
func read(name string) string { return "context.input[" + quote(name) + "]" }

func anyOf(path string, patterns []string) string {
	if len(patterns) == 0 {
		return "false"
	}
	all := make([]string, len(patterns))
	for i, p := range patterns {
		all[i] = matches(path, p)
	}
	return strings.Join(all, " || ")
}

// matches holds a path against a pattern: a star alone, or after the last slash. Any other star is itself.
func matches(path, pattern string) string {
	if pattern == "*" {
		return "true"
	}
	below, ok := strings.CutSuffix(pattern, "/*")
	if !ok {
		return path + " == " + quote(pattern)
	}
	text := quote(below + "/")
	return "(" + path + " == " + quote(below) + " || " + path + " like " + strings.ReplaceAll(text[:len(text)-1], "*", `\*`) + `*")`
}

func set(texts []string) string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = quote(t)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

func list(texts []string, none string) string {
	if len(texts) == 0 {
		return none
	}
	return strings.Join(texts, ", ")
}

// quote writes a Cedar string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
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

// plain is one line for a comment.
func plain(s string) string { return strings.Trim(quote(s), `"`) }
