package config

import "slices"

// Setting describes one setting to tests outside the package.
type Setting struct {
	Path             string // labelled blocks: "server.*.url"
	Kind             string
	Min, Max         string
	Bounded, Numeric bool
}

// Settings lists what the schema read from the fields of Config.
func Settings() []Setting {
	var list []Setting
	for _, s := range newSchema().settings {
		list = append(list, Setting{Path: s.path("*"), Kind: s.kind.String(), Min: s.min, Max: s.max, Bounded: s.min != "" && s.max != "",
			Numeric: slices.Contains([]kind{kindInt, kindFloat, kindDuration, kindSize}, s.kind)})
	}
	return list
}
