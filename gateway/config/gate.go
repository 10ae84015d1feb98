package config

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// maxDepth bounds nesting. A section holding a list is two levels deep; HCL's parser recurses once per
// level without a bound of its own, and a Go stack that overflows cannot be recovered.
const maxDepth = 4

// gate looks at the tokens of a file before it is parsed and lets through only those that literals need:
// without operators, calls, indexes and templates the grammar has nothing left that could be evaluated
// or that nests, but brackets, which are counted.
func gate(name string, doc []byte) error {
	if p := badByte(name, doc); p != nil {
		return p
	}
	tokens, _ := hclsyntax.LexConfig(doc, name, hcl.InitialPos) // what the lexer objects to, the parser reports
	depth, minus := 0, false
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack:
			if depth++; depth > maxDepth {
				return problemAt(name, t.Range.Start, "nested deeper than %d levels", maxDepth)
			}
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack:
			depth--
		case hclsyntax.TokenMinus:
			if minus {
				return problemAt(name, t.Range.Start, "only literal values are allowed here, not %q", "--")
			}
		case hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			return problemAt(name, t.Range.Start, "nothing is evaluated in this file: write %s as $%s for the text itself", t.Bytes, t.Bytes)
		case hclsyntax.TokenOHeredoc:
			return problemAt(name, t.Range.Start, "only literal values are allowed here, no heredoc: write a quoted string")
		case hclsyntax.TokenIdent, hclsyntax.TokenEqual, hclsyntax.TokenComma, hclsyntax.TokenNewline, hclsyntax.TokenComment, hclsyntax.TokenEOF,
			hclsyntax.TokenOQuote, hclsyntax.TokenCQuote, hclsyntax.TokenQuotedLit, hclsyntax.TokenNumberLit, hclsyntax.TokenQuotedNewline:
		default:
			return problemAt(name, t.Range.Start, "only literal values are allowed here, not %q", clip(string(t.Bytes)))
		}
		minus = t.Type == hclsyntax.TokenMinus
	}
	return nil
}

// badByte refuses what is not plain UTF-8 text: wrong encodings, byte order marks and control characters
// have each hidden a setting from somebody reading the file.
func badByte(name string, doc []byte) error {
	line, col := 1, 1
	for i := 0; i < len(doc); {
		r, n := utf8.DecodeRune(doc[i:])
		pos := hcl.Pos{Line: line, Column: col}
		switch {
		case r == utf8.RuneError && n == 1:
			return problemAt(name, pos, "the byte 0x%02x is not UTF-8", doc[i])
		case r == 0xfeff:
			return problemAt(name, pos, "the file holds a byte order mark: save it as plain UTF-8")
		case r < 0x20 && r != '\n' && r != '\t' && r != '\r', r == 0x7f, isBidi(r):
			return problemAt(name, pos, "the file holds a control character (%U)", r)
		}
		if i, col = i+n, col+1; r == '\n' {
			line, col = line+1, 1
		}
	}
	return nil
}

// isBidi tells the characters that reorder the text around them on a screen (CVE-2021-42574).
func isBidi(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

func problemAt(name string, pos hcl.Pos, format string, args ...any) *Problem {
	return &Problem{Where: fmt.Sprintf("%s:%d:%d", name, pos.Line, pos.Column), Text: fmt.Errorf(format, args...).Error()}
}

// clip shortens text quoted in an error.
func clip(s string) string {
	if len(s) > 40 {
		s = strings.ToValidUTF8(s[:40], "") + "..."
	}
	return s
}
