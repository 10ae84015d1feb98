package importer

import (
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// maxEnvFile bounds a file of variables, in bytes.
const maxEnvFile = 64 << 10

// load adds the variables of the file that a server's envFile names. What env says itself wins, as it does for clients.
// The error never quotes the file: it may be any file of the machine that the configuration's author named.
func (e *Entry) load() error {
	if e.EnvFile.value == "" {
		return nil
	}
	if len(e.EnvFile.left) > 0 {
		return fmt.Errorf("its envFile names ${%s}, which is not known here", e.EnvFile.left[0])
	}
	name := e.EnvFile.value
	if !filepath.IsAbs(name) {
		name = filepath.Join(e.base(), name)
	}
	doc, err := bounded(name, false, maxEnvFile)
	if err != nil {
		return fmt.Errorf("its envFile is not read: %w", err)
	}
	found, err := variables(doc)
	if err != nil {
		return fmt.Errorf("its envFile %s is not read: %w", Line(name), err)
	}
	for _, v := range found {
		if !e.has(v.Name) {
			e.Env = append(e.Env, v)
		}
	}
	return nil
}

// base is the folder that relative names are taken from.
func (e *Entry) base() string {
	if e.project != "" {
		return e.project
	}
	return filepath.Dir(e.File)
}

func (e *Entry) has(name string) bool {
	for _, v := range e.Env {
		if v.Name == name {
			return true
		}
	}
	return false
}

// variables reads lines NAME=value; blank lines and those that begin with # are passed over. A value may stand in quotes.
func variables(doc []byte) (out []variable, err error) {
	if !utf8.Valid(doc) {
		return nil, fmt.Errorf("it is not UTF-8")
	}
	for i, line := range strings.Split(string(doc), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if name = strings.TrimSpace(name); !ok || !variableName.MatchString(name) || strings.ContainsRune(value, 0) {
			return nil, fmt.Errorf("line %d is not NAME=value", i+1)
		}
		if len(out) == maxVariables {
			return nil, fmt.Errorf("it has more than %d variables", maxVariables)
		}
		value = strings.TrimSpace(value)
		if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
			value = value[1 : n-1]
		}
		out = append(out, variable{name, text{value: value}})
	}
	return out, nil
}
