package importer

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/layout"
)

// HCL writes the servers as gateway.hcl has them. Those that are held stand there as comments, with what looks like a
// secret masked; those that the gateway has do not.
func (p *Proposal) HCL() []byte {
	var b strings.Builder
	b.WriteString("# Servers proposed by gatewright connector import. None of them is in force before its block stands in gateway.hcl\n" +
		"# and the gateway is started again: read what each of them runs or reaches first.\n")
	for _, s := range p.Servers {
		if s.State == Present {
			continue
		}
		b.WriteString("\n")
		for _, from := range s.Sources {
			fmt.Fprintf(&b, "# %s, %s: %s\n", from.Client, Line(from.File), Line(from.Key))
		}
		for _, w := range s.Held {
			fmt.Fprintf(&b, "# HELD: %s\n", Line(w))
		}
		for _, w := range s.Warnings {
			fmt.Fprintf(&b, "# warning: %s\n", Line(w))
		}
		block := s.block(p.Tenant)
		if s.State == Held {
			block = "# " + strings.ReplaceAll(strings.TrimSuffix(block, "\n"), "\n", "\n# ") + "\n"
		}
		b.WriteString(block)
	}
	return []byte(b.String())
}

// block writes one server.
func (s *Server) block(tenant string) string {
	var rows [][2]string
	add := func(name, value string) { rows = append(rows, [2]string{name, value}) }
	text := func(name, value string) {
		if value != "" {
			add(name, quote(value))
		}
	}
	list := func(name string, values []string) {
		if len(values) == 0 {
			return
		}
		quoted := make([]string, len(values))
		for i, v := range values {
			quoted[i] = quote(v)
		}
		add(name, "["+strings.Join(quoted, ", ")+"]")
	}
	text("tenant", tenant)
	list("command", s.Command)
	list("pass_env", s.PassEnv)
	text("dir", s.Dir)
	text("url", s.URL)
	if s.AllowPrivate {
		add("allow_private", "true")
	}
	text("credential", s.Credential)
	if s.Header != "Authorization" {
		text("header", s.Header)
	}
	text("prefix", s.Prefix)
	width := 0
	for _, r := range rows {
		width = max(width, len(r[0]))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "server %s {\n", quote(s.Name))
	for _, r := range rows {
		fmt.Fprintf(&b, "  %-*s = %s\n", width, r[0], r[1])
	}
	b.WriteString("}\n")
	return b.String()
}

