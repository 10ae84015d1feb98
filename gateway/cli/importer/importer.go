// Package importer reads the MCP configurations of other clients (Claude Desktop, Cursor, VS Code) and proposes servers
// of a gateway: blocks for gateway.hcl, and starter policies.
//
// It proposes and does nothing: it starts no program, opens no connection and changes no file. What it reads was written
// by somebody else, so that every file is bounded and read strictly, whatever reaches a proposal is quoted, and the values
// of variables and headers, and what else looks like a secret, leave it only through Variables and Secret.
package importer

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
)

// Clients whose files are known by their place or name.
const (
	Claude = "Claude Desktop"
	Cursor = "Cursor"
	VSCode = "VS Code"
	Other  = "MCP client"
)

// Kinds of a server.
const (
	Stdio = "stdio" // a program that speaks MCP on its standard input and output
	HTTP  = "http"  // streamable HTTP
	SSE   = "sse"   // the older transport over HTTP, of 2024-11-05; the gateway finds out which one the address speaks
)

// Problem is why a file is refused. Its text quotes nothing of the file but keys.
type Problem struct {
	// File is its name; Key the place in it, as "mcpServers.files.args", or a line and a column, or empty.
	File, Key string
	// Text says what is wrong, Hint what to do about it.
	Text, Hint string
}

func (p *Problem) Error() string {
	if p.Key == "" {
		return fmt.Sprintf("%s: %s", Line(p.File), p.Text)
	}
	return fmt.Sprintf("%s: %s: %s", Line(p.File), Line(p.Key), p.Text)
}

// Entry is one server as a client has it.
type Entry struct {
	File, Client string
	Key          string // its name there
	Kind         string
	Command      text
	Args         []text
	Dir          text
	Env          []variable
	EnvFile      text
	URL          text
	Headers      []variable
	Disabled     bool

	known   bool     // the kind is one that is known
	project string   // the folder of the project whose file it is; empty for a person's own
	ignored []string // settings that mean something and have no counterpart here
	fault   error    // why its envFile was not read
}

// variable is a name with its value, which is secret.
type variable struct {
	Name  string
	Value text
}

// text is a setting in which the client's own references are put in where they are known. left names those that are not:
// "env:TOKEN", "input:key".
type text struct {
	value string
	left  []string
	whole bool // it is nothing but one reference
}

// Source says where a server was found.
type Source struct {
	File   string `json:"file"`
	Client string `json:"client"`
	Key    string `json:"key"`
}

// Line writes text of a file, of which nothing is known, so that it is one line and moves no cursor: what cannot be seen
// is shown as \uXXXX.
func Line(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch hi, lo := utf16.EncodeRune(r); {
		case unicode.IsPrint(r) && !unicode.In(r, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point):
			b.WriteRune(r)
		case hi != unicode.ReplacementChar:
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
