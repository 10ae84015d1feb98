package importer

import (
	"path/filepath"
	"regexp"
	"strings"
)

// reference is what VS Code and Cursor put values in for. Claude Desktop passes such text on as it stands.
var reference = regexp.MustCompile(`\$\{([^{}]{0,200})\}`)

// asks is what Cursor and VS Code know between ${ and }; all else they pass on. Other clients are known to know more.
var asks = regexp.MustCompile(`^((env|input|command|config|workspaceFolder|workspaceFolderBasename):.*|workspaceFolder|workspaceFolderBasename|userHome|cwd|file[A-Za-z]*|relativeFile[A-Za-z]*|execPath|defaultBuildTask|selectedText|lineNumber)$`)

// expand puts in what is known of a file's place. What is asked for, or comes from the client's environment, is left.
func (r *reader) expand(s string) text {
	if r.client == Claude || !strings.Contains(s, "${") {
		return text{value: s}
	}
	out := text{}
	out.value = reference.ReplaceAllStringFunc(s, func(ref string) string {
		name := ref[2 : len(ref)-1]
		known := ""
		switch name {
		case "userHome":
			known = r.file.Home
		case "workspaceFolder":
			known = r.project
		case "workspaceFolderBasename":
			if r.project != "" {
				known = filepath.Base(r.project)
			}
		case "pathSeparator", "/":
			known = string(filepath.Separator)
		}
		if known == "" && r.client != Other && !asks.MatchString(name) {
			return ref
		}
		if known == "" {
			out.left = append(out.left, name)
			return ref
		}
		return known
	})
	out.whole = len(out.left) == 1 && s == "${"+out.left[0]+"}"
	return out
}

// from is the variable of the client's environment that a value is, whole; empty if it is none.
func (t text) from() string {
	if !t.whole {
		return ""
	}
	name, ok := strings.CutPrefix(t.left[0], "env:")
	if !ok || !variableName.MatchString(name) {
		return ""
	}
	return name
}

// variableName is what a shell can export.
var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