// quote writes a string literal of HCL: nothing in it is a template, ends it, or moves a cursor.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	runes := []rune(s)
	for i, r := range runes {
		template := (r == '$' || r == '%') && i+1 < len(runes) && runes[i+1] == '{'
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case template: // doubled it is text
			b.WriteRune(r)
			b.WriteRune(r)
		case r > 0xffff && !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\U%08x`, r)
		case !unicode.IsPrint(r), unicode.In(r, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// Tool is one that a server offers, as it says itself.
type Tool struct {
	Name       string `json:"name"`
	Title      string `json:"title,omitempty"`
	ReadOnly   bool   `json:"read_only"`
	OpenWorld  bool   `json:"open_world"` // it reaches beyond its server; without a word of its own it does
	Definition string `json:"definition_hash"`
}

// PolicyFile is the name of the starter policies in a bundle.
const PolicyFile = "imported.cedar"

// Cedar writes starter policies for the servers that can be taken over, to stand in a bundle beside the default one's,
// which permits lists without a plan and calls with one. They only narrow: what a server says of its tools, in their
// annotations, never opens anything.
func (p *Proposal) Cedar() []byte {
	var b strings.Builder
	b.WriteString("// Starter policies of gatewright connector import. The default bundle permits to list what a server offers\n" +
		"// (discovery.cedar), and to call its tools as steps of a signed plan (work.cedar). Of a server that is imported only tools which\n" +
		"// say that they only read, and reach nothing beyond it, are called so: people approve the other calls one by one. It is the\n" +
		"// server's own word, so name tools here (resource == Tool::\"SERVER/TOOL\") once you know which of them do what.\n")
	for _, s := range p.Fresh() {
		fmt.Fprintf(&b, "\n@id(\"import-%s-acts\")\n@reason(\"This tool of %s does not say that it only reads and reaches nothing beyond its server.\")\n", s.Name, s.Name)
		fmt.Fprintf(&b, "@hold(\"%s is newly imported, and this tool of it may change something or reach out.\")\n", s.Name)
		fmt.Fprintf(&b, "forbid (principal, action in Action::\"call_tool\", resource in Server::\"%s\")\nunless { resource.readOnly && !resource.openWorld };\n", s.Name)
	}
	if text, err := layout.Format(b.String()); err == nil {
		return []byte(text)
	}
	return []byte(b.String()) // Bundle says what is wrong with it
}

// Bundle is the default bundle with the starter policies in it. The compiler of policies has accepted it.
func (p *Proposal) Bundle() (*policies.Bundle, error) {
	base, files := policies.Default(), map[string][]byte{}
	for _, name := range base.Files() {
		data, _ := base.File(name)
		if strings.HasPrefix(name, "tests/") { // their servers are made up, and must not be one that is imported
			for _, s := range p.Fresh() {
				for _, at := range [][2]string{{`"server": "`, `"`}, {`"talksTo": ["`, `"]`}} {
					data = bytes.ReplaceAll(data, []byte(at[0]+s.Name+at[1]), []byte(at[0]+"default-"+s.Name+at[1]))
				}
			}
		}
		files[name] = slices.Clone(data)
	}
	files[PolicyFile] = p.Cedar()
	if len(p.Fresh()) > 0 {
		files["tests/imported.txtar"] = p.cases()
	}
	files["manifest.json"] = []byte(`{"format": 1, "name": "imported", "description": "The default bundle, and starter policies for imported servers."}` + "\n")
	b, err := policies.NewBundle(files)
	if err != nil {
		return nil, err
	}
	var tools []policies.ToolDef
	for _, s := range p.Fresh() {
		tools = append(tools, policies.ToolDef{Server: s.Name, Name: "any", InputSchema: []byte(`{"type":"object"}`), Destructive: true, OpenWorld: true})
	}
	_, err = policies.Compile(b, tools)
	return b, err
}

// cases are what the starter policies must do and must not, for `gatewright policy test`.
func (p *Proposal) cases() []byte {
	var tools, cases []string
	for _, s := range p.Fresh() {
		acts := `"import-` + s.Name + `-acts"`
		for _, t := range []struct{ name, annotations, want, by, says string }{
			{"looks", `{"readOnlyHint": true, "openWorldHint": false}`, "allow", `"planned-tool-call"`, "a tool that only reads goes with a plan"},
			{"fetches", `{"readOnlyHint": true, "openWorldHint": true}`, "hold", acts, "one that reaches out waits for people"},
			{"changes", `{"destructiveHint": false, "openWorldHint": false}`, "hold", acts, "and so does one that changes anything"},
		} {
			tools = append(tools, fmt.Sprintf(`{"server": "%s", "name": "%s", "inputSchema": {"type": "object"}, "annotations": %s}`, s.Name, t.name, t.annotations))
			cases = append(cases, fmt.Sprintf("-- case %s: %s --\n", s.Name, t.says)+
				fmt.Sprintf(`{"principal": "ada", "server": "%s", "tool": "%s", "args": {}, "plan": {}, "want": "%s", "by": [%s]}`, s.Name, t.name, t.want, t.by)+"\n")
		}
		cases = append(cases, fmt.Sprintf("-- case %s: without a plan nothing goes --\n", s.Name)+
			fmt.Sprintf(`{"principal": "ada", "server": "%s", "tool": "looks", "args": {}, "want": "deny", "by": []}`, s.Name)+"\n")
	}
	return []byte("What people decide about calls of imported servers.\n-- tools --\n[\n  " + strings.Join(tools, ",\n  ") + "\n]\n" + strings.Join(cases, ""))
}

// Variables writes a file for a shell that sets what the servers that can be taken over need, with the clients' own values:
// secrets, most of them. What a client asks for, and what two servers want otherwise, is left out and named.
func (p *Proposal) Variables() []byte {
	var b strings.Builder
	b.WriteString("# Variables that imported servers need in the gateway's environment. These are secrets: delete this file when they are kept elsewhere.\n")
	for _, name := range p.Needs() {
		var values []text
		for _, s := range p.Fresh() {
			for _, v := range s.env {
				if v.Name == name && !slices.ContainsFunc(values, func(t text) bool { return t.value == v.Value.value }) {
					values = append(values, v.Value)
				}
			}
		}
		switch from := values[0].from(); {
		case len(values) > 1:
			fmt.Fprintf(&b, "# export %s=  (its servers want different values)\n", name)
		case from != "":
			fmt.Fprintf(&b, "export %s=\"$%s\"\n", name, from)
		case len(values[0].left) > 0:
			fmt.Fprintf(&b, "# export %s=  (its client asks for ${%s})\n", name, Line(short(values[0].left[0])))
		default:
			fmt.Fprintf(&b, "export %s='%s'\n", name, strings.ReplaceAll(values[0].value, "'", `'\''`))
		}
	}
	return []byte(b.String())
}
