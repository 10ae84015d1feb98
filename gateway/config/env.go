package config

import (
	"fmt"
	"strings"
)

// environment turns variables GATEWRIGHT_CFG_* into settings, for koanf's env provider, whose callback
// cannot fail: the first error is kept aside.
type environment struct {
	schema *schema
	origin map[string]string
	seen   map[string]bool
	err    error
}

// take returns the path and value of one variable, or "" after keeping an error.
func (e *environment) take(name, text string) (string, any) {
	path, v, err := e.read(name, text)
	if err != nil {
		if e.err == nil || name < e.where() {
			e.err = &Problem{Where: name, Path: path, Text: err.Error()}
		}
		return "", nil
	}
	e.origin[path] = name
	return path, v
}

// where is the variable of the kept error: among several, the first by name is reported, so that the
// order of the environment does not matter.
func (e *environment) where() string {
	p, _ := e.err.(*Problem) //nolint:errorlint // set by take only, never wrapped
	return p.Where
}

func (e *environment) read(name, text string) (string, any, error) {
	rest := strings.TrimPrefix(name, EnvPrefix)
	if rest != strings.ToUpper(rest) {
		return "", nil, fmt.Errorf("write the name in capitals: %s%s", EnvPrefix, strings.ToUpper(rest))
	}
	if e.seen[name] {
		return "", nil, fmt.Errorf("the variable is in the environment twice")
	}
	if e.seen == nil {
		e.seen = map[string]bool{}
	}
	e.seen[name] = true
	path := strings.ToLower(strings.ReplaceAll(rest, "__", "."))
	if strings.Contains(rest, ".") {
		return "", nil, fmt.Errorf("separate levels by two underscores, not by a dot")
	}
	set, err := e.schema.find(path)
	if err != nil {
		if section, tail, ok := strings.Cut(rest, "_"); ok && e.schema.root.blocks[strings.ToLower(section)] != nil && !strings.Contains(rest, "__") {
			return "", nil, fmt.Errorf("%w; separate levels by two underscores: %s%s__%s", err, EnvPrefix, section, tail)
		}
		return "", nil, err
	}
	v, err := set.parseText(text)
	return path, v, err
}
